"""What cleaning needs to know besides the message: thresholds, keys, the identity map, the baselines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines import contracts
from pipelines.cleaning.outliers import Baselines
from pipelines.collectors import regions
from pipelines.collectors.regions import Regions
from pipelines.identity.index import IdentityIndex
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import PayloadSealer
from pipelines.privacy.tokens import Tokeniser
from pipelines.privacy.vault import VaultWriter


@dataclass
class CleaningContext:
    """One worker's context. ``reset`` makes it forget what a failed transaction may have lost."""

    policies: dict[str, dict[str, Any]]
    tokeniser: Tokeniser
    vault: VaultWriter
    sealer: PayloadSealer
    #: Codes the CRM's customer numbers, as `pipelines.identity.crm_import.customer_id` does.
    record_key: bytes
    identity: IdentityIndex = field(default_factory=IdentityIndex)
    baselines: Baselines = field(default_factory=lambda: Baselines.from_policy(contracts.policy("outliers")))
    key: MasterKey | None = None
    #: Which region's root this is: a message of another region's account is a reject (`pipelines.cleaning.region`).
    regions: Regions = field(default_factory=regions.declared)
    region: str = field(default_factory=lambda: regions.declared().home)

    @classmethod
    def create(cls, key: MasterKey, region: str | None = None) -> CleaningContext:
        """A context with the policies of ``schemas/policies`` and an empty identity map, for the root of ``region``.

        Without a region it is the home region's. Raises ContractError for one that is not declared.
        """
        declared = regions.declared()
        if region is not None and region != declared.home:
            declared.declared(region)
        names = ("cleaning", "outliers", "privacy", "identity")
        policies = {name: contracts.policy(name) for name in names}
        limits = policies["privacy"]["tokens"]
        vault = VaultWriter(key, known_tokens=limits["known_tokens"])
        tokeniser = Tokeniser(
            key,
            placeholders=policies["identity"]["placeholders"],
            cache_values=limits["cache_values"],
            on_new=vault.add,
        )
        coded = key.derive("customer_id", key.token_version)
        here = region or declared.home
        return cls(policies, tokeniser, vault, PayloadSealer(key), coded, key=key, regions=declared, region=here)

    def follow_keys(self) -> None:
        """Wrap by a new version of the master key from now on, if the file got one; called with each batch."""
        if self.key is not None:
            self.key.refresh()

    def reset(self) -> None:
        """Forget which tokens were made and emitted: they are made and emitted again."""
        self.tokeniser.reset()
        self.vault.reset()
