"""A message that says more than an output record can hold is a reject; what is just below the limit fits."""

import orjson
import pytest

from pipelines import contracts
from pipelines.channels import PARSERS
from pipelines.channels.interaction import Interaction
from pipelines.cleaning.context import CleaningContext
from pipelines.privacy.keys import MasterKey
from pipelines.simulation.wire import serialise
from tests.bench.honest_forms import CHANNELS, document
from tests.bench.pure_path import Message, judge

SENT_S = 1_767_960_000
RECEIVED_US = (SENT_S + 60) * 1_000_000
LIMIT = contracts.policy("channels")["max_said_bytes"]


def said(channel, text):
    return serialise(channel, document(channel, 1, SENT_S, text))


@pytest.mark.parametrize("channel", [c for c in CHANNELS if c != "email"])  # of a mail 200,000 characters are read
def test_one_text_over_the_limit_is_a_reject_that_names_both_sizes(channel):
    read = PARSERS[channel](said(channel, "a" * (LIMIT + 1)), "default", RECEIVED_US)
    assert read.rule == "field.too_long"
    assert str(LIMIT) in read.reason


def test_bytes_count_and_all_texts_together():
    third = LIMIT // 3  # a Chinese character has three bytes
    web_chat = PARSERS["web_chat"]
    short = document("web_chat", 1, SENT_S, "发" * (third - 100))
    assert isinstance(web_chat(serialise("web_chat", short), "", RECEIVED_US), Interaction)
    both = short | {"subject": "题" * 200}
    assert web_chat(serialise("web_chat", both), "", RECEIVED_US).rule == "field.too_long"


def test_a_long_field_that_nobody_reads_does_not_count():
    doc = document("web_chat", 1, SENT_S, "什么时候发货") | {"debug": "x" * 2 * LIMIT}
    assert isinstance(PARSERS["web_chat"](serialise("web_chat", doc), "", RECEIVED_US), Interaction)


GROWS = {
    "quotes, escaped once in the record": ("wechat", lambda n: '"'),
    "control characters, six letters each": ("web_chat", lambda n: "\x01" * 99 + "a"),
    "addresses of seven letters, tokens of 44": ("web_chat", lambda n: f"{n % 16:x}@b.cn "),
    "phone numbers": ("phone", lambda n: f"139{n:08d} "),
}


@pytest.mark.parametrize("how", GROWS)
def test_what_is_just_below_the_limit_fits_into_its_topic(how):
    channel, unit = GROWS[how]
    text, number = [], 0
    while sum(map(len, text)) < LIMIT - 5_000:
        text += [unit(n) for n in range(number, number + 10_000)]
        number += 10_000
    whole = "".join(text)[: LIMIT - 5_000]
    context = CleaningContext.create(MasterKey({1: bytes(32)}))
    (outcome,), _ = judge([Message(f"raw.{channel}", said(channel, whole), RECEIVED_US)], context)
    assert outcome.route == "kept"
    assert len(orjson.dumps(outcome.record)) < contracts.topic("interactions.clean").max_message_bytes


def test_the_largest_raw_message_fits_into_a_reject():
    largest = contracts.topic("raw.app").max_message_bytes
    context = CleaningContext.create(MasterKey({1: bytes(32)}))
    (outcome,), _ = judge([Message("raw.app", b"\xff" * largest, RECEIVED_US)], context)
    assert outcome.route == "rejected"
    for topic in ("quarantine.rejects", "review.queue"):
        assert len(orjson.dumps(outcome.record)) + 4_096 < contracts.topic(topic).max_message_bytes


def test_sink_and_broker_take_the_largest_record():
    from infra.stack import kafka
    from pipelines.io.flink_kafka import outputs_ddl

    largest = max(topic.max_message_bytes for topic in contracts.topics().values())
    assert f"'properties.max.request.size' = '{largest}'" in outputs_ddl("b", ["t"], "p")
    assert largest <= kafka.MAX_MESSAGE_BYTES
