"""CRM records and orders through the cleaning function: their own topics, every column declared, nothing clear."""

import orjson
import polars as pl
import pytest

from pipelines import contracts
from pipelines.cleaning import process, source_records
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.judge import judge
from pipelines.identity import crm_import, map_records
from pipelines.privacy.keys import MasterKey

KEY = MasterKey({1: bytes(32)})
SENT = 1_767_960_000
RECEIVED_US = (SENT + 1) * 1_000_000
RECORD = {
    "customer_no": "C0070000001", "name": "王小一", "phone": "13912345678", "phone_verified": True, "unionid": "uX",
    "member_number": "M778899", "email": "wang@example.org", "national_id": "110101190001010014", "region": "上海",
    "address": "某路一号", "birth_date": "1990-05-01", "gender": "女", "member_level": "金卡", "updated_at": SENT,
    "registered_at": "2019-03-02", "consent": {"marketing": {"given": True, "at": SENT}},
}  # fmt: skip
ORDER = {
    "order_id": "SO1", "status": "paid", "ordered_at": SENT - 60, "paid_at": SENT, "currency": "CNY",
    "amount_minor": 1290, "shop": "旗舰店", "phone": "13912345678", "lines": [{"sku": "A", "amount_minor": 1290}],
}  # fmt: skip
TURN = {"message_id": "m", "session_id": "s", "visitor_id": "v", "sender": "customer", "sent_at": SENT, "text": "在吗"}


@pytest.fixture
def context():
    return CleaningContext.create(KEY)


def cleaned(context, *messages, attempt=0):
    """(topic, record) of each (source, fields or bytes)."""
    n = len(messages)
    payloads = [value if isinstance(value, bytes) else orjson.dumps(value) for _, value in messages]
    batch = RawBatch(
        payloads, [f"raw.{source}" for source, _ in messages], [0] * n, list(range(n)), [RECEIVED_US] * n, [None] * n,
        [None] * n, [attempt] * n, [None] * n,
    )  # fmt: skip
    out = process.clean(batch, context, RECEIVED_US)
    return list(zip(out["topic"], map(orjson.loads, out["record"]), strict=True)), out


def test_each_source_has_its_topic_and_contacts_keep_theirs(context):
    found, _ = cleaned(context, ("crm", RECORD), ("web_chat", TURN), ("orders", ORDER), ("orders", b"{"))
    topics = ["customers.clean", "interactions.clean", "orders.clean", "quarantine.rejects"]
    assert [topic for topic, _ in found] == topics


def test_records_hold_what_their_contract_lists_and_all_it_requires(context):
    found, _ = cleaned(context, ("crm", RECORD), ("orders", ORDER))
    for topic, record in found:
        contract = contracts.topic(topic)
        assert set(record) <= {f.name for f in contract.fields}, topic
        assert set(contract.required) <= set(record), topic


def test_columns_of_a_customer(context):
    [(_, record)], _ = cleaned(context, ("crm", RECORD))
    expected = {
        "region": "上海", "birth_year": 1990, "gender": "female", "member_level": "金卡", "crm_status": "active",
        "phone_verified": True, "updated_at": SENT * 1_000_000, "consent_marketing": True,
        "consent_marketing_at": SENT * 1_000_000, "registered_at": 1551456000_000_000,  # midnight in Shanghai
    }  # fmt: skip
    assert {name: record[name] for name in expected} == expected
    assert "consent_profiling" not in record  # never asked
    # The code of a customer is that of the identity map, so that a record's own ID can be told from its key.
    assert "c_" + record["record_key"].removeprefix("crm/") == crm_import.customer_id("C0070000001", KEY)


def test_columns_of_an_order(context):
    [(_, record)], _ = cleaned(context, ("orders", ORDER))
    expected = {
        "order_id": "SO1", "order_status": "paid", "amount_minor": 1290, "refunded_minor": 0, "currency": "CNY",
        "paid_at": SENT * 1_000_000, "ordered_at": (SENT - 60) * 1_000_000, "units": 1, "shop_id": "旗舰店",
    }  # fmt: skip
    assert {name: record[name] for name in expected} == expected


