"""Which pairs wait for a person: never one that a person has decided on."""

from __future__ import annotations

from pipelines.identity.resolve import Conflict
from pipelines.io.identity_writes import pairs_to_look_at


def test_a_pair_that_a_person_keeps_apart_is_not_asked_about_again():
    conflicts = [
        Conflict("u1", "crm/02", "crm/01", "one_record_per_source"),
        Conflict("u2", "crm/03", "s/04", "kept_apart"),  # they share u2, and somebody has said that they are two
        Conflict("", "crm/05", "crm/06", "kept_apart"),
    ]
    assert list(pairs_to_look_at(conflicts)) == [("crm/01", "crm/02")]
