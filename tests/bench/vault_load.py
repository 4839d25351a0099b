"""Who writes the vault and who reads it while the master key is rotated."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid

from infra.stack.settings import Settings
from pipelines.io.compacted_tail import CompactedTail
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.vault import open_entry
from tests.bench.scratch_stack import kefulake

READS_A_ROTATION = 1_000
# As the cleaning job's worker does: loads the ring once and looks at the file with each batch.
_WRITER = """
import sys, time
from infra.stack.settings import Settings
from pipelines.io.publisher import publish
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.vault import VaultWriter
settings, run = Settings.load(), sys.argv[1]
key = MasterKey.load(settings)
writer, number = VaultWriter(key), 0
while True:
    key.refresh()
    for number in range(number, number + 50):
        writer.add(f"ph1_{run}{number:08x}", "phone", f"+86138{number:08d}")
    publish(settings.bootstrap, "identity.vault", [(t, e.encode()) for t, e in writer.drain()])
    number += 1
"""


def run_id() -> str:
    """Names the entries of one run."""
    return uuid.uuid4().hex[:20]


def start_writer(run: str) -> subprocess.Popen[bytes]:
    """A process that adds fifty entries after the other until it is ended."""
    return subprocess.Popen([sys.executable, "-c", _WRITER, run])


class Reader(threading.Thread):
    """Opens every entry of this run as it comes, old ones again and again, with a ring that was loaded before."""

    def __init__(self, settings: Settings, run: str):
        super().__init__(daemon=True)
        self._settings, self._run = settings, run
        self._key = MasterKey.load(settings)
        self._ended, self.read, self.failed, self.shelf = threading.Event(), 0, [], {}

    def run(self) -> None:
        """Until `stop`."""
        tail = CompactedTail(self._settings.bootstrap, "identity.vault", every_s=0)
        while not self._ended.is_set():
            for token, entry in tail.poll_if_due(time.monotonic()):
                if token.startswith(f"ph1_{self._run}") and not token.endswith("f" * 8):
                    self.shelf[token] = entry
            for token, entry in list(self.shelf.items())[-200:]:
                self._open(token, entry)
            self._ended.wait(0.002)
        tail.close()

    def _open(self, token: str, entry: bytes) -> None:
        try:
            if (value := open_entry(entry, self._key)) != f"+86138{int(token[-8:], 16):08d}":
                raise ValueError(f"opened to {value}")
            self.read += 1
        except Exception as error:
            self.failed.append(f"{token}: {error}")

    def stop(self) -> None:
        """Ends it, and waits."""
        self._ended.set()
        self.join()


def rotations_under_load(settings: Settings, rotations: int = 3) -> dict[str, int]:
    """Reads while the key was rotated so many times, and how many of them failed."""
    run = run_id()
    reader, writer = Reader(settings, run), start_writer(run)
    reader.start()
    try:
        for _ in range(rotations):
            seen = reader.read
            while reader.read < seen + READS_A_ROTATION and not reader.failed:
                if writer.poll() is not None:
                    raise RuntimeError("the writer of the vault ended")
                time.sleep(0.01)
            kefulake("keys", "rotate")
    finally:
        writer.kill()
        writer.wait()
        reader.stop()
    return {"rotation_reads": reader.read, "rotation_failed_reads": len(reader.failed)}
