"""`dialout doctor`: what is wrong between this machine and the edge."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import sys
import time
import urllib.request
from email.utils import parsedate_to_datetime
from typing import Any, Optional
from urllib.parse import urlsplit

from ..address import DEFAULT_URL, check_space, read_edge_address
from ..engine.dialing import UpgradeRefused, dial
from ..engine.failures import describe_failure
from ..errors import InvalidOptions
from ..http import make_opener, open_url
from ..options import check_token

# What the exit code tells: the first thing that is wrong.
EXIT = {
    "url": 2,
    "dns": 10,
    "connect": 11,
    "tls": 12,
    "edge": 13,
    "clock": 14,
    "space": 15,
    "token": 16,
    "slow": 17,
}
TIMEOUT_S = 10.0
# A clock that is further off makes logs and deadlines hard to read, seconds.
CLOCK_S = 30.0
# A ping that takes longer, or a download that is slower, is worth a word.
SLOW_PING_S = 1.0
SLOW_DOWNLOAD_S = 2.0
SLOW_BYTES_S = 32_768
PINGS = 3


class Problem(Exception):
    """Something is wrong; `what` names the exit code."""

    def __init__(self, what: str, message: str) -> None:
        super().__init__(message)
        self.what = what


class Report:
    """Prints one line for each thing that was looked at."""

    def __init__(self) -> None:
        self.first: Optional[str] = None

    def ok(self, words: str) -> None:
        self._write("ok     ", words)

    def skip(self, words: str) -> None:
        self._write("skipped", words)

    def problem(self, error: Problem) -> None:
        self.first = self.first or error.what
        self._write("WRONG  ", str(error))

    def _write(self, mark: str, words: str) -> None:
        sys.stdout.write(f"{mark}  {words}\n")
        sys.stdout.flush()


def examine(url: Optional[str], space: Optional[str], token: Optional[str]) -> int:
    """Looks at everything that can be wrong, in the order of a dial. Returns 0, or the code of the first problem."""
    report = Report()
    try:
        _examine(report, url, space, token)
    except Problem as problem:
        report.problem(problem)
    return 0 if report.first is None else EXIT[report.first]


def _examine(
    report: Report, url: Optional[str], space: Optional[str], token: Optional[str]
) -> None:
    given = url or os.environ.get("DIALOUT_URL") or DEFAULT_URL
    try:
        address = read_edge_address(given)
        name = space or os.environ.get("DIALOUT_SPACE") or address.space
        name = None if name is None else check_space(name)
        token = token or os.environ.get("DIALOUT_TOKEN")
        token = None if not token else check_token(token)
    except InvalidOptions as error:
        raise Problem("url", str(error)) from None
    report.ok(f"address: {address.url}")
    proxy = _proxy_for(address.url)
    if proxy is None:
        _look_up(report, address.url)
    else:
        report.ok(f"proxy: {proxy} (from the environment)")
    _ask_edge(report, address.url)
    _measure_download(report, address.url)
    if name is None:
        report.skip("space and token: name the space with --space or DIALOUT_SPACE")
        return
    _ask_space(report, address.url, name)
    if token is None:
        report.skip("token: give it with --token-file or DIALOUT_TOKEN")
        return
    asyncio.run(_try_token(report, address.url, name, token))


def _proxy_for(url: str) -> Optional[str]:
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    # It may have a password.
    return None if proxy is None else proxy.rpartition("@")[2]


def _look_up(report: Report, url: str) -> None:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Problem("dns", describe_failure(error, url)) from None
    addresses = sorted({str(entry[4][0]) for entry in found})
    report.ok(f"name: {host} is {', '.join(addresses[:4])}")
    try:
        socket.create_connection((host, port), TIMEOUT_S).close()
    except OSError as error:
        raise Problem("connect", describe_failure(error, url)) from None
    report.ok(f"connection: something listens at port {port}")


def _get(url: str, path: str) -> tuple[Any, bytes, float]:
    started = time.monotonic()
    try:
        with open_url(make_opener(), "GET", url + path, headers={}, timeout=TIMEOUT_S) as answer:
            body: bytes = answer.read(4 << 20)
            return answer, body, time.monotonic() - started
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None)
        cause = reason if isinstance(reason, BaseException) else error
        words = describe_failure(cause, url)
        what = "tls" if "certificate" in words or "TLS" in words else "connect"
        what = "edge" if "speaks http" in words else what
        raise Problem(what, words) from None


def _ask_edge(report: Report, url: str) -> None:
    answer, body, _ = _get(url, "/healthz")
    location = answer.headers.get("Location")
    if 300 <= answer.status < 400 and location:
        raise Problem("edge", f"{url} redirects to {location[:200]}: use that address")
    try:
        is_edge = answer.status == 200 and isinstance(json.loads(body), dict)
    except ValueError:
        is_edge = False
    if not is_edge:
        raise Problem(
            "edge",
            f"{url} answers with status {answer.status}, but is no Dialout edge: something in between answers, or the address is another one",
        )
    if url.startswith("https:"):
        report.ok("TLS: the certificate is accepted")
    report.ok("edge: it answers")
    _check_clock(report, answer.headers.get("Date"))


def _measure_download(report: Report, url: str) -> None:
    """Fetches something of the edge's own: a slow link carries jobs, but their files take long."""
    answer, body, seconds = _get(url, "/openapi.json")
    if answer.status != 200 or seconds < SLOW_DOWNLOAD_S:
        return
    rate = len(body) / seconds
    if rate < SLOW_BYTES_S:
        report.problem(
            Problem(
                "slow", f"link: {rate / 1_024:,.0f} KB a second: slow, but a worker copes with it"
            )
        )


