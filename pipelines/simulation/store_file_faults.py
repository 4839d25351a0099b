"""The faults a whole file can have, each planted and, where a store would, repaired a day later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

from pipelines.simulation.store_file_cuts import (
    cut_in_last_cell,
    half_text,
    half_workbook,
    never_completed,
    no_footer,
    open_quote,
    still_named_part,
)
from pipelines.simulation.store_file_forms import Form, Visit, Written
from pipelines.simulation.store_files import FORMS, Stores, World

Scenario = Callable[[Stores, int, str, date, Form, str], None]
_PDF = b"%PDF-1.7\n\0\0\0binary"
_OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def world(stores: Stores, share: float = 0.35) -> World:
    """Every store's file of every day; about ``share`` of them with a fault of a file, each kind about as often.

    Every other file carries up to three rows with a fault.
    """
    places = [(nth, store) for nth in range(len(stores.days)) for store in sorted(stores.stores)]
    at_least = len(SCENARIOS) if share and len(places) >= 2 * len(SCENARIOS) else 0
    chosen = stores.chance.sample(places, max(at_least, round(len(places) * share)))
    scenario_of = {place: list(SCENARIOS)[nth % len(SCENARIOS)] for nth, place in enumerate(chosen)}
    for nth, store in places:
        day, form = stores.days[nth], stores.form_of(store, nth)
        scenario = _fitting(scenario_of.get((nth, store)), stores.stores[store])
        if scenario in _TEXT and (form.kind != "csv" or form.encoding == "utf-16"):
            form = replace(form, kind="csv", encoding="gbk")
        if scenario in _BOOKS:
            form = replace(form, kind="xlsx")
        if scenario in _FOOTERS:
            form = replace(form, footer=True)
        path = stores.name(store, day, form, nth)
        SCENARIOS.get(scenario, ordinary)(stores, nth, store, day, form, path)
    return stores.world


def _fitting(scenario: str | None, store: dict) -> str | None:
    """A cut that this store's own declaration tells: by its footer, by its last line break, or by a torn line only."""
    if scenario in ("half_text", "cut_in_last_cell", "no_footer"):
        if store.get("footer") == "required":
            return "no_footer"
        if scenario == "no_footer" or store.get("final_newline") == "optional":
            return "half_text"
    return scenario


