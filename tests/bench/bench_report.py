"""The bench's report: one JSON for machines, tables for people. The worse of the two mixes stands at the top."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

# What the work is measured against: (figure, least or most, bound, aim).
TARGETS = (
    ("events_per_s", "≥", 12_000, 25_000),
    ("ratio_to_spark", "≥", 1.5, 2.5),
    ("ratio_to_limit", "≥", 0.08, 0.2),
    ("clean_p95_ms", "≤", 400, 200),
    ("silver_p95_s", "≤", 60, 20),
    ("peak_memory_mb", "≤", 8_000, None),
)
_SLOWEST = 3  # seconds of a latency run that are told


def worse(values: list[float | None], choose: Callable[[list[float]], float]) -> float | None:
    """The chosen one of what was measured; None when nothing was.

    >>> worse([3.0, None, 2.0], min), worse([None], max)
    (2.0, None)
    """
    found = [value for value in values if value is not None]
    return choose(found) if found else None


def at(tree: Mapping[str, Any] | None, *path: str) -> Any:
    """A value deep in a report; None where a step on the way is missing or failed.

    >>> at({"a": {"b": 1}}, "a", "b"), at({"a": None}, "a", "b"), at(None, "a")
    (1, None, None)
    """
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def assemble(steps: Mapping[str, Mapping[str, Any] | None], data: Mapping[str, Any], command: str) -> dict[str, Any]:
    """The report of the steps that ran: ``throughput``, ``latency`` by mix, ``burst``, ``all_on``, ``gateway``."""
    mixes = ("flat", "mix")
    both = {m: {"throughput": at(steps, "throughput", m), "latency": at(steps, "latency", m)} for m in mixes}
    memories = [at(both[m], "throughput", "whole_way", "peak_memory_mb") for m in mixes]
    memories += [at(both[m], "latency", "peak_memory_mb") for m in mixes]
    memories += [at(steps, step, "peak_memory_mb") for step in ("burst", "all_on")]
    return {
        "events_per_s": worse([at(both[m], "throughput", "events_per_s") for m in mixes], min),
        "ratio_to_spark": worse([at(both[m], "throughput", "ratio_to_spark") for m in mixes], min),
        "ratio_to_spark_at_one_speed": worse(
            [at(both[m], "throughput", "ratio_to_spark_at_one_speed") for m in mixes], min
        ),
        "ratio_to_limit": worse([at(both[m], "throughput", "ratio_to_limit") for m in mixes], min),
        "clean_p95_ms": worse([at(both[m], "latency", "clean_ms", "p95") for m in mixes], max),
        "silver_p95_s": worse([at(both[m], "latency", "silver_s", "p95") for m in mixes], max),
        "peak_memory_mb": worse(memories, max),
        "all_on_events_per_s": at(steps, "all_on", "events_per_s"),
        **both,
        "burst": steps.get("burst"),
        "all_on": steps.get("all_on"),
        "gateway": steps.get("gateway"),
        "machine": machine(),
        "data": dict(data),
        "command": command,
    }


def machine() -> dict[str, Any]:
    """Where it ran, and how busy that machine was before: a loaded one measures its load."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average_5_min": round(os.getloadavg()[1], 2),
    }


def verdict(report: Mapping[str, Any], figure: str, sign: str, bound: float, aim: float | None) -> str:
    """``aim``, ``reached``, ``missed`` or ``not measured``.

    >>> verdict({"x": 5}, "x", "≥", 4, 6), verdict({"x": 5}, "x", "≤", 4, None), verdict({}, "x", "≤", 4, 2)
    ('reached', 'missed', 'not measured')
    """
    value = report.get(figure)
    if value is None:
        return "not measured"

    def within(limit: float) -> bool:
        return value >= limit if sign == "≥" else value <= limit

    if aim is not None and within(aim):
        return "aim"
    return "reached" if within(bound) else "missed"


def show(report: Mapping[str, Any], console: Console) -> None:
    """Tables for people."""
    table = Table(title="Bench: the worse of flat JSON and the channel mix", header_style="bold")
    for column in ("figure", "measured", "wanted", "aim", ""):
        table.add_column(column, justify="right" if column in ("measured", "wanted", "aim") else "left")
    for figure, sign, bound, aim in TARGETS:
        said = verdict(report, figure, sign, bound, aim)
        colour = {"missed": "red", "not measured": "yellow"}.get(said, "green")
        wanted, best = f"{sign} {bound:,}", "" if aim is None else f"{sign} {aim:,}"
        table.add_row(figure, _number(report.get(figure)), wanted, best, f"[{colour}]{said}[/]")
    for figure in ("ratio_to_spark_at_one_speed", "all_on_events_per_s"):
        table.add_row(figure, _number(report.get(figure)), "", "", "")
    console.print(table)
    for mix in ("flat", "mix"):
        _show_mix(mix, report[mix], console)


def _show_mix(mix: str, figures: Mapping[str, Any], console: Console) -> None:
    sides = {"whole way": "whole_way", "Spark peer": "spark", "bare loop": "limit"}
    table = Table(title=f"{mix}: side by side", header_style="bold")
    for column in ("side", "events/s", "each round", "core-s per million", "probe ms", "peak MB"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for label, name in sides.items():
        side = at(figures, "throughput", name)
        spent, memory = at(side, "core_seconds", "per_million", "total"), at(side, "peak_memory_mb")
        probe = at(side, "core_seconds", "probe_ms")
        each = ", ".join(map(_number, at(side, "each_per_s") or []))
        table.add_row(label, _number(at(side, "events_per_s")), each, *map(_number, (spent, probe, memory)))
    console.print(table)
    spent = at(figures, "throughput", "whole_way", "core_seconds") or {}
    for title, name in (
        ("where the core-seconds go", "per_million"),
        ("task manager", "task_manager_threads_per_million"),
    ):
        if spent.get(name):
            console.print(f"  {title}: " + ", ".join(f"{part} {value:,}" for part, value in spent[name].items()))
    clean, silver = at(figures, "latency", "clean_ms"), at(figures, "latency", "silver_s")
    if clean and silver:
        told = ", ".join(f"{q} {clean[q]:,.0f} ms" for q in clean)
        console.print(
            f"  clean record after {told}; in silver after p50 {silver['p50']:.1f} s, p95 {silver['p95']:.1f} s"
        )
    for second in sorted(at(figures, "latency", "by_second") or [], key=lambda s: -s["p95"])[:_SLOWEST]:
        console.print(f"  a slow second: {_told_second(second)}")


def _told_second(second: Mapping[str, Any]) -> str:
    """What a second's records took and who had the cores in it.

    >>> _told_second({"at": 60, "p50": 1200, "p95": 2000, "cores": {"at": 60, "idle": 0.0, "tiering": 0.9}})
    '00:01:00 UTC, p50 1,200 ms, p95 2,000 ms; cores: tiering 0.9, idle 0.0'
    """
    cores = {part: used for part, used in (second.get("cores") or {}).items() if part != "at"}
    told = ", ".join(f"{part} {used}" for part, used in sorted(cores.items(), key=lambda pair: -pair[1]))
    clock = time.strftime("%H:%M:%S", time.gmtime(second["at"]))
    return f"{clock} UTC, p50 {second['p50']:,} ms, p95 {second['p95']:,} ms; cores: {told}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:,}"
