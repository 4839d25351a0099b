"""The graph as people and tools read it: a tree, JSON, Graphviz."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from rich.text import Text
from rich.tree import Tree

from pipelines.lineage.code import place_of
from pipelines.lineage.graph import RAW, Graph, Node, edges

_WORD = {"channel": "channel", "topic": "Kafka topic", "table": "Delta table", "database": "MariaDB table",
         "trino": "Trino table"}  # fmt: skip
_SHAPE = {"channel": "oval", "topic": "cds", "table": "cylinder", "database": "cylinder", "trino": "component"}


def upstream(made: Graph, start: Node) -> Tree:
    """What a node is made from, back to the channels. What stands twice is drawn once and named again."""
    return _tree(made, start, made.inputs)


def downstream(made: Graph, start: Node) -> Tree:
    """What is made from a node, to the tables that people and programs ask."""
    return _tree(made, start, made.outputs)


def as_json(made: Graph, nodes: Iterable[Node], start: Node) -> str:
    """Nodes and edges; each edge with the jobs that make it."""
    told = list(nodes)
    return json.dumps(
        {
            "of": _id(start),
            "nodes": [{"id": _id(n), "kind": n.kind, "name": n.name} for n in told],
            "edges": [
                {"from": _id(source), "to": _id(node), "jobs": [_job_record(j) for j in jobs]}
                for source, node, jobs in edges(made, told)
            ],
        },
        ensure_ascii=False,
        indent=1,
    )


def as_dot(made: Graph, nodes: Iterable[Node]) -> str:
    """Graphviz, left to right: ``kefulake lineage T --format dot | dot -Tsvg``."""
    told = list(nodes)
    lines = ["digraph lineage {", "  rankdir=LR; node [fontname=Helvetica]; edge [fontname=Helvetica];"]
    lines += [f'  "{_id(n)}" [shape={_SHAPE[n.kind]}, label="{n.name}"];' for n in told]
    lines += [f'  "{_id(a)}" -> "{_id(b)}" [label="{", ".join(jobs)}"];' for a, b, jobs in edges(made, told)]
    return "\n".join([*lines, "}"])


def label(made: Graph, nodes: Sequence[Node]) -> Text:
    """One line: what it is, how it is called, and which job makes it."""
    word = _WORD[nodes[0].kind] + ("s" if len(nodes) > 1 else "")
    text = Text(f"{word} ", style="dim").append(", ".join(n.name for n in nodes), style="bold")
    if jobs := made.jobs(nodes[0]):
        text.append("  ← " + ", ".join(_job(j) for j in jobs), style="cyan")
    return text


def _tree(made: Graph, start: Node, onward: Callable[[Node], Sequence[Node]]) -> Tree:
    """Breadth first, so that a node is drawn where it stands nearest to the start, and named again elsewhere."""
    root = Tree(label(made, [start]))
    drawn, waiting = {start}, [([start], root)]
    for nodes, branch in waiting:
        following = list(dict.fromkeys(n for node in nodes for n in onward(node)))
        for group in _groups(made, following):
            if again := [n for n in group if n in drawn]:
                branch.add(Text(f"{_again(again)} (elsewhere in this tree)", style="dim"))
            if fresh := [n for n in group if n not in drawn]:
                drawn |= set(fresh)
                waiting.append((fresh, branch.add(label(made, fresh))))
        for node in nodes if onward == made.outputs else ():
            for job in made.readers.get(node, ()):
                branch.add(Text("read by ", style="dim").append(_job(job), style="cyan"))
    return root


def _again(nodes: Sequence[Node]) -> str:
    """Short: the names stand where the nodes are drawn.

    >>> _again([Node("topic", "raw.app"), Node("topic", "raw.sms")]), _again([Node("topic", "identity.map")])
    ('2 Kafka topics raw.app …', 'Kafka topic identity.map')
    """
    word = _WORD[nodes[0].kind]
    return f"{word} {nodes[0].name}" if len(nodes) == 1 else f"{len(nodes)} {word}s {nodes[0].name} …"


def _groups(made: Graph, nodes: Sequence[Node]) -> list[list[Node]]:
    """Raw topics of the same jobs together, and channels: sixteen lines that say the same are one."""
    groups: dict[object, list[Node]] = {}
    for node in nodes:
        alike = node.kind == "channel" or (node.kind == "topic" and node.name.startswith(RAW))
        groups.setdefault((node.kind, made.jobs(node)) if alike else node, []).append(node)
    return list(groups.values())


def _job(job: str) -> str:
    place = place_of(job)
    return job if place is None else f"{job} ({place[0]})"


def _job_record(job: str) -> dict[str, str | None]:
    kind, file = place_of(job) or (None, None)
    return {"name": job, "kind": kind, "file": file}


def _id(node: Node) -> str:
    return f"{node.kind}:{node.name}"