def ordinary(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A good file, with up to three bad rows."""
    rows, faults = s.planted_rows(s.visits(store, day), form, s.chance.randint(0, 3))
    made = s.written(store, day, rows, form)
    s.deliver(nth, path, made, store, day, form, "imported", numbers=(len(rows) - _twice(faults), 0, 0, 0))
    s.rows(path, made, day, rows, faults=faults)


def _twice(faults: dict) -> int:
    return sum(fault.name == "row_twice" for fault in faults.values())


def _good(s: Stores, step: int, store: str, day: date, form: Form, path: str) -> tuple[list[Visit], Written]:
    """A good file without bad rows, delivered."""
    rows = s.visits(store, day)
    made = s.written(store, day, rows, form)
    s.deliver(step, path, made, store, day, form, "imported", numbers=(len(rows), 0, 0, 0))
    s.rows(path, made, day, rows)
    return rows, made


def redelivered(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """The same bytes again the next day, under another name."""
    _, made = _good(s, nth, store, day, form, path)
    s.deliver(nth + 1, f"重发/{path}", made, store, day, form, "redelivered", fault="redelivered")


def exported_anew(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """The same records in another form."""
    rows, _ = _good(s, nth, store, day, form, path)
    other = Form(footer=form.footer) if form.kind == "xlsx" else replace(FORMS[3], footer=form.footer)
    told = {"fault": "exported_anew", "numbers": (0, 0, 0, len(rows))}
    s.deliver(nth + 1, f"新/{path}", s.written(store, day, rows, other), store, day, other, "unchanged", **told)


def corrected(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """Two records say something else, one is gone, one is new; the day after, the first file comes once more."""
    rows, first = _good(s, nth, store, day, form, path)
    changed = [replace(v, values=v.values | {"咨询内容": v.values["咨询内容"] + "，已更正"}) for v in rows[2:4]]
    new = store_visit(s, store, day, len(rows) + 1)
    after = [*rows[:2], *changed, *rows[5:], new]
    made, path2 = s.written(store, day, after, form), f"更正/{path}"
    told = {"fault": "corrected", "numbers": (1, 2, 1, len(rows) - 3)}
    s.deliver(nth + 1, path2, made, store, day, form, "corrected", **told)
    s.rows(path2, made, day, after, revision=1, only=frozenset(v.number for v in changed))
    s.rows(path2, made, day, after, only=frozenset({new.number}))
    s.withdrawn(path2, day, rows[4], 1)
    s.deliver(nth + 2, f"旧/{path}", first, store, day, form, "redelivered", fault="older_again")


def store_visit(s: Stores, store: str, day: date, number: int) -> Visit:
    """One more visit of a day."""
    [one] = s.visits(store, day, first=number)[:1]
    return one


def _refused_then_good(
    s: Stores, nth: int, store: str, day: date, form: Form, path: str, content: bytes, fault: str, sign: str
) -> None:
    s.deliver(nth, path, Written(content, []), store, day, form, "refused", fault=fault, sign=sign)
    _good(s, nth + 1, store, day, form, f"补/{path}")


def wrong_store(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """Another store's file under this store's name."""
    other = next(name for name in sorted(s.stores) if name != store)
    rows = s.visits(other, day, first=5_000)
    made = s.written(store, day, rows, form)
    _refused_then_good(s, nth, store, day, form, path, made.content, "wrong_store", "store.foreign_rows")


def mixed_stores(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A few rows of another store among this store's."""
    rows = s.visits(store, day, first=6_000)
    other = next(name for name in sorted(s.stores) if name != store)
    mixed = [*rows[:-2], *(replace(visit, store=other) for visit in rows[-2:])]
    made = s.written(store, day, mixed, form)
    _refused_then_good(s, nth, store, day, form, path, made.content, "mixed_stores", "store.foreign_rows")


def undeclared_store(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A store that nobody declared."""
    rows = [replace(visit, store="S99") for visit in s.visits(store, day, first=7_000)]
    made = s.written(store, day, rows, form)
    _refused_then_good(s, nth, store, day, form, path, made.content, "undeclared_store", "store.undeclared")


def wrong_day(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """Records of the day before under this day's name."""
    rows = s.visits(store, day - timedelta(days=1), first=8_000)
    made = s.written(store, day, rows, replace(form, mixed_dates=False))
    _refused_then_good(s, nth, store, day, form, path, made.content, "wrong_day", "day.contradicts")


def wrong_footer(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A footer that counts more records than there are."""
    rows = s.visits(store, day, first=9_000)
    made = s.written(store, day, rows, form)
    count, more = str(len(rows)).encode(), str(len(rows) + 30).encode()
    at = made.content.rindex(count)
    content = made.content[:at] + more + made.content[at + len(count) :]
    _refused_then_good(s, nth, store, day, form, path, content, "wrong_footer", "footer.contradicts")


def no_table(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A PDF, or Excel's old form."""
    content = _PDF if nth % 2 else _OLD_EXCEL
    _refused_then_good(s, nth, store, day, form, path, content, "no_table", "form.unknown")


def shrunken(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A correction in which most records are missing."""
    rows, _ = _good(s, nth, store, day, form, path)
    made = s.written(store, day, rows[: len(rows) // 3], form)
    told = {"fault": "shrunken", "sign": "correction.shrinks"}
    s.deliver(nth + 1, f"更正/{path}", made, store, day, form, "refused", **told)


SCENARIOS: dict[str, Scenario] = {
    one.__name__: one
    for one in (
        redelivered, exported_anew, corrected, half_workbook, half_text, cut_in_last_cell, no_footer, open_quote,
        still_named_part, never_completed, wrong_store, mixed_stores, undeclared_store, wrong_day, wrong_footer,
        no_table, shrunken,
    )
}  # fmt: skip
_TEXT = frozenset({"half_text", "cut_in_last_cell", "no_footer", "open_quote", "wrong_footer"})
_BOOKS = frozenset({"half_workbook", "never_completed"})
_FOOTERS = frozenset({"wrong_footer"})
