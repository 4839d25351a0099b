"""The way of the data as a graph, out of the contracts alone: channels, topics, tables, and the jobs between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pipelines import contracts
from pipelines.contracts import Contracts, Table, Topic

RAW = "raw."
KINDS = ("channel", "topic", "table", "database", "trino")
"""Of a node: a channel; a Kafka topic; a Delta table of the lake; a table of MariaDB; a table as Trino shows it."""


@dataclass(frozen=True, order=True)
class Node:
    """A place where data lies. A topic and the table it feeds may have one name, so the kind belongs to it."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Step:
    """Jobs that make ``output`` from ``inputs``; no jobs where nothing has to run (Trino reads the table itself)."""

    jobs: tuple[str, ...]
    inputs: tuple[Node, ...]
    output: Node


@dataclass
class Graph:
    """Every step by its output, and which jobs read a node without making anything that is declared."""

    steps: dict[Node, Step] = field(default_factory=dict)
    readers: dict[Node, tuple[str, ...]] = field(default_factory=dict)

    def inputs(self, node: Node) -> tuple[Node, ...]:
        """What a node is made from; nothing for a channel."""
        return self.steps[node].inputs if node in self.steps else ()

    def outputs(self, node: Node) -> tuple[Node, ...]:
        """What is made from a node, by name."""
        return tuple(sorted(step.output for step in self.steps.values() if node in step.inputs))

    def jobs(self, node: Node) -> tuple[str, ...]:
        """Who makes a node."""
        return self.steps[node].jobs if node in self.steps else ()

    def find(self, name: str) -> Node:
        """The table of a name, else the topic, else the channel; ``topic NAME`` where both are there.

        Raises:
            ValueError: nothing of that name is declared; the message lists what comes near.
        """
        kind, _, bare = name.rpartition(" ")
        found = [n for n in sorted(self._nodes(), key=_preferred) if n.name == bare and kind in ("", n.kind)]
        if not found:
            near = sorted({n.name for n in self._nodes() if bare.rpartition(".")[2] in n.name})
            raise ValueError(
                f"no table, topic or channel {name!r} is declared under schemas/"
                f"{'; there are ' + ', '.join(near) if near else '; kefulake tables lists the tables'}"
            )
        return found[0]

    def reach(self, start: Node, onward: Callable[[Node], Iterable[Node]]) -> list[Node]:
        """All nodes from ``start`` on (`inputs` or `outputs`), each once, nearest first."""
        found = {start: None}
        for node in (waiting := [start]):
            fresh = [n for n in onward(node) if n not in found]
            found |= dict.fromkeys(fresh)
            waiting += fresh
        return list(found)

    def _nodes(self) -> set[Node]:
        return set(self.steps) | {n for step in self.steps.values() for n in step.inputs}


def graph(declared: Contracts | None = None) -> Graph:
    """The graph of the contracts (by default those in force).

    >>> made = graph()
    >>> view = made.find("gold.customer_360")
    >>> made.jobs(view), [n.name for n in made.inputs(view)][:2]
    (('customer_360',), ['silver.interactions', 'silver.feedback'])
    >>> [str(n) for n in made.inputs(made.find("raw.app"))]
    ['channel app']
    """
    declared = declared or Contracts(contracts.fields(), contracts.topics(), contracts.tables(), {})
    made = Graph()
    for step in _steps(declared):
        made.steps[step.output] = step
    working = {(source, job) for step in made.steps.values() for source in step.inputs for job in step.jobs}
    for topic in declared.topics.values():
        node = Node("topic", topic.name)
        made.readers[node] = tuple(job for job in topic.consumers if (node, job) not in working)
    return made


def node_of(table: Table) -> Node:
    """The node of a table: in the lake or in MariaDB."""
    return Node("table" if table.in_lake else "database", table.name)


def named(name: str, declared: Contracts) -> Node:
    """The node that ``reads`` means by a name: the table, else the topic."""
    return node_of(declared.tables[name]) if name in declared.tables else Node("topic", name)


def _steps(declared: Contracts) -> Iterator[Step]:
    for topic in declared.topics.values():
        yield Step(topic.producers, tuple(_sources(topic, declared)), Node("topic", topic.name))
    for table in declared.tables.values():
        fed = tuple(Node("topic", name) for name in table.topics)
        yield Step(table.producers, fed + tuple(named(name, declared) for name in table.reads), node_of(table))
        if table.in_lake:
            yield Step((), (node_of(table),), Node("trino", f"delta.{table.name}"))


def _sources(topic: Topic, declared: Contracts) -> Iterator[Node]:
    """What a topic's records are made from: as declared, else what its producers consume; a raw topic's channel.

    A topic that another output of the same producer names in its ``reads`` is that output's alone.
    """
    if topic.reads:
        yield from (
            Node("topic", n) if n in declared.topics and n not in declared.tables else named(n, declared)
            for n in topic.reads
        )
    elif topic.name.startswith(RAW):
        yield Node("channel", topic.name.removeprefix(RAW))
    else:
        mine = set(topic.producers)
        others = {name for one in declared.topics.values() if mine & set(one.producers) for name in one.reads}
        for other in declared.topics.values():
            if mine & set(other.consumers) and other.name not in {topic.name, *others}:
                yield Node("topic", other.name)


def _preferred(node: Node) -> tuple[int, str]:
    return ("table", "database", "topic", "channel", "trino").index(node.kind), node.name


def edges(made: Graph, nodes: Iterable[Node]) -> Iterator[tuple[Node, Node, tuple[str, ...]]]:
    """Every edge between some nodes: from, to, and the jobs that make it."""
    wanted = set(nodes)
    for node in sorted(wanted):
        for source in made.inputs(node):
            if source in wanted:
                yield source, node, made.jobs(node)


def by_kind(nodes: Iterable[Node]) -> Mapping[str, list[Node]]:
    """Nodes by kind, each in name order."""
    return {kind: sorted(n for n in nodes if n.kind == kind) for kind in KINDS}
