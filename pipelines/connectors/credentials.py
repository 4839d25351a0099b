"""The header by which a source knows us; an OAuth token is asked for when it is needed and when it was refused."""

from __future__ import annotations

import base64
from collections.abc import Callable

import httpx
import msgspec

from pipelines.connectors.access import Access
from pipelines.connectors.clock import Clock
from pipelines.connectors.failures import AccessRefused, Passing
from pipelines.connectors.resources import ApiKey, Auth, Basic, Bearer, ClientCredentials

# A token is renewed this long before it ends, so that no request sets out with one that ends on the way.
_EARLY_S = 30.0


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float = 3600.0


class Credentials:
    """What goes into the headers. ``send(method, url, data)`` is one attempt; it raises Passing for what may pass."""

    def __init__(
        self, source: str, auth: Auth, access: Access, clock: Clock, send: Callable[..., httpx.Response]
    ) -> None:
        self._source, self._auth, self._access, self._clock, self._send = source, auth, access, clock, send
        self._token, self._ends_at_s = "", 0.0
        self.renewed = 0

    def headers(self) -> dict[str, str]:
        """For the next request. Raises AccessRefused when a token is needed and refused, Passing when it may pass."""
        secrets = self._access.secrets
        match self._auth:
            case Bearer():
                return {"Authorization": f"Bearer {secrets['token']}"}
            case ApiKey(header=header):
                return {header: secrets["key"]}
            case Basic():
                pair = f"{secrets['user']}:{secrets['password']}".encode()
                return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        if not self._token or self._clock.monotonic() >= self._ends_at_s:
            self._renew(self._auth)
        return {"Authorization": f"Bearer {self._token}"}

    def refused(self) -> bool:
        """The source answered 401; True when there is something new to try with."""
        had, self._token = bool(self._token), ""
        return had and isinstance(self._auth, ClientCredentials)

    def _renew(self, auth: ClientCredentials) -> None:
        asked = {"grant_type": "client_credentials", **self._access.secrets}
        if auth.scope:
            asked["scope"] = auth.scope
        answer = self._send("POST", auth.token_path, data=asked)
        if answer.status_code != 200:
            raise AccessRefused(
                f"source {self._source} gives no token: {answer.status_code} at {auth.token_path}. "
                "Check client_id and client_secret in keys/connectors.yaml"
            )
        try:
            token = msgspec.json.decode(answer.content, type=_Token)
        except msgspec.DecodeError:
            raise Passing(f"the answer of {auth.token_path} holds no access_token") from None
        self._token = token.access_token
        self._ends_at_s = self._clock.monotonic() + max(token.expires_in - _EARLY_S, token.expires_in / 2)
        self.renewed += 1
