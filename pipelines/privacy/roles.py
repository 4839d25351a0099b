"""Who sees what: one policy (``schemas/policies/roles.yaml``), read the same way by every screen and command.

A column is of one kind; a role sees each kind as a token, masked, clear, or not at all. What the policy does not name
is not seen. Opening a value is never part of a view: it is asked for, with a reason, and written down by who calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import polars as pl

from pipelines.privacy.masking import mask, mask_text
from pipelines.privacy.tokens import kind_of

TREATMENTS = ("hidden", "token", "masked", "clear")
FACT, IDENTIFIER = "fact", "identifier"
_NAMES_NOBODY = frozenset({"int", "long", "double", "boolean", "timestamp", "date"})


class UnknownRole(ValueError):
    """The policy knows no such role; the message lists those there are."""


class NotAllowed(PermissionError):
    """This role may not do this, or gave no reason; the message says who may."""


class Declared(Protocol):
    """What is known of a column: its type and, for closed sets, its values (`pipelines.contracts.Field`)."""

    type: str
    values: tuple[str, ...]


def kind_of_column(name: str, declared: Declared | None, policy: Mapping[str, Any]) -> str | None:
    """The kind the policy gives a column; `fact` for numbers, instants and closed sets; None: nobody has thought of it.

    Raw offsets are numbers and so facts: they find a message again only for who may read the raw log.
    """
    for kind, columns in policy["kinds"].items():
        if name in columns:
            return kind
    if declared is not None and (declared.type in _NAMES_NOBODY or declared.values):
        return FACT
    return None


def treatment(role: str, kind: str | None, policy: Mapping[str, Any]) -> str:
    """How `role` sees columns of `kind`: hidden, token, masked or clear. Raises UnknownRole.

    >>> from pipelines import contracts
    >>> policy = contracts.policy("roles")
    >>> kinds = ("identifier", "text", "sealed")
    >>> for role in policy["roles"]:
    ...     print(role, [treatment(role, kind, policy) for kind in kinds])
    agent ['masked', 'clear', 'hidden']
    team_lead ['masked', 'clear', 'hidden']
    analyst ['token', 'hidden', 'hidden']
    data_engineer ['token', 'hidden', 'token']
    privacy_officer ['token', 'clear', 'token']
    >>> treatment("intern", "text", policy)
    Traceback (most recent call last):
    ...
    pipelines.privacy.roles.UnknownRole: no role 'intern'; there are: agent, team_lead, analyst, data_engineer, \
