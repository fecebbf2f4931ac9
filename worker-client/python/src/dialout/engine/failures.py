"""Why a connection failed, or could not be made, in words."""

from __future__ import annotations

import json
import re
import socket
import ssl
from typing import Any, Optional
from urllib.parse import urljoin, urlsplit

from ..address import without_query

MOST_DETAIL = 500


class TransferFailed(Exception):
    """A file could not be fetched or sent, and no other try would help; the message is for submitters."""


def describe_failure(error: BaseException, url: str) -> str:
    """Says in words why there is no connection to this address."""
    parts = urlsplit(url)
    host = parts.netloc
    found = _tls(error, url) or _network(error, host)
    if found is not None:
        return found
    text = str(error)
    if parts.scheme == "http" and re.search(
        r"did not receive a valid HTTP response|line without CRLF|bad status line|BadStatusLine",
        text,
    ):
        return f"{host} gave no answer of HTTP; if it speaks https, use {with_scheme('https', url)}"
    if "ubprotocol" in text or "Sec-WebSocket" in text or "Upgrade" in text:
        return f"{host} answers, but is no Dialout edge ({text})"
    return text or type(error).__name__


def _tls(error: BaseException, url: str) -> Optional[str]:
    host = urlsplit(url).netloc
    if isinstance(error, ssl.SSLCertVerificationError):
        trust = "SSL_CERT_FILE=<file> makes this worker trust another authority"
        return f"the certificate of {host} is not accepted: {error.verify_message}; {trust}"
    if isinstance(error, ssl.SSLError):
        if re.search(r"WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH|RECORD_LAYER", str(error)):
            return f"{host} speaks http, it seems: use {with_scheme('http', url)}"
        return f"the TLS handshake with {host} failed: {error.reason or error}"
    return None


def _network(error: BaseException, host: str) -> Optional[str]:
    if isinstance(error, socket.gaierror):
        if error.errno in (socket.EAI_AGAIN,):
            return f"the name could not be looked up: {host}"
        return f"no such host: {host}"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {host}"
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return f"connection reset by {host}"
    if isinstance(error, (TimeoutError, socket.timeout)) or type(error).__name__ == "TimeoutError":
        return f"no answer from {host}"
    if isinstance(error, OSError) and error.errno in (101, 113, 51, 65, 10051, 10065):
        return f"no route to {host}"
    # Several addresses were tried: asyncio puts all that went wrong into one text.
    if isinstance(error, OSError) and "Connect call failed" in str(error):
        return f"nothing listens at {host}"
    return None


def read_problem(content_type: str, body: bytes) -> tuple[Optional[str], Optional[str]]:
    """The code and detail of the edge's own answer; `(None, None)` if something else answered (W4a)."""
    if not content_type.startswith("application/problem+json"):
        return None, None
    # With chunked encoding the body may have lengths around it.
    found = re.search(rb"\{.*\}", body, re.DOTALL)
    try:
        problem = json.loads(found[0]) if found else {}
    except ValueError:
        return None, None
    code, detail = problem.get("code"), problem.get("detail")
    if not isinstance(code, str):
        return None, None
    return code, detail[:MOST_DETAIL] if isinstance(detail, str) else None


def describe_answer(status: int, headers: Any, body: bytes, url: str) -> Optional[str]:
    """Says what an answer that isn't the edge's may mean; `None` if nothing is known."""
    shown = without_query(url)
    given = (
        f"give the address of the edge alone, such as https://dialout.example, instead of {shown}"
    )
    location = headers.get("Location")
    if status == 404:
        return f"there is no Dialout edge at this address: {given}"
    if 300 <= status < 400 and location:
        parts = urlsplit(urljoin(url, location))
        return (
            f"it redirects to {parts.scheme}://{parts.netloc}: give that as the address of the edge"
        )
    if status == 400 and re.search(rb"https port|TLS", body, re.IGNORECASE):
        return f"{urlsplit(url).netloc} speaks https, it seems: use {with_scheme('https', url)}"
    if status < 300:
        return f"this is no Dialout edge, or a proxy lets no WebSocket through: {given}"
    return None


def with_scheme(scheme: str, url: str) -> str:
    return re.sub("^https?:", f"{scheme}:", without_query(url))
