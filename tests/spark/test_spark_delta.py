"""A pinned read of a Delta table by Spark: what the log of that version names, wherever the lake lies."""

from __future__ import annotations

import pytest

from pipelines.io import spark_delta
from tests.unit.io.lake import AT, write

pytestmark = pytest.mark.spark
LINKS = "silver.identity_links"


def test_an_unpartitioned_table_is_read_at_its_version_also_where_the_folder_has_a_blank(spark, tmp_path):
    lake = tmp_path / "客服 lake"
    path = lake.joinpath(*LINKS.split("."))
    assert spark_delta.read(spark, path, LINKS, None).count() == 0, "not there yet"
    for token in ("ph1_a", "ph1_b"):
        write(lake, LINKS, [{"token": token, "token_type": "phone", "customer_id": "c_1", "link_rule": "attested",
                             "valid_from_at": AT, "recorded_at": AT, "stretch": 0}])  # fmt: skip
    read = [spark_delta.read(spark, path, LINKS, version) for version in (0, 1)]
    assert [{row["token"] for row in rows.collect()} for rows in read] == [{"ph1_a"}, {"ph1_a", "ph1_b"}]
