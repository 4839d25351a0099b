"""Whose an identifier is once the customers stand: by attested claims first, and what follows from typed ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipelines.identity.tenures import Claim, Held, Owned, given_up_us

NOBODY = [Owned(None, None, None)]


def owners_of(tenures: Iterable[Sequence[Claim]], find: Callable[[int], int]) -> list[Held]:
    """Who held an identifier in each tenure; None where its holders did not become one customer.

    >>> owners_of([[Claim(1, 0, 9), Claim(2, 3, 9)], [Claim(3, 50, None)]], find={1: 1, 2: 2, 3: 3}.get)
    [Held(start_us=0, owner=None, given_up_us=None), Held(start_us=50, owner=3, given_up_us=None)]
    """
    found = []
    for tenure in tenures:
        holders = {find(claim.record) for claim in tenure}
        owner = holders.pop() if len(holders) == 1 else None
        found.append(Held(min(claim.start_us for claim in tenure), owner, given_up_us(tenure)))
    return found


class Typed:
    """Records that nobody vouches for (`tokens`: what each carries) beside what is `owned` by attested claims.

    `owned` and `rules` (token → stretches, token → why) are completed in place.
    """

    def __init__(self, tokens: Mapping[int, Sequence[str]], owned: dict[str, list[Owned]], rules: dict[str, str]):
        self._tokens, self._owned, self._rules = tokens, owned, rules

    def take_from_owner_what_many_share(self, *, others: int) -> None:
        """A token that stands beside the identifiers of `others` customers who are not its owner identifies nobody.

        So a clerk's own phone, typed into the forms of many, brings them neither to the clerk nor together.
        """
        beside: dict[str, set[int]] = defaultdict(set)
        for carried in self._tokens.values():
            owners = {token: self._owner(token) for token in carried}
            for token, owner in owners.items():
                beside[token] |= set(owners.values()) - {owner, None}
        for token, strangers in beside.items():
            if token in self._owned and len(strangers) >= others:
                self._owned[token], self._rules[token] = NOBODY, "shared_by_others"

    def followed(self) -> dict[int, int]:
        """Record → the customer that all its owned tokens agree on."""
        found = {}
        for record, carried in self._tokens.items():
            owners = {self._owner(token) for token in carried} - {None}
            if len(owners) == 1:
                found[record] = owners.pop()
        return found

    def give_away(
        self,
        claims: Mapping[str, Sequence[tuple[Claim, bool]]],
        holder_of: Callable[[int], int | None],
        policy: Mapping[str, Any],
    ) -> None:
        """Unowned tokens go to the one customer whose records carry them, from `min_sightings` sightings on."""
        for token, of_token in claims.items():
            if token in self._owned:
                continue
            seen: dict[int, int] = defaultdict(int)
            for claim, _ in of_token:
                if (holder := holder_of(claim.record)) is not None:
                    seen[holder] += claim.sightings
            if len(seen) == 1 and sum(seen.values()) >= policy["min_sightings"]:
                self._owned[token], self._rules[token] = [Owned(next(iter(seen)), None, None)], "typed"
            elif len(seen) > 1:
                self._owned[token], self._rules[token] = NOBODY, "shared"

    def _owner(self, token: str) -> int | None:
        stretches = self._owned.get(token)
        return stretches[-1].owner if stretches else None
