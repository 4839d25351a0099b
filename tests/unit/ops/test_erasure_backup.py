"""What an erasure counts in the backup lives for a round or two: no round may take it away while it is read."""

from __future__ import annotations

import pytest

from jobs.ops import erasure_backup
from pipelines.backup import store
from pipelines.backup.manifest import FILE, BackupBusy, locked
from pipelines.backup.manifest_writer import Writer
from pipelines.backup.places import FOLDER
from pipelines.io import backup_topics
from pipelines.privacy.erasure import person


def test_tails_are_read_under_the_lock_of_the_rounds(settings, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "backup"
    monkeypatch.setenv(FOLDER, str(folder))
    writer = Writer.open(folder)
    made = store.write_in(folder, "topics/identity.vault-0/a.sealed", b"x")
    writer.note({"kind": FILE, "what": backup_topics.VAULT_TAIL, "place": "identity.vault/0", "at": 1.0, **made})
    writer.seal(at=1.0, tables={}, ends={}, facts={})
    looked_at = []

    def while_read(backup, path, line, key, who) -> int:
        with pytest.raises(BackupBusy), locked(backup, wait=False):
            pass
        looked_at.append(path)
        return 1

    monkeypatch.setattr(erasure_backup, "_of_copy", while_read)
    counted = erasure_backup.count(settings, person(["ph1_" + "a" * 32]))
    assert looked_at == ["topics/identity.vault-0/a.sealed"]
    assert counted[erasure_backup.VAULT] == 1
    with locked(folder, wait=False):  # and let go of afterwards
        pass
