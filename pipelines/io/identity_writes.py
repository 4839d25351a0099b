"""Writes of the identity state in MariaDB: claims, decisions, links, members, reviews and the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from sqlalchemy import Connection, text

from pipelines.identity.changes import Link
from pipelines.identity.clusters import KEPT_APART
from pipelines.identity.evidence import COLUMNS
from pipelines.identity.resolve import Conflict, Decision
from pipelines.io.identity_rows import CLAIM_COLUMNS, chunks, instant

_KEY = ["record_key", "token"]


def merged(
    evidence: pl.DataFrame,
    known: pl.DataFrame,
    *,
    registers: Sequence[str],
    at_us: int,
    ended_at: Mapping[str, int] | None = None,
) -> pl.DataFrame:
    """The claims that `evidence` makes new or different beside the `known` ones, columns as CLAIM_COLUMNS.

    A message's evidence adds to what is known; a register's record replaces it, and what it held and no longer tells
    ends at `at_us`, or when `ended_at` says for that record. `record_seq` is NULL for records not known yet.

    >>> held = {"record_key": "crm/1", "source": "crm", "attested": True, "first_seen_at": 5, "sightings": 1}
    >>> known = pl.DataFrame([held | {"record_seq": 1, "token": t, "token_type": "phone"} for t in ("ph1_a", "ph1_b")],
    ...                      schema=CLAIM_COLUMNS)
    >>> told = pl.DataFrame([held | {"token": "ph1_a", "token_type": "phone"}], schema=COLUMNS)
    >>> merged(told, known, registers=["crm"], at_us=9).select("token", "last_seen_at").rows()
    [('ph1_b', 9)]
    """
    register = pl.col("source").is_in(registers)
    before = known.select(*_KEY, pl.exclude(*_KEY, "source", "token_type").name.suffix("_before"))
    both = evidence.join(before, on=_KEY, how="left", maintain_order="left").with_columns(
        pl.min_horizontal("first_seen_at", "first_seen_at_before").alias("first_seen_at"),
        pl.when(register).then("last_seen_at").otherwise(pl.max_horizontal("last_seen_at", "last_seen_at_before"))
        .alias("last_seen_at"),
        pl.when(register).then("attested").otherwise(pl.col("attested") | pl.col("attested_before").fill_null(False))
        .alias("attested"),
        pl.when(register).then("sightings").otherwise(pl.col("sightings") + pl.col("sightings_before").fill_null(0))
        .alias("sightings"),
    )  # fmt: skip
    differs = pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(f"{name}_before"))
        for name in ("first_seen_at", "last_seen_at", "attested", "sightings")
    )
    seqs = known.select("record_key", "record_seq").unique()
    changed = both.filter(differs).select(list(COLUMNS)).join(seqs, on="record_key", how="left", maintain_order="left")
    ended = (
        known.filter(register & pl.col("last_seen_at").is_null())
        .join(evidence.select(_KEY), on=_KEY, how="anti")
        .with_columns(
            pl.col("record_key")
            .replace_strict(ended_at or {}, default=at_us, return_dtype=pl.Int64)
            .alias("last_seen_at")
        )
    )
    return pl.concat([part.select(list(CLAIM_COLUMNS)) for part in (changed, ended)])


def fresh_claims(changed: pl.DataFrame, known: pl.DataFrame) -> dict[str, int]:
    """How many claims to each identifier are new."""
    return dict(changed.join(known, on=_KEY, how="anti").group_by("token").len().iter_rows())


def write_claims(connection: Connection, changed: pl.DataFrame) -> None:
    """New and changed claims; records not known get the next numbers, in the order given."""
    numbered = _numbered(connection, changed)
    names = list(CLAIM_COLUMNS)
    values = numbered.with_columns(pl.col("first_seen_at", "last_seen_at").cast(pl.Datetime("us"))).select(names)
    update = ", ".join(f"{name} = VALUES({name})" for name in names if name not in _KEY)
    insert(connection, "identity_claims", names, values.rows(), f" ON DUPLICATE KEY UPDATE {update}")


def _numbered(connection: Connection, changed: pl.DataFrame) -> pl.DataFrame:
    new = changed.filter(pl.col("record_seq").is_null())["record_key"].unique(maintain_order=True)
    last = connection.execute(text("SELECT COALESCE(MAX(record_seq), 0) FROM identity_members")).scalar_one()
    seqs = pl.DataFrame({"record_key": new, "new_seq": pl.int_range(last + 1, last + 1 + len(new), eager=True)})
    # An erasure takes claims by identifier and members by customer: of a record that was nobody's the member stays, and
    # the same identifiers may be seen together again.
    again = " ON DUPLICATE KEY UPDATE record_seq = VALUES(record_seq), customer_id = NULL"
    insert(connection, "identity_members", ["record_key", "record_seq"], seqs.rows(), again)
    found = changed.join(seqs, on="record_key", how="left", maintain_order="left")
    return found.with_columns(pl.coalesce("record_seq", "new_seq").alias("record_seq")).drop("new_seq")


def write_decisions(
    connection: Connection, decisions: Sequence[Decision], actor: str, reason: str, at_us: int
) -> None:  # fmt: skip
    """The last word on each pair; the pair's keys stand in order."""
    names = ["record_key", "other_record_key", "decision", "actor", "reason", "recorded_at"]
    values = [(*sorted(d[1:]), d.decision, actor, reason, instant(at_us)) for d in decisions]
    update = ", ".join(f"{name} = VALUES({name})" for name in names[2:])
    insert(connection, "identity_decisions", names, values, f" ON DUPLICATE KEY UPDATE {update}")


