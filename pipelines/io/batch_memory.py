"""Python's cycle collector in programs that work on batches of rows."""

import gc

# A batch makes some ten containers a message, all of them alive until it is done. With Python's own 700 the collector
# looked through them 35 times a batch of 2,500 and found nothing: a tenth of the CPU time of workers and tiering.
NEW_CONTAINERS = 200_000
# The engine around a batch leaves cycles: few objects, but they hold the batch's bytes, and the collector counts
# objects. Left to that count, the two workers of the cleaning job grew by 1 GB in five minutes.
ROWS_BETWEEN = 20_000


def collect_rarely() -> None:
    """Have the cycle collector look only every ``NEW_CONTAINERS`` new containers; for the process, at its start.

    For programs whose batches hold no cycles: their memory goes back with the last reference to it.
    """
    gc.set_threshold(NEW_CONTAINERS, *gc.get_threshold()[1:])


class CollectBetweenBatches:
    """Collects cycles when no batch is alive, every ``ROWS_BETWEEN`` rows; within a batch hardly ever.

    Made once what the program keeps for good is loaded: that is never looked through again, which keeps a look cheap.
    """

    def __init__(self) -> None:
        collect_rarely()
        gc.collect()
        gc.freeze()
        self._rows = 0

    def before(self, rows: int) -> bool:
        """Called before a batch of so many rows is touched; whether it collected."""
        self._rows += rows
        if self._rows < ROWS_BETWEEN:
            return False
        self._rows = 0
        gc.collect()
        return True
