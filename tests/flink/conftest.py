"""The cleaning job for all tests of this folder, deployed again only after a module that had one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infra.stack import flink_jobs, flink_records
from infra.stack.flink_records import JobRecord
from infra.stack.settings import Settings
from jobs.ops import deploy

JOB = "clean_interactions"


@pytest.fixture(scope="package")
def flink(stack: Settings) -> Iterator[Settings]:
    """The stack; whatever job the tests of this folder left running ends with them."""
    yield stack
    if flink_jobs.running_job(stack, JOB):
        deploy.stop_job(stack, JOB)


@pytest.fixture(scope="module")
def job(flink: Settings) -> Settings:
    """The stack with the job on it, as a person deploys it, but with outputs every 2 s: the tests wait for them."""
    arguments = [*deploy.job_arguments(flink), "--checkpoint-s", "2"]
    record = flink_records.load(flink, JOB)
    if not (record and record.args == arguments and flink_jobs.running_job(flink, JOB)):
        deploy.deploy(flink, JobRecord(JOB, deploy.JOBS[JOB], arguments, 2))
    return flink


@contextmanager
def tiering(stack: Settings) -> Iterator[None]:
    """A tiering service beside the job, as a process of its own."""
    with open(stack.home / "tiering.out", "w", encoding="utf-8") as out:
        service = subprocess.Popen(
            [sys.executable, "-m", "jobs.services.tiering", "--no-upkeep"], stdout=out, stderr=out
        )
    try:
        yield
    finally:
        service.terminate()
        service.wait(30)
