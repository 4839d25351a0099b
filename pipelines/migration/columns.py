"""One column of a migration's target: where its value comes from, by conversions of a small named set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipelines.cleaning.customer import IDENTIFIERS
from pipelines.privacy.tokens import PREFIXES

#: Columns a migration may not fill: rules, places and clocks are ours.
OURS = frozenset(
    {"raw_topic", "raw_partition", "raw_offset", "attempt", "first_topic", "first_partition", "first_offset",
     "event_id", "received_at", "processed_at", "received_date", "customer_id", "identity_status", "source_revision",
     "response_time_corrected_s", "response_time_verdict", "baseline_version", "score_corrected", "score_verdict"}
)  # fmt: skip
SOURCE_NAME = re.compile(r"\w[\w$ ]{0,63}")
_TEXTS = frozenset({"text", "subject"})
# Written by people, as `pipelines.cleaning.source_records` has it: numbers inside become tokens.
_REDACTED = _TEXTS | {"outcome", "region", "member_level", "shop_id"}
_REDACTED_JSON = frozenset({"attributes", "order_lines"})


class DeclarationError(ValueError):
    """The YAML says something that cannot be; the message names file, table, column and cure."""


@dataclass(frozen=True)
class Column:
    """One column of the target and where its value comes from."""

    target: str
    type: str
    source: str | None = None
    constant: str | None = None
    trim: bool = False
    map: Mapping[str, str] | None = None
    multiply: Decimal | None = None
    time_zone: str | None = None
    tokenise: str | None = None

    @property
    def empty_is_null(self) -> bool:
        """An empty cell says nothing; only of what people wrote it is kept as written."""
        return self.target not in _TEXTS

    @property
    def redacted(self) -> bool:
        """Numbers inside it become tokens, as in the stream."""
        return self.target in _REDACTED

    @property
    def redacted_json(self) -> bool:
        """The same, and it stays JSON."""
        return self.target in _REDACTED_JSON


def declared_column(where: str, name: str, spec: Any, fields: Mapping[str, Any], zone: str) -> Column:
    """One entry under ``columns``, checked against the contract of its target. Raises DeclarationError."""
    spec = {"from": spec} if isinstance(spec, str) else spec
    only_keys(where, spec, set(), {"from", "constant", "trim", "map", "multiply", "time_zone", "tokenise"})
    if name in OURS or name not in fields:
        known = sorted(set(fields) - OURS)
        raise DeclarationError(f"{where}: not a column a migration may fill; those are {', '.join(known)}")
    if ("from" in spec) == ("constant" in spec):
        raise DeclarationError(f"{where}: either from (a source column) or constant")
    if "from" in spec and not SOURCE_NAME.fullmatch(str(spec["from"])):
        raise DeclarationError(f"{where}: {spec['from']!r} is no name of a column")
    kind = fields[name].type
    token = _token_kind(where, name, spec.get("tokenise"))
    stated = spec.get("map")
    constant = spec.get("constant")
    _closed(where, fields[name], [constant] if constant is not None else list((stated or {}).values()))
    return Column(
        name, kind, spec.get("from"), None if constant is None else str(constant), bool(spec.get("trim", False)),
        None if stated is None else {str(k): str(v) for k, v in stated.items()}, _factor(where, spec.get("multiply")),
        known_zone(where, spec.get("time_zone", zone)) if kind == "timestamp" else None, token,
    )  # fmt: skip


def _token_kind(where: str, name: str, stated: str | None) -> str | None:
    """Personal values end here: a token column is declared as one, and no other column may hold them."""
    known = {column: kind for kind, column in IDENTIFIERS.values()}
    known |= {"name_token": "person_name", "birth_date_token": "birth_date", "address_token": "address"}
    known |= {"record_key": "crm"}
    if name in known and stated != known[name]:
        raise DeclarationError(f"{where}: tokenise must be {known[name]}")
    if name not in known and stated is not None:
        raise DeclarationError(f"{where}: is no column of tokens")
    if stated is not None and stated not in {*PREFIXES, "crm"}:
        raise DeclarationError(f"{where}: tokenise is {stated!r}, must be one of {sorted(PREFIXES)}")
    return stated


def _closed(where: str, declared: Any, values: list[Any]) -> None:
    if declared.values and (unknown := sorted({str(v) for v in values} - set(declared.values))):
        raise DeclarationError(f"{where}: {', '.join(unknown)} is none of {', '.join(declared.values)}")


def _factor(where: str, stated: Any) -> Decimal | None:
    if stated is None:
        return None
    try:
        return Decimal(str(stated))
    except InvalidOperation as error:
        raise DeclarationError(f"{where}: multiply is {stated!r}, must be a number") from error


def known_zone(where: str, name: str) -> str:
    """The name of a time zone. Raises DeclarationError for one that is not known."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DeclarationError(f"{where}: time zone {name!r} is not known; write it like Asia/Shanghai") from error
    return name


def only_keys(where: str, spec: Any, required: set[str], optional: set[str]) -> None:
    """Refuses unknown and missing keys. Raises DeclarationError."""
    if not isinstance(spec, dict):
        raise DeclarationError(f"{where}: must hold a mapping")
    if unknown := set(map(str, spec)) - required - optional:
        raise DeclarationError(f"{where}: unknown key(s) {sorted(unknown)}; known are {sorted(required | optional)}")
    if absent := required - set(spec):
        raise DeclarationError(f"{where}: missing key(s) {sorted(absent)}")
