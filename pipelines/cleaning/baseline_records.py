"""Baselines as they come on topic policy.baselines, one record a channel and kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from pipelines.cleaning.outliers import Baseline, Baselines

LOG = logging.getLogger(__name__)


def feed(baselines: Baselines, records: Iterable[tuple[str, bytes | None]]) -> int:
    """Take records in order; the number taken. A removed record leaves the last known baseline in force.

    A record that is no baseline is logged and passed over: rows are then judged by the one before it.

    >>> baselines = Baselines.from_policy({"version": "d1", "channels": {"*": {"*": {"median_s": 60, "mad_ln": 0.7}}}})
    >>> record = b'{"baseline_version":"b2","channel":"app","baseline_kind":"*","median_ln_s":3.0,"mad_ln_s":0.5}'
    >>> feed(baselines, [("app|*", record), ("x", None), ("y", b"{}")]), baselines.of("app", "message").version
    (1, 'b2')
    """
    taken = 0
    for key, value in records:
        if value is None:
            continue
        try:
            told = json.loads(value)
            baseline = Baseline(float(told["median_ln_s"]), float(told["mad_ln_s"]), str(told["baseline_version"]))
            baselines.update(str(told["channel"]), str(told["baseline_kind"]), baseline)
        except (ValueError, KeyError, TypeError) as error:
            LOG.error("topic policy.baselines, key %s: no baseline (%s); passed over", key, error)
            continue
        taken += 1
    return taken
