"""Tokens: the same person gives the same token on every channel, and no token gives a person back.

A token is ``<type><key version>_<32 hex digits>``: HMAC-SHA-256 of the normal form under a key derived from the
master key, cut to 128 bits (at a billion values the chance of one collision is 1.5e-21).
"""

import hmac
from collections.abc import Callable, Iterable

import polars as pl

from pipelines.privacy.keys import MasterKey
from pipelines.privacy.normalise import NORMALISERS, identifies_nobody

PREFIXES = {
    "phone": "ph",
    "national_id": "id",
    "email": "em",
    "unionid": "un",
    "openid": "op",
    "external_userid": "ex",
    "member": "mb",
    "user_handle": "uh",
    "bank_card": "bc",
    "person_name": "nm",
    "birth_date": "bd",
    "address": "ad",
}
TYPES = {prefix: kind for kind, prefix in PREFIXES.items()}
_SEPARATOR = "\x1f"


class Tokeniser:
    """Makes tokens for batches and remembers what it made; one per worker.

    `on_new(token, kind, value)` is called once for each value not in the cache: the vault listens there.
    The cache holds two generations of `cache_values` distinct raw values (LRU by halves: a value seen again
    moves to the young generation), so a hit costs one dictionary look-up. `placeholders` lists per kind, and under
    'any' for all kinds, what people type to get past a form (policy identity); such a value has no token.

    >>> tokeniser = Tokeniser(MasterKey({1: bytes(32)}), placeholders={"any": ["无"]})
    >>> tokeniser.tokens(pl.Series(["13812345670", "+86 138-1234-5670", None, "无"]), "phone").to_list()
    ['ph1_3ef2d64739048e73c7dbaf08a6438093', 'ph1_3ef2d64739048e73c7dbaf08a6438093', None, None]
    """

    def __init__(
        self,
        key: MasterKey,
        *,
        placeholders: dict[str, list[str]] | None = None,
        cache_values: int = 200_000,
        on_new: Callable[[str, str, str], None] | None = None,
    ):
        self._key = key
        self._cache_values = cache_values
        self._on_new = on_new
        self._hmac_keys = {kind: key.derive(f"token/{kind}", key.token_version) for kind in PREFIXES}
        self._heads = {kind: f"{prefix}{key.token_version}_" for kind, prefix in PREFIXES.items()}
        self._placeholders = {kind: _placeholders_of(kind, placeholders or {}) for kind in PREFIXES}
        self.reset()

    def reset(self) -> None:
        """Forget all: a failed transaction may have lost the vault entries of what was made before."""
        self._young: dict[str, dict] = {kind: {None: None} for kind in PREFIXES}
        self._old: dict[str, dict] = {kind: {} for kind in PREFIXES}

    def tokens(self, values: pl.Series, kind: str, scope: pl.Series | None = None) -> pl.Series:
        """The token of each value, NULL where there is none or a placeholder.

        `scope` (a platform, a channel) keeps equal values of different scopes apart: user 'anna' of one
        platform is not user 'anna' of another. It enters the token, not the vault's plain value.
        """
        if values.null_count() == len(values):
            return pl.Series(values.name, [None] * len(values), dtype=pl.String)
        raw = values.to_list()
        if scope is not None:
            scopes = scope.to_list()
            raw = [v if v is None else f"{s}{_SEPARATOR}{v}" for s, v in zip(scopes, raw, strict=True)]
        return pl.Series(values.name, self._map(raw, kind), dtype=pl.String)

    def token(self, value: str, kind: str) -> str | None:
        """The token of one value."""
        return self._map([value], kind)[0]

    def _map(self, raw: list[str | None], kind: str) -> list[str | None]:
        young = self._young[kind]
        made = list(map(young.get, raw))
        if None in made:  # misses, NULLs and placeholders; a cached placeholder is found again cheaply below
            old = self._old[kind]
            for position, value in enumerate(raw):
                if made[position] is None and value is not None and value not in young:
                    young[value] = made[position] = old.get(value) or self._make(value, kind)
                elif made[position] is None and value is not None:
                    made[position] = young[value]
            if len(young) > self._cache_values:
                self._old[kind], self._young[kind] = young, {None: None}
        return made

    def _make(self, raw: str, kind: str) -> str | None:
        scope, separator, value = raw.rpartition(_SEPARATOR)
        normal = NORMALISERS[kind](value)
        if identifies_nobody(normal, self._placeholders[kind]):
            return None
        digest = hmac.digest(self._hmac_keys[kind], (scope + separator + normal).encode("utf-8", "replace"), "sha256")
        token = self._heads[kind] + digest[:16].hex()
        if self._on_new is not None:
            self._on_new(token, kind, normal)
        return token


def _placeholders_of(kind: str, lists: dict[str, list[str]]) -> frozenset[str]:
    """In normal form, so that 138 0000 0000 and +8613800000000 are one placeholder."""
    return frozenset(NORMALISERS[kind](str(word)).lower() for word in [*lists.get("any", []), *lists.get(kind, [])])


def tokenise(values: pl.Series, kind: str, key: MasterKey, scope: pl.Series | None = None) -> pl.Series:
    """One-off form of Tokeniser.tokens for imports and tests; raises KeyError on an unknown kind."""
    return Tokeniser(key).tokens(values, kind, scope)


def kind_of(token: str) -> str:
    """The kind a token stands for; raises ValueError if it is no token.

    >>> kind_of("ph1_3ef2d64739048e73c7dbaf08a6438093")
    'phone'
    """
    kind = TYPES.get(token[:2])
    if kind is None or "_" not in token:
        raise ValueError(f"Not a token: it starts with {token[:4]!r}; tokens start with one of {sorted(TYPES)}.")
    return kind


def token_values(values: Iterable[str | None], kind: str, tokeniser: Tokeniser) -> list[str | None]:
    """Tokens of a plain list, for importers that have no columns."""
    return tokeniser.tokens(pl.Series(list(values), dtype=pl.String), kind).to_list()
