"""A migration from a real MariaDB through the command: killed with -9, gone on, certified, cut over."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from deltalake import DeltaTable

from infra.stack.settings import PROJECT_ROOT
from jobs.ops import migration_runs
from jobs.ops.auditing import audit_log
from pipelines.io import second_reading
from pipelines.migration import declaration
from pipelines.simulation import legacy_desk
from tests.bench import migration_damage, migration_source

ROWS, CHUNK = 6_000, 1_000


def migrate(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "jobs.cli", "migrate", *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def desk(stack):
    """The old desk in the stack's own server, declared; and what is dirt in it."""
    url, dirt = migration_source.load(stack, ROWS, 8, lambda done: None)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(migration_source.URL_VARIABLE, url)
        stated = legacy_desk.declaration({"kind": "mysql", "url_variable": migration_source.URL_VARIABLE})
        # dated ahead by a clock gone wrong: no change after it is later than it
        migration_source.ask(stack, "UPDATE fw_jl SET gx_sj = '2099-01-01' ORDER BY id LIMIT 1")
        file = stack.home / "old_desk.yaml"
        file.write_text(yaml.safe_dump(stated | {"accepted": dict.fromkeys(legacy_desk.DIRT, "known")}))
        yield stack, str(file), dirt


def received(settings, file) -> int:
    migration = declaration.load(file)
    return migration_runs.received(settings, migration, migration.tables[0])[0]


def test_killed_certified_damaged_and_cut_over(desk) -> None:
    settings, file, dirt = desk
    path = Path(file)
    checked = migrate("check", file)
    assert checked.returncode == 0, checked.stderr
    assert f"{ROWS:,}" in checked.stdout

    # killed once something is there
    command = [sys.executable, "-m", "jobs.cli", "migrate", "run", file, "--chunk-rows", str(CHUNK)]
    running = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and received(settings, path) == 0:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    resumed = migrate("run", file, "--chunk-rows", str(CHUNK))
    assert resumed.returncode == 0, resumed.stderr
    assert received(settings, path) == ROWS

    done = migrate("certify", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "certified 通过" in done.stdout
    newest = max((settings.home / "migrations" / "old_desk").glob("certificate-*.json"))
    stated = json.loads(newest.read_bytes())
    assert stated["accuracy"] == (ROWS - len(dirt)) / ROWS
    signed = audit_log(settings).newest(1)[0]
    assert (signed.act, signed.act_subject) == ("migrate", "old_desk")
    assert json.loads(signed.act_detail)["sha256"] == sha256(newest.read_bytes()).hexdigest()

    changes_are_taken(settings, file)

    # one changed character in ten years: named, and no certificate
    table = DeltaTable(str(settings.table_path("silver.interactions")))
    version = table.version()
    planted = migration_damage.plant(
        settings.table_path("silver.interactions"), "history.old_desk.fw_jl", "changed_character", random.Random(1)
    )
    refused = migrate("certify", file)
    assert refused.returncode == 1
    assert all(key in refused.stdout for key in planted.expected)
    DeltaTable(str(settings.table_path("silver.interactions"))).restore(version)

    # a day goes by, then the end
    ((now,),) = migration_source.ask(settings, "SELECT CAST(NOW() AS CHAR)")
    written = migration_source.write_more(settings, ROWS, now)
    assert written["updated"]
    assert written["inserted"]
    ended = migrate("cut-over", file, "--source-is-read-only")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    again = migrate("run", file)
    assert again.returncode != 0
    assert "was cut over" in again.stderr


def changes_are_taken(settings, file) -> None:
    """Though one row is dated ahead of all others, and though the migration's state was lost meanwhile."""
    change = "UPDATE fw_jl SET jg = %s, gx_sj = NOW() WHERE id = %s"
    rows = DeltaTable(str(settings.table_path("silver.interactions"))).to_pyarrow_table(columns=["source_message_id"])
    one, two = rows["source_message_id"].to_pylist()[:2]
    migration_source.ask(settings, change, "2", one)
    assert migrate("run", file).returncode == 0
    assert outcomes(settings, one)[-1] == "transferred"

    (settings.home / "migrations" / "old_desk" / "state.json").unlink()
    migration_source.ask(settings, change, "2", two)
    for _ in range(2):  # the copy finds where it stood, then every row is compared
        assert migrate("run", file).returncode == 0
    assert outcomes(settings, two)[-1] == "transferred"
    assert len(outcomes(settings, one)) == 2
    done = migrate("certify", file)
    assert done.returncode == 0, done.stdout + done.stderr


def outcomes(settings, key: str) -> list[str | None]:
    """Of the revisions of a row."""
    import pyarrow.compute as pc

    table = DeltaTable(str(settings.table_path("silver.interactions"))).to_pyarrow_table(
        columns=["source_message_id", "source_revision", "outcome"], filters=[("source_message_id", "=", key)]
    )
    return table.take(pc.sort_indices(table["source_revision"]))["outcome"].to_pylist()


def test_cutting_over_wants_the_word_that_nobody_writes(desk) -> None:
    _, file, _ = desk
    assert migrate("cut-over", file).returncode == 2


@pytest.mark.parametrize(
    ("mark", "alive"),
    [
        (None, True), ("", True), ("0", True), ("0.0", True), (" N ", True), ("否", True), ("0000-00-00", True),
        ("0000-00-00 00:00:00", True),
        ("0000-00-00 00:00:00.000000", True),  # a DATETIME(6)
        ("0.", False), ("n.", False),  # no fraction: the other paths take it for a word, and so it is deleted
        ("1", False), ("10", False), ("1.0", False), ("2024-05-01 10:00:00", False), ("2024-05-01 00:00:00.000", False),
    ],
)  # fmt: skip
def test_a_soft_delete_is_read_by_the_old_systems_own_sql_as_by_ours(desk, mark, alive) -> None:
    settings, _, _ = desk
    asked = f"SELECT %s AS sc) AS marks WHERE {{}}({second_reading.not_deleted_in_mysql('sc')})"
    found = [len(migration_source.ask(settings, f"SELECT 1 FROM ({asked.format(no)}", mark)) for no in ("", "NOT ")]
    assert found == [alive, not alive]
