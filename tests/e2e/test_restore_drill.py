"""One drill of `make restore-drill`, smaller: everything killed under load, restored elsewhere, exact."""

import json

import pytest

from tests.bench import restore_drill


@pytest.mark.soak
def test_a_killed_stack_comes_back_from_its_backup_exactly(tmp_path):
    report = tmp_path / "restore_drill.json"
    assert restore_drill.main(["--drills", "1", "--load-s", "30", "--rate", "200", "--report", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["rpo_s_max"] <= restore_drill.RPO_BAR_S
    assert {found[name] for name in restore_drill.WRONG} == {0}
    assert found["runs"][0]["repeated"] > 0  # or nothing is shown of the job's memory
