"""What `kefulake deploy` tells the job: nothing that was not asked for, so that the job's own defaults hold."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from jobs.flink import clean_interactions
from jobs.ops import deploy

JOB = "clean_interactions"


@pytest.fixture
def told(tmp_path, monkeypatch) -> list[list[str]]:
    """The arguments of each job that would have been deployed."""
    found: list[list[str]] = []
    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path))
    monkeypatch.setattr(deploy, "job_arguments", lambda settings: ["--bootstrap", "b"])
    monkeypatch.setattr(deploy, "deploy", lambda settings, record, **_: found.append(record.args) or [])
    return found


def run(*options: str):
    app = typer.Typer()
    app.command()(deploy.command)
    return CliRunner().invoke(app, [JOB, *options], env={"COLUMNS": "200"})


def test_what_was_not_given_is_left_to_the_job(told):
    assert run().exit_code == 0
    assert told == [["--bootstrap", "b", "--parallelism", "2"]]


def test_what_was_given_reaches_the_job(told):
    assert run("--checkpoint-s", "1.5", "--bundle-ms", "25").exit_code == 0
    assert told == [["--bootstrap", "b", "--parallelism", "2", "--checkpoint-s", "1.5", "--bundle-ms", "25"]]


def test_the_help_names_the_defaults_of_the_job():
    defaults = clean_interactions.parse_args(["--bootstrap", "b", "--keys-file", "k", "--schemas", "s"])
    shown = " ".join(run("--help").stdout.split())
    assert f"the job's own: {defaults.checkpoint_s:g}." in shown
    assert f"the job's own: {defaults.bundle_ms}." in shown
