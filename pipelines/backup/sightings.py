"""What an identity state that is older or newer than the restored tables has to forget and to learn."""

from __future__ import annotations

import polars as pl

_KEY = ["record_key", "token"]
# Policy asks whether an identifier was seen once or again; the resolver itself counts no further at a time.
_COUNTED = 2


def differing(held: pl.DataFrame, seen: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Claims to take out (record_key, token), and evidence to take in, so that each sighting counts once.

    `held`: claims of the dump, `seen`: evidence of all restored messages, both of the same records only. Where both
    say the same (never, once, more often) the claim stays as it is: its instants may know more than the messages do.

    >>> held = pl.DataFrame({"record_key": ["s/1", "s/2", "s/3"], "token": ["t"] * 3, "sightings": [1, 2, 7]})
    >>> seen = pl.DataFrame({"record_key": ["s/2", "s/3", "s/4"], "token": ["t"] * 3, "sightings": [1, 2, 1]})
    >>> out, fresh = differing(held, seen)
    >>> out["record_key"].to_list(), fresh.select("record_key", "sightings").rows()
    (['s/1', 's/2'], [('s/2', 1), ('s/4', 1)])
    """
    counted = pl.col("sightings").clip(upper_bound=_COUNTED)
    before = held.select(*_KEY, counted.alias("had"))
    after = seen.select(*_KEY, counted.alias("has"))
    wrong = before.join(after, on=_KEY, how="full", coalesce=True).filter(pl.col("had").ne_missing(pl.col("has")))
    out = wrong.filter(pl.col("had").is_not_null()).select(_KEY).sort(_KEY)
    return out, seen.join(wrong.select(_KEY), on=_KEY, how="semi", maintain_order="left")
