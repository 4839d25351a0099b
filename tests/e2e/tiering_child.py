"""A tiering service that dies by ``kill -9`` at a named step: ``python -m tests.e2e.tiering_child TABLE STEP``.

The steps are those of the real loop, driven one by one; ``file`` dies as soon as a new Parquet file is seen in the
table's folder, which is between writing rows and committing them, or just after.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.converters import UnreadableKeeper
from pipelines.io.tiering_service import table_stream
from pipelines.privacy.keys import MasterKey

STEPS = ("rewound", "collected", "kept", "file", "written", "none")


def die(*_: object) -> None:
    """As by ``kill -9``: no handler, no flush, no goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_new_file(folder: Path) -> None:
    """Busy wait on purpose: it has to hit the milliseconds between file and commit."""
    known = set(folder.rglob("*.parquet"))
    while not set(folder.rglob("*.parquet")) - known:
        pass
    die()


def main(name: str, step: str) -> None:
    """One batch, up to `step`."""
    settings, policy = Settings.load(), contracts.policy("tiering")
    stream = table_stream(settings, name, policy, MasterKey.create(settings.keys_file))
    stream.rewind()
    if step == "rewound":
        die()
    while not (stream.rows_waiting and stream.log_at_end):
        stream.collect(0.2)
    if step == "collected":
        die()
    if step == "kept":
        keep = UnreadableKeeper.keep

        def keep_and_die(*arguments):
            keep(*arguments)
            die()

        UnreadableKeeper.keep = keep_and_die
    if step == "file":
        threading.Thread(target=die_at_new_file, args=(settings.table_path(name),), daemon=True).start()
    stream.write()
    if step == "written":
        die()


if __name__ == "__main__":
    main(*sys.argv[1:])
