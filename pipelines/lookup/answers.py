"""What an answer says: whose ID it is today, and of the view what the role sees; and what is written down of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.lookup.agent_keys import Agent
from pipelines.lookup.questions import CUSTOMER_ID, Question
from pipelines.lookup.refusals import NotAnswered
from pipelines.privacy.audit_chain import Act
from pipelines.privacy.roles import IDENTIFIER, Declared, sees, treatment, visible_row

_JSON_COLUMNS = ("tags",)


@dataclass(frozen=True)
class Found:
    """What the database says to a question.

    `customer_id`: whose it is today, None for nobody's; `shared`: because several hold it. `row`: the published view,
    None where the customer has none yet; all rows hold what occurred before `as_of_at`.
    """

    customer_id: str | None
    row: Mapping[str, Any] | None = None
    as_of_at: datetime | None = None
    shared: bool = False


def may_look_up(role: str, policy: Mapping[str, Any]) -> bool:
    """True for a role that sees customers by name. Raises UnknownRole.

    >>> from pipelines import contracts
    >>> policy = contracts.policy("roles")
    >>> [role for role in policy["roles"] if may_look_up(role, policy)]
    ['agent', 'team_lead', 'privacy_officer']
    """
    return treatment(role, "customer", policy) == "clear"


class Views:
    """What each role sees of a row; worked out once a role."""

    def __init__(self, columns: tuple[str, ...], policy: Mapping[str, Any], declared: Mapping[str, Declared]):
        self._policy = policy
        self._of_role = {role: sees(role, columns, policy=policy, declared=declared) for role in policy["roles"]}
        self._identifiers = {role: treatment(role, IDENTIFIER, policy) for role in policy["roles"]}

    def answer(self, question: Question, found: Found, role: str) -> dict[str, Any]:
        """The body of a 200: `asked_for`, `customer_id` (another one after a merge), `as_of_at` and `view`.

        `view` is null where identity knows the customer and no build has seen them yet. Raises NotAnswered.
        """
        if found.shared:
            raise NotAnswered("identifier.shared")
        if found.customer_id is None:
            raise NotAnswered("customer.unknown")
        view = None if found.row is None else visible_row(_unpacked(found.row), self._of_role[role], self._policy)
        return {
            "asked_for": {question.by: question.echo(self._identifiers[role])},
            "customer_id": found.customer_id,
            "as_of_at": found.as_of_at,
            "view": view,
        }


def _unpacked(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.loads(value) if name in _JSON_COLUMNS and value else value for name, value in row.items()}


def act_of(question: Question, agent: Agent, found: Found | None, at_us: int) -> Act:
    """What the audit log says of a look-up; `found` None: the role may not, so nothing was looked up.

    >>> act_of(Question("phone", "ph1_0"), Agent("li.na", "agent"), Found("c_1", {"contacts": 2}), 5).act_detail
    '{"by": "phone", "customers": ["c_1"], "rows": 1}'
    """
    if found is None:
        detail: dict[str, Any] = {"by": question.by, "wanted": "look_up"}
        return Act(at_us, agent.name, agent.role, "refused", question.subject, "", json.dumps(detail, sort_keys=True))
    customers = [found.customer_id] if found.customer_id else []
    detail = {"by": question.by, "rows": int(found.row is not None), "customers": customers}
    return Act(at_us, agent.name, agent.role, "consult", question.subject, "", json.dumps(detail, sort_keys=True))


__all__ = ["CUSTOMER_ID", "Found", "Views", "act_of", "may_look_up"]
