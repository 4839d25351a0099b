"""Stores' archived files in an erasure: one that holds the person goes whole; its other records are in the lake."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.cleaning.customer import IDENTIFIERS
from pipelines.io.store_archive import StoreArchive, alone
from pipelines.privacy.erasure import Person, speaks_of
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.stores import remains, store_file
from pipelines.stores.layout import column_of
from pipelines.stores.store_file import Record
from pipelines.stores.verdicts import FileIncomplete, FileRefused


def files_of(settings: Settings, who: Person) -> list[Path]:
    """Archived and refused files in which an identifier of the person stands, or a text has a number of theirs."""
    key = MasterKey.load(settings)
    holds = search(who, key)
    return [path for path, content in StoreArchive(settings.home, key).everything() if holds(content)]


def sealed(settings: Settings) -> int:
    """How many refused files nobody can look into (.xls, a password): whether the person is in them is not known."""
    archive = StoreArchive(settings.home, MasterKey.load(settings))
    kept = (archive.open_refused(sha256) for sha256, _ in archive.refused())
    return sum(content is not None and remains.is_sealed(content) for content in kept)


def search(who: Person, key: MasterKey) -> Callable[[bytes], bool]:
    """A question to ask of a file's bytes: is the person in it?

    Identifiers are turned into tokens as the cleaning job does, so this needs no value out of the vault and finds the
    same after its data keys are gone; out of columns, not messages, for a row that is a reject holds them as well.
    """
    tokeniser, scoped = Tokeniser(key), contracts.policy("privacy")["scoped_by_channel"]
    kinds = {name: kind for name, (kind, _) in IDENTIFIERS.items() if kind not in scoped}
    policy = contracts.policy("store_import")

    def is_theirs(text: str, kind: str) -> bool:
        return tokeniser.token(text, kind) in who.tokens

    def in_record(record: Record) -> bool:
        if record.fields is None:
            cells = record.misaligned or _words(record.damaged or b"")
            return any(is_theirs(cell, kind) for cell in cells for kind in set(kinds.values()))
        named = ((column_of(heading), text) for heading, text in record.fields.items())
        return any(is_theirs(text, kinds[column]) for column, text in named if column in kinds)

    def holds(content: bytes) -> bool:
        try:
            records = store_file.read(content, policy).records
        except (FileRefused, FileIncomplete):  # no table: what can be seen in its bytes is looked through
            seen = remains.texts(content, policy["limits"]["unpacked_bytes"])
            records = [Record(0, None, damaged=text) for text in seen]
        for record in records:
            value = record.damaged or orjson.dumps(record.fields or record.misaligned, default=str)
            if in_record(record) or speaks_of(value, who, [], tokeniser):
                return True
        return False

    return holds


def _words(content: bytes) -> list[str]:
    """What stands between blanks and delimiters; identifiers are ASCII in every encoding but UTF-16.

    >>> _words(b"S01,\\xca\\xd6,M0007;\\n13900000001")
    ['S01', 'M0007', '13900000001']
    """
    return [word.decode() for word in re.findall(rb"[A-Za-z0-9_.@+-]{3,}", content)]


def erase(settings: Settings, files: Iterable[Path]) -> None:
    """Delete the files' bytes; the state beside them keeps hashes and revisions, so that nothing is sent again.

    What a later correction takes back of such a file is withdrawn without an identifier. Raises ImportBusy.
    """
    with alone(settings.home):
        for path in files:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)  # a refused file's reason
