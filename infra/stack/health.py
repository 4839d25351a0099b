"""Health checks that several parts share."""

from __future__ import annotations

import urllib.error
import urllib.request


def http(url: str, timeout_s: float = 2) -> str | None:
    """None when the address answers with 2xx, else why not."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s):  # noqa: S310 - always our own loopback address
            return None
    except urllib.error.HTTPError as error:
        return f"answers {error.code}: {error.read(200).decode(errors='replace')}"
    except OSError as error:
        return f"does not answer ({getattr(error, 'reason', error)})"
