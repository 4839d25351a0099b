"""How far two values agree: the levels of each comparison of policy matching, as SQL for Splink on DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Levels = list[tuple[str, str]]
"""(name, SQL over ``<column>_l`` and ``<column>_r``), the best first."""


def levels(column: str, policy: Mapping[str, Any]) -> Levels:
    """(name, SQL over ``<column>_l`` and ``<column>_r``) of a comparison, the best first; what is left is 'different'.

    >>> from pipelines import contracts
    >>> [name for name, _ in levels("given_name", contracts.policy("matching"))]
    ['missing', 'exact', 'swapped', 'typo', 'close', 'alike', 'different']
    """
    spec, bounds = policy["comparisons"][column], policy["levels"]
    made = _LEVELS[spec["kind"]](column, spec, bounds)
    return [*made, ("different", "ELSE")]


def _alike(column: str, spec: Mapping[str, Any], bounds: Mapping[str, float]) -> Levels:
    """Two columns that changed places are one slip: the first of them says so, the second then says nothing."""
    found = _exact(column, spec, bounds)
    if "swapped_with" in spec:
        found.append(("swapped", _swapped(column, spec["swapped_with"], bounds, whole=spec["whole"])))
    if "follows" in spec:
        swap = _swapped(spec["follows"], column, bounds, whole=spec["whole"])
        found[0] = (found[0][0], f"{found[0][1]} OR ({column}_l <> {column}_r AND {swap})")
    close, alike = (_similar(f"{column}_l", f"{column}_r", bounds[name]) for name in ("close", "alike"))
    slip = f"{close} AND levenshtein({column}_l, {column}_r) <= {int(bounds['typo_edits'])}"
    return [*found, ("typo", slip), ("close", close), ("alike", alike)]


def _swapped(first: str, second: str, bounds: Mapping[str, float], *, whole: bool) -> str:
    """`whole`: both went over, one of them letter by letter; else one that went over is enough."""
    there, back = f"{first}_l = {second}_r", f"{first}_r = {second}_l"
    if not whole:
        return f"({there} OR {back})"
    nearly_there, nearly_back = (
        _similar(f"{first}_{a}", f"{second}_{b}", bounds["alike"]) for a, b in (("l", "r"), ("r", "l"))
    )
    return f"(({there} AND ({back} OR {nearly_back})) OR ({back} AND {nearly_there}))"


def _digits(column: str, spec: Mapping[str, Any], bounds: Mapping[str, float]) -> Levels:
    edits = f"levenshtein({column}_l, {column}_r) <= "
    return _exact(column, spec, bounds) + [(n, f"{edits}{int(bounds[n + '_edits'])}") for n in ("typo", "near")]


def _identifier(column: str, spec: Mapping[str, Any], bounds: Mapping[str, float]) -> Levels:
    """Two IDs whose check digits are right and that differ are two people's, however near."""
    exact, slips = _exact(column, spec, bounds), _digits(column, spec, bounds)[2:]
    return [*exact, ("conflict", f"{column}_valid_l AND {column}_valid_r"), *slips]


def _exact(column: str, spec: Mapping[str, Any], bounds: Mapping[str, float]) -> Levels:
    return [("missing", f"{column}_l IS NULL OR {column}_r IS NULL"), ("exact", f"{column}_l = {column}_r")]


def _area(column: str, spec: Mapping[str, Any], bounds: Mapping[str, float]) -> Levels:
    place, code = "locality_l = locality_r", "postcode_l = postcode_r"
    near_code = f"levenshtein(postcode_l, postcode_r) <= {int(bounds['near_edits'])}"
    near_place = _similar("locality_l", "locality_r", bounds["close"])
    unknown = "(locality_l IS NULL OR locality_r IS NULL) AND (postcode_l IS NULL OR postcode_r IS NULL)"
    return [
        ("missing", unknown),
        ("exact", f"{place} AND {code}"),
        ("close", f"({place} AND {near_code}) OR ({code} AND {near_place})"),
        ("half", f"{place} OR {code}"),
        ("alike", f"{near_place} AND {near_code}"),
    ]


def _similar(left: str, right: str, least: float) -> str:
    """DuckDB compares bytes: among Chinese names it sees likeness where there is none, so ASCII only."""
    ascii_only = f"strlen({left}) = length({left}) AND strlen({right}) = length({right})"
    return f"(jaro_winkler_similarity({left}, {right}) >= {float(least)} AND {ascii_only})"


_LEVELS: dict[str, Callable[[str, Mapping[str, Any], Mapping[str, float]], Levels]] = {
    "alike": _alike, "digits": _digits, "identifier": _identifier, "exact": _exact, "area": _area,
}  # fmt: skip
