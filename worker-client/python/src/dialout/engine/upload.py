"""Sending a file of a job's output."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import random
import threading
import time
from typing import Any, Callable, Optional
from urllib.parse import quote, urljoin

from ..http import open_url
from ..log import Log
from ..retrying import backoff
from .download import LAST_WORDS_S, PROXY_S, RENEWAL_S, STALL_S, TEMPORARY
from .failures import TransferFailed, describe_failure, read_problem

# One request carries no more (W36b).
LARGEST_PUT = 104_857_600
# Bytes that were damaged on the way are sent again for so long, seconds.
DAMAGED_S = 5.0
PIECE = 1 << 20


class Upload:
    """Sends a file with its checksum, again after breaks as long as the attempt is wanted."""

    def __init__(
        self,
        path: str,
        name: str,
        content_type: str,
        *,
        edge_url: str,
        url: Callable[[], str],
        deadline_at: Callable[[], Optional[float]],
        stopped: threading.Event,
        opener: Any,
        log: Log,
    ) -> None:
        self._path = path
        self._name = name
        self._content_type = content_type
        self._edge_url = edge_url
        self._template = url
        self._deadline_at = deadline_at
        self._stopped = stopped
        self._opener = opener
        self._log = log
        self._size = os.path.getsize(path)
        self._refused_since: Optional[float] = None

    @property
    def _url(self) -> str:
        address = urljoin(self._edge_url, self._template())
        return address.replace("{name}", quote(self._name, safe=""))

    def run(self) -> dict[str, Any]:
        """Returns `{name, content_type, size, sha256}`. Raises `TransferFailed`, or `OSError` if it can't be read."""
        if self._size > LARGEST_PUT:
            raise TransferFailed(
                f"it has {self._size:,} bytes; the edge takes {LARGEST_PUT:,} in a file"
            )
        digest = self._digest()
        failures = 0
        while True:
            try:
                return self._put(digest)
            except _TryAgain as error:
                self._wait_after(str(error), failures)
                failures += 1

    def _put(self, digest: bytes) -> dict[str, Any]:
        checksum = base64.b64encode(digest).decode()
        headers = {
            "Content-Type": self._content_type,
            "Content-Length": str(self._size),
            "Repr-Digest": f"sha-256=:{checksum}:",
        }
        with open(self._path, "rb") as file:
            try:
                answer = open_url(
                    self._opener,
                    "PUT",
                    self._url,
                    headers=headers,
                    timeout=STALL_S,
                    body=_Watched(file, self._stopped),
                )
                with answer:
                    return self._read(answer)
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None)
                cause = reason if isinstance(reason, BaseException) else error
                raise _TryAgain(describe_failure(cause, self._edge_url)) from error

    def _read(self, answer: Any) -> dict[str, Any]:
        body = answer.read(100_000)
        if answer.status in (200, 201):
            try:
                told = json.loads(body)
                return {
                    "name": str(told["name"]),
                    "content_type": str(told["content_type"]),
                    "size": int(told["size"]),
                    "sha256": str(told["sha256"]),
                }
            except (ValueError, KeyError, TypeError) as error:
                raise _TryAgain("its answer is not that of an edge") from error
        raise self._refusal(answer, body)

    def _refusal(self, answer: Any, body: bytes) -> Exception:
        code, detail = read_problem(answer.headers.get("Content-Type") or "", body)
        status: int = answer.status
        why = f"the edge answered with status {status}"
        if code is not None:
            why += f": {detail or code}".rstrip(".")
        if status >= 500 or status in TEMPORARY:
            return _TryAgain(why)
        patience = PROXY_S if code is None else RENEWAL_S if status == 403 else 0.0
        patience = DAMAGED_S if code == "checksum_mismatch" else patience
        now = time.monotonic()
        self._refused_since = self._refused_since or now
        return TransferFailed(why) if now - self._refused_since >= patience else _TryAgain(why)

    def _wait_after(self, why: str, failures: int) -> None:
        self._check()
        self._log.warn(f"the file {self._name!r} is not sent yet: {why}")
        delay = backoff(failures, 0.5, 10.0, lambda: 0.5 + random.random() / 2)
        deadline = self._deadline_at()
        if deadline is not None and delay > deadline - time.time() - LAST_WORDS_S:
            raise TransferFailed(f"{why}, until shortly before the deadline")
        self._stopped.wait(delay)
        self._check()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise TransferFailed("nobody wants it any more")

    def _digest(self) -> bytes:
        digest = hashlib.sha256()
        with open(self._path, "rb") as file:
            while True:
                piece = file.read(PIECE)
                if not piece:
                    return digest.digest()
                digest.update(piece)


class _TryAgain(Exception):
    pass


class _Watched:
    """A file that is being sent, in large pieces, until nobody wants it any more."""

    def __init__(self, file: Any, stopped: threading.Event) -> None:
        self._file = file
        self._stopped = stopped

    def read(self, _: int = -1) -> bytes:
        if self._stopped.is_set():
            raise ConnectionAbortedError("nobody wants the file any more")
        piece: bytes = self._file.read(PIECE)
        return piece
