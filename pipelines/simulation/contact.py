"""One thing that happened between a customer and the company, before it has a wire form."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.simulation.people import Customer

S = 1_000_000  # microseconds a second
HOUR = 3600 * S
MARK = "sim0000000"  # in every ID; replaced, byte for byte, when a pool of messages is sent once more


@dataclass(slots=True)
class Contact:
    """One thing that happened; the wire form and the dirt come later. ``expect_…`` and ``how`` are the truth."""

    channel: str
    kind: str
    role: str
    person: Customer
    session: str
    at_us: int
    text: str | None
    order: str | None = None
    agent: str | None = None
    response_s: float | None = None
    asked_us: int | None = None
    replied_us: int | None = None
    handle_s: float | None = None
    score: float | None = None
    scale: float | None = None
    extra: dict = field(default_factory=dict)
    expect: str = "kept"
    expect_rule: str | None = None
    expect_response: str | None = None
    expect_score: str | None = None
    how: str = "clean"
    personal: tuple[str, ...] = ()
