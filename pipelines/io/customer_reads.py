"""Whose an ID or an identifier is today, and the published view of that customer: for many questions at once.

Identity is asked as it stands now, the view as the last build left it. An ID names the record it was made from, and the
record knows its customer: an ID that was merged away, however often, leads to the present one in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, bindparam, text
from sqlalchemy.exc import DBAPIError

from pipelines import contracts
from pipelines.identity.changes import Link, today
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


class Owner(NamedTuple):
    """Whose something is today. `known`: identity says so, else it is a name that was only computed."""

    customer_id: str | None
    known: bool = False
    shared: bool = False


class CustomerReads:
    """Answers questions by one user who may only read.

    Args:
        engine: best one with autocommit: the rows and their instant come by one statement.
        registers: policy identity, `one_record_per_source`.
        heads: of the tokens a provisional ID can have been made from (``un1_``, ``ph1_`` …), the best first.
        clock_us: microseconds since the epoch; says whether an identifier was given up by now.
    """

    def __init__(self, engine: Engine, *, registers: Sequence[str], heads: Sequence[str], clock_us: Callable[[], int]):
        self._engine = engine
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
        try:
            return self._answered(questions)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return self._answered(questions)  # the server was started anew since the last question

    def _answered(self, questions: Sequence[Question]) -> list[Found]:
        with self._engine.connect() as connection:
            owners = self._owners(connection, questions)
            # What was linked or merged since the build still stands in the view under the name it had.
            former = [q.subject if q.by == CUSTOMER_ID else provisional_id_of(q.subject) for q in questions]
            wanted = {*former, *(owner.customer_id for owner in owners if owner.customer_id)}
            as_of_at, views = self._published(connection, sorted(wanted))
        found = []
        for owner, name in zip(owners, former, strict=True):
            row = None if owner.shared else views.get(owner.customer_id or "", views.get(name))
            known = owner.known or row is not None
            found.append(Found(owner.customer_id if known else None, row, as_of_at, owner.shared))
        return found

    def health(self) -> None:
        """Nothing when the tables can be read. Raises sqlalchemy.exc.DBAPIError."""
        with self._engine.connect() as connection:
            connection.execute(text(f"SELECT 1 FROM {BUILDS_NAME} LIMIT 1"))  # noqa: S608

    def _owners(self, connection: Connection, questions: Sequence[Question]) -> list[Owner]:
        named = {q.subject: records_that_name(q.subject, self._registers) for q in questions if q.by == CUSTOMER_ID}
        members = rows.members(connection, sorted({key for keys in named.values() for key in keys}))
        made_from = {name: self._tokens_of(connection, name) for name in named if name.startswith("p_")}
        tokens = {q.subject for q in questions if q.by != CUSTOMER_ID}
        tokens |= {token for found in made_from.values() for token in found}
        links = rows.links_of_tokens(connection, sorted(tokens))
        owners = []
        for question in questions:
            if question.by != CUSTOMER_ID:
                owners.append(self._holder(question.subject, links))
                continue
            present = [members[key] for key in named[question.subject] if members.get(key)]
            told = (self._holder(token, links) for token in made_from.get(question.subject, ()))
            present += [holder.customer_id for holder in told if holder.known and holder.customer_id]
            owners.append(Owner(present[0], known=True) if present else Owner(question.subject))
        return owners

    def _tokens_of(self, connection: Connection, provisional: str) -> list[str]:
        found = []
        for low, high in tokens_named(provisional, self._heads):
            found += connection.execute(self._made_from, {"low": low, "high": high}).scalars()
        return found

    def _holder(self, token: str, links: Mapping[str, Sequence[Link]]) -> Owner:
        """As the stream joins: today's holder, else the provisional name of the identifier."""
        link = today(links.get(token, ()), self._clock_us())
        if link is None:
            return Owner(provisional_id_of(token))
        return Owner(link.customer_id or None, known=True, shared=not link.customer_id)

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
