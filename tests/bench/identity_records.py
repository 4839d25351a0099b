"""Matching as the product runs it, on the CRM of simulated worlds: families, twins, namesakes, who registered twice.

The records go the way of `kefulake identity match`: values in the normal form the vault holds, the address in one line,
the shipped model, the guards of policy matching. Judged against the truth of the world, pair by pair.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from pipelines import contracts
from pipelines.identity import match_profiles, match_records, matching
from pipelines.identity.match_decisions import Decisions, decide
from pipelines.privacy.normalise import NORMALISERS
from pipelines.simulation.identity_world import World, build

SEEDS = (11, 12, 13)  # those that identity_resolution reports on
_KINDS = {"name": "person_name", "birth_date": "birth_date", "address": "address", "phone": "phone", "email": "email",
          "national_id": "national_id"}  # fmt: skip


def of_worlds(persons: int, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """Over all seeds together: precision and recall of what is merged without a person, and how many pairs wait."""
    each = [of_world(seed, persons) for seed in seeds]
    merged, right, there = (sum(one[name] for one in each) for name in ("merged", "merged_right", "true_pairs"))
    return {
        "records_automatic_precision": round(right / merged, 5),
        "records_automatic_recall": round(right / there, 5),
        "records_review_pairs": sum(one["review"] for one in each),
        "records_detail": each,
    }


def of_world(seed: int, persons: int) -> dict[str, Any]:
    """One world: pairs of records merged without a person, how many of them rightly, and pairs left to a person.

    The centre's ten test records are one person in truth and carry ten names: nobody expects them to be found.
    """
    world = build(seed, persons)
    found, truth = decided(world), world.truth.filter(pl.col("kind") == "record")
    of = dict(truth.select("item", "person").iter_rows())
    right = sum(of[a] == of[b] for a, b in found.merge.select("record_id_left", "record_id_right").iter_rows())
    sizes = truth.filter(pl.col("trap") != "test_account")["person"].value_counts()["count"]
    return {
        "seed": seed,
        "merged": len(found.merge),
        "merged_right": right,
        "review": len(found.review),
        "true_pairs": int((sizes.cast(pl.Int64) * (sizes.cast(pl.Int64) - 1) // 2).sum()),
    }


def decided(world: World) -> Decisions:
    """What would be merged and proposed, of the CRM's records as they are at the end."""
    policy, identity = contracts.policy("matching"), contracts.policy("identity")
    newest = world.crm.sort("customer_no", "revision").unique("customer_no", keep="last", maintain_order=True)
    normal = {
        f"{column}_token": [None if value is None else NORMALISERS[kind](value) for value in newest[column].to_list()]
        for column, kind in _KINDS.items()
    }
    records = pl.DataFrame({"record_key": newest["customer_no"]} | normal)
    values = {value: value for column in normal.values() for value in column if value is not None}
    features = match_profiles.features(match_records.profiles(records, values), policy, identity["placeholders"])
    return decide(matching.match_all(features, contracts.policy("matching_model"), policy), policy)
