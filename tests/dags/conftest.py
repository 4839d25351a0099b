"""The DAGs, read once by a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def with_airflow(airflow_home: Path, *module: str) -> str:
    """What a module that imports Airflow says, in a process of its own; fails with its words when it could not."""
    environment = os.environ | {
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def describe(airflow_home: Path, *arguments: str) -> dict:
    """What ``describe.py`` says."""
    return json.loads(with_airflow(airflow_home, "tests.dags.describe", *arguments).splitlines()[-1])


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return describe(tmp_path_factory.mktemp("airflow"))
