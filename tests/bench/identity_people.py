"""Synthetic person records with their truth: families, common names, and the slips that FEBRL's generator makes.

Harder than FEBRL in two ways: postcode and region follow from the locality, as they do in life, and one person in four
lives with others of the same surname at the same address, one such pair in fifty being twins. The same seed gives the
same records.
"""

from __future__ import annotations

import random
from datetime import date, timedelta

import numpy as np
import polars as pl

from pipelines.privacy.normalise import check_digit

DUPLICATES = 0.15  # share of the records that repeat an earlier one
FAMILY, _TWINS = 0.25, 0.02
_ONSETS = ["b", "br", "c", "ch", "d", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "r", "s", "st", "t", "w"]
_NUCLEI = ["a", "e", "i", "o", "u", "ai", "ee", "ou"]
_CODAS = ["", "n", "l", "r", "s", "th", "ck", "m", "tt", "ng"]
_STREETS = ["street", "place", "circuit", "road", "avenue", "crescent", "court", "close"]
_REGIONS = ["nsw", "vic", "qld", "wa", "sa", "tas", "act", "nt"]
_FIELDS = {  # how often a slip falls on a field
    "given_name": 16, "family_name": 14, "birth_date": 10, "street_number": 10, "address_line_1": 16,
    "address_line_2": 12, "locality": 12, "postcode": 10, "region": 3,
}  # fmt: skip
_CONTACT_FIELDS = {"phone": 16, "email": 12, "national_id": 5}
_LETTERS, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"


