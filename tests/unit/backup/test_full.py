"""Full backups and retention on real Delta tables: damage is found, mended where the lake can, and named where not."""

import json
import shutil

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from infra.stack.settings import Ports, Settings
from jobs.ops import backup
from jobs.ops.restoring import state_at
from pipelines.backup import manifest
from pipelines.backup.manifest_writer import Writer
from pipelines.backup.retention import DAY_S
from pipelines.io import backup_full, backup_lake
from pipelines.io.backup_lake import Shipped, ship_table
from pipelines.io.backup_round import AnothersBackup
from pipelines.privacy.keys import MasterKey

NAME = "silver.orders"
POLICY = {"point_in_time_days": 7, "daily_days": 30, "whole_copies": 2}


@pytest.fixture
def home(tmp_path):
    return Settings(tmp_path / "home", Ports(31000))


def append(settings, *numbers):
    write_deltalake(settings.table_path(NAME), pa.table({"n": list(numbers)}), mode="append")


def ship(settings, folder, at=None):
    writer, shipped = Writer.open(folder), Shipped()
    ship_table(writer, NAME, settings.table_path(NAME), shipped)
    return writer.seal(at=at or float(writer.state.rounds + 1), tables=shipped.tables, ends={}, facts={"began_at": 0.0})


@pytest.fixture
def folder(home, tmp_path):
    append(home, 1, 2)
    ship(home, tmp_path / "backup")
    append(home, 3)
    ship(home, tmp_path / "backup")
    return tmp_path / "backup"


def rows(folder, version):
    return sorted(DeltaTable(folder / "lake/silver/orders", version=version).to_pyarrow_table()["n"].to_pylist())


def test_every_version_that_was_shipped_opens_in_the_backup(folder):
    assert (rows(folder, 0), rows(folder, 1)) == ([1, 2], [1, 2, 3])


def test_a_round_without_news_ships_nothing(home, folder):
    before = len(manifest.read(folder).files)
    state = ship(home, folder)
    assert (len(state.files), state.rounds) == (before, 3)


def test_damage_is_mended_from_the_lake_and_named_where_the_lake_has_it_not(home, folder):
    data = [folder / path for path in manifest.read(folder).of("data")]
    data[0].write_bytes(data[0].read_bytes()[:-1] + b"!")
    found = backup_full.full(home, folder)
    assert (len(found.repaired), found.damaged) == (1, [])
    assert rows(folder, 1) == [1, 2, 3]
    in_lake = home.home / data[0].relative_to(folder)
    data[0].write_bytes(b"!")
    in_lake.write_bytes(in_lake.read_bytes()[:-1] + b"!")  # the lake's own disk has lost it too
    assert [damage.path for damage in backup_full.full(home, folder).damaged] == [str(data[0].relative_to(folder))]
    data[0].unlink()
    (home.home / data[0].relative_to(folder)).unlink()
    found = backup_full.full(home, folder)
    assert [damage.why for damage in found.damaged] == ["missing"]
    assert found.damaged[0].path == str(data[0].relative_to(folder))


def test_a_damaged_log_is_named_before_it_is_believed(folder):
    log = folder / "lake/silver/orders/_delta_log/00000000000000000001.json"
    log.write_bytes(log.read_bytes().replace(b"numRecords", b"numRecorts"))
    with pytest.raises(backup_lake.store.BackupDamaged, match=r"00000000000000000001\.json"):
        state_at(folder, None, earlier=False)


def test_files_of_no_table_go_when_no_kept_state_holds_them(home, folder):
    DeltaTable(home.table_path(NAME)).delete("n = 3")
    ship(home, folder)
    full = backup_full.full(home, folder)
    assert full.unused == 1  # the file that held 3
    now = manifest.read(folder).at
    assert backup_full.retain(folder, POLICY, now + 6 * DAY_S)[0] == 0
    files, size, _ = backup_full.retain(folder, POLICY, now + 8 * DAY_S)
    assert files == 1
    assert size > 0
    assert rows(folder, 2) == [1, 2]


def test_a_table_made_anew_with_as_many_versions_is_noticed(home, folder):
    shutil.rmtree(home.table_path(NAME))
    append(home, 7)
    append(home, 8)  # version 1, as the old table's newest
    ship(home, folder)
    assert rows(folder, 1) == [7, 8]
    assert backup_full.full(home, folder).damaged == []


def test_a_damaged_manifest_is_begun_anew_by_a_full_backup_and_the_next_round_goes_on(home, folder):
    path = manifest.file_of(folder, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-2] = lines[-2].replace(b'"bytes"', b'"bites"')  # of the second round
    path.write_bytes(b"".join(lines))
    with pytest.raises(manifest.ManifestDamaged, match="kefulake backup full"):
        ship(home, folder)
    found = backup_full.full(home, folder)
    assert f"line {len(lines) - 1}" in found.manifest_damage
    assert (found.generation, manifest.read(folder).rounds) == (2, 2)
    assert rows(folder, manifest.read(folder).tables[NAME]) == [1, 2]
    state = ship(home, folder)
    assert (state.rounds, rows(folder, state.tables[NAME])) == (3, [1, 2, 3])
    assert backup_full.full(home, folder).manifest_damage == ""


def test_leavings_of_a_killed_round_go_with_the_next_full_backup(home, folder):
    left = folder / "lake/silver/orders/part-of-a-killed-round.parquet"
    left.write_bytes(b"rows")
    assert backup_full.full(home, folder).leavings == 1
    assert not left.exists()
    assert rows(folder, 1) == [1, 2, 3]


