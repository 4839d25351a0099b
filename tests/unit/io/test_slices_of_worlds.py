"""Seeded lakes of many small worlds: whom an increment passes over has the rows they had, whom it takes has all theirs.

The rules of the view's inputs (newest revision, whose it is) are written out here once more, in plain Python.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from jobs.spark.increments import TABLES, windows
from pipelines import contracts
from pipelines.io import lake_changes, lake_slices
from pipelines.io.lake_changes import LINKS
from pipelines.io.spark_delta import version_of
from pipelines.tables.current_rows import identifier_columns, token_columns
from tests.unit.io.lake import AT, interaction, write

Row = dict[str, Any]
IDENTITY = contracts.policy("identity")
TOKENS = identifier_columns(IDENTITY)
PROVISIONAL = token_columns(IDENTITY["provisional"])
WINDOW, DAY = timedelta(days=180), timedelta(days=1)
BUILDS = [AT + 10 * DAY, AT + 11 * DAY, AT + 11 * DAY, AT + 13 * DAY]  # two of them as of one instant
WORLDS = 120
KINDS = ("phone", "unionid", "member", "user_handle")  # of CRM and shop too, but for the last
MESSAGES, RECORDS = ("silver.interactions", "silver.feedback"), ("silver.orders", "silver.customers")


class World:
    """Three customers, two identifiers of each kind, and rows and links of theirs as chance has it."""

    def __init__(self, nth: int, chance: Random) -> None:
        self.nth, self.chance = nth, chance
        self.customers = [f"c_{nth}_{n}" for n in range(3)]
        self.tokens = {kind: [f"{kind[:2]}1_{nth:010x}{at:06x}{n:08x}{0:08x}" for n in range(2)]
                       for at, kind in enumerate(KINDS)}  # fmt: skip

    def instant(self) -> datetime:
        """Long ago, about a build, or about the end of its window; also exactly, also after the build that knows it."""
        build = self.chance.choice(BUILDS)
        back = self.chance.choice([0 * DAY, WINDOW, DAY, 7 * DAY, 20 * DAY, 100 * DAY, 200 * DAY])
        return build - back + self.chance.choice([0, -5, 7]) * timedelta(hours=1)

    def row(self, table: str, offset: int, came_at: datetime) -> Row:
        """A row of one of the four tables; whose the stream took it for may be out of date."""
        one = self.chance.choice
        kinds = KINDS if table in MESSAGES else KINDS[:3]
        held = {f"{kind}_token": one(self.tokens[kind]) for kind in self.chance.sample(kinds, one([0, 1, 1, 2, 3]))}
        whose = one([(one(self.customers), "linked"), (named(held), "provisional"), (None, "anonymous")])
        at = self.instant()
        row = interaction(
            offset, raw_topic=f"raw.{table}", received_at=came_at, occurred_at=at, updated_at=at,
            account=one(["a", None]), source_revision=one([0, 0, 1, 2]), attempt=one([0, 0, 1]),
            customer_id=whose[0], identity_status="anonymous" if whose[0] is None else whose[1], **held,
        )  # fmt: skip
        replayed = {"first_topic": row["raw_topic"], "first_partition": 0, "first_offset": offset - one([1, 2, 3])}
        return row | {
            "silver.orders": {"order_id": f"o{self.nth}", "paid_at": one([None, self.instant()])},
            "silver.customers": {"record_key": f"crm/{self.nth}", "phone_verified": one([True, False, None]),
                                 "crm_status": one(["active", "active", "deleted"])},
        }.get(table, {"source_message_id": one([None, f"m{self.nth}", f"n{self.nth}"])} | (
            replayed if row["attempt"] and one([True, False]) else {}))  # fmt: skip

    def links(self, recorded_at: datetime) -> list[Row]:
        """Whose an identifier is, and perhaps whose from some instant on; nobody's, or nobody's at all."""
        kind = self.chance.choice(KINDS)
        token, cut_at, since = self.chance.choice(self.tokens[kind]), self.instant(), AT.replace(year=1970)
        stretches = self.chance.choice([[(since, None)], [(since, cut_at), (cut_at, None)], [(cut_at, None)]])
        nobody = [None, ""] if kind == "user_handle" else [None]
        return [{"token": token, "token_type": kind, "valid_from_at": begin, "valid_to_at": end,
                 "customer_id": self.chance.choice([*self.customers, *nobody]), "recorded_at": recorded_at}
                for begin, end in stretches]  # fmt: skip


def named(held: Row) -> str | None:
    best = next((held[name] for name in PROVISIONAL if held.get(name)), None)
    return best and f"p_{best[-32:][:24]}"


def owner(row: Row, stretches: dict[str, list[Row]], held: Row) -> str | None:
    """See pipelines/tables/current_rows.py, under_current_customer."""
    precedence = token_columns(IDENTITY["precedence"])
    found = [(name, link) for name in precedence for link in stretches.get(held.get(name), [])]
    owners = [(name, link["customer_id"]) for name, link in found
              if link["customer_id"] is not None and link["valid_from_at"] <= row["occurred_at"]
              and (link["valid_to_at"] is None or row["occurred_at"] < link["valid_to_at"])]  # fmt: skip
    if not owners:
        return named(held) if found and row["identity_status"] != "provisional" else row["customer_id"]
    torn = len({customer for _, customer in owners}) > 1
    if torn and owners[0][0] in token_columns(IDENTITY["must_agree"]):
        return None
    return owners[0][1] or None


def newest(rows: Iterable[tuple[str, Row]], key: Any) -> list[tuple[str, Row]]:
    best: dict[Any, tuple[str, Row]] = {}
    for table, row in rows:
        first = [-ord(letter) for letter in row["raw_topic"]], -row["raw_offset"]  # of equals the first place counts
        changed_at = row["updated_at"] if table in RECORDS else AT
        rank = changed_at, row["source_revision"], row["attempt"], row["received_at"], first
        known = best.get(key(table, row))
        if known is None or known[1]["rank"] < rank:
            best[key(table, row)] = table, row | {"rank": rank}
    return list(best.values())


def message_key(table: str, row: Row) -> tuple:
    own = tuple(row[f"first_{part}"] if row[f"first_{part}"] is not None else row[f"raw_{part}"]
                for part in ("topic", "partition", "offset"))  # fmt: skip
    return row["channel"], row["account"], row["source_message_id"] or own


def record_key(table: str, row: Row) -> tuple:
    return table, *((row["account"], row["order_id"]) if table == "silver.orders" else (row["record_key"],))


def in_time(link: Row) -> tuple:
    """Of two recorded at once, what is without end or owner comes first."""
    return link["valid_from_at"], link["valid_to_at"] or AT.replace(year=1), link["customer_id"] or ""


def counted(rows: dict[str, list[Row]], as_of_at: datetime) -> dict[str, set]:
    """By customer: which rows count before an instant, and where in the windows they lie."""
    of_token: dict[str, list[Row]] = defaultdict(list)
    for link in rows[LINKS]:
        of_token[link["token"]].append(link)
    for token, links in of_token.items():
        last_at = max(link["recorded_at"] for link in links)
        of_token[token] = sorted((link for link in links if link["recorded_at"] == last_at), key=in_time)
    said = newest(((table, row) for table in MESSAGES for row in rows[table]), message_key)
    known = ((table, row) for table in RECORDS for row in rows[table] if row["occurred_at"] < as_of_at)
    found = defaultdict(set)
    for table, row in [*said, *newest(known, record_key)]:
        held = {name: row.get(name) for name in TOKENS}
        if table == "silver.customers" and not row["phone_verified"]:
            held["phone_token"] = None
        customer = owner(row, of_token, held)
        if row["occurred_at"] < as_of_at and row.get("crm_status") != "deleted" and customer is not None:
            at = row["paid_at"] if table == "silver.orders" else row["occurred_at"] if table in MESSAGES else None
            place = at and ("before" if at < as_of_at - WINDOW else "in it" if at < as_of_at else "after")
            found[customer].add((table, row["raw_offset"], place))
    return found


def paths(lake: Path) -> dict[str, Path]:
    return {table: lake.joinpath(*table.split(".")) for table in TABLES}


def versions(lake: Path) -> dict[str, int | None]:
    return {table: version_of(path) for table, path in paths(lake).items()}


def all_rows(lake: Path) -> dict[str, list[Row]]:
    return {table: pl.from_arrow(DeltaTable(str(path)).to_pyarrow_table()).to_dicts() if path.exists() else []
            for table, path in paths(lake).items()}  # fmt: skip


def news(lake: Path, worlds: list[World], came_at: datetime, *, most: int, first: int) -> None:
    """What came into the lake until a build; offsets from ``first`` on."""
    rows: dict[str, list[Row]] = {table: [] for table in TABLES}
    for world in worlds:
        for table in (*MESSAGES, *RECORDS):
            for _ in range(world.chance.randint(0, most)):
                first += 1
                rows[table].append(world.row(table, first, came_at + timedelta(seconds=first % 50)))
        for _ in range(world.chance.randint(0, 2 * most)):
            rows[LINKS] += world.links(came_at + timedelta(seconds=world.chance.choice([1, 1, 2])))
    for table, some in rows.items():
        write(lake, table, some)


def sliced(lake: Path, before: dict[str, int | None], was_at: datetime, as_of_at: datetime) -> tuple[set[str], dict]:
    """The customers an increment takes, and the rows it reads of them."""
    folder = lake / "staging"
    with duckdb.connect() as connection:
        found = lake_changes.touched(
            connection, paths(lake), before, versions(lake), tokens=TOKENS, until=as_of_at, folder=folder,
            also=windows(was_at, as_of_at),
        )  # fmt: skip
        assert found is not None
        then = lake_changes.touched_then(connection, tokens=TOKENS, until=was_at, folder=folder / "then")
        made = lake_slices.write_slices(
            connection, paths(lake), versions(lake), tokens=TOKENS, provisional=PROVISIONAL, folder=folder
        )
    with duckdb.connect() as connection:
        asked = lake_changes.touched(
            connection, paths(lake), before, versions(lake), tokens=TOKENS, until=was_at, folder=folder / "asked"
        )
    assert as_sets(then) == as_sets(asked), "what came of the build before is what is found by asking for it alone"
    rows = {table: pl.read_parquet(path).to_dicts() for table, path in made.tables.items()}
    return set(pl.read_parquet(made.customers)["customer_id"]), rows


def as_sets(found: lake_changes.Touched | None) -> list[list[tuple]] | None:
    """The rows of its files, but for their numbers, which are any."""
    return found and [sorted(pl.read_parquet(file).drop("nth", strict=False).rows(), key=repr) for file in found]


@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_is_passed_over_whose_rows_changed_and_nobody_is_taken_without_all_of_theirs(tmp_path, seed):
    worlds = [World(nth, Random(1000 * seed + nth)) for nth in range(WORLDS)]
    news(tmp_path, worlds, BUILDS[0], most=3, first=0)
    was, before = counted(all_rows(tmp_path), BUILDS[0]), versions(tmp_path)
    for nth, (was_at, as_of_at) in enumerate(pairwise(BUILDS), start=1):
        news(tmp_path, worlds[nth::5], BUILDS[0] + nth * DAY / 2, most=1, first=nth * 100_000)
        for table in MESSAGES if nth == 2 else ():
            DeltaTable(str(paths(tmp_path)[table])).optimize.compact()
        now = counted(all_rows(tmp_path), as_of_at)
        concerned, rows = sliced(tmp_path, before, was_at, as_of_at)
        of_slices = counted(rows, as_of_at)
        others = (was.keys() | now.keys()) - concerned
        assert len(others) > 0.3 * len(now), "else the test says little"
        assert {c: was.get(c) for c in others} == {c: now.get(c) for c in others}, f"passed over in build {nth}"
        assert {c: of_slices.get(c) for c in concerned} == {c: now.get(c) for c in concerned}, f"taken in build {nth}"
        was, before = now, versions(tmp_path)
