"""``kefulake lineage TABLE``: where a table's rows come from and where they go, from the contracts alone."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipelines.lineage import columns, drawing
from pipelines.lineage.graph import Graph, Node, graph

_WIDTH_IN_A_FILE = 160


class Format(StrEnum):
    """How it is told."""

    tree = "tree"
    json = "json"
    dot = "dot"


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="TABLE", help="A table (gold.customer_360), a column of it (….region), a topic or a channel."
        ),
    ],
    up: Annotated[bool, typer.Option("--up", help="Only where it comes from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only where it goes.")] = False,
    by_column: Annotated[bool, typer.Option("--columns", help="Where each of its columns comes from.")] = False,
    form: Annotated[Format, typer.Option("--format", help="tree, json, or dot for Graphviz.")] = Format.tree,
) -> None:
    """The whole way of a table, from the channels to whoever asks for it, with the job that makes each step.

    Needs no stack: it stands in the contracts, and tests hold the jobs to them. Where a table and a topic have one name
    the table is meant; "topic review.queue" means the topic.
    """
    made = graph()
    node, column = _find(made, name)
    told_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if told_width else _WIDTH_IN_A_FILE)
    if by_column or column:
        console.print(_columns(made, node, column))
        return
    both = up == down
    before = made.reach(node, made.inputs) if up or both else []
    after = made.reach(node, made.outputs) if down or both else []
    nodes = list(dict.fromkeys([*before, *after]))
    if form is Format.json:
        typer.echo(drawing.as_json(made, nodes, node))
    elif form is Format.dot:
        typer.echo(drawing.as_dot(made, nodes))
    else:
        if before:
            console.print("made from (left of ←: what; right of it: the job that makes it)", style="italic")
            console.print(drawing.upstream(made, node))
        if after:
            console.print("goes to", style="italic")
            console.print(drawing.downstream(made, node))


def _find(made: Graph, name: str) -> tuple[Node, str | None]:
    """A node, or a node and a column of it. Raises ValueError as `Graph.find` does."""
    try:
        return made.find(name), None
    except ValueError:
        table, _, column = name.rpartition(".")
        if table.count(".") != 1:
            raise
        return made.find(table), column


def _columns(made: Graph, node: Node, column: str | None) -> Table:
    names = [column] if column else [o.column for o in columns.origins(made, node)]
    grid = Table("column", "comes from", title=f"{node}", box=None, title_justify="left")
    for one in names:
        grid.add_row(one, " ← ".join(_origin(o) for o in columns.way(made, node, one)))
    return grid


def _origin(origin: columns.Origin) -> str:
    """One step back.

    >>> _origin(columns.Origin("text", columns.SAME, Node("topic", "interactions.clean"), ("tiering",)))
    'topic interactions.clean (same, tiering)'
    """
    jobs = ", ".join(origin.jobs)
    if origin.node is not None:
        return f"{origin.node} ({origin.how}, {jobs})"
    if not origin.candidates:
        return f"{origin.how} by {jobs}"
    return f"{origin.how} by {jobs}; of that name in {', '.join(n.name for n in origin.candidates)}"
