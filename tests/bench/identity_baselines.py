"""What simple ways of telling customers apart reach on a world, and what the best conceivable one would.

They frame the bar: the naive way must fail clearly, or the world is too easy; the ceiling says what no rule over these
identifiers can pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from itertools import pairwise

import polars as pl

from pipelines import contracts
from pipelines.identity.crm_import import changes, crm_links, customer_id
from pipelines.identity.index import IdentityIndex
from pipelines.identity.map_records import feed
from pipelines.identity.provisional import join_customers
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.simulation.identity_world import World
from tests.bench.identity_evidence import IDENTIFIERS, crm_records, tokens_of

#: An identifier is one person's if this share of its sightings is; the rest are slips of other hands.
_MAIN_SHARE = 0.9


class Groups:
    """Union-find over anything hashable.

    >>> groups = Groups()
    >>> groups.join([1, 2]), groups.join([2, 3]), groups.of(1) == groups.of(3), groups.of(4) == groups.of(1)
    (None, None, True, False)
    """

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}

    def of(self, one: Hashable) -> Hashable:
        """The member that stands for the group of `one`."""
        above = self._above
        root = one
        while (higher := above.setdefault(root, root)) != root:
            root = higher
        while above[one] != root:
            above[one], one = root, above[one]
        return root

    def join(self, members: Iterable[Hashable]) -> None:
        """All of these are one group from now on."""
        roots = [self.of(member) for member in members]
        for root in roots[1:]:
            self._above[self.of(root)] = self.of(roots[0])


def any_shared_identifier(world: World, contacts: pl.DataFrame, evidence: pl.DataFrame, key: MasterKey) -> pl.DataFrame:
    """Whoever shares an identifier is one: connected components over records and tokens. item, customer_id."""
    groups = Groups()
    for record, token in evidence.select("record_key", "token").iter_rows():
        groups.join([record, token])
    of_contacts = contacts.drop_nulls("record_key").select(item="contact_id", record_key="record_key")
    items = pl.concat([of_contacts, crm_records(world, key)])
    names = {record: str(groups.of(record)) for record in items["record_key"].unique().to_list()}
    return items.select("item", customer_id=pl.col("record_key").replace_strict(names, return_dtype=pl.String))


def crm_exact(world: World, contacts: pl.DataFrame, tokeniser: Tokeniser, key: MasterKey) -> pl.DataFrame:
    """The product's first import: the CRM's file of the last day, its links, and the order of policy identity."""
    policy, index = contracts.policy("identity"), IdentityIndex()
    last = world.crm.sort("customer_no", "revision").unique("customer_no", keep="last", maintain_order=True)
    rows = [
        {name: row[name] or "" for name in ("customer_no", "phone", "unionid", "member_number")}
        | {"phone_verified": "1" if row["phone_verified"] else "0"}
        for row in last.iter_rows(named=True)
    ]
    links = crm_links(rows, tokeniser, key)
    feed(index, changes(links, {}, rule_version=policy["version"], valid_from_us=0))
    tokens = {kind: contacts[column] for kind, column in IDENTIFIERS.values() if column in contacts.columns}
    joined = join_customers(tokens, index, precedence=policy["precedence"], provisional=policy["provisional"])
    ids = [customer_id(row["customer_no"], key) for row in rows]
    of_records = pl.DataFrame({"item": last["customer_no"], "customer_id": ids})
    return pl.concat([pl.DataFrame({"item": contacts["contact_id"], "customer_id": joined["customer_id"]}), of_records])


def ceiling(world: World, contacts: pl.DataFrame, evidence: pl.DataFrame, key: MasterKey) -> pl.DataFrame:
    """What perfect guards would reach: the truth says whose each identifier is, and when; nothing is guessed.

    An identifier is the person's who has 90 % of its sightings; else, if its persons follow one another in time, each
    one's in turn; else nobody's. A person's identifiers are one ID only where records of his own carry them together:
    what no evidence joins stays apart, as it must for any rule. Items as in `any_shared_identifier`.
    """
    policy = contracts.policy("identity")
    person_of = dict(world.truth.select("item", "person").iter_rows())
    record_of = {record: item for item, record in crm_records(world, key).iter_rows()}
    crm = evidence.filter(pl.col("source") == "crm").select(
        item=pl.col("record_key").replace_strict(record_of, return_dtype=pl.String),
        occurred_at="first_seen_at",
        token="token",
        rank=pl.col("token_type").replace_strict(
            {kind: rank for rank, kind in enumerate([*policy["precedence"], "national_id"])}, return_dtype=pl.Int32
        ),
    )
    sightings = pl.concat([tokens_of(contacts, policy["precedence"]), crm]).with_columns(
        person=pl.col("item").replace_strict(person_of, return_dtype=pl.Int64)
    )
    owners = _true_owners(sightings)
    owned = sightings.join(owners, on="token").filter(
        (pl.col("from_at") <= pl.col("occurred_at")) & (pl.col("occurred_at") <= pl.col("to_at"))
    )
    groups = Groups()
    own = owned.filter(pl.col("owner") == pl.col("person")).group_by("item", "owner").agg("token")
    for _, owner, tokens in own.iter_rows():
        groups.join([(owner, token) for token in tokens])
    best = owned.sort("rank").unique("item", keep="first", maintain_order=True)
    ids = ["/".join(map(str, groups.of(pair))) for pair in best.select("owner", "token").iter_rows()]
    return best.select("item", customer_id=pl.Series(ids, dtype=pl.String))


def _true_owners(sightings: pl.DataFrame) -> pl.DataFrame:
    """token, owner (a person), from_at, to_at (both included)."""
    spans = sightings.group_by("token", "person").agg(
        pl.len().alias("n"), pl.col("occurred_at").min().alias("from_at"), pl.col("occurred_at").max().alias("to_at")
    )
    by_token: dict[str, list] = defaultdict(list)
    for token, person, n, from_at, to_at in spans.iter_rows():
        by_token[token].append((from_at, to_at, person, n))
    first, last = sightings["occurred_at"].min(), sightings["occurred_at"].max()
    rows = []
    for token, holders in by_token.items():
        holders.sort()
        main = max(holders, key=lambda holder: holder[3])
        if len(holders) == 1 or main[3] >= _MAIN_SHARE * sum(holder[3] for holder in holders):
            rows.append((token, main[2], first, last))
        elif all(before[1] < after[0] for before, after in pairwise(holders)):
            rows += [(token, person, from_at, to_at) for from_at, to_at, person, _ in holders]
    instant = sightings.schema["occurred_at"]
    schema = {"token": pl.String, "owner": pl.Int64, "from_at": instant, "to_at": instant}
    return pl.DataFrame(rows, schema=schema, orient="row")
