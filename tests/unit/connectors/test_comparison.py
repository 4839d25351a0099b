"""Deleted without a word: what is believed of a source that calls records gone, and what comes back."""

import random

import orjson
import pytest

from pipelines.connectors import comparison, records, resources
from pipelines.connectors.access import Access
from pipelines.connectors.comparison import doubtful, settled
from pipelines.connectors.failures import GivenUp, SourceRefused
from pipelines.connectors.http_client import SourceClient
from pipelines.connectors.resources import Bearer, Source
from pipelines.io.connector_log import Sent
from tests.bench.connector_world import SkippingClock
from tests.unit.connectors.scripted_source import Told, source

DECLARED = resources.declared()
CUSTOMERS = DECLARED.resources["crm_customers"]
SECRET = bytes(32)
GONE = Told(404)
SERVER_S = 1_767_916_800  # the Date of the scripted source: 2026-01-09 00:00:00 UTC
EARLIER = "2026-01-08 08:00:00"


def customer(number: int, **fields) -> bytes:
    return orjson.dumps({"customer_no": f"C{number}", "updated_at": EARLIER, "phone": "13800000001"} | fields)


def sent(number: int, offset: int, *, deleted: bool = False, **fields) -> Sent:
    read = records.read(customer(number, **fields), CUSTOMERS, SECRET)
    return Sent(read.record, read.at_us, None, 0, offset, read.value, False, deleted=deleted)


def key(number: int) -> str:
    return records.key_digest(f"C{number}", SECRET)


def settle(found, *answers):
    """What is made of it, and the paths that were asked for."""
    with source(answers) as server:
        access = Access(f"http://127.0.0.1:{server.server_port}", {"token": "t"})
        declared = Source("default", 1000.0, Bearer())
        client = SourceClient("crm", declared, access, DECLARED.client, SkippingClock(), random.Random(1))
        try:
            made = settled(CUSTOMERS, found, lambda one: one.value, client, SECRET)
        finally:
            client.close()
        return made, [path.rpartition("/")[2] for path, _ in server.asked]


def test_what_was_not_met_is_asked_for_after_one_that_was():
    found = doubtful([sent(1, 0), sent(2, 1), sent(3, 2)], {key(1)})
    made, asked = settle(found, Told(200, customer(1)), GONE, Told(200, customer(3)))
    assert asked == ["C1", "C2", "C3"]
    assert [(record.key, record.deleted) for record in made] == [(key(2), True), (key(3), False)]
    assert orjson.loads(made[0].value) == {"customer_no": "C2", "updated_at": SERVER_S, "status": "deleted"}


def test_a_source_that_has_lost_a_path_deletes_nobody():
    """As after a release that moved the item's path: every record is gone there, those of the last second too."""
    found = doubtful([sent(1, 0), sent(2, 1)], {key(1)})
    with pytest.raises(SourceRefused, match="404 for a record that was just read") as refused:
        settle(found, GONE)
    assert "C1" not in str(refused.value)


def test_a_customer_is_named_in_no_message():
    found = doubtful([sent(1, 0), sent(2, 1)], {key(1)})
    for answers, kind in (([Told(200, customer(1)), Told(403)], SourceRefused), ([Told(500)], GivenUp)):
        with pytest.raises(kind, match=r"/v1/customers/\{key\}") as refused:
            settle(found, *answers)
        assert "C1" not in str(refused.value)
        assert "C2" not in str(refused.value)


def test_more_than_a_run_may_delete_is_not_believed():
    few = [sent(number, number) for number in range(20)]
    assert len(settle(doubtful(few, set()), GONE)[0]) == 20  # so few always
    with pytest.raises(SourceRefused, match="21 of 21 records are gone"):
        settle(doubtful([*few, sent(20, 20)], set()), GONE)
    rest = [sent(number, number) for number in range(21, 421)]  # 21 of 421 are less than 5 %
    found = doubtful([*few, sent(20, 20), *rest], {key(number) for number in range(21, 421)})
    assert len(settle(found, Told(200, customer(21)), GONE)[0]) == 21


def test_what_was_called_deleted_and_is_there_again_is_newer_than_its_deletion():
    was = [sent(1, 0), sent(1, 1, deleted=True, updated_at=SERVER_S - 60, status="deleted")]
    [back], asked = settle(doubtful(was, {key(1)}), Told(200, customer(1)))
    assert asked == ["C1"]
    assert orjson.loads(back.value) == orjson.loads(customer(1, updated_at=SERVER_S))
    assert back.findings[0] == comparison.BACK
    assert back.at_us > was[1].at_us
    assert back.record != was[0].record, "else it would be taken for a repetition of the first"
    again = [*was, Sent(back.record, back.at_us, None, 0, 2, back.value, False)]
    assert settle(doubtful(again, {key(1)}), GONE) == ([], [])


def test_a_deletion_of_the_same_second_is_overtaken_too():
    was = [sent(1, 0, deleted=True, updated_at=SERVER_S, status="deleted")]
    [back], _ = settle(doubtful(was, {key(1)}), Told(200, customer(1)))
    assert orjson.loads(back.value)["updated_at"] == SERVER_S + 1
