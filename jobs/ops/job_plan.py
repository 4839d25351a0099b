"""What of a job's plan its state hangs on, so that a deploy can say before it stops anything whether state fits.

Flink finds an operator's state again by the operator's place in the job graph; the bytes there have the types of the
keys and aggregates they were written with. So the shape of the plan and the stateful operators' keys and aggregates
must stay; what the Python function does, thresholds and the columns inside the records may change.
"""

from __future__ import annotations

import re

_PLAN = "== Optimized Execution Plan =="
_STATEFUL = ("OverAggregate", "GroupAggregate", "Deduplicate", "Rank", "Join", "ChangelogNormalize", "Match")
_NODE = re.compile(r"^(?P<indent>[ :|+\-]*)(?P<name>[A-Za-z]+)\((?P<detail>.*)$")
_KEYS = re.compile(r"(?:partitionBy|groupBy|orderBy|window|keep|on|key)=\[[^\]]*\]?\]?")
_AGGREGATES = re.compile(r"[A-Z_]+\([^()]*\) AS w\d+\$o\d+")


def state_signature(explained: str) -> list[str]:
    """One line a node: its depth and kind, and for stateful ones their keys and aggregates.

    >>> plan = '''== Optimized Execution Plan ==
    ... Sink(table=[outputs], fields=[record])
    ... +- Calc(select=[record], where=[(a > 5)])
    ...    +- OverAggregate(partitionBy=[event_id], select=[event_id, LAG(ref) AS w0$o0])(reuse_id=[1])
    ... '''
    >>> state_signature(plan)
    ['0 Sink', '1 Calc', '2 OverAggregate partitionBy=[event_id] LAG(ref) AS w0$o0']
    >>> state_signature(plan.replace("(a > 5)", "(a > 9)")) == state_signature(plan)
    True
    """
    _, _, plan = explained.partition(_PLAN)
    lines = []
    for line in plan.splitlines():
        node = _NODE.match(line)
        if node is None:
            continue
        parts = [f"{len(node['indent']) // 3} {node['name']}"]
        if node["name"].endswith(_STATEFUL):
            parts += _KEYS.findall(node["detail"]) + _AGGREGATES.findall(node["detail"])
        lines.append(" ".join(parts))
    return lines


def differences(before: list[str], after: list[str]) -> list[str]:
    """Nodes only one of two signatures has, in words; empty where state can be carried over.

    >>> differences(["0 Sink", "1 Calc"], ["0 Sink", "1 OverAggregate partitionBy=[a]"])
    ['gone: Calc', 'new: OverAggregate partitionBy=[a]']
    """
    if before == after:
        return []
    gone = [f"gone: {line.partition(' ')[2]}" for line in before if line not in after]
    new = [f"new: {line.partition(' ')[2]}" for line in after if line not in before]
    return gone + new or ["the same operators stand in another order"]
