"""Truth for identity matching: FEBRL's files as profiles, and pairwise precision, recall and F of clusters."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

FEBRL_COLUMNS = {
    "rec_id": "record_id",
    "given_name": "given_name",
    "surname": "family_name",
    "date_of_birth": "birth_date",
    "street_number": "street_number",
    "address_1": "address_line_1",
    "address_2": "address_line_2",
    "suburb": "locality",
    "postcode": "postcode",
    "state": "region",
    "soc_sec_id": "national_id",
}


def febrl_folder() -> Path:
    """Where the FEBRL sets lie: KEFULAKE_DATA, else ``../shared/data`` beside the project."""
    data = Path(os.environ.get("KEFULAKE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    return data / "identity_febrl"


def febrl(number: int, *, hide_national_id: bool = False) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Profiles of FEBRL set `number`, and its truth (record_id, person: the number inside rec_id)."""
    table = pl.read_csv(febrl_folder() / f"dataset{number}.csv", infer_schema_length=0)
    table = table.rename({name: name.strip() for name in table.columns}).select(
        pl.col(name).str.strip_chars().replace("", None).alias(ours) for name, ours in FEBRL_COLUMNS.items()
    )
    truth = table.select("record_id", pl.col("record_id").str.extract(r"rec-(\d+)-").cast(pl.Int64).alias("person"))
    if hide_national_id:
        table = table.with_columns(pl.lit(None, pl.String).alias("national_id"))
    return table.with_columns(pl.lit(None, pl.String).alias(name) for name in ("phone", "email")), truth


def clusters(pairs: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """(record_id, person, cluster): the transitive closure of the pairs over all records of the truth.

    >>> people = pl.DataFrame({"record_id": ["a", "b", "c", "d"], "person": [1, 1, 1, 2]})
    >>> found = pl.DataFrame({"record_id_left": ["a", "b"], "record_id_right": ["b", "c"]})
    >>> clusters(found, people)["cluster"].n_unique()
    2
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    numbered = truth.with_row_index("row")
    rows = numbered.select("record_id", "row")
    ends = [
        pairs.select(pl.col(side).alias("record_id")).join(rows, on="record_id", how="left", maintain_order="left")[
            "row"
        ]
        for side in ("record_id_left", "record_id_right")
    ]
    graph = coo_matrix(([1] * len(pairs), (ends[0].to_numpy(), ends[1].to_numpy())), shape=(len(truth), len(truth)))
    return truth.with_columns(pl.Series("cluster", connected_components(graph, directed=False)[1]))


def pairwise(pairs: pl.DataFrame, truth: pl.DataFrame) -> dict[str, float]:
    """Precision, recall and F over all pairs of records that stand in one cluster, against the persons of the truth.

    >>> people = pl.DataFrame({"record_id": ["a", "b", "c", "d"], "person": [1, 1, 1, 2]})
    >>> found = pl.DataFrame({"record_id_left": ["a", "c"], "record_id_right": ["b", "d"]})
    >>> told = pairwise(found, people)  # a-b right, c-d wrong, a-c and b-c missed
    >>> told["precision"], told["recall"], told["f"], told["missed_pairs"]
    (0.5, 0.33333, 0.4, 2)
    """

    def pairs_within(*columns: str) -> int:
        sizes = grouped.group_by(*columns).len()["len"].cast(pl.Int64)
        return int((sizes * (sizes - 1) // 2).sum())

    grouped = clusters(pairs, truth)
    true, found, right = pairs_within("person"), pairs_within("cluster"), pairs_within("person", "cluster")
    return {
        "precision": round(right / found, 5) if found else 1.0,
        "recall": round(right / true, 5) if true else 1.0,
        "f": round(2 * right / (true + found), 5) if true + found else 1.0,
        "true_pairs": true,
        "found_pairs": found,
        "false_pairs": found - right,
        "missed_pairs": true - right,
    }
