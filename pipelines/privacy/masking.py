"""What people see of a personal value: enough to recognise it, not enough to use it."""

from pipelines.privacy.free_text import LABELS
from pipelines.privacy.number_finder import find


def mask(value: str, kind: str) -> str:
    """The masked form of one value; an unknown kind shows nothing but its last two characters.

    >>> mask("+8613812345670", "phone"), mask("11010519491231002X", "national_id")
    ('138****5670', '110***********002X')
    >>> mask("li.lei@example.com", "email"), mask("6222021234567890128", "bank_card"), mask("oABCdef", "openid")
    ('l***@example.com', '6222***********0128', '*****ef')
    """
    if kind == "phone":
        return _phone(value)
    if kind == "national_id":
        return _middle(value, 3, 4)
    if kind == "bank_card":
        return _middle(value, 4, 4)
    if kind == "email":
        local, at, domain = value.rpartition("@")
        return f"{local[:1]}***{at}{domain}"
    return _middle(value, 0, 2)


def _phone(value: str) -> str:
    digits = value.removeprefix("+86")
    if len(digits) == 11 and digits.startswith("1"):
        return f"{digits[:3]}****{digits[-4:]}"
    return _middle(digits, 3, 2)


def _middle(value: str, head: int, tail: int) -> str:
    """At least half is hidden, however short the value."""
    if len(value) < 2 * (head + tail):
        head, tail = len(value) // 4, len(value) // 4
    hidden = len(value) - head - tail
    return value[:head] + "*" * hidden + (value[-tail:] if tail else "")


def mask_text(text: str) -> str:
    """A text with the personal numbers in it masked; for people who look at rejects and review rows.

    >>> mask_text("打我电话138 1234 5670，邮箱li@ex.cn")
    '打我电话138****5670，邮箱l***@ex.cn'
    """
    parts, end = [], 0
    for span in find(text, frozenset(LABELS)):
        parts += [text[end : span.start], mask(span.value, span.kind)]
        end = span.end
    return "".join([*parts, text[end:]])
