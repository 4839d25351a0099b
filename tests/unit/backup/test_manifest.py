"""The manifest: what stands in it is what was written, or it says which line is not."""

import json

import pytest

from pipelines.backup import manifest
from pipelines.backup.manifest import BackupBusy, ManifestDamaged, locked, read
from pipelines.backup.manifest_writer import Writer


def line(path, **facts):
    return {"kind": "file", "what": "data", "path": path, "bytes": 1, "sha256": "0", "at": 1.0, **facts}


def sealed(folder, *rounds):
    """Rounds of (at, paths, tables, ends)."""
    writer = Writer.open(folder)
    for at, paths, tables, ends in rounds:
        for path in paths:
            writer.note(line(path))
        writer.seal(at=at, tables=tables, ends=ends, facts={"began_at": at - 1})
    return writer


@pytest.fixture
def folder(tmp_path):
    sealed(
        tmp_path,
        (10.0, ["a"], {"silver.x": 3}, {"raw.app/0": 5}),
        (20.0, ["b", "c"], {"silver.y": 1}, {}),  # nothing came into raw.app, and silver.x is as it was
        (30.0, [], {"silver.x": 4}, {"raw.app/0": 9}),
    )
    return tmp_path


def test_a_state_is_all_that_was_sealed_up_to_its_round(folder):
    newest, middle = read(folder), read(folder, until=29.9)
    assert (newest.rounds, newest.tables, newest.ends) == (3, {"silver.x": 4, "silver.y": 1}, {"raw.app/0": 9})
    assert (middle.rounds, middle.tables, middle.ends) == (2, {"silver.x": 3, "silver.y": 1}, {"raw.app/0": 5})
    assert set(middle.files) == {"a", "b", "c"}
    with pytest.raises(FileNotFoundError, match="no round so old"):
        read(folder, until=9.9)


def test_a_changed_line_is_named_and_what_stands_before_it_is_sound(folder):
    path = manifest.file_of(folder, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(text)["kind"] for text in lines] == ["file", "round", "file", "file", "round", "round"]
    lines[3] = lines[3].replace(b'"bytes": 1', b'"bytes": 2')
    path.write_bytes(b"".join(lines))
    with pytest.raises(ManifestDamaged, match="line 4") as refused:
        read(folder)
    assert refused.value.before.rounds == 1
    assert set(refused.value.before.files) == {"a"}


def test_a_line_taken_out_breaks_the_chain_and_a_cut_off_end_is_seen_by_the_head(folder):
    path = manifest.file_of(folder, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(ManifestDamaged, match="line 3"):
        read(folder)
    path.write_bytes(b"".join(lines[:5]))  # whole lines, a sealed round at their end: only the head knows more
    with pytest.raises(ManifestDamaged, match="ends with line 5, and line 6 was written"):
        read(folder)


def test_what_a_killed_writer_left_counts_for_nothing_and_the_next_one_goes_on(folder):
    path = manifest.file_of(folder, 1)
    with path.open("ab") as file:
        file.write(b'{"kind": "file", "path": "half')
    assert set(read(folder).files) == {"a", "b", "c"}
    sealed(folder, (40.0, ["d"], {}, {}))
    assert read(folder).rounds == 4
    assert set(read(folder).files) == {"a", "b", "c", "d"}


def test_lines_count_with_their_round_only(folder):
    writer = Writer.open(folder)
    writer.note(line("never sealed"))
    assert set(read(folder).files) == {"a", "b", "c"}
    assert not writer.is_stale()
    sealed(folder, (40.0, [], {}, {}))
    assert writer.is_stale()


def test_a_generation_can_be_read_alone(folder):
    writer = Writer.open(folder)
    writer.note({"kind": "gone", "path": "a"})
    writer.note({"kind": "forgot", "table": "silver.x", "round": 4})
    writer.seal(at=40.0, tables={}, ends={}, facts={})
    writer.begin_generation()
    writer.seal(at=50.0, tables={}, ends={}, facts={})
    manifest.file_of(folder, 1).unlink()
    state = read(folder)
    assert (state.generation, state.rounds, set(state.files)) == (2, 5, {"b", "c"})
    assert (state.tables, state.ends) == ({"silver.x": 4, "silver.y": 1}, {"raw.app/0": 9})
    assert state.forgot == {"silver.x": 4}


def test_one_writer_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(BackupBusy, match="another command works"), locked(tmp_path, wait=False):
        pass


WHOLE = json.dumps(line("a") | {"chain": manifest.linked("0" * 64, line("a"))})


@pytest.mark.parametrize("torn", ["", '{"kind": "file", "path": "half', f'{WHOLE}\n{{"kind"'])
def test_a_generation_whose_writer_was_killed_in_its_first_seal_is_begun_again(folder, torn):
    """As a disk that is full leaves it: an empty file, half a line, or a line without the round that seals it."""
    manifest.file_of(folder, 2).write_text(torn)
    writer = Writer.open(folder)
    writer.begin_generation()
    writer.seal(at=40.0, tables={}, ends={}, facts={})
    sealed(folder, (50.0, ["d"], {}, {}))
    assert (read(folder).rounds, set(read(folder).files)) == (5, {"a", "b", "c", "d"})


def test_a_backup_whose_first_round_was_never_sealed_begins_anew(tmp_path):
    manifest.file_of(tmp_path, 1).parent.mkdir()
    manifest.file_of(tmp_path, 1).write_text('{"kind": "file", "pa')
    sealed(tmp_path, (10.0, ["a"], {}, {}))
    assert set(read(tmp_path).files) == {"a"}


def test_a_whole_file_of_lines_that_is_gone_is_noticed_by_the_head(folder):
    writer = Writer.open(folder)
    writer.begin_generation()
    writer.seal(at=40.0, tables={}, ends={}, facts={})
    manifest.file_of(folder, 2).unlink()
    with pytest.raises(ManifestDamaged, match=r"00000002\.jsonl: is missing") as refused:
        read(folder)
    assert refused.value.before.rounds == 3


def test_files_go_from_the_disk_with_the_seal_and_not_before(folder):
    for name in ("a", "b"):
        (folder / name).write_text("rows")
    writer = Writer.open(folder)
    writer.discard(["a", "b"])
    assert (folder / "a").exists(), "killed here, the round before needs it"
    writer.note(line("b"))  # written anew in the same round, in the old one's place
    writer.seal(at=40.0, tables={}, ends={}, facts={})
    assert ((folder / "a").exists(), (folder / "b").exists()) == (False, True)
    assert set(read(folder).files) == {"b", "c"}
