"""Keeps a worker's connection: dials, registers, resumes, drains."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from typing import Any, Callable, Optional

from ..log import Log
from ..options import WorkerOptions
from ..retrying import backoff
from .counts import statistics_of
from .dialing import PROTOCOL, UpgradeRefused, dial, edge_date
from .failures import describe_failure
from .jobs import Jobs, _key
from .link import Link, Traffic, compact
from .outage_log import OutageLog, PlaceWait
from .pacing import transfer_s
from .refusal import LinkEnd, Unreachable, judge
from .transfers import Transfers

# The longest time from the open socket to `registered`, and for a dial, seconds. The first dials are short, so that
# several fit into the 15 s for which an edge waits for a dropped worker (W24).
HANDSHAKE_S = 15.0
FIRST_DIAL_S = 5.0
# A worker that drains has little time, so it looks more often whether its connection is dead, seconds.
DRAIN_HEARTBEAT_S = 2.0
DRAIN_LEASE_S = 8.0
LEAST_FRAME_BYTES = 1_024
LARGEST_SCHEMA = 65_536
LAST_READ_S = 2.0


class Ended(Exception):
    """The worker has ended; `code` is that of the refusal, `None` after a drain or a stop."""

    def __init__(self, code: Optional[str] = None, message: str = "") -> None:
        super().__init__(message)
        self.code = code


class Worker:
    """Serves one space until it is drained, stopped or refused."""

    def __init__(
        self,
        options: WorkerOptions,
        schema: Optional[dict[str, Any]],
        tell_host: Callable[..., None],
        log: Log,
    ) -> None:
        self.id = options.worker_id or f"worker-{secrets.token_hex(8)}"
        self._options = options
        self._schema = schema
        self._log = log
        self._outages = OutageLog(log)
        self._place_wait = PlaceWait(log)
        self._traffic = Traffic()
        self._transfers = Transfers(options.url, options.concurrency, log)
        self.jobs = Jobs(
            options.concurrency,
            self._transfers,
            log,
            tell_host,
            control=self._control,
            on_news=self._on_news,
            on_empty=self._leave_if_drained,
        )
        self._link: Optional[Link] = None
        self._is_registered = asyncio.Event()
        self._leaving = asyncio.Event()
        self._hello: dict[str, Any] = {}
        self._registrations = 0
        self._failures = 0
        self._load = 0.0
        self._drain_reason: Optional[str] = None
        self._drain_timer: Optional[asyncio.Task[None]] = None
        self._started = time.monotonic()

    async def run(self) -> Ended:
        """Serves. Returns why it ended."""
        dialing = asyncio.ensure_future(self._stay_connected())
        leaving = asyncio.ensure_future(self._leaving.wait())
        await asyncio.wait({dialing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        ended = Ended()
        if not dialing.done():
            dialing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await dialing
            except Ended as error:
                ended = error
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        self.jobs.stop()
        self.jobs.erase_all()
        self._transfers.close()
        return ended

    def drain(self, reason: str) -> None:
        """Takes no new jobs, finishes the running ones, waits for their acknowledgements, then ends (W28)."""
        if self._drain_reason is not None:
            return
        self._drain_reason = reason[:1_000]
        self.jobs.reject_reason = f"draining: {reason}"
        self._log.info(f"draining ({reason}): jobs to finish: {self.jobs.size}")
        if self._is_registered.is_set():
            self._send_drain()
            self._set_times()
        self._drain_timer = asyncio.ensure_future(self._stop_late())
        self._leave_if_drained()

    def stop(self) -> None:
        """Ends now: running jobs are aborted, and go back to the queue at once."""
        self.jobs.stop()
        self._leaving.set()

    def report_load(self, load: float) -> None:
        """How busy this machine is, from 0 to 1 (W33a)."""
        self._load = min(1.0, max(0.0, load))
        self._control(compact({"type": "load", "load": self._load}))

    def statistics(self) -> dict[str, Any]:
        reconnects = max(0, self._registrations - 1)
        held, counts, busy = self.jobs.size, self.jobs.counts, self.jobs.busy
        return statistics_of(counts, held, reconnects, self._traffic, self._started, busy)

    # Dialing

    async def _stay_connected(self) -> None:
        base = re.sub("^http", "ws", self._options.url)
        url = f"{base}/api/spaces/{self._options.space}/connect?batch=1"
        while True:
            end = await self._connect_once(url)
            was_registered = self._is_registered.is_set()
            self._is_registered.clear()
            if was_registered:
                self._failures = 0
            verdict = judge(end)
            delay = backoff(self._failures, *self._options.backoff_s)
            self._failures += 1
            if verdict.code is None:
                then = f"; trying again in {delay:.1f} s, and so on until it works"
                self._outages.on_problem(verdict.why, then)
            # The same close tells a registered worker that it was replaced: two that replace each other must not go
            # on so (W7c).
            elif verdict.code == "space_occupied" and self._options.wait and not was_registered:
                self._place_wait.report(verdict.why, delay, time.monotonic())
            else:
                raise Ended(verdict.code, verdict.why)
            await asyncio.sleep(delay)

    async def _connect_once(self, url: str) -> LinkEnd:
        self._log.debug(f"dialing {self._options.url} for the space {self._options.space}")
        timeout = min(HANDSHAKE_S, FIRST_DIAL_S * (self._failures + 1))
        try:
            socket = await dial(url, self._options.token, timeout)
        except UpgradeRefused as error:
            return error.refused
        except asyncio.CancelledError:
            raise
        except Exception as error:  # `websockets` and the network raise many things
            return Unreachable(describe_failure(_root(error), self._options.url))
        link = self._link = Link(socket, self._traffic, self._take_frames)
        self.jobs.deadlines.set_edge_time(edge_date(socket))
        try:
            return await self._serve(link)
        except asyncio.CancelledError:
            await link.close()
            raise
        finally:
            self._link = None
            self._transfers.set_away(True)
            self.jobs.on_disconnect()
            link.abort()

    async def _serve(self, link: Link) -> LinkEnd:
        """Returns what ended the connection."""
        reading = asyncio.ensure_future(link.receive(lambda frame: self._on_frame(link, frame)))
        others = (
            link.write(),
            link.watch(self._is_registered),
            link.send_pings(self._is_registered),
            self._limit_handshake(link),
        )
        tasks = [reading, *(asyncio.ensure_future(each) for each in others)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            # Only the reader knows how the connection ended; the others notice that it did.
            await asyncio.wait({reading}, timeout=LAST_READ_S)
            error = reading.exception() if reading.done() else None
            return link.end_of(
                error or ConnectionError("the connection failed"),
                lambda failed: describe_failure(_root(failed), self._options.url),
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _limit_handshake(self, link: Link) -> None:
        # With many attempts to resume, or a large schema, `register` takes its time on a slow link.
        size = 150 * len(self.jobs.resumable) + (0 if self._schema is None else LARGEST_SCHEMA)
        try:
            await asyncio.wait_for(self._is_registered.wait(), HANDSHAKE_S + transfer_s(size))
        except asyncio.TimeoutError:
            link.drop("the edge took too long to register this worker")

    # The edge's frames

    def _on_frame(self, link: Link, frame: dict[str, Any]) -> None:
        kind = frame.get("type")
        try:
            if kind == "error":
                self._on_error(link, frame)
                return
            link.error = None
            if kind == "hello":
                self._on_hello(link, frame)
            elif kind == "registered":
                self._on_registered(link, frame)
            elif kind == "drain":
                self._log.info(f"the edge sends no new jobs: {frame.get('reason', '')}")
            elif kind == "config":
                self._log.debug("the settings of the space have changed")
            elif kind in ("job", "ack", "stale", "cancel", "deadline"):
                self._on_job_frame(kind, frame)
            else:
                self._log.debug(f"ignored a frame of an unknown type: {str(kind)[:60]}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._log.warn(f"ignored a frame of the edge ({kind}): {error!r}")

    def _on_job_frame(self, kind: str, frame: dict[str, Any]) -> None:
        if not self._is_registered.is_set():
            self._log.warn(f"ignored {kind}: not registered")
            return
        key = _key(frame)
        if kind == "job":
            if not isinstance(frame["input"], dict) or not isinstance(frame["files"], list):
                raise TypeError("input is no object")
            self.jobs.on_job({**frame, "job_id": key[0], "attempt": key[1]})
        elif kind == "ack":
            self.jobs.on_ack(key, frame["of"])
        elif kind == "stale":
            self.jobs.on_stale(key)
        elif kind == "cancel":
            self.jobs.on_cancel(key, str(frame.get("reason", "")))
        else:
            self.jobs.on_deadline(key, frame)

    def _on_error(self, link: Link, frame: dict[str, Any]) -> None:
        code, message = str(frame.get("code", "")), str(frame.get("message", ""))
        if code == "no_such_file":
            self.jobs.on_no_such_file(_key(frame), str(frame.get("file")))
        link.error = (code, message)
        if frame.get("job_id") is not None or self._is_registered.is_set():
            self._outages.on_complaint(f"the edge says: {message} ({code})")

    def _on_hello(self, link: Link, hello: dict[str, Any]) -> None:
        if hello["protocol"] != PROTOCOL:
            link.drop(f"the edge speaks {str(hello['protocol'])[:60]}, not {PROTOCOL}")  # W5
            return
        if int(hello["max_frame_bytes"]) < LEAST_FRAME_BYTES:
            link.drop(f"the edge accepts frames of only {hello['max_frame_bytes']} bytes")
            return
        self._hello = {
            **hello,
            "heartbeat_s": float(hello["heartbeat_s"]),
            "lease_s": float(hello["lease_s"]),
        }
        link.on_hello(hello)
        register: dict[str, Any] = {
            "type": "register",
            "worker_id": self.id,
            "concurrency": self._options.concurrency,
            "capabilities": list(self._options.capabilities),
            "resume": self.jobs.resumable,
            "sends_files": True,
        }
        optional = {
            "name": self._options.name,
            "version": self._options.version,
            "schema": self._schema,
        }
        register.update({name: value for name, value in optional.items() if value is not None})
        link.control(compact(register))

    def _on_registered(self, link: Link, frame: dict[str, Any]) -> None:
        if self._is_registered.is_set():
            return
        resumed, dropped = list(frame["resumed"]), list(frame["dropped"])
        self._place_wait.end()
        self._registrations += 1
        self._failures = 0
        self.jobs.frame_limit = min(int(self._hello["max_frame_bytes"]), 1_048_576)
        self._transfers.set_away(False)
        self._is_registered.set()
        again = (
            f", {len(resumed)} resumed, {len(dropped)} dropped" if self._registrations > 1 else ""
        )
        self._outages.on_connected(
            f"connected: serving the space {self._options.space} as {self.id}{again}"
        )
        if self._drain_reason is not None:
            self._send_drain()
        if self._load > 0:
            self.report_load(self._load)
        self._set_times()
        self.jobs.resume(resumed, dropped)
        self._on_news()
        self._leave_if_drained()

    # Sending

    def _take_frames(self, most_bytes: int) -> list[str]:
        # Before `registered` nobody knows which attempts go on, and from which piece on (W25a, W26).
        return self.jobs.take_frames(most_bytes) if self._is_registered.is_set() else []

    def _control(self, text: str) -> None:
        if self._link is not None and self._is_registered.is_set():
            self._link.control(text)

    def _on_news(self) -> None:
        if self._link is not None and self._is_registered.is_set():
            self._link.news.set()

    def _send_drain(self) -> None:
        self._control(compact({"type": "drain", "reason": self._drain_reason}))

    def _set_times(self) -> None:
        heartbeat, lease = self._hello["heartbeat_s"], self._hello["lease_s"]
        if self._drain_reason is not None:
            heartbeat, lease = min(heartbeat, DRAIN_HEARTBEAT_S), min(lease, DRAIN_LEASE_S)
        if self._link is not None:
            self._link.set_times(heartbeat, lease)

    # Leaving

    def _leave_if_drained(self) -> None:
        if self._drain_reason is not None and self.jobs.size == 0:
            self._leaving.set()

    async def _stop_late(self) -> None:
        """What is finished gets the time twice: it would be lost for nothing if the connection is dead just now."""
        seconds = self._options.drain_s
        await asyncio.sleep(seconds)
        unacknowledged = self.jobs.unacknowledged
        if unacknowledged > 0:
            finished = f"jobs that are finished but not acknowledged: {unacknowledged}"
            self._log.warn(f"the drain took longer than {seconds:g} s; {finished}")
            await asyncio.sleep(seconds)
        self._log.error(f"the drain took longer than {seconds:g} s: stopping")
        self.stop()


def _root(error: BaseException) -> BaseException:
    """`websockets` wraps what the network raised."""
    cause = error.__cause__
    return cause if isinstance(cause, OSError) and not isinstance(error, OSError) else error
