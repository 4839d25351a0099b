"""Person records made comparable: one schema for every country, normal forms, and the keys that bring pairs together.

Plain functions over polars frames; nothing is written anywhere. What these frames hold is personal and clear: it
belongs in this process's memory only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from pipelines.privacy import normalise

COLUMNS = (
    "given_name", "family_name", "birth_date", "street_number", "address_line_1", "address_line_2", "locality",
    "postcode", "region", "national_id", "phone", "email",
)  # fmt: skip
"""What is compared, besides ``record_id``; all text, all nullable. ``full_name`` may stand for the two names."""
KEY_PREFIX = "key_"
_HAN = r"^\p{Han}+(·\p{Han}+)*$"
_CN_MOBILE = r"^(?:\+?86|0086|0)?(1[3-9][0-9]{9})$"


def split_name(full_name: pl.Series, *, compound_surnames: list[str]) -> tuple[pl.Series, pl.Series]:
    """Family and given name of a name in one field.

    A Chinese name begins with its surname, one character unless it begins with a compound one and more follows; other
    names end with it. Split, a typing error in one part leaves the other part equal, and the same two comparisons serve
    every country.

    >>> names = pl.Series(["李雷", "欧阳小红", "欧阳", "Anna Maria Smith", "Cher", None])
    >>> [part.to_list() for part in split_name(names, compound_surnames=["欧阳"])]
    [['李', '欧阳', '欧', 'Smith', 'Cher', None], ['雷', '小红', '阳', 'Anna Maria', None, None]]
    """
    text = pl.col("name").str.strip_chars()
    bare = text.str.replace_all(r"\s+", "")
    chinese = bare.str.contains(_HAN)
    name = pl.when(chinese).then(bare).otherwise(text)
    compound = bare.str.extract(rf"^({'|'.join(compound_surnames)}).", 1) if compound_surnames else pl.lit(None)
    family = pl.when(chinese).then(pl.coalesce(compound, bare.str.slice(0, 1)))
    family = family.otherwise(text.str.extract(r"(\S+)$", 1))
    split = pl.DataFrame({"name": full_name.cast(pl.String)}).select(name=name, family=family, chinese=chinese)
    rest = (
        pl.when(pl.col("chinese"))
        .then(pl.col("name").str.slice(pl.col("family").str.len_chars()))
        .otherwise(pl.col("name").str.strip_suffix(pl.col("family")).str.strip_chars())
    )
    split = split.with_columns(given=pl.when(rest != "").then(rest))
    return split["family"], split["given"]


def features(profiles: pl.DataFrame, policy: Mapping[str, Any], placeholders: Mapping[str, list[str]]) -> pl.DataFrame:
    """Profiles in normal form with their blocking keys: the input of training and matching.

    Args:
        profiles: ``record_id`` and any of `COLUMNS` or ``full_name``, as text; a missing column is all NULL.
        policy: policy matching.
        placeholders: those of policy identity, by kind: what is no phone, e-mail or ID.

    Returns:
        ``record_id``, `COLUMNS` (NULL for a placeholder), ``national_id_valid`` (its check digit is right: GB 11643),
        and ``key_00`` … (one a blocking rule, 64-bit, NULL where a column of the rule is NULL).

    Raises:
        ValueError: ``record_id`` is missing, NULL or not unique.

    >>> from pipelines import contracts
    >>> people = pl.DataFrame({"record_id": ["a"], "full_name": ["李 雷"], "birth_date": ["1990/1/7"], "phone": ["无"]})
    >>> made = features(people, contracts.policy("matching"), contracts.policy("identity")["placeholders"])
    >>> made.select("given_name", "family_name", "birth_date", "phone").row(0)
    ('雷', '李', '19900107', None)
    """
    _require_unique_ids(profiles)
    rules = policy["profiles"]
    given = profiles.select(
        pl.col("record_id").cast(pl.String),
        *(pl.col(c).cast(pl.String) if c in profiles.columns else pl.lit(None, pl.String).alias(c) for c in COLUMNS),
    )
    if "full_name" in profiles.columns:
        given = _with_split_names(given, profiles["full_name"], rules["compound_surnames"])
    words = [*rules["placeholders"], *placeholders.get("any", [])]
    made = given.with_columns(
        *(_folded(c, words) for c in ("given_name", "family_name", "address_line_1", "address_line_2", "locality")),
        *(_folded(c, words) for c in ("street_number", "postcode", "region")),
        _birth_date(rules),
        phone=_phones(given["phone"], [*words, *placeholders.get("phone", [])]),
        email=_emails([*words, *placeholders.get("email", [])]),
        national_id=_national_ids(given["national_id"], [*words, *placeholders.get("national_id", [])]),
    )
    valid = _by_value(made["national_id"], normalise.valid_national_id, pl.Boolean)
    return made.with_columns(valid.fill_null(False).alias("national_id_valid")).with_columns(keys(policy))


def keys(policy: Mapping[str, Any]) -> list[pl.Expr]:
    """One 64-bit key a blocking rule; a chance collision costs one comparison, no link.

    Given and family name in one rule are sorted first, so that a swapped pair has the same key.
    """
    made = []
    for number, spec in enumerate(policy["blocking"]["rules"]):
        rule = spec["share"]
        columns = [pl.col(c) for c in rule]
        if {"given_name", "family_name"} <= set(rule):
            names = [pl.col("given_name"), pl.col("family_name")]
            columns = [pl.min_horizontal(names), pl.max_horizontal(names)]
            columns += [pl.col(c) for c in rule if c not in ("given_name", "family_name")]
        there = pl.all_horizontal(pl.col(c).is_not_null() for c in rule)
        joined = pl.concat_str(columns, separator="\x1f").hash(seed=number)
        made.append(pl.when(there).then(joined).alias(f"{KEY_PREFIX}{number:02d}"))
    return made


def _require_unique_ids(profiles: pl.DataFrame) -> None:
    if "record_id" not in profiles.columns:
        raise ValueError(f"profiles have no column record_id; their columns are {profiles.columns}")
    ids = profiles["record_id"]
    if ids.null_count() or ids.n_unique() != len(ids):
        twice = len(ids) - ids.n_unique()
        raise ValueError(f"record_id must name each profile: {ids.null_count()} are NULL and {twice} occur again")


def _with_split_names(given: pl.DataFrame, full_name: pl.Series, compound_surnames: list[str]) -> pl.DataFrame:
    family, first = split_name(full_name, compound_surnames=compound_surnames)
    nameless = pl.col("given_name").is_null() & pl.col("family_name").is_null()
    return given.with_columns(
        family_name=pl.when(nameless).then(family).otherwise(pl.col("family_name")),
        given_name=pl.when(nameless).then(first).otherwise(pl.col("given_name")),
    )


def _folded(column: str, words: list[str]) -> pl.Expr:
    """Full-width folded, lower case, letters and digits only: hands put blanks and hyphens where they like."""
    text = pl.col(column).str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", "")
    return _null_where_said_nothing(text, words).alias(column)


def _null_where_said_nothing(text: pl.Expr, words: list[str]) -> pl.Expr:
    nothing = text.is_in([w.lower() for w in words]) | (text.str.strip_chars("0*-./") == "")
    return pl.when(~nothing).then(text)


def _birth_date(rules: Mapping[str, Any]) -> pl.Expr:
    """Eight digits, year first; NULL for the defaults of forms. Digits that are no day stay: they may be a slip."""
    text = pl.col("birth_date").str.normalize("NFKC").str.strip_chars()
    parts = text.str.extract_groups(r"^(\d{4})\D{1,2}(\d{1,2})\D{1,2}(\d{1,2})(?:\D.*)?$")
    dated = pl.concat_str(
        parts.struct[0], parts.struct[1].str.zfill(2), parts.struct[2].str.zfill(2), ignore_nulls=False
    )
    digits = pl.coalesce(dated, text.str.extract(r"^(\d{8})(?:\D.*)?$"), text.str.replace_all(r"\D+", ""))
    year = digits.str.slice(0, 4).cast(pl.Int32, strict=False)
    real = ~digits.is_in(rules["birth_dates"]) & (digits.str.len_chars() >= 6)
    old = (digits.str.len_chars() == 8) & (year < rules["earliest_birth_year"])
    return pl.when(real & ~old.fill_null(False)).then(digits).alias("birth_date")


def _phones(values: pl.Series, words: list[str]) -> pl.Series:
    """As policy privacy makes tokens of them: mobiles in columns, the rest one by one."""
    nobody = {normalise.phone(w) for w in words}
    bare = pl.col("phone").str.replace_all(r"[\s\-.()]+", "")
    made = values.to_frame("phone").select("phone", mobile="+86" + bare.str.extract(_CN_MOBILE))
    rest = made.filter(pl.col("mobile").is_null())["phone"]
    other = _by_value(rest, normalise.phone, pl.String)
    full = made["mobile"].to_frame().with_columns(row=pl.int_range(pl.len()))
    slow = full.filter(pl.col("mobile").is_null()).with_columns(other=other).select("row", "other")
    joined = full.join(slow, on="row", how="left", maintain_order="left").select(pl.coalesce("mobile", "other"))
    return _without(joined.to_series(), nobody)


def _emails(words: list[str]) -> pl.Expr:
    text = pl.col("email").str.normalize("NFKC").str.replace_all(r"\s+", "").str.to_lowercase()
    return _null_where_said_nothing(text, words).alias("email")


def _national_ids(values: pl.Series, words: list[str]) -> pl.Series:
    """Upper case without separators; the old 15-digit form gets its century and check digit."""
    text = values.str.normalize("NFKC").str.replace_all(r"[\s\-./·]+", "").str.to_uppercase()
    old = text.str.contains(r"^\d{15}$").fill_null(False)
    if old.any():
        lengthened = _by_value(text.filter(old), normalise.national_id, pl.String)
        text = (
            text.to_frame("x").with_columns(o=old).with_columns(pl.when("o").then(None).otherwise("x").alias("x"))["x"]
        )
        text = text.scatter(old.arg_true(), lengthened)
    return _without(text, {w.upper() for w in words})


def _without(values: pl.Series, nobody: set[str]) -> pl.Series:
    nothing = values.is_in(sorted(nobody)) | (values.str.strip_chars("0*-./") == "")
    return values.to_frame("x").select(pl.when(~nothing).then("x").alias(values.name)).to_series()


def _by_value(values: pl.Series, rule: Callable[[str], Any], dtype: type[pl.DataType]) -> pl.Series:
    """A rule for one value, called once for each distinct one."""
    if values.null_count() == len(values):
        return pl.Series(values.name, [None] * len(values), dtype=dtype)
    known = values.drop_nulls().unique().to_list()
    return values.replace_strict(known, [rule(v) for v in known], default=None, return_dtype=dtype)
