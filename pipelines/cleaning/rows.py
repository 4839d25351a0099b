"""Positions of the rows a rule has to look at.

polars pays some 30 µs for each expression, so `is_not_null().arg_true()` cost a batch of 350 rows 60 µs. numpy finds
the true ones in 2; a walk finds the stated ones in 10.
"""

import numpy as np
import polars as pl


def rows_where(holds: pl.Series) -> list[int]:
    """Positions of the rows where `holds` is true.

    >>> rows_where(pl.Series([True, None, False, True]))
    [0, 3]
    """
    return np.flatnonzero(holds.to_numpy()).tolist()  # a NULL is no number of numpy's, and not true


def rows_stating(column: pl.Series) -> list[int]:
    """Positions of the rows that state a value.

    >>> rows_stating(pl.Series([1.0, None, 0.0]))
    [0, 2]
    """
    return [row for row, value in enumerate(column.to_list()) if value is not None]
