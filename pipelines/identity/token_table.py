"""Tokens as numbers in sorted arrays: the storage under the identity index."""

import numpy as np
import polars as pl

HEX_DIGITS = 32
LINK_REMOVED = -1
_USUAL_LENGTH = 4 + HEX_DIGITS  # two letters, one digit of key version, '_', 32 hex digits
_NIBBLES = np.full(256, 255, dtype=np.uint8)
for _value, _character in enumerate(b"0123456789abcdef"):
    _NIBBLES[_character] = _value


class TokenKeys:
    """A batch of tokens as three numbers each: both halves of the 128 bits, and the head (type and key version)."""

    def __init__(self, high: np.ndarray, low: np.ndarray, head: np.ndarray):
        self.high, self.low, self.head = high, low, head

    @classmethod
    def of(cls, tokens: pl.Series) -> "TokenKeys":
        """Raises ValueError where a value is no token. `tokens` holds no NULL."""
        column = pl.DataFrame([tokens.alias("t")]).to_arrow(compat_level=pl.CompatLevel.oldest())["t"].combine_chunks()
        data = np.frombuffer(column.buffers()[2] or b"", dtype=np.uint8)
        lengths = tokens.str.len_bytes().to_numpy()
        if not (lengths == _USUAL_LENGTH).all():  # key versions from 10 on: head and digits apart
            return cls._of_unusual(tokens)
        first = np.frombuffer(column.buffers()[1], dtype=np.int64, count=len(tokens) + 1)[0] if len(tokens) else 0
        letters = data[first : first + len(tokens) * _USUAL_LENGTH].reshape(-1, _USUAL_LENGTH)
        if (letters[:, 3] != ord("_")).any():
            raise ValueError("Not a token: each must read <type><key version>_<32 hex digits>.")
        return cls(*_halves(letters[:, 4:]), np.ascontiguousarray(letters[:, :4]).view(">u4").ravel().astype(np.uint32))

    @classmethod
    def _of_unusual(cls, tokens: pl.Series) -> "TokenKeys":
        digits = tokens.str.tail(HEX_DIGITS)
        heads = tokens.str.head(-HEX_DIGITS).to_list()
        codes = {head: _head_code(head) for head in set(heads)}
        if (digits.str.len_bytes() != HEX_DIGITS).any():
            raise ValueError("Not a token: each must read <type><key version>_<32 hex digits>.")
        letters = np.frombuffer("".join(digits).encode(), dtype=np.uint8).reshape(-1, HEX_DIGITS)
        return cls(*_halves(letters), np.fromiter((codes[h] for h in heads), dtype=np.uint32, count=len(heads)))


def _halves(letters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nibbles = _NIBBLES[letters]
    if nibbles.size and nibbles.max() > 15:
        raise ValueError("Not a token: its last 32 characters are not all lower-case hex digits.")
    both = (nibbles[:, 0::2] << 4 | nibbles[:, 1::2]).view(">u8").astype(np.uint64)
    return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])


def _head_code(head: str) -> int:
    """The number TokenKeys gives a head: four bytes as they are, or type and version where it is longer.

    >>> _head_code("ph1_") == int.from_bytes(b"ph1_", "big"), _head_code("ph12_") & 0xFFFF
    (True, 12)
    """
    raw = head.encode()
    if len(raw) == 4:
        return int.from_bytes(raw, "big")
    if len(raw) < 4 or not head.endswith("_") or not head[2:-1].isdigit():
        raise ValueError(f"Not a token: {head[:6]!r} should be two letters, a key version and '_'.")
    return int.from_bytes(raw[:2], "big") << 16 | int(head[2:-1])


class TokenTable:
    """Sorted tokens with a code each. HMAC bits are even, so the top bits say where to look: about one step."""

    def __init__(self, keys: TokenKeys, code: np.ndarray):
        order = np.argsort(keys.high, kind="stable")
        self.high, self.low, self.head = keys.high[order], keys.low[order], keys.head[order]
        self.code = code[order]
        bits = max(1, len(code).bit_length())
        self._shift = np.uint64(64 - bits)
        counts = np.bincount((self.high >> self._shift).astype(np.int64), minlength=1 << bits)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)

    @classmethod
    def of(cls, links: dict[str, int]) -> "TokenTable":
        """From a dictionary of token to code."""
        keys = TokenKeys.of(pl.Series(list(links), dtype=pl.String))
        return cls(keys, np.fromiter(links.values(), dtype=np.int32, count=len(links)))

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in (self.high, self.low, self.head, self.code, self._starts))

    def find(self, wanted: TokenKeys) -> tuple[np.ndarray, np.ndarray]:
        """The code of each wanted token (LINK_REMOVED where there is none), and whether it is known here."""
        codes = np.full(len(wanted.high), LINK_REMOVED, dtype=np.int32)
        known = np.zeros(len(wanted.high), dtype=bool)
        bucket = (wanted.high >> self._shift).astype(np.int64)
        at, end = self._starts[bucket], self._starts[bucket + 1]
        rows = np.flatnonzero(at < end)
        at, end = at[rows], end[rows]
        while len(rows):
            hit = self.high[at] == wanted.high[rows]
            hit &= (self.low[at] == wanted.low[rows]) & (self.head[at] == wanted.head[rows])
            codes[rows[hit]], known[rows[hit]] = self.code[at[hit]], True
            further = ~hit & (at + 1 < end)
            rows, at, end = rows[further], at[further] + 1, end[further]
        return codes, known

    def overlaid(self, newer: "TokenTable") -> "TokenTable":
        """This table with the entries of a newer one in front; removed links are gone."""
        _, replaced = newer.find(TokenKeys(self.high, self.low, self.head))
        kept, alive = ~replaced, newer.code != LINK_REMOVED
        high, low, head, code = (
            np.concatenate([getattr(self, name)[kept], getattr(newer, name)[alive]])
            for name in ("high", "low", "head", "code")
        )
        return TokenTable(TokenKeys(high, low, head), code)
