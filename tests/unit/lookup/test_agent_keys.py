"""Who asks: a key counts from the moment it is made until it is taken away, and the file opens nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines.lookup.agent_keys import Agent, AgentKeys, AgentKeysError, add, load, remove
from pipelines.lookup.refusals import NotAnswered

ROLES = ["agent", "analyst"]
NOW = datetime(2026, 1, 9, 8, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "agents.yaml"


def refusal(keys: AgentKeys, authorization: str | None) -> str:
    with pytest.raises(NotAnswered) as refused:
        keys.agent(authorization)
    assert refused.value.status == 401
    return refused.value.error


def test_a_key_is_shown_once_and_kept_as_a_hash_in_a_private_file(path):
    key = add(path, "li.na", "agent", ROLES, now=NOW)
    assert path.stat().st_mode & 0o777 == 0o600
    assert key.removeprefix("li.na.") not in path.read_text()
    assert load(path, ROLES)["li.na"].made_at == "2026-01-09T08:00:00+00:00"
    assert AgentKeys(path, ROLES).agent(f"Bearer {key}") == Agent("li.na", "agent")


@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        (None, "key.missing"),
        ("", "key.missing"),
        ("Bearer", "key.missing"),
        ("Basic bGkubmE6eA==", "key.missing"),  # another scheme
        ("Bearer li.na", "key.unknown"),  # a name alone
        ("Bearer li.na.", "key.unknown"),
        ("Bearer li.na.guessed", "key.unknown"),
        ("Bearer wang.guessed", "key.unknown"),  # no such name: said in the same words
        ("Bearer li.na.密", "key.unknown"),
    ],
)
def test_without_the_right_key_nobody_is_anybody(path, authorization, error):
    add(path, "li.na", "agent", ROLES, now=NOW)
    assert refusal(AgentKeys(path, ROLES), authorization) == error


def test_anothers_secret_under_ones_own_name_is_no_key(path):
    secret = add(path, "li.na", "agent", ROLES, now=NOW).rpartition(".")[2]
    add(path, "wang", "analyst", ROLES, now=NOW)
    assert refusal(AgentKeys(path, ROLES), f"Bearer wang.{secret}") == "key.unknown"


def test_a_running_service_follows_the_file(path):
    keys = AgentKeys(path, ROLES)
    assert refusal(keys, "Bearer li.na.x") == "key.unknown"  # no file yet
    first = add(path, "li.na", "agent", ROLES, now=NOW)
    assert keys.agent(f"Bearer {first}").role == "agent"
    second = add(path, "li.na", "analyst", ROLES, now=NOW)
    assert refusal(keys, f"Bearer {first}") == "key.unknown"
    assert keys.agent(f"Bearer {second}").role == "analyst"
    assert remove(path, "li.na", ROLES)
    assert refusal(keys, f"Bearer {second}") == "key.unknown"
    assert not remove(path, "li.na", ROLES)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("- li.na", "must hold a mapping"),
        ("li.na: {clear: [", "is no YAML"),
        ("li.na: agent", "role, key_sha256 and made_at"),
        (f"li.na: {{role: boss, key_sha256: {'0' * 64}, made_at: x}}", "role 'boss' is none"),
        ("li.na: {role: agent, key_sha256: secret-in-the-clear, made_at: x}", "no SHA-256"),
    ],
)
def test_a_file_that_says_something_else_is_refused_without_repeating_it(path, content, says):
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(AgentKeysError, match=says) as refused:
        load(path, ROLES)
    assert "clear" not in str(refused.value)


def test_a_file_that_others_may_write_is_refused(path):
    add(path, "li.na", "agent", ROLES, now=NOW)
    path.chmod(0o620)
    with pytest.raises(AgentKeysError, match="chmod 600"):
        AgentKeys(path, ROLES).agent("Bearer li.na.x")


@pytest.mark.parametrize("name", ["", "li na", "../x", "a" * 65, "李娜\n"])
def test_a_name_that_would_not_read_well_in_the_audit_log_gets_no_key(path, name):
    with pytest.raises(AgentKeysError, match="no name for a key"):
        add(path, name, "agent", ROLES, now=NOW)
    with pytest.raises(AgentKeysError, match="no role 'boss'"):
        add(path, "li.na", "boss", ROLES, now=NOW)
