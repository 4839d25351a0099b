"""RFC 822 mail as Chinese mail programs write it."""

import hashlib

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
FROM = "From: a@example.org"
DATE = "Date: Fri, 09 Jan 2026 08:00:00 +0800"


def mail(*headers, body="怎么退货？", charset="utf-8"):
    head = [FROM, "To: help@example.com", DATE, "Message-ID: <m1@example.org>", *headers]
    if not any(h.startswith("Content-Type") for h in headers):
        head.append(f"Content-Type: text/plain; charset={charset}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + (body if isinstance(body, bytes) else body.encode(charset))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (mail(), {"kind": "consultation", "text": "怎么退货？", "session_id": "m1@example.org"}),
        (mail(charset="gbk"), {"text": "怎么退货？"}),
        (
            mail("Content-Type: text/plain; charset=gb2312", body="镕".encode("gbk")),
            {"text": "镕"},
        ),  # claims less than it has
        (mail("Content-Type: text/plain", body="退货".encode("gbk")), {"text": "退货"}),  # claims nothing
        (mail("Content-Type: text/plain; charset=x-unknown"), {"text": "怎么退货？"}),
        (mail("Subject: =?GBK?B?zcu79Q==?="), {"subject": "退货"}),
        (mail("Subject: =?utf-8?Q?=E9=80=80?=\r\n =?utf-8?Q?=E8=B4=A7?="), {"subject": "退货"}),  # folded inside a word
        (mail("Subject: 退货"), {"subject": "退货"}),  # raw bytes in a header: forbidden, and common
        (mail("In-Reply-To: <m0@example.com>"), {"kind": "message", "session_id": "m0@example.com"}),
        (
            mail("References: <m0@example.com> <m00@example.com>"),
            {"session_id": "m0@example.com"},
        ),  # the thread's first mail
        (mail("Auto-Submitted: auto-replied"), {"kind": "record", "sender_role": "system"}),
        (mail("Content-Type: text/html; charset=utf-8", body="<p>退&nbsp;货</p><script>x</script>"), {"text": "退 货"}),
        (mail(body=""), {"text": "", "kind": "consultation"}),  # blank: the cleaning rules' business
    ],
)
def test_mail(parse, shows, payload, expected):
    shows(
        parse("email", payload, account="help@example.com"), occurred_at_us=EIGHT_US, email="a@example.org", **expected
    )


@pytest.mark.parametrize("sender", ["help@example.com", "Anna <anna@EXAMPLE.com>"])  # our mailbox, a colleague's
def test_our_own_mail_is_the_agents_and_the_customer_is_its_receiver(parse, shows, sender):
    payload = f"From: {sender}\nTo: Li <a@example.org>\n{DATE}\n\nok".encode()
    shows(parse("email", payload, "help@example.com"), sender_role="agent", kind="message", email="a@example.org")


def test_parts_and_attachments(parse, shows):
    body = (
        "--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
        "--c\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n见附件\r\n"
        "--c\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<b>见附件</b>\r\n--c--\r\n"
        "--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="li.pdf"\r\n\r\nJVBERi0=\r\n--b--\r\n'
    )
    read = parse("email", mail("Content-Type: multipart/mixed; boundary=b", body=body))
    digest = hashlib.sha256(b"%PDF-").hexdigest()
    media = f'[{{"uri":"mid:m1@example.org/1","type":"application/pdf","size":5,"sha256":"{digest}"}}]'
    shows(read, text="见附件", media=media)  # plain text before HTML; the file's name may be a person's


@pytest.mark.parametrize(
    ("written", "at_us"),
    [
        ("Fri, 09 Jan 2026 00:00:00 GMT", EIGHT_US),
        ("Fri, 09 Jan 2026 00:00:00 -0000", EIGHT_US),  # UTC of a clock that hides its zone
        ("Fri, 09 Jan 2026 08:00:00", EIGHT_US),  # none: Shanghai by policy
        ("9 Jan 2026 08:00:00 +0800 (CST)", EIGHT_US),
    ],
)
def test_date(parse, written, at_us):
    assert parse("email", mail().replace(DATE.encode(), f"Date: {written}".encode())).occurred_at_us == at_us


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (mail().replace(DATE.encode(), b"X: y"), "field.missing"),
        (mail().replace(DATE.encode(), b"Date: soon"), "time.unreadable"),
        (mail().replace(b"2026", b"2099"), "time.out_of_range"),
        (mail().replace(FROM.encode(), b"X: y"), "field.missing"),
        (mail(body=b"\xff\xfe\xfd\x80"), "payload.bad_encoding"),
        (b"hello", "payload.not_mail"),
        (b"", "payload.not_mail"),
        (b"PK\x03\x04:\0\0", "payload.not_mail"),  # a zip
    ],
)
def test_reject(parse, payload, rule):
    assert parse("email", payload).rule == rule
