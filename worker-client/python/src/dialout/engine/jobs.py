"""The attempts that a worker holds, each from its `job` frame to its `ack`, across connections."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import deque
from typing import Any, Callable, Optional

from ..log import Log
from .attempt import Attempt, End, Key
from .counts import BusyClock, Counts
from .deadlines import Deadlines
from .ending import failure_end, rejection_end, result_end
from .failures import TransferFailed
from .link import compact
from .transfers import Transfers

MOST_RESUMED = 1_000

_ABORTED = {
    "canceled": ("canceled", "the job was canceled"),
    "deadline": ("timeout", "the attempt was not finished by its deadline"),
}


class Jobs:
    """`tell_host` reaches the model, `control` sends a frame at once or drops it while there is no connection."""

    def __init__(
        self,
        concurrency: int,
        transfers: Transfers,
        log: Log,
        tell_host: Callable[..., None],
        control: Callable[[str], None],
        on_news: Callable[[], None],
        on_empty: Callable[[], None],
    ) -> None:
        self.counts = Counts()
        self.busy = BusyClock()
        self.reject_reason: Optional[str] = None
        self.frame_limit = 1 << 20
        self.deadlines = Deadlines(lambda attempt: self._abort(attempt, "deadline"))
        self._concurrency = concurrency
        self._transfers = transfers
        self._log = log
        self._tell_host = tell_host
        self._control = control
        self._on_news = on_news
        self._on_empty = on_empty
        self._held: dict[Key, Attempt] = {}
        # Those that the model works on, also if nobody wants them any more.
        self._running: dict[int, Attempt] = {}
        self._waiting: deque[Attempt] = deque()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._large: Optional[str] = None

    @property
    def size(self) -> int:
        return len(self._held)

    @property
    def unacknowledged(self) -> int:
        """How many have ended here, but are not acknowledged yet."""
        return sum(attempt.phase == "ended" for attempt in self._held.values())

    @property
    def resumable(self) -> list[dict[str, Any]]:
        """For `register`: running ones first, as the edge limits the length of the list (W25)."""
        attempts = sorted(self._held.values(), key=lambda attempt: attempt.phase == "ended")
        return [attempt.ref for attempt in attempts[:MOST_RESUMED]]

    def take_frames(self, most_bytes: int) -> list[str]:
        """Frames to send, each job's in its order, up to about so many bytes; a larger one comes alone."""
        if self._large is not None:
            large, self._large = self._large, None
            return [large]
        frames: list[str] = []
        size = 0
        for attempt in list(self._held.values()):
            while size < most_bytes:
                frame = attempt.take()
                if frame is None:
                    break
                if frames and len(frame) > most_bytes:
                    self._large = frame
                    return frames
                size += len(frame)
                frames.append(frame)
        return frames

    def on_job(self, frame: dict[str, Any]) -> None:
        attempt = Attempt(frame)
        key = attempt.key
        if key in self._held:
            self._control(compact({"type": "accept", **attempt.ref}))
            return
        self.counts.received += 1
        for older in [held for held in self._held.values() if held.key[0] == key[0]]:
            self._give_up(older, "stale")
        self._held[key] = attempt
        reason = self.reject_reason or self._overload()
        if reason is not None:
            self._complete(attempt, rejection_end(attempt, reason))
            return
        self._control(compact({"type": "accept", **attempt.ref}))
        self._log.info(f"job {key[0]}: attempt {key[1]} received")
        self.deadlines.go_on()
        self.deadlines.set(attempt, frame.get("deadline"))
        if attempt.file_urls:
            self._spawn(self._prepare(attempt))
        else:
            self._enqueue(attempt)

    def on_ack(self, key: Key, of: str) -> None:
        attempt = self._held.get(key)
        if attempt is None or attempt.end is None or attempt.end.of != of:
            return
        self.counts.on_ack(of, attempt.end.is_canceled)
        self._forget(attempt)

    def on_stale(self, key: Key) -> None:
        attempt = self._held.get(key)
        if attempt is not None:
            self._log.warn(f"job {key[0]}: attempt {key[1]} was taken back")
            self._give_up(attempt, "stale")

    def on_cancel(self, key: Key, reason: str) -> None:
        attempt = self._held.get(key)
        if attempt is None:
            # Nothing runs here; the edge still waits for an answer (W23).
            message = "this worker does not hold the attempt"
            ref = {"job_id": key[0], "attempt": key[1]}
            self._control(compact({"type": "fail", **ref, "code": "canceled", "message": message}))
            return
        if attempt.phase != "ended":
            self._log.info(f"job {key[0]}: cancel ({reason})")
            self._abort(attempt, "canceled")

    def on_deadline(self, key: Key, frame: dict[str, Any]) -> None:
        """The edge stood still, and the attempt has more time (W15a)."""
        attempt = self._held.get(key)
        if attempt is not None:
            self._move_deadline(attempt, frame)

    def on_no_such_file(self, key: Key, name: str) -> None:
        attempt = self._held.get(key)
        if attempt is not None:
            attempt.on_no_such_file(name)

    def on_disconnect(self) -> None:
        self.deadlines.pause()
        self._large = None

    def resume(self, resumed: list[dict[str, Any]], dropped: list[dict[str, Any]]) -> None:
        """Goes on with what the edge still wants, and gives up the rest."""
        self.deadlines.go_on()
        unmentioned = dict(self._held)
        for entry in resumed:
            attempt = unmentioned.pop(_key(entry), None)
            if attempt is None:
                continue
            self._move_deadline(attempt, entry)
            lost = attempt.resume(int(entry["outputs"]))
            if lost > 0:
                self._log.warn(f"job {attempt.key[0]}: {lost} pieces of output were lost")
        for entry in dropped:
            attempt = unmentioned.pop(_key(entry), None)
            if attempt is None:
                continue
            if entry.get("of") is not None:
                self.on_ack(attempt.key, entry["of"])
            if self._holds(attempt):
                self._give_up(attempt, "dropped")
        for attempt in unmentioned.values():
            if attempt.phase == "ended":
                # `register` may have had no room for it; the edge answers with `ack` or `stale`.
                attempt.resume(attempt.outputs.end)
            else:
                self._give_up(attempt, "dropped")
        self._on_news()

    def stop(self, why: str = "stopped") -> None:
        """Aborts everything; what the model still says is no longer sent."""
        for attempt in [*self._held.values(), *self._running.values()]:
            self._abort(attempt, why)

    # The model's messages

    def on_host(self, kind: str, run: int, *rest: Any) -> None:
        attempt = self._running.get(run)
        if attempt is None:
            return
        if kind in ("result", "fail"):
            self._on_end(attempt, kind, *rest)
        elif not self._holds(attempt) or attempt.phase == "ended":
            if kind == "upload":
                self._tell_host("sent", run, rest[0], {"error": "the job is over"})
        elif kind == "output":
            attempt.add_output(rest[0])
            self._on_news()
        elif kind == "output_file":
            attempt.add_file(*rest)
            self._on_news()
        elif kind == "progress":
            attempt.set_progress(*rest)
            self._on_news()
        elif kind == "upload":
            self._spawn(self._upload(attempt, *rest))

    def on_host_gone(self) -> None:
        """The model's process has ended, with all that ran in it."""
        for attempt in list(self._running.values()):
            message = "The worker's program ended while it ran this job."
            self._on_end(attempt, "fail", "worker_error", message, True)

    def _on_end(self, attempt: Attempt, kind: str, *rest: Any) -> None:
        del self._running[attempt.run]
        self.busy.leave()
        self._erase(attempt)
        if self._holds(attempt) and attempt.phase != "ended" and attempt.cause != "stopped":
            self._finish(attempt, kind, *rest)
        self._start_next()

    def _finish(self, attempt: Attempt, kind: str, *rest: Any) -> None:
        took = f" after {time.monotonic() - attempt.frame['started']:.1f} s"
        if attempt.cause == "canceled" or (attempt.cause == "deadline" and kind == "fail"):
            self._fail(attempt, *_ABORTED[attempt.cause], retryable=False, after=took)
        elif kind == "fail":
            code, message, retryable = rest
            self._fail(attempt, code, message, retryable=retryable, after=took)
        else:
            output, metrics, files = rest
            self._complete(
                attempt, result_end(attempt, output, metrics, files, self.frame_limit), took
            )

    # What follows from them

    async def _prepare(self, attempt: Attempt) -> None:
        try:
            await self._transfers.fetch(attempt)
        except TransferFailed as error:
            if attempt.phase == "preparing" and self._holds(attempt):
                self._fail(attempt, "worker_error", str(error), retryable=True)
            self._erase(attempt)
            return
        if attempt.phase == "preparing" and attempt.cause is None:
            self._enqueue(attempt)
        else:
            self._erase(attempt)

    async def _upload(
        self, attempt: Attempt, request: int, path: str, name: str, content_type: str
    ) -> None:
        try:
            answer = await self._transfers.send(attempt, path, name, content_type)
        except TransferFailed as error:
            answer = {"error": str(error)}
        self._tell_host("sent", attempt.run, request, answer)

    def _enqueue(self, attempt: Attempt) -> None:
        attempt.phase = "waiting"
        self._waiting.append(attempt)
        self._start_next()
        if attempt.phase == "waiting":
            self._log.info(f"job {attempt.key[0]}: waiting until an aborted job has ended")

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < self._concurrency:
            attempt = self._waiting.popleft()
            attempt.phase = "running"
            attempt.frame["started"] = time.monotonic()
            self._running[attempt.run] = attempt
            self.busy.enter()
            outputs = attempt.frame.get("outputs") or None
            known = {"run": attempt.run, "max_frame_bytes": self.frame_limit, "outputs": outputs}
            self._tell_host("job", {**attempt.frame, **known})

    def _abort(self, attempt: Attempt, cause: str) -> None:
        if attempt.cause is not None:
            return
        attempt.cause = cause
        attempt.stopped.set()
        if attempt.phase == "running":
            self._tell_host("cancel", attempt.run, cause)
            return
        if attempt.phase == "waiting":
            self._waiting.remove(attempt)
            self._erase(attempt)
        if attempt.phase != "ended" and self._holds(attempt) and cause in _ABORTED:
            self._fail(attempt, *_ABORTED[cause], retryable=False)

    def _give_up(self, attempt: Attempt, cause: str) -> None:
        self.counts.stale += 1
        self._abort(attempt, cause)
        self._forget(attempt)

    def _forget(self, attempt: Attempt) -> None:
        if self._holds(attempt):
            del self._held[attempt.key]
        self.deadlines.forget(attempt)
        if not self._held:
            self._on_empty()

    def _fail(
        self, attempt: Attempt, code: str, message: str, *, retryable: bool, after: str = ""
    ) -> None:
        ending = failure_end(attempt, code, message, retryable, self.frame_limit)
        self._complete(attempt, ending, after)

    def _complete(self, attempt: Attempt, ending: tuple[End, str], after: str = "") -> None:
        attempt.end, words = ending
        attempt.phase = "ended"
        self._log.info(f"job {attempt.key[0]}: {words}{after}")
        self._on_news()

    def _holds(self, attempt: Attempt) -> bool:
        return self._held.get(attempt.key) is attempt

    def _overload(self) -> Optional[str]:
        busy = [
            each for each in self._held.values() if each.phase != "ended" and each.cause is None
        ]
        # The new attempt is among them.
        return "all slots are taken" if len(busy) > self._concurrency else None

    def _move_deadline(self, attempt: Attempt, moved: dict[str, Any]) -> None:
        self.deadlines.set(attempt, moved.get("deadline"))
        # W26c: the older addresses expire as if the edge had not been away.
        attempt.file_urls = moved.get("file_urls") or attempt.file_urls
        attempt.output_url = moved.get("output_url") or attempt.output_url

    def _erase(self, attempt: Attempt) -> None:
        if attempt.folder is not None:
            shutil.rmtree(attempt.folder, ignore_errors=True)
            attempt.folder = None

    def erase_all(self) -> None:
        """Erases the copies of files of every job, when the worker ends."""
        for attempt in [*self._held.values(), *self._running.values()]:
            self._erase(attempt)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _key(frame: dict[str, Any]) -> Key:
    return (str(frame["job_id"]), int(frame["attempt"]))
