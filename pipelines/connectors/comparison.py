"""Deleted without a word: keys that were sent once and that a reading of everything has not met.

That a key was not met proves little, for pages shift. So the source is asked for each one; only what it calls gone (404
or 410) becomes a deletion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import quote

import orjson

from pipelines.connectors import records
from pipelines.connectors.http_client import Answer, SourceClient
from pipelines.connectors.records import SourceRecord
from pipelines.connectors.resources import KeyComparison, Resource
from pipelines.io.connector_log import Sent

_GONE = frozenset({404, 410})


def unmet(sent: Iterable[Sent], met: set[str]) -> list[Sent]:
    """The newest record of each key that was not met and whose newest record is no deletion.

    >>> first, second = Sent("a" * 32, 1, None, 0, 0, b"", False), Sent("a" * 16 + "b" * 16, 2, None, 0, 1, b"", False)
    >>> gone = Sent("c" * 32, 1, None, 0, 2, b"", False, deleted=True)
    >>> [one.offset for one in unmet([first, second, gone], set())], unmet([first, second], {"a" * 16})
    ([1], [])
    """
    newest: dict[str, Sent] = {}
    for one in sent:
        before = newest.get(key := one.record[:16])
        if before is None or _order(one) >= _order(before):
            newest[key] = one
    return [one for key, one in newest.items() if key not in met and not one.deleted]


def _order(sent: Sent) -> tuple[int, int]:
    return sent.at_us or 0, sent.offset


def deletions(
    resource: Resource,
    candidates: Iterable[Sent],
    opened: Callable[[Sent], bytes],
    client: SourceClient,
    secret: bytes,
) -> list[SourceRecord]:
    """Ask for each candidate; what is gone as a deletion, what is there after all as it is.

    ``opened`` gives the clear bytes of a record that lies in the lake. Raises what the client raises.
    """
    rule, found = resource.deletions, []
    if not isinstance(rule, KeyComparison):
        return found
    for one in candidates:
        key = _key(opened(one), resource.key[0])
        if key is None:
            continue  # a record without a key was rejected; there is nothing that could be deleted
        path = rule.item_path.replace("{key}", quote(str(key), safe=""))
        answer = client.get(path, {}, lambda answer: answer, also=_GONE)
        if answer.status not in _GONE:
            found.append(records.read(answer.body, resource, secret))
        elif answer.server_at_us is not None:
            found.append(_deletion(resource, rule, key, answer, secret))
    return found


def _deletion(resource: Resource, rule: KeyComparison, key: str | int, answer: Answer, secret: bytes) -> SourceRecord:
    """Gone since we asked: nobody says since when."""
    fields = {resource.key[0]: key, rule.at: answer.server_at_us // 1_000_000} | rule.becomes
    return records.read(orjson.dumps(fields), resource, secret)._replace(deleted=True, findings=())


def _key(value: bytes, name: str) -> str | int | None:
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    key = fields.get(name) if isinstance(fields, dict) else None
    return key if type(key) in (str, int) else None
