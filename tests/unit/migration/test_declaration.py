"""What a declaration may say, and each refusal with the table, the column and the cure in its message."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from jobs.ops.migration_runs import require_same_reading
from pipelines.io.migration_mysql import SourceRefused
from pipelines.migration import declaration
from pipelines.migration.columns import DeclarationError
from pipelines.simulation import legacy_desk

GOOD = legacy_desk.declaration({"kind": "mysql", "url_variable": "OLD_DESK_URL"})


def changed(*path_and_value):
    stated = copy.deepcopy(GOOD)
    *path, last, value = path_and_value
    where = stated
    for step in path:
        where = where[step]
    if value is None:
        del where[last]
    else:
        where[last] = value
    return stated


def test_the_old_desk_is_read() -> None:
    migration = declaration.parse(GOOD)
    (table,) = migration.tables
    assert migration.topic(table) == "history.old_desk.fw_jl"
    assert table.column("occurred_at").time_zone == "Asia/Shanghai"
    assert table.required == ("account", "channel", "kind", "occurred_at", "sender_role", "source_message_id")


def test_what_a_contract_demands_is_no_part_of_how_rows_are_read() -> None:
    """Nor the order of columns, nor a field that a later release of ours has: who edited nothing is not refused."""
    (table,) = declaration.parse(GOOD).tables
    later = replace(table, required=(*table.required, "text"), columns=tuple(reversed(table.columns)))
    assert later.reading == table.reading


COLUMNS = ("tables", "fw_jl", "columns")


@pytest.mark.parametrize(
    ("stated", "goes_on"),
    [
        (GOOD, True),
        (changed("tables", "fw_jl", "overlap_minutes", 1), True),  # how far an increment looks back
        (changed("accepted", {"value.unknown": "known"}), True),  # what a person accepts of it
        (changed(*COLUMNS, "sender_role", {"constant": "agent"}), False),  # rows that stand say customer
        (changed("tables", "fw_jl", "review", True), False),  # an output more: it would get all rows once more
    ],
)
def test_a_copy_that_has_begun_goes_on_by_the_same_declaration_only(stated, goes_on) -> None:
    known = {}
    require_same_reading(declaration.parse(GOOD).tables[0], known)
    (table,) = declaration.parse(stated).tables
    if goes_on:
        require_same_reading(table, known)
    else:
        with pytest.raises(SourceRefused, match="fw_jl: its declaration reads rows otherwise"):
            require_same_reading(table, known)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (changed("migration", "Old Desk"), "is no name"),
        (changed("source", "kind", "oracle"), "source kind is 'oracle'"),
        (changed("source", "url_variable", None), "url_variable"),
        (changed("time_zone", "Peking"), "time zone 'Peking' is not known"),
        (changed("tables", "fw_jl", "tagret", "x"), r"unknown key\(s\) \['tagret'\]"),  # misspelt
        (changed("tables", "fw_jl", "target", "gold.customer_360"), "target is 'gold.customer_360'"),
        (changed("tables", "fw_jl", "target", ["silver.interactions", "silver.orders"]), "told apart by kind"),
        (changed("tables", "fw_jl", "deleted", "sometimes"), "deleted is compare"),
        (changed(*COLUMNS, "source_message_id", {"from": "qd"}), "must come from the key 'id' as it is"),
        (changed(*COLUMNS, "occurred_at", None), "occurred_at must be filled"),
        (changed(*COLUMNS, "customer_id", "hy_no"), "customer_id: not a column a migration may fill"),  # ours to find
        (changed(*COLUMNS, "event_id", "id"), "not a column a migration may fill"),
        (changed(*COLUMNS, "channel", {"from": "qd", "map": {"1": "fax"}}), "fax is none of"),
        (changed(*COLUMNS, "channel", {"from": "qd", "constant": "phone"}), "either from"),
        (changed(*COLUMNS, "phone_token", "kh_sj"), "phone_token: tokenise must be phone"),  # it would stay clear
        (changed(*COLUMNS, "outcome", {"from": "jg", "tokenise": "phone"}), "is no column of tokens"),
        (changed("tables", "fw_jl", "encoding", "gkb"), "fw_jl: no encoding 'gkb'"),
        (changed(*COLUMNS, "text", {"from": "nr`; DROP TABLE x"}), "is no name of a column"),
        (changed(*COLUMNS, "response_time_s", {"from": "dd_fz", "multiply": "sixty"}), "must be a number"),
        (changed(*COLUMNS, "response_time_s", {"from": "dd_fz", "times": 60}), r"unknown key\(s\) \['times'\]"),
    ],
)
def test_refused(stated, message) -> None:
    with pytest.raises(DeclarationError, match=message):
        declaration.parse(stated)
