"""What can still be seen in the bytes of a file that is no table (a cut workbook, UTF-16), for who must search it."""

from __future__ import annotations

import codecs
import re
import struct
import zlib
from collections.abc import Iterator

from pipelines.stores.workbook import OLD_EXCEL, ZIP

_HEADER = struct.Struct("<4xHHHHHIIIHH")  # of a member, after its signature: version, flags, method, … name, extra
_STORED, _DEFLATED, _ENCRYPTED = 0, 8, 1
_CHUNK = 1 << 16


def texts(content: bytes, most_bytes: int) -> list[bytes]:
    """The bytes, and what is packed or encoded in them, as far as it goes; at most so many bytes a member.

    >>> texts("电话13900000001".encode("utf-16"), 1 << 20)[1].decode()
    '电话13900000001'
    """
    found = [content]
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        found.append(content.decode("utf-16", "replace").encode())
    found += [unpacked for _, unpacked in _members(content, most_bytes)]
    return found


def is_sealed(content: bytes) -> bool:
    """True for what nobody can look into: Excel's old form, a member of a zip that is encrypted or packed otherwise.

    >>> is_sealed(b"PK\\x03\\x04 and not much more"), is_sealed(bytes.fromhex("d0cf11e0"))
    (False, True)
    """
    return content.startswith(OLD_EXCEL) or any(not readable for readable, _ in _members(content, 0))


def _members(content: bytes, most_bytes: int) -> Iterator[tuple[bool, bytes]]:
    """By their own headers: the list of members stands at the end of a zip, and a cut one has none."""
    if not content.startswith(ZIP[:2]):
        return
    for place in re.finditer(re.escape(ZIP), content):
        if len(content) < place.start() + _HEADER.size:
            return
        _, flags, method, *_, name, extra = _HEADER.unpack_from(content, place.start())
        begins = place.start() + _HEADER.size + name + extra
        readable = method in (_STORED, _DEFLATED) and not flags & _ENCRYPTED
        yield readable, _inflated(content[begins:], most_bytes) if readable and method == _DEFLATED else b""


def _inflated(packed: bytes, most_bytes: int) -> bytes:
    unpack, made = zlib.decompressobj(-zlib.MAX_WBITS), b""
    for at in range(0, len(packed), _CHUNK):
        if len(made) >= most_bytes or unpack.eof:
            break
        try:
            made += unpack.decompress(packed[at : at + _CHUNK], most_bytes - len(made))
        except zlib.error:
            break
    return made
