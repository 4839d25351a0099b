"""Stores' archived files in an erasure: one that holds the person goes whole; its other records are in the lake."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.channels import PARSERS
from pipelines.channels.interaction import Interaction
from pipelines.cleaning.customer import IDENTIFIERS
from pipelines.io.store_archive import StoreArchive, alone
from pipelines.privacy.erasure import Person, speaks_of
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.stores import store_file
from pipelines.stores.verdicts import FileIncomplete, FileRefused

_LATER_US = 4_102_444_800_000_000  # 2100: no time of a file lies ahead of it, so that none is unreadable for that


def files_of(settings: Settings, who: Person) -> list[Path]:
    """Archived and refused files in which a record carries an identifier of the person, or its text a number of theirs.

    Identifiers are turned into tokens as the cleaning job does, so this needs no value out of the vault and finds the
    same after its data keys are gone.
    """
    key = MasterKey.load(settings)
    archive, tokeniser = StoreArchive(settings.home, key), Tokeniser(key)
    scoped = frozenset(contracts.policy("privacy")["scoped_by_channel"])
    return [path for path, content in archive.everything() if _holds(content, who, tokeniser, scoped)]


def _holds(content: bytes, who: Person, tokeniser: Tokeniser, scoped: frozenset[str]) -> bool:
    try:
        records = store_file.read(content, contracts.policy("store_import")).records
    except (FileRefused, FileIncomplete):  # no table: its bytes are looked through as they are
        return speaks_of(content, who, [], tokeniser)
    for record in records:
        value = record.damaged or orjson.dumps(record.fields or record.misaligned, default=str)
        if _tokens(value, tokeniser, scoped) & who.tokens or speaks_of(value, who, [], tokeniser):
            return True
    return False


def _tokens(value: bytes, tokeniser: Tokeniser, scoped: frozenset[str]) -> set[str]:
    read = PARSERS["store"](value, "default", _LATER_US, None)
    if not isinstance(read, Interaction):
        return set()
    given = {kind: getattr(read, name) for name, (kind, _) in IDENTIFIERS.items() if kind not in scoped}
    return {token for kind, text in given.items() if text and (token := tokeniser.token(text, kind)) is not None}


def erase(settings: Settings, files: Iterable[Path]) -> None:
    """Delete the files' bytes; the state beside them keeps hashes and revisions, so that nothing is sent again.

    What a later correction takes back of such a file is withdrawn without an identifier. Raises ImportBusy.
    """
    with alone(settings.home):
        for path in files:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)  # a refused file's reason
