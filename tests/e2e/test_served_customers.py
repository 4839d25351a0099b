"""gold.customer_360 in a real MariaDB: what changed is written, all or nothing, and whoever is erased stays out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from deltalake import DeltaTable
from sqlalchemy import text

from jobs.ops import erasure_stores
from pipelines import contracts
from pipelines.io import mariadb_erasure, served_customers
from pipelines.io.mariadb import connect
from pipelines.io.served_customers import GOLD, GoldMoved, Served, serve
from pipelines.privacy.erasure import Person
from tests.e2e.served_gold import AS_OF, Gold

POLICY = contracts.policy("lookup")["publish"]
ZONED = {"tzinfo": UTC}


@pytest.fixture
def gold(tmp_path):
    return Gold(tmp_path)


@pytest.fixture
def database(stack):
    """The served tables, empty."""
    engine = connect(stack.database_url, load_data=True)
    with engine.begin() as connection:
        served_customers.create_tables(connection)
        for name in served_customers.NAMES.values():
            connection.exec_driver_sql(f"DELETE FROM {name}")
    yield engine
    engine.dispose()


def run(database, gold, tmp_path, **options) -> Served:
    return serve(database, gold.paths, scratch=tmp_path, policy=POLICY, **options)


def held(database) -> dict[str, tuple]:
    with database.connect() as connection:
        rows = connection.execute(text("SELECT customer_id, contacts, tags FROM customer_360")).all()
    return {customer: tuple(rest) for customer, *rest in rows}


def test_a_build_writes_what_it_changed(database, gold, tmp_path):
    gold.publish({"customer_id": "c_1"}, {"customer_id": "c_2"}, {"customer_id": "c_3"})
    gold.tag(("c_1", "value_tier", "high"), ("c_3", "gender", "female"))
    assert run(database, gold, tmp_path) == Served(3, 0, 0, AS_OF)
    # c_1 is as it was, c_2 was in contact again, c_3 has another tag, c_4 is new, and nobody is gone
    gold.publish({"customer_id": "c_1"}, {"customer_id": "c_2", "contacts": 2}, {"customer_id": "c_3"},
                 {"customer_id": "c_4"}, as_of_at=AS_OF + timedelta(days=1))  # fmt: skip
    gold.tag(("c_1", "value_tier", "high"), ("c_3", "gender", "male"))
    assert run(database, gold, tmp_path) == Served(3, 0, 1, AS_OF + timedelta(days=1))
    gold.publish({"customer_id": "c_2", "contacts": 2}, {"customer_id": "c_4"})
    assert run(database, gold, tmp_path) == Served(0, 2, 2, AS_OF)
    assert held(database) == {"c_2": (2, None), "c_4": (1, None)}


def test_a_later_build_in_which_nobody_changed_moves_the_instant_and_writes_no_row(database, gold, tmp_path):
    gold.publish({"customer_id": "c_1"})
    run(database, gold, tmp_path)
    gold.publish({"customer_id": "c_1"}, as_of_at=AS_OF + timedelta(days=1))
    assert run(database, gold, tmp_path) == Served(0, 0, 1, AS_OF + timedelta(days=1))
    with database.connect() as connection:
        assert connection.execute(text("SELECT as_of_at FROM serving_builds")).scalar_one() == datetime(2026, 1, 10)


def test_a_second_run_finds_nothing_to_do(database, gold, tmp_path):
    gold.publish({"customer_id": "c_1"})
    run(database, gold, tmp_path)
    assert run(database, gold, tmp_path).written == 0


def test_what_a_crash_or_a_hand_left_is_healed_and_all_can_be_written_anew(database, gold, tmp_path, monkeypatch):
    gold.publish({"customer_id": "c_1"}, {"customer_id": "c_2"})
    run(database, gold, tmp_path)
    before = held(database)
    gold.publish({"customer_id": "c_1", "contacts": 9}, {"customer_id": "c_3"})
    with monkeypatch.context() as broken:
        broken.setattr(served_customers, "_tell", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            run(database, gold, tmp_path)
    assert held(database) == before  # nothing of the half build
    assert run(database, gold, tmp_path).written == 2
    with database.begin() as connection:
        connection.execute(text("DELETE FROM customer_360 WHERE customer_id = 'c_1'"))
    assert run(database, gold, tmp_path).written == 1  # by the count: the versions are the same
    with database.begin() as connection:
        connection.execute(text("UPDATE customer_360 SET contacts = 77"))  # a hand that left the hash alone
    assert run(database, gold, tmp_path, anew=True).written == 2
    assert held(database) == {"c_1": (9, None), "c_3": (1, None)}


@pytest.mark.parametrize("loaded", [True, False])
def test_values_arrive_as_they_are_by_both_ways_of_writing(database, gold, tmp_path, loaded):
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, **ZONED)
    gold.publish(
        {"customer_id": "c_1", "last_outcome": "tab\tline\nback\\slash 😀", "consent_marketing": True,
         "consent_profiling": False, "consent_marketing_at": at, "region": "x" * 300, "monetary_minor": 2**40},
    )  # fmt: skip
    serve(database, gold.paths, scratch=tmp_path if loaded else None, policy=POLICY)
    columns = "last_outcome, consent_marketing, consent_profiling, consent_recorded_calls, consent_marketing_at"
    with database.connect() as connection:
        row = connection.execute(text(f"SELECT {columns}, region, monetary_minor FROM customer_360")).one()
    assert tuple(row) == (
        "tab\tline\nback\\slash 😀", 1, 0, None, at.replace(tzinfo=None), "x" * 255, 2**40,
    )  # fmt: skip
    assert list(tmp_path.glob("load-*")) == []


def test_whoever_is_erased_while_rows_are_written_does_not_come_back(database, gold, tmp_path, monkeypatch):
    gold.publish({"customer_id": "c_1"}, {"customer_id": "c_2"})
    published = served_customers._published

    def erased_meanwhile(paths):
        rows = published(paths)
        DeltaTable(str(paths[GOLD])).delete("customer_id = 'c_1'")
        monkeypatch.setattr(served_customers, "_published", published)
        return rows

    monkeypatch.setattr(served_customers, "_published", erased_meanwhile)
    assert run(database, gold, tmp_path).written == 1
    assert held(database).keys() == {"c_2"}


def test_a_table_that_never_rests_is_said(database, gold, tmp_path, monkeypatch):
    gold.publish({"customer_id": "c_1"})
    told = iter(range(100))
    monkeypatch.setattr(served_customers, "_versions", lambda paths: {GOLD: f"x@{next(told)}"})
    with pytest.raises(GoldMoved, match="run it again"):
        run(database, gold, tmp_path)
    assert held(database) == {}


def test_before_the_first_build_there_is_nothing_to_serve(database, gold, tmp_path):
    assert run(database, gold, tmp_path) is None


def test_an_erasure_finds_and_removes_the_row_and_nobody_elses(stack, database, gold, tmp_path):
    gold.publish({"customer_id": "c_1"}, {"customer_id": "p_" + "ab" * 12}, {"customer_id": "c_2"})
    run(database, gold, tmp_path)
    who = Person(frozenset({"ph1_" + "ab" * 16}), frozenset({"c_1", "p_" + "ab" * 12}))
    assert mariadb_erasure.telling_tables(database)["customer_360"] == ["customer_id"]
    assert erasure_stores.count_in_mariadb(stack, who)["customer_360"] == 2
    erasure_stores.erase_in_mariadb(stack, who)
    assert erasure_stores.count_in_mariadb(stack, who)["customer_360"] == 0
    assert held(database) == {"c_2": (1, None)}
