"""A resource and the client of its source put together, and one run of it from its last position to its end."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.connectors import comparison, pages, records
from pipelines.connectors import sync as syncing
from pipelines.connectors.failures import ConnectorFailure
from pipelines.connectors.http_client import Answer, SourceClient
from pipelines.connectors.pages import Page, Step
from pipelines.connectors.reader import Reader
from pipelines.connectors.records import SourceRecord
from pipelines.connectors.resources import Client, KeyComparison, Resource, TokenPages
from pipelines.connectors.sync import Figures, Sync
from pipelines.io.connector_log import NotDelivered, Sent


def reader(
    resource: Resource, limits: Client, client: SourceClient, secret: bytes, known: Callable[[SourceRecord], bool]
) -> Reader:
    """A reader of ``resource`` through ``client``; ``secret`` keys the digests of records."""
    also = frozenset(resource.page.expired) if isinstance(resource.page, TokenPages) else frozenset()

    def ask(step: Step, check: Callable[[Page], None]) -> Page:
        def read(answer: Answer) -> Page:
            page = pages.read(resource, step, answer, client.origin)
            check(page)
            return page

        path, parameters = pages.request(resource, step)
        return client.get(path, parameters, read, also if step.token else frozenset())

    return Reader(resource, limits, ask, lambda value: records.read(value, resource, secret), known)


def run(
    sync: Sync,
    client: SourceClient,
    *,
    since_us: int | None = None,
    full: bool = False,
    opened: Callable[[Sent], bytes] = lambda sent: sent.value,
    siblings: tuple[str, ...] = (),
) -> Figures:
    """Bring over what has changed. A failure of source or broker ends it and is told in the figures, not raised.

    ``full``: everything is read again and compared with everything ever sent; then keys that are gone without a word
    are looked for. ``opened`` gives the clear bytes of a record in the lake, ``siblings`` are resources that tell of
    deletions of the same records.
    """
    figures, retries = Figures(), client.retries
    position = syncing.open_position(sync, everything=full or since_us is not None)
    pages_of = reader(sync.resource, sync.limits, client, sync.secret, lambda record: record.record in position.seen)
    in_doubt = False
    try:
        met = syncing.run(sync, position, pages_of, figures, since_us=since_us, full=full)
        if full and isinstance(sync.resource.deletions, KeyComparison):
            names = (sync.resource.name, *siblings)
            found = comparison.doubtful((sent for name in names for sent in sync.log.sent_ever(name)), met)
            made = comparison.settled(sync.resource, found, opened, client, sync.secret)
            syncing.hand_on(sync, position, made, figures, position.cursor_us)
    except ConnectorFailure as failure:
        figures.failed = str(failure)
    except NotDelivered as failure:
        figures.failed, in_doubt = str(failure), True
    figures.pages, figures.unproven, figures.retries = pages_of.pages, pages_of.unproven, client.retries - retries
    syncing.close(sync, position, figures, in_doubt=in_doubt)
    return figures
