"""Makefile, lock file and command line say the same as the code."""

from __future__ import annotations

import configparser
import importlib.util
import re
import subprocess
import sys

import pytest

from infra.stack.settings import PROJECT_ROOT
from jobs import cli

MAKEFILE = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_target_is_in_the_help() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, flags=re.M))
    shown = subprocess.run(["make", "help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    assert targets == set(re.findall(r"^  make ([a-z0-9-]+) ", shown, flags=re.M))


@pytest.mark.parametrize("module", re.findall(r"-m (tests\.[a-z0-9_.]+)", MAKEFILE))
def test_make_runs_modules_that_exist(module: str) -> None:
    assert (PROJECT_ROOT / f"{module.replace('.', '/')}.py").exists()


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_exists_and_explains_itself(name: str) -> None:
    assert importlib.util.find_spec(cli.COMMANDS[name].module), name
    shown = subprocess.run(
        [sys.executable, "-m", "jobs.cli", name, "--help"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "Usage" in shown.stdout


def test_help_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from jobs import cli; cli.build(['--help']); "
        "print([m for m in ('polars', 'pyarrow', 'deltalake', 'confluent_kafka', 'pyspark') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_error_is_one_plain_sentence(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "--home", str(tmp_path), "--port-base", "7", "status"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "kefulake: KEFULAKE_PORT_BASE must be a number from 1024 to 65515, not '7'\n"


def test_lock_pins_every_requirement() -> None:
    setup = configparser.ConfigParser()
    setup.read(PROJECT_ROOT / "setup.cfg")
    wanted = setup["options"]["install_requires"].split("\n") + setup["options.extras_require"]["test"].split("\n")
    names = {re.split(r"[<>=\[ ;]", line.strip())[0].lower().replace("_", "-") for line in wanted if line.strip()}
    locked = re.findall(
        r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==", (PROJECT_ROOT / "requirements.lock").read_text(), flags=re.M
    )
    assert names - set(locked) == set()
