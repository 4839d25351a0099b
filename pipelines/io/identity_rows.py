"""The rows of the identity state in MariaDB, and which of them a change has to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import Connection, DateTime, bindparam, text

from pipelines import contracts
from pipelines.identity.changes import Link
from pipelines.identity.evidence import COLUMNS
from pipelines.identity.resolve import Decision

# Tables with their further indexes, made when they are not there.
TABLES: dict[str, tuple[tuple[str, ...], ...]] = {
    "identity.claims": (("token",), ("source",)),
    "identity.decisions": (("other_record_key",),),
    "identity.members": (("customer_id",), ("record_seq",)),
    "identity.current_links": (("customer_id",),),
    "identity.reviews": (("review_status", "proposed_at"),),
    "identity.outbox": (),
    "identity.matched": (),
    "identity.match_models": (),
    "identity.revisions": (),
}
CLAIM_COLUMNS = {"record_seq": pl.Int64} | COLUMNS
_AT_ONCE = 1_000
_EPOCH = datetime(1970, 1, 1)


class Neighbourhood(NamedTuple):
    """Everything that shares an identifier with what was touched, directly or through others.

    `members`: record_key → customer_id as it stands. `crowded`: identifiers not looked through.
    """

    claims: pl.DataFrame
    members: dict[str, str | None]
    crowded: frozenset[str]


def sql_name(table: str) -> str:
    """The table's name in MariaDB.

    >>> sql_name("identity.claims")
    'identity_claims'
    """
    return table.replace(".", "_")


def create_tables(connection: Connection) -> None:
    """Make what is not there yet."""
    for name, indexes in TABLES.items():
        connection.exec_driver_sql(contracts.mariadb_ddl(contracts.table(name), name=sql_name(name), indexes=indexes))


def instant(us: int | None) -> datetime | None:
    """Microseconds since the epoch as MariaDB takes them (UTC, no zone)."""
    return None if us is None else _EPOCH + timedelta(microseconds=us)


def microseconds(at: datetime | None) -> int | None:
    """The reverse of `instant`.

    >>> microseconds(instant(1_767_916_800_000_001))
    1767916800000001
    """
    return None if at is None else (at - _EPOCH) // timedelta(microseconds=1)


def chunks(values: Sequence[Any], size: int = _AT_ONCE) -> Iterator[Sequence[Any]]:
    """Slices small enough for one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def claims_of_records(connection: Connection, records: Sequence[str]) -> pl.DataFrame:
    """All claims of these records, columns as CLAIM_COLUMNS."""
    return _claims(connection, "record_key", records)


def claims_of_tokens(connection: Connection, tokens: Sequence[str]) -> pl.DataFrame:
    """All claims to these identifiers."""
    return _claims(connection, "token", tokens)


def claims_of_source(connection: Connection, source: str) -> pl.DataFrame:
    """All claims of one source."""
    return _claims(connection, "source", [source])


_CLAIMS = {
    column: text(
        f"SELECT {', '.join(CLAIM_COLUMNS)} FROM identity_claims WHERE {column} IN :wanted"  # noqa: S608
    ).bindparams(bindparam("wanted", expanding=True))
    for column in ("record_key", "token", "source")
}


def _claims(connection: Connection, column: str, wanted: Sequence[str]) -> pl.DataFrame:
    found = [tuple(row) for part in chunks(wanted) for row in connection.execute(_CLAIMS[column], {"wanted": part})]
    types = {
        name: pl.Datetime("us") if name.endswith("_at") else pl.Int8 if kind == pl.Boolean else kind
        for name, kind in CLAIM_COLUMNS.items()
    }
    frame = pl.DataFrame(found, schema=types, orient="row")
    return frame.with_columns(pl.col(name).cast(kind) for name, kind in CLAIM_COLUMNS.items())


def neighbourhood(
    connection: Connection,
    records: Sequence[str],
    tokens: Sequence[str],
    fresh: Mapping[str, int],
    resolution: Mapping[str, Any],
) -> Neighbourhood:
    """What is connected with these records and identifiers, by policy identity's part `resolution`.

    Names and birth dates (`same_person`) connect nobody: thousands share one. An identifier in more records than
    `crowded_above_records` is not looked through, unless it was not crowded before the `fresh` claims (token → how many
    are new): then those who were joined by it are seen once more, to part.
    """
    limit, says_who = resolution["crowded_above_records"], resolution["same_person"]
    seen_records, seen_tokens, crowded = set(records), set(tokens), set()
    parts, new_records, new_tokens = [], list(seen_records), list(seen_tokens)
    while new_records or new_tokens:
        open_tokens = []
        for token, count in _claim_counts(connection, new_tokens):
            if count > limit:
                crowded.add(token)
            if count - fresh.get(token, 0) <= limit:
                open_tokens.append(token)
        new_records += sorted(set(claims_of_tokens(connection, open_tokens)["record_key"]) - seen_records)
        new_records += _decided_with(connection, new_records, seen_records)
        seen_records.update(new_records)
        found = claims_of_records(connection, new_records)
        parts.append(found)
        connecting = found.filter(~pl.col("token_type").is_in(says_who))["token"]
        new_records, new_tokens = [], sorted(set(connecting) - seen_tokens)
        seen_tokens.update(new_tokens)
    claims = pl.concat(parts).unique(["record_key", "token"], maintain_order=True)
    return Neighbourhood(claims, members(connection, sorted(seen_records)), frozenset(crowded))


