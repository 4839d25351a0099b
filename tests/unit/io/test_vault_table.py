"""The vault's table: any emission of a token opens it, a removal closes it."""

from __future__ import annotations

import json

import pytest

from infra.stack.settings import Settings
from pipelines.io import vault_table
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.vault import VaultError, VaultWriter, rewrap
from tests.unit.io.lake import write

OLD, BOTH, NEW = MasterKey({1: bytes(32)}), MasterKey({1: bytes(32), 2: b"\x02" * 32}), MasterKey({1: b"\x03" * 32})


def entry(token: str, value: str) -> dict:
    writer = VaultWriter(OLD)
    writer.add(token, "phone", value)
    return json.loads(writer.drain()[0][1])


@pytest.fixture
def lake(tmp_path):
    return Settings.load(tmp_path, 20_000)


def values(lake, tokens, key=BOTH):
    return vault_table.values(lake.table_path("identity.vault"), tokens, key)


def put(lake, rows):
    write(lake.lake, "identity.vault", rows)


def test_a_token_that_was_emitted_twice_and_wrapped_anew_opens_once(lake):
    one = entry("ph1_1", "+8613812345671")
    put(lake, [one, entry("ph1_1", "+8613812345671"), entry("ph1_2", "+8613812345672")])
    put(lake, [json.loads(rewrap(json.dumps(one), BOTH))])
    assert values(lake, ["ph1_1"]) == {"ph1_1": "+8613812345671"}


@pytest.mark.parametrize("let_arrow_look", [0, 10])
def test_many_tokens_are_looked_for_without_arrow(lake, monkeypatch, let_arrow_look):
    monkeypatch.setattr(vault_table, "_LET_ARROW_LOOK", let_arrow_look)
    put(lake, [entry(f"ph1_{n}", f"+861381234567{n}") for n in range(4)])
    put(lake, [{"token": "ph1_2"}])
    assert values(lake, ["ph1_1", "ph1_2", "ph1_9"]) == {"ph1_1": "+8613812345671"}


def test_an_erased_or_unknown_token_has_no_value(lake):
    put(lake, [entry("ph1_1", "+8613812345671"), entry("ph1_2", "+8613812345672")])
    put(lake, [{"token": "ph1_1"}])  # the row of a removal
    assert values(lake, ["ph1_1", "ph1_2", "ph1_3"]) == {"ph1_2": "+8613812345672"}


def test_entries_that_do_not_open_are_an_error_not_an_absence(lake):
    put(lake, [entry("ph1_1", "+8613812345671")])
    with pytest.raises(VaultError, match="None of the 1 entries of ph1_1 opens"):
        values(lake, ["ph1_1"], NEW)


def test_before_the_first_entry_there_is_nothing(lake):
    assert values(lake, ["ph1_1"]) == {}
