"""Which engine makes a build of gold.customer_360, and what it reads."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from jobs.spark import customer_360, gold, increments, sail

VIEW_ROWS = 1_000


@pytest.fixture
def runs(settings, monkeypatch):
    """``runs(main, rows)``: what is run where an increment has so many rows (None: a full build is due).

    (number of builds, whether the first is in full, engine, whether silver is read) each.
    """
    monkeypatch.setenv("KEFULAKE_HOME", str(settings.home))

    def run(main, rows: int | None, *argv: str) -> list[tuple]:
        done, served = [], []

        def run_gold(_, builds, *, session=None, reads_silver=True, serve=True):
            with session or nullcontext("spark") as engine:
                full = getattr(builds[0][1], "full", None)
                done.append((len(builds), full, engine, reads_silver))
                served.append(serve)
            return 0

        slices = None if rows is None else SimpleNamespace(row_count=lambda: rows)
        prepared = None if rows is None else increments.Prepared({}, slices, None)
        monkeypatch.setattr(increments, "prepare", lambda *_: prepared)
        monkeypatch.setattr(increments, "published_rows", lambda _: VIEW_ROWS)
        monkeypatch.setattr(sail, "sail_session", lambda: nullcontext("sail"))
        for job in (customer_360, gold):
            monkeypatch.setattr(job, "run_gold", run_gold)
        assert main(["--as-of", "2026-01-20", *argv]) == 0
        assert served == [False] * (len(done) - 1) + [True], "agents see a day at once, in the end"
        return done

    return run


@pytest.mark.parametrize(
    ("rows", "engine"),
    [
        (0, "sail"),  # nobody has changed
        (sail.MOST_ROWS - VIEW_ROWS, "sail"),  # with the view it goes into
        (sail.MOST_ROWS - VIEW_ROWS + 1, "spark"),  # Sail's joins do not spill
    ],
)
def test_an_increment_runs_where_its_rows_fit(runs, rows, engine):
    assert runs(customer_360.main, rows) == [(1, False, engine, False)]


def test_a_full_build_is_sparks_and_reads_silver(runs):
    assert runs(customer_360.main, None) == [(1, True, "spark", True)]
    assert runs(customer_360.main, 10, "--full") == [(1, True, "spark", True)]


def test_a_past_day_again_counts_as_far_as_any_of_the_tables_does(settings, monkeypatch):
    """Its tags were published for the 29th; the view, whose build failed that night, stands at the 28th."""
    counts = {
        "gold.customer_360": "2026-11-28T16:00:00+00:00", "gold.customer_tags": "2026-11-29T16:00:00+00:00",
    }  # fmt: skip
    told = {settings.table_path(table): {"run_id": "r", "as_of_at": at, "sources": {}} for table, at in counts.items()}
    monkeypatch.setattr(gold.spark_delta, "notes", lambda path: iter([told[path]] if path in told else []))
    asked = gold.parse_args(["--day", "2026-11-28"])
    assert gold._up_to(asked, settings) == "2026-11-29T16:00:00+00:00"


def test_on_a_cluster_an_increment_is_sparks_too(runs, monkeypatch):
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert runs(customer_360.main, 10) == [(1, False, "spark", False)]


def test_who_asks_for_spark_gets_it(runs):
    assert runs(customer_360.main, 10, "--spark") == [(1, False, "spark", False)]
    assert runs(gold.main, 10, "--spark") == [(3, False, "spark", True)]


def test_all_tables_are_one_session_of_sparks_unless_the_view_is_a_small_increment(runs):
    assert runs(gold.main, None) == [(3, True, "spark", True)]
    assert runs(gold.main, sail.MOST_ROWS + 1) == [(3, False, "spark", True)]
    assert runs(gold.main, 10) == [(1, False, "sail", False), (2, None, "spark", True)]
