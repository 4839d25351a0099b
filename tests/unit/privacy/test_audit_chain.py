"""Whatever is done to the audit rows by who lacks the key is found, by number."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.privacy.audit_chain import GENESIS, Act, AuditRow, Head, link, row_hash, unwitnessed, verify
from pipelines.privacy.keys import MasterKey

KEY = MasterKey({1: bytes(32)})
OTHER = MasterKey({1: b"\x01" * 32})


def chain(length: int, key: MasterKey = KEY) -> list[AuditRow]:
    head, rows = Head.none(), []
    for number in range(length):
        rows.append(link(Act(1000 + number, "li.na", "agent", "consult", f"c_{number % 3}", "by mail"), head, key))
        head = Head.of(rows[-1])
    return rows


def witness_of(rows) -> dict[int, str]:
    return {row.audit_seq: row.row_hash for row in rows}


def numbers(findings) -> set[int]:
    return {finding.audit_seq for finding in findings}


def changed(row: AuditRow, name: str) -> AuditRow:
    value = getattr(row, name)
    if value is None:
        return replace(row, **{name: "{}"})
    return replace(row, **{name: value + 1 if isinstance(value, int) else value[:-1] + chr(ord(value[-1:] or "a") ^ 1)})


rows_and_place = st.integers(2, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))


@given(st.integers(0, 30))
def test_an_untouched_chain_has_no_finding(length):
    rows = chain(length)
    assert verify(rows, witness_of(rows), KEY) == []


@settings(deadline=None)
@given(rows_and_place, st.sampled_from([field.name for field in fields(AuditRow)]))
def test_a_changed_field_is_found_at_its_number(place, name):
    length, at = place
    rows = chain(length)
    rows[at] = changed(rows[at], name)
    shown_at = at + 2 if name == "audit_seq" else at + 1  # a changed number is found where it now stands
    assert shown_at in numbers(verify(rows, {}, KEY))


@settings(deadline=None)
@given(rows_and_place)
def test_a_removed_row_is_found_and_the_end_too_when_the_second_place_is_asked(place):
    length, at = place
    rows = chain(length)
    left = rows[:at] + rows[at + 1 :]
    assert numbers(verify(left, witness_of(rows), KEY)) == {at + 1}
    # What the second place is for: without it a chain that ends sooner is a good chain.
    assert numbers(verify(left, {}, KEY)) == (set() if at == length - 1 else {at + 1})


@settings(deadline=None)
@given(rows_and_place, st.integers(1, 5))
def test_a_cut_off_end_is_found_row_by_row(place, cut):
    length, _ = place
    rows = chain(length)
    cut = min(cut, length)
    assert numbers(verify(rows[:-cut], witness_of(rows), KEY)) == set(range(length - cut + 1, length + 1))


@settings(deadline=None)
@given(rows_and_place)
def test_an_inserted_row_is_found(place):
    length, at = place
    rows = chain(length)
    forged = link(Act(5, "x", "agent", "consult", "c_9"), Head.of(rows[at]), OTHER)
    assert forged.audit_seq in numbers(verify([*rows[: at + 1], forged, *rows[at + 1 :]], {}, KEY))


@settings(deadline=None)
@given(rows_and_place, st.data())
def test_two_swapped_rows_are_both_found(place, data):
    """Their contents change places, the numbers stay: what somebody with UPDATE can do."""
    length, at = place
    other = data.draw(st.integers(0, length - 1).filter(lambda n: n != at))
    rows = chain(length)
    rows[at], rows[other] = (
        replace(rows[other], audit_seq=rows[at].audit_seq),
        replace(rows[at], audit_seq=rows[other].audit_seq),
    )
    assert {at + 1, other + 1} <= numbers(verify(rows, {}, KEY))


@settings(deadline=None)
@given(rows_and_place)
def test_who_lacks_the_key_cannot_chain_the_rest_anew(place):
    length, at = place
    rows, head = chain(length), Head.none()
    rechained = rows[:at]
    head = Head.of(rechained[-1]) if rechained else head
    for row in rows[at:]:
        act = Act(row.acted_at, "nobody", row.actor_role, row.act, row.act_subject, row.reason)
        rechained.append(link(act, head, OTHER))
        head = Head.of(rechained[-1])
    assert numbers(verify(rechained, {}, KEY)) == set(range(at + 1, length + 1))


def test_a_row_put_back_from_an_older_chain_does_not_follow():
    """A true row of another history: its hash fits, its place does not."""
    rows = chain(3)
    elsewhere = link(Act(77, "li.na", "agent", "consult", "c_7"), Head(1, "a" * 64), KEY)
    (finding,) = verify([rows[0], elsewhere], {}, KEY)
    assert (finding.audit_seq, finding.what.startswith("does not follow")) == (2, True)
    # With the next one in its place too, that one no longer follows either.
    assert numbers(verify([rows[0], elsewhere, rows[2]], {}, KEY)) == {2, 3}


def test_even_with_the_key_the_second_place_tells_a_chain_made_anew():
    rows = chain(4)
    again = rows[:2]
    for row in rows[2:]:
        act = Act(row.acted_at, "other", row.actor_role, row.act, row.act_subject)
        again.append(link(act, Head.of(again[-1]), KEY))
    assert verify(again, {}, KEY) == []
    assert numbers(verify(again, witness_of(rows), KEY)) == {3, 4}


def test_rows_of_two_key_versions_stand_in_one_chain():
    both = MasterKey({1: bytes(32), 2: b"\x02" * 32})
    rows = chain(2)
    rows.append(link(Act(9, "li.na", "agent", "consult", "c_1"), Head.of(rows[-1]), both))
    assert [row.key_version for row in rows] == [1, 1, 2]
    assert verify(rows, {}, both) == []
    assert numbers(verify(rows, {}, KEY)) == {3}  # a ring without version 2 cannot vouch for it


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("ab", "c"), ("a", "bc")),  # fields side by side must not run into each other
        (('a","b', ""), ("a", 'b","')),  # nor through what JSON itself uses
        (("", "null"), ("null", "")),
    ],
)
def test_no_two_rows_have_one_canonical_text(left, right):
    one, other = (
        AuditRow(1, 1, actor, role, "consult", "c", "", None, 1, GENESIS, "") for actor, role in (left, right)
    )
    assert row_hash(one, KEY) != row_hash(other, KEY)


def test_what_a_crash_left_unsent_is_known():
    rows = chain(3)
    assert [row.audit_seq for row in unwitnessed(rows, witness_of(rows[:1]))] == [2, 3]


def test_a_row_has_the_fields_of_its_contract():
    assert [field.name for field in fields(AuditRow)] == [field.name for field in contracts.table("audit.log").fields]
