"""A batch of raw messages, parsed: columns of interactions on one side, rejects with their reason on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import polars as pl

from pipelines.channels import PARSERS
from pipelines.channels.interaction import Interaction, Reject
from pipelines.cleaning import region
from pipelines.cleaning.rows import rows_where
from pipelines.collectors.regions import DEFAULT_ACCOUNT, Regions

RAW_PREFIX = "raw."
_SEPARATOR = "\x1f"
_EMPTY = Reject("payload.empty", "The message has no bytes.")
_BAD_ATTEMPT = Reject("header.bad_attempt", "The header attempt is not a whole number from 0 to 1000.")

_TYPES = {"source_revision": pl.Int32, "occurred_at_us": pl.Int64, "asked_at_us": pl.Int64, "replied_at_us": pl.Int64}
_TYPES |= dict.fromkeys(("response_time_s", "handle_time_s", "score", "score_scale_max"), pl.Float64)
INTERACTION_TYPES = {name: _TYPES.get(name, pl.String) for name in Interaction._fields}


class RawBatch(NamedTuple):
    """Raw messages as columns of equal length; the bytes as they came and where they stand in Kafka.

    ``received_us`` is the record time in microseconds; ``accounts`` and ``source_refs`` come from headers, None where
    absent; ``attempts`` is 0 unless the message is a replay, and -1 where the header could not be read;
    ``first_refs`` is ``topic|partition|offset`` of a replay's first attempt, None otherwise.
    """

    payloads: Sequence[bytes | None]
    topics: Sequence[str]
    partitions: Sequence[int]
    offsets: Sequence[int]
    received_us: Sequence[int]
    accounts: Sequence[str | None]
    source_refs: Sequence[str | None]
    attempts: Sequence[int]
    first_refs: Sequence[str | None]

    def rows(self, wanted: slice) -> RawBatch:
        """The batch cut to ``wanted`` rows."""
        return RawBatch(*(column[wanted] for column in self))


class ParsedBatch(NamedTuple):
    """``interactions``: one row a readable message, at ``positions`` of the batch; ``rejects``: the others."""

    interactions: pl.DataFrame
    positions: list[int]
    rejects: list[tuple[int, Reject]]


def misplaced(batch: RawBatch, regions: Regions, here: str) -> dict[int, Reject]:
    """Messages whose account belongs to another region than ``here``, by position. They are not even parsed.

    Costs nothing where the home region is the only one.
    """
    if not regions.several:
        return {}
    channels = pl.Series([topic[len(RAW_PREFIX) :] for topic in batch.topics], dtype=pl.String)
    accounts = pl.Series([account or DEFAULT_ACCOUNT for account in batch.accounts], dtype=pl.String)
    theirs = region.region_of_account(channels, accounts, home=regions.home, by_account=regions.by_account)
    return {
        row: Reject(region.RULE, region.reason(channels[row], accounts[row], theirs[row], here))
        for row in rows_where(region.wrong_region(theirs, here=here))
    }


def parse(batch: RawBatch, refused: Mapping[int, Reject] | None = None) -> ParsedBatch:
    """Read each message with the parser of its channel; columns event_id, channel, account and those of Interaction.

    Those at the positions ``refused`` are not read: they are rejects already.

    Raises:
        KeyError: a topic without a channel parser (topics come from the contracts, so this is a deployment error).
    """
    readable: list[Interaction] = []
    positions: list[int] = []
    rejects: list[tuple[int, Reject]] = []
    heads: list[tuple[str, str, str]] = []
    columns = zip(
        batch.payloads, batch.topics, batch.accounts, batch.received_us, batch.source_refs, batch.attempts, strict=True
    )
    for position, (payload, topic, account, received_us, source_ref, attempt) in enumerate(columns):
        channel = topic[len(RAW_PREFIX) :]
        account = account or DEFAULT_ACCOUNT
        if refused and position in refused:
            rejects.append((position, refused[position]))
            continue
        if not payload or attempt < 0:
            rejects.append((position, _BAD_ATTEMPT if payload else _EMPTY))
            continue
        result = PARSERS[channel](payload, account, received_us, source_ref)
        if type(result) is Reject:
            rejects.append((position, result))
            continue
        readable.append(result)
        positions.append(position)
        heads.append((event_id(channel, account, result, attempt, payload), channel, account))
    data = list(zip(*readable, strict=True)) or [()] * len(INTERACTION_TYPES)
    identity = list(zip(*heads, strict=True)) or [()] * 3
    frame = pl.DataFrame(
        [pl.Series(n, v, dtype=pl.String) for n, v in zip(("event_id", "channel", "account"), identity, strict=True)]
        + [pl.Series(n, v, dtype=t) for (n, t), v in zip(INTERACTION_TYPES.items(), data, strict=True)]
    )
    return ParsedBatch(frame, positions, rejects)


def event_id(channel: str, account: str, message: Interaction, attempt: int, payload: bytes) -> str:
    """Identity of an event: 32 hex digits, equal for a platform's retries, different for an edit or a replay.

    Hash of channel, account, the source's message ID and revision, and attempt; where the source gives no ID, of
    sender, source time and bytes instead (design decision 5).

    >>> once = Interaction("m1", 0, occurred_at_us=1)
    >>> event_id("app", "a", once, 0, b"x") == event_id("app", "a", once._replace(occurred_at_us=2), 0, b"y")
    True
    >>> event_id("app", "a", once, 0, b"x") == event_id("app", "a", once._replace(source_revision=1), 0, b"x")
    False
    """
    if message.source_message_id is not None:
        source = f"id{_SEPARATOR}{message.source_message_id}"
    else:
        sender = message.user_handle or message.openid or message.external_userid or message.phone or ""
        digest = blake2b(payload, digest_size=16).hexdigest()
        source = f"bytes{_SEPARATOR}{sender}{_SEPARATOR}{message.occurred_at_us}{_SEPARATOR}{digest}"
    text = _SEPARATOR.join((channel, account, source, str(message.source_revision), str(attempt)))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def raw_refs(batch: RawBatch) -> list[str]:
    """`raw_ref` of each message."""
    return list(map(raw_ref, batch.topics, batch.partitions, batch.offsets))


def raw_ref(topic: str, partition: int, offset: int) -> str:
    """``topic|partition|offset`` of a message: unique, and what a duplicate refers to.

    >>> raw_ref("raw.app", 1, 99)
    'raw.app|1|99'
    """
    return f"{topic}|{partition}|{offset}"