def test_a_table_made_anew_is_no_continuation_of_the_old_one(home, folder):
    shutil.rmtree(home.table_path(NAME))
    append(home, 7)
    state = ship(home, folder)
    assert (state.tables, rows(folder, 0)) == ({NAME: 0}, [7])
    assert state.forgot == {NAME: 3}
    assert not (folder / "lake/silver/orders/_delta_log/00000000000000000001.json").exists()


def test_what_an_erasure_forgets_is_in_no_file_and_no_log_of_the_backup(home, folder):
    DeltaTable(home.table_path(NAME)).delete("n = 3")
    DeltaTable(home.table_path(NAME)).create_checkpoint()
    ship(home, folder)
    writer = Writer.open(folder)
    assert backup_lake.forget_history(writer, NAME, 2) == 3  # the file that held 3, and two log entries before
    state = writer.seal(at=9.0, tables={}, ends={}, facts={})
    assert rows(folder, 2) == [1, 2]
    assert state.forgot == {NAME: 4}  # in the fourth round
    left = {str(path.relative_to(folder)) for path in (folder / "lake").rglob("*") if path.is_file()}
    assert left == set(state.files)


def test_a_table_that_was_written_to_while_it_was_erased_can_still_be_opened(home, folder):
    DeltaTable(home.table_path(NAME)).delete("n = 3")
    DeltaTable(home.table_path(NAME)).create_checkpoint()
    append(home, 4)  # the stream goes on: version 3 is opened by the checkpoint of 2 and what came since
    ship(home, folder)
    writer = Writer.open(folder)
    backup_lake.forget_history(writer, NAME, 3)
    writer.seal(at=9.0, tables={}, ends={}, facts={})
    assert rows(folder, 3) == [1, 2, 4]


def test_another_homes_backup_is_let_be_by_every_command(home, folder, monkeypatch):
    """A restored home has an ID of its own: its full backup would seal its keys over those of the lost one."""
    monkeypatch.setenv("KEFULAKE_HOME", str(home.home))
    monkeypatch.setenv("KEFULAKE_BACKUP", str(folder))
    writer = Writer.open(folder)
    writer.seal(at=9.0, tables={}, ends={}, facts={"home": "another"})
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for act in ("full", "retention"):
        done = CliRunner().invoke(backup.app, [act])
        assert isinstance(done.exception, AnothersBackup), done.output
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_command_mends_a_damaged_manifest_as_every_message_says(home, folder, monkeypatch):
    monkeypatch.setenv("KEFULAKE_HOME", str(home.home))
    monkeypatch.setenv("KEFULAKE_BACKUP", str(folder))
    monkeypatch.setenv("KEFULAKE_BACKUP_PASSPHRASE", "correct horse battery")
    MasterKey.create(home.keys_file)
    assert CliRunner().invoke(backup.app, ["init"]).exit_code == 0
    path = manifest.file_of(folder, 1)
    path.write_bytes(path.read_bytes().replace(b'"round": 2', b'"round": 7'))
    done = CliRunner().invoke(backup.app, ["full"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "a new one began at the last sound round" in " ".join(done.output.split())
    assert ship(home, folder).rounds == 3


def test_one_file_that_nobody_can_mend_does_not_keep_the_others_for_ever(home, folder):
    DeltaTable(home.table_path(NAME)).delete("n = 3")
    append(home, 4)
    ship(home, folder)
    data = sorted(manifest.read(folder).of("data").values(), key=lambda line: line["at"])
    lost = folder / data[0]["path"]
    lost.write_bytes(b"rotten")
    (home.home / data[0]["path"]).write_bytes(b"rotten too")
    found = backup_full.full(home, folder)
    assert ([damage.path for damage in found.damaged], found.unused) == ([data[0]["path"]], 1)
    assert backup_full.retain(folder, POLICY, manifest.read(folder).at + 8 * DAY_S)[0] == 1  # the file that held 3


def test_what_the_lost_lines_dropped_is_no_damage(home, folder):
    """Retention dropped a file, and the line that said so is lost with those after it."""
    DeltaTable(home.table_path(NAME)).delete("n = 3")
    ship(home, folder)
    backup_full.full(home, folder)
    path = manifest.file_of(folder, 2)
    sealed = len(path.read_bytes().splitlines())
    assert backup_full.retain(folder, POLICY, manifest.read(folder).at + 8 * DAY_S)[0] == 1
    lines = path.read_bytes().splitlines(keepends=True)
    (home.home / json.loads(lines[sealed])["path"]).unlink()  # the lake's own vacuum has taken it too
    lines[sealed] = lines[sealed].replace(b'"gone"', b'"gonz"')
    path.write_bytes(b"".join(lines))
    found = backup_full.full(home, folder)
    assert (found.damaged, bool(found.manifest_damage)) == ([], True)
    assert backup_full.full(home, folder).damaged == []
    assert rows(folder, 2) == [1, 2]


def test_a_manifest_is_mended_though_the_log_of_a_table_is_lost_as_well(home, folder):
    """One disk error seldom comes alone: what nobody has any more is named, and the backup goes on."""
    path = manifest.file_of(folder, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b'"round": 2', b'"round": 7')
    path.write_bytes(b"".join(lines))
    name = "lake/silver/orders/_delta_log/00000000000000000000.json"
    for place in (folder, home.home):
        (place / name).unlink()
    found = backup_full.full(home, folder)
    assert ([damage.path for damage in found.damaged], bool(found.manifest_damage)) == ([name], True)
    assert manifest.read(folder).generation == 2
