"""Renders a contract for each engine: Arrow, Delta, Spark, Flink, MariaDB, JSON Schema, expectations, docs page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.contracts.model import ContractError, Field, Table, Topic

if TYPE_CHECKING:
    import deltalake
    from pyspark.sql.types import StructType

_ARROW = {
    "string": pa.string(),
    "json": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "binary": pa.binary(),
}
# On JSON topics an instant is an integer of microseconds: it is encoded and parsed without a per-row formatter.
_ARROW_WIRE = _ARROW | {"timestamp": pa.int64(), "date": pa.string(), "binary": pa.string()}
_SPARK = {
    "string": "StringType", "json": "StringType", "int": "IntegerType", "long": "LongType", "double": "DoubleType",
    "boolean": "BooleanType", "timestamp": "TimestampType", "date": "DateType", "binary": "BinaryType",
}  # fmt: skip
_FLINK = {
    "string": "STRING", "json": "STRING", "int": "INT", "long": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN",
    "timestamp": "BIGINT", "date": "STRING", "binary": "STRING",
}  # fmt: skip
_MARIADB = {
    "string": "VARCHAR(255)", "json": "LONGTEXT", "int": "INT", "long": "BIGINT", "double": "DOUBLE",
    "boolean": "BOOLEAN", "timestamp": "DATETIME(6)", "date": "DATE", "binary": "LONGBLOB",
}  # fmt: skip
# Free text outgrows VARCHAR(255); everything else that is a string is an ID, a code or a token.
_MARIADB_LONG = frozenset({"text", "subject", "reason", "payload_encrypted", "source_message_id"})
_JSON = {
    "string": "string", "json": "string", "int": "integer", "long": "integer", "double": "number",
    "boolean": "boolean", "timestamp": "integer", "date": "string", "binary": "string",
}  # fmt: skip


def arrow_schema(contract: Table | Topic) -> pa.Schema:
    """Arrow schema of a table (instants as timestamps) or of a topic's records (instants as int64 microseconds).

    >>> from pipelines import contracts
    >>> str(arrow_schema(contracts.table("gold.data_balance")).field("hour_at").type)
    'timestamp[us, tz=UTC]'
    >>> str(arrow_schema(contracts.topic("interactions.clean")).field("occurred_at").type)
    'int64'
    """
    types = _ARROW if isinstance(contract, Table) else _ARROW_WIRE
    key = set(contract.primary_key) if isinstance(contract, Table) else set(contract.required)
    return pa.schema([pa.field(f.name, types[f.type], nullable=f.name not in key) for f in contract.fields])


def delta_schema(table: Table) -> deltalake.Schema:
    """Delta schema of a table, as delta-rs takes it; primary-key columns are NOT NULL."""
    import deltalake

    return deltalake.Schema.from_arrow(arrow_schema(table))


def spark_schema(table: Table) -> StructType:
    """Spark schema of a table; primary-key columns are not nullable."""
    from pyspark.sql import types

    key = set(table.primary_key)
    columns = [types.StructField(f.name, getattr(types, _SPARK[f.type])(), f.name not in key) for f in table.fields]
    return types.StructType(columns)


def flink_ddl(topic: Topic, options: dict[str, str], *, table_name: str | None = None) -> str:
    """``CREATE TABLE`` of a JSON topic for Flink SQL; ``options`` are the connector's, quoted here.

    Every column is back-quoted, because Flink reserves words such as ``text`` and ``outcome``.

    Raises:
        ContractError: the topic carries raw bytes and has no columns.
    """
    if not topic.fields:
        raise ContractError(f"topic {topic.name} carries raw bytes: it has no columns to render")
    columns = ",\n  ".join(f"`{f.name}` {_FLINK[f.type]}" for f in topic.fields)
    settings = ",\n  ".join(f"{_quoted(k)} = {_quoted(v)}" for k, v in options.items())
    name = table_name or topic.name.replace(".", "_")
    return f"CREATE TABLE `{name}` (\n  {columns}\n) WITH (\n  {settings}\n)"


def mariadb_ddl(table: Table, *, name: str | None = None, indexes: Iterable[Iterable[str]] = ()) -> str:
    """``CREATE TABLE IF NOT EXISTS`` for MariaDB: primary key as declared, further ``indexes`` as lists of columns."""
    columns = [f"  `{f.name}` {_mariadb_type(f, table)}" for f in table.fields if f.name not in table.partition_by]
    columns.append(f"  PRIMARY KEY ({_listed(table.primary_key)})")
    columns += [f"  INDEX `{'_'.join(index)}` ({_listed(index)})" for index in map(list, indexes)]
    body = ",\n".join(columns)
    title = name or table.name.partition(".")[2]
    return f"CREATE TABLE IF NOT EXISTS `{title}` (\n{body}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"


def json_schema(topic: Topic) -> dict[str, Any]:
    """JSON Schema (2020-12) of a topic's records; unknown keys are refused, closed sets are enumerated."""
    if not topic.fields:
        raise ContractError(f"topic {topic.name} carries raw bytes: it has no JSON Schema")
    required = set(topic.required)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": topic.name,
        "description": topic.description,
        "type": "object",
        "additionalProperties": False,
        "required": [f.name for f in topic.fields if f.name in required],
        "properties": {f.name: _json_property(f, f.name in required) for f in topic.fields},
    }


