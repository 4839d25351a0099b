"""Which changes of a contract break its readers: additive ones pass, the rest is refused with a reason."""

from __future__ import annotations

from pipelines.contracts.model import Contracts, Field, Table, Topic

# A reader that knows the left type reads the right one without loss.
_WIDENING = {("int", "long"), ("int", "double"), ("string", "json")}


def breaking_changes(old: Contracts, new: Contracts) -> list[str]:
    """What a reader of ``old`` would trip over in ``new``, one plain sentence each; empty means compatible.

    Allowed are a new topic, a new table, a new nullable column and more values in a closed set. Refused are a removed
    topic, table or column, another type, a column that becomes required, a lost value, another key or partitioning.
    """
    found: list[str] = []
    for name, before in old.topics.items():
        found += _topic_changes(before, new.topics.get(name))
    for name, before in old.tables.items():
        found += _table_changes(before, new.tables.get(name))
    return found


def _topic_changes(before: Topic, after: Topic | None) -> list[str]:
    if after is None:
        return [f"topic {before.name} was removed: its consumers {', '.join(before.consumers)} still read it"]
    found = _column_changes(f"topic {before.name}", before.fields, after.fields)
    if newly := sorted(set(after.required) - set(before.required)):
        found.append(f"topic {before.name}: {', '.join(newly)} became required; records already written lack it")
    for setting in ("format", "cleanup"):
        if getattr(before, setting) != getattr(after, setting):
            found.append(f"topic {before.name}: {setting} changed; make a new topic and move its readers")
    if after.partitions < before.partitions:
        found.append(f"topic {before.name}: fewer partitions; Kafka cannot take partitions away")
    return found


def _table_changes(before: Table, after: Table | None) -> list[str]:
    if after is None:
        return [f"table {before.name} was removed: queries and BI tools still read it"]
    found = _column_changes(f"table {before.name}", before.fields, after.fields)
    for setting, why in (("primary_key", "rows already written obey the old one"), ("partition_by", "files lie by it")):
        if getattr(before, setting) != getattr(after, setting):
            found.append(f"table {before.name}: {setting} changed; {why}")
    return found


def _column_changes(where: str, before: tuple[Field, ...], after: tuple[Field, ...]) -> list[str]:
    found, present = [], {f.name: f for f in after}
    for f in before:
        now = present.get(f.name)
        if now is None:
            found.append(f"{where}: column {f.name} was removed; keep it and stop filling it")
        elif now.type != f.type and (f.type, now.type) not in _WIDENING:
            found.append(f"{where}: column {f.name} changed from {f.type} to {now.type}; add a new column instead")
        elif f.values and (lost := sorted(set(f.values) - set(now.values))):
            found.append(f"{where}: column {f.name} may no longer hold {', '.join(lost)}; old rows do")
    return found
