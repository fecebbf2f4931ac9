"""A job as its model sees it."""

from __future__ import annotations

import contextvars
import math
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional, Protocol, Sequence

from .errors import Cancelled, JobError
from .files import File


@dataclass(frozen=True)
class OutputFile:
    """A file that was sent: `size` in bytes, `sha256` in hexadecimal digits."""

    name: str
    content_type: str
    size: int
    sha256: str


class JobPort(Protocol):
    """What carries a job's news to the edge."""

    def output(self, delta: Any) -> None: ...

    def progress(
        self, percent: float, message: Optional[str], remaining: Optional[float]
    ) -> None: ...

    def file(
        self, content: Any, name: Optional[str], content_type: Optional[str], tell: str
    ) -> OutputFile: ...


@dataclass(frozen=True)
class JobInfo:
    """What the edge says about a job."""

    id: str
    attempt: int
    input: dict[str, Any]
    files: Sequence[File]
    priority: int
    user: Optional[str]
    created_at: Optional[datetime]
    deadline: Optional[datetime]


class Job:
    """One attempt of a job: a model gets it as a parameter `job: dialout.Job`, or from `dialout.current_job()`.

    All of it may be used from any thread.
    """

    def __init__(self, info: JobInfo, port: JobPort) -> None:
        self.id = info.id
        self.attempt = info.attempt
        self.input = info.input
        self.files = info.files
        self.priority = info.priority
        self.user = info.user
        self.created_at = info.created_at
        self.deadline = info.deadline
        self._port = port
        self._cancelled = threading.Event()
        self._why = "canceled"
        self._metrics: Optional[dict[str, Any]] = None

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the job any more."""
        return self._cancelled.is_set()

    def raise_if_cancelled(self) -> None:
        """Raises `Cancelled` if nobody wants the job any more."""
        if self._cancelled.is_set():
            raise Cancelled(self._why)

    def sleep(self, seconds: float) -> None:
        """Waits, and raises `Cancelled` as soon as nobody wants the job any more."""
        self._cancelled.wait(seconds)
        self.raise_if_cancelled()

    def progress(
        self, percent: float, message: Optional[str] = None, remaining: Optional[float] = None
    ) -> None:
        """Reports how far the job is, in percent; `remaining` is the time that is left, in seconds.

        A number outside 0 to 100 is cut to that range. Raises `JobError` for what is no number, and `Cancelled`.
        """
        self.raise_if_cancelled()
        known = _finite(percent)
        if known is None:
            raise JobError(f"Progress must be a number from 0 to 100, not {percent!r}.")
        left = None if remaining is None else _finite(remaining)
        self._port.progress(
            min(100.0, max(0.0, known)), message, None if left is None else max(0.0, left)
        )

    def output(self, delta: Any) -> None:
        """Streams a piece of output: text, any JSON, or a file or picture as in `file`. Raises `Cancelled`."""
        self.raise_if_cancelled()
        self._port.output(delta)

    def file(
        self,
        content: Any,
        name: Optional[str] = None,
        *,
        content_type: Optional[str] = None,
        tell: bool = True,
    ) -> OutputFile:
        """Sends a file, which becomes one of the job's outputs, and waits until the edge has it.

        `content` is a path, bytes, `NamedBytes`, a PIL picture, or an array of numpy (a picture). With `tell=False`
        it becomes an output only if the result names it. It blocks: in an async model, use
        `await asyncio.to_thread(job.file, …)`. Raises `JobError` if the edge refuses it, and `Cancelled`.
        """
        self.raise_if_cancelled()
        return self._port.file(content, name, content_type, "output" if tell else "")

    def preview(self, content: Any, name: Optional[str] = None) -> OutputFile:
        """Shows a picture, or another file, while the job runs. It is erased when the job ends."""
        self.raise_if_cancelled()
        return self._port.file(content, name, None, "preview")

    def metrics(self, **metrics: Any) -> None:
        """Numbers about the run, which are shown with the job's result."""
        self._metrics = {**(self._metrics or {}), **metrics}

    def time_left(self) -> Optional[float]:
        """Seconds until the edge takes the job back, by this machine's clock; `None` if it isn't known."""
        return None if self.deadline is None else self.deadline.timestamp() - time.time()


def _finite(value: Any) -> Optional[float]:
    if isinstance(value, (str, bytes, bool)) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


_CURRENT: contextvars.ContextVar[Job] = contextvars.ContextVar("dialout_job")


def current_job() -> Job:
    """The job that this code works on. Raises `RuntimeError` outside of a job."""
    try:
        return _CURRENT.get()
    except LookupError:
        raise RuntimeError(
            "current_job() works only while a job runs. A thread of your own doesn't know it: pass the job on."
        ) from None
