"""From raw bytes to one judged record a message: route, record and what rides along, on messages written by hand."""

import os
import resource
import subprocess
import sys

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.stack.settings import PROJECT_ROOT
from pipelines import contracts
from pipelines.channels import PARSERS
from pipelines.cleaning import process
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.identity import map_records
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import open_payload

KEY = MasterKey({1: bytes(32)})
SENT = 1_767_960_000  # 2026-01-09 12:00:00 UTC
RECEIVED_US = (SENT + 1) * 1_000_000


@pytest.fixture
def context():
    return CleaningContext.create(KEY)


def batch(*payloads, topic="raw.web_chat", attempt=0, first_ref=None):
    n = len(payloads)
    return RawBatch(
        list(payloads), [topic] * n, [0] * n, list(range(n)), [RECEIVED_US] * n, [None] * n, [None] * n,
        [attempt] * n, [first_ref] * n,
    )  # fmt: skip


def turn(**fields):
    base = {"message_id": "m1", "session_id": "s1", "visitor_id": "v1", "sender": "customer", "sent_at": SENT}
    return orjson.dumps(base | {"text": "订单什么时候发货"} | fields)


def records(out):
    return [orjson.loads(r) for r in out["record"]]


def test_every_message_gets_one_row_in_order_whatever_becomes_of_it(context):
    messages = batch(turn(), b"{bad", None, turn(message_id="m2", text="\u200b"), turn(message_id="m3"))
    out = process.clean(messages, context, RECEIVED_US)
    assert out["raw_ref"].to_list() == [f"raw.web_chat|0|{i}" for i in range(5)]
    assert out["topic"].to_list() == [
        "interactions.clean",  # an ordinary turn
        "quarantine.rejects",  # no JSON
        "quarantine.rejects",  # a record without bytes
        "quarantine.rejects",  # only a zero-width space
        "interactions.clean",  # the bad ones before it don't matter
    ]
    assert [r.get("rule") for r in records(out)] == [None, "payload.not_json", "payload.empty", "text.blank", None]


def test_a_reject_keeps_its_bytes(context):
    out = process.clean(batch(b"{bad"), context, RECEIVED_US)
    [record] = records(out)
    assert record["payload_bytes"] == 4
    assert open_payload(record["payload_encrypted"], KEY, "raw.web_chat/0/0") == b"{bad"


def test_records_hold_only_what_their_contract_lists(context):
    out = process.clean(batch(turn(), b"{bad", turn(event="complaint", text="你们看着办吧")), context, RECEIVED_US)
    for topic, record in zip(out["topic"], records(out), strict=True):
        contract = contracts.topic(topic)
        assert set(record) <= {f.name for f in contract.fields}, topic
        assert set(contract.required) <= set(record), topic


def test_kinds_go_to_their_topics(context):
    complaint = turn(event="complaint", text="快递太慢了，三天还没到，一直没有人处理")
    rating = turn(event="rating", score=5, score_max=5)
    out = process.clean(batch(complaint, rating, turn()), context, RECEIVED_US)
    assert out["topic"].to_list() == ["feedback.clean", "feedback.clean", "interactions.clean"]
    event = b'{"number":"T1"}'
    out = process.clean(batch(event, topic="raw.ticket_system"), context, RECEIVED_US)
    assert out["topic"].to_list() == ["quarantine.rejects"]  # no time and no state in it: no event


def test_no_personal_number_reaches_a_record(context):
    spoken = turn(text="打我电话13812345670", phone="13912345678", member_number="M778899")
    out = process.clean(batch(spoken), context, RECEIVED_US)
    written = "".join(out["record"])
    for personal in ("13812345670", "13912345678", "M778899", '"v1"'):
        assert personal not in written
    tokens = {entry.partition("|")[0][:2] for entry in out["vault_entries"][0]}
    assert tokens == {"ph", "mb", "uh"}  # two phones, the member number, the visitor


def test_an_outcome_is_written_by_people_too(context):
    """A disposition of a phone system is a code, until an agent types into the field."""
    call = {
        "call_id": "c1",
        "started_at": SENT,
        "direction": "inbound",
        "caller": "13800000001",
        "disposition": "改拨13812345670",
    }
    [record] = records(process.clean(batch(orjson.dumps(call), topic="raw.phone"), context, RECEIVED_US))
    assert record["outcome"].startswith("改拨")
    assert "13812345670" not in record["outcome"]


def test_vault_entries_come_once_until_reset(context):
    first = process.clean(batch(turn()), context, RECEIVED_US)
    again = process.clean(batch(turn()), context, RECEIVED_US)
    context.reset()  # the job was restarted: its last transaction may be gone
    after = process.clean(batch(turn()), context, RECEIVED_US)
    assert [f["vault_entries"].explode().drop_nulls().len() for f in (first, again, after)] == [1, 0, 1]


def test_a_known_phone_links_and_an_unknown_one_is_provisional(context):
    token = context.tokeniser.token("13912345678", "phone")
    link = {"token": token, "token_type": "phone", "customer_id": "c_7", "evidence": "crm", "rule_version": "1"}
    map_records.feed(context.identity, [(token, orjson.dumps(link))])
    out = process.clean(batch(turn(phone="+86 139-1234-5678"), turn(message_id="m2")), context, RECEIVED_US)
    known, unknown = records(out)
    assert (known["customer_id"], known["identity_status"]) == ("c_7", "linked")
    assert unknown["identity_status"] == "provisional"
    assert unknown["customer_id"] == "p_" + unknown["user_handle_token"][-32:-8]


