"""What a worker keeps of one attempt until the edge has acknowledged its end."""

from __future__ import annotations

import itertools
import json
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Optional

from ..json_text import parse_json
from .link import compact

Key = tuple[str, int]
# The edge keeps the last 1 MiB of a job's output, so this leaves room for a long outage without letting a talkative
# model fill the machine.
MOST_KEPT = 16 << 20


_RUNS = itertools.count(1)


class OutputLog:
    """The `output` frames of an attempt, in order."""

    def __init__(self, most_bytes: int = MOST_KEPT) -> None:
        self._frames: deque[str] = deque()
        self._bytes = 0
        self._first = 0
        self._most = most_bytes
        self.is_complete = True

    @property
    def end(self) -> int:
        """The number of the next frame."""
        return self._first + len(self._frames)

    def append(self, frame: str) -> None:
        self._frames.append(frame)
        self._bytes += len(frame)
        while self._bytes > self._most and len(self._frames) > 1:
            self._bytes -= len(self._frames.popleft())
            self._first += 1
            self.is_complete = False

    def get(self, number: int) -> Optional[str]:
        """The frame of this number; `None` if it is no longer kept."""
        index = number - self._first
        return self._frames[index] if 0 <= index < len(self._frames) else None

    def remove(self, number: int) -> None:
        """Forgets a frame that the edge didn't take, and that counts for nobody."""
        del self._frames[number - self._first]

    def find(self, frame: str) -> Optional[int]:
        """The number of the first frame that is this one."""
        for index, kept in enumerate(self._frames):
            if kept == frame:
                return self._first + index
        return None

    def resume_at(self, stored: int) -> int:
        """Goes on behind the first `stored` frames; returns how many neither side has.

        The edge doesn't know about those and counts on from what it has stored, so the numbers here are shifted.
        """
        lost = max(0, self._first - stored)
        self._first -= lost
        return lost

    def joined(self) -> Optional[str]:
        """All of it as the JSON of one value: a text if every piece is text, else a list. `None` if pieces were lost."""
        if not self.is_complete:
            return None
        frames = [parse_json(frame) for frame in self._frames]
        pieces = [
            (frame["delta"], text) for frame, text in zip(frames, self._frames) if "delta" in frame
        ]
        if not pieces:
            return "null"
        if all(isinstance(delta, str) for delta, _ in pieces):
            return json.dumps("".join(delta for delta, _ in pieces))
        # As they were written: their numbers keep every digit.
        return "[" + ",".join(_delta_of(text) for _, text in pieces) + "]"


def _delta_of(frame: str) -> str:
    return frame[frame.index('"delta":') + len('"delta":') : -1]


@dataclass
class End:
    """How an attempt ended on this side; sent again until the edge acknowledges it (W20a)."""

    of: str
    text: str
    is_canceled: bool


class Attempt:
    """An attempt. Its frames are derived from here, so there is no separate queue of unsent ones."""

    def __init__(self, frame: dict[str, Any]) -> None:
        self.key: Key = (frame["job_id"], frame["attempt"])
        # An edge that was killed may send the same attempt again while the model still works on the former one.
        self.run = next(_RUNS)
        self.frame = frame
        self.file_urls = [file["url"] for file in frame["files"]]
        outputs = frame.get("outputs")
        self.output_url: Optional[str] = outputs["url"] if outputs else None
        self.outputs = OutputLog()
        # `preparing` (its files are fetched), `waiting` (for a place), `running` or `ended`.
        self.phase = "preparing"
        self.cause: Optional[str] = None
        self.end: Optional[End] = None
        self.folder: Optional[str] = None
        self.stopped = threading.Event()
        self.deadline_at: Optional[float] = None
        self._progress: Optional[str] = None
        self._progress_at = 0
        self._progress_sent = True
        self._next = 0
        self._end_sent = False

    @property
    def ref(self) -> dict[str, Any]:
        return {"job_id": self.key[0], "attempt": self.key[1]}

    def add_output(self, delta: str) -> None:
        """`delta` is JSON."""
        self.outputs.append(f'{self._head("output")},"delta":{delta}}}')

    def add_file(self, name: str, preview: bool) -> None:
        self.outputs.append(self._file_frame(name, preview))

    def on_no_such_file(self, name: str) -> None:
        """The edge has no such file: its frame isn't sent again, and doesn't count (W36g)."""
        for preview in (False, True):
            number = self.outputs.find(self._file_frame(name, preview))
            if number is not None:
                self.outputs.remove(number)
                self._next -= number < self._next
                self._progress_at -= number < self._progress_at
                return

    def _file_frame(self, name: str, preview: bool) -> str:
        more = {"file": name, **({"preview": True} if preview else {})}
        return f"{self._head('output')},{compact(more)[1:]}"

    def set_progress(
        self, percent: float, message: Optional[str], remaining: Optional[float]
    ) -> None:
        frame: dict[str, Any] = {"type": "progress", **self.ref, "progress": percent}
        if message is not None:
            frame["message"] = message
        if remaining is not None:
            frame["estimated_remaining"] = remaining
        self._progress = compact(frame)
        self._progress_at = self.outputs.end
        self._progress_sent = False

    def resume(self, stored: int) -> int:
        """The edge has `stored` of the outputs (W26). Returns how many are lost."""
        lost = self.outputs.resume_at(stored)
        self._next = stored
        self._progress_sent = self._progress is None
        self._progress_at = min(max(0, self._progress_at - lost), self.outputs.end)
        self._end_sent = False
        return lost

    def take(self) -> Optional[str]:
        """The next frame to send, in the order in which they came; the end comes last (W21)."""
        if not self._progress_sent and self._next >= self._progress_at:
            self._progress_sent = True
            return self._progress
        while self._next < self.outputs.end:
            self._next += 1
            frame = self.outputs.get(self._next - 1)
            if frame is not None:
                return frame
        if self.end is not None and not self._end_sent:
            self._end_sent = True
            return self.end.text
        return None

    def result_text(self, output: str, metrics: Optional[str], files: list[str]) -> str:
        """A `result` frame; `output` and `metrics` are JSON."""
        text = f'{self._head("result")},"output":{output}'
        if metrics is not None:
            text += f',"metrics":{metrics}'
        if files:
            text += f',"files":{json.dumps(files)}'
        return text + "}"

    def fail_text(self, code: str, message: str, retryable: bool) -> str:
        more = {"code": code, "message": message, "retryable": retryable}
        return f"{self._head('fail')},{compact(more)[1:]}"

    def _head(self, kind: str) -> str:
        return compact({"type": kind, **self.ref})[:-1]
