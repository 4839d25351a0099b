"""Baselines: median and MAD of ln(seconds), worked by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from jobs.spark.baselines import records
from pipelines.cleaning.baseline_records import feed
from pipelines.cleaning.outliers import Baselines
from pipelines.contracts import policy, topic
from pipelines.tables import baselines

pytestmark = pytest.mark.spark
AT = datetime(2026, 1, 29, tzinfo=UTC)
ROWS = [
    # app messages: ln of 1, e, e² → median 1, distances 1, 0, 1 → MAD 1
    {
        "channel": "app",
        "response_time_s": 0.2,
        "occurred_at": datetime(2026, 1, 10, tzinfo=UTC),
    },  # below 1 s counts as 1 s
    {"channel": "app", "response_time_s": math.e, "occurred_at": datetime(2026, 1, 10, tzinfo=UTC)},
    {
        "channel": "app",
        "response_time_s": math.e**2,
        "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
    },  # 28 days back: in
    {"channel": "app", "response_time_s": 9999.0, "occurred_at": datetime(2025, 12, 31, tzinfo=UTC)},  # too old
    {"channel": "app", "response_time_s": -1.0, "occurred_at": datetime(2026, 1, 10, tzinfo=UTC)},  # impossible
    {"channel": "app", "response_time_s": 9999.0, "occurred_at": AT},  # at as_of: not yet
    {
        "channel": "app",
        "kind": "consultation",
        "response_time_s": 5.0,
        "occurred_at": datetime(2026, 1, 10, tzinfo=UTC),
    },
    {"channel": "phone", "occurred_at": datetime(2026, 1, 10, tzinfo=UTC)},  # nothing reported
]


def test_median_and_mad_of_what_was_reported(frame):
    found = baselines.build(
        frame("silver.interactions", ROWS), as_of_at=AT, policy={"window_days": 28, "min_samples": 3}, floor_s=1.0
    ).collect()
    # One consultation is fewer than three: the default of the policy stays in force there.
    assert [(r[0], r[1], round(r[2], 9), round(r[3], 9), r[4]) for r in found] == [("app", "message", 1.0, 1.0, 3)]
    version = baselines.version(found, AT)
    assert version == baselines.version(found, AT)
    assert version.startswith("b20260129-")

    told = records(found, version, AT)
    known = Baselines.from_policy(policy("outliers"))
    assert feed(known, told) == 1, "the cleaning job reads what this job writes"
    assert known.of("app", "message").version == version
    assert known.of("app", "consultation").version == policy("outliers")["version"]
    assert topic("policy.baselines").cleanup == "compact"
