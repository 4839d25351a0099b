"""Where each column of a table comes from, as far as the contracts say."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines import contracts
from pipelines.lineage.graph import Graph, Node

SAME, DERIVED = "same", "derived"


@dataclass(frozen=True)
class Origin:
    """Of one column: ``same`` as a column of ``node`` (taken over as it is), or ``derived`` by ``jobs`` from inputs.

    ``candidates`` of a derived column are inputs that have a column of its name: where to look first, no more.
    """

    column: str
    how: str
    node: Node | None
    jobs: tuple[str, ...]
    candidates: tuple[Node, ...] = ()


def origins(made: Graph, node: Node) -> list[Origin]:
    """Of each column of a table or topic, in the order of its contract.

    Only ``fields_from`` says that a column is taken over as it is; an equal name alone says nothing: ``region`` of the
    view is the newest verified record's, not any record's.

    >>> from pipelines.lineage.graph import graph
    >>> made = graph()
    >>> found = {o.column: o for o in origins(made, made.find("silver.interactions"))}
    >>> found["text"].how, str(found["text"].node), found["received_date"].how
    ('same', 'topic interactions.clean', 'derived')
    """
    source = _taken_over(node)
    taken = {f.name for f in _fields(source)} if source else set()
    inputs = {one: {f.name for f in _fields(one)} for one in made.inputs(node)}
    return [
        Origin(f.name, SAME, source, made.jobs(node))
        if f.name in taken
        else Origin(f.name, DERIVED, None, made.jobs(node), tuple(n for n, names in inputs.items() if f.name in names))
        for f in _fields(node)
    ]


def way(made: Graph, node: Node, column: str) -> list[Origin]:
    """The origin of a column and, while it is the same column, the origins before it; the last one is derived.

    >>> from pipelines.lineage.graph import graph
    >>> made = graph()
    >>> [o.how for o in way(made, made.find("serving.customer_360"), "region")]
    ['same', 'derived']

    Raises:
        ValueError: the table has no such column.
    """
    found = {o.column: o for o in origins(made, node)}
    if column not in found:
        raise ValueError(f"{node} has no column {column!r}; it has {', '.join(found)}")
    origin = found[column]
    return [origin, *(way(made, origin.node, column) if origin.node else [])]


def _taken_over(node: Node) -> Node | None:
    if node.kind not in ("table", "database"):
        return None
    origin = contracts.table(node.name).fields_from
    if origin is None:
        return None
    # As the loader: a topic's columns where there is such a topic, else the table's.
    return Node("topic", origin) if origin in contracts.topics() else Node("table", origin)


def _fields(node: Node) -> tuple[contracts.Field, ...]:
    if node.kind == "topic":
        return contracts.topic(node.name).fields
    return contracts.table(node.name).fields if node.kind in ("table", "database") else ()
