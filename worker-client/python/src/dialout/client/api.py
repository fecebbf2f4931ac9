"""Calls to the edge: sent again until they are answered, decided by the edge's own problems (decision 0039)."""

from __future__ import annotations

import http.client
import os
import time
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional

from ..address import DEFAULT_URL, read_edge_address
from ..engine.failures import describe_answer, describe_failure, read_problem
from ..errors import ClientError, InvalidOptions
from ..http import make_opener, open_url
from ..json_text import parse_json
from ..retrying import backoff

TRIES = 5
REQUEST_S = 20.0
# Statuses below 500 after which another try may succeed.
TEMPORARY = (408, 423, 425, 429)
LARGEST_ANSWER = 64 << 20
# What a request sends, made anew for each try, and its length in bytes.
MakeBody = Callable[[], tuple[Any, int]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    value: Any


class Api:
    """An edge, and the key with which it is asked."""

    def __init__(self, url: Optional[str], key: Optional[str], timeout: Optional[float]) -> None:
        address = read_edge_address(url or os.environ.get("DIALOUT_URL") or DEFAULT_URL)
        self.url = address.url
        self.space = address.space
        self.opener = make_opener()
        self._timeout = timeout
        found = key or os.environ.get("DIALOUT_KEY") or None
        if found is not None and not found.isascii():
            raise InvalidOptions("The key has characters that no key has.")
        self._key = None if found is None else found.strip()

    def headers(self, url: str) -> dict[str, str]:
        """The key goes to the edge alone, not to where it keeps files."""
        mine = url.startswith(f"{self.url}/") and self._key is not None
        return {"Authorization": f"Bearer {self._key}"} if mine else {}

    def call(
        self,
        method: str,
        path: str,
        *,
        make_body: Optional[MakeBody] = None,
        headers: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> Answer:
        """Sends a request that may be sent twice. Raises `ClientError`.

        Without a `timeout` (seconds, of this call or of the client) it is tried 5 times.
        """
        limit = timeout if timeout is not None else self._timeout
        until = None if limit is None else time.monotonic() + limit
        tries = 0
        while True:
            tries += 1
            try:
                return self._try(method, self.url + path, make_body, headers or {}, until)
            except _Temporary as error:
                delay = max(error.retry_after, backoff(tries, 0.25, 10.0))
                is_over = tries >= TRIES if until is None else time.monotonic() + delay > until
                if is_over:
                    raise error.failure from error.__cause__
                time.sleep(delay)

    def _try(
        self,
        method: str,
        url: str,
        make_body: Optional[MakeBody],
        headers: Mapping[str, str],
        until: Optional[float],
    ) -> Answer:
        sent = {"Accept": "application/json", **headers, **self.headers(url)}
        body = None
        if make_body is not None:
            body, length = make_body()
            sent["Content-Length"] = str(length)
        timeout = REQUEST_S if until is None else max(0.1, min(REQUEST_S, until - time.monotonic()))
        try:
            with open_url(
                self.opener, method, url, headers=sent, timeout=timeout, body=body
            ) as answer:
                return self._read(answer, url)
        except (OSError, http.client.HTTPException) as error:
            raise _Temporary(network_failure(error, self.url)) from error

    def _read(self, answer: Any, url: str) -> Answer:
        body: bytes = answer.read(LARGEST_ANSWER)
        status: int = answer.status
        if 200 <= status < 300:
            return Answer(status, answer.headers, self._value(body, url))
        failure = refusal(status, answer.headers, body, url)
        is_edge = not failure.code.startswith(("not_an_edge", "http_"))
        if not is_edge or status >= 500 or status in TEMPORARY:
            raise _Temporary(failure)
        raise failure

    def _value(self, body: bytes, url: str) -> Any:
        if not body:
            return None
        try:
            return parse_json(body.decode())
        except ValueError as error:
            # A login page of a network answers 200, too.
            words = f"{url} answers, but not with JSON: something in between answers"
            raise _Temporary(ClientError("not_an_edge", words)) from error


class _Temporary(Exception):
    def __init__(self, failure: ClientError) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.retry_after = failure.retry_after or 0.0


def network_failure(error: BaseException, url: str) -> ClientError:
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, BaseException) else error
    return ClientError("unreachable", describe_failure(cause, url))


def refusal(status: int, headers: Any, body: bytes, url: str) -> ClientError:
    """What an answer other than 2xx says. Only a problem of the edge is its own word."""
    content_type = headers.get("Content-Type") or ""
    code, detail = read_problem(content_type, body)
    if code is None:
        words = describe_answer(status, headers, body, url) or f"status {status}, not from the edge"
        return ClientError(f"http_{status}", words, status=status)
    problem = parse_json(body.decode(errors="replace"))
    errors = problem.get("errors")
    known = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    words = detail or code
    if known:
        words += " " + "; ".join(f"{each.get('path')}: {each.get('message')}" for each in known[:5])
    return ClientError(
        code, words, status=status, errors=known, retry_after=_seconds(headers.get("Retry-After"))
    )


def _seconds(text: Optional[str]) -> Optional[float]:
    try:
        return None if text is None else min(3_600.0, max(0.0, float(text)))
    except ValueError:
        return None
