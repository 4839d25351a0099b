"""The checks of a table: those of its contract and the business checks under ``expectations/``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines import contracts

STOP, WARN = "stop", "warn"
_SAID = {"name", "severity", "because"}
# What a business check may say beside name, severity and reason: exactly one of these.
_FORMS = {"holds", "refers_to", "no_personal_number"}
# A threshold of schemas/policies/, e.g. ${cleaning.invalid.clock_slack_s}: written once, there.
_THRESHOLD = re.compile(r"\$\{([a-z_.0-9]+)\}")


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    ``kind`` is not_null | unique | in_set | between | row_count_min | condition, and on what stands in the lake also
    refers_to (``columns[0]`` is a value of column ``refers_to[1]`` of table ``refers_to[0]`` where ``condition`` holds)
    and no_personal_number (no phone, ID, card or e-mail in any of ``columns``).
    """

    name: str
    kind: str
    severity: str
    columns: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    min: float | None = None
    max: float | None = None
    condition: str | None = None
    refers_to: tuple[str, str] | None = None
    because: str | None = None


def expectations_folder() -> Path:
    """``KEFULAKE_EXPECTATIONS``, else ``expectations/`` beside the ``pipelines`` package."""
    return Path(os.environ.get("KEFULAKE_EXPECTATIONS") or Path(__file__).resolve().parents[2] / "expectations")


def lake_tables() -> list[str]:
    """Every declared table that lies in the lake; those of MariaDB are judged by its own constraints.

    >>> "silver.orders" in lake_tables(), "identity.claims" in lake_tables()
    (True, False)
    """
    return sorted(name for name, table in contracts.tables().items() if table.engine not in {"identity", "serving"})


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


def business_text(table: str) -> str:
    """The file of a table's business checks as it is written; empty where there is none."""
    path = expectations_folder() / f"{table}.yaml"
    return path.read_text(encoding="utf-8") if path.exists() else ""


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
    return [_business_check(path, table, spec) for spec in content["checks"]]


def _business_check(path: Path, table: str, spec: dict[str, Any]) -> Check:
    forms = set(spec) - _SAID
    if not set(spec) >= _SAID or len(forms) != 1 or not forms <= _FORMS:
        raise contracts.ContractError(
            f"{path}: a check has name, severity and because, and one of {sorted(_FORMS)}, not {sorted(spec)}"
        )
    if spec["severity"] not in {STOP, WARN}:
        raise contracts.ContractError(f"{path}: {spec['name']}: severity is {STOP} or {WARN}")
    told = {"name": spec["name"], "severity": spec["severity"], "because": spec["because"]}
    if "holds" in spec:
        return Check(kind="condition", condition=_with_thresholds(path, spec["holds"]), **told)
    if "no_personal_number" in spec:
        columns = tuple(spec["no_personal_number"])
        _require_columns(path, spec["name"], table, columns)
        return Check(kind="no_personal_number", columns=columns, **told)
    return _reference(path, table, spec["refers_to"], told)


def _reference(path: Path, table: str, spec: Mapping[str, str], told: Mapping[str, str]) -> Check:
    if set(spec) != {"column", "table", "its_column", "where"}:
        raise contracts.ContractError(f"{path}: {told['name']}: refers_to has column, table, its_column and where")
    _require_columns(path, told["name"], table, (spec["column"],))
    _require_columns(path, told["name"], spec["table"], (spec["its_column"],))
    where = _with_thresholds(path, spec["where"])
    return Check(kind="refers_to", columns=(spec["column"],), condition=where,
                 refers_to=(spec["table"], spec["its_column"]), **told)  # fmt: skip


def _require_columns(path: Path, name: str, table: str, columns: tuple[str, ...]) -> None:
    if absent := set(columns) - {f.name for f in contracts.table(table).fields}:
        raise contracts.ContractError(f"{path}: {name}: {table} has no column {sorted(absent)}")


def _with_thresholds(path: Path, condition: str) -> str:
    def number(found: re.Match[str]) -> str:
        policy, *keys = found[1].split(".")
        value: Any = contracts.policy(policy)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise contracts.ContractError(f"{path}: ${{{found[1]}}} is no number of schemas/policies/")
        return str(value)

    return _THRESHOLD.sub(number, " ".join(condition.split()))
