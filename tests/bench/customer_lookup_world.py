"""Customers for the look-up's benchmark: a published view, and identifiers that lead to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import write_deltalake
from sqlalchemy import Engine

from pipelines import contracts
from pipelines.io import identity_rows
from pipelines.io.bulk_rows import load_rows
from pipelines.privacy.tokens import Tokeniser

AS_OF = datetime(2026, 1, 9, tzinfo=UTC)
GOLD = "gold.customer_360"
MERGED_SHARE = 0.02
_AT_ONCE = 50_000


def phone(number: int) -> str:
    """A Chinese mobile number; no two numbers below a hundred million give the same."""
    return f"139{number:08d}"


def openid(number: int) -> str:
    """An openid as WeChat makes them: 28 characters."""
    return f"o{number:027x}"


def customer_id(number: int) -> str:
    """The coded ID of the customer's oldest record."""
    return f"c_{number:024x}"


def merged_into(customers: int) -> dict[int, int]:
    """Which customers' IDs were merged away, and into whose: every fiftieth into the one before."""
    step = round(1 / MERGED_SHARE)
    return {number: number - 1 for number in range(step - 1, customers, step)}


def view(customers: int, rng: np.random.Generator, *, changed: float = 1.0) -> pl.DataFrame:
    """gold.customer_360 with a value in every column; without those merged away. `changed`: whose contacts moved on."""
    gone = merged_into(customers)
    alive = np.array([number for number in range(customers) if number not in gone])
    days = rng.integers(0, 400, len(alive))
    columns = {}
    for field in contracts.table(GOLD).fields:
        if field.name == "customer_id":
            columns[field.name] = pl.Series([customer_id(n) for n in alive])
        elif field.name == "as_of_at":
            columns[field.name] = pl.Series([AS_OF] * len(alive))
        elif field.type == "timestamp":
            columns[field.name] = pl.Series([AS_OF - timedelta(days=int(d), hours=3) for d in days])
        elif field.type == "boolean":
            columns[field.name] = pl.Series(rng.random(len(alive)) < 0.5)
        elif field.type in ("int", "long", "double"):
            columns[field.name] = pl.Series(rng.integers(0, 90, len(alive)))
        else:
            words = field.values or ("answered", "浙江省杭州市", "gold", "CNY")
            columns[field.name] = pl.Series(rng.choice(words, len(alive)).tolist())
    frame = pl.DataFrame(columns)
    return frame.with_columns(pl.col("contacts") + pl.Series((rng.random(len(alive)) < changed).astype(int)))


def publish(frame: pl.DataFrame, path: Path) -> None:
    """As a gold build does: one commit."""
    schema = contracts.arrow_schema(contracts.table(GOLD))
    write_deltalake(str(path), frame.to_arrow().select(schema.names).cast(schema), mode="overwrite")


def load_identity(engine: Engine, tokeniser: Tokeniser, customers: int, scratch: Path) -> None:
    """Members and links as the resolver would have left them: a phone and an openid each."""
    numbers, gone = range(customers), merged_into(customers)
    owners = pl.Series([customer_id(gone.get(n, n)) for n in numbers])
    members = pl.DataFrame(
        {
            "record_key": [f"crm/{n:024x}" for n in numbers],
            "record_seq": [n + 1 for n in numbers],
            "customer_id": owners,
        }
    )
    with engine.begin() as connection:
        identity_rows.create_tables(connection)
        _load(connection, "identity_members", members, scratch)
        for kind, make in (("phone", phone), ("openid", openid)):
            tokens = tokeniser.tokens(pl.Series([make(n) for n in numbers]), kind)
            links = pl.DataFrame({"token": tokens, "customer_id": owners}).with_columns(
                token_type=pl.lit(kind), stretch=pl.lit(0), valid_from_at=pl.lit(datetime(1970, 1, 1)),
                link_rule=pl.lit("attested"), evidence=pl.lit("crm,mini_program"), rule_version=pl.lit("identity-2"),
                recorded_at=pl.lit(AS_OF.replace(tzinfo=None)),
            )  # fmt: skip
            _load(connection, "identity_current_links", links, scratch)


def _load(connection, table: str, rows: pl.DataFrame, scratch: Path) -> None:
    for part in rows.iter_slices(_AT_ONCE):
        load_rows(connection, table, part, scratch)
