"""Where OpenLineage events go: a file of the stack, or the receiver OPENLINEAGE_URL names. Never a job's trouble."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from openlineage.client.event_v2 import RunEvent
from openlineage.client.serde import Serde
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport

from infra.stack.settings import Settings
from pipelines import contracts

log = logging.getLogger(__name__)

URL, API_KEY, DISABLED = "OPENLINEAGE_URL", "OPENLINEAGE_API_KEY", "OPENLINEAGE_DISABLED"
_away_until: dict[str, float] = {}
_guard = threading.Lock()


def events_file(settings: Settings) -> Path:
    """One event a line."""
    return settings.home / "lineage" / "events.ndjson"


def send(settings: Settings, make: Callable[[], RunEvent]) -> None:
    """To the receiver, else to the file. Never raises: what can't be told is said in the log, and the job goes on."""
    if os.environ.get(DISABLED, "").lower() == "true":
        return
    try:
        policy, event = contracts.policy("lineage"), make()
        if not _posted(event, policy["http"]):
            append(events_file(settings), Serde.to_json(event), policy["file"])
    except Exception as error:  # a full disk, a folder that belongs to somebody else: the work itself is done
        log.warning("a lineage event could not be told: %s: %s", type(error).__name__, error)


def append(file: Path, line: str, policy: Mapping[str, int]) -> None:
    """Adds a line; a file that would grow over ``max_bytes`` is put aside first, the oldest of ``keep_files`` goes.

    Several processes may do so at once: one lock beside the file. Raises OSError.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        data = line.encode() + b"\n"
        if file.exists() and file.stat().st_size + len(data) > policy["max_bytes"]:
            aside = [
                file,
                *(file.with_name(f"{file.stem}.{n}{file.suffix}") for n in range(1, policy["keep_files"] + 1)),
            ]
            for young, old in reversed(list(pairwise(aside))):
                if young.exists():
                    young.replace(old)
        with file.open("ab") as out:
            out.write(data)


def _posted(event: RunEvent, policy: Mapping[str, Any]) -> bool:
    """False where no receiver is named, or it does not answer (then it is left in peace for a while)."""
    url = os.environ.get(URL)
    if not url:
        return False
    with _guard:
        if time.monotonic() < _away_until.get(url, 0.0):
            return False
    try:
        _transport(url, policy["timeout_s"]).emit(event)
    except Exception as error:
        with _guard:
            _away_until[url] = time.monotonic() + policy["again_after_s"]
        log.warning(
            "the lineage receiver at %s=%s does not take events (%s); they go to the stack's own file, and it is tried "
            "again in %d s", URL, url, type(error).__name__, policy["again_after_s"],
        )  # fmt: skip
        return False
    return True


def _transport(url: str, timeout_s: float) -> HttpTransport:
    key = os.environ.get(API_KEY)
    auth = {"auth": ApiKeyTokenProvider({"apiKey": key})} if key else {}
    return HttpTransport(HttpConfig(url=url, timeout=timeout_s, retry={"total": 0}, **auth))