privacy_officer
    """
    roles = policy["roles"]
    if role not in roles:
        raise UnknownRole(f"no role {role!r}; there are: {', '.join(roles)}")
    seen = roles[role].get(kind, "hidden") if kind is not None else "hidden"
    if seen not in TREATMENTS:
        raise ValueError(f"policy roles: {role} sees {kind} as {seen!r}; it must be one of {', '.join(TREATMENTS)}")
    return seen


def sees(
    role: str, columns: Sequence[str], *, policy: Mapping[str, Any], declared: Mapping[str, Declared]
) -> dict[str, str]:
    """Treatment by column, hidden ones included, in the order given. Raises UnknownRole.

    >>> from pipelines import contracts
    >>> columns = ["channel", "phone_token", "text", "payload_encrypted", "shoe_size"]
    >>> sees("analyst", columns, policy=contracts.policy("roles"), declared=contracts.fields())
    {'channel': 'clear', 'phone_token': 'token', 'text': 'hidden', 'payload_encrypted': 'hidden', 'shoe_size': 'hidden'}
    """
    return {name: treatment(role, kind_of_column(name, declared.get(name), policy), policy) for name in columns}


def visible(
    frame: pl.DataFrame,
    role: str,
    *,
    policy: Mapping[str, Any],
    declared: Mapping[str, Declared],
    values: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """What `role` sees of a frame: hidden columns are gone, identifiers masked where it says so, the rest as stored.

    `values` opens tokens for masking (token → personal value; the caller got them from the vault). A token that is not
    among them, one that was erased for instance, stays a token. Raises UnknownRole.

    >>> from pipelines import contracts
    >>> token = "ph1_3ef2d64739048e73c7dbaf08a6438093"
    >>> frame = pl.DataFrame({"channel": ["sms"], "phone_token": [token], "payload_encrypted": ["…"]})
    >>> arguments = {"policy": contracts.policy("roles"), "declared": contracts.fields()}
    >>> visible(frame, "agent", **arguments, values={token: "+8613812345670"}).rows()
    [('sms', '138****5670')]
    >>> visible(frame, "analyst", **arguments, values={token: "+8613812345670"}).rows()
    [('sms', 'ph1_3ef2d64739048e73c7dbaf08a6438093')]
    """
    how = sees(role, frame.columns, policy=policy, declared=declared)
    shown = []
    for name, seen in how.items():
        if seen == "hidden":
            continue
        column = frame[name]
        if seen == "masked":
            identifier = kind_of_column(name, declared.get(name), policy) == IDENTIFIER
            column = _masked_tokens(column, values or {}) if identifier else _masked_texts(column)
        shown.append(column)
    return pl.DataFrame(shown)


def visible_row(row: Mapping[str, Any], how: Mapping[str, str], policy: Mapping[str, Any]) -> dict[str, Any]:
    """What a role sees of one row; `how`: its treatment by column (`sees`). Equal to `visible` without opened values.

    >>> how = {"contacts": "clear", "text": "masked", "nonce": "hidden"}
    >>> visible_row({"contacts": 2, "text": "打我电话138 1234 5670", "nonce": "x"}, how, {"kinds": {"text": ["text"]}})
    {'contacts': 2, 'text': '打我电话138****5670'}
    """
    identifiers = policy["kinds"].get(IDENTIFIER, ())
    shown = {}
    for name, value in row.items():
        seen = how.get(name, "hidden")
        if seen == "masked" and value is not None and name not in identifiers:
            shown[name] = mask_text(str(value))
        elif seen != "hidden":
            shown[name] = value
    return shown


def _masked_tokens(tokens: pl.Series, values: Mapping[str, str]) -> pl.Series:
    masks = {token: mask(value, kind_of(token)) for token, value in values.items()}
    return pl.Series(tokens.name, [masks.get(token, token) for token in tokens.to_list()], dtype=pl.String)


def _masked_texts(texts: pl.Series) -> pl.Series:
    return pl.Series(texts.name, [None if t is None else mask_text(str(t)) for t in texts.to_list()], dtype=pl.String)


def check_unmask(role: str, token: str, reason: str, *, policy: Mapping[str, Any]) -> None:
    """Nothing when `role` may open this token for this reason, else NotAllowed. Raises UnknownRole, and ValueError when
    it is no token.

    >>> from pipelines import contracts
    >>> policy = contracts.policy("roles")
    >>> check_unmask("agent", "ph1_00", "customer asked to be called back", policy=policy)
    >>> check_unmask("agent", "id1_00", "customer asked to be called back", policy=policy)
    Traceback (most recent call last):
    ...
    pipelines.privacy.roles.NotAllowed: agent may not open a national_id; privacy_officer may
    """
    _check(role, policy)
    _check_reason(reason, policy)
    kind = kind_of(token)
    allowed = policy["unmask"]["roles"]
    if kind not in allowed.get(role, ()):
        may = ", ".join(name for name, kinds in allowed.items() if kind in kinds) or "nobody"
        raise NotAllowed(f"{role} may not open a {kind}; {may} may")


def check_open_bytes(role: str, reason: str, *, policy: Mapping[str, Any]) -> None:
    """Nothing when `role` may see kept bytes in the clear for this reason, else NotAllowed. Raises UnknownRole."""
    _check(role, policy)
    _check_reason(reason, policy)
    if role not in policy["open_bytes"]:
        raise NotAllowed(f"{role} may not see kept bytes in the clear; {', '.join(policy['open_bytes'])} may")


def check_compare(role: str, reason: str, *, policy: Mapping[str, Any]) -> None:
    """Nothing when `role` may have values opened in memory to compare records for this reason, else NotAllowed.

    Raises UnknownRole.

    >>> from pipelines import contracts
    >>> check_compare("agent", "nightly matching", policy=contracts.policy("roles"))
    Traceback (most recent call last):
    ...
    pipelines.privacy.roles.NotAllowed: agent may not have records compared; data_engineer, privacy_officer may
    """
    _check(role, policy)
    _check_reason(reason, policy)
    if role not in policy["compare_in_memory"]:
        raise NotAllowed(f"{role} may not have records compared; {', '.join(policy['compare_in_memory'])} may")


def check_accept(role: str, reason: str, *, policy: Mapping[str, Any]) -> None:
    """Nothing when `role` may let figures be made of rows that broke a check, else NotAllowed. Raises UnknownRole."""
    _check(role, policy)
    _check_reason(reason, policy)
    if role not in policy["accept_rows"]:
        raise NotAllowed(f"{role} may not accept rows that broke a check; {', '.join(policy['accept_rows'])} may")


def _check(role: str, policy: Mapping[str, Any]) -> None:
    treatment(role, FACT, policy)


def _check_reason(reason: str, policy: Mapping[str, Any]) -> None:
    least = policy["unmask"]["reason_min_chars"]
    if len(reason.strip()) < least:
        raise NotAllowed(f"a reason of at least {least} characters is needed: it is written into the audit log")
