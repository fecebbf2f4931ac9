"""A remote worker for Dialout in one file. Put your model into `perform`, then:

    DIALOUT_URL=https://dialout.example DIALOUT_SPACE=my-space DIALOUT_TOKEN=dow_… python3 worker.py

The comments name the rules of protocol.md (W20 …) that the code beside them follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Coroutine, Iterator
from decimal import Decimal
from typing import Any

try:
    from websockets.exceptions import (
        ConnectionClosed,
        InvalidStatus,
        WebSocketException,
    )
    from websockets.version import version
except ImportError:
    version = "0"
if sys.version_info < (3, 11) or int(version.split(".")[0]) < 10:
    sys.exit(
        "Needed: Python 3.11 and websockets 10, or newer (python3 -m pip install -U websockets)"
    )
CONCURRENCY = 1  # how many jobs run at once
STALL_S = 20  # a file's connection on which nothing comes for so long is given up
DRAIN_S = 30  # how long running jobs may go on when the worker is stopped
# Their texts name files, commands, addresses and code of this machine: those are no business of a submitter.
INTERNAL = (OSError, ImportError, LookupError, NameError, AttributeError, TypeError, SyntaxError)
PROTOCOL = "dialout.worker.v1"
FINAL_STATUSES = {401, 403, 404, 409, 426}  # W4: dialing again would not help
FINAL_CODES = {1000, 1008, 1009, 4400, 4401, 4403, 4404, 4409}  # W30: nor after these
WINDOW = 65_536  # W34: so many bytes are sent, then a ping must be answered before more
SLOWEST = 4_096  # C17: bytes a second of the slowest connection on which large messages arrive
JSON: Any = {"allow_nan": False, "ensure_ascii": False, "separators": (",", ":")}


def perform(job: Job) -> Any:
    """The model: here it streams each word of the prompt in capitals, one a second.

    It has a thread of its own, so it may block. What it returns is the result: any JSON.
    """
    words = str(job.input.get("prompt", "")).split()
    for number, word in enumerate(words, 1):
        job.output(word.upper() + " ")  # raises Canceled if nobody wants the job any more
        job.progress(100 * number / len(words), word)
        job.canceled.wait(1)  # stands for the work; `canceled` is a threading.Event
    return {"words": len(words), "files": [len(job.fetch(file)) for file in job.files]}


class Failure(Exception):
    """Fails the job with this message. With `retry` another attempt may follow (W19)."""

    def __init__(self, message: str, retry: bool = False) -> None:
        super().__init__(message)
        self.retry = retry


class Canceled(Exception):
    """The job was canceled, or is no longer this worker's."""