def test_nothing_personal_is_clear_and_all_of_it_lies_in_the_vault(context):
    sent = RECORD | {"member_level": "金卡 13812345670"}  # a clerk's note in a field of another meaning
    found, out = cleaned(context, ("crm", sent), ("orders", ORDER | {"shop": "店 13712345678"}))
    written = "".join(out["record"])
    for clear in ("王小一", "13912345678", "13812345670", "13712345678", "M778899", "wang@", "110101190001010014",
                  "某路", "1990-05-01", "C0070000001", "uX"):  # fmt: skip
        assert clear not in written, clear
    kinds = {entry[:2] for entry in out["vault_entries"].explode().drop_nulls()}
    assert kinds == {"nm", "bd", "ad", "ph", "id", "em", "un", "mb"}
    assert found[0][1]["name_token"].startswith("nm1_")


def test_an_unverified_phone_is_a_token_that_finds_nobody(context):
    token = context.tokeniser.token("13912345678", "phone")
    link = {"token": token, "token_type": "phone", "customer_id": "c_7", "evidence": "crm", "rule_version": "1"}
    map_records.feed(context.identity, [(token, orjson.dumps(link))])
    only_phone = {"customer_no": "C2", "updated_at": SENT, "phone": "13912345678"}
    found, _ = cleaned(context, ("crm", only_phone | {"phone_verified": True}), ("crm", only_phone))
    (_, verified), (_, typed) = found
    assert (verified["customer_id"], verified["identity_status"]) == ("c_7", "linked")
    assert typed["identity_status"] == "anonymous"
    assert typed["phone_token"] == verified["phone_token"] == token


def test_an_order_finds_its_customer_and_a_later_revision_is_another_event(context):
    _, out = cleaned(context, ("orders", ORDER), ("orders", ORDER), ("orders", ORDER | {"updated_at": SENT + 1}))
    first, retry, refund = out["event_id"]
    assert first == retry != refund
    assert orjson.loads(out["record"][0])["identity_status"] == "provisional"


def test_an_instant_is_no_card_number(context):
    """Microseconds have sixteen digits; those that pass the card's check digit must stay numbers."""
    instants = [SENT * 1_000_000 + step for step in range(0, 40)]
    found, _ = cleaned(context, *(("crm", RECORD | {"updated_at": at}) for at in instants))
    assert [record["updated_at"] for _, record in found] == instants


def test_a_record_that_a_rule_refuses_says_nothing_clear_either(context, monkeypatch):
    """No rule of today refuses a record after parsing; one of tomorrow must not let its columns out."""

    def refused(frame, context):
        why = {"route": "rejected", "rule": "record.refused", "reason": "planted"}
        return judge(frame, context).with_columns(**{name: pl.lit(value) for name, value in why.items()})

    monkeypatch.setattr(process, "judge", refused)
    [(topic, record)], _ = cleaned(context, ("crm", RECORD))
    assert topic == "quarantine.rejects"
    assert set(record) <= {f.name for f in contracts.topic(topic).fields}


def test_the_envelope_stays_behind(context):
    frame = pl.DataFrame({"channel": ["crm", "app"], "attributes": ['{"columns":{"region":"上海"}}', '{"device":"x"}']})
    emptied, columns = source_records.take_out(frame, context)
    assert emptied["attributes"].to_list() == [None, '{"device":"x"}']  # only what belongs to a record is taken
    assert columns == {0: {"region": "上海"}}


def test_a_result_does_not_depend_on_the_batch(context):
    mixed = [("crm", RECORD), ("web_chat", TURN), ("orders", ORDER), ("web_chat", TURN | {"message_id": "m2"})]
    whole, _ = cleaned(context, *mixed)
    for nth, message in enumerate(mixed):
        [(topic, record)], _ = cleaned(context, message)
        assert (topic, record | {"raw_offset": nth}) == whole[nth]
