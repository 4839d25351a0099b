"""What keeps a file of a store out, for now or for good."""

from __future__ import annotations


class FileRefused(ValueError):
    """The file is refused whole and nothing of it is sent. ``code`` names the rule, the message says what to do.

    Codes: ``form.unknown``, ``form.too_large``, ``form.damaged``, ``header.unknown``, ``rows.none``,
    ``store.unknown``, ``store.undeclared``, ``store.foreign_rows``, ``day.unknown``, ``day.contradicts``,
    ``footer.contradicts``, ``correction.shrinks``, ``incomplete.given_up``.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class FileIncomplete(ValueError):
    """The file is not all there yet, or may not be: it is looked at again later. ``code`` names the sign.

    Codes: ``incomplete.growing``, ``incomplete.marked``, ``incomplete.empty``, ``incomplete.last_line``,
    ``incomplete.open_quote``, ``incomplete.workbook``, ``incomplete.no_footer``.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason
