"""Simulated files of stores: the truth beside them is what the importer says of them."""

from __future__ import annotations

from datetime import date

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.ops.store_deliveries import Deliveries
from pipelines import contracts
from pipelines.simulation.store_file_faults import SCENARIOS, world
from pipelines.simulation.store_files import Stores
from pipelines.stores import store_file
from pipelines.stores.verdicts import FileIncomplete, FileRefused

POLICY = contracts.policy("store_import")


@pytest.fixture(scope="module")
def made():
    return world(Stores(6, POLICY["stores"], date(2026, 11, 20), 7))


def test_the_same_seed_makes_the_same_truth(made):
    assert world(Stores(6, POLICY["stores"], date(2026, 11, 20), 7)).told() == made.told()


def test_every_file_is_recognised_as_what_it_is(made):
    """By content and name alone; what needs an earlier file (a correction, a second delivery) is a good file here."""
    deliveries, wrong = Deliveries(None, POLICY, 0), []
    for one in (one for one in made.files if one.content and one.fault != "still_named_part"):
        try:
            found, store, day = deliveries.recognise(one.path, one.content)
            store_file.must_end(found, one.content, POLICY["stores"][store])
            told = ("good", store, day, found.form, found.encoding)
        except FileIncomplete as wait:
            told = ("waits", one.sign in wait.reason)
        except FileRefused as refusal:
            told = ("refused", refusal.code)
        expected = {"waits": ("waits", True), "refused": ("refused", one.sign)}.get(one.verdict)
        if expected is None or one.sign == "correction.shrinks":
            expected = ("good", one.store, one.day, one.form, one.encoding)
        wrong += [] if told == expected else [(one.path, one.fault, told, expected)]
    assert wrong == []
    assert len({one.fault for one in made.files}) > len(SCENARIOS)


def test_the_command_writes_a_days_files_and_the_import_takes_them(tmp_path):
    arguments = ["simulate", "store-files", "--day", "2026-11-20", "--to", str(tmp_path / "in"), "--truth"]
    arguments.append(str(tmp_path / "truth.json"))
    done = CliRunner().invoke(cli.build(arguments), arguments, env={"COLUMNS": "150"})
    assert done.exit_code == 0, (done.output, done.exception)
    assert len([path for path in (tmp_path / "in").rglob("*") if path.is_file()]) == len(POLICY["stores"])
    assert (tmp_path / "truth.json").stat().st_size > 1_000
