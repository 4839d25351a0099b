"""Where a topic ends for who reads committed records, on a real broker."""

from __future__ import annotations

import uuid

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipelines.io.progress import ends_of_records


def test_an_aborted_transaction_is_no_record_to_wait_for(stack):
    """Offset 0 is a record; 1 and 2 are an aborted record and its marker, as an erasure leaves them."""
    topic = f"test.{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": stack.bootstrap})
    producer.produce(topic, b"a record")
    producer.flush(30)
    aborting = Producer({"bootstrap.servers": stack.bootstrap, "transactional.id": topic})
    aborting.init_transactions(30)
    aborting.begin_transaction()
    aborting.produce(topic, b"never")
    aborting.flush(30)
    aborting.abort_transaction(30)
    place = f"{topic}/0"
    assert ends_of_records(stack.bootstrap, {place: 1}, {place: 3}) == {place: 1}  # nothing stands behind the record
    assert ends_of_records(stack.bootstrap, {place: 0}, {place: 3}) == {place: 3}  # the record is still to be read
    assert ends_of_records(stack.bootstrap, {}, {place: 3}) == {place: 3}
