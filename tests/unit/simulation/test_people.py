"""Synthetic people and their CRM file."""

import csv

from pipelines.simulation import crm
from pipelines.simulation.people import customer


def test_no_two_people_share_an_identifier():
    people = [customer(7, number) for number in range(3_000)]
    for name in (
        "customer_no",
        "phone",
        "unionid",
        "openid",
        "mini_openid",
        "external_userid",
        "member_number",
        "email",
    ):
        assert len({getattr(person, name) for person in people}) == 3_000
    assert len({person.national_id for person in people}) == 3_000


def test_phones_are_the_synthetic_range_without_the_number_forms_are_filled_with():
    phones = [customer(7, number).phone for number in (0, 137_998, 137_999, 138_000)]
    assert phones == ["13800000001", "13800137999", "13800138001", "13800138002"]


def test_crm_file_holds_what_the_company_knows(tmp_path):
    path = tmp_path / "crm.csv"
    assert crm.write(path, seed=7, customers=500) == 500
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["customer_no"] for row in rows] == [customer(7, number).customer_no for number in range(500)]
    for number, row in enumerate(rows):
        person = customer(7, number)
        held = (row["phone"], row["unionid"], row["member_number"])
        truth = zip(person.in_crm, (person.phone, person.unionid, person.member_number), strict=True)
        assert held == tuple(value if has else "" for has, value in truth)
        assert (row["phone_verified"] == "1") <= bool(row["phone"])  # nobody verifies a phone that is not there


def test_truth_file_says_how_often_each_message_was_sent(tmp_path):
    from datetime import UTC, datetime

    import pyarrow.parquet as pq

    from pipelines.simulation import truth
    from pipelines.simulation.traffic import generate

    rows = [message.truth for message in generate(3, 10, 5, datetime(2026, 1, 9, tzinfo=UTC))]
    # 23 sent out of a pool of 10: two whole passes, and three messages of a third
    truth.write(tmp_path / "truth.parquet", rows, passes=3, last_pass_events=3)
    table = pq.read_table(tmp_path / "truth.parquet")
    assert table["passes"].to_pylist() == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]
    assert table["truth_id"].to_pylist() == [row.truth_id for row in rows]
