"""One Spark session for all Spark tests: its start costs more than most of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.stack.settings import Settings
from pipelines import contracts

CASES = Path(__file__).resolve().parents[1] / "cases"


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> Settings:
    """A home of its own: a test never sees a person's lake."""
    return Settings.load(home=tmp_path_factory.mktemp("home"), port_base=26900)


@pytest.fixture(scope="session")
def lake_folder() -> str:
    """A name with what an address would have to encode: a lake lies where it is put."""
    return "客服 lake"


@pytest.fixture(scope="session")
def spark(settings):
    from jobs.spark.session import spark_session

    # Cases are a dozen rows: planning, compiling and scheduling is all they cost, and a small session saves most of it.
    session = spark_session("tests", settings, rows=0)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def frame(spark) -> Callable[[str, Iterable[dict[str, Any]]], Any]:
    """``frame(table, rows)``, see ``framer``."""
    return framer(spark)


def framer(spark) -> Callable[[str, Iterable[dict[str, Any]]], Any]:
    """``frame(table, rows)``: a DataFrame with the contract's schema from partial rows (see ``complete``)."""

    def make(table: str, rows: Iterable[dict[str, Any]]):
        contract = contracts.table(table)
        return spark.createDataFrame(
            [complete(table, row, nth) for nth, row in enumerate(rows)], contracts.spark_schema(contract)
        )

    return make


def complete(table: str, row: dict[str, Any], nth: int) -> list[Any]:
    """A full row from a partial one: raw coordinates by position, ``why`` dropped, unknown names refused."""
    given = {k: v for k, v in row.items() if k != "why"}
    names = [f.name for f in contracts.table(table).fields]
    if unknown := set(given) - set(names):
        raise ValueError(f"{table} has no column {sorted(unknown)}")
    defaults: dict[str, Any] = {
        "raw_topic": f"raw.{given.get('channel', 'web_chat')}", "raw_partition": 0, "raw_offset": nth, "attempt": 0,
        "event_id": f"{table}-{nth}", "channel": "web_chat", "account": "default", "source_revision": 0,
        "kind": "message", "sender_role": "customer", "identity_status": "linked",
        "received_at": given.get("occurred_at"), "processed_at": given.get("occurred_at"), "text": "请问怎么退货？",
        "received_date": given["occurred_at"].date() if "occurred_at" in given else date(2026, 1, 1),
        "evidence": "phone_verified", "rule_version": "identity-1", "token_type": "phone",
    }  # fmt: skip
    doubles = {f.name for f in contracts.table(table).fields if f.type == "double"}
    given |= {name: float(given[name]) for name in doubles & set(given) if given[name] is not None}
    return [given.get(name, defaults.get(name)) for name in names]


def load_case(table: str, behaviour: str) -> dict[str, Any]:
    """A case folder's ``case.yaml``; instants are written as in SQL and are UTC."""
    return _with_instants(yaml.safe_load((CASES / table / behaviour / "case.yaml").read_text(encoding="utf-8")))


def behaviours(table: str) -> list[str]:
    """Names of the case folders of a table."""
    return sorted(p.parent.name for p in (CASES / table).glob("*/case.yaml"))


def _with_instants(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _with_instants(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_instants(v) for v in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return value
