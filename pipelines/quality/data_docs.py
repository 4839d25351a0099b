"""Data Docs: the suites of all tables and their newest results as static pages, drawn by Great Expectations.

The pages come out of gold.quality_results and expectations/: no second store could say otherwise. They hold numbers and
coded keys, no value of a row, and ask no other server for anything: no script, one style sheet of ours.
"""

from __future__ import annotations

import html
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.stack.settings import Settings
from pipelines.io import quality_results
from pipelines.quality import suites
from pipelines.quality.checks import Check, checks_of, lake_tables

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left}
.text-danger,.stop{color:#b00020}.text-success,.passed{color:#0a7a33}.warn{color:#a05a00}
.modal,.navbar,.cta-footer,#ge-cta-footer,.badge-sm,script,.sticky,.breadcrumb{display:none}.badge{font-weight:600}
"""
# What the templates would fetch from elsewhere, and what only works with it.
_FOREIGN = re.compile(r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<style\b.*?</style>", re.S | re.I)
_ADDRESS = re.compile(r"""(?:href|src)\s*=\s*["'](?:https?:)?//[^"']*["']""", re.I)


def write(settings: Settings, folder: Path) -> int:
    """Writes a page a table and an index into ``folder``, which they replace; gives how many there are."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    newest = newest_runs(quality_results.read(settings))
    lines = []
    for table in lake_tables():
        runs = newest.get(table, [])
        (folder / f"{table}.html").write_text(page(table, runs), encoding="utf-8")
        lines.append((table, runs))
    (folder / "index.html").write_text(index(lines), encoding="utf-8")
    return len(lines) + 1


def newest_runs(rows: Sequence[Mapping[str, Any]], most: int = 14) -> dict[str, list[list[Mapping[str, Any]]]]:
    """By table the results of the newest run of each day (or build), newest day first, at most so many days."""
    runs: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:  # the newest first
        runs[row["table_name"]][row["run_id"]].append(row)
    found: dict[str, list[list[Mapping[str, Any]]]] = {}
    for table, by_run in runs.items():
        by_day = {}
        for results in by_run.values():
            by_day.setdefault((results[0]["checked_date"], results[0]["published"] is None), results)
        found[table] = sorted(by_day.values(), key=lambda r: str(r[0]["checked_date"] or r[0]["checked_at"]))[::-1][
            :most
        ]
    return found


def page(table: str, runs: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """The suite of a table, and below it its runs with each result."""
    suites.quiet()
    from great_expectations.render.renderer import ExpectationSuitePageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    checks = [check for check in checks_of(table) if check.kind in _RENDERED]
    suite = suites.render([_shown(check) for check in checks], table)
    drawn = DefaultJinjaPageView().render(ExpectationSuitePageRenderer().render(suite))
    body = "".join(_run(table, results) for results in runs) or "<p>Not checked yet.</p>"
    because = "".join(
        f"<tr><td>{_text(c.name)}</td><td class={c.severity}>{c.severity}</td><td>{_text(_rule(c))}</td>"
        f"<td>{_text(c.because or 'contract')}</td></tr>"
        for c in checks_of(table)
    )
    reasons = f"<table><tr><th>check</th><th>severity</th><th>what must hold</th><th>because</th></tr>{because}</table>"
    own = f"<details><summary>As Great Expectations words it</summary>{_own(drawn)}</details>"
    title = f"<p><a href='index.html'>all tables</a></p><h1>{_text(table)}</h1>"
    return _whole(table, f"{title}{body}<h2>Checks</h2>{reasons}{own}")


def index(lines: Sequence[tuple[str, Sequence[Sequence[Mapping[str, Any]]]]]) -> str:
    """All tables with their newest verdict."""
    rows = ""
    for table, runs in lines:
        newest = runs[0] if runs else []
        rows += (
            f"<tr><td><a href='{_text(table)}.html'>{_text(table)}</a></td><td>{len(checks_of(table))}</td>"
            f"<td>{_text(_when(newest)) if newest else 'never'}</td><td>{_verdict(newest) if newest else ''}</td></tr>"
        )
    head = "<tr><th>table</th><th>checks</th><th>checked</th><th>verdict</th></tr>"
    return _whole("Data quality", f"<h1>Data quality</h1><table>{head}{rows}</table>")


_RENDERED = {"not_null", "unique", "in_set", "between", "row_count_min", "condition", "refers_to", "no_personal_number"}


def _shown(check: Check) -> Check:
    from dataclasses import replace

    return replace(check, kind="condition") if check.kind in {"refers_to", "no_personal_number"} else check


def _rule(check: Check) -> str:
    if check.kind == "condition":
        return check.condition or ""
    if check.kind == "refers_to" and check.refers_to:
        return f"{check.columns[0]} is in {check.refers_to[0]}.{check.refers_to[1]} where {check.condition}"
    said = {"in_set": f"one of {', '.join(map(str, check.values))}", "between": f"{check.min} to {check.max}"}
    return f"{check.kind.replace('_', ' ')}: {', '.join(check.columns)} {said.get(check.kind, '')}".strip()


def _run(table: str, results: Sequence[Mapping[str, Any]]) -> str:
    failed = "".join(
        f"<tr><td class={r['severity']}>{r['severity']}</td><td>{_text(r['check_name'])}</td><td>{r['bad_rows']:,}</td>"
        f"<td>{_text(r['bad_sample'])}</td></tr>"
        for r in results
        if not r["passed"]
    )
    head = "<tr><th>severity</th><th>check</th><th>rows</th><th>keys of some</th></tr>"
    found = f"<table>{head}{failed}</table>" if failed else ""
    rows = f"{results[0]['checked_rows']:,} rows, {len(results)} checks"
    return f"<h3>{_text(_when(results))}: {_verdict(results)}</h3><p>{rows}</p>{found}"


def _when(results: Sequence[Mapping[str, Any]]) -> str:
    day = results[0]["checked_date"]
    told = f"day {day}, " if day else ""
    return f"{told}checked {results[0]['checked_at']:%Y-%m-%d %H:%M} UTC"


def _verdict(results: Sequence[Mapping[str, Any]]) -> str:
    failed = {r["severity"] for r in results if not r["passed"]}
    said = "stop" if "stop" in failed else "warn" if failed else "passed"
    return f"<span class={said}>{said}</span>"


def _own(drawn: str) -> str:
    body = re.search(r"<body[^>]*>(.*)</body>", drawn, re.S)
    return _ADDRESS.sub("", _FOREIGN.sub("", body[1] if body else drawn))


def _whole(title: str, body: str) -> str:
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(title)}</title><style>{_STYLE}</style>"
        f"<body>{body}</body></html>\n"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))
