"""Which rows are a person's: from tokens and customer IDs to raw coordinates, and from these to every store.

Pure: frames in, masks and plans out. A row belongs to a person by an identifier of theirs, by a customer ID of
theirs, by the coordinates of a message of theirs (which is how bronze, rejects, duplicates and replays are found), or
because it was said to them in a session of a private channel. A text of somebody else that mentions their number is
somebody else's row: the number in it is a token whose data key is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from pipelines.privacy.free_text import redact_one
from pipelines.privacy.tokens import Tokeniser, kind_of

IDENTIFIER = "_token"
MESSAGE = ("raw_topic", "raw_partition", "raw_offset")
REFERENCES = (MESSAGE, ("first_topic", "first_partition", "first_offset"),
              ("duplicate_of_topic", "duplicate_of_partition", "duplicate_of_offset"))  # fmt: skip
SESSION = ("channel", "account", "session_id")
_SPOKEN_TO = ("agent", "bot", "system")


@dataclass(frozen=True)
class Person:
    """What a person is known by; `messages`: ``topic/partition/offset``, `sessions`: ``channel/account/session``."""

    tokens: frozenset[str]
    customer_ids: frozenset[str] = frozenset()
    messages: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()

    def selection(self) -> dict[str, list[str]]:
        """As a command carries it."""
        return {name: sorted(getattr(self, name)) for name in ("tokens", "customer_ids", "messages", "sessions")}

    @classmethod
    def of(cls, selection: Mapping[str, Iterable[str]]) -> Person:
        """Back from a command."""
        return cls(**{name: frozenset(values) for name, values in selection.items()})


def person(tokens: Iterable[str], customer_ids: Iterable[str] = (), *, provisional_digits: int = 24) -> Person:
    """A person by tokens and linked customer IDs; the provisional IDs these tokens ever gave are added.

    Raises ValueError for what is no token.

    >>> sorted(person(["ph1_" + "ab" * 16], ["c_1"]).customer_ids)
    ['c_1', 'p_abababababababababababab']
    """
    known = frozenset(tokens)
    for token in known:
        kind_of(token)
    named = {"p_" + token[-32:][:provisional_digits] for token in known}
    return Person(known, frozenset(customer_ids) | named)


def concerned(rows: pl.DataFrame, who: Person) -> pl.Series:
    """True for each row that is the person's; rows may lack any of the columns that tell.

    >>> who = Person(frozenset({"ph1_0"}), frozenset({"c_1"}), frozenset({"raw.sms/0/7"}))
    >>> rows = pl.DataFrame({"customer_id": ["c_1", "p_2", "c_2", None], "phone_token": [None, "ph1_0", "ph1_0", None],
    ...     "raw_topic": ["raw.sms"] * 4, "raw_partition": [0] * 4, "raw_offset": [1, 2, 3, 7]})
    >>> concerned(rows, who).to_list()
    [True, True, False, True]
    """
    by_token = [name for name in rows.columns if name == "token" or name.endswith(IDENTIFIER)]
    hits = [pl.col(name).is_in(list(who.tokens)) & _not_anothers(rows, who) for name in by_token]
    if "row_key" in rows.columns:  # a restated figure names its row as JSON
        hits.append(pl.col("row_key").str.contains_any(list(who.customer_ids)))
    if "customer_id" in rows.columns:
        hits.append(pl.col("customer_id").is_in(list(who.customer_ids)))
    hits += [_joined(names).is_in(list(who.messages)) for names in REFERENCES if set(names) <= set(rows.columns)]
    if {*SESSION, "sender_role"} <= set(rows.columns):
        spoken_to = pl.col("sender_role").is_in(list(_SPOKEN_TO))
        hits.append(_joined(SESSION).is_in(list(who.sessions)) & spoken_to)
    if not hits:
        return pl.Series("concerned", [False] * rows.height)
    return rows.select(pl.any_horizontal([hit.fill_null(False) for hit in hits]).alias("concerned")).to_series()


def _not_anothers(rows: pl.DataFrame, who: Person) -> pl.Expr:
    """A row the stream gave to another linked customer stays theirs: a recycled number, a phone two people share."""
    if "customer_id" not in rows.columns:
        return pl.lit(True)
    customer = pl.col("customer_id")
    return customer.is_null() | customer.str.starts_with("p_") | customer.is_in(list(who.customer_ids))


def columns_that_tell(columns: Iterable[str]) -> list[str]:
    """Those of a table that `concerned` looks at; none: the table holds nobody.

    >>> columns_that_tell(["raw_topic", "raw_partition", "raw_offset", "text", "phone_token"])
    ['raw_topic', 'raw_partition', 'raw_offset', 'phone_token']
    >>> columns_that_tell(["hour_at", "raw_topic", "received"])
    []
    """
    names = list(columns)
    wanted = {name for reference in REFERENCES if set(reference) <= set(names) for name in reference}
    wanted |= {name for name in names if name in ("token", "customer_id", "row_key") or name.endswith(IDENTIFIER)}
    if {*SESSION, "sender_role"} <= set(names) and "customer_id" in names:
        wanted |= {*SESSION, "sender_role"}
    return [name for name in names if name in wanted]


def reach(who: Person, tables: Mapping[str, pl.DataFrame], *, private_sessions: Iterable[str]) -> Person:
    """The person with every message and session that the tables lead to, until nothing new is found.

    A duplicate leads to the message first seen and back, a replay to its first attempt, a session to what was said in
    it.

    >>> rows = {"silver": pl.DataFrame({"customer_id": ["c_1"], "raw_topic": ["raw.sms"], "raw_partition": [0],
    ...                                 "raw_offset": [7]}),
    ...         "duplicates": pl.DataFrame({"raw_topic": ["raw.sms"], "raw_partition": [0], "raw_offset": [9],
    ...             "duplicate_of_topic": ["raw.sms"], "duplicate_of_partition": [0], "duplicate_of_offset": [7]})}
    >>> sorted(reach(Person(frozenset(), frozenset({"c_1"})), rows, private_sessions=[]).messages)
    ['raw.sms/0/7', 'raw.sms/0/9']
    """
    private = list(private_sessions)
    while True:
        messages, sessions = set(who.messages), set(who.sessions)
        for rows in tables.values():
            own = rows.filter(concerned(rows, who))
            for names in REFERENCES:
                if set(names) <= set(own.columns):
                    messages.update(own.select(_joined(names).drop_nulls()).to_series())
            if set(SESSION) <= set(own.columns):
                sessions.update(
                    own.filter(pl.col("channel").is_in(private)).select(_joined(SESSION).drop_nulls()).to_series()
                )
        if len(messages) == len(who.messages) and len(sessions) == len(who.sessions):
            return who
        who = replace(who, messages=frozenset(messages), sessions=frozenset(sessions))


def _joined(names: Iterable[str]) -> pl.Expr:
    """NULL where one of the parts is NULL."""
    return pl.concat_str([pl.col(name).cast(pl.String) for name in names], separator="/")


def speaks_of(payload: bytes, who: Person, values: Iterable[str], tokeniser: Tokeniser) -> bool:
    """True where kept bytes of a reject or review row hold a value or a number of the person.

    Numbers are found as the cleaning job finds them, so ``138 1234 5670`` is the phone of its token; other identifiers
    (an openid, a member number) are looked for as they are.

    >>> from pipelines.privacy.keys import MasterKey
    >>> tokeniser = Tokeniser(MasterKey({1: bytes(32)}))
    >>> who = person([tokeniser.token("13812345670", "phone")])
    >>> speaks_of("电话１３８ 1234 5670".encode(), who, ["+8613812345670"], tokeniser)
    True
    >>> speaks_of("电话139 1234 5670".encode("gbk"), who, ["+8613812345670"], tokeniser)
    False
    """
    for encoding in ("utf-8", "gb18030"):
        text = payload.decode(encoding, "replace")
        if any(value in text for value in values) or any(token in redact_one(text, tokeniser) for token in who.tokens):
            return True
    return False


def spellings(value: str, kind: str) -> list[str]:
    """Forms of a value that sources write; what a search has to look for.

    >>> spellings("+8613812345670", "phone")
    ['+8613812345670', '13812345670']
    """
    return [value, value.removeprefix("+86")] if kind == "phone" and value.startswith("+86") else [value]


@dataclass
class Line:
    """One store of a certificate: rows (or records, files) of the person before and after."""

    store: str
    before: int
    after: int
    note: str = ""
    detail: dict = field(default_factory=dict)


def certificate(erasure_id: str, who: Person, lines: Iterable[Line], **facts: str) -> dict:
    """What an erasure did, without a personal value: counts, and the tokens and messages as one hash each.

    `complete` is true when no store holds a row of the person any more.
    """
    stores = [vars(line) for line in lines]
    hashes = {
        f"{name}_sha256": hashlib.sha256("\n".join(values).encode()).hexdigest()
        for name, values in who.selection().items()
    }
    counts = {name: len(values) for name, values in who.selection().items()}
    complete = all(line["after"] == 0 for line in stores)
    return {"erasure_id": erasure_id, **facts, "counts": counts, **hashes, "stores": stores, "complete": complete}


def newest_links(links: pl.DataFrame) -> pl.DataFrame:
    """Of each token the stretches that were recorded last (`silver.identity_links`)."""
    return links.filter(pl.col("recorded_at") == pl.col("recorded_at").max().over("token"))


def tokens_of(links: pl.DataFrame, customer_id: str) -> set[str]:
    """Tokens that are a customer's today, by the newest recording of each.

    >>> links = pl.DataFrame({"token": ["ph1_1", "ph1_1", "ph1_2", "ph1_3", "ph1_3"], "recorded_at": [2, 2, 1, 1, 2],
    ...     "customer_id": ["c_1", "c_2", "c_1", "c_1", None], "valid_to_at": [5, None, None, None, None]})
    >>> tokens_of(links, "c_1")  # the first went to another customer, the third was taken back
    {'ph1_2'}
    """
    today = newest_links(links).filter(pl.col("valid_to_at").is_null())
    return set(today.filter(pl.col("customer_id") == customer_id)["token"])


def former_ids(tables: Iterable[pl.DataFrame], who: Person, alive: Iterable[str]) -> set[str]:
    """Customer IDs that rows with the person's tokens carry and no link names any more: theirs from before a merge.

    >>> rows = pl.DataFrame({"customer_id": ["c_3", "c_2"], "phone_token": ["ph1_1", "ph1_1"]})
    >>> former_ids([rows], Person(frozenset({"ph1_1"}), frozenset({"c_1"})), alive=["c_1", "c_2"])
    {'c_3'}
    """
    found: set[str] = set()
    for rows in tables:
        columns = [name for name in rows.columns if name.endswith(IDENTIFIER)]
        if "customer_id" in rows.columns and columns:
            with_token = pl.any_horizontal([pl.col(name).is_in(list(who.tokens)).fill_null(False) for name in columns])
            found.update(rows.filter(with_token)["customer_id"].drop_nulls())
    return found - set(alive)


def own_tokens(tables: Iterable[pl.DataFrame], who: Person) -> set[str]:
    """Identifiers that stand in rows of the person and in nobody else's: unlinked so far, but theirs.

    >>> rows = pl.DataFrame({"customer_id": ["c_1", "c_1", "c_2"], "openid_token": ["op1_1", "op1_2", "op1_2"]})
    >>> own_tokens([rows], Person(frozenset(), frozenset({"c_1"})))  # op1_2 is a device two customers share
    {'op1_1'}
    """
    theirs, others = set(), set()
    for rows in tables:
        if "customer_id" not in rows.columns:
            continue
        columns = [name for name in rows.columns if name.endswith(IDENTIFIER)]
        known = rows.filter(pl.col("customer_id").is_not_null())
        mine = known["customer_id"].is_in(list(who.customer_ids))
        for name in columns:
            theirs.update(known.filter(mine)[name].drop_nulls())
            others.update(known.filter(~mine)[name].drop_nulls())
    return theirs - others
