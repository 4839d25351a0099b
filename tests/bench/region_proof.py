"""Looks through all bytes of two roots: whose marks are where, in the clear, encoded, and in what is encrypted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deltalake import DeltaTable

from pipelines.privacy.bronze_cipher import open_bronze
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import coordinates, open_payload
from tests.bench.erasure_search import by_store, patterns, search
from tests.bench.lake_facts import balance
from tests.bench.region_traffic import Sent, prefix

RULE = "region.wrong"


def examine(homes: Mapping[str, Path], sent: Sequence[Sent], beside: int = 0) -> dict:
    """What was found of each root in each, and what is ``wrong`` with it: a sentence each, empty when all is well.

    ``beside``: messages without a mark that went into each root.
    """
    found = {root: {owner: search(home, patterns([prefix(owner)])) for owner in homes} for root, home in homes.items()}
    opened = {root: bytes_kept(home) for root, home in homes.items()}
    hits = {root: {o: sum(c.total() for c in places.values()) for o, places in found[root].items()} for root in homes}
    wrong = []
    for root in homes:
        for other in homes:
            if other != root:
                wrong += [f"{root}: {place} holds {dict(c)} of {other}" for place, c in found[root][other].items()]
                strays = [place for place, value in opened[root].items() if prefix(other).encode() in value]
                wrong += [f"{root}: encrypted bytes of {other} in {place}" for place in strays]
    for root, home in homes.items():
        wrong += [
            f"{root}: {problem}"
            for problem in _at_home(home, opened[root], [s for s in sent if s.root == root], beside)
        ]
    wrong += _joined(homes)
    return {
        "sent": {root: sum(s.root == root for s in sent) for root in homes},
        "wrong_region": {root: sum(s.root == root and not s.at_home for s in sent) for root in homes},
        "hits": hits,
        "stores": {root: {o: sorted(by_store(places)) for o, places in found[root].items()} for root in homes},
        "opened": {root: len(kept) for root, kept in opened.items()},
        "wrong": wrong,
    }


def bytes_kept(home: Path) -> dict[str, bytes]:
    """The bytes that a root keeps encrypted, by table and raw coordinate, opened with that root's key."""
    key, found = MasterKey.load(home / "keys" / "master.key", environ={}), {}
    for row in rows(home, "bronze.raw_events"):
        where = coordinates(row["raw_topic"], row["raw_partition"], row["raw_offset"])
        found[f"bronze {where}"] = open_bronze(row["payload_ciphertext"], key, row["raw_partition"], row["raw_offset"])
    for table in ("quarantine.rejects", "review.queue"):
        for row in rows(home, table):
            where = coordinates(row["raw_topic"], row["raw_partition"], row["raw_offset"])
            found[f"{table} {where} {row['rule']}"] = open_payload(row["payload_encrypted"], key, where)
    return found


def rows(home: Path, table: str) -> list[dict]:
    """All rows of a table of the lake; none where it was never written."""
    schema, name = table.split(".")
    folder = home / "lake" / schema / name
    return DeltaTable(str(folder)).to_pyarrow_table().to_pylist() if (folder / "_delta_log").exists() else []


def _at_home(home: Path, opened: Mapping[str, bytes], sent: Sequence[Sent], beside: int) -> list[str]:
    """The positive control, and the verdicts: each mark where it belongs, of a wrong region in quarantine only."""
    problems = []
    kept = [row["text"] or "" for row in rows(home, "silver.interactions")]
    refused = [value.decode(errors="replace") for place, value in opened.items() if place.endswith(RULE)]
    bronze = [value.decode(errors="replace") for place, value in opened.items() if place.startswith("bronze ")]
    for one in sent:
        places = [sum(one.mark in text for text in texts) for texts in (bronze, kept, refused)]
        if places != [1, 1, 0] if one.at_home else places != [1, 0, 1]:
            problems.append(f"{one.mark} of {one.owner} stands in bronze, silver, rejects {places} times")
    wrong = sum(not one.at_home for one in sent)
    if len(refused) != wrong:
        problems.append(f"{len(refused)} rejects {RULE}, {wrong} were sent")
    if not (balanced := balance(home / "lake")).closes(len(sent) + beside):
        problems.append(f"the balance does not close: {balanced}")
    root = sent[0].root
    clear = search(home, patterns([prefix(root, at_home=False)]))
    strays = [place for place in clear if not place.startswith("kafka/raw.")]
    return problems + [f"a message of another region stands in the clear in {place}" for place in strays]


def _joined(homes: Mapping[str, Path]) -> list[str]:
    """Tokens that two roots have in common: by them one person's records could be joined."""
    tokens = {root: {row["token"] for row in rows(home, "identity.vault")} for root, home in homes.items()}
    problems = [
        f"{root} has no token: the search for common ones proves nothing" for root, t in tokens.items() if not t
    ]
    common = set.intersection(*tokens.values())
    return problems + [f"{len(common)} tokens stand in more than one root"] * bool(common)
