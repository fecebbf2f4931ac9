"""HTTP with the standard library: TLS verified, proxies of the environment, and no redirect followed."""

from __future__ import annotations

import ssl
import urllib.request
from typing import Any, Mapping, Optional

from ._version import __version__

USER_AGENT = f"dialout-python/{__version__}"


def make_opener(context: Optional[ssl.SSLContext] = None) -> urllib.request.OpenerDirector:
    """Answers of any status are returned. A redirect is one of them: following it could hand a key to another host."""
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", USER_AGENT)]
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context or ssl.create_default_context()),
    ):
        opener.add_handler(handler)
    return opener


def open_url(
    opener: urllib.request.OpenerDirector,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    timeout: float,
    body: Any = None,
) -> Any:
    """Sends a request and returns its answer, whose body is still to be read.

    `timeout` is how long nothing may come or go, in seconds. Raises `OSError` and `http.client.HTTPException`.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)
    return opener.open(request, timeout=timeout)
