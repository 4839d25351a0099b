"""Deleted without a word: keys that were sent once and that a reading of everything has not met.

That a key was not met proves little, for pages shift. So the source is asked for each one; only what it calls gone (404
or 410) becomes a deletion. A source may call everything gone on a bad day: it is asked for a record that was just read
first, and one run deletes no more than policy allows. What it has again comes back as a newer revision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import quote

import orjson

from pipelines.connectors import records
from pipelines.connectors.failures import SourceRefused
from pipelines.connectors.http_client import Answer, SourceClient
from pipelines.connectors.records import SourceRecord
from pipelines.connectors.resources import KeyComparison, Resource
from pipelines.io.connector_log import Sent

BACK = "back_after_deletion"
_GONE = frozenset({404, 410})


class Doubtful(NamedTuple):
    """Newest records of keys, as sent: ``unmet`` was alive, ``back`` was deleted and is met; ``control`` was and is.

    ``known``: how many keys there are that are no deletion.
    """

    unmet: list[Sent]
    back: list[Sent]
    control: Sent | None
    known: int


def doubtful(sent: Iterable[Sent], met: set[str]) -> Doubtful:
    """What the reading of everything and what was sent disagree about.

    >>> first, second = Sent("a" * 32, 1, None, 0, 0, b"", False), Sent("a" * 16 + "b" * 16, 2, None, 0, 1, b"", False)
    >>> gone = Sent("c" * 32, 1, None, 0, 2, b"", False, deleted=True)
    >>> [one.offset for one in doubtful([first, second, gone], set()).unmet]
    [1]
    >>> found = doubtful([first, second, gone], {"a" * 16, "c" * 16})
    >>> found.unmet, [one.offset for one in found.back], found.control.offset, found.known
    ([], [2], 1, 1)
    """
    newest: dict[str, Sent] = {}
    for one in sent:
        before = newest.get(key := one.record[:16])
        if before is None or _order(one) >= _order(before):
            newest[key] = one
    alive = [(key in met, one) for key, one in newest.items() if not one.deleted]
    back = [one for key, one in newest.items() if one.deleted and key in met]
    return Doubtful(
        [one for seen, one in alive if not seen], back, next((o for seen, o in alive if seen), None), len(alive)
    )


def _order(sent: Sent) -> tuple[int, int]:
    return sent.at_us or 0, sent.offset


def settled(
    resource: Resource, found: Doubtful, opened: Callable[[Sent], bytes], client: SourceClient, secret: bytes
) -> list[SourceRecord]:
    """Ask for each; what is gone as a deletion, what is there after all as it is, what is back as a newer revision.

    ``opened`` gives the clear bytes of a record that lies in the lake. Raises SourceRefused where so much cannot be
    gone, and what the client raises.
    """
    rule = resource.deletions
    if not isinstance(rule, KeyComparison) or not (found.unmet or found.back):
        return []

    def asked(one: Sent) -> tuple[str | int, Answer] | None:
        key = _key(opened(one), resource.key[0])
        if key is None:
            return None  # a record without a key was rejected; there is nothing that could be deleted
        path = rule.item_path.replace("{key}", quote(str(key), safe=""))
        return key, client.get(path, {}, lambda answer: answer, also=_GONE, shown=rule.item_path)

    if found.unmet and found.control and (told := asked(found.control)) and told[1].status in _GONE:
        raise SourceRefused(
            f"{rule.item_path} answers {told[1].status} for a record that was just read: it proves no deletion"
        )
    made, gone = [], 0
    for one in [*found.unmet, *found.back]:
        if (told := asked(one)) is None:
            continue
        key, answer = told
        if answer.status not in _GONE:
            record = records.read(answer.body, resource, secret)
            made.append(_back(resource, rule, record, one, answer, secret) if one.deleted else record)
        elif not one.deleted and answer.server_at_us is not None:
            made.append(_deletion(resource, rule, key, answer, secret))
            gone += 1
    if gone > max(rule.always, rule.most_share * found.known):
        raise SourceRefused(
            f"{gone:,} of {found.known:,} records are gone at {rule.item_path}, more than a run may delete "
            f"(most_share {rule.most_share:g}, always {rule.always:,}): none was. If it is so, raise most_share once"
        )
    return made


def _deletion(resource: Resource, rule: KeyComparison, key: str | int, answer: Answer, secret: bytes) -> SourceRecord:
    """Gone since we asked: nobody says since when."""
    fields = {resource.key[0]: key, rule.at: answer.server_at_us // 1_000_000} | rule.becomes
    return records.read(orjson.dumps(fields), resource, secret)._replace(deleted=True, findings=())


def _back(
    resource: Resource, rule: KeyComparison, record: SourceRecord, deletion: Sent, answer: Answer, secret: bytes
) -> SourceRecord:
    """What we called deleted and the source has: newer than the deletion, whatever it says of its last change."""
    try:
        fields = dict(orjson.loads(record.value))
    except (ValueError, TypeError):  # no record that could be newer: as it is, for the parser to refuse
        return record
    after_s = max((answer.server_at_us or 0) // 1_000_000, (deletion.at_us or 0) // 1_000_000 + 1)
    made = records.read(orjson.dumps(fields | {rule.at: after_s}), resource, secret)
    return made._replace(findings=(BACK, *made.findings))


def _key(value: bytes, name: str) -> str | int | None:
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    key = fields.get(name) if isinstance(fields, dict) else None
    return key if type(key) in (str, int) else None