def people(
    records: int, seed: int, *, family: float = 0.0, contacts: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Raw profiles in random order (record_id and the columns FEBRL has, without an ID), and (record_id, person).

    `family` is the share of persons who live with the one before them; with `contacts` there are phone, email and
    national_id too, each told by some, and one phone in five is a family's.

    >>> profiles, truth = people(1_000, seed=3)
    >>> len(profiles), truth["person"].n_unique(), profiles.equals(people(1_000, seed=3)[0])
    (1000, 850, True)
    """
    chance = np.random.default_rng(seed)
    persons = round(records * (1 - DUPLICATES))
    table = _persons(persons, chance, family)
    fields = _FIELDS
    if contacts:
        table, fields = table.with_columns(_contacts(table, chance)), _FIELDS | _CONTACT_FIELDS
    copied = chance.integers(0, persons, records - persons)
    rows = table[copied.tolist()].to_dicts()
    slips = random.Random(seed)
    pools = {column: table[column].drop_nulls().to_list()[:50_000] for column in fields}
    for row in rows:
        _spoil(row, pools, fields, slips)
    every = pl.concat([table, pl.DataFrame(rows, schema=table.schema)]) if rows else table
    order = chance.permutation(records)
    every = every.with_columns(person=np.concatenate([np.arange(persons), copied]))[order.tolist()]
    every = every.with_columns(record_id=pl.format("r{}", pl.int_range(pl.len()).cast(pl.String).str.zfill(8)))
    return every.select("record_id", *table.columns), every.select("record_id", "person")


def _persons(count: int, chance: np.random.Generator, family_share: float) -> pl.DataFrame:
    names = {"given_name": _words(900, 2, chance), "family_name": _words(12_000, 2, chance)}
    streets = np.char.add(np.char.add(_words(9_000, 2, chance), " "), chance.choice(_STREETS, 9_000))
    houses, places = _words(6_000, 3, chance), _words(3_000, 3, chance)
    postcodes, regions = chance.integers(1_000, 9_999, 3_000).astype(str), chance.choice(_REGIONS, 3_000)
    home = np.arange(count)  # a family lives where the person before them does, and bears that name
    family = chance.random(count) < family_share
    family[0] = False
    home[family] = 0
    home = np.maximum.accumulate(home)
    place = _often(chance, 3_000, count)[home]
    born = chance.integers(0, 28_000, count)
    twins = np.flatnonzero(family & (chance.random(count) < _TWINS))
    born[twins] = born[twins - 1]
    days = np.array([(date(1930, 1, 1) + timedelta(days=d)).strftime("%Y%m%d") for d in range(28_000)])
    table = pl.DataFrame(
        {
            "given_name": names["given_name"][_often(chance, 900, count)],
            "family_name": names["family_name"][_often(chance, 12_000, count)[home]],
            "birth_date": days[born],
            "street_number": np.minimum(1 + chance.exponential(45, count).astype(int), 900).astype(str)[home],
            "address_line_1": streets[_often(chance, 9_000, count)[home]],
            "address_line_2": houses[_often(chance, 6_000, count)[home]],
            "locality": places[place],
            "postcode": postcodes[place],
            "region": regions[place],
        }
    )
    missing = {"given_name": 0.02, "birth_date": 0.03, "street_number": 0.03, "address_line_2": 0.35, "locality": 0.01}
    return table.with_columns(
        pl.when(pl.Series(chance.random(count) >= share)).then(pl.col(c)).alias(c) for c, share in missing.items()
    )


def _contacts(table: pl.DataFrame, chance: np.random.Generator) -> list[pl.Series]:
    """Numbers that nobody has: phones begin with 100, IDs are of people born before 1910."""
    count = len(table)
    phones = 10_000_000_000 + chance.permutation(10 * count)[:count]
    shared = np.flatnonzero(chance.random(count) < 0.2)
    same_home = (table["address_line_1"] == table["address_line_1"].shift(1)).fill_null(False).to_numpy()
    shared = shared[same_home[shared]]
    phones[shared] = phones[shared - 1]
    bodies = [f"110101{1900 + n // 336_000 % 10}{n // 28_000 % 12 + 1:02d}{n // 1_000 % 28 + 1:02d}{n % 1_000:03d}"
              for n in range(count)]  # fmt: skip
    told = {
        "phone": (0.7, [f"+1{phone}" for phone in phones]),
        "email": (0.5, [f"u{n:08d}@example.org" for n in chance.permutation(count)]),
        "national_id": (0.4, [body + check_digit(body) for body in bodies]),
    }
    return [
        pl.select(pl.when(pl.Series(chance.random(count) < share)).then(pl.Series(values)).alias(name)).to_series()
        for name, (share, values) in told.items()
    ]


def _words(count: int, syllables: int, chance: np.random.Generator) -> np.ndarray:
    """Distinct words that can be said."""
    found: dict[str, None] = {}
    while len(found) < count:
        parts = [chance.choice(p, size=(count, syllables)) for p in (_ONSETS, _NUCLEI, _CODAS)]
        found |= dict.fromkeys("".join(sum(zip(*row, strict=True), ())) for row in zip(*parts, strict=True))
    return np.array(list(found)[:count])


def _often(chance: np.random.Generator, kinds: int, count: int) -> np.ndarray:
    """Which of `kinds`, some far more often than others: the tenth most frequent surname has a third of the first's."""
    weights = 1 / (np.arange(kinds) + 8.0) ** 0.9
    return chance.choice(kinds, size=count, p=weights / weights.sum())


def _spoil(
    row: dict[str, str | None], pools: dict[str, list[str]], fields: dict[str, int], chance: random.Random
) -> None:
    """One to four slips, at most two in a field; now and then two columns changed places."""
    if chance.random() < 0.06:
        row["given_name"], row["family_name"] = row["family_name"], row["given_name"]
    if row["address_line_2"] is not None and chance.random() < 0.08:
        row["address_line_1"], row["address_line_2"] = row["address_line_2"], row["address_line_1"]
    for column in chance.choices(list(fields), list(fields.values()), k=chance.choice((1, 2, 2, 3, 3, 4))):
        value, kind = row[column], chance.random()
        if value is None or kind < 0.12:
            row[column] = None if value is not None else chance.choice(pools[column])
        elif kind < 0.24:
            row[column] = chance.choice(pools[column])
        else:
            row[column] = _typed(value, chance)


def _typed(value: str, chance: random.Random) -> str:
    """One letter or digit wrong, too many, missing, or changed places with its neighbour; or a blank inside."""
    at, kind = chance.randrange(len(value)), chance.random()
    new = chance.choice(_DIGITS if value[at].isdigit() else _LETTERS)
    if kind < 0.3:
        return value[:at] + new + value[at + 1 :]
    if kind < 0.5:
        return value[:at] + new + value[at:]
    if kind < 0.7 and len(value) > 1:
        return value[:at] + value[at + 1 :]
    if kind < 0.9 and at + 1 < len(value):
        return value[:at] + value[at + 1] + value[at] + value[at + 2 :]
    return value[:at] + " " + value[at:]
