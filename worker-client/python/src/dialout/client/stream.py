"""A job's stream of server-sent events, over as many connections as it takes."""

from __future__ import annotations

import http.client
import socket
import time
from typing import Any, Iterator, Optional

from ..errors import ClientError
from ..http import open_url
from ..json_text import parse_json
from ..retrying import backoff
from .api import Api, refusal
from .events import End, Event, Follower

# The edge sends a comment every 15 s (C12b).
SILENCE_S = 45.0
LARGEST_LINE = 32 << 20


class JobStream:
    """The events of a job from its first one on; it ends with `End`."""

    def __init__(self, api: Api, job_id: str, path: str, until: Optional[float] = None) -> None:
        self._api = api
        self._job_id = job_id
        self._path = path
        self._until = until
        self._follower = Follower()
        self._answer: Any = None
        self._closed = False

    def events(self) -> Iterator[Event]:
        """Raises `ClientError` if the edge refuses the stream, or the time is over."""
        failures = 0
        while not self._closed:
            try:
                for event in self._connect():
                    failures = 0
                    yield event
            except (OSError, http.client.HTTPException, _Cut) as error:
                if self._closed:
                    return
                if self._is_late():
                    raise self._timed_out() from error
            if self._follower.is_over or self._closed:
                return
            delay = backoff(failures, 1.0, 10.0)
            failures += 1
            if self._until is not None:
                delay = min(delay, max(0.0, self._until - time.monotonic()))
            time.sleep(delay)
            if self._is_late():
                raise self._timed_out()

    def close(self) -> None:
        """Ends it, from any thread."""
        self._closed = True
        connection = _socket_of(self._answer)
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _connect(self) -> Iterator[Event]:
        url = f"{self._api.url}{self._path}/events"
        headers = {"Accept": "text/event-stream", **self._api.headers(url)}
        if self._follower.last_event_id is not None:
            headers["Last-Event-ID"] = self._follower.last_event_id
        with open_url(
            self._api.opener, "GET", url, headers=headers, timeout=self._patience()
        ) as answer:
            self._answer = answer
            if answer.status == 204:
                # C13: there is nothing more; what ended it is in the job.
                yield from self._end_of_job()
                return
            if answer.status != 200 or not _is_stream(answer):
                self._refuse(answer, url)
            yield from self._read(answer)

    def _refuse(self, answer: Any, url: str) -> None:
        failure = refusal(answer.status, answer.headers, answer.read(65_536), url)
        is_edge = not failure.code.startswith("http_")
        if is_edge and answer.status < 500 and answer.status not in (408, 425, 429):
            raise failure
        raise _Cut

    def _read(self, answer: Any) -> Iterator[Event]:
        event_id: Optional[str] = None
        data: list[str] = []
        while not self._closed:
            if self._is_late():
                raise self._timed_out()
            _set_timeout(answer, self._patience())
            line: bytes = answer.readline(LARGEST_LINE)
            if not line.endswith(b"\n"):
                raise _Cut  # it ended in the middle of an event
            text = line.decode().rstrip("\r\n")
            if text == "":
                if data:
                    yield from self._dispatch(event_id, "\n".join(data))
                    if self._follower.is_over:
                        return
                event_id, data = None, []
            elif text.startswith("id:"):
                event_id = text[3:].strip()
            elif text.startswith("data:"):
                data.append(text[5:].lstrip())

    def _dispatch(self, event_id: Optional[str], data: str) -> list[Event]:
        try:
            frame = parse_json(data)
        except ValueError as error:
            raise _Cut from error
        return self._follower.on_frame(event_id, frame) if isinstance(frame, dict) else []

    def _end_of_job(self) -> list[Event]:
        job = self._api.call("GET", self._path).value
        self._follower.is_over = True
        return [End(job["status"], job.get("result"), job.get("error"), job.get("outputs") or [])]

    def _patience(self) -> float:
        if self._until is None:
            return SILENCE_S
        return max(0.05, min(SILENCE_S, self._until - time.monotonic()))

    def _is_late(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    def _timed_out(self) -> ClientError:
        return ClientError(
            "timed_out", f"The job {self._job_id} has not ended in time; it goes on."
        )


class _Cut(Exception):
    """The connection ended before the stream did."""


def _is_stream(answer: Any) -> bool:
    return str(answer.headers.get("Content-Type") or "").startswith("text/event-stream")


def _socket_of(answer: Any) -> Any:
    """The socket under an answer of the standard library, which has no other way to it."""
    return getattr(getattr(getattr(answer, "fp", None), "raw", None), "_sock", None)


def _set_timeout(answer: Any, seconds: float) -> None:
    connection = _socket_of(answer)
    if connection is not None:
        connection.settimeout(seconds)
