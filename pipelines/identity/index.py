"""The current identity map in a worker's memory, looked up for a whole batch at once."""

import numpy as np
import polars as pl

from pipelines.identity.token_table import LINK_REMOVED, TokenKeys, TokenTable


class IdentityIndex:
    """Token → customer ID for millions of tokens; equal to a dictionary, at a sixth of its memory.

    A token carries 128 bits of HMAC. The first 64 are the sorted key; the other 64 and the head are compared as well,
    so two tokens that share the first half stay two. New links go to a small log that is asked first and merged into
    the sorted base once it holds `merge_every` tokens. The last write wins; None removes a link.

    >>> index = IdentityIndex()
    >>> index.apply(["ph1_" + "0" * 32, "un1_" + "f" * 32], ["c_1", "c_2"])
    >>> index.lookup(pl.Series(["un1_" + "f" * 32, "ph1_" + "f" * 32, None])).to_list()
    ['c_2', None, None]
    >>> index.apply(["un1_" + "f" * 32], [None])
    >>> index.lookup(pl.Series(["un1_" + "f" * 32])).to_list(), len(index)
    ([None], 1)
    """

    def __init__(self, *, merge_every: int = 50_000):
        self._merge_every = merge_every
        self._base: TokenTable | None = None
        self._log: dict[str, int] = {}
        self._log_table: TokenTable | None = None
        self._recent: dict[str, int] = {}
        self._names = pl.Series("customer_id", [], dtype=pl.String)

    def __len__(self) -> int:
        self._merge()
        return len(self._base.code) if self._base else 0

    @property
    def nbytes(self) -> int:
        """Memory of the tokens and the customer IDs."""
        return (self._base.nbytes if self._base else 0) + self._names.estimated_size()

    def apply(self, tokens: list[str], customer_ids: list[str | None]) -> None:
        """Take changes in order. Raises ValueError on a malformed token, before anything changed."""
        if not tokens:
            return
        TokenKeys.of(pl.Series(tokens, dtype=pl.String))
        fresh: list[str] = []
        for token, customer in zip(tokens, customer_ids, strict=True):
            if customer is None:
                self._log[token] = LINK_REMOVED
                continue
            code = self._recent.get(customer)
            if code is None:  # neighbours share a name; a name from an older batch may be stored twice
                code = self._recent[customer] = len(self._names) + len(fresh)
                fresh.append(customer)
            self._log[token] = code
        self._names.append(pl.Series(fresh, dtype=pl.String))
        self._log_table = None
        if len(self._log) >= self._merge_every:
            self._merge()

    def lookup(self, tokens: pl.Series) -> pl.Series:
        """The customer ID of each token, NULL where there is no link."""
        codes = np.full(len(tokens), LINK_REMOVED, dtype=np.int32)
        rows = tokens.is_not_null().arg_true()
        if len(rows) and (self._base or self._log):
            wanted = TokenKeys.of(tokens if len(rows) == len(tokens) else tokens.gather(rows))
            codes[rows.to_numpy()] = self._codes(wanted)
        positions = pl.Series(codes)
        return self._names.gather(positions.set(positions < 0, None)).alias(tokens.name)

    def _codes(self, wanted: TokenKeys) -> np.ndarray:
        codes = np.full(len(wanted.high), LINK_REMOVED, dtype=np.int32)
        if self._base:
            codes, _ = self._base.find(wanted)
        if self._log:
            if self._log_table is None:
                self._log_table = TokenTable.of(self._log)
            newer, known = self._log_table.find(wanted)
            codes = np.where(known, newer, codes)
        return codes

    def _merge(self) -> None:
        if not self._log:
            return
        newer = TokenTable.of(self._log)
        self._base = (self._base or TokenTable.of({})).overlaid(newer)
        self._log, self._log_table, self._recent = {}, None, {}
        self._pack_names()

    def _pack_names(self) -> None:
        """Drop the names no link uses any more, once they are half of all."""
        used = np.unique(self._base.code)
        if len(self._names) > 2 * len(used) + 1000:
            self._names = self._names.gather(used)
            self._base.code = np.searchsorted(used, self._base.code).astype(np.int32)
        self._names = self._names.rechunk()
