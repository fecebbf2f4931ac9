"""The seam to the package `websockets`, whose two interfaces differ: up to version 13, and from 13 on."""

from __future__ import annotations

import asyncio
import contextlib
from email.utils import parsedate_to_datetime
from typing import Any, Optional

from .failures import describe_answer, read_problem
from .refusal import Refused

PROTOCOL = "dialout.worker.v1"
# C4: the edge's frames are smaller; this protects memory.
LARGEST_MESSAGE = 8 << 20
LARGEST_REFUSAL = 65_536
_OPTIONS: dict[str, Any] = {
    "subprotocols": [PROTOCOL],
    "close_timeout": 1,
    "ping_interval": None,
    "compression": None,
    "max_size": LARGEST_MESSAGE,
}


class UpgradeRefused(Exception):
    """The upgrade was answered with another status than 101."""

    def __init__(self, refused: Refused, code: Optional[str]) -> None:
        super().__init__(refused.detail or f"status {refused.status}")
        self.refused = refused
        self.code = code


def _refusal(status: int, headers: Any, body: bytes, url: str) -> UpgradeRefused:
    code, detail = read_problem(headers.get("Content-Type") or "", body)
    if code is not None and code != "not_found" and detail is not None:
        return UpgradeRefused(Refused(status, True, detail), code)
    return UpgradeRefused(
        Refused(status, code is not None, describe_answer(status, headers, body, url)), code
    )


try:
    from websockets.asyncio.client import connect as _connect
    from websockets.exceptions import InvalidStatus

    class _Connect(_connect):  # type: ignore[misc,valid-type,unused-ignore]
        def process_redirect(self, exc: Exception) -> Exception:
            # Following a redirect could hand the token to another host.
            return exc

    async def dial(url: str, token: str, timeout_s: float) -> Any:
        """Opens a socket. Raises `UpgradeRefused`, or what the network and `websockets` raise."""
        headers = {"Authorization": f"Bearer {token}"}
        try:
            return await _Connect(
                url, additional_headers=headers, open_timeout=timeout_s, **_OPTIONS
            )
        except InvalidStatus as error:
            answer = error.response
            raise _refusal(answer.status_code, answer.headers, answer.body or b"", url) from None

    def edge_date(socket: Any) -> Optional[float]:
        """The edge's clock as it answered the upgrade, seconds since 1970."""
        return _seconds(socket.response.headers.get("Date") if socket.response else None)

except ImportError:
    import websockets.legacy.client as _legacy

    class _Protocol(_legacy.WebSocketClientProtocol):  # type: ignore[misc,unused-ignore]
        """Reads the body of a refusal, too."""

        async def read_http_response(self) -> Any:
            status, headers = await super().read_http_response()
            if status == 101:
                return status, headers
            body = b""
            with contextlib.suppress(asyncio.TimeoutError):
                body = await asyncio.wait_for(self.reader.read(LARGEST_REFUSAL), 1)
            raise _refusal(status, headers, body, self.dialed_url)

    async def dial(url: str, token: str, timeout_s: float) -> Any:
        """Opens a socket. Raises `UpgradeRefused`, or what the network and `websockets` raise."""

        def create(*args: Any, **options: Any) -> Any:
            protocol = _Protocol(*args, **options)
            protocol.dialed_url = url
            return protocol

        headers = {"Authorization": f"Bearer {token}"}
        return await _legacy.connect(
            url, extra_headers=headers, open_timeout=timeout_s, create_protocol=create, **_OPTIONS
        )

    def edge_date(socket: Any) -> Optional[float]:
        """The edge's clock as it answered the upgrade, seconds since 1970."""
        return _seconds(socket.response_headers.get("Date"))


def _seconds(date: Optional[str]) -> Optional[float]:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
