"""What a hard case is: a message in wire form, and the verdict a careful person would give."""

from __future__ import annotations

from dataclasses import dataclass

START_US = 1_767_916_800_000_000  # 2026-01-09 00:00 UTC
HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Truth:
    """What should become of a message. `rule` names a family: blank, invalid, duplicate, ambiguous; else it is kept."""

    route: str = "kept"
    rule: str | None = None
    response_verdict: str | None = None
    response_corrected_s: float | None = None
    score_verdict: str | None = None
    hidden: tuple[str, ...] = ()  # digits that must not be in the output
    shown: tuple[str, ...] = ()  # digits that must stay


@dataclass(frozen=True)
class Case:
    """One message: which rule it is made to try, why it is hard, the wire form, the truth."""

    tries: str
    why: str
    topic: str
    payload: bytes
    received_us: int
    truth: Truth


BLANK = Truth("rejected", "blank")
INVALID = Truth("rejected", "invalid")
DUPLICATE = Truth("duplicate", "duplicate")
AMBIGUOUS = Truth("review", "ambiguous")
KEPT = Truth()
