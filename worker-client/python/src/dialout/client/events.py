"""The events of a job, and how they follow from the frames of its stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional, Union

from ..errors import ClientError

ENDED = ("completed", "failed", "canceled")
# C12f: the edge itself ends the stream. Anything else is trouble on the way.
_FINAL = ("space_not_found", "job_not_found", "not_authenticated", "not_allowed")


@dataclass(frozen=True)
class Progress:
    """How the job stands. `progress` is in percent, `remaining` in seconds, `queue_position` 1 if it is next."""

    status: str
    progress: float
    message: Optional[str]
    remaining: Optional[float]
    queue_position: Optional[int]
    attempt: int


@dataclass(frozen=True)
class Output:
    """A piece of output: `delta` is text or any JSON, `file` describes a file (`name`, `content_type`, `size`,
    `sha256`, `url`), which is a preview if `preview`."""

    delta: Any
    attempt: int
    file: Optional[dict[str, Any]] = None
    preview: bool = False


@dataclass(frozen=True)
class Restart:
    """Drop the output so far: another attempt begins (`why` is `attempt`), or some of it is lost (`gap`)."""

    why: str
    attempt: int


@dataclass(frozen=True)
class End:
    """The job's end. `outputs` are its files, described as in `Output`."""

    status: str
    result: Any = None
    error: Optional[dict[str, Any]] = None
    outputs: list[dict[str, Any]] = field(default_factory=list)


Event = Union[Progress, Output, Restart, End]


class Follower:
    """Turns frames into events, each once, over any number of connections."""

    def __init__(self) -> None:
        self.last_event_id: Optional[str] = None
        self.is_over = False
        self._epoch: Optional[str] = None
        self._offset = 0
        self._attempt = 0
        self._has_output = False

    def on_frame(self, event_id: Optional[str], frame: dict[str, Any]) -> list[Event]:
        """Raises `ClientError` if the edge ends the stream for good."""
        kind = frame.get("type")
        events: list[Event] = []
        if kind == "connection":
            self._on_connection(frame, events)
        elif kind == "gap":
            if self._is_new(frame):
                self._restart("gap", self._attempt, events)
        elif kind == "output":
            if self._is_new(frame):
                self._on_output(frame, events)
        elif kind == "progress":
            self._on_progress(frame, events)
        elif kind == "error":
            code = str(frame.get("code"))
            if code in _FINAL:
                raise ClientError(code, str(frame.get("message") or frame.get("error") or code))
        if event_id is not None:
            self.last_event_id = event_id
        return events

    def _on_connection(self, frame: dict[str, Any], events: list[Event]) -> None:
        epoch = str(frame.get("epoch"))
        if epoch != self._epoch:
            if self._epoch is not None:
                self._restart("gap", self._attempt, events)
            self._epoch, self._offset = epoch, 0

    def _on_output(self, frame: dict[str, Any], events: list[Event]) -> None:
        attempt = self._on_attempt(frame, events)
        self._has_output = True
        file = frame.get("file")
        known = file if isinstance(file, dict) else None
        events.append(Output(frame.get("delta"), attempt, known, frame.get("preview") is True))

    def _on_progress(self, frame: dict[str, Any], events: list[Event]) -> None:
        status = str(frame.get("status"))
        # A snapshot ends with the current state, which may be known: said again it does no harm.
        self._is_new(frame)
        attempt = self._on_attempt(frame, events)
        events.append(
            Progress(
                status,
                float(frame.get("progress") or 0),
                frame.get("message"),
                frame.get("estimated_remaining"),
                frame.get("queue_position"),
                attempt,
            )
        )
        if status in ENDED:
            self.is_over = True
            outputs = frame.get("outputs")
            files = outputs if isinstance(outputs, list) else []
            events.append(End(status, frame.get("result"), frame.get("error"), files))

    def _on_attempt(self, frame: dict[str, Any], events: list[Event]) -> int:
        attempt = frame.get("attempt")
        number = attempt if isinstance(attempt, int) else self._attempt
        if number > self._attempt:
            self._restart("attempt", number, events)
            self._attempt = number
        return number

    def _restart(self, why: str, attempt: int, events: list[Event]) -> None:
        if self._has_output:
            events.append(Restart(why, attempt))
        self._has_output = False

    def _is_new(self, frame: dict[str, Any]) -> bool:
        """Whether this offset was not seen yet: a snapshot repeats pieces (C10b)."""
        offset = frame.get("offset")
        if not isinstance(offset, int):
            return True
        is_new = offset > self._offset
        self._offset = max(self._offset, offset)
        return is_new
