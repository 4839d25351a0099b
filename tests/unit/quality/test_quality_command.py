"""The command: checks once, says what failed and exits 1; what is accepted is written down first; pages ask nobody."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from infra.stack.settings import Settings
from jobs.ops import quality
from pipelines.io import quality_results
from pipelines.quality.lake_gate import require_sound
from tests.unit.quality.defects import identified
from tests.unit.quality.test_planted_defects import write

ORDERS = "silver.orders"
REASON = "the shop confirmed the refund"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Settings:
    """A lake with one sound order and one that was refunded twice."""
    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path))
    settings = Settings.load(home=tmp_path, port_base=26900)
    write(settings, ORDERS, [identified(ORDERS, 0), identified(ORDERS, 1) | {"refunded_minor": 501}])
    return settings


@pytest.fixture
def audited(monkeypatch) -> list[tuple]:
    """What goes to the audit log (MariaDB, which these tests don't start)."""
    rows: list[tuple] = []
    monkeypatch.setattr(quality, "write_down", lambda settings, act, subject, **told: rows.append((act, subject, told)))
    return rows


def _run(*arguments: str):
    return CliRunner().invoke(quality.app, list(arguments))


def test_a_failed_day_is_told_and_exits_1_also_when_asked_again(home):
    first = _run("check", "silver")
    assert first.exit_code == 1
    assert "refunded_within_amount: 1 rows" in first.output
    runs = len(quality_results.read(home))
    again = _run("check", "silver")
    assert again.exit_code == 1, "nothing new to check, and what failed failed"
    assert "every day of silver with rows has its verdict" in again.output
    assert len(quality_results.read(home)) == runs
    assert _run("check", "silver", "--date", "2026-01-04").exit_code == 0, "on that day nothing came"
    assert _run("check", "silver", "--date", "2026-01-05").exit_code == 1
    assert len(quality_results.read(home)) == 2 * runs, "a day that is named is checked anew"


def test_a_table_nobody_declared_is_named(home):
    assert "'silver.order' is no layer and no table" in str(_run("check", "silver.order").exception)


def test_accepting_needs_a_role_and_a_reason_and_is_written_down_first(home, audited):
    _run("check", "silver")
    [failed] = [row for row in quality_results.read(home) if not row["passed"] and row["severity"] == "stop"]
    asked = ("accept", failed["run_id"], failed["check_name"], "--reason", REASON, "--role")
    refused = _run(*asked, "analyst")
    assert "analyst may not accept rows" in str(refused.exception)
    assert [row[0] for row in audited] == ["refused"]
    assert _run(*asked, "data_engineer").exit_code == 0
    assert audited[-1][:2] == ("accept", failed["run_id"])
    assert audited[-1][2]["detail"] == {
        "check": "refunded_within_amount",
        "table": ORDERS,
        "day": "2026-01-05",
        "rows": 1,
    }
    require_sound(home, {ORDERS: None})
    assert _run("check", "silver").exit_code == 0

    unknown = _run("accept", failed["run_id"], "not_null:order_id", "--reason", REASON, "--role", "data_engineer")
    assert "no failed check" in str(unknown.exception), "one that passed can't be accepted"


def test_pages_name_keys_and_no_value_and_ask_no_other_server(home, tmp_path):
    text = "李雷的订单没有到"
    write(home, "silver.interactions", [identified("silver.interactions", 1) | {"text": text, "score_corrected": 9.0}])
    _run("check", "silver")
    assert _run("docs", "--out", str(tmp_path / "pages")).exit_code == 0
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "pages").iterdir()}
    assert "silver.orders.html" in pages["index.html"]
    assert "refunded_within_amount" in pages["silver.orders.html"]
    assert "&quot;raw_offset&quot;:1" in pages["silver.orders.html"]
    for name, page in pages.items():
        assert text not in page, name
        assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page), name
        assert "<script" not in page, name
