"""Only what says something new reaches the identity state."""

from __future__ import annotations

import orjson

from pipelines.io.identity_sightings import SightingConverter
from tests.unit.io.test_records import Message

POLICY = {"told_again_after_s": 100, "remembered_sets": 3}


def message(**record) -> Message:
    return Message(orjson.dumps({"channel": "app", "sender_role": "customer", "occurred_at": 5} | record))


def message_of(topic: str, **record) -> Message:
    return Message(orjson.dumps({"occurred_at": 5} | record), topic=topic)


def told(converter: SightingConverter, *messages: Message) -> list:
    return converter.rows(messages).table["member_token"].to_pylist()


def test_two_identifiers_of_a_customer_and_nothing_else():
    pair = {"member_token": "mb1_a", "user_handle_token": "uh1_b"}
    found = SightingConverter(POLICY, clock=lambda: 0.0).rows([
        message(member_token="mb1_x"),  # one identifier links nothing
        message(**pair, sender_role="agent"),  # an agent's message carries the customer's, and says nothing new
        Message(b'{"a_token":"x","b_token":"y"'),  # cut off: the tiering service keeps it
        Message(None),
        message(**pair),
    ])  # fmt: skip
    [row] = found.table.to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "channel": "app", "sender_role": "customer", "occurred_at": 5, **pair,
    }  # fmt: skip
    assert found.unreadable == []


def test_a_set_is_told_twice_then_again_after_a_day():
    now = [0.0]
    converter = SightingConverter(POLICY, clock=lambda: now[0])
    same = message(member_token="mb1_a", user_handle_token="uh1_b")
    assert told(converter, same, same, same) == ["mb1_a", "mb1_a"]
    now[0] = 99.0
    assert told(converter, same) == []
    now[0] = 100.0
    assert told(converter, same, same) == ["mb1_a"]


def test_after_a_failure_everything_is_told_anew():
    converter = SightingConverter(POLICY, clock=lambda: 0.0)
    same = message(member_token="mb1_a", user_handle_token="uh1_b")
    assert told(converter, same, same, same) == ["mb1_a", "mb1_a"]
    converter.sources_are([])
    assert told(converter, same) == ["mb1_a"]


def test_memory_is_bounded_and_forgetting_costs_one_more_telling():
    converter = SightingConverter(POLICY, clock=lambda: 0.0)
    sets = [message(member_token=f"mb1_{n}", user_handle_token="uh1_b") for n in range(4)]
    assert told(converter, *sets, *sets[:1] * 3) == ["mb1_0", "mb1_1", "mb1_2", "mb1_3", "mb1_0", "mb1_0"]


def test_orders_are_sightings_of_their_customer_and_crm_records_are_told_whole():
    order = {"channel": "orders", "member_token": "mb1_a", "openid_token": "op1_b", "updated_at": 7}
    record = {
        "channel": "crm",
        "record_key": "crm/1",
        "crm_status": "deleted",
        "updated_at": 9,
        "phone_verified": False,
    }
    found = SightingConverter(POLICY, clock=lambda: 0.0).rows(
        [message_of("orders.clean", **order), *[message_of("customers.clean", **record)] * 3]
    )  # a record without identifiers is told as well, and each time: it replaces what was said
    rows = [{name: value for name, value in row.items() if value is not None} for row in found.table.to_pylist()]
    sighting = {name: order[name] for name in ("channel", "member_token", "openid_token")}
    assert rows == [sighting | {"sender_role": "customer", "occurred_at": 5}, *[record | {"occurred_at": 5}] * 3]
