"""The customer ID of a batch: linked by the map, else a provisional name, else none."""

from collections.abc import Mapping, Sequence

import polars as pl

from pipelines.identity.evidence import NOBODY_AT_ALL
from pipelines.identity.index import IdentityIndex

_PREFIX = "p_"
_HEX_DIGITS = 24
_JOINED = {"customer_id": pl.String, "identity_status": pl.String}
_BEST = pl.coalesce(pl.all()).alias("customer_id")
_NAME = pl.lit(_PREFIX) + pl.col("customer_id").str.tail(32).str.head(_HEX_DIGITS)


def provisional_id(tokens: Mapping[str, pl.Series], order: list[str]) -> pl.Series:
    """A name for a customer nobody has linked yet, made of the best token at hand; NULL where there is none.

    The same identifier gives the same name on every channel and day, and it is never rewritten: a later link says
    which customer it was.

    >>> provisional_id({"phone": pl.Series(["ph1_" + "ab" * 16, None])}, ["unionid", "phone"]).to_list()
    ['p_abababababababababababab', None]
    """
    at_hand = [tokens[kind].alias(kind) for kind in order if kind in tokens]
    if not at_hand:
        raise ValueError(f"No token column of the provisional order {order} is given.")
    return pl.DataFrame(at_hand).select(_BEST).select(_NAME).to_series()


def provisional_id_of(token: str) -> str:
    """The provisional name that one token gives.

    >>> provisional_id_of("ph1_" + "ab" * 16)
    'p_abababababababababababab'
    """
    return _PREFIX + token[-32:][:_HEX_DIGITS]


def tokens_named(provisional: str, heads: Sequence[str]) -> list[tuple[str, str]]:
    """Least and greatest token that a provisional ID can have been made from, for each head (``ph1_``) of a token.

    >>> tokens_named("p_" + "ab" * 12, ["ph1_"])
    [('ph1_abababababababababababab00000000', 'ph1_ababababababababababababffffffff')]
    >>> tokens_named("c_1", ["ph1_"])
    []
    """
    if not provisional.startswith(_PREFIX) or len(provisional) != len(_PREFIX) + _HEX_DIGITS:
        return []
    told, rest = provisional.removeprefix(_PREFIX), 32 - _HEX_DIGITS
    return [(head + told + "0" * rest, head + told + "f" * rest) for head in heads]


def _no_links(rows: int) -> pl.Series:
    return pl.Series([None] * rows, dtype=pl.String)


def join_customers(
    tokens: Mapping[str, pl.Series],
    index: IdentityIndex,
    *,
    precedence: list[str],
    must_agree: list[str],
    provisional: list[str],
) -> pl.DataFrame:
    """customer_id and identity_status (linked, provisional, anonymous) of each row.

    The first identifier of `precedence` that has a link decides. Nobody's are a row whose deciding link leads to nobody
    (``""``: an account that is a tool), and one where two of `must_agree`, the last of the precedence, lead apart.

    >>> index = IdentityIndex()
    >>> index.apply(["ph1_" + "0" * 32, "mb1_" + "0" * 32], ["c_1", "c_2"])
    >>> tokens = {"phone": pl.Series(["ph1_" + "0" * 32, "ph1_" + "1" * 32, None, "ph1_" + "0" * 32]),
    ...           "member": pl.Series([None, None, None, "mb1_" + "0" * 32])}
    >>> order = ["phone", "member"]
    >>> join_customers(tokens, index, precedence=order, must_agree=order, provisional=["phone"]).rows()
    [('c_1', 'linked'), ('p_111111111111111111111111', 'provisional'), (None, 'anonymous'), (None, 'anonymous')]
    """
    rows = len(next(iter(tokens.values())))
    kinds = [kind for kind in precedence if kind in tokens and tokens[kind].null_count() < rows]
    # One look-up for all kinds: asked one by one, a batch of 450 paid more for the calls than for the tokens.
    found = index.lookup(pl.concat([tokens[kind] for kind in kinds])) if kinds else pl.Series([], dtype=pl.String)
    links = {kind: found.slice(at * rows, rows).alias(kind) for at, kind in enumerate(kinds)}
    linked = pl.DataFrame(list(links.values())).select(_BEST).to_series() if links else _no_links(rows)
    if torn := _torn(links, must_agree):
        linked = linked.scatter(torn, NOBODY_AT_ALL)
    named = provisional_id(tokens, provisional)
    status, ids = [], []
    for link, name in zip(linked, named, strict=True):
        status.append("linked" if link else "anonymous" if link is not None or name is None else "provisional")
        ids.append(link or (name if link is None else None))
    return pl.DataFrame({"customer_id": ids, "identity_status": status}, schema=_JOINED)


def _torn(links: Mapping[str, pl.Series], must_agree: list[str]) -> list[int]:
    """Rows in which two of the identifiers that must agree lead to two customers, and no better one decides."""
    told = [owners for kind, owners in links.items() if kind in must_agree]
    better = [owners for kind, owners in links.items() if kind not in must_agree]
    if len(told) < 2:
        return []
    torn = []
    for row, owners in enumerate(zip(*told, strict=True)):
        distinct = set(owners) - {None}
        if len(distinct) > 1 and all(owner[row] is None for owner in better):
            torn.append(row)
    return torn
