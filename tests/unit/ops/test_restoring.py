"""Which state a restore goes to, and when it refuses; the restore itself: tests/e2e and make restore-drill."""

import json

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from infra.stack.settings import Ports, Settings
from jobs.ops.restore import moment
from jobs.ops.restoring import RestoreRefused, require_empty, state_at
from pipelines.backup import manifest, store
from pipelines.backup.manifest import ManifestDamaged
from pipelines.backup.manifest_writer import Writer
from pipelines.backup.store import BackupDamaged
from pipelines.io import backup_full
from pipelines.io.backup_lake import Shipped, ship_table
from pipelines.io.restore_needs import tables_needed

NAME = "silver.orders"


@pytest.fixture
def folder(tmp_path):
    """Three rounds at 10, 20 and 30, a file of the table each; the second's is gone from the table in the third."""
    folder, table = tmp_path / "backup", tmp_path / "home" / "lake" / "silver" / "orders"
    for number in (1, 2, 3):
        if number == 3:
            DeltaTable(table).delete("n = 2")
        write_deltalake(table, pa.table({"n": [number]}), mode="append")
        seal_round(folder, table, number)
    return folder


def seal_round(folder, table, number):
    writer, shipped = Writer.open(folder), Shipped()
    ship_table(writer, NAME, table, shipped)
    for line in list(writer.state.files.values()):  # as if it had been written then, and not this very second
        if line["at"] > 100:
            writer.note({**line, "at": number * 10.0 - 1})
    writer.seal(at=number * 10.0, tables=shipped.tables, ends={"raw.app/0": number}, facts={})


def data_of(folder, number):
    """The data file that came in a round."""
    lines = manifest.read(folder).of("data").values()
    [path] = [line["path"] for line in lines if line["at"] == number * 10.0 - 1]
    return folder / path


def test_it_goes_to_the_last_round_not_later_than_the_time(folder):
    assert state_at(folder, None, earlier=False).rounds == 3
    assert state_at(folder, 29.9, earlier=False).rounds == 2
    with pytest.raises(RestoreRefused, match="no round so old"):
        state_at(folder, 5.0, earlier=False)


def test_a_damaged_file_is_named_and_refused_and_passed_by_only_when_told(folder):
    third = data_of(folder, 3)
    third.write_bytes(third.read_bytes()[:-1] + b"!")
    with pytest.raises(BackupDamaged, match=rf"{third.name}: other bytes.*--newest-sound"):
        state_at(folder, None, earlier=False)
    assert state_at(folder, None, earlier=True).rounds == 2
    data_of(folder, 2).unlink()
    assert state_at(folder, None, earlier=True).rounds == 1


def test_nobody_is_refused_for_a_file_that_the_round_does_not_need(folder):
    data_of(folder, 2).unlink()
    assert state_at(folder, None, earlier=False).rounds == 3
    with pytest.raises(BackupDamaged, match="missing"):
        state_at(folder, 20.0, earlier=False)


def test_nothing_sound_is_refused(folder):
    data_of(folder, 1).write_bytes(b"")
    data_of(folder, 3).write_bytes(b"")
    with pytest.raises(RestoreRefused, match="no round so old"):
        state_at(folder, None, earlier=True)


