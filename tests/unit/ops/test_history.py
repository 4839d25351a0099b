"""`kefulake history`: what it shows, and what it says when it cannot."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console
from typer.testing import CliRunner

from jobs import cli
from jobs.ops.history import print_contacts
from pipelines import contracts
from pipelines.service.history import COLUMNS, Contact

CONTACT = Contact(
    datetime(2026, 1, 9, 17, 50, tzinfo=UTC), "wecom", "message", "customer", "[bold]没[/bold]\x1b[2J发货", None, 12.5,
    None, "a1", None, "o1", "c_1", "linked", "e1",
)  # fmt: skip


def printed(contacts) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_contacts(contacts, console)
    return console.file.getvalue()


def test_what_a_customer_wrote_is_shown_as_text_not_as_markup_or_terminal_codes():
    shown = printed([CONTACT])
    assert "[bold]没[/bold]" in shown
    assert "\x1b" not in shown
    assert "2026-01-09 17:50:00" in shown
    assert "c_1 (linked)" in shown


def test_one_customer_is_named_once_and_several_on_each_line():
    before_the_link = CONTACT._replace(customer_id="p_2", identity_status="provisional")
    assert printed([CONTACT, CONTACT]).count("c_1 (linked)") == 1
    both = printed([CONTACT, before_the_link, before_the_link])
    assert (both.count("c_1 (linked)"), both.count("p_2 (provisional)")) == (1, 2)


def test_no_contact_says_where_was_looked():
    assert "in the lake" in printed([])


@pytest.mark.parametrize("arguments", [["history"], ["history", "--customer", "c_1", "--phone", "13800138000"]])
def test_a_customer_is_named_in_exactly_one_way(arguments):
    result = CliRunner().invoke(cli.build(arguments), arguments)
    assert result.exit_code == 2
    assert "--customer" in result.output


def test_without_a_database_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path))
    monkeypatch.delenv("KEFULAKE_DATABASE_URL", raising=False)
    arguments = ["history", "--customer", "c_1"]
    result = CliRunner().invoke(cli.build(arguments), arguments)
    assert result.exit_code == 1
    assert "kefulake" in result.output


def test_it_asks_for_columns_the_contract_has():
    assert set(COLUMNS) <= {field.name for field in contracts.table("silver.interactions").fields}
