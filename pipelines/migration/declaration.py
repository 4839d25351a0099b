"""What a migration is: a YAML that says which tables, which key, and what becomes of each column."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipelines import contracts
from pipelines.migration.columns import (
    OURS,
    SOURCE_NAME,
    Column,
    DeclarationError,
    declared_column,
    known_zone,
    only_keys,
)

KINDS = frozenset({"mysql", "csv", "parquet"})
#: Tables a migration may fill, and the column that holds the source's key there.
KEY_COLUMNS = {
    "silver.interactions": "source_message_id",
    "silver.feedback": "source_message_id",
    "silver.ticket_events": "source_message_id",
    "silver.orders": "order_id",
    "silver.customers": "record_key",
}
CONTACTS = frozenset({"silver.interactions", "silver.feedback", "silver.ticket_events"})
RECORD_CHANNELS = {"silver.orders": "orders", "silver.customers": "crm"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


@dataclass(frozen=True)
class SourceTable:
    """One table (or set of files) of the old system."""

    name: str
    targets: tuple[str, ...]
    key: str
    columns: tuple[Column, ...]
    required: tuple[str, ...]
    changed: str | None = None
    overlap_s: int = 600
    deleted: str = "compare"
    deleted_column: str | None = None
    path: str | None = None
    encoding: str = "utf-8"
    review: bool = False

    @property
    def key_column(self) -> str:
        """The target column that holds the key."""
        return KEY_COLUMNS[self.targets[0]]

    @property
    def reading(self) -> str:
        """A hash of what the declaration says of a row's fate; where files lie and how far to look back is no part.

        Only of what is said: a release that knows more fields, or demands more of a contract, reads the same.
        """
        told = {name: getattr(self, name) for name in ("key", "targets", "deleted_column", "encoding", "review")}
        said = {
            c.target: {n: v for n, v in asdict(c).items() if v and n not in ("target", "type")} for c in self.columns
        }
        told["columns"] = said
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]

    @property
    def record_channel(self) -> str | None:
        """The channel word of a table of records; None for contacts, which state theirs."""
        return RECORD_CHANNELS.get(self.targets[0])

    def column(self, target: str) -> Column | None:
        """The declaration of a target column."""
        return next((c for c in self.columns if c.target == target), None)


@dataclass(frozen=True)
class Migration:
    """The whole declaration. ``url_variable`` names the environment variable that holds the source's URL."""

    name: str
    kind: str
    tables: tuple[SourceTable, ...]
    url_variable: str | None = None
    time_zone: str = "UTC"
    accepted: Mapping[str, str] = field(default_factory=dict)

    def topic(self, table: SourceTable) -> str:
        """What stands as raw_topic in the lake.

        >>> Migration("old_desk", "mysql", ()).topic(SourceTable("calls", ("silver.interactions",), "id", (), ()))
        'history.old_desk.calls'
        """
        return f"history.{self.name}.{table.name}"


def load(path: Path) -> Migration:
    """Read and check a declaration. Raises DeclarationError or OSError."""
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DeclarationError(f"{path}: cannot be read as YAML: {error}") from error
    return parse(spec, str(path))


def parse(spec: Any, where: str = "migration") -> Migration:
    """The same from what YAML gave."""
    only_keys(where, spec, {"migration", "source", "time_zone", "tables"}, {"accepted"})
    _require_name(where, spec["migration"])
    source = spec["source"]
    only_keys(f"{where}: source", source, {"kind"}, {"url_variable"})
    if source["kind"] not in KINDS:
        raise DeclarationError(f"{where}: source kind is {source['kind']!r}, must be one of {sorted(KINDS)}")
    if (source["kind"] == "mysql") != ("url_variable" in source):
        raise DeclarationError(f"{where}: url_variable names the variable with a mysql source's URL, and only there")
    zone = known_zone(where, spec["time_zone"])
    tables = tuple(_table(f"{where}: {n}", n, t, zone, source["kind"]) for n, t in spec["tables"].items())
    if not tables:
        raise DeclarationError(f"{where}: no table is declared")
    return Migration(spec["migration"], source["kind"], tables, source.get("url_variable"), zone,
                     dict(spec.get("accepted", {})))  # fmt: skip


def _table(where: str, name: str, spec: Any, zone: str, kind: str) -> SourceTable:
    needed = {"target", "key", "columns"} | ({"path"} if kind != "mysql" else set())
    only_keys(where, spec, needed, {"changed", "overlap_minutes", "deleted", "path", "encoding", "review"})
    _require_name(where, name)
    targets = tuple([spec["target"]] if isinstance(spec["target"], str) else spec["target"])
    if not targets or set(targets) - set(KEY_COLUMNS):
        raise DeclarationError(f"{where}: target is {spec['target']!r}, must be of {sorted(KEY_COLUMNS)}")
    if len(targets) > 1 and set(targets) - CONTACTS:
        raise DeclarationError(f"{where}: only contacts ({', '.join(sorted(CONTACTS))}) may be told apart by kind")
    fields = {f.name: f for target in targets for f in contracts.table(target).fields}
    columns = tuple(declared_column(f"{where}: {n}", n, c, fields, zone) for n, c in spec["columns"].items())
    deleted = spec.get("deleted", "compare")
    soft = deleted["column"] if isinstance(deleted, dict) else None
    if soft is None and deleted not in ("compare", "never"):
        raise DeclarationError(f"{where}: deleted is compare, never, or a mapping with the column of a soft delete")
    for stated in [spec["key"], spec.get("changed"), soft]:
        if stated is not None and not SOURCE_NAME.fullmatch(str(stated)):
            raise DeclarationError(f"{where}: {stated!r} is no name of a column")
    table = SourceTable(
        name, targets, spec["key"], columns, _required(targets, {c.target for c in columns}),
        changed=spec.get("changed"), overlap_s=60 * int(spec.get("overlap_minutes", 10)),
        deleted="soft" if soft else deleted, deleted_column=soft,
        path=spec.get("path"), encoding=_encoding(where, spec.get("encoding", "utf-8")),
        review=bool(spec.get("review", False)),
    )  # fmt: skip
    key = table.column(table.key_column)
    if key is None or key.source != table.key or (key.map or key.multiply or key.trim):
        raise DeclarationError(f"{where}: {table.key_column} must come from the key {table.key!r} as it is")
    if absent := sorted(set(table.required) - {c.target for c in columns}):
        raise DeclarationError(f"{where}: column(s) {', '.join(absent)} must be filled (from, or constant)")
    return table


def _required(targets: tuple[str, ...], declared: set[str]) -> tuple[str, ...]:
    """What every row needs: what the contract of each target demands and we do not fill ourselves."""
    needed = set()
    for target in targets:
        for check in contracts.table(target).expectations:
            needed |= set(check.get("not_null", ()))
    needed |= {"source_message_id", "sender_role", "account"} if set(targets) & CONTACTS else {"account"}
    if set(targets) - CONTACTS:
        needed -= {"channel", "occurred_at"}
    return tuple(sorted(needed - OURS))


def _require_name(where: str, name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DeclarationError(f"{where}: {name!r} is no name: small letters, digits and _, beginning with a letter")


def _encoding(where: str, name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError as error:
        raise DeclarationError(f"{where}: no encoding {name!r}; utf-8, gbk or gb18030 will be meant") from error
    return name
