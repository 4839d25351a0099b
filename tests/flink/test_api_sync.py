"""`kefulake api-sync` against the misbehaving source, a process killed in between, and what the job makes of it."""

import random
from collections import Counter

import orjson

from pipelines.connectors import resources
from pipelines.io.connector_log import ConnectorLog
from tests.bench.connectors_whole_way import arrived, collect, declared_api
from tests.flink.test_clean_interactions import outputs_of


def test_every_record_of_every_resource_has_one_output_and_comes_once(job):
    api = declared_api(seed=77, rows=60, share=0.1, kinds=("error_500", "reset", "half", "repeated", "token_expired"))
    must, ends = collect(api, random.Random(77), rounds=1)
    assert ends["killed"] == 1  # the first process of all; those after it went on where it was
    came, _ = arrived(job)
    assert must - set(came) == set()
    assert [key for key, count in came.items() if count > 1] == []
    assert sum(1 for kind, _ in came if kind == "gone") >= 0
    placed = {}
    for name, resource in resources.declared().resources.items():
        log = ConnectorLog(job.bootstrap, resource.topic, job.home / "none")
        placed |= {(resource.topic, sent.partition, sent.offset): sent for sent in log.sent_behind(name, {})}
    found = outputs_of(job, set(placed))
    assert {len(outputs) for outputs in found.values()} == {1}
    topics = Counter(outputs[0][0] for outputs in found.values())
    assert topics["customers.clean"] > 60
    assert topics["orders.clean"] > 60
    assert topics["ticket_events.clean"] > 60
    assert topics["quarantine.rejects"] > 0  # what drifted, with its bytes
    assert topics["quarantine.rejects"] == sum(1 for _, key in came if key.startswith("reject"))
    deleted = [orjson.loads(sent.value) for sent in placed.values() if sent.deleted]
    assert deleted
