"""The share of rejects by channel: the alarm for a deployment, or a source, that turns good messages away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# raw_topic, the rule that rejected (None: not rejected), how many.
Counted = tuple[str, str | None, int]


@dataclass(frozen=True)
class RejectShare:
    """What the job judged on one channel within the window. allowed_share: above it the alarm rings."""

    channel: str
    judged: int
    rejected: int
    allowed_share: float
    commonest_rule: str = ""

    @property
    def share(self) -> float:
        """Rejected of judged, 0 to 1."""
        return self.rejected / self.judged

    @property
    def too_many(self) -> bool:
        """True when more than the allowed share was rejected.

        >>> RejectShare("app", 1000, 200, 0.2).too_many, RejectShare("app", 1000, 201, 0.2).too_many
        (False, True)
        """
        return self.share > self.allowed_share

    def __str__(self) -> str:
        return (
            f"{self.channel}: {self.share:.1%} rejected ({self.rejected:,} of {self.judged:,}; "
            f"up to {self.allowed_share:.0%} is normal), most by {self.commonest_rule}"
        )


def reject_shares(
    counted: Iterable[Counted],
    *,
    min_messages: int,
    quiet_channels: str,
    max_rejected_share: float,
    channels: Mapping[str, float],
    **_: Any,
) -> list[RejectShare]:
    """One line a channel with at least ``min_messages`` judged, in name order; the others together as one more.

    Summing up the quiet ones is what makes the alarm work for a small company, none of whose channels has many
    messages within the window. Where even their sum is too small there is no line: 3 of 4 says nothing.

    Args:
        counted: duplicates left out: they are judged too, and a source that repeats itself would hide the rejects.
        channels: the share allowed on a channel where ``max_rejected_share`` is not its normal.

    >>> limits = dict(min_messages=10, quiet_channels="quiet", max_rejected_share=0.2, channels={})
    >>> [line] = reject_shares([("raw.app", None, 7), ("raw.app", "text.blank", 3)], **limits)
    >>> line.channel, line.share, line.too_many
    ('app', 0.3, True)
    """
    rules: dict[str, Counter[str | None]] = {}
    for topic, rule, count in counted:
        rules.setdefault(topic.removeprefix("raw."), Counter())[rule] += count
    quiet = {channel for channel, found in rules.items() if found.total() < min_messages}
    summed = sum((rules[channel] for channel in quiet), Counter())
    lines = [
        _line(channel, rules[channel], channels.get(channel, max_rejected_share))
        for channel in sorted(rules.keys() - quiet)
    ]
    return [*lines, _line(quiet_channels, summed, max_rejected_share)] if summed.total() >= min_messages else lines


def _line(channel: str, found: Counter[str | None], allowed: float) -> RejectShare:
    rejected = Counter({rule: count for rule, count in found.items() if rule is not None})
    commonest = min(rejected, key=lambda rule: (-rejected[rule], rule), default="")
    return RejectShare(channel, found.total(), rejected.total(), allowed, commonest)
