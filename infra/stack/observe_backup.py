"""How the backup fares: for status and metrics."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from infra.stack.settings import Settings


@dataclass(frozen=True)
class Backup:
    """age_s: everything acknowledged longer ago than this is in the backup (None: nothing yet). late: by policy backup.

    troubles: what the last round could not ship, in plain words.
    """

    age_s: float | None
    late: bool
    troubles: list[str]


def backup(settings: Settings) -> Backup | None:
    """What the shipper said last; None where it never ran."""
    from pipelines import contracts

    path = settings.run / "backup.json"
    if not path.exists():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    age_s = time.time() - told["covers_until"] if told["covers_until"] else None
    late = age_s is None or age_s > contracts.policy("backup")["late_after_s"]
    return Backup(age_s, late, [*([told["error"]] if told["error"] else []), *told["troubles"]])