class Job:
    """One attempt: what `perform` needs, and what the edge may have to be sent again."""

    def __init__(self, worker: Worker, frame: dict[str, Any]) -> None:
        self.worker = worker
        self.ref = {"job_id": frame["job_id"], "attempt": frame["attempt"]}
        self.input: dict[str, Any] = frame["input"]
        # Whose job it is; None if nobody's.
        self.user: str | None = frame.get("user")
        self.files: list[dict[str, Any]] = frame["files"]
        self.canceled = threading.Event()
        self.outputs: list[str] = []  # W26a: kept until the end is acknowledged
        self.sent = 0
        self.latest: str | None = None  # the latest progress
        self.shown: str | None = None  # the progress that was sent last
        self.end: str | None = None
        self.end_sent = False

    def output(self, delta: Any) -> None:
        """Streams a piece of output: text, or any JSON."""
        self.check()
        self.outputs.append(self.encode("A piece of output", type="output", delta=delta))
        self.worker.wake()

    def progress(self, percent: float, message: str = "") -> None:
        self.check()
        known = min(100.0, max(0.0, float(percent)))  # NaN becomes 0
        frame = {"type": "progress", "progress": known, "message": str(message)[:1000]}
        self.latest = self.encode("The progress", **frame)
        self.worker.wake()

    def fetch(self, file: dict[str, Any]) -> bytes:
        """Fetches a file. Its name comes from a stranger: never use it as a path (W13).

        It goes on after breaks as long as the job is wanted (W14f).
        """
        content = bytearray()
        failures = refusals = 0  # tries in a row without a new byte; those that more tries hardly help
        while True:
            self.check()
            before = len(content)
            try:
                self.receive(file, content)
                why = f"it should have {file['size']:,} bytes, {len(content):,} came"
                if len(content) == file["size"]:
                    digest = hashlib.sha256(content).hexdigest()
                    if digest == file.get("sha256", digest):  # W14b
                        return bytes(content)
                    why = "its checksum is wrong"
                if len(content) >= file["size"]:
                    content.clear()
                refusals += len(content) <= before
            except urllib.error.HTTPError as error:
                why = f"the edge answered with status {error.code}"
                refusals += error.code < 500 and error.code not in (408, 425, 429)
            except (OSError, http.client.HTTPException) as error:
                why = str(error) or type(error).__name__
            name = f"{file['name'][:100]!r}"
            if refusals == 5:
                raise Failure(f"The file {name} could not be fetched: {why}.", retry=True)
            failures = 1 if len(content) > before else failures + 1
            say(f"the file {name}: {why}; {len(content):,} of {file['size']:,} bytes are here")
            self.canceled.wait(min(10, 2**failures / 4) * (0.5 + random.random() / 2))

    def receive(self, file: dict[str, Any], content: bytearray) -> None:
        """Adds what one connection brings, from where the last one ended."""
        url = urllib.parse.urljoin(self.worker.base, file["url"])  # W14: signed, no token
        part = {"Range": f"bytes={len(content)}-"} if content else {}
        request = urllib.request.Request(url, headers=part)
        with urllib.request.urlopen(request, timeout=STALL_S) as answer:
            skip = 0 if answer.status == 206 else len(content)  # the whole file may come instead
            while len(content) <= file["size"] and (piece := answer.read1(65_536)):
                self.check()
                content += piece[skip:]
                skip = max(0, skip - len(piece))

    def check(self) -> None:
        if self.canceled.is_set():
            raise Canceled

    def run(self) -> None:
        with self.worker.places:  # a canceled model that still runs keeps its place
            try:
                self.check()
                output = perform(self)
                self.check()
                self.end = self.encode("The result", type="result", output=output)
            except Canceled:
                self.fail("Stopped before its end.", code="canceled")  # W23
            except Failure as error:
                self.fail(str(error), retryable=error.retry)
            except BaseException as error:  # noqa: BLE001 (also SystemExit: no job may end the worker)
                traceback.print_exc()
                if isinstance(error, (*INTERNAL, subprocess.SubprocessError)):
                    self.fail(f"The model failed ({type(error).__name__}): the worker's log says why.")
                else:
                    self.fail("".join(traceback.format_exception_only(error)).strip())
        self.worker.wake()

    def fail(self, message: str, code: str = "worker_error", retryable: bool = False) -> None:
        frame = {"type": "fail", "code": code, "message": message[:2000], "retryable": retryable}
        self.end = self.encode("The failure", **frame)

    def encode(self, what: str, **frame: Any) -> str:
        """Writes a frame as JSON; what the edge would refuse fails the job, not the connection."""
        try:
            if is_deeper(frame, 64):
                raise ValueError("it is nested too deep")
            text = json.dumps({**self.ref, **frame}, **JSON)
        except (TypeError, ValueError) as error:  # NaN, bytes, a set, a number of numpy …
            raise Failure(f"{what} can't be sent as JSON: {error}.") from None
        data = text.encode("utf-8", "backslashreplace")  # half a surrogate pair becomes \udXXX
        if len(data) > self.worker.max_bytes:
            limit = self.worker.max_bytes
            raise Failure(f"{what} takes {len(data):,} bytes; the edge accepts {limit:,}.")
        return data.decode()

    def unsent(self) -> Iterator[str]:
        """Yields the frames to send: outputs in order, the latest progress, then the end (W21)."""
        end = self.end  # read first: no output follows it
        while self.sent < len(self.outputs):
            self.sent += 1
            yield self.outputs[self.sent - 1]
        if self.latest is not None and self.latest is not self.shown:
            self.shown = self.latest
            yield self.shown
        if end is not None and not self.end_sent:
            self.end_sent = True
            yield end


