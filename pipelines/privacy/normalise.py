"""When two spellings are one personal value: the normal form that a token is made from.

Each function takes one value (they run once per distinct value of a batch, behind a cache) and gives the
normal form. A value that can't be read as what it claims to be keeps its cleaned spelling: it may still be personal.
"""

import re
import unicodedata
from collections.abc import Callable

import phonenumbers

_INVISIBLE = re.compile(r"[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")
_BESIDE_HAN = re.compile(r"(?<=[\u4e00-\u9fff])\s+|\s+(?=[\u4e00-\u9fff])")
_PHONE_SEPARATORS = re.compile(r"[\s\-‐-―−.·()（）]+")
_CN_MOBILE = re.compile(r"(?:\+?86|0086|0)?(1[3-9]\d{9})")
_CN_MOBILE_PLAIN = re.compile(r"1[3-9][0-9]{9}")
_ID_18 = re.compile(r"\d{17}[\dX]")
_ID_15 = re.compile(r"\d{15}")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECK = "10X98765432"


def clean(value: str) -> str:
    """Full-width folded, invisible characters and white space gone.

    >>> clean(" ａｂ\\u200bｃ　")
    'abc'
    """
    if value.isascii() and value.isalnum():
        return value
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", value))


def identifies_nobody(normal: str, placeholders: frozenset[str] = frozenset()) -> bool:
    """True for the normal form of a value that a hand typed to get past a form: empty, only zeros, or a known word.

    >>> identifies_nobody("无", frozenset(["无"])), identifies_nobody("0000"), identifies_nobody("A0000")
    (True, True, False)
    """
    return not normal.strip("0*-./") or normal.lower() in placeholders


def phone(value: str) -> str:
    """E.164; numbers without a country code are read as Chinese.

    >>> phone("138 1234-5670"), phone("+86 138 1234 5670"), phone("０１３８１２３４５６７０")
    ('+8613812345670', '+8613812345670', '+8613812345670')
    >>> phone("0571-8765 4321"), phone("+1 650 253 0000"), phone("12")
    ('+8657187654321', '+16502530000', '12')
    """
    if len(value) == 11 and value.isascii() and _CN_MOBILE_PLAIN.fullmatch(value):
        return "+86" + value
    text = _PHONE_SEPARATORS.sub("", clean(value))
    mobile = _CN_MOBILE.fullmatch(text)
    return "+86" + mobile[1] if mobile else _international(text)


def _international(text: str) -> str:
    try:
        number = phonenumbers.parse(text[:40], "CN")
    except phonenumbers.NumberParseException:
        return text.lower()
    if not phonenumbers.is_possible_number(number) or not phonenumbers.is_valid_number(number):
        return text.lower()
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def national_id(value: str) -> str:
    """18 characters, X upper-case; the old 15-digit form gets its century and check digit (GB 11643-1999).

    >>> national_id("11010519491231002x"), national_id("110105 491231 002")
    ('11010519491231002X', '11010519491231002X')
    """
    text = _PHONE_SEPARATORS.sub("", clean(value)).upper()
    if _ID_15.fullmatch(text):
        body = text[:6] + "19" + text[6:]
        return body + check_digit(body)
    return text


def check_digit(body: str) -> str:
    """The 18th character of a national ID from its first 17 digits (ISO 7064 mod 11-2).

    >>> check_digit("11010519491231002")
    'X'
    """
    return _ID_CHECK[sum(int(digit) * weight for digit, weight in zip(body, _ID_WEIGHTS, strict=True)) % 11]


def valid_national_id(text: str) -> bool:
    """True for 18 characters with a possible birth date and a right check digit.

    >>> valid_national_id("11010519491231002X"), valid_national_id("110105194912310021")
    (True, False)
    """
    if not _ID_18.fullmatch(text) or not text.isascii():
        return False
    year, month, day = int(text[6:10]), int(text[10:12]), int(text[12:14])
    dated = 1900 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= 31
    return dated and text[0] in "12345678" and check_digit(text[:17]) == text[17]


def email(value: str) -> str:
    """Lower case, invisible characters gone.

    >>> email(" Li.Lei@Example.COM")
    'li.lei@example.com'
    """
    return clean(value).lower()


def identifier(value: str) -> str:
    """A platform's own ID, case kept: openids differ by case.

    >>> identifier(" oABC ")
    'oABC'
    """
    return clean(value)


def member(value: str) -> str:
    """A member number: upper case, separators gone, for clerks type it as they like.

    >>> member("vip-00 12")
    'VIP0012'
    """
    return _PHONE_SEPARATORS.sub("", clean(value)).upper()


def person_name(value: str) -> str:
    """Lower case; blanks go beside Han characters, and stay, one of many, between the parts of other names.

    Full-width and case do not make another name; without any blank nobody could tell a surname from a given name.

    >>> person_name("李 雷"), person_name(" Anna  MARIA\u00a0Smith "), person_name("ＡＮＮ\u200bA")
    ('李雷', 'anna maria smith', 'anna')
    """
    words = _BESIDE_HAN.sub("", unicodedata.normalize("NFKC", value).strip())
    return " ".join(part for word in words.split() if (part := clean(word))).lower()


NORMALISERS: dict[str, Callable[[str], str]] = {
    "phone": phone,
    "national_id": national_id,
    "email": email,
    "unionid": identifier,
    "openid": identifier,
    "external_userid": identifier,
    "member": member,
    "user_handle": identifier,
    "bank_card": member,
    "person_name": person_name,
    "birth_date": identifier,
    "address": email,
}
