"""Fetching a file of a job."""

from __future__ import annotations

import hashlib
import http.client
import random
import re
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional
from urllib.parse import urljoin

from ..http import open_url
from ..log import Log
from ..retrying import backoff
from .failures import TransferFailed, describe_failure, read_problem

# A connection on which nothing comes for so long is given up, seconds.
STALL_S = 20.0
# A try that would begin less than this before the deadline isn't made, seconds: so whoever submitted learns what was
# wrong with the file, and not only that the time was over.
LAST_WORDS_S = 3.0
WHOLE_TRIES = 3
# A 403 is asked again for so long: a worker that reconnects gets a new address within this time, seconds.
RENEWAL_S = 15.0
# Another answer than the edge's own is asked again for so long: a proxy says 404 while the edge restarts.
PROXY_S = 2.0
TEMPORARY = (408, 425, 429)
PIECE = 65_536


class Interrupted(Exception):
    """A try failed, but another one may succeed."""


class Download:
    """Fetches a file to `path`. A connection that breaks or stalls is made again and goes on where the last one
    ended, as long as the attempt is wanted (W14f)."""

    def __init__(
        self,
        file: dict[str, Any],
        path: Path,
        *,
        edge_url: str,
        url: Callable[[], str],
        deadline_at: Callable[[], Optional[float]],
        stopped: threading.Event,
        opener: Any,
        log: Log,
        headers: Optional[dict[str, str]] = None,
    ) -> None:
        self._size = int(file["size"])
        self._sha256 = file.get("sha256")
        self._name = f"the file {str(file.get('name', ''))[:100]!r}"
        self._path = path
        self._edge_url = edge_url
        self._url = url
        self._deadline_at = deadline_at
        self._stopped = stopped
        self._opener = opener
        self._log = log
        self._extra = headers or {}
        self._hash = hashlib.sha256()
        self._received = 0
        self._etag: Optional[str] = None
        self._refused_since: Optional[float] = None

    def run(self) -> None:
        """Raises `TransferFailed`, or `OSError` of this machine's disk."""
        for attempt in range(1, WHOLE_TRIES + 1):
            with open(self._path, "wb") as target:
                self._fetch(target)
            if self._sha256 is None or self._hash.hexdigest() == self._sha256:  # W14b
                return
            if attempt < WHOLE_TRIES:
                self._log.warn(f"{self._name}: its checksum is wrong, and it is fetched again")
            self._hash = hashlib.sha256()
            self._received = 0
            self._etag = None
        raise self._failure("its checksum is wrong")

    def _fetch(self, target: BinaryIO) -> None:
        failures = 0
        while True:
            before = self._received
            try:
                self._receive(target)
                if self._received == self._size:
                    return
                came = f"{self._received:,} came"
                # The answer ended well, but before the file did: a proxy may have cut it.
                if self._received == before:
                    raise self._failure(f"it should have {self._size:,} bytes, {came}")
                raise Interrupted(came)
            except (Interrupted, _NetworkFailed) as error:
                if self._received == self._size and self._received > 0:
                    return
                failures = 1 if self._received > before else failures + 1
                self._wait_after(str(error), failures)

    def _wait_after(self, why: str, failures: int) -> None:
        state = f"{self._received:,} of {self._size:,} bytes came"
        self._check()
        self._log.warn(f"{self._name}: {why}; {state}, going on")
        delay = backoff(failures - 1, 0.5, 10.0, lambda: 0.5 + random.random() / 2)
        deadline = self._deadline_at()
        if deadline is not None and delay > deadline - time.time() - LAST_WORDS_S:
            raise self._failure(f"{why}; {state} before the deadline")
        self._stopped.wait(delay)
        self._check()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise self._failure("nobody wants it any more")

    def _receive(self, target: BinaryIO) -> None:
        url = urljoin(self._edge_url, self._url())  # W14: signed, no token
        answer = _network(
            url,
            lambda: open_url(self._opener, "GET", url, headers=self._headers(), timeout=STALL_S),
        )
        with answer:
            skip = self._skip_for(answer)
            while True:
                self._check()
                piece: bytes = _network(url, lambda: answer.read1(PIECE))
                if not piece:
                    return
                fresh = piece[skip:]
                skip = max(0, skip - len(piece))
                if self._received + len(fresh) > self._size:
                    raise self._failure(f"it should have {self._size:,} bytes, more came")
                target.write(fresh)
                self._hash.update(fresh)
                self._received += len(fresh)
                self._refused_since = None

    def _headers(self) -> dict[str, str]:
        if self._received == 0:
            return self._extra
        since = {**self._extra, "Range": f"bytes={self._received}-"}
        # A weak one never matches, so the whole file would come every time.
        is_strong = self._etag is not None and self._etag.startswith('"')
        return {**since, "If-Range": str(self._etag)} if is_strong else since

    def _skip_for(self, answer: Any) -> int:
        """How many bytes of an answer are known already: all of them, if the whole file came instead of its rest."""
        if answer.status == 206:
            start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
            if start is not None and int(start[1]) == self._received:
                return 0
            raise Interrupted("another part came than was asked for")
        if answer.status != 200:
            raise self._refusal(answer)
        self._etag = answer.headers.get("ETag")
        return self._received

    def _refusal(self, answer: Any) -> Exception:
        body = _network(self._url(), lambda: answer.read(10_000))
        code, detail = read_problem(answer.headers.get("Content-Type") or "", body)
        status: int = answer.status
        why = f"the edge answered with status {status}"
        if code is not None:
            why += f": {detail or code}".rstrip(".")
        if status >= 500 or status in TEMPORARY:
            return Interrupted(why)
        patience = PROXY_S if code is None else RENEWAL_S if status == 403 else 0.0
        now = time.monotonic()
        self._refused_since = self._refused_since or now
        return self._failure(why) if now - self._refused_since >= patience else Interrupted(why)

    def _failure(self, why: str) -> TransferFailed:
        return TransferFailed(
            f"{self._name[0].upper()}{self._name[1:]} could not be fetched: {why}."
        )


class _NetworkFailed(Exception):
    pass


def _network(url: str, step: Callable[[], Any]) -> Any:
    """Errors of the network are told from those of the disk, of which no other try would get rid."""
    try:
        return step()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None)
        cause = reason if isinstance(reason, BaseException) else error
        raise _NetworkFailed(describe_failure(cause, url)) from error
