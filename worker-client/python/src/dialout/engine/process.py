"""The engine as a process: messages of the model's process come on standard input, answers go to standard output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import sys
import threading
from typing import Any, Optional

from ..channel import Channel
from ..log import Log
from ..options import WorkerOptions
from .counts import describe_statistics
from .worker import Ended, Worker

# If the model's process has ended, its jobs are given back and that is confirmed within so long, seconds.
LAST_WORDS_S = 5.0


def main(signals: int) -> None:
    """`signals` is a descriptor from which the numbers of signals can be read; -1 if there is none."""
    # Both processes get a Ctrl-C in a terminal: the model's process passes it on.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Whatever is printed by accident must not get among the messages.
    writer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    channel = Channel(sys.stdin.buffer, writer)
    start = channel.receive()
    if start is None:
        return
    _, options, schema = start
    process = _Process(channel, WorkerOptions(**options), schema)
    asyncio.run(process.run(signals))
    # Threads that wait for a dead connection must not keep the process alive.
    os._exit(0)


class _Process:
    def __init__(
        self, channel: Channel, options: WorkerOptions, schema: Optional[dict[str, Any]]
    ) -> None:
        self._channel = channel
        self._options = options
        self._schema = schema
        self._log = Log(options.verbose, options.quiet)
        self._unsent: queue.SimpleQueue[Optional[tuple[Any, ...]]] = queue.SimpleQueue()
        self._signals = 0
        self._is_alone = False

    async def run(self, signals: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(self._options, self._schema, self._tell, self._log)
        writing = threading.Thread(target=self._write, daemon=True)
        writing.start()
        threading.Thread(target=self._read, daemon=True).start()
        if signals >= 0:
            self._loop.add_reader(signals, self._on_signals, signals)
        ended = await self._worker.run()
        self._report(ended)
        self._unsent.put(None)
        if not self._is_alone:
            # A model that blocks doesn't read.
            await self._loop.run_in_executor(None, writing.join, LAST_WORDS_S)

    def _report(self, ended: Ended) -> None:
        statistics = self._worker.statistics()
        if ended.code is not None:
            self._log.error(f"stopping: {ended}")
        for line in describe_statistics(statistics):
            self._log.info(line)
        self._tell("ended", {"code": ended.code, "message": str(ended), "statistics": statistics})

    # To the model's process. A thread writes: a model that holds Python's lock doesn't read, and the connection must
    # not wait for it.

    def _tell(self, *message: Any) -> None:
        self._unsent.put(message)

    def _write(self) -> None:
        while True:
            message = self._unsent.get()
            if message is None or not self._channel.send(*message):
                return

    # From the model's process

    def _read(self) -> None:
        while True:
            message = self._channel.receive()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._on_message, message)
            if message is None:
                return

    def _on_message(self, message: Optional[tuple[Any, ...]]) -> None:
        if message is None:
            self._on_host_gone()
            return
        kind, *rest = message
        if kind == "signal":
            self._on_signal(rest[0])
        elif kind == "drain":
            self._worker.drain(rest[0])
        elif kind == "stop":
            self._worker.stop()
        elif kind == "load":
            self._worker.report_load(rest[0])
        else:
            self._worker.jobs.on_host(kind, *rest)

    def _on_host_gone(self) -> None:
        self._is_alone = True
        if self._worker.jobs.size > 0:
            self._log.error("the model's process has ended: its jobs go back to the queue")
        self._worker.jobs.on_host_gone()
        self._worker.drain("the model's process has ended")
        self._loop.call_later(LAST_WORDS_S, self._worker.stop)

    def _on_signals(self, descriptor: int) -> None:
        numbers = os.read(descriptor, 64)
        if not numbers:
            self._loop.remove_reader(descriptor)
        for number in numbers:
            self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if number not in (signal.SIGINT, signal.SIGTERM):
            return
        self._signals += 1
        name = signal.Signals(number).name
        if self._signals > 1:
            self._log.warn(f"{name} again: leaving at once")
            self._worker.stop()
        else:
            self._worker.drain(name)
