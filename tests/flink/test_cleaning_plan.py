"""The plan of the cleaning job: one Python node, one de-duplication, shared by every branch of the one sink."""

import os
import re
import subprocess
import sys

import pytest

from infra.stack import flink
from infra.stack.settings import PROJECT_ROOT, Ports, Settings
from jobs.ops.job_plan import differences, state_signature


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Explained by the planner itself; no cluster and no broker is asked."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), ports=Ports(31200))
    flink.prepare(settings)
    job = PROJECT_ROOT / "jobs/flink/clean_interactions.py"
    arguments = ["--bootstrap", "127.0.0.1:31200", "--keys-file", "/nowhere"]
    arguments += ["--schemas", str(PROJECT_ROOT / "schemas"), "--explain"]
    environment = os.environ | flink.environment(settings)
    told = subprocess.run(
        [sys.executable, job, *arguments],
        env=environment,
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    return told.stdout.partition("== Optimized Execution Plan ==")[2]


def test_python_runs_once_a_message(plan):
    assert plan.count("PythonCalc(") == 1
    assert plan.count("TableSourceScan(") == 1


def test_one_deduplication_serves_all_branches(plan):
    assert len(re.findall(r"OverAggregate\(partitionBy=\[event_id\]", plan)) == 1
    assert len(re.findall(r"OverAggregate\(partitionBy=\[feedback_key\]", plan)) == 1
    assert plan.count("Reused(reference_id=[1])") == 3  # duplicates, feedback, vault
    assert "FIRST_VALUE(raw_ref)" in plan
    assert "Rank(" not in plan  # a fallback to Rank would emit updates


def test_one_sink_and_so_one_transaction(plan):
    assert len(re.findall(r"\bSink\(", plan)) == 1


def test_a_changed_threshold_keeps_the_state_and_a_changed_key_does_not(plan):
    text = f"== Optimized Execution Plan =={plan}"
    before = state_signature(text)
    assert any("OverAggregate partitionBy=[event_id]" in line for line in before)
    assert differences(before, state_signature(text.replace("86400000000", "3600000000"))) == []
    rekeyed = state_signature(text.replace("partitionBy=[event_id]", "partitionBy=[raw_ref]"))
    assert any(line.startswith("gone: OverAggregate partitionBy=[event_id]") for line in differences(before, rekeyed))
