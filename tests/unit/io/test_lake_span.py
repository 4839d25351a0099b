"""Whether a table is still the one that a build read: a version number alone does not say."""

from __future__ import annotations

import shutil

import duckdb
import pytest

from pipelines.io.lake_span import Span, VersionGone, require_same_tables, table_ids
from tests.unit.io.lake import interaction, write

MESSAGES, ORDERS = "silver.interactions", "silver.orders"


@pytest.fixture
def paths(tmp_path):
    write(tmp_path, MESSAGES, [interaction(1)], without=("outcome",))
    return {name: tmp_path.joinpath(*name.split(".")) for name in (MESSAGES, ORDERS)}


def test_a_table_that_grew_is_the_same_and_one_that_came_is_news(paths, tmp_path):
    before = table_ids(paths)
    assert list(before) == [MESSAGES]
    write(tmp_path, MESSAGES, [interaction(2)])  # with a column more
    write(tmp_path, ORDERS, [])
    require_same_tables(paths, before)
    require_same_tables(paths, {})  # a build that told none
    require_same_tables({ORDERS: paths[ORDERS]}, before)  # who does not read messages does not ask for them


def test_files_that_lie_under_a_folder_of_any_name_are_not_gone(tmp_path):
    lake = tmp_path / "客服 lake"
    path = lake.joinpath(*MESSAGES.split("."))
    write(lake, MESSAGES, [interaction(1)])
    write(lake, MESSAGES, [interaction(2)])
    span = Span.of(MESSAGES, path, 0, 1)
    assert duckdb.sql(f"SELECT raw_offset FROM {span.rows(span.came)}").fetchall() == [(2,)]


def test_a_table_made_anew_or_taken_away_is_not(paths, tmp_path):
    before = table_ids(paths)
    shutil.rmtree(paths[MESSAGES])
    with pytest.raises(VersionGone, match=r"silver\.interactions was taken away since"):
        require_same_tables(paths, before)
    write(tmp_path, MESSAGES, [interaction(1)])
    with pytest.raises(VersionGone, match=r"silver\.interactions was made anew since"):
        require_same_tables(paths, before)
