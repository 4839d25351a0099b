"""Which state a restore goes to, and when it refuses; the restore itself: tests/e2e and make restore-drill."""

import pytest

from infra.stack.settings import Ports, Settings
from jobs.ops.restore import moment
from jobs.ops.restoring import RestoreRefused, require_empty, state_at
from pipelines.backup import manifest, store
from pipelines.backup.manifest import ManifestDamaged, Writer
from pipelines.backup.store import BackupDamaged


@pytest.fixture
def folder(tmp_path):
    """Three rounds, a file each; the second's is gone from its table in the third, and still there."""
    folder = tmp_path / "backup"
    for number, at in enumerate((10.0, 20.0, 30.0), start=1):
        writer = Writer.open(folder)
        made = store.write_in(folder, f"lake/t/{number}", b"rows")
        writer.note({"kind": "file", "what": "data", "table": "t", "at": at - 1, **made})
        writer.seal(at=at, tables={}, ends={"raw.app/0": number}, facts={"began_at": at - 2})
    return folder


def test_it_goes_to_the_last_round_not_later_than_the_time(folder):
    assert state_at(folder, None, earlier=False).rounds == 3
    assert state_at(folder, 29.9, earlier=False).rounds == 2
    with pytest.raises(RestoreRefused, match="no round so old"):
        state_at(folder, 5.0, earlier=False)


def test_a_damaged_file_is_named_and_refused_and_passed_by_only_when_told(folder):
    (folder / "lake" / "t" / "3").write_bytes(b"rowt")
    with pytest.raises(BackupDamaged, match=r"lake/t/3: other bytes.*--newest-sound"):
        state_at(folder, None, earlier=False)
    assert state_at(folder, None, earlier=True).rounds == 2
    (folder / "lake" / "t" / "2").unlink()  # older, and needed by both
    assert state_at(folder, None, earlier=True).rounds == 1


def test_nothing_sound_is_refused(folder):
    for path in (folder / "lake" / "t").iterdir():
        path.write_bytes(b"")
    with pytest.raises(RestoreRefused, match="no round so old"):
        state_at(folder, None, earlier=True)


def test_a_damaged_line_of_the_manifest_is_named_and_passed_by_only_when_told(folder):
    path = manifest.file_of(folder, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"lake/t/3", b"lake/t/4")
    path.write_bytes(b"".join(lines))
    with pytest.raises(ManifestDamaged, match="line 5"):
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
