"""Several rounds of the same sides as one: the mean counts, and every round's figure stands beside it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.bench.figures import ratio

SIDES = ("limit", "spark", "whole_way")


def together(rounds: Sequence[dict]) -> dict:
    """One result out of several: of each side the figures of its last round, with the mean rate and ``each_per_s``,
    and the ratios of the means. A side that failed in a round is judged by its other rounds, and the failure is listed.

    >>> one = {"failures": [], "limit": None, "spark": {"events_per_s": 8}, "whole_way": {"events_per_s": 12}}
    >>> two = {"failures": ["no"], "limit": None, "spark": {"events_per_s": 12}, "whole_way": {"events_per_s": 14}}
    >>> found = together([one, two])
    >>> found["spark"], found["ratio_to_spark"], found["ratio_to_limit"], found["failures"]
    ({'events_per_s': 10, 'each_per_s': [8, 12]}, 1.3, None, ['no'])
    """
    sides = {name: _mean([one[name] for one in rounds if one[name]]) for name in SIDES}
    speed = {name: (side or {}).get("events_per_s") for name, side in sides.items()}
    hints = [ratio_at_one_speed(one["whole_way"], one["spark"]) for one in rounds]
    measured = [hint for hint in hints if hint is not None]
    return sides | {
        "failures": [failure for one in rounds for failure in one["failures"]],
        "events_per_s": speed["whole_way"],
        "ratio_to_spark": ratio(speed["whole_way"], speed["spark"]),
        "ratio_to_spark_at_one_speed": round(statistics.fmean(measured), 3) if measured else None,
        "ratio_to_limit": ratio(speed["whole_way"], speed["limit"]),
    }


def _mean(turns: Sequence[dict]) -> dict | None:
    if not turns:
        return None
    each = [turn["events_per_s"] for turn in turns]
    peaks = [turn["peak_memory_mb"] for turn in turns if "peak_memory_mb" in turn]
    memory = {"peak_memory_mb": max(peaks)} if peaks else {}
    # Only the first round tries trigger sizes; which of them failed must not get lost with it.
    tried = {name: turns[0][name] for name in ("tried", "failures") if name in turns[0]}
    return turns[-1] | tried | memory | {"events_per_s": round(statistics.fmean(each)), "each_per_s": each}


def ratio_at_one_speed(side: dict | None, peer: dict | None) -> float | None:
    """The ratio as if the machine had been as fast for the peer as for us: the sides run minutes apart.

    Each side's events a second are held against its probe, the CPU time of a fixed piece of work. A hint, no verdict:
    the probe runs beside the side, so a side that fills caches and memory slows its own probe down. None without both.

    >>> ratio_at_one_speed({"events_per_s": 9000, "core_seconds": {"probe_ms": 1.5}},
    ...                    {"events_per_s": 9000, "core_seconds": {"probe_ms": 1.0}})
    1.5
    """
    probes = [(one or {}).get("core_seconds", {}).get("probe_ms") for one in (side, peer)]
    if not all(probes):
        return None
    ours, theirs = (one["events_per_s"] * probe for one, probe in zip((side, peer), probes, strict=True))
    return ratio(ours, theirs)
