"""The pool: as many messages as asked for, readable where the bare loop must read, other IDs in each pass."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.bench import load_pool
from tests.bench.append_loop import columns


class Handed:
    """A Kafka message as the bare loop sees it."""

    def __init__(self, value: bytes):
        self._value = value

    def value(self) -> bytes:
        return self._value


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "flat.pool"
    told = load_pool.make(path, "flat", 3000)
    return told, load_pool.load(path)


def test_flat_messages_are_website_chat_of_about_350_bytes(flat):
    told, pool = flat
    assert told["messages"] == len(pool) == 3000
    assert {record.topic for record in pool} == {"raw.web_chat"}
    assert 280 <= told["mean_bytes"] <= 420


def test_the_bare_loop_can_parse_every_flat_message(flat):
    _, pool = flat
    table = columns([Handed(record.value) for record in pool], parse=True)
    assert table.num_rows == 3000
    assert table["message_id"].to_pylist()[:50] == [json.loads(r.value).get("message_id") for r in pool[:50]]


def test_each_pass_has_other_ids_and_the_same_words(flat):
    _, pool = flat
    first, second = (list(itertools.islice(load_pool.endless(pool[:200], n), 200)) for n in (0, 1))
    for before, after in zip(first, second, strict=True):
        one, other = json.loads(before.value), json.loads(after.value)
        assert one["text"] == other["text"].replace("sim0000001", "sim0000000")  # an order number in a text
        assert len(before.value) == len(after.value)
        if "message_id" in one:
            assert one["message_id"] != other["message_id"]


def test_the_mix_has_every_raw_topic(tmp_path):
    told = load_pool.make(tmp_path / "mix.pool", "mix", 3000)
    assert told["topics"] == 14


@pytest.mark.parametrize(
    ("value", "readable"),
    [
        (b'{"text":"a","score":4.0}', True),
        (b"[1]", False),  # JSON, no object
        (b'{"text":["a"]}', False),  # a list where a text belongs
        (b'{"sent_at":1767916800}', False),  # honest, but another type than in the other messages
        ('{"text":"订'.encode("gbk"), False),  # cut off, in another encoding
    ],
)
def test_what_the_bare_loop_cannot_read_stays_out(value, readable):
    assert load_pool.readable(value) is readable