def _check_clock(report: Report, date: Optional[str]) -> None:
    try:
        ahead = time.time() - parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        report.skip("clock: the edge doesn't say what time it is")
        return
    if abs(ahead) <= CLOCK_S:
        report.ok("clock: as the edge's")
        return
    direction = "ahead of" if ahead > 0 else "behind"
    report.problem(
        Problem("clock", f"clock: this machine's is {abs(ahead):,.0f} s {direction} the edge's")
    )


def _ask_space(report: Report, url: str, space: str) -> None:
    answer, body, _ = _get(url, f"/api/spaces/{space}")
    if answer.status == 200:
        try:
            found = json.loads(body)
            schema = "with" if found.get("schema") else "without"
            report.ok(f"space: {space} is there, {schema} a schema")
        except (ValueError, AttributeError):
            raise Problem("edge", "the answer about the space is no JSON") from None
    elif answer.status in (401, 404):
        # To a stranger a private space isn't there; the token tells.
        report.skip(f"space: {space} is not public, or there is none")
    else:
        raise Problem("space", f"the question for the space is answered with {answer.status}")


async def _try_token(report: Report, url: str, space: str, token: str) -> None:
    """Opens a worker's socket without registering: the place of a worker that serves is not taken."""
    address = f"ws{url[4:]}/api/spaces/{space}/connect"
    try:
        edge = await dial(address, token, TIMEOUT_S)
    except UpgradeRefused as error:
        status, detail = error.refused.status, error.refused.detail
        what = {401: "token", 403: "token", 404: "space"}.get(status, "edge")
        what = what if error.refused.is_problem else "edge"
        words = detail or "something in between lets no WebSocket through"
        raise Problem(what, f"the edge refuses a worker with status {status}: {words}") from None
    except Exception as error:  # `websockets` and the network raise many things
        raise Problem("connect", f"no WebSocket: {describe_failure(error, url)}") from None
    try:
        await asyncio.wait_for(edge.recv(), TIMEOUT_S)
        report.ok("token: the edge takes it")
        await _measure(report, edge)
    except (asyncio.TimeoutError, OSError):
        raise Problem("slow", "the WebSocket is open, but nothing comes over it") from None
    finally:
        # Without a registration, 1000 gives up nothing.
        await edge.close(1000)


async def _measure(report: Report, edge: Any) -> None:
    times = []
    for _ in range(PINGS):
        started = time.monotonic()
        await edge.send("ping")
        while await asyncio.wait_for(edge.recv(), TIMEOUT_S) != "pong":
            pass
        times.append(time.monotonic() - started)
    best = min(times)
    words = f"link: a ping takes {best * 1_000:.0f} ms"
    if best > SLOW_PING_S:
        raise Problem("slow", f"{words}: slow, but a worker copes with it")
    report.ok(words)
