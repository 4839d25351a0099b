"""The stores' archive and the state of migrations in the backup: as they were at each round, or erased."""

from __future__ import annotations

import pytest

from infra.stack.settings import Ports, Settings
from pipelines.backup import manifest
from pipelines.backup.manifest_writer import Writer
from pipelines.backup.retention import DAY_S
from pipelines.io import backup_full
from pipelines.io.backup_home_files import bring_home_files, forget_older, ship_home_files

STATE, FILE, CERTIFICATE = (
    "archive/stores/S001/2026-11-28/state.json", "archive/stores/S001/2026-11-28/ab.file",
    "migrations/old_desk/certificate.json",
)  # fmt: skip
POLICY = {"point_in_time_days": 7, "daily_days": 30, "whole_copies": 2}


@pytest.fixture
def home(tmp_path) -> Settings:
    settings = Settings(tmp_path / "home", Ports(31000))
    for name, text in ((STATE, "one row"), (FILE, "sealed"), (CERTIFICATE, "accuracy 1.0")):
        write(settings, name, text)
    write(settings, "archive/store_import.lock", "")
    write(settings, "migrations/old_desk/lock", "")
    write(settings, "archive/stores/S001/2026-11-28/.state.json.77.ab", "half a dr")
    return settings


def write(settings: Settings, name: str, text: str) -> None:
    path = settings.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)  # a new file in the old one's place, as all that write there do


def ship(settings: Settings, folder, at: float) -> int:
    writer = Writer.open(folder)
    copied = ship_home_files(writer, settings.home, writer.state.rounds + 1)
    writer.seal(at=at, tables={}, ends={}, facts={"began_at": at})
    return copied


def brought(folder, target, until: float | None = None) -> dict[str, str]:
    bring_home_files(folder, target, manifest.read(folder, until=until), manifest.read(folder))
    return {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}


def test_each_round_has_the_files_as_they_were(home, tmp_path):
    folder = tmp_path / "backup"
    assert ship(home, folder, 10.0) == 3  # no lock, no draft
    assert ship(home, folder, 20.0) == 0
    write(home, STATE, "two rows")
    (home.home / CERTIFICATE).unlink()
    assert ship(home, folder, 30.0) == 1
    old, new = tmp_path / "old", tmp_path / "new"
    assert brought(folder, old, 20.0) == {STATE: "one row", FILE: "sealed", CERTIFICATE: "accuracy 1.0"}
    assert brought(folder, new) == {STATE: "two rows", FILE: "sealed"}
    # when a delivery was begun is told by its note's time of change
    assert (new / STATE).stat().st_mtime_ns == (home.home / STATE).stat().st_mtime_ns
    assert (new / STATE).stat().st_mode & 0o777 == 0o600


def test_what_an_erasure_took_is_in_no_round_any_more(home, tmp_path):
    folder = tmp_path / "backup"
    ship(home, folder, 10.0)
    write(home, STATE, "two rows")
    (home.home / FILE).unlink()  # it held the person
    ship(home, folder, 20.0)
    writer = Writer.open(folder)
    assert forget_older(writer) == 2
    writer.seal(at=20.0, tables={}, ends={}, facts={})
    assert sorted(path.read_text() for path in (folder / "home").rglob("*") if path.is_file()) == [
        "accuracy 1.0", "two rows",
    ]  # fmt: skip
    assert brought(folder, tmp_path / "before", 10.0) == {STATE: "two rows", CERTIFICATE: "accuracy 1.0"}


def test_retention_keeps_what_a_kept_state_holds(home, tmp_path):
    folder, now = tmp_path / "backup", 0.0
    ship(home, folder, 10.0)
    write(home, STATE, "two rows")
    ship(home, folder, 20.0)
    now = max(line.get("unused_since") or 0.0 for line in manifest.read(folder).files.values())
    assert backup_full.retain(folder, POLICY, now + 6 * DAY_S)[0] == 0
    assert backup_full.retain(folder, POLICY, now + 8 * DAY_S)[0] == 1
    assert brought(folder, tmp_path / "new")[STATE] == "two rows"


def test_a_damaged_copy_is_made_again_from_the_home(home, tmp_path):
    folder = tmp_path / "backup"
    ship(home, folder, 10.0)
    [copy] = (folder / "home" / FILE).iterdir()
    copy.write_text("altered")
    assert backup_full.full(home, folder).repaired == [str(copy.relative_to(folder))]
    assert copy.read_text() == "sealed"