def test_a_platform_retry_has_the_same_event_id_and_an_edit_another(context):
    retried, edited = turn(sent_at=SENT + 30), turn(revision=1)
    ids = process.clean(batch(turn(), retried, edited), context, RECEIVED_US)["event_id"].to_list()
    assert ids[0] == ids[1] != ids[2]


def test_a_replay_is_an_attempt_of_its_own_and_names_the_first(context):
    vague = turn(event="complaint", text="你们看着办吧")
    first = process.clean(batch(vague), context, RECEIVED_US)
    replay = process.clean(batch(vague, attempt=1, first_ref="raw.web_chat|1|99"), context, RECEIVED_US)
    assert first["topic"].to_list() == ["review.queue"]
    assert replay["topic"].to_list() == ["feedback.clean"]  # a person has looked at it: not asked twice
    assert first["event_id"][0] != replay["event_id"][0]
    [record] = records(replay)
    assert (record["attempt"], record["first_topic"]) == (1, "raw.web_chat")
    assert (record["first_partition"], record["first_offset"]) == (1, 99)


@pytest.mark.parametrize(
    ("header", "partition", "offset"),
    [
        ("raw.web_chat|1|99", 1, 99),
        ("raw.web_chat|2147483648|9223372036854775808", None, None),  # one more than 32 and 64 bits hold
        ("raw.web_chat|-1|1_0", None, None),  # Python would read both
        ("raw.web_chat|" + "9" * 5000 + "|", None, None),  # more digits than Python reads, and nothing
        ("raw.web_chat", None, None),  # a part of it only
    ],
)
@pytest.mark.parametrize("payload", [turn(), b"{bad"])
def test_whatever_a_replay_says_of_its_first_attempt_stops_nothing(context, payload, header, partition, offset):
    [record] = records(process.clean(batch(payload, attempt=1, first_ref=header), context, RECEIVED_US))
    assert record["first_topic"] == "raw.web_chat"
    assert (record.get("first_partition"), record.get("first_offset")) == (partition, offset)


def test_an_unreadable_attempt_is_a_reject(context):
    [record] = records(process.clean(batch(turn(), attempt=-1), context, RECEIVED_US))
    assert record["rule"] == "header.bad_attempt"


def test_a_message_that_breaks_a_rule_function_does_not_take_the_batch_with_it(context, monkeypatch):
    """The rule fails on one text; the other 199 messages of the batch are judged as ever."""
    real = process.judge

    def fails_on_poison(frame, ctx):
        if (frame["text"] == "poison").any():
            raise ValueError("no such thing")
        return real(frame, ctx)

    monkeypatch.setattr(process, "judge", fails_on_poison)
    messages = [turn(message_id=f"m{i}", text="poison" if i == 120 else "在吗") for i in range(200)]
    out = process.clean(batch(*messages), context, RECEIVED_US)
    assert out["raw_ref"].to_list() == [f"raw.web_chat|0|{i}" for i in range(200)]
    assert [i for i, topic in enumerate(out["topic"]) if topic != "interactions.clean"] == [120]
    assert records(out)[120]["rule"] == "cleaning.failed"
    assert open_payload(records(out)[120]["payload_encrypted"], KEY, "raw.web_chat/0/120") == messages[120]


def waits_for_other_threads():
    """How often this thread gave its core away while it judged a batch that meets every rule."""
    kinds = [
        turn(message_id="m1", text="你们看着办吧", event="complaint"),  # ambiguous: all its steps are walked
        turn(message_id="m2", text="？？？", event="complaint", member_number="M1"),  # only marks: both foldings
        turn(message_id="m3", text="太慢了", event="complaint", member_number="M2"),
        turn(message_id="m4", text="\u200b"),  # blank
        turn(message_id="m5", text="打我电话13812345670", response_time_s=30.0),
        turn(message_id="m6", event="rating", score=5, score_max=5),
        b"{bad",  # a reject in the middle: the rows must be put in order
        turn(message_id="m7"),
    ]
    known, messages = CleaningContext.create(KEY), batch(*kinds * 40)
    process.clean_columns(messages, known, RECEIVED_US)  # what is made once
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    process.clean_columns(messages, known, RECEIVED_US)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before


def test_a_batch_is_judged_without_waiting_for_another_thread():
    """On full cores each hand-over to polars' pool waits for its turn; there were twelve in this batch.

    An interpreter of its own, because the size of the pool is read once; the job's workers have a pool of one.
    """
    code = f"from {__name__} import waits_for_other_threads as waits; print(waits())"
    environment = os.environ | {"POLARS_MAX_THREADS": "1", "PYTHONPATH": str(PROJECT_ROOT)}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(told.stdout) <= 1


def test_a_result_does_not_depend_on_the_batch(context):
    messages = [turn(message_id=f"m{i}", text=f"第{i}件", response_time_s=40.0 * i) for i in range(40)]
    whole = process.clean(batch(*messages), context, RECEIVED_US)
    alone = [process.clean(batch(*messages).rows(slice(i, i + 1)), context, RECEIVED_US) for i in range(40)]
    assert whole["record"].to_list() == pl.concat(alone)["record"].to_list()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(PARSERS)), st.binary(max_size=200)), min_size=1, max_size=8))
def test_whatever_bytes_come_each_gets_one_row(messages):
    n = len(messages)
    raw = RawBatch(
        [payload for _, payload in messages], [f"raw.{channel}" for channel, _ in messages], [0] * n, list(range(n)),
        [RECEIVED_US] * n, [None] * n, [None] * n, [0] * n, [None] * n,
    )  # fmt: skip
    out = process.clean(raw, CleaningContext.create(KEY), RECEIVED_US)
    assert out["raw_ref"].to_list() == [f"{t}|0|{i}" for i, t in enumerate(raw.topics)]
    assert all(orjson.loads(r) for r in out["record"])
