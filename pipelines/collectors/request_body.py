"""Reading a body without trusting it: size announced and size sent, time it may take, no compression."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping

from pipelines.collectors.refusals import Refusal
from pipelines.collectors.room import Held


def content_type_of(headers: Mapping[str, str], accepted: Collection[str]) -> tuple[str | None, str | None]:
    """Media type and charset as announced; (None, None) without a Content-Type.

    Raises:
        Refusal: ``content_type.unknown``, ``body.encoded``.

    >>> content_type_of({"content-type": "text/xml; charset=GBK"}, {"text/xml"})
    ('text/xml', 'gbk')
    """
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise Refusal("body.encoded")
    announced = headers.get("content-type")
    if not announced:
        return None, None
    media_type, *parameters = (part.strip().lower() for part in announced.split(";"))
    if media_type not in accepted:
        raise Refusal("content_type.unknown", f"accepted are {', '.join(sorted(accepted))}")
    charset = next((p.partition("=")[2].strip('" ') for p in parameters if p.startswith("charset=")), None)
    if charset is not None and not (charset.isascii() and charset.isprintable() and 0 < len(charset) <= 40):
        raise Refusal("content_type.unknown", "the charset is no name of one")
    return media_type, charset


def announced_bytes(headers: Mapping[str, str], *, max_bytes: int) -> int:
    """Content-Length, 0 when the body comes in chunks; refused (``body.too_large``) before a byte of it is read."""
    announced = headers.get("content-length", "0")
    size = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 20 else 0
    if size > max_bytes:
        raise Refusal("body.too_large", f"{size} bytes, at most {max_bytes}")
    return size


async def read(chunks: AsyncIterator[bytes], held: Held, *, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body, cut off the moment it outgrows ``max_bytes`` whatever its headers said.

    Raises:
        Refusal: ``body.too_large``, ``body.too_slow``, ``body.empty``, ``pressure.in_flight``.
    """
    received: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise Refusal("body.too_large", f"more than {max_bytes} bytes")
                held.grow(len(chunk))
                received.append(chunk)
    except TimeoutError as error:
        raise Refusal("body.too_slow", f"{timeout_s:g} s") from error
    body = received[0] if len(received) == 1 else b"".join(received)
    if not body:
        raise Refusal("body.empty")
    return body
