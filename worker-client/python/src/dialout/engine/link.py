"""One connection to the edge, from its `hello` to its end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import Any, Callable, Optional

from ..json_text import parse_json
from .pacing import LEAST_WINDOW, Pacer, transfer_s
from .refusal import Closed, LinkEnd, Unreachable

# Returns frames to send, up to about so many bytes; a larger one alone.
TakeFrames = Callable[[int], list[str]]
ABORT_S = 2.0
# A lease that becomes shorter, because the worker drains, is noticed so soon, seconds.
WATCH_S = 1.0


class Traffic:
    """Bytes of messages over all connections."""

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0


class Link:
    """Sends no more than the connection carries away, and knows whether the edge is there."""

    def __init__(self, socket: Any, traffic: Traffic, take_frames: TakeFrames) -> None:
        self.news = asyncio.Event()
        # The latest `error` frame, until the next message shows whether it explains a close.
        self.error: Optional[tuple[str, str]] = None
        self._socket = socket
        self._traffic = traffic
        self._take_frames = take_frames
        self._control: deque[str] = deque()
        self._alone: deque[str] = deque()
        self._pacer = Pacer()
        self._batches = False
        self._unannounced: Optional[int] = None
        self._heard_at = time.monotonic()
        self._arriving_until = 0.0
        self._why: Optional[str] = None
        self._retimed = asyncio.Event()
        self._heartbeat_s = 10.0
        self._lease_s = 30.0

    def on_hello(self, hello: dict[str, Any]) -> None:
        self._batches = hello.get("batch") is True
        size = hello.get("unannounced_bytes")
        self._unannounced = size if isinstance(size, int) else None

    def set_times(self, heartbeat_s: float, lease_s: float) -> None:
        """How often to ping, and how long the edge may be silent, seconds (W9, W10)."""
        self._heartbeat_s, self._lease_s = heartbeat_s, lease_s
        self._retimed.set()

    def control(self, text: str) -> None:
        """Sends a frame before those of jobs that wait."""
        self._control.append(text)
        self.news.set()

    async def receive(self, handle: Callable[[dict[str, Any]], None]) -> None:
        """Passes on the edge's frames until the connection ends; raises what ended it."""
        while True:
            text = await self._socket.recv()
            self._heard_at, self._arriving_until = time.monotonic(), 0.0
            self._traffic.bytes_in += len(text)
            if text == "pong":
                self._pacer.on_pong(self._heard_at)
                self.news.set()
                continue
            if not isinstance(text, str):
                continue
            if text.startswith('{"type":"read_check"'):
                # The edge hands out no more jobs to a worker that doesn't show that it reads (C18a).
                self._alone.append(text)
                self.news.set()
                continue
            for frame in _frames_in(text):
                if frame.get("type") == "sending":
                    size = frame.get("bytes")
                    known = size if isinstance(size, int) else 0
                    self._arriving_until = self._heard_at + transfer_s(known)
                else:
                    handle(frame)

    async def write(self) -> None:
        """Sends what there is to send, for as long as the connection lasts."""
        while True:
            await self.news.wait()
            self.news.clear()
            while True:
                message = self._next_message()
                if message is None:
                    break
                await self._send(message)

    async def ping(self) -> None:
        self._pacer.on_ping(time.monotonic())
        await self._socket.send("ping")

    async def send_pings(self, registered: asyncio.Event) -> None:
        """Pings as text: a ping frame of WebSocket doesn't count (W9)."""
        await registered.wait()
        while True:
            await self._pause(self._heartbeat_s)
            await self.ping()

    async def watch(self, registered: asyncio.Event) -> None:
        """Returns when nothing has come for the lease, after it has dropped the connection (W10)."""
        await registered.wait()
        while True:
            heard = max(self._heard_at, self._pacer.busy_until, self._arriving_until)
            silent = time.monotonic() - heard
            if silent >= self._lease_s:
                self.drop(f"no message from the edge for {silent:.0f} s")
                return
            await asyncio.sleep(min(max(self._lease_s - silent, 0.01), WATCH_S))

    def drop(self, why: str) -> None:
        """Ends the connection without a closing handshake, which could wait for minutes."""
        self._why = why
        self.abort()

    def abort(self) -> None:
        transport = self._socket.transport
        if transport is not None:
            transport.abort()

    async def close(self) -> None:
        """Leaves for good (W28a): attempts that are still held go back to the queue at once."""
        try:
            await asyncio.wait_for(self._socket.close(1000), ABORT_S)
        except (asyncio.TimeoutError, OSError):
            self.abort()

    def end_of(self, error: BaseException, describe: Callable[[BaseException], str]) -> LinkEnd:
        """What ended this connection."""
        if self._why is not None:
            return Unreachable(self._why)
        received = getattr(error, "rcvd", None)
        if received is not None:
            return Closed(received.code, received.reason, self.error)
        if hasattr(error, "rcvd"):
            return Closed(1006, "", self.error)
        return Unreachable(describe(error))

    async def _pause(self, seconds: float) -> None:
        self._retimed.clear()
        try:
            await asyncio.wait_for(self._retimed.wait(), seconds)
        except asyncio.TimeoutError:
            return

    def _next_message(self) -> Optional[str]:
        if self._alone:
            return self._alone.popleft()
        if self._pacer.is_full:
            return None
        frames = self._take_control() or self._take_frames(LEAST_WINDOW if self._batches else 1)
        if len(frames) > 1:
            return f'{{"type":"batch","frames":[{",".join(frames)}]}}'
        return frames[0] if frames else None

    def _take_control(self) -> list[str]:
        frames: list[str] = []
        size = 0
        while self._control and size < LEAST_WINDOW and (self._batches or not frames):
            frames.append(self._control.popleft())
            size += len(frames[-1])
        return frames

    async def _send(self, message: str) -> None:
        size = len(message.encode())
        self._traffic.bytes_out += size
        self._pacer.on_sending(size, time.monotonic())
        if self._unannounced is not None and size > self._unannounced:
            await self._socket.send(f'{{"type":"sending","bytes":{size}}}')
        await self._socket.send(message)
        if self._pacer.wants_ping:
            await self.ping()


def _frames_in(text: str) -> list[dict[str, Any]]:
    """The frames of a message; none if it isn't JSON (C1)."""
    try:
        frame = parse_json(text)
    except (ValueError, RecursionError):
        return []
    frames = (
        frame.get("frames") if isinstance(frame, dict) and frame.get("type") == "batch" else None
    )
    found = frames if isinstance(frames, list) else [frame]
    return [each for each in found if isinstance(each, dict)]


def compact(frame: dict[str, Any]) -> str:
    """A frame of the worker's own as JSON."""
    return json.dumps(frame, ensure_ascii=True, separators=(",", ":"))
