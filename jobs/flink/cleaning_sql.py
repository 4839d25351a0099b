"""The statements of the cleaning job: what the engine does around the one Python function.

The Python function decides everything that can be known from one message. The engine decides what needs the past:
which of two messages with the same ``event_id`` came first, and which feedback was given before.
"""

from __future__ import annotations

from pipelines.cleaning.batch import RAW_PREFIX
from pipelines.io.flink_kafka import OUTPUTS, RAW_EVENTS

CLEAN_FUNCTION = "clean_message"

# Kept columns narrow on purpose: the record travels as bytes that are already encoded, so a new column of
# silver.interactions changes neither the state nor the shuffle, and a savepoint stays usable.
JUDGED_VIEW = f"""
CREATE TEMPORARY VIEW judged AS
SELECT
  c.event_id AS event_id, c.raw_ref AS raw_ref, c.topic AS topic, c.record_key AS record_key, c.record AS record,
  c.feedback_key AS feedback_key, c.occurred_us AS occurred_us, c.received_us AS received_us,
  c.attempt AS attempt, c.vault_entries AS vault_entries, arrived_at
FROM (
  SELECT
    {CLEAN_FUNCTION}(
      payload, raw_topic, raw_partition, raw_offset, received_at,
      CAST(headers['account'] AS STRING), CAST(headers['source_ref'] AS STRING), CAST(headers['attempt'] AS STRING),
      CAST(headers['first_topic'] AS STRING) || '|' || CAST(headers['first_partition'] AS STRING)
        || '|' || CAST(headers['first_offset'] AS STRING)
    ) AS c,
    arrived_at
  FROM {RAW_EVENTS}
)"""

# raw_ref is unique, so "first of its event_id" is one comparison with one aggregate; the value itself is the answer to
# "duplicate of what". ROW_NUMBER() = 1 would be cheaper and would drop the later rows unseen.
ORDERED_VIEW = """
CREATE TEMPORARY VIEW ordered AS
SELECT
  *,
  FIRST_VALUE(raw_ref) OVER (
    PARTITION BY event_id ORDER BY arrived_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  ) AS first_ref
FROM judged"""

# What the previous feedback with the same key was: "<occurred_us>|<raw_ref>". LAG keeps one value a key.
FEEDBACK_VIEW = """
CREATE TEMPORARY VIEW feedback_in_order AS
SELECT
  topic, record_key, record, event_id, raw_ref, received_us, attempt, occurred_us,
  LAG(CAST(occurred_us AS STRING) || '|' || raw_ref) OVER (PARTITION BY feedback_key ORDER BY arrived_at) AS previous
FROM ordered
WHERE first_ref = raw_ref AND feedback_key IS NOT NULL"""


def insert_outputs(feedback_window_us: int) -> str:
    """The one ``INSERT``: every raw coordinate in exactly one branch, vault entries beside them.

    Branches: kept, rejected and in review as the function routed them; duplicates by ``event_id``; feedback, first in
    its window or repeated within ``feedback_window_us`` of the previous one with the same key.
    """
    previous_us = "CAST(SPLIT_INDEX(previous, '|', 0) AS BIGINT)"
    repeated = f"(previous IS NOT NULL AND ABS(occurred_us - {previous_us}) <= {int(feedback_window_us)})"
    return f"""
INSERT INTO {OUTPUTS}
SELECT topic, CAST(record_key AS BYTES), CAST(record AS BYTES)
FROM ordered WHERE first_ref = raw_ref AND feedback_key IS NULL
UNION ALL
SELECT 'quarantine.duplicates', CAST(raw_ref AS BYTES), {_duplicate("event_id", "first_ref", 0)}
FROM ordered WHERE first_ref <> raw_ref
UNION ALL
SELECT topic, CAST(record_key AS BYTES), CAST(record AS BYTES)
FROM feedback_in_order WHERE NOT {repeated}
UNION ALL
SELECT 'quarantine.duplicates', CAST(record_key AS BYTES), {_duplicate("feedback.repeated", "previous", 1)}
FROM feedback_in_order WHERE {repeated}
UNION ALL
SELECT 'identity.vault', CAST(SPLIT_INDEX(entry, '|', 0) AS BYTES),
  CAST(SUBSTRING(entry FROM POSITION('|' IN entry) + 1) AS BYTES)
FROM ordered CROSS JOIN UNNEST(vault_entries) AS v (entry)
WHERE vault_entries IS NOT NULL"""


def _duplicate(rule: str, reference: str, start: int) -> str:
    """JSON bytes of a duplicate: its own coordinates, then those of the first in ``topic|partition|offset``.

    Made here and not by the function, because few messages become one. None of its texts needs escaping.
    """
    own_topic, own_partition, own_offset = (f"SPLIT_INDEX(raw_ref, '|', {i})" for i in range(3))
    topic, partition, offset = (f"SPLIT_INDEX({reference}, '|', {start + i})" for i in range(3))
    members = {
        "raw_topic": _quoted(own_topic),
        "raw_partition": own_partition,
        "raw_offset": own_offset,
        "attempt": "CAST(attempt AS STRING)",
        "event_id": _quoted("event_id"),
        "channel": _quoted(f"SUBSTRING({own_topic} FROM {len(RAW_PREFIX) + 1})"),
        "received_at": "CAST(received_us AS STRING)",
        "rule": _quoted(f"'{rule}'"),
        "duplicate_of_topic": _quoted(topic),
        "duplicate_of_partition": partition,
        "duplicate_of_offset": offset,
    }
    listed = " || ',' || ".join(f"'\"{name}\":' || {value}" for name, value in members.items())
    return f"CAST('{{' || {listed} || '}}' AS BYTES)"


def _quoted(expression: str) -> str:
    return f"'\"' || {expression} || '\"'"
