"""The server's archive is unpacked whole, trimmed, and never beside its folder."""

import io
import subprocess
import tarfile

import pytest

from infra.trino import server


def archive(folder, *names):
    with tarfile.open(folder / "trino-server-1.tar.gz", "w:gz") as packed:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            packed.addfile(member, io.BytesIO(b"x"))


def test_the_plugins_not_used_go_and_the_rest_stays(tmp_path):
    archive(tmp_path, *(f"trino-server-1/{name}" for name in ("lib/a.jar", "plugin/delta-lake/b.jar", "plugin/no/c")))
    server._unpack(tmp_path)
    assert (tmp_path / "trino-server-1/lib/a.jar").read_bytes() == b"x"
    assert [plugin.name for plugin in (tmp_path / "trino-server-1/plugin").iterdir()] == ["delta-lake"]
    assert not list(tmp_path.glob("*.tar.gz"))


def test_an_archive_that_points_outside_is_refused_and_counts_as_not_unpacked(tmp_path):
    part = tmp_path / "trino"
    part.mkdir()
    archive(part, "trino-server-1/plugin/delta-lake/b.jar", "trino-server-1/../../../outside")
    with pytest.raises(subprocess.CalledProcessError):
        server._unpack(part)
    assert [path.name for path in tmp_path.iterdir()] == ["trino"]
    assert not (part / ".unpacked").exists()