def test_going_back_to_a_sound_round_never_goes_past_the_time_asked_for(folder):
    """The manifest was damaged in its second round, and mended: the third is sound, and later than was asked for."""
    path = manifest.file_of(folder, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    nth = [json.loads(text)["kind"] for text in lines].index("round") + 1
    lines[nth] = lines[nth].replace(b"lake", b"Lake")
    path.write_bytes(b"".join(lines))
    writer = Writer(folder, manifest.State(1, rounds=1))
    writer.begin_generation()
    writer.seal(at=40.0, tables={}, ends={}, facts={})
    assert manifest.read(folder).at == 40.0
    assert state_at(folder, 29.0, earlier=True).at == 10.0


def test_damage_where_a_manifest_begins_goes_to_the_one_before_and_not_past_the_time_asked_for(folder):
    """Each night's manifest begins with what there was: most of its lines."""
    writer = Writer.open(folder)
    writer.begin_generation()
    writer.seal(at=40.0, tables={}, ends={}, facts={})
    path, third = manifest.file_of(folder, 2), data_of(folder, 3)
    path.write_bytes(path.read_bytes().replace(b"lake", b"Lake", 1))
    assert state_at(folder, None, earlier=True).at == 30.0
    assert state_at(folder, 45.0, earlier=True).at == 30.0
    assert state_at(folder, 29.0, earlier=True).at == 20.0
    third.write_bytes(b"")  # what the round before the damage needs as well
    assert state_at(folder, None, earlier=True).at == 20.0


def test_history_that_retention_took_from_a_log_keeps_no_time_since_from_being_restored(folder, tmp_path):
    """The log of a table that is older than the backup's first kept state is opened by a checkpoint."""
    table = tmp_path / "home" / "lake" / "silver" / "orders"
    DeltaTable(table).create_checkpoint()
    seal_round(folder, table, 4)
    write_deltalake(table, pa.table({"n": [5]}), mode="append")
    seal_round(folder, table, 5)
    before = len(manifest.read(folder).of("log"))
    backup_full.retain(folder, {"point_in_time_days": 0, "daily_days": 0, "whole_copies": 2}, now=60.0)
    assert len(manifest.read(folder).of("log")) < before
    assert state_at(folder, 50.0, earlier=False).rounds == 5
    assert len(tables_needed(folder, manifest.read(folder))[NAME]) >= 4


def test_a_file_dropped_on_purpose_later_is_no_damage_to_an_earlier_round(folder):
    """As retention does with old dumps, and an erasure: what is left of the earlier round is what can be given."""
    writer = Writer.open(folder)
    writer.note({"kind": "file", "what": "identity", "at": 31.0, **store.write_in(folder, "identity/1", b"dump")})
    writer.seal(at=40.0, tables={}, ends={}, facts={})
    writer.discard(["identity/1"])
    writer.note({"kind": "file", "what": "identity", "at": 41.0, **store.write_in(folder, "identity/2", b"dump")})
    writer.seal(at=50.0, tables={}, ends={}, facts={})
    assert not (folder / "identity/1").exists()
    assert state_at(folder, 40.0, earlier=False).rounds == 4
    (folder / "identity/2").unlink()
    with pytest.raises(BackupDamaged, match="identity/2: missing"):
        state_at(folder, None, earlier=False)


def test_a_damaged_line_of_the_manifest_is_named_and_passed_by_only_when_told(folder):
    path = manifest.file_of(folder, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b'"round": 3', b'"round": 4')
    path.write_bytes(b"".join(lines))
    with pytest.raises(ManifestDamaged, match=f"line {len(lines)}"):
        state_at(folder, None, earlier=False)
    assert state_at(folder, None, earlier=True).rounds == 2


def test_a_home_with_anything_in_it_is_refused(tmp_path, monkeypatch):
    for name in ("KEFULAKE_KAFKA", "KEFULAKE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings(tmp_path / "home", Ports(31000))
    require_empty(settings)
    (settings.lake / "silver").mkdir(parents=True)
    with pytest.raises(RestoreRefused, match="lake is not empty"):
        require_empty(settings)
    monkeypatch.setenv("KEFULAKE_KAFKA", "broker:9092")
    with pytest.raises(RestoreRefused, match="unset KEFULAKE_KAFKA"):
        require_empty(settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-09T12:00", 1767960000.0),  # UTC where it does not say
        ("2026-01-09T20:00+08:00", 1767960000.0),
        ("newest", None),
    ],
)
def test_times_are_read_as_written(text, expected):
    assert moment(text) == expected


def test_a_time_that_is_none_is_refused():
    with pytest.raises(RestoreRefused, match="write a time as"):
        moment("yesterday")
