"""Checks: read from contracts and expectations/, refused when ill-formed, rendered one to one."""

from __future__ import annotations

import pytest

from pipelines import contracts
from pipelines.contracts import ContractError
from pipelines.quality import suites
from pipelines.quality.checks import Check, checks_of, expectations_folder

GOOD = "table: gold.hot_questions\nchecks:\n  - {name: a, severity: warn, holds: askers > 0, because: why}\n"


def test_every_file_under_expectations_belongs_to_a_declared_table():
    names = [path.stem for path in expectations_folder().glob("*.yaml")]
    assert names
    assert set(names) <= set(contracts.tables())
    assert all(checks_of(name) for name in names)


def test_closed_sets_and_bounds_come_from_the_contract():
    found = {c.name: c for c in checks_of("gold.customer_360")}
    assert found["in_set:identity_status"].values == ("linked", "provisional", "anonymous")
    assert (found["between:channels"].min, found["between:channels"].max) == (0, 13)
    assert found["channels_add_up"].severity == "stop"


@pytest.mark.parametrize("table", [n for n in contracts.tables() if n.startswith("gold.")])
def test_each_check_becomes_one_expectation_under_its_name(table):
    checks = checks_of(table)
    suite = suites.render(checks, table)
    assert [e.meta["check"] for e in suite.expectations] == [c.name for c in checks]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("gold.hot_questions", "gold.other"), "must hold 'table: gold.hot_questions'"),
        (GOOD.replace("severity: warn", "severity: maybe"), "severity is stop or warn"),
        (GOOD.replace(", because: why", ""), "has name, severity and because, and one of"),  # no reason
        (GOOD.replace("name: a", "name: 'row_count_min'"), "share a name"),  # a name of the contract's
        (
            GOOD.replace("holds: askers > 0", "holds: askers > 0, no_personal_number: [question]"),
            "and one of",
        ),  # two forms
        (GOOD.replace("holds: askers > 0", "no_personal_number: [phone]"), r"has no column \['phone'\]"),
        (GOOD.replace("holds: askers > 0", "refers_to: {column: askers}"), "refers_to has column, table, its_column"),
        (GOOD.replace("askers > 0", "'askers > ${gold.none}'"), r"\$\{gold.none\} is no number"),  # nobody's threshold
        (GOOD.replace("askers > 0", "'askers > ${gold.version}'"), "is no number"),  # a word
    ],
)
def test_an_ill_formed_file_is_refused(tmp_path, text, message):
    (tmp_path / "gold.hot_questions.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match=message):
        checks_of("gold.hot_questions", tmp_path)


def test_a_threshold_of_a_policy_is_written_once(tmp_path):
    text = GOOD.replace("askers > 0", "'askers >= ${gold.hot_questions.min_askers}'")
    (tmp_path / "gold.hot_questions.yaml").write_text(text, encoding="utf-8")
    assert checks_of("gold.hot_questions", tmp_path)[-1].condition == "askers >= 2"


def test_a_kind_nobody_knows_is_an_error_not_a_pass():
    with pytest.raises(ValueError, match="has no expectation"):
        suites.render([Check("x", "sounds_good", "stop")], "t")
