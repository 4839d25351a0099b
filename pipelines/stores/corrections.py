"""What a file changes in a store's day: which records are new, which are corrected, which are gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pipelines.stores.rows import KeyedRecord
from pipelines.stores.verdicts import FileRefused

NEW, CORRECTED, REPEATED = "new", "corrected", "repeated"


class SentRow(NamedTuple):
    """A record as it was last sent: hash of its content, revision, ``source_ref``, its file (SHA-256), whether the
    channel's parser can read it, and whether it was taken back.
    """

    content: str
    revision: int
    source_ref: str
    sha256: str
    readable: bool
    withdrawn: bool = False


class Change(NamedTuple):
    """One record to send, as which revision, and why."""

    row: KeyedRecord
    revision: int
    why: str


class Gone(NamedTuple):
    """A record that the file no longer holds; sent as a withdrawal only if there is something to take back."""

    key: str
    was: SentRow
    revision: int


class Plan(NamedTuple):
    """What to send, what is gone, how many records stay as they are (rows of the file) and their keys."""

    changes: list[Change]
    gone: list[Gone]
    unchanged: int
    same: list[str]

    def count(self, why: str) -> int:
        """How many records are sent for one reason."""
        return sum(change.why == why for change in self.changes)

    @property
    def withdrawn(self) -> list[Gone]:
        """Those that are sent: a record that nobody could read stands nowhere."""
        return [gone for gone in self.gone if gone.was.readable]


def plan(
    sent: Mapping[str, SentRow], rows: Iterable[KeyedRecord], *, max_withdrawn_share: float, min_withdrawn: int
) -> Plan:
    """The difference between what was last sent of a store's day and what its file says now.

    A changed record goes out under its own message ID as the next revision, one that is gone is withdrawn by a
    revision of its own, one that comes back is a revision too. Raises FileRefused ``correction.shrinks`` where so many
    are gone (or all of several) that the file is more likely half of one than a correction.

    >>> row = lambda key, content: KeyedRecord(key, content, None)
    >>> was = {key: SentRow("old", 0, f"f:{key}", "sha", True) for key in ("1", "2", "3")}
    >>> made = plan(was, [row("1", "old"), row("2", "new"), row("4", "x")], max_withdrawn_share=0.5, min_withdrawn=1)
    >>> [(change.row.key, change.revision, change.why) for change in made.changes], [one.key for one in made.withdrawn]
    ([('2', 1, 'corrected'), ('4', 0, 'new')], ['3'])
    """
    changes, here, unchanged = [], {}, 0
    for row in rows:
        before = here.get(row.key)
        if before is not None:  # once more in the same file: sent as it is, and found to be a duplicate by the stream
            changes += [Change(row, before.revision, REPEATED)] if before.why else []
            unchanged += not before.why
            continue
        was = sent.get(row.key)
        if was is None:
            here[row.key] = Change(row, 0, NEW)
        elif was.content == row.content and not was.withdrawn:
            here[row.key] = Change(row, was.revision, "")
            unchanged += 1
        else:
            here[row.key] = Change(row, was.revision + 1, CORRECTED)
        changes += [here[row.key]] if here[row.key].why else []
    standing = {key: was for key, was in sent.items() if not was.withdrawn}
    gone = [Gone(key, was, was.revision + 1) for key, was in standing.items() if key not in here]
    too_many = len(gone) > max(min_withdrawn, max_withdrawn_share * len(standing))
    # All of several gone is another half of the day, or another day's file, however few they were.
    if too_many or (max_withdrawn_share < 1 and 1 < len(gone) == len(standing)):
        raise FileRefused(
            "correction.shrinks",
            f"{len(gone)} of the {len(standing)} records sent before are not in it, so it looks like half a file; if "
            "they are to be taken back, run again with --allow-shrink",
        )
    return Plan(changes, gone, unchanged, [key for key, change in here.items() if not change.why])
