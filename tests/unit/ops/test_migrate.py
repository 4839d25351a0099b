"""`kefulake migrate`: what it refuses, in plain words, before anything is touched."""

from __future__ import annotations

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from jobs import cli
from jobs.ops.migration_state import State, at_rest, locked
from pipelines import contracts
from pipelines.io.delta import Move, open_store
from pipelines.migration import declaration
from pipelines.simulation import legacy_desk
from tests.unit.io.lake import AT


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


def moved_to(settings, name: str, offset: int, *rows: dict) -> None:
    """The table as far as that offset of the source table's full copy; positions need no rows."""
    table = contracts.table(name)
    schema = contracts.arrow_schema(table)
    store = open_store(settings.table_path(name), schema, table.partition_by, name=name, description="")
    known = store.positions(["history.old_desk.fw_jl/0"]).get("history.old_desk.fw_jl/0")
    written = pa.Table.from_pylist([{n: row.get(n) for n in schema.names} for row in rows], schema=schema)
    store.append(written, {"history.old_desk.fw_jl/0": Move(known, offset)})


def test_nobody_is_erased_while_rows_are_on_their_way(file, settings):
    migration = declaration.load(file)
    with at_rest(settings), pytest.raises(RuntimeError, match="a person is being erased"), locked(settings, migration):
        pass
    with (
        locked(settings, migration),
        pytest.raises(RuntimeError, match="a command of a migration is at work"),
        at_rest(settings),
    ):
        pass
    raw = {"raw_topic": "history.old_desk.fw_jl", "raw_partition": 0, "raw_offset": 499, "received_at": AT,
           "received_date": AT.date()}  # fmt: skip
    moved_to(settings, "bronze.raw_events", 500, raw)
    with pytest.raises(RuntimeError, match=r"500 rows of history.old_desk.fw_jl .* make-good"), at_rest(settings):
        pass
    moved_to(settings, "quarantine.rejects", 500)
    with at_rest(settings):
        pass


def test_two_migrations_may_be_at_work_at_once(file, settings, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(file.read_text().replace("old_desk", "older_desk"))
    with locked(settings, declaration.load(file)), locked(settings, declaration.load(other)):
        pass
