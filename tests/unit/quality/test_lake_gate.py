"""Verdicts on days: kept for the very files, asked again when they change, and what a person accepted."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from infra.stack.settings import Settings
from pipelines.io import quality_results
from pipelines.quality import lake_gate
from pipelines.quality.lake_gate import InputsFailed, parts_of, require_sound, without_verdict
from tests.unit.quality.defects import identified
from tests.unit.quality.lake import AT
from tests.unit.quality.test_planted_defects import write

ORDERS = "silver.orders"
NEWEST = {ORDERS: None}


@pytest.fixture
def home(tmp_path) -> Settings:
    """Two sound orders of one day."""
    settings = dataclasses.replace(Settings.load(home=tmp_path, port_base=26900))
    write(settings, ORDERS, [identified(ORDERS, n) for n in range(2)])
    return settings


def _too_much(nth: int) -> dict:
    return identified(ORDERS, nth) | {"refunded_minor": 501}  # 500 were paid


def test_a_day_is_checked_once_for_its_files_and_again_when_rows_come(home):
    require_sound(home, NEWEST)
    assert without_verdict(home, list(parts_of(home, NEWEST))) == []
    runs = {row["run_id"] for row in quality_results.read(home)}
    require_sound(home, NEWEST)
    assert {row["run_id"] for row in quality_results.read(home)} == runs, "nothing changed, nothing is checked"

    write(home, ORDERS, [_too_much(2)])
    assert len(without_verdict(home, list(parts_of(home, NEWEST)))) == 1
    with pytest.raises(InputsFailed, match=r'refunded_within_amount: 1 rows, e\.g\. \[\{.*"raw_offset":2\}\]'):
        require_sound(home, NEWEST)
    require_sound(home, {ORDERS: 0})  # the version before holds none of it


def test_the_message_says_what_to_do_and_names_table_day_and_check(home):
    write(home, ORDERS, [_too_much(2)])
    with pytest.raises(InputsFailed) as refused:
        require_sound(home, NEWEST)
    [failed] = refused.value.failed
    for said in (ORDERS, "2026-01-05", "kefulake rejects replay", f"kefulake quality accept '{failed.run_id}'"):
        assert said in str(refused.value)


def test_other_checks_than_those_of_the_verdict_are_asked_anew(home, monkeypatch):
    require_sound(home, NEWEST)
    monkeypatch.setattr(lake_gate, "business_text", lambda table: "another file")
    assert len(without_verdict(home, list(parts_of(home, NEWEST)))) == 1


def test_checks_that_are_edited_while_they_run_leave_no_verdict_and_no_verdict_is_not_sound(home, monkeypatch):
    edits = iter(range(100))
    monkeypatch.setattr(lake_gate, "business_text", lambda table: f"edited {next(edits)} times")
    with pytest.raises(RuntimeError, match=r"silver\.orders, day 2026-01-05: no verdict after its check"):
        require_sound(home, NEWEST)


def test_what_was_accepted_covers_these_rows_and_no_others(home):
    write(home, ORDERS, [_too_much(2)])
    with pytest.raises(InputsFailed) as refused:
        require_sound(home, NEWEST)
    [failed] = refused.value.failed
    row = quality_results.failed_result(home, failed.run_id, failed.check)
    kept = ("run_id", "check_name", "table_name", "checked_date", "bad_rows", "bad_keys_hash")
    told = {"actor": "li.na", "reason": "the shop confirmed it", "accepted_at": datetime.now(UTC)}
    quality_results.accept(home, {name: row[name] for name in kept} | told)
    require_sound(home, NEWEST)

    write(home, ORDERS, [identified(ORDERS, 3)])  # another sound row: other files, checked anew, the same row is bad
    require_sound(home, NEWEST)
    write(home, ORDERS, [_too_much(4)])
    with pytest.raises(InputsFailed, match="refunded_within_amount: 2 rows"):
        require_sound(home, NEWEST)


def test_a_closed_hour_that_lacks_a_message_stops_gold_and_an_open_one_does_not(home):
    hour = identified("gold.data_balance", 0) | {"kept": 6, "missing": 1}
    write(home, lake_gate.BALANCE, [hour | {"closed": False}])
    require_sound(home, NEWEST)
    write(home, lake_gate.BALANCE, [hour | {"hour_at": AT.replace(hour=5)}])
    with pytest.raises(InputsFailed, match=r"gold\.data_balance: (closed_hours_balance|nothing_missing_or_unknown)"):
        require_sound(home, NEWEST)


def test_a_column_of_another_type_stops_before_any_check_is_believed(home, tmp_path):
    import pyarrow as pa
    from deltalake import write_deltalake

    rows = pa.table({"raw_topic": ["raw.sms"], "amount_minor": ["500"], "received_date": [AT.date()]})
    write_deltalake(str(home.table_path("silver.feedback")), rows, partition_by=["received_date"])
    with pytest.raises(InputsFailed, match=r"silver\.feedback, day 2026-01-05 \(UTC\): columns"):
        require_sound(home, {"silver.feedback": None})


def test_a_check_that_cannot_be_evaluated_does_not_pass(home, tmp_path, monkeypatch):
    folder = tmp_path / "expectations"
    folder.mkdir()
    (folder / f"{ORDERS}.yaml").write_text(
        f"table: {ORDERS}\nchecks:\n  - {{name: nonsense, severity: stop, holds: CAST(order_id AS INT) > 0, "
        "because: x}\n"
    )
    monkeypatch.setenv("KEFULAKE_EXPECTATIONS", str(folder))
    with pytest.raises(InputsFailed, match="nonsense"):
        require_sound(home, NEWEST)
