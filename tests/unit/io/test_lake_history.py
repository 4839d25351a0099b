"""One customer's contacts out of the lake: all, once each, newest first, before and after files are in order."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from pipelines.io import history_layout, lake_history
from pipelines.privacy.tokens import Tokeniser
from tests.unit.io.lake import interaction, write
from tests.unit.migration.desks import KEY, Desk
from tests.unit.migration.test_certifying import compared

TABLES = ("silver.interactions", "silver.feedback")


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("desk"), 3_000, chunk_rows=600)
    desk.copier().full(desk.files())
    return desk


def of_phone(desk: Desk, phone: str, limit: int = 1_000) -> list[str]:
    token = Tokeniser(KEY).token(phone, "phone")
    return [c.event_id for c in lake_history.history_of_phone(desk.folder / "lake", token, limit)]


def all_rows(desk: Desk) -> pl.DataFrame:
    return pl.concat([desk.rows(name) for name in TABLES])


def test_every_contact_of_a_phone_before_and_after_files_are_in_order(desk) -> None:
    source = pl.read_csv(desk.source / "*.csv", infer_schema=False)
    phone = source.filter(pl.col("kh_sj").str.len_chars() == 11)["kh_sj"].mode().sort()[0]  # plainly spelled
    wanted = all_rows(desk).filter(pl.col("phone_token") == Tokeniser(KEY).token(phone, "phone"))
    expected = wanted.sort("occurred_at", descending=True)["event_id"].to_list()
    assert len(expected) > 5  # over several chunks, so in several files
    assert of_phone(desk, phone) == expected
    before = all_rows(desk).sort("raw_offset")
    for name in TABLES:
        assert history_layout.arrange(desk.path(name), desk.topic, desk.folder, memory_mb=512) == 5
        assert history_layout.arrange(desk.path(name), desk.topic, desk.folder, memory_mb=512) == 0  # in order already
    assert all_rows(desk).sort("raw_offset").equals(before)
    assert of_phone(desk, phone) == expected
    assert of_phone(desk, phone, limit=3) == expected[:3]
    assert compared(desk).differences == []


def test_ordered_files_of_small_size_have_ranges_of_their_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(history_layout, "FILE_ROWS", 400)
    monkeypatch.setattr(history_layout, "ROW_GROUP_ROWS", 100)
    desk = Desk(tmp_path, 2_000, chunk_rows=500)
    desk.copier().full(desk.files())
    history_layout.arrange(desk.path(TABLES[0]), desk.topic, tmp_path, memory_mb=512)
    actions = pa.table(DeltaTable(str(desk.path(TABLES[0]))).get_add_actions(flatten=True))
    ranges = sorted(zip(actions["min.phone_token"].to_pylist(), actions["max.phone_token"].to_pylist(), strict=True))
    assert len(ranges) == 4  # some 1,590 rows in files of 400
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    for file in lake_history._files(tmp_path / "lake", "phone_token", [bound for pair in ranges for bound in pair])[:4]:
        groups = pq.ParquetFile(file).metadata
        place = groups.schema.to_arrow_schema().names.index("phone_token")
        told = [groups.row_group(n).column(place).statistics for n in range(groups.num_row_groups)]
        assert all(before.max <= after.min for before, after in pairwise(s for s in told if s.has_min_max)), file
    token = desk.rows(TABLES[0])["phone_token"].drop_nulls()[0]
    opened = lake_history._files(tmp_path / "lake", "phone_token", [token])
    assert len([f for f in opened if "interactions" in f]) <= 2  # a number at a border lies in two


def test_contacts_under_the_customers_other_identifiers_and_newest_revisions(tmp_path) -> None:
    token, other = "ph1_" + "a" * 32, "ph1_" + "b" * 32
    at = interaction(1)["occurred_at"]
    rows = [
        interaction(1, phone_token=token, customer_id="c_1", source_message_id="m1"),
        interaction(2, phone_token=other, customer_id="c_1", source_message_id="m2"),  # found by the customer
        interaction(3, phone_token=other, customer_id="c_2", source_message_id="m3"),  # somebody else
        interaction(4, phone_token=token, customer_id="c_1", source_message_id="m1", source_revision=1, outcome="new"),
    ]  # fmt: skip
    write(tmp_path, "silver.interactions", rows)
    found = lake_history.history_of_phone(tmp_path, token, 10)
    assert sorted(c.event_id for c in found) == ["e2", "e4"]
    assert {c.outcome for c in found} == {None, "new"}
    assert all(c.occurred_at == at for c in found)
    assert [c.event_id for c in lake_history.history_of_customers(tmp_path, ["c_2"], 10)] == ["e3"]
    assert lake_history.history_of_phone(tmp_path, "ph1_" + "c" * 32, 10) == []


def test_an_empty_lake_has_no_history(tmp_path) -> None:
    assert lake_history.history_of_customers(tmp_path, ["c_1"], 10) == []
