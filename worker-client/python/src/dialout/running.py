"""One run of a model for one job."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import threading
import traceback
import types
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Generator, Optional

from .channel import Channel
from .errors import Cancelled, JobError
from .files import File, received_file
from .job import _CURRENT, Job, JobInfo, OutputFile
from .json_text import cut, write_json
from .log import Log
from .model.contents import Content, Names, content_of, is_file_value
from .model.handler import Handler
from .model.kinds import ListOf
from .model.results import result_of

# What the edge adds to an output or a result in its frame, bytes: the id of a job, the attempt, the names of files.
FRAME_BYTES = 512
MOST_FILES = 64
FAILED = "The model failed: the worker's log says why."
_REQUESTS = itertools.count(1)


class Run:
    """Calls the model for a job, and tells the engine what comes of it."""

    def __init__(self, handler: Handler, channel: Channel, frame: dict[str, Any], log: Log) -> None:
        self.number: int = frame["run"]
        self.task: Optional[asyncio.Task[Any]] = None
        self._handler = handler
        self._channel = channel
        self._frame = frame
        self._log = log
        self._limit: int = frame["max_frame_bytes"] - FRAME_BYTES
        self._names = Names()
        self._files = 0
        self._told: list[str] = []
        self._uploads: dict[int, _Upload] = {}
        self._folder: Optional[Path] = None
        self._lock = threading.Lock()
        self.job = Job(_info_of(frame), self)

    # What the engine says

    def cancel(self, why: str) -> None:
        self.job._why = why
        self.job._cancelled.set()
        for upload in list(self._uploads.values()):
            upload.done.set()

    def on_sent(self, request: int, answer: dict[str, Any]) -> None:
        upload = self._uploads.get(request)
        if upload is not None:
            upload.answer = answer
            upload.done.set()

    # What the model says (JobPort)

    def output(self, delta: Any) -> None:
        if isinstance(delta, str):
            if delta:
                self._send_text(str(delta))
            return
        if is_file_value(delta) or self._is_file_piece():
            self.file(delta, None, None, "output")
            return
        value = result_of(delta, self._piece_kind(), self._send_file)
        text = self._encode(value, "A piece of output")
        self._channel.send("output", self.number, text)

    def progress(self, percent: float, message: Optional[str], remaining: Optional[float]) -> None:
        text = None if message is None else cut(str(message), 2_000)
        self._channel.send("progress", self.number, percent, text, remaining)

    def file(
        self, content: Any, name: Optional[str], content_type: Optional[str], tell: str
    ) -> OutputFile:
        what = "preview" if tell == "preview" else "output"
        found = content_of(
            content,
            what=what,
            name=name,
            content_type=content_type,
            file_format=self._piece_format(),
        )
        sent = self._upload(found, is_preview=tell == "preview")
        if tell:
            self._channel.send("output_file", self.number, sent.name, tell == "preview")
        return sent

    # The run itself

    def perform(self) -> None:
        """Runs a plain model to its end, on this thread. Nothing that it raises gets out."""
        token = _CURRENT.set(self.job)
        try:
            self._finish(self._call())
        except BaseException as error:  # also SystemExit: no job may end the worker
            self._fail(error)
        finally:
            _CURRENT.reset(token)
            self._clean_up()

    async def perform_async(self) -> None:
        """Runs an async model to its end."""
        _CURRENT.set(self.job)
        try:
            await _translated(self._call_async(), self.job)
        except BaseException as error:  # as above
            self._fail(error)
        finally:
            self._clean_up()

    def _call(self) -> Any:
        self.job.raise_if_cancelled()
        frame = self._frame
        arguments = self._handler.signature.bind(frame["input"], self.job.files, self.job)
        value = self._handler.call(**arguments)
        if not self._handler.is_generator:
            return value
        return self._drain(value)

    def _drain(self, pieces: Generator[Any, None, Any]) -> Any:
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                return end.value
            try:
                self.job.output(piece)
            except BaseException as error:
                # At the `yield`, where the model can clean up.
                with contextlib.suppress(StopIteration):
                    pieces.throw(error)
                    pieces.close()
                raise

    async def _call_async(self) -> None:
        self.job.raise_if_cancelled()
        signature = self._handler.signature
        arguments = await asyncio.to_thread(
            signature.bind, self._frame["input"], self.job.files, self.job
        )
        value = self._handler.call(**arguments)
        if not self._handler.is_generator:
            result = await value
        else:
            result = None
            async for piece in value:
                if isinstance(piece, str):
                    self.job.output(piece)
                else:
                    await asyncio.to_thread(self.job.output, piece)
        await asyncio.to_thread(self._finish, result)

    def _finish(self, value: Any) -> None:
        self.job.raise_if_cancelled()
        metrics = self.job._metrics
        metrics_text = None if metrics is None else self._encode(metrics, "What metrics were given")
        if value is None:
            self._channel.send("result", self.number, None, metrics_text, [])
            return
        output = result_of(value, self._handler.signature.output, self._send_file)
        text = self._encode(output, "The result")
        self._channel.send("result", self.number, text, metrics_text, self._told)

    def _fail(self, error: BaseException) -> None:
        code, message, retry = self._failure(error)
        self._channel.send("fail", self.number, cut(code, 60) or "worker_error", message, retry)

    def _failure(self, error: BaseException) -> tuple[str, str, bool]:
        if isinstance(error, asyncio.CancelledError):
            return "canceled", "Stopped before its end.", False
        if not isinstance(error, JobError):
            trace = "".join(
                traceback.format_exception(type(error), error, error.__traceback__)
            ).rstrip()
            self._log.error(f"job {self.job.id}: the model failed\n{trace}")
            return "worker_error", FAILED, False
        if error.__cause__ is not None:
            self._log.error(f"job {self.job.id}: {error.__cause__!r}")
        return str(error.code), cut(str(error.message), 8_000), bool(error.retry)

    # Files

    def _send_file(self, value: Any, what: str, file_format: Optional[str]) -> str:
        self.job.raise_if_cancelled()
        sent = self._upload(content_of(value, what=what, file_format=file_format))
        self._told.append(sent.name)
        return sent.name

    def _upload(self, content: Content, is_preview: bool = False) -> OutputFile:
        outputs = self._frame["outputs"]
        if outputs is None:
            raise JobError("This edge takes no files from workers.")
        with self._lock:
            name = self._names.take(content.name)
            # A preview gives its place free when the next one is shown (W36f).
            self._files += not is_preview
            if self._files > MOST_FILES:
                raise JobError(f"A job has at most {MOST_FILES} files.")
        path = content.path or self._write(content.data or b"")
        size = path.stat().st_size
        if size > outputs["max_bytes"]:
            raise JobError(
                f"The file {name} has {size:,} bytes; the edge takes {outputs['max_bytes']:,}."
            )
        try:
            return self._wait_for_upload(path, name, content.content_type)
        finally:
            if content.path is None:
                path.unlink()

    def _wait_for_upload(self, path: Path, name: str, content_type: str) -> OutputFile:
        request = next(_REQUESTS)
        upload = self._uploads[request] = _Upload()
        try:
            self.job.raise_if_cancelled()
            self._channel.send("upload", self.number, request, str(path), name, content_type)
            upload.done.wait()
            self.job.raise_if_cancelled()
        finally:
            del self._uploads[request]
        answer = upload.answer
        if "error" in answer:
            raise JobError(f"The file {name} could not be sent: {answer['error']}.", retry=True)
        return OutputFile(name, answer["content_type"], answer["size"], answer["sha256"])

    def _write(self, data: bytes) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="dialout-out-"))
        path = self._folder / str(next(_REQUESTS))
        path.write_bytes(data)
        return path

    def _clean_up(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # JSON

    def _send_text(self, text: str) -> None:
        """Sends a text as one piece, or as several if it is too large for a frame."""
        encoded = write_json(text)
        if len(encoded.encode()) <= self._limit:
            self._channel.send("output", self.number, encoded)
            return
        middle = len(text) // 2
        self._send_text(text[:middle])
        self._send_text(text[middle:])

    def _encode(self, value: Any, what: str) -> str:
        try:
            text = write_json(value)
        except ValueError as error:
            raise JobError(f"{what} can't be sent as JSON: {error}.") from None
        size = len(text.encode())
        if size > self._limit:
            raise JobError(
                f"{what} takes {size:,} bytes; the edge accepts {self._limit:,}. Send it as a file."
            )
        return text

    def _piece_kind(self) -> Any:
        kind = self._handler.signature.piece
        return kind

    def _piece_format(self) -> Optional[str]:
        return getattr(self._piece_kind(), "format", None) if self._is_file_piece() else None

    def _is_file_piece(self) -> bool:
        kind = self._piece_kind()
        return kind is not None and kind.is_file and not isinstance(kind, ListOf)


class _Upload:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: dict[str, Any] = {"error": "the worker is stopping"}


def _info_of(frame: dict[str, Any]) -> JobInfo:
    return JobInfo(
        id=frame["job_id"],
        attempt=frame["attempt"],
        input=frame["input"],
        files=[received_file(File, info["path"], info) for info in frame["files"]],
        priority=frame.get("priority", 0),
        user=frame.get("user"),
        created_at=_moment(frame.get("created_at")),
        deadline=_moment(frame.get("deadline")),
    )


def _moment(text: Any) -> Optional[datetime]:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None


@types.coroutine
def _translated(coroutine: Any, job: Job) -> Generator[Any, Any, Any]:
    """Awaits a coroutine, but a cancel reaches it as `Cancelled`, with its reason, at the `await` where it is."""
    step: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731
    while True:
        try:
            waited = step()
        except StopIteration as end:
            return end.value
        try:
            answer = yield waited
            step = _sender(coroutine.send, answer)
        except asyncio.CancelledError as error:
            raised = Cancelled(job._why) if job.cancelled else error
            step = _sender(coroutine.throw, raised)
        except BaseException as error:
            step = _sender(coroutine.throw, error)


def _sender(function: Callable[[Any], Any], value: Any) -> Callable[[], Any]:
    return lambda: function(value)
