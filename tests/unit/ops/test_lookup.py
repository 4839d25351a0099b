"""`kefulake lookup`: a key is printed once, listed without itself, and taken away."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from jobs import cli
from pipelines import contracts
from pipelines.lookup.agent_keys import AgentKeys, AgentKeysError
from pipelines.lookup.refusals import NotAnswered


def lookup(*arguments: str):
    return CliRunner().invoke(cli.build(["lookup"]), ["lookup", *arguments])


def test_a_key_is_printed_alone_listed_without_itself_and_taken_away(settings):
    made = lookup("add-key", "li.na", "--role", "team_lead")
    key = made.stdout.strip()  # what a script reads is the key and nothing else
    keys = AgentKeys(settings.agent_keys_file, list(contracts.policy("roles")["roles"]))
    assert keys.agent(f"Bearer {key}").role == "team_lead"
    listed = lookup("keys").output
    assert "li.na" in listed
    assert "team_lead" in listed
    assert key.removeprefix("li.na.") not in listed
    assert lookup("remove-key", "li.na").exit_code == 0
    with pytest.raises(NotAnswered):
        keys.agent(f"Bearer {key}")
    assert lookup("remove-key", "li.na").exit_code == 2
    assert "Nobody has a key yet" in lookup("keys").output


def test_a_role_that_sees_no_names_is_said_when_its_key_is_made(settings):
    assert "each look-up will be refused" in lookup("add-key", "wang", "--role", "analyst").output


def test_a_role_that_is_none_gets_no_key(settings):
    made = lookup("add-key", "li.na", "--role", "boss")
    assert isinstance(made.exception, AgentKeysError)
    assert not settings.agent_keys_file.exists()


def test_publishing_without_a_database_says_what_agents_see(settings, monkeypatch):
    monkeypatch.delenv("KEFULAKE_DATABASE_URL", raising=False)
    told = lookup("publish")
    assert told.exit_code == 1
    assert "agents still see the customers of the build before" in str(told.exception)