def write_links(connection: Connection, links: Mapping[str, Sequence[Link]], rule_version: str, at_us: int) -> None:
    """All stretches of these identifiers anew."""
    for part in chunks(list(links)):
        marks = ", ".join(["%s"] * len(part))
        connection.exec_driver_sql(f"DELETE FROM identity_current_links WHERE token IN ({marks})", tuple(part))  # noqa: S608
    names = [*Link._fields, "rule_version", "recorded_at"]
    values = [
        (*link._replace(valid_from_at=instant(link.valid_from_at), valid_to_at=instant(link.valid_to_at)),
         rule_version, instant(at_us))
        for of_token in links.values() for link in of_token
    ]  # fmt: skip
    insert(connection, "identity_current_links", names, values)


def write_members(connection: Connection, members: Mapping[str, str | None]) -> None:
    """Whose these records are now."""
    if members:
        connection.exec_driver_sql(
            "UPDATE identity_members SET customer_id = %s WHERE record_key = %s",
            [(customer, record) for record, customer in members.items()],
        )


def pairs_to_look_at(conflicts: Sequence[Conflict]) -> dict[tuple[str, ...], Conflict]:
    """The pairs, keys in order, that a guard kept apart; not those where a person's word did."""
    asked = [conflict for conflict in conflicts if conflict.token and conflict.guard != KEPT_APART]
    return {tuple(sorted((c.record_key, c.other_record_key))): c for c in asked}


def propose(connection: Connection, conflicts: Sequence[Conflict], rule_version: str, at_us: int) -> int:
    """Pairs a guard kept apart, for a person to look at, unless they stand there; gives how many there are."""
    pairs = pairs_to_look_at(conflicts)
    names = ["record_key", "other_record_key", "review_origin", "token", "rule_version", "review_status", "proposed_at"]
    values = [(*pair, c.guard, c.token, rule_version, "open", instant(at_us)) for pair, c in pairs.items()]
    insert(connection, "identity_reviews", names, values, " ON DUPLICATE KEY UPDATE token = token")
    return len(values)


def close_reviews(
    connection: Connection, decisions: Sequence[Decision], actor: str, reason: str, at_us: int
) -> None:  # fmt: skip
    """Mark the reviews of these pairs as decided."""
    status = {"must": "accepted", "cannot": "rejected", "may": "open"}
    for decision in decisions:
        connection.execute(
            text(
                "UPDATE identity_reviews SET review_status = :s, decided_at = :at, actor = :actor, reason = :reason"
                " WHERE record_key = :a AND other_record_key = :b"
            ),
            dict(zip("ab", sorted(decision[1:]), strict=True))
            | {"s": status[decision.decision], "at": instant(at_us), "actor": actor, "reason": reason},
        )


def write_outbox(connection: Connection, records: Sequence[tuple[str, str, bytes | None]]) -> None:
    """Records on their way out, in this order."""
    last = connection.execute(text("SELECT COALESCE(MAX(outbox_id), 0) FROM identity_outbox")).scalar_one()
    values = [(last + n, topic, key, value) for n, (topic, key, value) in enumerate(records, start=1)]
    insert(connection, "identity_outbox", ["outbox_id", "outbox_topic", "outbox_key", "outbox_value"], values)


def outbox(connection: Connection, *, at_once: int = 10_000) -> list[tuple[int, str, str, bytes | None]]:
    """The oldest records that still have to go out."""
    query = text("SELECT outbox_id, outbox_topic, outbox_key, outbox_value FROM identity_outbox ORDER BY 1 LIMIT :n")
    found = connection.execute(query, {"n": at_once})
    return [(n, topic, key, None if value is None else value.encode()) for n, topic, key, value in found]


def forget_outbox(connection: Connection, up_to: int) -> None:
    """They have gone out."""
    connection.execute(text("DELETE FROM identity_outbox WHERE outbox_id <= :n"), {"n": up_to})


def insert(connection: Connection, table: str, names: Sequence[str], values: Sequence[tuple], after: str = "") -> None:
    """Many rows by one statement each thousand; names of tables and columns are ours, values go as parameters."""
    if values:
        marks = ", ".join(["%s"] * len(names))
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}){after}"  # noqa: S608
        for part in chunks(list(values)):
            connection.exec_driver_sql(statement, part)
