"""The way from a CRM file to a joined row, on simulated people whose numbers are known."""

from datetime import UTC, datetime

import orjson
import polars as pl

from pipelines import contracts
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.process import clean
from pipelines.identity.changes import links_of, map_record
from pipelines.identity.crm_import import crm_evidence, customer_id, read_rows
from pipelines.identity.map_records import feed
from pipelines.identity.resolve import resolve
from pipelines.privacy.keys import MasterKey
from pipelines.simulation import crm
from pipelines.simulation.traffic import generate

KEY, SEED, PEOPLE, EVENTS = MasterKey({1: bytes(32)}), 11, 300, 4000


def test_every_linkable_contact_joins_its_customer_and_nobody_else(tmp_path):
    crm.write(tmp_path / "crm.csv", SEED, PEOPLE)
    context = CleaningContext.create(KEY)
    policy = contracts.policy("identity")["resolution"]
    claims = crm_evidence(read_rows(tmp_path / "crm.csv"), context.tokeniser, KEY, policy, at_us=0).claims
    seqs = claims["record_key"].unique(maintain_order=True).to_frame().with_row_index("record_seq")
    resolution = resolve(claims.join(seqs, on="record_key").cast({"record_seq": pl.Int64}), [], policy)
    assert resolution.conflicts == []
    links = {token: map_record(of, "identity-2", 1) for token, of in links_of(resolution, claims).items()}
    feed(context.identity, [(token, link and orjson.dumps(link)) for token, link in links.items()])
    messages = list(generate(SEED, EVENTS, PEOPLE, datetime(2026, 11, 20, tzinfo=UTC)))
    columns = {
        "payloads": [m.value for m in messages],
        "topics": [m.topic for m in messages],
        "partitions": [0] * EVENTS,
        "offsets": list(range(EVENTS)),
        "received_us": [m.timestamp_ms * 1000 for m in messages],
        "accounts": [dict(m.headers).get("account", b"").decode() or None for m in messages],
        "attempts": [0] * EVENTS,
    }
    judged = clean(RawBatch(*(columns.get(n, [None] * EVENTS) for n in RawBatch._fields)), context, processed_us=0)
    linked = wrong = lost = 0
    for message, record in zip(messages, judged["record"], strict=True):
        row = orjson.loads(record)
        if row.get("identity_status") is None:  # a reject or a row in review
            continue
        if row["identity_status"] == "linked":
            linked += 1
            wrong += row["customer_id"] != customer_id(message.truth.customer_no, KEY)
        elif message.truth.linkable:
            lost += 1
    assert linked > EVENTS / 4
    assert (wrong, lost) == (0, 0)


def test_no_personal_value_is_left_in_the_clear():
    context = CleaningContext.create(KEY)
    messages = list(generate(SEED, EVENTS, PEOPLE, datetime(2026, 11, 20, tzinfo=UTC)))
    columns = {
        "payloads": [m.value for m in messages],
        "topics": [m.topic for m in messages],
        "partitions": [0] * EVENTS,
        "offsets": list(range(EVENTS)),
        "received_us": [m.timestamp_ms * 1000 for m in messages],
        "attempts": [0] * EVENTS,
    }
    judged = clean(RawBatch(*(columns.get(n, [None] * EVENTS) for n in RawBatch._fields)), context, processed_us=0)
    everybody = [person for person in crm.rows(SEED, PEOPLE)]
    personal = {row[name] for row in everybody for name in ("phone", "unionid", "email", "name") if row[name]}
    written = "\n".join(judged["record"])
    written += "\n".join(entry for entries in judged["vault_entries"].drop_nulls() for entry in entries)
    assert sorted(value for value in personal if value in written) == []
