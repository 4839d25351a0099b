"""A silver lake of made-up customers for the measurement of gold.customer_360: `write_history`, then `write_day`.

Two hundred thousand customers speak over six channels; a few speak often and most seldom, sessions of the web chat have
a name, the messengers' have none, one message in two hundred is edited. Orders and CRM records stand beside. Everything
follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from deltalake import write_deltalake

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.privacy.tokens import PREFIXES

START_AT = datetime(2025, 1, 1, tzinfo=UTC)
_CHANNELS = np.array(["wechat", "app", "web_chat", "phone", "mini_program", "email"])
_WEIGHTS = np.array([0.34, 0.2, 0.18, 0.14, 0.1, 0.04])
# Which identifier a channel's messages carry.
_TOKEN = {"wechat": "openid", "app": "user_handle", "web_chat": "member", "phone": "phone",
          "mini_program": "unionid", "email": "email"}  # fmt: skip
_SESSIONS = ("web_chat", "phone")
_ROWS_A_CONTACT = 3.1
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Size:
    """How large the lake is; ``days`` of history end where the day that is added begins."""

    customers: int = 200_000
    interactions: int = 5_000_000
    days: int = 365
    orders: int = 400_000
    seed: int = 7

    @property
    def until_at(self) -> datetime:
        """End of the history, begin of the day that is added."""
        return START_AT + self.days * _DAY


def write_history(settings: Settings, size: Size) -> None:
    """Everything before ``size.until_at`` into the tables of ``settings``."""
    rng = np.random.default_rng(size.seed)
    each = max(1, -(-size.days // 12))  # a month in memory at once
    offset = 0
    for first in range(0, size.days, each):
        days = min(each, size.days - first)
        rows = interactions(size, first, days, size.interactions * days // size.days, offset, rng)
        offset += rows.height
        _append_rows(settings, rows)
    _append(settings, "silver.identity_links", links(size))
    _append(settings, "silver.customers", crm_records(size, rng))
    _append(settings, "silver.orders", orders(size, 0, size.days, size.orders, rng))


def write_day(settings: Settings, size: Size) -> None:
    """The day after: a day's messages and orders, and what changed in the CRM and in the links."""
    rng = np.random.default_rng(size.seed + 1)
    _append_rows(settings, interactions(size, size.days, 1, size.interactions // size.days, 1 << 40, rng))
    _append(settings, "silver.orders", orders(size, size.days, 1, size.orders // size.days, rng))
    changed = crm_records(size, rng).sample(size.customers // 500, seed=size.seed)
    _append(settings, "silver.customers", _at(changed, size.until_at + _DAY / 2))
    _append(settings, "silver.identity_links", _moves(size))


def interactions(size: Size, first: int, days: int, count: int, offset: int, rng: np.random.Generator) -> pl.DataFrame:
    """``count`` rows, more or less, of whole contacts that begin in these days."""
    contacts = int(count / _ROWS_A_CONTACT)
    who = rng.choice(size.customers, contacts, p=activity(size))
    began = rng.uniform(0, days, contacts)
    channel = rng.choice(_CHANNELS, contacts, p=_WEIGHTS)
    turns = 1 + rng.poisson(_ROWS_A_CONTACT - 1, contacts)
    contact = np.repeat(np.arange(contacts), turns)
    turn = np.arange(len(contact)) - np.repeat(np.cumsum(turns) - turns, turns)
    frame = pl.DataFrame(
        {
            "contact": contact,
            "turn": turn,
            "person": who[contact],
            "channel": channel[contact],
            "at_us": ((first + began[contact]) * 86_400e6 + turn * 45e6 + rng.uniform(0, 3e7, len(contact))).astype(
                int
            ),
            "draw": rng.random(len(contact)),
        }
    ).with_columns(row=pl.int_range(pl.len()) + offset)
    return _edited(_as_silver(frame, first, rng), offset)


def activity(size: Size) -> np.ndarray:
    """How likely each customer is the next to speak: log-normal, so that one in a hundred speaks ten times the mean."""
    weights = np.random.default_rng(size.seed).lognormal(0, 1, size.customers)
    return weights / weights.sum()


def token_of(kind: str) -> pl.Expr:
    """The person's token of a kind, well formed: the gate in front of gold asks for that."""
    return pl.concat_str(pl.lit(f"{PREFIXES[kind]}1_"), pl.col("person").cast(pl.String).str.zfill(32))


def _as_silver(frame: pl.DataFrame, first: int, rng: np.random.Generator) -> pl.DataFrame:
    customers_turn = pl.col("turn") % 2 == 0
    kind = (
        pl.when(customers_turn & (pl.col("draw") < 0.03)).then(pl.lit("complaint"))
        .when(customers_turn & (pl.col("draw") < 0.06)).then(pl.lit("feedback"))
        .when(customers_turn & (pl.col("draw") < 0.2)).then(pl.lit("consultation"))
        .otherwise(pl.lit("message"))
    )  # fmt: skip
    occurred = pl.lit(START_AT).dt.cast_time_unit("us") + pl.duration(microseconds=pl.col("at_us"))
    named = pl.format("s{}-{}", pl.lit(first), "contact")
    scored = pl.when(kind == "feedback").then((pl.col("draw") * 1e4).cast(pl.Int64) % 5 + 1).cast(pl.Float64)
    return frame.select(
        raw_topic=pl.format("raw.{}", "channel"),
        raw_partition=pl.lit(0, pl.Int32),
        raw_offset=pl.col("row"),
        attempt=pl.lit(0, pl.Int32),
        event_id=pl.format("e{}", "row"),
        channel="channel",
        account=pl.lit("shop"),
        source_message_id=pl.format("m{}", "row"),
        source_revision=pl.lit(0, pl.Int64),
        kind=kind,
        sender_role=pl.when(customers_turn).then(pl.lit("customer")).otherwise(pl.lit("agent")),
        session_id=pl.when(pl.col("channel").is_in(_SESSIONS)).then(named),
        customer_id=pl.format("c_{}", "person"),
        identity_status=pl.lit("linked"),
        occurred_at=occurred,
        received_at=occurred + pl.duration(seconds=1),
        processed_at=occurred + pl.duration(seconds=2),
        text=pl.format("请问订单 {} 什么时候发货，我已经等了很久", "row"),
        response_time_s=pl.when(~customers_turn).then(pl.col("draw") * 300),
        response_time_corrected_s=pl.when(~customers_turn).then(pl.col("draw") * 300),
        response_time_verdict=pl.when(~customers_turn).then(pl.lit("normal")),
        score_scale_max=pl.when(kind == "feedback").then(5.0),
        score_corrected=scored,
        outcome=pl.when(~customers_turn & (pl.col("draw") < 0.2)).then(pl.lit("resolved")),
        received_date=(occurred + pl.duration(seconds=1)).dt.date(),
        **{
            f"{token}_token": pl.when(pl.col("channel") == channel).then(token_of(token))
            for channel, token in _TOKEN.items()
        },
    )


def _edited(rows: pl.DataFrame, offset: int) -> pl.DataFrame:
    """One message in two hundred a second time, as its next revision."""
    again = rows.gather_every(200).with_columns(
        source_revision=pl.lit(1, pl.Int64),
        event_id=pl.format("{}r", "event_id"),
        raw_offset=pl.col("raw_offset") + (1 << 50),
        received_at=pl.col("received_at") + pl.duration(seconds=60),
        processed_at=pl.col("processed_at") + pl.duration(seconds=60),
        received_date=(pl.col("received_at") + pl.duration(seconds=60)).dt.date(),
    )
    return pl.concat([rows, again])


def links(size: Size) -> pl.DataFrame:
    """Every identifier leads to its person, from before the history on."""
    people = pl.DataFrame({"person": np.arange(size.customers)})
    each = [
        people.select(
            token=token_of(token),
            valid_from_at=pl.lit(START_AT - 365 * _DAY).dt.cast_time_unit("us"),
            customer_id=pl.format("c_{}", "person"),
            recorded_at=pl.lit(START_AT - 365 * _DAY).dt.cast_time_unit("us"),
            link_rule=pl.lit("attested"),
            rule_version=pl.lit("identity-1"),
        )
        for token in _TOKEN.values()
    ]
    return pl.concat(each)


def _moves(size: Size) -> pl.DataFrame:
    """A customer in a thousand turns out to be the one before it."""
    moved = pl.DataFrame({"person": np.arange(1, size.customers, 1000)})
    at = size.until_at + _DAY / 2
    return pl.concat(
        moved.select(
            token=token_of(token),
            valid_from_at=pl.lit(START_AT - 365 * _DAY).dt.cast_time_unit("us"),
            customer_id=pl.format("c_{}", pl.col("person") - 1),
            recorded_at=pl.lit(at).dt.cast_time_unit("us"),
            link_rule=pl.lit("attested"),
            rule_version=pl.lit("identity-1"),
        )
        for token in _TOKEN.values()
    )


def crm_records(size: Size, rng: np.random.Generator) -> pl.DataFrame:
    """A CRM record for three customers in four."""
    count = size.customers * 3 // 4
    person = np.arange(count)
    at = START_AT - 200 * _DAY
    frame = pl.DataFrame({"person": person, "draw": rng.random(count)}).select(
        raw_topic=pl.lit("raw.crm"),
        raw_partition=pl.lit(0, pl.Int32),
        raw_offset=pl.col("person").cast(pl.Int64) + int(rng.integers(1, 1 << 40)),
        attempt=pl.lit(0, pl.Int32),
        event_id=pl.format("k{}", "person"),
        channel=pl.lit("crm"),
        account=pl.lit("crm"),
        source_revision=pl.lit(0, pl.Int64),
        customer_id=pl.format("c_{}", "person"),
        identity_status=pl.lit("linked"),
        record_key=pl.format("crm/{}", "person"),
        crm_status=pl.lit("active"),
        region=pl.when(pl.col("draw") < 0.5).then(pl.lit("华东")).otherwise(pl.lit("华北")),
        birth_year=(1950 + pl.col("draw") * 55).cast(pl.Int32),
        gender=pl.when(pl.col("draw") < 0.5).then(pl.lit("female")).otherwise(pl.lit("male")),
        member_level=pl.when(pl.col("draw") < 0.1).then(pl.lit("gold")).otherwise(pl.lit("standard")),
        consent_marketing=pl.col("draw") < 0.6,
        consent_marketing_at=pl.lit(at).dt.cast_time_unit("us"),
        phone_verified=pl.lit(True),
        member_token=token_of("member"),
        phone_token=token_of("phone"),
        registered_at=pl.lit(at).dt.cast_time_unit("us"),
    )
    return _at(frame, at)


def _at(records: pl.DataFrame, at: datetime) -> pl.DataFrame:
    instant = pl.lit(at).dt.cast_time_unit("us")
    clocks = ("updated_at", "occurred_at", "received_at", "processed_at")
    return records.with_columns(**dict.fromkeys(clocks, instant), received_date=pl.lit(at.date()))


def orders(size: Size, first: int, days: int, count: int, rng: np.random.Generator) -> pl.DataFrame:
    """Paid orders of these days."""
    person = rng.choice(size.customers, count, p=activity(size))
    at_us = ((first + rng.uniform(0, days, count)) * 86_400e6).astype(int)
    frame = pl.DataFrame({"person": person, "at_us": at_us, "draw": rng.random(count)})
    at = pl.lit(START_AT).dt.cast_time_unit("us") + pl.duration(microseconds=pl.col("at_us"))
    return frame.with_columns(n=pl.int_range(pl.len()) + first * 10_000_000).select(
        raw_topic=pl.lit("raw.orders"),
        raw_partition=pl.lit(0, pl.Int32),
        raw_offset="n",
        attempt=pl.lit(0, pl.Int32),
        event_id=pl.format("o{}", "n"),
        channel=pl.lit("orders"),
        account=pl.lit("shop"),
        source_revision=pl.lit(0, pl.Int64),
        customer_id=pl.format("c_{}", "person"),
        identity_status=pl.lit("linked"),
        order_id=pl.format("O{}", "n"),
        order_status=pl.lit("paid"),
        ordered_at=at,
        paid_at=at,
        updated_at=at,
        occurred_at=at,
        received_at=at,
        processed_at=at,
        currency=pl.lit("CNY"),
        amount_minor=(500 + pl.col("draw") * 100_000).cast(pl.Int64),
        refunded_minor=pl.lit(0, pl.Int64),
        order_lines=pl.lit(1, pl.Int32),
        member_token=token_of("member"),
        received_date=at.dt.date(),
    )


def _append_rows(settings: Settings, rows: pl.DataFrame) -> None:
    scored = pl.col("kind") == "feedback"
    _append(settings, "silver.interactions", rows.filter(~scored))
    _append(settings, "silver.feedback", rows.filter(scored))


def _append(settings: Settings, table: str, rows: pl.DataFrame) -> None:
    """One commit in the contract's columns; what the frame lacks is NULL."""
    contract = contracts.table(table)
    schema, given = contracts.arrow_schema(contract), rows.to_arrow()
    columns = [
        given.column(field.name).cast(field.type)
        if field.name in given.column_names
        else pa.nulls(len(given), field.type)
        for field in schema
    ]
    path: Path = settings.table_path(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(
        str(path), pa.Table.from_arrays(columns, schema=schema), mode="append", partition_by=list(contract.partition_by)
    )
