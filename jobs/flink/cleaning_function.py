"""The one Python function of the cleaning job: batches of raw messages in, batches of judged records out."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from pyflink.table import DataTypes
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from pipelines.contracts import SCHEMAS_VARIABLE

if TYPE_CHECKING:
    import pandas as pd

_STRING, _BYTES = DataTypes.STRING(), DataTypes.BYTES()
RESULT_TYPE = DataTypes.ROW(
    [
        DataTypes.FIELD("event_id", _STRING),
        DataTypes.FIELD("raw_ref", _STRING),
        DataTypes.FIELD("topic", _STRING),
        DataTypes.FIELD("record_key", _STRING),
        DataTypes.FIELD("record", _STRING),
        DataTypes.FIELD("feedback_key", _STRING),
        DataTypes.FIELD("occurred_us", DataTypes.BIGINT()),
        DataTypes.FIELD("received_us", DataTypes.BIGINT()),
        DataTypes.FIELD("attempt", DataTypes.INT()),
        DataTypes.FIELD("vault_entries", DataTypes.ARRAY(_STRING)),
    ]
)
MAX_ATTEMPT = 1000


class CleanMessage(ScalarFunction):
    """Vectorised: called with pandas columns of up to one Arrow batch, returns a frame with as many rows.

    The worker loads the keys and the identity map in ``open``, reads the map to its end before the first message, and
    looks for changes once a second after that.
    """

    def __init__(self, bootstrap: str, keys_file: str, schemas: str, region: str | None) -> None:
        self._bootstrap = bootstrap
        self._keys_file = keys_file
        self._schemas = schemas
        self._region = region

    def open(self, function_context: FunctionContext) -> None:
        """Called at every (re)start of the job, so what a failed transaction lost is made again."""
        import os

        # One thread: two workers, a broker and a task manager share the cores, and a pool of its own only adds queues.
        os.environ["POLARS_MAX_THREADS"] = "1"
        os.environ[SCHEMAS_VARIABLE] = self._schemas
        from pipelines.cleaning import baseline_records
        from pipelines.cleaning.context import CleaningContext
        from pipelines.identity import map_records
        from pipelines.io.batch_memory import CollectBetweenBatches
        from pipelines.io.compacted_tail import CompactedTail
        from pipelines.privacy.keys import MasterKey

        self._context = context = CleaningContext.create(MasterKey.load(self._keys_file), self._region)
        self._followed = [
            (CompactedTail(self._bootstrap, "identity.map"), partial(map_records.feed, context.identity)),
            (CompactedTail(self._bootstrap, "policy.baselines"), partial(baseline_records.feed, context.baselines)),
        ]
        for tail, feed in self._followed:
            for records in tail.load_to_end():
                feed(records)
        self._memory = CollectBetweenBatches()

    def close(self) -> None:
        """Ends the consumers of the compacted topics."""
        for tail, _ in self._followed:
            tail.close()

    def eval(
        self,
        payload: pd.Series,
        raw_topic: pd.Series,
        raw_partition: pd.Series,
        raw_offset: pd.Series,
        received_at: pd.Series,
        account: pd.Series,
        source_ref: pd.Series,
        attempt: pd.Series,
        first_ref: pd.Series,
    ) -> pd.DataFrame:
        """Judge one batch; the clock is read here and nowhere below."""
        import pandas as pd

        from pipelines.cleaning import remembered
        from pipelines.cleaning.batch import RawBatch
        from pipelines.cleaning.process import clean_columns

        self._memory.before(len(payload))
        self._context.follow_keys()
        for tail, feed in self._followed:
            if records := tail.poll_if_due(time.monotonic()):
                feed(records)
        batch = RawBatch(
            payload.tolist(),
            raw_topic.tolist(),
            raw_partition.tolist(),
            raw_offset.tolist(),
            received_at.astype("datetime64[us, UTC]").astype("int64").tolist(),
            account.tolist(),
            source_ref.tolist(),
            [_attempt(value) for value in attempt.tolist()],
            first_ref.tolist(),
        )
        now_us = time.time_ns() // 1000
        judged = remembered.judged(batch, lambda fresh: clean_columns(fresh, self._context, now_us))
        # Objects: Flink's Arrow encoder takes NULL from None, and whole numbers with a NULL among them would be floats.
        return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in judged.items()})


def _attempt(header: str | None) -> int:
    if header is None:
        return 0
    if len(header) > 4 or not (header.isascii() and header.isdigit()):  # Python reads no number of 4,300 digits
        return -1
    return int(header) if int(header) <= MAX_ATTEMPT else -1


def clean_message(bootstrap: str, keys_file: str, schemas: str, region: str | None = None) -> ScalarFunction:
    """The function as Flink registers it; `region` as `CleaningContext.create` takes it."""
    return udf(CleanMessage(bootstrap, keys_file, schemas, region), result_type=RESULT_TYPE, func_type="pandas")
