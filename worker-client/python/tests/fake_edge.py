"""An edge that does what a test says: HTTP by routes, and the worker's socket frame by frame.

It speaks WebSocket by itself, so that it doesn't depend on the package under test, nor on its `websockets`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator, Optional

TOKEN = "dow_a-token-for-tests"
SPACE = "tests"
JOB = f"{SPACE}.01JD8Z3K9QX5T7W2V4N6B8M0CA"
PATIENCE_S = 20.0
FAR = "2100-01-01T00:00:00.000Z"


class Cut(Exception):
    """Raised by a route: the connection ends without an answer."""


class Request:
    def __init__(self, method: str, path: str, headers: Any, body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body


# What a route answers: a status, headers, and a body, which may come in pieces.
Reply = tuple[int, dict[str, str], Any]


def problem(status: int, code: str, detail: str = "no", **more: Any) -> Reply:
    body = {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail}
    return status, {"Content-Type": "application/problem+json"}, json.dumps({**body, **more})


def json_reply(value: Any, status: int = 200) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps(value)


class FakeEdge:
    def __init__(self) -> None:
        self.connections: queue.Queue[Connection] = queue.Queue()
        self.routes: dict[str, Callable[[Request], Reply]] = {}
        self.requests: list[Request] = []
        # Answers the next upgrades instead of a socket.
        self.refusals: list[Reply] = []
        edge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ValueError):
                    self.close_connection = True

            def answer(self) -> None:
                if self.headers.get("Upgrade"):
                    edge.upgrade(self)
                else:
                    edge.serve(self)

            do_GET = do_POST = do_PUT = do_HEAD = do_PATCH = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def route(self, method: str, path: str, reply: Callable[[Request], Reply]) -> None:
        self.routes[f"{method} {path}"] = reply

    def serve(self, handler: Any) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        request = Request(handler.command, handler.path, handler.headers, body)
        self.requests.append(request)
        key = f"{handler.command} {handler.path.split('?')[0]}"
        found = self.routes.get(key)
        try:
            status, headers, content = found(request) if found else problem(404, "not_found")
            self.write(handler, status, headers, content)
        except Cut:
            handler.close_connection = True
            handler.connection.close()

    def write(self, handler: Any, status: int, headers: dict[str, str], content: Any) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if isinstance(content, (str, bytes)):
            data = content.encode() if isinstance(content, str) else content
            if "Content-Length" not in headers:
                handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(data)
            return
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        for piece in content:
            handler.wfile.write(piece.encode() if isinstance(piece, str) else piece)
            handler.wfile.flush()

    def upgrade(self, handler: Any) -> None:
        if self.refusals:
            self.write(handler, *self.refusals.pop(0))
            handler.close_connection = True
            return
        accept = handler.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        handler.send_response(101)
        handler.send_header("Upgrade", "websocket")
        handler.send_header("Connection", "Upgrade")
        digest = base64.b64encode(hashlib.sha1(accept.encode()).digest()).decode()
        handler.send_header("Sec-WebSocket-Accept", digest)
        handler.send_header("Sec-WebSocket-Protocol", "dialout.worker.v1")
        handler.end_headers()
        handler.close_connection = True
        connection = Connection(handler)
        self.connections.put(connection)
        connection.read()

    def connection(self) -> Connection:
        """The next connection of a worker."""
        return self.connections.get(timeout=PATIENCE_S)


class Connection:
    """One worker's socket, from the edge's side."""

    def __init__(self, handler: Any) -> None:
        self.path: str = handler.path
        self.headers = handler.headers
        self.answers_pings = True
        self.pings = 0
        self.pinged_at: list[float] = []
        self.messages: list[str] = []
        self.close_code: Optional[int] = None
        self._handler = handler
        self._frames: queue.Queue[Optional[dict[str, Any]]] = queue.Queue()
        self._skipped: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self.closed = threading.Event()

    # Frames of WebSocket

    def read(self) -> None:
        try:
            while self._read_one():
                pass
        except (OSError, ValueError, struct.error):
            pass
        self.closed.set()
        self._frames.put(None)
        self._handler.connection.close()

    def _read_one(self) -> bool:
        head = self._exactly(2)
        length = head[1] & 127
        if length == 126:
            length = struct.unpack(">H", self._exactly(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self._exactly(8))[0]
        mask = self._exactly(4)
        data = bytearray(self._exactly(length))
        for index in range(4):
            piece = data[index::4]
            data[index::4] = bytes(byte ^ mask[index] for byte in piece)
        kind = head[0] & 15
        if kind == 8:
            self.close_code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 1005
            self._raw(8, bytes(data[:2]))
            return False
        if kind == 1:
            self._on_text(data.decode())
        return True

    def _exactly(self, size: int) -> bytes:
        data: bytes = self._handler.rfile.read(size)
        if len(data) != size:
            raise ValueError("the end")
        return data

    def _raw(self, kind: int, data: bytes) -> None:
        head = bytes([128 | kind])
        if len(data) < 126:
            head += bytes([len(data)])
        elif len(data) < 65_536:
            head += bytes([126]) + struct.pack(">H", len(data))
        else:
            head += bytes([127]) + struct.pack(">Q", len(data))
        with self._lock:
            self._handler.wfile.write(head + data)
            self._handler.wfile.flush()

    def _on_text(self, text: str) -> None:
        if text == "ping":
            self.pings += 1
            self.pinged_at.append(time.monotonic())
            if self.answers_pings:
                self._raw(1, b"pong")
            return
        self.messages.append(text)
        frame = json.loads(text, parse_int=lambda digits: int(digits[:4_000]))
        frames = frame["frames"] if frame.get("type") == "batch" else [frame]
        for each in frames:
            self._frames.put({**each, "_text": text} if each["type"] == "read_check" else each)

    # Frames of the protocol

    def send(self, frame: Any) -> None:
        self._raw(1, (frame if isinstance(frame, str) else json.dumps(frame)).encode())

    def next(self, kind: Optional[str] = None) -> dict[str, Any]:
        """The next frame; those of another kind before it are skipped."""
        until = time.monotonic() + PATIENCE_S
        while True:
            frame = self._frames.get(timeout=max(0.1, until - time.monotonic()))
            if frame is None:
                raise AssertionError(f"the connection ended without {kind}; came: {self._skipped}")
            self._skipped.append(frame)
            if kind is None or frame["type"] == kind:
                return frame

    def until(self, kind: str) -> list[dict[str, Any]]:
        frames: list[dict[str, Any]] = []
        while not frames or frames[-1]["type"] != kind:
            frames.append(self.next())
        return frames

    def welcome(self, hello: Any = None, registered: Any = None) -> dict[str, Any]:
        """Sends `hello`, and answers the `register`, which it returns."""
        self.send(
            {
                "type": "hello",
                "protocol": "dialout.worker.v1",
                "space": SPACE,
                "heartbeat_s": 10,
                "lease_s": 30,
                "max_frame_bytes": 1_048_576,
                "unannounced_bytes": 65_536,
                "batch": "batch=1" in self.path,
                **(hello or {}),
            }
        )
        register = self.next("register")
        config = {"concurrency": 1, "job_timeout_s": 120, "reconnect_grace_s": 15}
        answer = {"generation": 1, "config": config, "resumed": [], "dropped": []}
        self.send({"type": "registered", **answer, **(registered or {})})
        return register

    def dispatch(self, given: Any = None, **more: Any) -> dict[str, Any]:
        """Sends a job, and returns its reference."""
        frame = {
            "type": "job",
            "job_id": JOB,
            "attempt": 1,
            "input": given or {},
            "files": [],
            "priority": 0,
            "deadline": FAR,
            "created_at": "2026-11-29T12:00:00.000Z",
            "user": None,
            **more,
        }
        self.send(frame)
        return {"job_id": frame["job_id"], "attempt": frame["attempt"]}

    def ack(self, ref: dict[str, Any], of: str = "result") -> None:
        self.send({"type": "ack", **ref, "of": of})

    def run(self, given: Any = None, **more: Any) -> dict[str, Any]:
        """Runs a job to its end, and returns the frame of the end."""
        ref = self.dispatch(given, **more)
        while True:
            frame = self.next()
            if frame["type"] in ("result", "fail", "reject"):
                self.ack(ref, frame["type"])
                return frame

    def close(self, code: int, reason: str = "") -> None:
        self._raw(8, struct.pack(">H", code) + reason.encode())

    def drop(self) -> None:
        """Ends the connection as a network does."""
        import socket

        self._handler.connection.shutdown(socket.SHUT_RDWR)


def events_of(frames: list[tuple[Optional[str], dict[str, Any]]]) -> Iterator[str]:
    """A stream of server-sent events."""
    yield ": hello\n\n"
    for position, frame in frames:
        head = "" if position is None else f"id: {position}\n"
        yield f"event: {frame['type']}\n{head}data: {json.dumps(frame)}\n\n"
