"""Rotation on a real broker while a writer and a reader go on: no failed read, no value lost, nobody brought back."""

from __future__ import annotations

import time

import pytest
from typer.testing import CliRunner

from infra.stack import keys
from jobs import cli
from jobs.ops.auditing import audit_log
from pipelines.io import vault_topic
from pipelines.io.publisher import publish
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.vault import VaultWriter, open_entry
from tests.bench import vault_load

ROTATIONS = 3


@pytest.fixture
def run_id(stack):
    keys.ensure_master_key(stack)
    return vault_load.run_id()


def rotate(*more: str) -> str:
    result = CliRunner().invoke(cli.build(["keys"]), ["keys", "rotate", *more])
    assert result.exit_code == 0, result.output
    return result.output


def test_rotations_under_load_fail_no_read_and_wrap_everything_anew(stack, run_id):
    before = MasterKey.load(stack).version
    erased = f"ph1_{run_id}ffffffff"
    vault = VaultWriter(MasterKey.load(stack))
    vault.add(erased, "phone", "+8613912345678")
    publish(stack.bootstrap, "identity.vault", [(t, e.encode()) for t, e in vault.drain()])
    publish(stack.bootstrap, "identity.vault", [(erased, None)])  # its newest record before anybody reads
    reader, writer = vault_load.Reader(stack, run_id), vault_load.start_writer(run_id)
    reader.start()
    try:
        for _ in range(ROTATIONS):
            seen = reader.read
            while reader.read < seen + 1000 and not reader.failed:
                assert writer.poll() is None
                time.sleep(0.01)
            rotate()
    finally:
        writer.kill()
        writer.wait()
    rotate("--no-new-version")  # what came between the last round and the writer's end
    reader.stop()
    assert reader.failed == []
    assert reader.read > 1000 * ROTATIONS
    key = MasterKey.load(stack)
    assert key.version == before + ROTATIONS
    counts = vault_topic.newest(stack.bootstrap)
    assert {version for version in counts.versions if version} == {key.version}
    entries = {m.key().decode(): m.value() for m in vault_topic.records(stack.bootstrap)}
    mine = {token: entry for token, entry in entries.items() if token.startswith(f"ph1_{run_id}")}
    assert mine.pop(erased) is None  # wrapped anew it would be back
    assert all(open_entry(entry, key) == f"+86138{int(token[-8:], 16):08d}" for token, entry in mine.items())
    assert len(mine) >= 1000
    print(f"{reader.read} reads, {len(mine)} entries, versions {before} to {key.version}")


def test_an_old_version_goes_when_nothing_needs_it_and_the_first_stays_for_the_tokens(stack, run_id):
    rotate()
    rotate()
    ring = MasterKey.load(stack)
    middle = ring.version - 1
    told = CliRunner().invoke(cli.build(["keys"]), ["keys", "retire", "1", "--reason", "too old"])
    assert told.exit_code == 1
    audited = audit_log(stack).newest(1)[0]
    assert audited.act == "rotate_keys"
    told = CliRunner().invoke(cli.build(["keys"]), ["keys", "retire", str(middle), "--reason", "too old"])
    # The second rotation was audited before its version was there, so one audit row stands under the middle one.
    assert told.exit_code == 1
    assert f"Version {middle} has to stay; under it stand: audit.log 1." in told.output
    assert (
        "makes the tokens" in CliRunner().invoke(cli.build(["keys"]), ["keys", "status"], env={"COLUMNS": "200"}).output
    )


def test_two_rotations_at_once_are_one_too_many(stack, run_id):
    with vault_topic.locked(stack.keys):
        told = CliRunner().invoke(cli.build(["keys"]), ["keys", "rotate"])
    assert isinstance(told.exception, vault_topic.VaultBusy)