def expectations(table: Table) -> list[dict[str, Any]]:
    """The table's checks, one per column set: ``{check, columns, severity, ...}``; closed sets come from the fields."""
    rendered = []
    values = {f.name: list(f.values) for f in table.fields}
    for declared in table.expectations:
        severity = declared["severity"]
        for check, argument in declared.items():
            if check in {"not_null", "in_set"}:
                for column in argument:
                    rendered.append({"check": check, "columns": [column], "severity": severity})
                    if check == "in_set":
                        rendered[-1]["values"] = values[column]
            elif check == "unique":
                rendered.append({"check": check, "columns": list(argument), "severity": severity})
            elif check == "between":
                bounds = {k: v for k, v in argument.items() if k != "column"}
                rendered.append({"check": check, "columns": [argument["column"]], "severity": severity} | bounds)
            elif check == "row_count_min":
                rendered.append({"check": check, "columns": [], "severity": severity, "min": argument})
    return rendered


def docs_page(table: Table) -> str:
    """The table's page of the docs, in Markdown: grain, origin, columns with unit and closed sets, checks."""
    origin = ", ".join(f"`{t}`" for t in table.topics) or f"built by {table.engine}"
    lines = [f"# {table.name}", "", f"{table.description}.", "", f"- Grain: {table.grain}", f"- Fed by: {origin}"]
    lines += [f"- Key: {', '.join(table.primary_key)}", f"- Partitions: {', '.join(table.partition_by) or 'none'}"]
    lines += [f"- Owner: {table.owner}", "", "| column | type | unit | meaning |", "|---|---|---|---|"]
    for f in table.fields:
        closed = f" ({', '.join(f.values)})" if f.values else ""
        lines.append(f"| `{f.name}` | {f.type} | {f.unit or ''} | {f.description}{closed} |")
    lines += ["", "| check | columns | severity |", "|---|---|---|"]
    lines += [f"| {e['check']} | {', '.join(e['columns'])} | {e['severity']} |" for e in expectations(table)]
    return "\n".join(lines) + "\n"


def _json_property(f: Field, required: bool) -> dict[str, Any]:
    allowed: Any = _JSON[f.type] if required else [_JSON[f.type], "null"]
    rendered: dict[str, Any] = {"type": allowed, "description": f.description}
    if f.values:
        rendered["enum"] = list(f.values) + ([] if required else [None])
    return rendered


def _mariadb_type(f: Field, table: Table) -> str:
    kind = "LONGTEXT" if f.name in _MARIADB_LONG else _MARIADB[f.type]
    return f"{kind} NOT NULL" if f.name in table.primary_key else kind


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
