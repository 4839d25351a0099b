"""Reads ``schemas/`` into typed contracts and refuses what is unknown, missing or declared twice."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

SCHEMAS_VARIABLE = "KEFULAKE_SCHEMAS"
FIELD_TYPES = frozenset({"string", "int", "long", "double", "boolean", "timestamp", "date", "binary", "json"})
TOPIC_FORMATS = frozenset({"raw", "json"})
TABLE_ENGINES = frozenset(
    {"tiering", "spark", "balance", "replay", "identity", "serving", "upkeep", "store_import", "quality"}
)
# Not in the lake: tables of MariaDB.
DATABASE_ENGINES = frozenset({"identity", "serving"})
SEVERITIES = frozenset({"stop", "warn"})
CHECKS = frozenset({"not_null", "unique", "in_set", "between", "row_count_min"})


class ContractError(ValueError):
    """A file under ``schemas/`` says something that no contract may say; the message names file, key and cure."""


@dataclass(frozen=True)
class Field:
    """One column: its type, meaning, unit and, for closed sets, the values it may hold."""

    name: str
    type: str
    description: str
    unit: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Topic:
    """One Kafka topic: who writes and reads it, its broker settings and the fields of its records.

    ``reads``: tables its producers make the records from; empty where they make them from the topics they consume.
    """

    name: str
    description: str
    owner: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    format: str
    key: str
    partitions: int
    cleanup: str
    retention_ms: int
    max_message_bytes: int
    dead_letter: str
    transactional: bool = False
    fields: tuple[Field, ...] = ()
    required: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table of the lake: its grain, columns, the topics that feed it and the checks it must pass.

    ``producers`` are the jobs that write it, ``reads`` the tables (else topics) they make it from; ``fields_from`` is
    the topic or table whose columns it takes over as they are.
    """

    name: str
    grain: str
    description: str
    owner: str
    engine: str
    topics: tuple[str, ...]
    primary_key: tuple[str, ...]
    partition_by: tuple[str, ...]
    fields: tuple[Field, ...]
    expectations: tuple[dict[str, Any], ...]
    producers: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    fields_from: str | None = None

    @property
    def in_lake(self) -> bool:
        """True for a Delta table, False for one of MariaDB."""
        return self.engine not in DATABASE_ENGINES

    @property
    def layer(self) -> str:
        """The schema in the lake (``silver`` in ``silver.interactions``)."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Contracts:
    """Everything ``schemas/`` declares; policies stay plain mappings, because rules take thresholds as arguments."""

    fields: dict[str, Field]
    topics: dict[str, Topic]
    tables: dict[str, Table]
    policies: dict[str, dict[str, Any]]


def schemas_folder() -> Path:
    """The folder of the contracts: ``KEFULAKE_SCHEMAS``, else ``schemas/`` beside the ``pipelines`` package."""
    return Path(os.environ.get(SCHEMAS_VARIABLE) or Path(__file__).resolve().parents[2] / "schemas")


def load(folder: Path) -> Contracts:
    """Read and check all contracts below ``folder``.

    Raises:
        ContractError: an unknown key or value, a field that is not declared, a table fed by a topic that isn't there.
    """
    declared = {name: _field(name, spec) for name, spec in _yaml(folder / "fields.yaml").items()}
    raw_topics = {p.stem: _yaml(p) for p in sorted((folder / "topics").glob("*.yaml"))}
    topics = {name: _topic(name, spec, declared, raw_topics) for name, spec in raw_topics.items()}
    raw_tables = {p.stem: _yaml(p) for p in sorted((folder / "tables").glob("*.yaml"))}
    tables = {name: _table(name, spec, declared, topics, raw_tables) for name, spec in raw_tables.items()}
    policies = {p.stem: _yaml(p) for p in sorted((folder / "policies").glob("*.yaml"))}
    for kind, declared_ones in (("topics", topics), ("tables", tables)):
        for name, contract in declared_ones.items():
            if unknown := [r for r in contract.reads if r not in tables and r not in topics]:
                raise ContractError(f"{kind}/{name}.yaml: reads names {unknown}, which are no tables and no topics")
    return Contracts(declared, topics, tables, policies)


@lru_cache(maxsize=4)
def _loaded(folder: Path) -> Contracts:
    return load(folder)


def _current() -> Contracts:
    return _loaded(schemas_folder())


def fields() -> dict[str, Field]:
    """All declared fields by name."""
    return _current().fields


def field(name: str) -> Field:
    """One field by name; ContractError where it is not declared."""
    return _find(_current().fields, name, "field")


def topics() -> dict[str, Topic]:
    """All topics by name."""
    return _current().topics


def topic(name: str) -> Topic:
    """One topic by name; ContractError where it is not declared."""
    return _find(_current().topics, name, "topic")


def tables() -> dict[str, Table]:
    """All tables by name."""
    return _current().tables


def table(name: str) -> Table:
    """One table by name; ContractError where it is not declared."""
    return _find(_current().tables, name, "table")


def policy(name: str) -> dict[str, Any]:
    """The thresholds of ``schemas/policies/<name>.yaml``; ContractError where there is no such file."""
    return _find(_current().policies, name, "policy")


def _find(where: dict[str, Any], name: str, what: str) -> Any:
    if name not in where:
        known = ", ".join(sorted(where))
        raise ContractError(f"no {what} {name!r} is declared under schemas/; declared are: {known}")
    return where[name]


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ContractError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ContractError(f"{path}: must hold a mapping")
    return content


def _only(where: str, spec: dict[str, Any], required: set[str], optional: set[str]) -> None:
    if unknown := set(spec) - required - optional:
        raise ContractError(f"{where}: unknown key(s) {sorted(unknown)}; known are {sorted(required | optional)}")
    if absent := required - set(spec):
        raise ContractError(f"{where}: missing key(s) {sorted(absent)}")


def _one_of(where: str, key: str, value: Any, allowed: frozenset[str]) -> None:
    if value not in allowed:
        raise ContractError(f"{where}: {key} is {value!r}, must be one of {sorted(allowed)}")


def _field(name: str, spec: dict[str, Any]) -> Field:
    _only(f"fields.yaml: {name}", spec, {"type", "description"}, {"unit", "values"})
    _one_of(f"fields.yaml: {name}", "type", spec["type"], FIELD_TYPES)
    if not spec["description"]:
        raise ContractError(f"fields.yaml: {name}: description is empty")
    return Field(name, spec["type"], spec["description"], spec.get("unit"), tuple(spec.get("values", ())))


def _columns(where: str, spec: dict[str, Any], declared: dict[str, Field], inherited: list[str]) -> tuple[Field, ...]:
    names = inherited + list(spec.get("fields", ()))
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ContractError(f"{where}: field(s) listed twice: {twice}")
    if unknown := [n for n in names if n not in declared]:
        raise ContractError(f"{where}: field(s) {unknown} are not declared in fields.yaml")
    return tuple(declared[n] for n in names)


def _topic(name: str, spec: dict[str, Any], declared: dict[str, Field], all_topics: dict[str, Any]) -> Topic:
    where = f"topics/{name}.yaml"
    needed = {"name", "description", "owner", "producers", "consumers", "format", "key", "partitions", "cleanup"}
    needed |= {"retention_ms", "max_message_bytes", "dead_letter"}
    _only(where, spec, needed, {"fields", "fields_from", "required", "transactional", "reads"})
    if spec["name"] != name:
        raise ContractError(f"{where}: name is {spec['name']!r}, must equal the file's name")
    _one_of(where, "format", spec["format"], TOPIC_FORMATS)
    _one_of(where, "cleanup", spec["cleanup"], frozenset({"delete", "compact"}))
    origin = spec.get("fields_from")
    if origin is not None and origin not in all_topics:
        raise ContractError(f"{where}: fields_from names {origin!r}, which is no topic")
    columns = _columns(where, spec, declared, list(all_topics[origin]["fields"]) if origin else [])
    if spec["format"] == "json" and not columns:
        raise ContractError(f"{where}: a json topic lists its fields")
    if absent := set(spec.get("required", ())) - {c.name for c in columns}:
        raise ContractError(f"{where}: required field(s) {sorted(absent)} are not among its fields")
    rest = {k: v for k, v in spec.items() if k not in {"fields", "fields_from"}}
    rest |= {k: tuple(rest.get(k, ())) for k in ("producers", "consumers", "required", "reads")}
    return Topic(**rest, fields=columns)


def _inherited(where: str, origin: str | None, topics: dict[str, Topic], raw_tables: dict[str, Any]) -> list[str]:
    """Columns of the topic that feeds a table, or of the table it serves a copy of."""
    if origin is None:
        return []
    if origin in topics:
        return [f.name for f in topics[origin].fields]
    if origin not in raw_tables or "fields_from" in raw_tables[origin]:
        raise ContractError(
            f"{where}: fields_from names {origin!r}, which is no topic and no table with columns of its own"
        )
    return list(raw_tables[origin]["fields"])


def _table(
    name: str,
    spec: dict[str, Any],
    declared: dict[str, Field],
    all_topics: dict[str, Topic],
    raw_tables: dict[str, Any],
) -> Table:
    where = f"tables/{name}.yaml"
    needed = {"name", "grain", "description", "owner", "engine", "topics", "primary_key", "partition_by"}
    _only(where, spec, needed | {"expectations"}, {"fields", "fields_from", "producers", "reads"})
    if spec["name"] != name:
        raise ContractError(f"{where}: name is {spec['name']!r}, must equal the file's name")
    _one_of(where, "engine", spec["engine"], TABLE_ENGINES)
    if spec["engine"] == "tiering" and "reads" in spec:
        raise ContractError(f"{where}: tiering writes it from its topics; leave reads out")
    for feeding in spec["topics"]:
        if feeding not in all_topics:
            raise ContractError(f"{where}: topic {feeding!r} is not declared")
    columns = _columns(where, spec, declared, _inherited(where, spec.get("fields_from"), all_topics, raw_tables))
    names = {c.name for c in columns}
    for key in ("primary_key", "partition_by"):
        if absent := set(spec[key]) - names:
            raise ContractError(f"{where}: {key} names {sorted(absent)}, which are not among its fields")
    for check in spec["expectations"]:
        _only(f"{where}: expectation {check}", check, {"severity"}, set(CHECKS))
        _one_of(f"{where}: expectation {check}", "severity", check["severity"], SEVERITIES)
    rest = {k: v for k, v in spec.items() if k != "fields"}
    if spec["engine"] == "tiering":  # those who are named append beside it
        rest |= {"producers": ("tiering", *spec.get("producers", ()))}
    listed = ("topics", "primary_key", "partition_by", "expectations", "producers", "reads")
    rest |= {k: tuple(rest.get(k, ())) for k in listed}
    return Table(**rest, fields=columns)
