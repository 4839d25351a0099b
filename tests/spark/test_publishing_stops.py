"""A planted defect of each kind, in a build or in the silver it reads, stops publishing; readers keep what they had."""

from __future__ import annotations

import pytest

from pipelines.quality.checks import STOP, checks_of
from tests.spark.planted import Reader, frame_of, refused_build, refused_columns, refused_figure, refused_input
from tests.unit.quality.defects import identified, planted
from tests.unit.quality.test_planted_defects import write

pytestmark = pytest.mark.spark
BUILT, READ = "gold.customer_tags", "silver.orders"


@pytest.fixture(scope="module")
def reader(spark, tmp_path_factory) -> Reader:
    """A published table of one row, and sound silver behind it."""
    from infra.stack.settings import Settings
    from jobs.spark.publishing import publish_checked
    from pipelines.io import spark_delta

    settings = Settings.load(home=tmp_path_factory.mktemp("stops"), port_base=26900)
    write(settings, READ, [identified(READ, 0)])
    sources = {READ: spark_delta.version_of(settings.table_path(READ))}
    publish_checked(frame_of(spark, BUILT, [identified(BUILT, 0)]), BUILT, settings, notes={"sources": sources})
    return Reader(settings, BUILT)


def one_of_each_kind(table: str) -> list[tuple[str, str, dict]]:
    """For each kind of check of severity stop the first that a row can break: kind, name, row."""
    found = {}
    for check, row in planted(table):
        if check.severity == STOP:
            found.setdefault(check.kind, (check.kind, check.name, row))
    return list(found.values())


def test_every_kind_of_check_is_planted_somewhere():
    kinds = {c.kind for table in (BUILT, READ) for c in checks_of(table) if c.severity == STOP}
    told = {kind for table in (BUILT, READ) for kind, _, _ in one_of_each_kind(table)}
    assert told == kinds == {"not_null", "unique", "in_set", "between", "condition", "no_personal_number"}


@pytest.mark.parametrize(("kind", "name", "row"), one_of_each_kind(BUILT), ids=lambda value: str(value)[:30])
def test_a_defect_in_the_build(spark, reader, kind, name, row):
    said = refused_build(spark, reader.settings, BUILT, [identified(BUILT, 0), row])
    assert said is not None
    assert f"[stop] {name}: " in said
    assert not reader.saw_bad()


def test_a_build_without_a_column_and_one_of_another_figure(spark, reader):
    assert "rule_version is missing" in refused_columns(spark, reader.settings, BUILT, "rule_version")
    assert "built 1, source 2" in refused_figure(spark, reader.settings, BUILT)
    assert not reader.saw_bad()


@pytest.mark.parametrize(("kind", "name", "row"), one_of_each_kind(READ), ids=lambda value: str(value)[:30])
def test_a_defect_in_the_silver_it_reads(spark, reader, kind, name, row):
    said = refused_input(spark, reader.settings, BUILT, READ, row)
    assert said is not None
    assert f"{READ}, day 2026-01-05 (UTC): {name}: " in said
    assert not reader.saw_bad()


def test_what_is_sound_is_published_after_all(spark, reader):
    assert refused_build(spark, reader.settings, BUILT, [identified(BUILT, 0), identified(BUILT, 1)]) is None
    assert len(reader.rows()) == 2
