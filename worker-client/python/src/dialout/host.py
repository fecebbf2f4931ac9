"""The model's side of a worker: runs the model for the jobs that the engine hands over."""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from typing import Any, Callable, Optional

from .channel import Channel
from .log import Log
from .model.handler import Handler
from .running import Run

# A model that looks at nothing gets so long to end when the worker has ended, seconds.
LAST_WORDS_S = 2.0


class Host:
    """Runs up to `concurrency` jobs at once.

    A plain model runs on the thread that calls `run` if it takes one job at a time, because some libraries work on
    the main thread only; otherwise on threads. An async model runs on an event loop.
    """

    def __init__(
        self,
        handler: Handler,
        channel: Channel,
        concurrency: int,
        log: Log,
        on_abandon: Optional[Callable[[int], None]] = None,
    ) -> None:
        self._handler = handler
        self._channel = channel
        self._concurrency = concurrency
        self._log = log
        self._on_abandon = on_abandon
        self._runs: dict[int, Run] = {}
        self._waiting: queue.SimpleQueue[Optional[Run]] = queue.SimpleQueue()
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._over: Optional[asyncio.Event] = None
        self._ended: Optional[dict[str, Any]] = None
        self._idle = threading.Event()
        self._idle.set()
        self._on_loaded: Callable[[], None] = lambda: None

    def run(self, start: tuple[Any, ...], on_loaded: Callable[[], None]) -> dict[str, Any]:
        """Loads the model, sends `start`, and serves until the engine ends. Returns how it ended."""
        self._on_loaded = on_loaded
        if self._handler.is_async:
            asyncio.run(self._run_async(start))
        else:
            if self._handler.setup is not None:
                loaded = self._handler.setup()
                if inspect.iscoroutine(loaded):
                    asyncio.run(loaded)
            self._start(start)
            self._work()
        return self._ended or {
            "code": "closed",
            "message": "the process that keeps the connection has ended",
            "statistics": {},
        }

    def _start(self, start: tuple[Any, ...]) -> None:
        self._on_loaded()
        self._channel.send(*start)
        threading.Thread(target=self._listen, name="dialout", daemon=True).start()

    # The engine's messages, on a thread of their own

    def _listen(self) -> None:
        while True:
            message = self._channel.receive()
            if message is None:
                break
            kind, *rest = message
            if kind == "job":
                self._on_job(rest[0])
            elif kind == "cancel":
                self._on_cancel(rest[0], rest[1])
            elif kind == "sent":
                number, request, answer = rest
                run = self._runs.get(number)
                if run is not None:
                    run.on_sent(request, answer)
            elif kind == "ended":
                self._ended = rest[0]
                break
        self._end()

    def _on_job(self, frame: dict[str, Any]) -> None:
        run = Run(self._handler, self._channel, frame, self._log)
        self._runs[run.number] = run
        self._idle.clear()
        if self._loop is None:
            self._waiting.put(run)
        else:
            self._loop.call_soon_threadsafe(self._start_task, run)

    def _on_cancel(self, number: int, why: str) -> None:
        run = self._runs.get(number)
        if run is None:
            return
        run.cancel(why)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel_task, run)

    def _end(self) -> None:
        for run in list(self._runs.values()):
            self._on_cancel(run.number, "stopped")
        for _ in range(self._concurrency):
            self._waiting.put(None)
        if self._loop is not None and self._over is not None:
            self._loop.call_soon_threadsafe(self._over.set)
        if not self._idle.wait(LAST_WORDS_S) and self._on_abandon is not None:
            self._on_abandon(len(self._runs))

    # Plain models

    def _work(self) -> None:
        if self._concurrency == 1:
            self._work_off()
            return
        threads = [
            threading.Thread(target=self._work_off, name=f"dialout-{number}", daemon=True)
            for number in range(1, self._concurrency + 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work_off(self) -> None:
        while True:
            run = self._waiting.get()
            if run is None:
                return
            run.perform()
            self._forget(run)

    def _forget(self, run: Run) -> None:
        self._runs.pop(run.number, None)
        if not self._runs:
            self._idle.set()

    # Async models

    async def _run_async(self, start: tuple[Any, ...]) -> None:
        if self._handler.setup is not None:
            loaded = self._handler.setup()
            if inspect.isawaitable(loaded):
                await loaded
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._start(start)
        await self._over.wait()
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS_S)

    def _start_task(self, run: Run) -> None:
        run.task = asyncio.ensure_future(run.perform_async())
        run.task.add_done_callback(lambda _: self._forget(run))

    def _cancel_task(self, run: Run) -> None:
        if run.task is not None:
            run.task.cancel()
