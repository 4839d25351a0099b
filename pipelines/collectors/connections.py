"""uvicorn's protocol with two guards it lacks: headers in time and below a size, refused bodies that end."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def guarded_protocol(*, header_timeout_s: float, max_header_bytes: int) -> type[HttpToolsProtocol]:
    """A protocol class that closes connections which send no complete headers within ``header_timeout_s``.

    A body refused before its end is read and dropped for as long again, so that the sender can read the refusal
    instead of a reset connection; then the connection is closed as well.
    """

    class GuardedProtocol(HttpToolsProtocol):
        """One connection."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._in_headers, self._in_body = True, False
            self._header_bytes, self._headers_ended = 0, False
            self._patience = self.loop.call_later(header_timeout_s, self.transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self._patience.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            in_headers, self._headers_ended = self._in_headers, False
            if in_headers and self._patience.cancelled():
                self._lose_patience_later()
            super().data_received(data)
            # A whole request may come in one read: then its headers began and ended here, and its body is no header.
            if in_headers and self._in_headers and not self._headers_ended:
                self._header_bytes += len(data)
                if self._header_bytes > max_header_bytes and not self.transport.is_closing():
                    self.send_400_response("Request headers are too large.")

        def on_headers_complete(self) -> None:
            self._in_headers, self._in_body = False, True
            self._headers_ended = True
            self._header_bytes = 0
            self._patience.cancel()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_headers, self._in_body = True, False
            self._patience.cancel()
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._in_body:
                self._lose_patience_later()

        def _lose_patience_later(self) -> None:
            self._patience.cancel()
            self._patience = self.loop.call_later(header_timeout_s, self.transport.close)

    return GuardedProtocol
