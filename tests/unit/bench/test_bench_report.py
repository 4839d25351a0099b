"""The report keeps what failed as null and puts the worse of the two mixes at the top."""

from __future__ import annotations

import io

from rich.console import Console

from tests.bench import bench_report


def _side(per_s: int, to_spark: float | None, memory_mb: int) -> dict:
    whole = {"events_per_s": per_s, "peak_memory_mb": memory_mb, "core_seconds": {"per_million": {"total": 90.0}}}
    return {"whole_way": whole, "events_per_s": per_s, "ratio_to_spark": to_spark, "ratio_to_limit": 0.1}


STEPS = {
    "throughput": {"flat": _side(20_000, 2.0, 3000), "mix": _side(15_000, None, 3100)},
    "latency": {
        "flat": {"clean_ms": {"p50": 90.0, "p95": 150.0}, "silver_s": {"p50": 5.0, "p95": 9.0}, "peak_memory_mb": 3500},
        "mix": None,
    },
    "burst": {"peak_memory_mb": 4200, "lost": 0},
}


def test_the_worse_of_both_mixes_stands_at_the_top():
    report = bench_report.assemble(STEPS, {"seed": 1}, "bench --quick")
    assert report["events_per_s"] == 15_000  # the mix is slower
    assert report["ratio_to_spark"] == 2.0  # only flat had a peer that came through
    assert report["clean_p95_ms"] == 150.0  # latency of the mix failed
    assert report["peak_memory_mb"] == 4200  # the burst held most
    assert report["all_on_events_per_s"] is None  # did not run
    assert report["mix"]["latency"] is None
    assert report["command"] == "bench --quick"


def test_a_run_that_measured_nothing_is_all_null():
    report = bench_report.assemble({"throughput": {"flat": None}}, {}, "bench")
    wanted = ["events_per_s", "ratio_to_spark", "ratio_to_limit", "clean_p95_ms", "silver_p95_s", "peak_memory_mb"]
    assert {report[name] for name in wanted} == {None}


def test_tables_are_printed_whatever_is_missing():
    for steps in (STEPS, {}, {"throughput": {"flat": None, "mix": None}}):
        out = io.StringIO()
        bench_report.show(bench_report.assemble(steps, {}, "bench"), Console(file=out, width=120))
        assert "clean_p95_ms" in out.getvalue()
        assert ("not measured" in out.getvalue()) is (steps is not STEPS)


def test_verdicts():
    assert bench_report.verdict({"x": 25_000}, "x", "≥", 12_000, 25_000) == "aim"
    assert bench_report.verdict({"x": 12_000}, "x", "≥", 12_000, 25_000) == "reached"
    assert bench_report.verdict({"x": 11_999}, "x", "≥", 12_000, 25_000) == "missed"
    assert bench_report.verdict({"x": 200}, "x", "≤", 400, 200) == "aim"
