"""The gate: a planted defect of every kind keeps a build from readers, and the message names the rows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from deltalake import DeltaTable

from jobs.spark.publishing import RESULTS, publish_checked
from pipelines import contracts
from pipelines.quality import predicates, suites
from pipelines.quality.checks import checks_of
from pipelines.quality.gate import GateFailed, Reconciliation, judge

pytestmark = pytest.mark.spark
TABLE = "gold.customer_360"
AT = datetime(2026, 1, 20, tzinfo=UTC)
SOUND = {
    "customer_id": "c1", "identity_status": "linked", "as_of_at": AT, "contacts": 2, "channels": 2,
    "contacts_phone": 1, "contacts_app": 1, "contacts_in_window": 2, "preferred_channel": "app", "csat_count": 1,
    "csat_sum_bp": 8000, "response_sum_ms": 0,
    "first_contact_at": datetime(2026, 1, 5, tzinfo=UTC), "last_contact_at": datetime(2026, 1, 6, tzinfo=UTC),
}  # fmt: skip

# One defect per check: what is planted, on which customer.
DEFECTS = {
    "not_null:contacts": {"contacts": None},
    "unique:customer_id": {"customer_id": "c1"},  # stands twice now
    "in_set:identity_status": {"identity_status": "guessed"},
    "between:channels": {"channels": 14},  # there are 13
    "channels_add_up": {"contacts_phone": 5},
    "first_before_last": {"first_contact_at": datetime(2026, 1, 7, tzinfo=UTC)},
    "scores_within_scale": {"csat_sum_bp": 10001},
    "preferred_channel_is_used": {"preferred_channel": None},
    "id_is_coded": {"customer_id": "13812345670"},
    "contacts_a_person_can_have": {"contacts": 1000, "contacts_phone": 999},
}


def _frame(spark, *changes):
    schema = contracts.spark_schema(contracts.table(TABLE))
    zeros = {f.name: 0 for f in contracts.table(TABLE).fields if f.type == "long"}
    rows = [zeros | SOUND | {"customer_id": f"c{nth}"} | change for nth, change in enumerate(changes, start=1)]
    for field in schema.fields:
        field.nullable = True
    return spark.createDataFrame([[row.get(name) for name in schema.names] for row in rows], schema)


def test_each_planted_defect_fails_its_check_and_predicates_find_its_row(spark):
    checks = checks_of(TABLE)
    # All defects in one frame: each on a row of its own, so one run of the suite shows every check failing.
    frame = _frame(spark, {}, *DEFECTS.values()).cache()
    held = suites.verdicts(frame, checks, TABLE)
    assert {name for name, passed in held.items() if not passed} >= set(DEFECTS)
    for check in checks:
        if check.name in DEFECTS:
            keys = {row["customer_id"] for row in predicates.bad_rows(frame, check).collect()}
            position = list(DEFECTS).index(check.name) + 2
            assert keys == {DEFECTS[check.name].get("customer_id", f"c{position}")}, check.name


def test_a_sound_frame_passes_every_check(spark):
    assert all(suites.verdicts(_frame(spark, {}, {}), checks_of(TABLE), TABLE).values())


def test_a_failed_build_leaves_readers_the_version_they_had(spark, settings):
    path = str(settings.table_path(TABLE))
    publish_checked(_frame(spark, {}), TABLE, settings)
    before = DeltaTable(path)
    with pytest.raises(GateFailed, match=r"channels_add_up: 1 rows, e\.g\. \[\{\"customer_id\": \"c2\"\}\]"):
        publish_checked(_frame(spark, {}, {"contacts_phone": 5}), TABLE, settings)
    after = DeltaTable(path)
    assert after.version() == before.version()
    assert after.to_pyarrow_table().column("customer_id").to_pylist() == ["c1"]

    publish_checked(_frame(spark, {}, {}), TABLE, settings)
    assert DeltaTable(path).version() == before.version() + 1, "publishing is one commit"
    results = DeltaTable(str(settings.table_path(RESULTS))).to_pyarrow_table().to_pylist()
    failed = [r for r in results if not r["passed"] and r["severity"] == "stop"]
    assert [(r["check_name"], r["published"], r["bad_rows"]) for r in failed] == [("channels_add_up", False, 1)]


def test_a_warning_is_noted_and_does_not_stop(spark):
    report = judge(_frame(spark, DEFECTS["contacts_a_person_can_have"]), TABLE, run_id="r", checked_at=AT, checks=())
    assert report.passed
    warned = [c for c in checks_of(TABLE) if c.name == "contacts_a_person_can_have"]
    report = judge(
        _frame(spark, DEFECTS["contacts_a_person_can_have"]), TABLE, run_id="r", checked_at=AT, checks=warned
    )
    assert report.passed
    assert [r.name for r in report.failures] == ["contacts_a_person_can_have"]


def test_wrong_columns_and_figures_that_differ_by_a_second_path_stop(spark):
    report = judge(_frame(spark, {}).drop("csat_count"), TABLE, run_id="r", checked_at=AT)
    assert not report.passed
    assert "csat_count is missing" in report.explain()
    report = judge(
        _frame(spark, {}), TABLE, run_id="r", checked_at=AT, checks=(), reconciliations=[Reconciliation("rows", 1, 2)]
    )
    assert not report.passed
    assert "built 1, source 2" in report.explain()
