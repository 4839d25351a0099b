"""A drill works beside what runs: it touches nothing but a home of its own, one at a time, and leaves nothing."""

import pytest

from infra.stack.settings import Ports, Settings
from jobs.ops import backup_drill
from jobs.ops.restoring import RestoreRefused


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KEFULAKE_BACKUP", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere-keys").mkdir()
    return Settings(tmp_path / "home", Ports(31000))


def drill(home, restore, monkeypatch, *, keep=False):
    monkeypatch.setattr(backup_drill, "restore", restore)
    return backup_drill.run_drill(home, lambda: "words", tell=lambda _: None, keep=keep)


def names(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_a_drill_that_fails_leaves_the_home_and_its_backup_and_nothing_else(home, tmp_path, monkeypatch):
    def fails(target, *_, **__):
        (target.home / "lake").mkdir(parents=True)
        target.home.with_name(f"{target.home.name}-backup-keys").mkdir()
        raise RestoreRefused("no round")

    with pytest.raises(RestoreRefused, match="no round"):
        drill(home, fails, monkeypatch)
    assert names(tmp_path) == ["elsewhere", "elsewhere-keys", "home"]
    with pytest.raises(RestoreRefused, match="no round"):
        drill(home, fails, monkeypatch, keep=True)
    assert names(tmp_path) == ["elsewhere", "elsewhere-keys", "home", "home-drill", "home-drill-backup-keys"]


def test_two_drills_at_once_exclude_each_other(home, monkeypatch):
    def another(target, *_, **__):
        backup_drill.run_drill(home, lambda: "words", tell=lambda _: None, keep=False)

    with pytest.raises(RestoreRefused, match="another drill"):
        drill(home, another, monkeypatch)