def _claim_counts(connection: Connection, tokens: Sequence[str]) -> Iterator[tuple[str, int]]:
    query = text("SELECT token, COUNT(*) FROM identity_claims WHERE token IN :wanted GROUP BY token").bindparams(
        bindparam("wanted", expanding=True)
    )
    for part in chunks(tokens):
        yield from (tuple(row) for row in connection.execute(query, {"wanted": part}))


def _decided_with(connection: Connection, records: Sequence[str], seen: set[str]) -> list[str]:
    decided = decisions_on(connection, records)
    return sorted({key for decision in decided for key in decision[1:]} - seen - set(records))


def decisions_on(connection: Connection, records: Sequence[str]) -> list[Decision]:
    """The decisions that name one of these records, oldest first."""
    query = text(
        "SELECT recorded_at, decision, record_key, other_record_key FROM identity_decisions"
        " WHERE record_key IN :wanted OR other_record_key IN :wanted"
    ).bindparams(bindparam("wanted", expanding=True))
    found = {tuple(row) for part in chunks(records) for row in connection.execute(query, {"wanted": part})}
    return [Decision(*row[1:]) for row in sorted(found, key=lambda row: (row[0], row[2], row[3]))]


def members(connection: Connection, records: Sequence[str]) -> dict[str, str | None]:
    """record_key → customer_id of these records; None where a record is nobody's."""
    query = text("SELECT record_key, customer_id FROM identity_members WHERE record_key IN :wanted").bindparams(
        bindparam("wanted", expanding=True)
    )
    return dict(tuple(row) for part in chunks(records) for row in connection.execute(query, {"wanted": part}))


def records_of_customer(connection: Connection, customer_id: str) -> list[str]:
    """The customer's source records, oldest first; empty where there is no such customer."""
    query = text("SELECT record_key FROM identity_members WHERE customer_id = :c ORDER BY record_seq")
    return list(connection.execute(query, {"c": customer_id}).scalars())


_IN_TURN = text(
    "SELECT record_seq, record_key FROM identity_members WHERE record_seq > :n ORDER BY record_seq LIMIT :m"
)


def records_after(connection: Connection, seq: int, limit: int) -> tuple[list[str], int | None]:
    """The next records in the order of their arrival, and the number of the last of them; None where there are none."""
    found = connection.execute(_IN_TURN, {"n": seq, "m": limit}).all()
    return [record for _, record in found], found[-1][0] if found else None


_RECORDS = text("SELECT customer_id, record_key FROM identity_members WHERE customer_id IN :wanted").bindparams(
    bindparam("wanted", expanding=True)
)


def records_of_customers(connection: Connection, customers: Sequence[str]) -> list[tuple[str, str]]:
    """(customer_id, record_key) of all source records of these customers."""
    return [tuple(row) for part in chunks(customers) for row in connection.execute(_RECORDS, {"wanted": part})]


def links_of_tokens(connection: Connection, tokens: Sequence[str]) -> dict[str, list[Link]]:
    """The stretches of these identifiers as they stand."""
    return _links(connection, "token", tokens)


_LAST_TOLD = (
    text("SELECT MAX(recorded_at) AS last_at FROM identity_current_links WHERE token IN :wanted")
    .bindparams(bindparam("wanted", expanding=True))
    .columns(last_at=DateTime)
)


def after_what_is_told(connection: Connection, tokens: Sequence[str], at_us: int) -> int:
    """`at_us`, or the first microsecond after the last recording of one of these identifiers where that is later.

    Readers of the links take the newest recording. A clock read before the wait for the lock, or one set back, would
    make what was committed last look older than what it replaced.
    """
    found = (connection.execute(_LAST_TOLD, {"wanted": part}).scalar() for part in chunks(tokens))
    return max([at_us, *(microseconds(last_at) + 1 for last_at in found if last_at is not None)])


def links_of_customers(connection: Connection, customers: Sequence[str]) -> dict[str, list[Link]]:
    """The stretches of these customers, by identifier."""
    return _links(connection, "customer_id", customers)


_LINKS = {
    column: text(
        f"SELECT {', '.join(Link._fields)} FROM identity_current_links"  # noqa: S608
        f" WHERE {column} IN :wanted ORDER BY token, stretch"
    ).bindparams(bindparam("wanted", expanding=True))
    for column in ("token", "customer_id")
}


def _links(connection: Connection, column: str, wanted: Sequence[str]) -> dict[str, list[Link]]:
    found: dict[str, list[Link]] = {}
    for part in chunks(wanted):
        for row in connection.execute(_LINKS[column], {"wanted": part}):
            link = Link(*row)
            link = link._replace(
                valid_from_at=microseconds(link.valid_from_at), valid_to_at=microseconds(link.valid_to_at)
            )
            found.setdefault(link.token, []).append(link)
    return found
