"""Files of a backup: what was written comes back, or the file is named."""

import pytest

from pipelines.backup import store


@pytest.fixture
def line(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"rows" * 1000)
    return store.copy_in(source, tmp_path / "backup", "lake/t/part-0.parquet")


def test_what_goes_in_comes_out(tmp_path, line):
    store.copy_out(tmp_path / "backup", line, tmp_path / "home" / "lake" / "part-0.parquet")
    assert (tmp_path / "home" / "lake" / "part-0.parquet").read_bytes() == b"rows" * 1000
    assert store.check(tmp_path / "backup", line) is None


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda path: path.write_bytes(b"rowt" + path.read_bytes()[4:]), "other bytes"),  # one byte, same length
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "3,999 bytes instead of 4,000"),
        (lambda path: path.write_bytes(b""), "0 bytes instead of 4,000"),
        (lambda path: path.unlink(), "missing"),
    ],
)
def test_damage_is_named_and_nothing_damaged_comes_out(tmp_path, line, harm, why):
    harm(tmp_path / "backup" / line["path"])
    assert why in str(store.check(tmp_path / "backup", line))
    target = tmp_path / "home" / "part-0.parquet"
    with pytest.raises(store.BackupDamaged, match=r"lake/t/part-0\.parquet"):
        store.copy_out(tmp_path / "backup", line, target)
    assert not target.exists()
