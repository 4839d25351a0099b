"""`kefulake migrate`: what it refuses, in plain words, before anything is touched."""

from __future__ import annotations

import pytest
import yaml
from typer.testing import CliRunner

from jobs import cli
from jobs.ops.migration_state import State, locked
from pipelines.migration import declaration
from pipelines.simulation import legacy_desk


@pytest.fixture
def file(settings, tmp_path):
    (tmp_path / "delivered").mkdir()
    next(legacy_desk.batches(40, 7)).rows.write_csv(tmp_path / "delivered" / "a.csv")
    stated = legacy_desk.declaration({"kind": "csv"}, path=str(tmp_path / "delivered"))
    path = tmp_path / "old_desk.yaml"
    path.write_text(yaml.safe_dump(stated, allow_unicode=True))
    return path


def run(*arguments: str):
    return CliRunner().invoke(cli.build(["migrate", *arguments]), ["migrate", *arguments])


def test_check_compares_the_declaration_with_the_source(file):
    shown = run("check", str(file))
    assert shown.exit_code == 0, shown.output
    assert "fw_jl" in shown.output
    assert "40" in shown.output


def test_a_column_that_the_source_lacks_is_named(file):
    file.write_text(file.read_text().replace("from: nr", "from: content"))
    assert "no column content" in str(run("check", str(file)).exception)


def test_a_cut_over_needs_the_word_and_a_whole_copy(file):
    assert run("cut-over", str(file)).exit_code == 2
    assert "full copy has not ended" in str(run("cut-over", str(file), "--source-is-read-only").exception)


def test_after_the_cut_over_nothing_is_copied(file, settings):
    migration = declaration.load(file)
    with locked(settings, migration):
        state = State.load(settings, migration)
        state.cut_over_at = "2026-01-09T08:00:00+00:00"
        state.save()
        assert "another command is at work" in str(run("run", str(file)).exception)
    assert "was cut over at 2026-01-09" in str(run("run", str(file)).exception)


def test_a_source_without_its_address_says_what_to_set(file, monkeypatch):
    stated = yaml.safe_load(file.read_text())
    stated["source"] = {"kind": "mysql", "url_variable": "OLD_DESK_URL"}
    file.write_text(yaml.safe_dump(stated))
    monkeypatch.delenv("OLD_DESK_URL", raising=False)
    assert "set OLD_DESK_URL" in str(run("check", str(file)).exception)
