"""The cleaning job, deployed once for all tests of this folder: that takes longer than most of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infra.stack.flink_records import JobRecord
from infra.stack.settings import Settings
from jobs.ops import deploy

JOB = "clean_interactions"


@pytest.fixture(scope="package")
def job(stack: Settings) -> Iterator[Settings]:
    """The stack with the job on it, as a person deploys it, but with outputs every 2 s: the tests wait for them."""
    arguments = [*deploy.job_arguments(stack), "--checkpoint-s", "2"]
    deploy.deploy(stack, JobRecord(JOB, deploy.JOBS[JOB], arguments, 2))
    yield stack
    deploy.stop_job(stack, JOB)


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
