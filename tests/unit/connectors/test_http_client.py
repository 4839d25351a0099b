"""The client over a real socket: what it waits for, what it repeats, what it refuses to believe."""

import random
from contextlib import contextmanager

import httpx
import msgspec
import pytest

from pipelines.connectors import resources
from pipelines.connectors.access import Access
from pipelines.connectors.failures import AccessRefused, GivenUp, Passing, SourceRefused
from pipelines.connectors.http_client import SourceClient
from pipelines.connectors.resources import Bearer, ClientCredentials, Source
from tests.bench.connector_world import SkippingClock
from tests.unit.connectors.scripted_source import Told, source

SECRETS = {"token": "s3cret-token", "client_id": "kefulake", "client_secret": "s3cret"}
OK = Told(200, b'{"ok":1}')
TOKEN = Told(200, b'{"access_token":"first","expires_in":600}')


@contextmanager
def asking(answers, auth=Bearer(), requests_per_s=1000.0, **limits):  # noqa: B008
    with source(answers) as server:
        clock, policy = SkippingClock(), resources.declared().client
        policy = msgspec.structs.replace(policy, read_timeout_s=0.2, **limits)
        address = f"http://127.0.0.1:{server.server_port}"
        client = SourceClient(
            "crm", Source("default", requests_per_s, auth), Access(address, SECRETS), policy, clock, random.Random(1)
        )
        try:
            yield client, server, clock
        finally:
            client.close()


def body(answer):
    return answer.body


@pytest.mark.parametrize(
    ("answer", "least_s", "most_s"),
    [
        (Told(429, headers={"Retry-After": "7"}), 7, 7),
        (Told(429, headers={"Retry-After": "Fri, 09 Jan 2026 00:00:20 GMT"}), 20, 20),  # by the server's own Date
        (Told(503, headers={"Retry-After": "Thu, 08 Jan 2026 23:00:00 GMT"}), 0, 0),  # over already
        (Told(503, headers={"Retry-After": "soon"}), 0.25, 0.5),  # no form of it: our own first wait
        (Told(500), 0.25, 0.5),
        (Told(502), 0.25, 0.5),
        (Told(200, b'{"ok"', {"Content-Length": "8"}), 0.25, 0.5),  # the connection ends before the body
    ],
)
def test_what_passes_is_asked_for_again_after_the_rest_the_server_wants(answer, least_s, most_s):
    with asking([answer, OK]) as (client, server, clock):
        assert client.get("/a", {"x": "1"}, body) == OK.body
        assert [path for path, _ in server.asked] == ["GET /a?x=1"] * 2
        assert client.retries == 1
        assert least_s <= clock.skipped_s <= most_s + 0.001  # the pace of 1,000 a second is in it


def test_a_broken_connection_is_named_by_its_kind_for_its_words_may_hold_a_secret(monkeypatch):
    with asking([OK]) as (client, _, _):

        def broken(request, **_):
            raise httpx.LocalProtocolError(f"Illegal header value {request.headers['authorization']}")

        monkeypatch.setattr(client._http, "send", broken)
        with pytest.raises(GivenUp) as given_up:
            client.get("/a", {}, body)
    assert "LocalProtocolError" in str(given_up.value)
    assert SECRETS["token"] not in str(given_up.value)


def test_waits_double_to_their_limit_and_then_it_is_given_up():
    with asking([Told(500)], attempts=5, backoff_first_s=1.0, backoff_most_s=3.0) as (client, server, clock):
        with pytest.raises(GivenUp, match=r"no whole answer to /a in 5 attempts; the last: status 500"):
            client.get("/a", {}, body)
        assert len(server.asked) == 5
        # 1, 2, 3 and 3 seconds, of each the second half by chance
        assert 4.5 <= clock.skipped_s <= 9.1


def test_a_rest_longer_than_policy_allows_ends_it_at_once():
    with asking([Told(429, headers={"Retry-After": "3600"})]) as (client, server, clock):
        with pytest.raises(GivenUp, match="wants to be left alone for 3,600 s"):
            client.get("/a", {}, body)
        assert len(server.asked) == 1
        assert clock.skipped_s < 1


def test_what_the_reader_of_the_answer_does_not_accept_is_asked_for_again():
    seen = []

    def read(answer):
        seen.append(answer)
        if len(seen) < 3:
            raise Passing("a half page")
        return len(seen)

    with asking([OK]) as (client, _, _):
        assert client.get("/a", {}, read) == 3


def test_a_pause_longer_than_the_read_timeout_breaks_the_attempt():
    with asking([OK._replace(rests_s=0.4), OK]) as (client, _, _):  # 0.2 s is how long the client waits here
        assert client.get("/a", {}, body) == OK.body
        assert client.retries == 1


def test_requests_keep_their_pace():
    with asking([OK], requests_per_s=4.0) as (client, _, clock):
        for _ in range(5):
            client.get("/a", {}, body)
        assert clock.skipped_s == pytest.approx(1.0, abs=0.2)  # four pauses of a quarter of a second


def test_a_refused_token_is_renewed_once():
    answers = [TOKEN, Told(401), Told(200, b'{"access_token":"second"}'), OK]
    with asking(answers, ClientCredentials("/oauth/token")) as (client, server, _):
        assert client.get("/a", {}, body) == OK.body
        asked = [(path, headers.get("Authorization")) for path, headers in server.asked]
        assert asked == [
            ("POST /oauth/token", None),
            ("GET /a", "Bearer first"),
            ("POST /oauth/token", None),
            ("GET /a", "Bearer second"),
        ]


def test_a_token_is_renewed_before_it_ends():
    with asking([TOKEN, OK, TOKEN, OK], ClientCredentials("/oauth/token")) as (client, server, clock):
        client.get("/a", {}, body)
        clock.sleep(571)  # of 600, of which 30 are left for the way
        client.get("/a", {}, body)
        assert [path for path, _ in server.asked] == ["POST /oauth/token", "GET /a"] * 2


@pytest.mark.parametrize(
    ("answers", "auth", "said"),
    [
        ([Told(401)], Bearer(), r"refuses our credentials \(401 at /a\)"),  # nothing to renew
        ([TOKEN, Told(401), TOKEN, Told(401)], ClientCredentials("/oauth/token"), "refuses our credentials"),
        ([Told(401)], ClientCredentials("/oauth/token"), "gives no token: 401 at /oauth/token"),
    ],
)
def test_refused_credentials_are_said_plainly_and_show_nothing(answers, auth, said):
    with asking(answers, auth) as (client, _, _):
        with pytest.raises(AccessRefused, match=said) as refused:
            client.get("/a", {}, body)
        assert "s3cret" not in str(refused.value)


def test_a_token_that_does_not_come_for_a_while_passes():
    with asking([Told(503), TOKEN, OK], ClientCredentials("/oauth/token")) as (client, _, _):
        assert client.get("/a", {}, body) == OK.body


@pytest.mark.parametrize("status", [301, 400, 403, 404])
def test_what_repeating_does_not_cure_is_not_repeated(status):
    with asking([Told(status, headers={"Location": "http://example.com/"})]) as (client, server, _):
        with pytest.raises(SourceRefused, match=f"answers {status} at /a"):
            client.get("/a", {}, body)
        assert len(server.asked) == 1


def test_an_answer_larger_than_the_limit_is_not_read_to_its_end():
    long = Told(200, b"x" * 5000)
    larger = pytest.raises(SourceRefused, match="larger than 1,000 bytes")
    with asking([long], max_answer_bytes=1000) as (client, _, _), larger:
        client.get("/a", {}, body)
