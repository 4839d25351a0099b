"""Whose an ID or an identifier is today, and the published view of that customer: for many questions at once.

Identity is asked as it stands now, the view as the last build left it. An ID names the record it was made from, and the
record knows its customer: an ID that was merged away, however often, leads to the present one in one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, text

from pipelines import contracts
from pipelines.identity.changes import today
from pipelines.identity.evidence import records_that_name
from pipelines.identity.provisional import provisional_id_of, tokens_named
from pipelines.io import identity_rows as rows
from pipelines.io.served_customers import BUILDS_NAME, NAME, TABLE
from pipelines.lookup.answers import Found
from pipelines.lookup.questions import CUSTOMER_ID, Question
from pipelines.lookup.refusals import NotAnswered

# Written for us, not for readers.
_INNER = frozenset({"content_hash", "as_of_at"})


def view_columns() -> tuple[str, ...]:
    """Columns of the view, in the order of the contract; as_of_at is one for all rows and stands beside them."""
    return tuple(f.name for f in contracts.table(TABLE).fields if f.name not in _INNER)


class CustomerReads:
    """Answers questions by one user who may only read.

    Args:
        registers: policy identity, `one_record_per_source`.
        heads: of the tokens a provisional ID can have been made from (``un1_``, ``ph1_`` …), the best first.
        clock_us: microseconds since the epoch; says whether an identifier was given up by now.
    """

    def __init__(self, engine: Engine, *, registers: Sequence[str], heads: Sequence[str], clock_us: Any):
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._registers, self._heads, self._clock_us = registers, heads, clock_us
        self._columns = view_columns()
        self._flags = [n for n in self._columns if contracts.field(n).type == "boolean"]
        wanted = ", ".join(f"c.`{name}`" for name in self._columns)
        # One statement: the rows and the instant they hold for are of one build, whatever is written meanwhile.
        self._views = text(
            f"SELECT b.as_of_at AS all_as_of_at, {wanted} FROM {BUILDS_NAME} b"  # noqa: S608
            f" LEFT JOIN {NAME} c ON c.customer_id IN :wanted WHERE b.table_name = :served"
        ).bindparams(bindparam("wanted", expanding=True))
        self._made_from = text(
            "SELECT token FROM identity_current_links WHERE token BETWEEN :low AND :high AND stretch = 0"
        )

    def answer(self, questions: Sequence[Question]) -> list[Found]:
        """What is known, in the order of the questions. Raises NotAnswered when no build was ever served."""
        with self._engine.connect() as connection:
            owners = self._owners(connection, questions)
            asked = [q.subject for q in questions if q.by == CUSTOMER_ID]
            wanted = sorted({name for name in [*(name for name, _ in owners), *asked] if name})
            as_of_at, views = self._published(connection, wanted)
        found = []
        for question, (owner, shared) in zip(questions, owners, strict=True):
            row = views.get(owner or "")
            if row is None and question.by == CUSTOMER_ID:
                row = views.get(question.subject)  # merged since the build: the view still stands under the old ID
            known = row is not None or (owner is not None and self._is_known(question, owner))
            found.append(Found(owner if known else None, row, as_of_at, shared))
        return found

    def health(self) -> None:
        """Nothing when the tables can be read. Raises sqlalchemy.exc.DBAPIError."""
        with self._engine.connect() as connection:
            connection.execute(text(f"SELECT 1 FROM {BUILDS_NAME} LIMIT 1"))  # noqa: S608

    @staticmethod
    def _is_known(question: Question, owner: str) -> bool:
        """Of a customer without a view, identity has to know something: a name that was only computed is nobody."""
        return owner != question.subject and not owner.startswith("p_")

    def _owners(self, connection: Connection, questions: Sequence[Question]) -> list[tuple[str | None, bool]]:
        """Customer ID and whether several hold it, for each question."""
        named = {q.subject: records_that_name(q.subject, self._registers) for q in questions if q.by == CUSTOMER_ID}
        members = rows.members(connection, sorted({key for keys in named.values() for key in keys}))
        made_from = {q.subject: self._tokens_of(connection, q.subject) for q in questions if q.subject[:2] == "p_"}
        tokens = {q.subject for q in questions if q.by != CUSTOMER_ID}
        tokens |= {token for found in made_from.values() for token in found}
        links = rows.links_of_tokens(connection, sorted(tokens))
        owners = []
        for question in questions:
            if question.by != CUSTOMER_ID:
                owners.append(self._holder(question.subject, links))
            elif question.subject in made_from:
                told = [self._holder(token, links) for token in made_from[question.subject]]
                owners.append((next((name for name, _ in told if name), question.subject), False))
            else:
                present = [members[key] for key in named[question.subject] if members.get(key)]
                owners.append((present[0] if present else question.subject, False))
        return owners

    def _tokens_of(self, connection: Connection, provisional: str) -> list[str]:
        found = []
        for low, high in tokens_named(provisional, self._heads):
            found += connection.execute(self._made_from, {"low": low, "high": high}).scalars()
        return found

    def _holder(self, token: str, links: Mapping[str, Sequence[Any]]) -> tuple[str | None, bool]:
        """As the stream joins: today's holder, else the provisional name; (None, True) where several hold it."""
        link = today(links.get(token, ()), self._clock_us())
        if link is None:
            return provisional_id_of(token), False
        return (link.customer_id or None), not link.customer_id

    def _published(self, connection: Connection, wanted: Sequence[str]) -> tuple[Any, dict[str, dict[str, Any]]]:
        found = connection.execute(self._views, {"wanted": list(wanted) or [""], "served": TABLE}).all()
        if not found or found[0].all_as_of_at is None:
            raise NotAnswered("view.not_served")
        views = {}
        for row in found:
            view = dict(zip(self._columns, row[1:], strict=True))
            if view["customer_id"] is not None:
                views[view["customer_id"]] = view | {n: None if view[n] is None else bool(view[n]) for n in self._flags}
        return found[0].all_as_of_at, views
