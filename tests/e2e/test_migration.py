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
    written = migration_source.write_more(settings, ROWS)
    assert written["updated"]
    assert written["inserted"]
    ended = migrate("cut-over", file, "--source-is-read-only")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    again = migrate("run", file)
    assert again.returncode != 0
    assert "was cut over" in again.stderr


def test_cutting_over_wants_the_word_that_nobody_writes(desk) -> None:
    _, file, _ = desk
    assert migrate("cut-over", file).returncode == 2
