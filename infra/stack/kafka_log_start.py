"""Lets partitions of the embedded broker begin at an offset: a restored log goes on where the lost one ended.

Kafka has no command for it. A log begins where its first segment does, and a segment is named by its first offset.
Tried with Kafka 4.3.0: an empty ``.log`` of that name in place of the first, the broker stopped meanwhile, and it
starts with log start, log end and next offset at that number.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra.stack import kafka
from infra.stack.settings import Settings

_OF_A_SEGMENT = frozenset({".log", ".index", ".timeindex", ".txnindex", ".snapshot"})


class LogNotEmpty(RuntimeError):
    """A partition holds records already: its offsets are given out; the message names it."""


def begin_logs_at(settings: Settings, offsets: Mapping[str, int]) -> None:
    """Each empty partition (``raw.app/0``) begins at its offset; the broker must not run.

    Raises LogNotEmpty, before anything was changed; FileNotFoundError where a partition was not made.
    """
    folders = {}
    for place, offset in offsets.items():
        topic, _, partition = place.rpartition("/")
        folder = kafka.data_folder(settings) / f"{topic}-{partition}"
        for segment in folder.glob("*.log"):
            if segment.stat().st_size or int(segment.stem) not in (0, offset):
                raise LogNotEmpty(f"{segment} holds records, so {place} cannot be made to begin at {offset}")
        if not folder.exists():
            raise FileNotFoundError(f"partition {place} is not there: the topic has fewer partitions than the backup's")
        folders[folder] = offset
    for folder, offset in folders.items():
        for file in list(folder.iterdir()):
            if file.suffix in _OF_A_SEGMENT:
                file.unlink()
        (folder / f"{offset:020}.log").write_bytes(b"")