def is_deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        return False
    return levels == 0 or any(is_deeper(inner, levels - 1) for inner in value)


class Worker:
    """Keeps the connection to the edge, and the jobs whose end is not acknowledged yet."""

    def __init__(self, base: str, space: str, token: str, worker_id: str) -> None:
        path = f"/api/spaces/{urllib.parse.quote(space, safe='')}/connect"
        self.base, self.space, self.worker_id = base, space, worker_id
        self.url = re.sub("^http", "ws", base) + path
        self.headers = {"Authorization": f"Bearer {token}"}
        self.held: dict[tuple[str, int], Job] = {}
        self.places = threading.Semaphore(CONCURRENCY)
        self.max_bytes = 1_048_576
        self.loop = asyncio.get_running_loop()
        self.news = asyncio.Event()  # there may be something to send
        self.stopping = asyncio.Event()
        self.hurry = False

    async def run(self) -> int:
        """Serves until the edge refuses this worker for good, or until a signal stops it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # on Windows
                self.loop.add_signal_handler(number, self.stop)
        code: int = await first_of(self.stay_connected(), self.leave())
        return code

    def stop(self) -> None:
        self.hurry = self.stopping.is_set()
        self.stopping.set()
        self.news.set()

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the worker has ended
            self.loop.call_soon_threadsafe(self.news.set)

    async def leave(self) -> int:
        """Lets the running jobs finish. When it returns, the connection is closed (W28)."""
        await self.stopping.wait()
        say(f"stopping; jobs to finish: {len(self.held)}; a second signal gives them back")
        started = time.monotonic()
        until = started + DRAIN_S
        while self.held and not self.hurry and time.monotonic() < until:
            await asyncio.sleep(0.05)
            if any(job.end for job in self.held.values()):  # the connection may be dead just now
                until = started + 2 * DRAIN_S
        return 1 if self.held else 0

    async def stay_connected(self) -> int:
        failures = 0  # connections in a row that did not reach `registered`
        while True:
            socket = None
            try:
                # Short at first, so that several dials fit into the grace of 15 s (W24).
                socket = await dial(self.url, self.headers, min(15, 5 * (failures + 1)))
                link = Link(socket)
                heartbeat_s, lease_s = await self.register(link)
                failures = 0
                say(f"connected: serving the space {self.space} as {self.worker_id}")
                pings = link.send_pings(heartbeat_s)
                await first_of(self.read(link, lease_s), self.write(link), pings)
            except asyncio.CancelledError:
                if socket:
                    await socket.close(1000)  # W28a: jobs that it still holds go back at once
                raise
            except Refused as refused:
                say(f"the edge refused this worker: {refused}")
                if refused.is_final:
                    return 1
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                say(f"disconnected ({code}) {closed.rcvd.reason if closed.rcvd else ''}".strip())
                if code in FINAL_CODES:
                    return 1
            except (OSError, EOFError, WebSocketException, NotImplementedError) as error:
                say(f"no connection to {self.base}: {error or type(error).__name__}")
            except Exception:  # noqa: BLE001 (a frame unlike those of the protocol)
                traceback.print_exc()
            finally:
                if socket:
                    socket.transport.abort()  # a closing handshake could wait for minutes
            delay = random.random() * min(10, 2**failures)  # W31
            failures = min(failures + 1, 10)
            say(f"dialing again in {delay:.1f} s")
            await asyncio.sleep(delay)

    async def register(self, link: Link) -> tuple[float, float]:
        hello = await link.receive(10)
        if hello.get("protocol") != PROTOCOL:  # W5
            raise Refused(f"it speaks {hello.get('protocol')}, not {PROTOCOL}", is_final=True)
        self.max_bytes = hello["max_frame_bytes"]
        link.announces = "unannounced_bytes" in hello
        resume = [job.ref for job in self.held.values()]  # W25
        register = {"type": "register", "worker_id": self.worker_id, "concurrency": CONCURRENCY}
        await link.send({**register, "resume": resume})
        answer: dict[str, Any] = {}
        while answer.get("type") != "registered":
            answer = await link.receive(10)
        resumed = {key_of(entry): entry for entry in answer["resumed"]}
        for key, job in list(self.held.items()):
            if entry := resumed.get(key):
                job.sent, job.shown, job.end_sent = entry["outputs"], None, False  # W26
                for file, url in zip(job.files, entry.get("file_urls", []), strict=False):
                    file["url"] = url  # W26c: the older address may have expired
            else:
                self.forget(key)  # W25a
        self.news.set()
        return hello["heartbeat_s"], hello["lease_s"]

    async def read(self, link: Link, lease_s: float) -> None:
        while True:
            frame = await link.receive(lease_s)  # W10
            kind = frame.get("type")
            if kind == "job":
                await self.start(link, frame)
            elif kind == "read_check":
                await link.send(frame)  # C18a
            elif kind in ("ack", "stale"):
                self.forget(key_of(frame))  # W20a, W22
            elif kind == "cancel" and key_of(frame) in self.held:
                self.held[key_of(frame)].canceled.set()
            elif kind == "cancel":
                job_id, attempt = key_of(frame)
                fail = {"type": "fail", "code": "canceled", "message": "Not held here."}
                await link.send({**fail, "job_id": job_id, "attempt": attempt})

    async def start(self, link: Link, frame: dict[str, Any]) -> None:
        job_id, attempt = key = key_of(frame)
        await link.send({"type": "accept", "job_id": job_id, "attempt": attempt})
        if key in self.held:
            return
        for older in [held for held in self.held if held[0] == job_id]:
            self.forget(older)
        job = self.held[key] = Job(self, frame)
        # The thread is a daemon, so that a model that never returns can't keep the process alive.
        threading.Thread(target=job.run, daemon=True).start()

    def forget(self, key: tuple[str, int]) -> None:
        if job := self.held.pop(key, None):
            job.canceled.set()

    async def write(self, link: Link) -> None:
        drains = False
        while True:
            await self.news.wait()
            self.news.clear()
            if self.stopping.is_set() and not drains:
                drains = True
                await link.send({"type": "drain", "reason": "The worker is being stopped."})
            for key, job in list(self.held.items()):
                for text in job.unsent():
                    if key in self.held:
                        await link.send(text, paced=True)


class Refused(Exception):
    """The edge refuses this worker; if `is_final`, for good."""

    def __init__(self, why: str, is_final: bool) -> None:
        super().__init__(why)
        self.is_final = is_final


def refusal(status: int, headers: Any, body: bytes | bytearray | None) -> Refused:
    """What answered is the edge, which gives its reason (W3), or something in front of it."""
    why, is_problem = f"status {status}", False  # W4a: a proxy sends no problem
    if problem := re.search(rb"\{.*\}", body or b"", re.DOTALL):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            answer = json.loads(problem[0])
            why = f"{why}: {answer['detail']}"
            is_problem = "problem+json" in (headers.get("Content-Type") or "")
    if location := headers.get("Location"):
        why += f", a redirect: set DIALOUT_URL to where {location[:200]} is"
    return Refused(why, is_final=is_problem and status in FINAL_STATUSES)


DIAL: dict[str, Any] = {"subprotocols": [PROTOCOL], "close_timeout": 1, "ping_interval": None}
DIAL |= {"compression": None, "max_size": 8 << 20}  # C4
if int(version.split(".")[0]) >= 14:
    from websockets.asyncio.client import connect

    class Dial(connect):
        def process_redirect(self, exc: Exception) -> Exception:
            return exc  # following a redirect could hand the token to another host

    async def dial(url: str, headers: dict[str, str], timeout: float) -> Any:
        try:
            return await Dial(url, additional_headers=headers, open_timeout=timeout, **DIAL)
        except InvalidStatus as error:
            answer = error.response
            raise refusal(answer.status_code, answer.headers, answer.body) from None

else:
    import websockets

    class Protocol(websockets.WebSocketClientProtocol):  # type: ignore[name-defined,misc]
        async def read_http_response(self) -> Any:
            status, headers = await super().read_http_response()
            if status == 101:
                return status, headers
            body = b""
            with contextlib.suppress(TimeoutError):
                body = await asyncio.wait_for(self.reader.read(65_536), 1)
            raise refusal(status, headers, body)

    async def dial(url: str, headers: dict[str, str], timeout: float) -> Any:
        options = {"extra_headers": headers, "open_timeout": timeout, **DIAL}
        return await websockets.connect(url, create_protocol=Protocol, **options)


class Link:
    """One connection: sends no more than it carries away, and knows whether the edge is there."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.announces = False
        self.lock = asyncio.Lock()
        self.unanswered = 0  # bytes since the last ping
        self.pings = 0
        self.pongs = 0
        self.ponged = asyncio.Event()
        # Until when a large message may keep everything else from coming (C17, W34).
        self.sending_until = self.arriving_until = 0.0

    async def send(self, frame: dict[str, Any] | str, paced: bool = False) -> None:
        text = frame if isinstance(frame, str) else json.dumps(frame)
        size = len(text.encode())
        with contextlib.suppress(ConnectionClosed):  # `receive` reports it
            async with self.lock:  # nothing may come between an announcement and its message
                if size > WINDOW:
                    now = max(time.monotonic(), self.sending_until)
                    self.sending_until = now + size / SLOWEST
                if size > WINDOW and self.announces:
                    await self.socket.send(json.dumps({"type": "sending", "bytes": size}))
                await self.socket.send(text)
                self.unanswered += size
            if paced and self.unanswered >= WINDOW:
                number = await self.ping()
                while self.pongs < number:
                    self.ponged.clear()
                    await self.ponged.wait()

    async def ping(self) -> int:
        async with self.lock:
            self.unanswered = 0
            self.pings += 1
            number = self.pings
            await self.socket.send("ping")
        return number

    async def send_pings(self, seconds: float) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:  # W9: as text; a ping frame of WebSocket does not count
                await asyncio.sleep(seconds)
                await self.ping()
        await asyncio.Event().wait()  # `receive` reports the end

    async def receive(self, seconds: float) -> dict[str, Any]:
        heard = time.monotonic()
        while True:
            until = max(heard, self.sending_until, self.arriving_until) + seconds
            try:
                rest = max(0.01, until - time.monotonic())
                text = await asyncio.wait_for(self.socket.recv(), rest)
            except TimeoutError:
                if max(self.sending_until, self.arriving_until) + seconds > time.monotonic():
                    continue
                raise TimeoutError(f"nothing came for {seconds:.0f} s") from None
            heard, self.arriving_until = time.monotonic(), 0.0
            if text == "pong":
                self.pongs += 1
                if self.pongs == self.pings:
                    self.sending_until = 0.0
                self.ponged.set()
                continue
            frame: dict[str, Any] = json.loads(text, parse_int=parse_int)
            if frame.get("type") == "sending":
                self.arriving_until = heard + frame["bytes"] / SLOWEST
                continue
            if frame.get("type") == "error":
                say(f"the edge says: {frame.get('message')}")
            return frame


def parse_int(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < 4000 else Decimal(digits)  # int() refuses longer ones


def key_of(frame: dict[str, Any]) -> tuple[str, int]:
    return frame["job_id"], frame["attempt"]


async def first_of(*coroutines: Coroutine[Any, Any, Any]) -> Any:
    """Runs them together until one of them ends, and returns what that one returned."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def say(words: str) -> None:
    print(time.strftime("%H:%M:%S"), words, file=sys.stderr, flush=True)


def setting(name: str, pattern: str, what: str) -> str:
    value = os.environ.get(name, "").strip()
    if not re.fullmatch(pattern, value):
        sys.exit(f"{name} must be {what}.")
    return value


async def main() -> int:
    base = setting("DIALOUT_URL", r"(https?|wss?)://\S+", "an address with http:// or https://")
    space = setting("DIALOUT_SPACE", ".+", "the name of the space")
    token = setting("DIALOUT_TOKEN", "[!-~]+", "a worker token of the space")
    # W6b: give it a fixed name if only one such process ever runs at a time.
    worker_id = os.environ.get("DIALOUT_WORKER_ID") or f"python-{uuid.uuid4().hex[:8]}"
    return await Worker(re.sub("^ws", "http", base.rstrip("/")), space, token, worker_id).run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
