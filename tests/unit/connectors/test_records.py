"""Which record it is, when it changed, whether it is gone, and how it differs from the declaration."""

import orjson
import pytest

from pipelines import contracts
from pipelines.channels import PARSERS
from pipelines.channels.interaction import Interaction
from pipelines.connectors import records, resources

DECLARED = resources.declared().resources
SECRET = b"0123456789abcdef0123456789abcdef"
ORDER = {"order_id": "SO1", "status": "paid", "ordered_at": 1767916800000, "paid_at": 1767916800000}
ORDER |= {"amount_minor": 1290, "currency": "CNY", "updated_at": 1767916860000}


def read(fields, name="orders", secret=SECRET):
    return records.read(orjson.dumps(fields), DECLARED[name], secret)


def test_the_same_content_in_another_order_is_the_same_record():
    turned = dict(reversed(ORDER.items()))
    assert read(turned).record == read(ORDER).record
    assert read(ORDER | {"revision": 1}).record != read(ORDER).record
    assert read(ORDER | {"revision": 1}).key == read(ORDER).key
    assert read(ORDER | {"order_id": "SO2"}).key != read(ORDER).key


def test_a_record_is_known_by_nobody_without_the_secret():
    assert read(ORDER, secret=bytes(32)).record != read(ORDER).record


@pytest.mark.parametrize(
    ("fields", "findings"),
    [
        (ORDER, ()),
        (ORDER | {"colour": "red"}, ("new:colour",)),
        (ORDER | {"13800000001": "x"}, ("new:?",)),  # findings stand in the clear: no name, no value
        ({**ORDER, "currency": None}, ("missing:currency",)),
        (ORDER | {"amount_minor": "12.90"}, ("type:amount_minor",)),
        (ORDER | {"amount_minor": True}, ("type:amount_minor",)),  # a bool is no number here
        (ORDER | {"ordered_at": "yesterday"}, ("type:ordered_at",)),
        (ORDER | {"lines": {}}, ("type:lines",)),
    ],
)
def test_how_it_differs_from_what_is_declared(fields, findings):
    assert read(fields).findings == findings


@pytest.mark.parametrize("value", [b"null", b"[]", b'"x"', b"{\xff}", b"12"])
def test_what_is_no_object_is_handed_on_as_it_is(value):
    found = records.read(value, DECLARED["orders"], SECRET)
    assert (found.value, found.at_us, found.findings) == (value, None, ("not_object",))


def test_a_record_larger_than_its_topic_takes_is_cut_and_will_be_rejected():
    found = read(ORDER | {"shop": "x" * 7_000_000})
    assert len(found.value) < contracts.topic("raw.orders").max_message_bytes
    assert found.findings == ("too_large",)
    assert PARSERS["orders"](found.value, "default", 1767960000_000000, None).rule == "payload.not_json"


def test_a_record_without_its_key_is_known_by_its_content():
    found = read({name: value for name, value in ORDER.items() if name != "order_id"})
    assert found.record == found.key * 2


@pytest.mark.parametrize(
    ("name", "fields", "outcome"),
    [
        ("orders", ORDER | {"deleted": True}, "cancelled"),
        ("ticket_events", {"event_id": "e1", "ticket_id": "T1", "state": "New", "occurred_at": "2026-01-09T00:00:00Z",
                           "recorded_at": "2026-01-09T00:00:00Z", "revision": 1, "deleted": 1}, "Deleted"),
        ("app_events", {"event_id": "a1", "event": "feedback", "ts": 1767916800000, "revision": 1, "deleted": True,
                        "changed_at": 1767916800}, "revoked"),
        ("crm_deleted", {"customer_no": "C1", "updated_at": "2026-01-09 08:00:00"}, None),
    ],
)  # fmt: skip
def test_a_deletion_is_a_revision_its_channel_understands(name, fields, outcome):
    found, resource = read(fields, name), DECLARED[name]
    assert found.deleted
    parsed = PARSERS[resource.channel](found.value, "default", 1767960000_000000, None)
    assert type(parsed) is Interaction
    assert parsed.outcome == outcome
    if name == "crm_deleted":
        assert orjson.loads(parsed.attributes)["columns"]["crm_status"] == "deleted"


@pytest.mark.parametrize("value", [False, None, 0, "", "false"])
def test_a_tombstone_that_says_no_is_none(value):
    assert not read(ORDER | {"deleted": value}).deleted
