"""One report that several measurements write: each brings its keys and leaves the others' as they are."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.stack.files import write_json


def merge(path: Path, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Put ``figures`` into a JSON report beside what stands there; the whole report.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "report.json"
    >>> merge(path, {"a": 1, "b": 2}), merge(path, {"b": 3})
    ({'a': 1, 'b': 2}, {'a': 1, 'b': 3})
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / f".{path.name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        report = earlier | dict(figures)
        write_json(path, report)
    return report
