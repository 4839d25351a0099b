"""How the balance looks: no number is ever cut, whatever the width."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from infra.stack.settings import Ports, Settings
from jobs.ops.balance import print_lines, rows

AT = datetime(2026, 1, 5, 10, tzinfo=UTC)


def line(topic: str, received: int, **changed: int) -> dict:
    counts = {"received": received, "kept": received, "rejected": 0, "in_review": 0, "duplicate": 0}
    return {
        "raw_topic": topic,
        "hour_at": AT,
        **counts,
        "missing": 0,
        "twice": 0,
        "unknown": 0,
        "closed": True,
    } | changed


LINES = [line("raw.complaint_site", 231), line("raw.web_chat", 812_345, kept=812_340, missing=4, twice=1, closed=False)]


def printed(width: int, *, by_hour: bool = False) -> list[str]:
    """The lines as they come out, without the blanks at their ends."""
    out = io.StringIO()
    print_lines(LINES, Console(file=out, width=width), by_hour)
    return [text.rstrip() for text in out.getvalue().splitlines()]


def test_a_hundred_columns_show_every_number_in_one_line_a_topic() -> None:
    title, header, first, second, total = printed(100)
    assert max(map(len, (title, header, first, second, total))) <= 100
    assert header.split() == [
        "topic", "received", "kept", "rejected", "in", "review", "duplicate", "missing", "twice", "unknown", "closed"
    ]  # fmt: skip
    assert first.split() == ["raw.complaint_site", "231", "231", "0", "0", "0", "0", "0", "0", "yes"]
    assert second.split() == ["raw.web_chat", "812,345", "812,340", "0", "0", "0", "4", "1", "0", "open"]
    assert total.split() == ["all", "812,576", "812,571", "0", "0", "0", "4", "1", "0"]


def test_eighty_columns_sum_up_what_must_be_zero() -> None:
    lines = printed(80)
    assert max(map(len, lines)) <= 80
    _, header, first, second, _, caption = lines
    assert header.split() == ["topic", "received", "kept", "rejected", "in", "review", "duplicate", "wrong", "closed"]
    assert first.split() == ["raw.complaint_site", "231", "231", "0", "0", "0", "0", "yes"]
    assert second.split() == ["raw.web_chat", "812,345", "812,340", "0", "0", "0", "5", "open"]
    assert caption.strip() == "wrong = missing + twice + unknown"


@pytest.mark.parametrize("by_hour", [True, False])
def test_where_it_does_not_fit_the_line_is_too_long_rather_than_a_number_cut(by_hour: bool) -> None:
    hour = ["2026-01-05", "10:00"] if by_hour else []
    assert ["raw.web_chat", *hour, "812,345", "812,340", "0", "0", "0", "5", "open"] in [
        text.split() for text in printed(40, by_hour=by_hour)
    ]


def test_a_lake_of_which_no_balance_was_ever_kept_is_counted_all_the_same(tmp_path) -> None:
    """As a home that was restored without the balance service, or one whose stack is an hour old."""
    assert rows(Settings(tmp_path, Ports(31000)), recount=True, final=True).num_rows == 0
