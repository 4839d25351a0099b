"""Who held an identifier when: a phone number outlives its holder, and one number may have many at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Claim(NamedTuple):
    """One record's claim to one identifier; microseconds since the epoch, `end_us` None while the source holds it.

    The end of a claim `of_register` (a CRM's) says that the identifier was given up; that of a message's only when it
    was seen last.
    """

    record: int
    start_us: int
    end_us: int | None
    sightings: int = 1
    of_register: bool = False


def tenures(claims: Iterable[Claim], *, quiet_us: int) -> list[list[Claim]]:
    """Claims in the order of time, cut where an identifier was silent for `quiet_us`: then it may have changed hands.

    Operators give a cancelled mobile number out again after 90 days or more (MIIT, Administrative Measures for
    Telecommunications Network Numbering Resources), so what overlaps or follows sooner is one tenure.

    >>> day = 86_400_000_000
    >>> claims = [Claim(1, 0, 10 * day), Claim(2, 105 * day, None), Claim(3, 20 * day, 30 * day)]
    >>> [[claim.record for claim in tenure] for tenure in tenures(claims, quiet_us=90 * day)]
    [[1, 3, 2]]
    >>> [[claim.record for claim in tenure] for tenure in tenures(claims, quiet_us=60 * day)]
    [[1, 3], [2]]
    """
    found: list[list[Claim]] = []
    silent_from: float = 0
    for claim in sorted(claims, key=lambda c: (c.start_us, c.record)):
        if found and claim.start_us < silent_from + quiet_us:
            found[-1].append(claim)
        else:
            found.append([claim])
        silent_from = max(silent_from, float("inf") if claim.end_us is None else claim.end_us)
    return found


class Owned(NamedTuple):
    """One stretch of an identifier's life: whose it was, from when to when (None: without end that way)."""

    owner: int | None
    from_us: int | None
    to_us: int | None


class Held(NamedTuple):
    """A tenure: since when, by whom (None: by several), and until when if the register says that it was given up."""

    start_us: int
    owner: int | None
    given_up_us: int | None = None


def given_up_us(tenure: Iterable[Claim]) -> int | None:
    """When the register let the identifier go; None while it holds it, never held it, or messages came after.

    >>> given_up_us([Claim(1, 0, 50, of_register=True), Claim(2, 10, 40)])
    50
    >>> given_up_us([Claim(1, 0, 50, of_register=True), Claim(2, 10, 60)]) is None
    True
    """
    registered = [claim.end_us for claim in tenure if claim.of_register]
    if not registered or None in registered:
        return None
    end_us = max(registered)
    return end_us if all(claim.end_us is not None and claim.end_us <= end_us for claim in tenure) else None


def timeline(held: list[Held]) -> list[Owned]:
    """Stretches from tenures in the order of time; equal neighbours are one.

    What came before the first claim is the first owner's too: a customer calls before the CRM learns the number.

    >>> timeline([Held(5, 1), Held(9, 1), Held(20, 2)])
    [Owned(owner=1, from_us=None, to_us=20), Owned(owner=2, from_us=20, to_us=None)]
    >>> timeline([Held(5, 1, 9), Held(200, 2)])
    [Owned(owner=1, from_us=None, to_us=9), Owned(owner=2, from_us=200, to_us=None)]
    """
    kept: list[Held] = []
    for tenure in held:
        if kept and kept[-1].owner == tenure.owner:
            kept[-1] = kept[-1]._replace(given_up_us=tenure.given_up_us)
        else:
            kept.append(tenure)
    found = []
    for nth, tenure in enumerate(kept):
        following = kept[nth + 1].start_us if nth + 1 < len(kept) else None
        ends = [end for end in (tenure.given_up_us, following) if end is not None]
        found.append(Owned(tenure.owner, tenure.start_us if nth else None, min(ends, default=None)))
    return found
