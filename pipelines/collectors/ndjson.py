"""NDJSON batches: lines in, records and their line numbers out; nothing inside a line is looked at.

Whether a line is good JSON is the channel parser's question: there a bad one becomes a reject that keeps its bytes,
while a line refused at the door would keep nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.collectors.refusals import Refusal


class Line(NamedTuple):
    """One record of a batch: its number, counted from 1 over all lines, and its bytes without the line ending."""

    number: int
    value: bytes


class Batch(NamedTuple):
    """A batch taken apart: records, numbers of lines over the size limit, count of empty lines."""

    records: list[Line]
    too_large: list[int]
    empty: int


def split(body: bytes, *, max_line_bytes: int, max_lines: int) -> Batch:
    r"""Split at line feeds; a carriage return before one belongs to the line ending, an empty line is only counted.

    Raises:
        Refusal: ``batch.too_many_lines``, ``batch.empty``.

    >>> split(b'{"a":1}\r\n\n{"b":2}', max_line_bytes=100, max_lines=10)
    Batch(records=[Line(number=1, value=b'{"a":1}'), Line(number=3, value=b'{"b":2}')], too_large=[], empty=1)
    """
    if body.count(b"\n") >= max_lines + 1:
        raise Refusal("batch.too_many_lines", f"at most {max_lines}")
    records: list[Line] = []
    too_large: list[int] = []
    empty = 0
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()  # the line feed that ends the last line begins no further one
    for number, raw in enumerate(lines, start=1):
        value = raw.removesuffix(b"\r")
        if not value.strip():
            empty += 1
        elif len(value) > max_line_bytes:
            too_large.append(number)
        else:
            records.append(Line(number, value))
    if len(lines) > max_lines:
        raise Refusal("batch.too_many_lines", f"{len(lines)}, at most {max_lines}")
    if not records and not too_large:
        raise Refusal("batch.empty")
    return Batch(records, too_large, empty)


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as closed ranges, so that the answer to a big batch stays small.

    >>> ranges([1, 2, 3, 7])
    [[1, 3], [7, 7]]
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def report(*, accepted: Sequence[int], duplicate: Sequence[int], refused: dict[int, str], empty: int) -> dict:
    """The answer to a batch: counts, and by line number what became of each record."""
    return {
        "accepted": len(accepted),
        "duplicate": len(duplicate),
        "refused": len(refused),
        "empty": empty,
        "accepted_lines": ranges(accepted),
        "duplicate_lines": ranges(duplicate),
        "refused_lines": [{"line": number, "error": error} for number, error in refused.items()],
    }
