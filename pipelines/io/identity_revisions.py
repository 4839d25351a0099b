"""Up to which revision the records of a register (the CRM) were taken in as evidence; an earlier one changes nothing.

A register's own name stands for a file of all of it: what a file said counts until a later revision comes.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, text

from pipelines.identity.register_records import Revision
from pipelines.io import identity_rows as rows
from pipelines.io import identity_writes as writes

_REVISIONS = text(
    "SELECT record_key, updated_at, source_revision FROM identity_revisions WHERE record_key IN :wanted"
).bindparams(bindparam("wanted", expanding=True))


def told_later(connection: Connection, told: Mapping[str, Revision]) -> set[str]:
    """Those of the records of which a later revision, or a file of the whole register, was told already."""
    wanted = [*sorted({_register(record) for record in told}), *told]
    known = {
        record: (rows.microseconds(updated_at), revision)
        for part in rows.chunks(wanted)
        for record, updated_at, revision in connection.execute(_REVISIONS, {"wanted": part})
    }
    never = (0, 0)
    newest = {record: max(known.get(record, never), known.get(_register(record), never)) for record in told}
    return {record for record, of in told.items() if newest[record] > (of.updated_at, of.source_revision)}


def write(connection: Connection, told: Mapping[str, Revision]) -> None:
    """These were told up to their revision."""
    names = ["record_key", "updated_at", "source_revision"]
    values = [(record, rows.instant(of.updated_at), of.source_revision) for record, of in told.items()]
    update = ", ".join(f"{name} = VALUES({name})" for name in names[1:])
    writes.insert(connection, "identity_revisions", names, values, f" ON DUPLICATE KEY UPDATE {update}")


def _register(record: str) -> str:
    return record.partition("/")[0]
