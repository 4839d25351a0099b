"""What a change of the identity map or of the baselines means to a worker."""

from __future__ import annotations

from pipelines.cleaning.outliers import Baseline, Baselines
from pipelines.identity.index import IdentityIndex


def apply_links(index: IdentityIndex, changes: list[tuple[bytes | None, dict | None]]) -> None:
    """Take records of identity.map in order; a record without a value, or without a customer, removes the link.

    >>> index = IdentityIndex()
    >>> apply_links(index, [(b"ph1_" + b"0" * 32, {"customer_id": "c_1"}), (b"ph1_" + b"1" * 32, None)])
    >>> len(index)
    1
    """
    tokens, customers = [], []
    for key, value in changes:
        if key is not None:
            tokens.append(key.decode())
            customers.append(None if value is None else value.get("customer_id"))
    index.apply(tokens, customers)


def apply_baselines(baselines: Baselines, changes: list[tuple[bytes | None, dict | None]]) -> None:
    """Take records of policy.baselines in order; a removed record leaves the last known baseline in force."""
    for _, value in changes:
        if value is not None:
            baselines.update(
                value["channel"],
                value["baseline_kind"],
                Baseline(value["median_ln_s"], value["mad_ln_s"], value["baseline_version"]),
            )
