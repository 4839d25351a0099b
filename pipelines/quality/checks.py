"""The checks of a table: those of its contract and the business checks under ``expectations/``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines import contracts

STOP, WARN = "stop", "warn"


@dataclass(frozen=True)
class Check:
    """One thing that must hold. ``kind`` is not_null | unique | in_set | between | row_count_min | condition."""

    name: str
    kind: str
    severity: str
    columns: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    min: float | None = None
    max: float | None = None
    condition: str | None = None
    because: str | None = None


def expectations_folder() -> Path:
    """``KEFULAKE_EXPECTATIONS``, else ``expectations/`` beside the ``pipelines`` package."""
    return Path(os.environ.get("KEFULAKE_EXPECTATIONS") or Path(__file__).resolve().parents[2] / "expectations")


def checks_of(table: str, folder: Path | None = None) -> list[Check]:
    """Contract checks first, then business checks, each with a name of its own.

    >>> [c.name for c in checks_of("gold.quality_results")][:2]
    ['not_null:run_id', 'not_null:table_name']

    Raises:
        ContractError: a business check is not well formed, or two checks share a name.
    """
    found = [_of_contract(e) for e in contracts.expectations(contracts.table(table))]
    found += _business(table, folder or expectations_folder())
    names = [c.name for c in found]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise contracts.ContractError(f"{table}: checks share a name: {twice}; give each its own")
    return found


def _of_contract(rendered: dict[str, Any]) -> Check:
    columns = tuple(rendered["columns"])
    name = f"{rendered['check']}:{','.join(columns)}" if columns else rendered["check"]
    return Check(
        name, rendered["check"], rendered["severity"], columns, tuple(rendered.get("values", ())),
        rendered.get("min"), rendered.get("max"),
    )  # fmt: skip


def _business(table: str, folder: Path) -> list[Check]:
    path = folder / f"{table}.yaml"
    if not path.exists():
        return []
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if set(content) != {"table", "checks"} or content["table"] != table:
        raise contracts.ContractError(f"{path}: must hold 'table: {table}' and 'checks', and nothing else")
    return [_condition(path, spec) for spec in content["checks"]]


def _condition(path: Path, spec: dict[str, Any]) -> Check:
    if set(spec) != {"name", "severity", "holds", "because"}:
        raise contracts.ContractError(f"{path}: a check has name, severity, holds and because, not {sorted(spec)}")
    if spec["severity"] not in {STOP, WARN}:
        raise contracts.ContractError(f"{path}: {spec['name']}: severity is {STOP} or {WARN}")
    condition = " ".join(spec["holds"].split())
    return Check(spec["name"], "condition", spec["severity"], condition=condition, because=spec["because"])
