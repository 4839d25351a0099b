"""What ``schemas/policies/connectors.yaml`` declares, typed and checked: resources, sources, the client's limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipelines import contracts
from pipelines.contracts import ContractError

_FILE = "policies/connectors.yaml"
TYPES = frozenset({"text", "ident", "whole", "number", "yes_no", "time", "object", "list", "any"})
#: What a written instant can tell apart, in microseconds.
RESOLUTION_US = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "iso": 1_000, "local": 1_000_000}


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Client(_Declared):
    """Limits of the HTTP client and of the reader; meanings stand beside the figures in the policy."""

    connect_timeout_s: float
    read_timeout_s: float
    answer_timeout_s: float
    attempts: int
    backoff_first_s: float
    backoff_most_s: float
    retry_after_most_s: float
    max_answer_bytes: int
    suspect_attempts: int
    tie_rounds: int
    walk_restarts: int
    save_every_s: float
    max_seen: int


class ClientCredentials(_Declared, tag_field="form", tag="client_credentials"):
    """OAuth 2: a token for client ID and secret, asked for anew when it has expired or is refused."""

    token_path: str
    scope: str | None = None


class Bearer(_Declared, tag_field="form", tag="bearer"):
    """A token that somebody made by hand."""


class ApiKey(_Declared, tag_field="form", tag="api_key"):
    """A key in a header of its own."""

    header: str


class Basic(_Declared, tag_field="form", tag="basic"):
    """Name and password with every request."""


Auth = ClientCredentials | Bearer | ApiKey | Basic


class Source(_Declared):
    """A system: whose account its records are, how often it may be asked, how it knows us."""

    account: str
    requests_per_s: float
    auth: Auth


class Cursor(_Declared):
    """The field that says when a record last changed, by the server's clock, and how the API filters by it."""

    field: str
    parameter: str
    form: str
    overlap_s: int
    ahead_s: int


class NumberPages(_Declared, tag_field="form", tag="number"):
    """?page=3: ``total`` and ``echo`` are where the answer says how many there are and which page it is."""

    parameter: str
    size_parameter: str
    size: int
    total: str
    echo: str | None = None
    first: int = 1


class OffsetPages(_Declared, tag_field="form", tag="offset"):
    """?offset=400: ``total`` is where the answer says how many there are."""

    parameter: str
    size_parameter: str
    size: int
    total: str


class TokenPages(_Declared, tag_field="form", tag="token"):
    """?cursor=opaque: the answer says what to send next; ``expired`` is how a token that is too old is refused."""

    parameter: str
    size_parameter: str
    size: int
    next: str
    has_more: str | None = None
    count: str | None = None
    expired: tuple[int, ...] = (410,)


class LinkPages(_Declared, tag_field="form", tag="link"):
    """Link: <…>; rel="next" (RFC 8288); ``total_header`` counts what matches."""

    size_parameter: str
    size: int
    total_header: str | None = None


Pages = NumberPages | OffsetPages | TokenPages | LinkPages


class Tombstones(_Declared, tag_field="form", tag="tombstone"):
    """A deleted record stays in the feed with ``field`` set; it becomes a revision with these fields."""

    field: str
    becomes: dict[str, Any]


class DeletedList(_Declared, tag_field="form", tag="list"):
    """All records of the resource are deletions of another one's."""

    becomes: dict[str, Any]


class KeyComparison(_Declared, tag_field="form", tag="key_comparison"):
    """Deleted without a word: found by reading all, confirmed one by one at ``item_path`` (404 or 410).

    One run deletes at most ``most_share`` of the records known, or ``always`` where that is more.
    """

    item_path: str
    becomes: dict[str, Any]
    at: str
    most_share: float = 0.05
    always: int = 20


class Undeleted(_Declared, tag_field="form", tag="none"):
    """Nothing is ever deleted there."""


Deletions = Tombstones | DeletedList | KeyComparison | Undeleted


class Resource(_Declared):
    """One kind of record of one system. Records with the same ``together`` keep their order (none: each key's own)."""

    source: str
    channel: str
    path: str
    records: str
    key: tuple[str, ...]
    cursor: Cursor
    page: Pages
    required: dict[str, str]
    optional: dict[str, str]
    deletions: Deletions = Undeleted()
    together: tuple[str, ...] = ()
    parameters: dict[str, str] = {}
    name: str = ""

    @property
    def topic(self) -> str:
        """The raw topic its records go to."""
        return f"raw.{self.channel}"


class Connectors(_Declared):
    """The whole policy."""

    version: str
    client: Client
    sources: dict[str, Source]
    resources: dict[str, Resource]


def declared() -> Connectors:
    """The connectors of the contracts in force. Raises ContractError as `read`."""
    return read(contracts.policy("connectors"))


def read(policy: Mapping[str, Any]) -> Connectors:
    """The policy, typed and checked.

    Raises:
        ContractError: an unknown or missing key, a wrong type, a resource that contradicts itself; it says which.

    >>> sorted(read(contracts.policy("connectors")).resources)
    ['app_events', 'crm_customers', 'crm_deleted', 'orders', 'ticket_events']
    """
    try:
        found = msgspec.convert(policy, Connectors)
    except msgspec.ValidationError as error:
        raise ContractError(f"{_FILE}: {error}") from None
    named = {name: msgspec.structs.replace(resource, name=name) for name, resource in found.resources.items()}
    for resource in named.values():
        for fault in _faults(resource, found.sources):
            raise ContractError(f"{_FILE}: {resource.name}: {fault}")
    for name, value in msgspec.structs.asdict(found.client).items():
        if value <= 0:
            raise ContractError(f"{_FILE}: client: {name} must be above 0")
    for name, source in found.sources.items():
        if source.requests_per_s <= 0:
            raise ContractError(f"{_FILE}: {name}: requests_per_s must be above 0")
    return msgspec.structs.replace(found, resources=named)


def _faults(resource: Resource, sources: Mapping[str, Source]) -> list[str]:
    """What a resource says that cannot be, in plain words."""
    fields, cursor, deletions = resource.required | resource.optional, resource.cursor, resource.deletions
    unknown = ", ".join(sorted(set(fields.values()) - TYPES))
    tombstone = deletions.field if isinstance(deletions, Tombstones) else None
    item_path = deletions.item_path if isinstance(deletions, KeyComparison) else "{key}"
    said = [
        (resource.source not in sources, f"source {resource.source!r} is not declared"),
        (resource.topic not in contracts.topics(), f"there is no channel {resource.channel!r}"),
        (not resource.path.startswith("/"), "path must begin with /"),
        (not resource.key or bool(set(resource.key) - set(resource.required)), "key must name required fields"),
        (cursor.field not in resource.required, "the cursor's field must be a required field"),
        (cursor.form not in RESOLUTION_US, f"cursor.form must be one of {', '.join(sorted(RESOLUTION_US))}"),
        (cursor.overlap_s < 1 or cursor.ahead_s < 0, "cursor.overlap_s must be 1 or more, ahead_s 0 or more"),
        (resource.page.size < 2, "page.size must be 2 or more: one record shows where the page before ended"),
        (bool(set(resource.required) & set(resource.optional)), "a field is either required or optional"),
        (bool(unknown), f"unknown type(s) {unknown}; there are {', '.join(sorted(TYPES))}"),
        (tombstone is not None and tombstone not in fields, "the tombstone's field must be declared"),
        ("{key}" not in item_path, "item_path must hold {key}"),
        (item_path != "{key}" and len(resource.key) > 1, "keys of several fields cannot be compared"),
    ]
    return [words for holds, words in said if holds]
