"""From committed clean records to a link in a running worker's index, on a real broker and a real database."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid

import orjson
import polars as pl
import pytest

from pipelines.identity.index import IdentityIndex
from pipelines.identity.map_records import feed
from pipelines.io import identity_reads as reads
from pipelines.io.compacted_tail import CompactedTail
from pipelines.io.identity_store import MAP_TOPIC
from pipelines.io.publisher import publish

DEADLINE_S = 60


def token(kind: str) -> str:
    """A token of its own for this test: others share the topic."""
    return f"{kind}1_{uuid.uuid4().hex}"


def say(stack, topic: str = "interactions.clean", **record) -> None:
    """A clean record on a topic that the resolver reads; raw coordinates of its own, others read it."""
    at_us = 1_767_225_600_000_000
    value = {
        "raw_topic": f"raw.test_{uuid.uuid4().hex}", "raw_partition": 0, "raw_offset": 0, "event_id": uuid.uuid4().hex,
        "channel": "mini_program", "occurred_at": at_us, "received_at": at_us, "processed_at": at_us,
    } | record  # fmt: skip
    if topic == "interactions.clean":  # a record has neither, and tiering refuses a topic whose contract is broken
        value |= {"kind": "message", "sender_role": "customer"}
    publish(stack.bootstrap, topic, [("k", orjson.dumps(value))])


@pytest.fixture
def start(stack, engine):
    """Starts a resolver, with `--once` or to run on; ends, by its id, what still runs when the test is over."""
    started: list[subprocess.Popen] = []

    def run(*arguments: str) -> subprocess.Popen:
        started.append(subprocess.Popen([sys.executable, "-m", "jobs.services.identity_resolver", *arguments]))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def card(engine, wanted: str) -> reads.Card | None:
    with engine.connect() as connection:
        return reads.card_of_token(connection, wanted)


def test_identifiers_of_one_message_become_one_customer_once(stack, engine, start):
    openid, unionid = token("op"), token("un")
    say(stack, openid_token=openid, unionid_token=unionid)
    assert start("--once").wait(DEADLINE_S) == 0
    first = card(engine, openid)
    assert {link.token for link in first.links} == {openid, unionid}
    assert first.claims["sightings"].to_list() == [1, 1]
    assert start("--once").wait(DEADLINE_S) == 0  # what was read is not read again
    assert card(engine, openid).claims["sightings"].to_list() == [1, 1]


def test_a_crm_record_an_order_and_a_message_are_one_customer(stack, engine, start):
    phone, member, openid, lost = token("ph"), token("mb"), token("op"), token("em")
    record = {"channel": "crm", "record_key": f"crm/{uuid.uuid4().hex[:24]}", "crm_status": "active", "region": "上海"}
    held = {"phone_token": phone, "phone_verified": True, "member_token": member}
    say(stack, "customers.clean", **record, **held, email_token=lost, updated_at=5)
    say(stack, "customers.clean", **record, **held, updated_at=9)
    order = {"order_id": uuid.uuid4().hex, "order_status": "paid", "ordered_at": 5, "updated_at": 5, "currency": "CNY"}
    order |= {"amount_minor": 1, "refunded_minor": 0}
    say(stack, "orders.clean", channel="orders", member_token=member, openid_token=openid, **order)
    assert start("--once").wait(DEADLINE_S) == 0
    found = card(engine, openid)
    assert found.customer_id == "c_" + record["record_key"].removeprefix("crm/")
    until = {link.token: link.valid_to_at for link in found.links}
    assert until == {phone: None, member: None, openid: None, lost: 9}


def test_a_running_worker_knows_within_ten_seconds(stack, engine, start):
    """Two strangers become one customer while the worker runs: by a message that carries what both had."""
    assert start("--once").wait(DEADLINE_S) == 0
    start()
    index, tail = IdentityIndex(), CompactedTail(stack.bootstrap, MAP_TOPIC)
    openid, unionid, phone = token("op"), token("un"), token("ph")
    wanted = pl.Series([openid, unionid, phone])

    def ids_within(seconds: float, settled) -> list[str | None]:
        deadline_s = time.monotonic() + seconds
        while not settled(found := index.lookup(wanted).to_list()):
            assert time.monotonic() < deadline_s, found
            feed(index, tail.poll_if_due(time.monotonic()))
            time.sleep(0.05)
        return found

    try:
        for batch in tail.load_to_end():
            feed(index, batch)
        say(stack, openid_token=openid, unionid_token=unionid)
        ids_within(DEADLINE_S, lambda found: found[0] is not None)  # the service needs some seconds to start
        say(stack, unionid_token=unionid, phone_token=phone)
        found = ids_within(10, lambda found: found[2] is not None)
    finally:
        tail.close()
    assert len(set(found)) == 1
