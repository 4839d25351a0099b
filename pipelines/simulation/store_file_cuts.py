"""Store files that are not all there when they are met: cut, still being uploaded, never completed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date

from pipelines.simulation.store_file_forms import Form, Written
from pipelines.simulation.store_files import Stores


def _half(
    s: Stores, nth: int, store: str, day: date, form: Form, path: str, cut: Callable, fault: str, sign: str
) -> None:
    """Half a file today, all of it tomorrow under the same name."""
    rows = s.visits(store, day)
    made = s.written(store, day, rows, form)
    s.deliver(nth, path, replace(made, content=cut(made, form)), store, day, form, "waits", fault=fault, sign=sign)
    s.deliver(nth + 1, path, made, store, day, form, "imported", numbers=(len(rows), 0, 0, 0))
    s.rows(path, made, day, rows)


def half_workbook(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A workbook of which two thirds were copied."""
    _half(
        s,
        nth,
        store,
        day,
        form,
        path,
        lambda m, f: m.content[: len(m.content) * 2 // 3],
        "half_workbook",
        "cut off or damaged",
    )


def half_text(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A text that ends within a line."""

    def cut(made: Written, form: Form) -> bytes:
        return made.content[: _line_start(made, len(made.lines) // 2, form) + 21]

    _half(s, nth, store, day, form, path, cut, "half_text", "cut off")


def cut_in_last_cell(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A text that ends within the last cell of a line, so that the line has all its cells: only its end is missing."""
    rows = s.visits(store, day)
    middle = len(rows) // 2
    rows[middle].values["订单号"] = "D123456"
    made = s.written(store, day, rows, form)
    half = made.content[: _line_start(made, middle + 1, form) - len("456\r\n")]
    told = {"fault": "cut_in_last_cell", "sign": "line break"}
    s.deliver(nth, path, replace(made, content=half), store, day, form, "waits", **told)
    s.deliver(nth + 1, path, made, store, day, form, "imported", numbers=(len(rows), 0, 0, 0))
    s.rows(path, made, day, rows)


def no_footer(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A text cut exactly between two lines: whole to look at, but for the footer its store has declared."""
    _half(s, nth, store, day, form, path, _between_lines, "no_footer", "counts")


def _between_lines(made: Written, form: Form) -> bytes:
    return made.content[: _line_start(made, len(made.lines) // 2, form)]


def _line_start(made: Written, nth: int, form: Form) -> int:
    """Where the n-th record begins in the bytes of a text whose encoding keeps line breaks as one byte."""
    return len(b"".join(made.content.splitlines(keepends=True)[: made.lines[nth] - 1]))


def open_quote(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A quoted cell that never closes: the text was cut within it."""
    torn = f'0099{form.delimiter}"没有写完的'.encode(form.encoding.replace("-sig", ""))
    _half(
        s, nth, store, day, form, path, lambda m, f: m.content[: _line_start(m, 3, f)] + torn, "open_quote",
        "never closed",
    )  # fmt: skip


def still_named_part(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """A file that is still being uploaded, by its name; the next day it has its own."""
    rows = s.visits(store, day)
    made = s.written(store, day, rows, form)
    told = {"fault": "still_named_part", "sign": "ends with .part"}
    s.deliver(nth, f"{path}.part", made, store, day, form, "waits", **told)
    s.deliver(nth + 1, path, made, store, day, form, "imported", numbers=(len(rows), 0, 0, 0))
    s.rows(path, made, day, rows)


def never_completed(s: Stores, nth: int, store: str, day: date, form: Form, path: str) -> None:
    """Half a workbook that nobody ever completes: a day later it is refused."""
    made = s.written(store, day, s.visits(store, day), form)
    half = replace(made, content=made.content[: len(made.content) // 2])
    s.deliver(nth, path, half, store, day, form, "waits", fault="never_completed", sign="cut off or damaged")
    s.deliver(
        nth + 1,
        path,
        replace(made, content=b""),
        store,
        day,
        form,
        "refused",
        fault="given_up",
        sign="incomplete.given_up",
    )
