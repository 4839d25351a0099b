"""Why a resource could not be read to its end; each message says what, where, and what to do."""

from __future__ import annotations


class ConnectorFailure(RuntimeError):
    """A resource is given up for this run: what was acknowledged stays, the next run goes on from there."""


class AccessRefused(ConnectorFailure):
    """The source does not accept our credentials: nothing a repetition would change."""


class SourceRefused(ConnectorFailure):
    """The source answers a request of ours with an error that repeating does not cure (403, 404, a redirect)."""


class GivenUp(ConnectorFailure):
    """The source did not give a whole answer within the attempts the policy allows."""


class WalkExpired(ConnectorFailure):
    """The continuation of a walk over pages is not known to the source any more."""


class Passing(Exception):
    """An answer that may be better next time: 429, 5xx, a connection that broke, a page that is not whole.

    ``after_s``: how long the server asks to be left alone, None when it does not say.
    """

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.why, self.after_s = why, after_s
