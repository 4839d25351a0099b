"""Words out of a mail: headers with encoded words or raw bytes, bodies in the charset they claim or have."""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import parseaddr
from functools import lru_cache
from html import unescape

from pipelines import contracts
from pipelines.channels.interaction import Unreadable

# gb18030 reads all of gb2312 and gbk, which mail programs write into the header while sending the larger set.
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "us-ascii": "utf-8", "ascii": "utf-8"}
_FALLBACKS = ("utf-8", "gb18030")
# What a mail may claim: other names of Python's (punycode, idna, utf-7) are slow on, or made for, hostile input.
_CHARSETS = re.compile(
    r"utf-?8|utf-?16(le|be)?|utf-?32(le|be)?|gb\w{0,8}(-80)?|hz(-gb-2312)?|big5(-hkscs)?|iso-8859-\d{1,2}|latin-?1"
    r"|windows-\d{3,4}|cp\d{3,4}|koi8-[ru]|shift[-_]jis|euc-(jp|kr)|iso-2022-(jp|kr)|ks_c_5601-1987|(us-)?ascii"
)
# Python's readers of headers take quadratic time: nothing honest is longer than this.
_MAX_HEADER_CHARS = 8_192
_UNSEEN = re.compile(r"<(/?)(script|style|head)\b[^<>]*>", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6])\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")


def decoded(content: bytes, charset: str | None, where: str) -> str:
    """Text of the bytes: in the claimed charset, else in UTF-8 or GB 18030 if they fit one strictly.

    Raises Unreadable ``payload.bad_encoding``.

    >>> decoded("你好".encode("gbk"), "gb2312", "body"), decoded("你好".encode("gbk"), None, "body")
    ('你好', '你好')
    """
    claimed = (charset or "").strip().lower()
    candidates = (_WIDER.get(claimed, claimed), *_FALLBACKS) if _CHARSETS.fullmatch(claimed) else _FALLBACKS
    for candidate in candidates:
        try:
            return content.decode(candidate)
        except (UnicodeError, LookupError):  # wrong, or unknown to Python: the next one
            continue
    raise Unreadable("payload.bad_encoding", f"the {where} is text in no charset we can tell")


def header_text(mail: Message, name: str) -> str | None:
    """A header in words, unfolded; None where absent or empty."""
    wanted = name.lower()
    # Not mail.get: it replaces raw 8-bit bytes by question marks.
    raw = next((value for header, value in mail.raw_items() if header.lower() == wanted), None)
    if raw is None:
        return None
    return _words(str(raw)[:_MAX_HEADER_CHARS], name) or None


def _words(raw: str, name: str) -> str:
    try:
        pieces = decode_header(raw)
    except (HeaderParseError, Base64Error, ValueError, AssertionError):
        return _unescaped(raw, name)
    words = []
    for piece, charset in pieces:
        words.append(_unescaped(piece, name) if type(piece) is str else decoded(piece, charset, f"header {name}"))
    return " ".join("".join(words).split())


def _unescaped(raw: str, name: str) -> str:
    """Raw 8-bit bytes reach us as surrogates; give them a charset, or refuse them."""
    if raw.isascii():
        return raw
    return decoded(raw.encode("utf-8", "surrogateescape"), None, f"header {name}")


def address_header(mail: Message, name: str) -> str | None:
    """The address of an address header, without the person's name."""
    value = header_text(mail, name)
    if value is None:
        return None
    address = parseaddr(value)[1]
    return address if "@" in address else None


@lru_cache(maxsize=1)
def _max_text_chars() -> int:
    return contracts.policy("channels")["email"]["max_text_chars"]


def body_text(mail: Message, max_parts: int) -> tuple[str | None, list[tuple[str, str | None, bytes]]]:
    """The words of the body (plain text before HTML), and the other parts as (media type, file name, bytes)."""
    plain: list[str] = []
    html: list[str] = []
    others: list[tuple[str, str | None, bytes]] = []
    for number, part in enumerate(mail.walk()):
        if number >= max_parts:
            raise Unreadable("payload.not_mail", f"the mail has more than {max_parts} parts")
        if part.is_multipart():
            continue
        content, media_type = _content(part), part.get_content_type()
        if media_type in ("text/plain", "text/html") and part.get_content_disposition() != "attachment":
            words = decoded(content, part.get_content_charset(), "body").replace("\r\n", "\n")
            (plain if media_type == "text/plain" else html).append(words)
        else:
            others.append((media_type, None, content))
    limit = _max_text_chars()
    said = "\n".join(plain) if plain else "\n".join(without_tags(words[: 4 * limit]) for words in html)
    return (said.strip()[:limit] if plain or html else None), others


def _content(part: Message) -> bytes:
    try:
        content = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError) as error:
        raise Unreadable("payload.not_mail", f"a part can't be decoded: {type(error).__name__}") from None
    return content if type(content) is bytes else b""


def without_tags(html: str) -> str:
    """The words of an HTML body, paragraphs as lines.

    >>> without_tags("<style>p{}</style><p>您好&nbsp;</p><p>第二行</p>")
    '您好\\n第二行'
    """
    words = unescape(_TAG.sub("", _BREAK.sub("\n", _seen(html)))).replace("\xa0", " ")
    return "\n".join(line.strip() for line in words.splitlines() if line.strip())


def _seen(html: str) -> str:
    """The markup without scripts, styles and heads, in one pass: an unclosed one hides the rest."""
    pieces, start, hidden_by = [], 0, None
    for tag in _UNSEEN.finditer(html):
        closing, name = bool(tag[1]), tag[2].lower()
        if hidden_by is None and not closing:
            pieces.append(html[start : tag.start()])
            hidden_by = name
        elif hidden_by == name and closing:
            start, hidden_by = tag.end(), None
    if hidden_by is None:
        pieces.append(html[start:])
    return "".join(pieces)
