"""The client for programs that wait."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Union
from urllib.parse import quote, urljoin

from ..address import check_space
from ..engine.download import Download
from ..engine.failures import TransferFailed
from ..errors import ClientError, InvalidOptions, JobFailed
from ..log import Log
from ..model.contents import Content, clean_name
from .api import Api, MakeBody
from .events import End, Event, Output, Restart
from .form import form_body, json_body, size_of, split_input
from .stream import JobStream
from .tus import send_in_parts

# One request carries up to 100 MB; larger files go in parts before it.
LARGEST_FORM = 90_000_000
OPTIONS = (
    "priority",
    "queue_timeout_s",
    "first_output_timeout_s",
    "stall_timeout_s",
    "job_timeout_s",
    "requires",
    "webhook",
    "user",
)


class Client:
    """An edge.

    `url` is its address (DIALOUT_URL), `key` a key, a session's or user's token, or the operator's key (DIALOUT_KEY);
    public spaces need none. `timeout` is how long each call may take with its repeats, in seconds; without it a call
    is tried 5 times.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> None:
        self._api = Api(url, key, timeout)

    @property
    def url(self) -> str:
        return self._api.url

    def space(self, name: Optional[str] = None) -> Space:
        """A space, by its name; without one the space that the address or DIALOUT_SPACE names."""
        found = name or self._api.space or os.environ.get("DIALOUT_SPACE")
        if found is None:
            raise InvalidOptions("Name the space.")
        return Space(self._api, check_space(found))

    def spaces(self) -> list[dict[str, Any]]:
        """The spaces that this client may see."""
        answer = self._api.call("GET", "/api/spaces").value
        found: list[dict[str, Any]] = answer["spaces"] if isinstance(answer, dict) else answer
        return found

    def job(self, job_id: str) -> ClientJob:
        """A job, by its id."""
        return ClientJob(self._api, job_id)


class Space:
    """A space, to which jobs are submitted."""

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self.name = name

    def get(self) -> dict[str, Any]:
        """The space as the edge describes it, with its `schema` if it has one."""
        found: dict[str, Any] = self._api.call("GET", f"/api/spaces/{self.name}").value
        return found

    def submit(
        self,
        given: Optional[Mapping[str, Any]] = None,
        /,
        *,
        options: Optional[Mapping[str, Any]] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
        **fields: Any,
    ) -> ClientJob:
        """Submits a job: `submit(prompt="a cat", image=Path("cat.png"))`, or `submit({"prompt": "a cat"})`.

        Paths, bytes, `NamedBytes`, files opened for reading bytes, and PIL's pictures are sent as files; a list of
        them as several files. A text is never a path. `options` are those of the edge, such as
        `{"priority": 1, "job_timeout_s": 60}`. A submit whose answer was lost is sent again with the same key, and
        makes one job.

        Raises `ClientError`: with `code="invalid_input"` and `errors` if a field is wrong, with
        `code="worker_not_connected"` if no worker is there.
        """
        key = idempotency_key or str(uuid.uuid4())
        content_type, make_body = self._body({**(given or {}), **fields}, options or {})
        path = f"/api/spaces/{self.name}/jobs"
        headers = {"Content-Type": content_type, "Idempotency-Key": key}
        try:
            answer = self._api.call(
                "POST", path, headers=headers, make_body=make_body, timeout=timeout
            )
        except ClientError as error:
            error.idempotency_key = key
            raise
        return ClientJob(self._api, str(answer.value["id"]), answer.value)

    def _body(self, given: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[str, MakeBody]:
        unknown = [name for name in options if name not in OPTIONS]
        if unknown:
            raise InvalidOptions(
                f"There is no option {unknown[0]!r}; there are {', '.join(OPTIONS)}."
            )
        fields, files = split_input(given)
        if not files:
            return "application/json", json_body({"input": fields, **options})
        if sum(size_of(content) for _, content in files) <= LARGEST_FORM:
            return form_body(fields, options, files)
        sent = [self._send_part(field, content) for field, content in files]
        return "application/json", json_body({"input": fields, "files": sent, **options})

    def _send_part(self, field: str, content: Content) -> dict[str, str]:
        return {"field": field, "upload": send_in_parts(self._api, self.name, field, content)}

    def job(self, job_id: str) -> ClientJob:
        return ClientJob(self._api, job_id)


class ClientJob:
    """A job that was submitted."""

    def __init__(self, api: Api, job_id: str, resource: Optional[dict[str, Any]] = None) -> None:
        self.id = job_id
        self._api = api
        self._path = f"/api/jobs/{quote(job_id, safe='')}"
        self._resource = resource

    def get(self) -> dict[str, Any]:
        """The job as the edge has it now."""
        found: dict[str, Any] = self._api.call("GET", self._path).value
        self._resource = found
        return found

    @property
    def status(self) -> str:
        """`queued`, `processing`, `completed`, `failed` or `canceled`, asked anew."""
        return str(self.get()["status"])

    @property
    def output(self) -> Any:
        """What was streamed: one text if every piece is a text, otherwise the list of pieces, or `None`."""
        return self._ended()["output"]

    @property
    def outputs(self) -> list[RemoteFile]:
        """The files that came of the job. Waits for its end."""
        return [RemoteFile(self._api, each) for each in self._ended().get("outputs") or []]

    def _ended(self) -> dict[str, Any]:
        self.wait()
        return self.get()

    def events(self, timeout: Optional[float] = None) -> Iterator[Event]:
        """What happens to the job, from its first event to its `End`; a broken connection goes on where it was.

        Raises `ClientError` if the edge refuses it, and with `code="timed_out"` after `timeout` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        return JobStream(self._api, self.id, self._path, until).events()

    def __iter__(self) -> Iterator[Event]:
        return self.events()

    def stream(self, timeout: Optional[float] = None) -> Iterator[Any]:
        """The pieces of output as they come.

        Raises `JobFailed` if the job fails, and `ClientError` with `code="output_restarted"` if what came before no
        longer counts, because another attempt begins: `events()` goes on then.
        """
        for event in self.events(timeout):
            if isinstance(event, Output) and event.file is None:
                yield event.delta
            elif isinstance(event, Restart):
                raise ClientError(
                    "output_restarted", "Another attempt of the job begins: its output starts anew."
                )
            elif isinstance(event, End):
                self._raise_if_failed(event)

    def wait(self, timeout: Optional[float] = None) -> End:
        """Waits for the job's end, whichever it is."""
        for event in self.events(timeout):
            if isinstance(event, End):
                return event
        raise ClientError("malformed_answer", "The stream of the job ended without its end.")

    def result(self, timeout: Optional[float] = None) -> Any:
        """Waits for the result. Raises `JobFailed`, or `ClientError` with `code="timed_out"`; the job goes on then."""
        end = self.wait(timeout)
        self._raise_if_failed(end)
        return end.result

    def cancel(self) -> dict[str, Any]:
        """Cancels the job. A job that runs is over once its worker has stopped; one that is over stays as it ended."""
        found: dict[str, Any] = self._api.call("POST", f"{self._path}/cancel").value
        return found

    def _raise_if_failed(self, end: End) -> None:
        if end.status == "completed":
            return
        error = end.error or {}
        code, message = str(error.get("code", end.status)), str(error.get("message", end.status))
        raise JobFailed(self.id, end.status, code, message)

    def __repr__(self) -> str:
        return f"<ClientJob {self.id}>"


class RemoteFile:
    """A file that came of a job: `size` in bytes, `sha256` in hexadecimal digits."""

    def __init__(self, api: Api, info: Mapping[str, Any]) -> None:
        self._api = api
        self.name = str(info["name"])
        self.content_type = str(info["content_type"])
        self.size = int(info["size"])
        self.sha256 = str(info["sha256"])
        self.url = urljoin(f"{api.url}/", str(info["url"]))

    def save(self, path: Union[str, os.PathLike[str], None] = None) -> Path:
        """Fetches the file, goes on after breaks, and checks its checksum. Returns where it is.

        `path` is a file, which is overwritten, or a folder; without it a new file of this name in the current folder.
        Raises `ClientError` if the file can't be fetched; then nothing is left at `path`.
        """
        target = Path(clean_name(self.name)) if path is None else Path(path)
        if target.is_dir():
            target = target / clean_name(self.name)
        if path is None and target.exists():
            raise FileExistsError(f"{target} exists: say where to save the file.")
        part = target.with_name(f"{target.name}.part")
        try:
            self._download(part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def read(self) -> bytes:
        """The whole file in memory."""
        with tempfile.TemporaryDirectory() as folder:
            return self.save(Path(folder) / "file").read_bytes()

    def _download(self, path: Path) -> None:
        until = time.time() + 3_600
        download = Download(
            {"name": self.name, "size": self.size, "sha256": self.sha256},
            path,
            edge_url=self._api.url,
            url=lambda: self.url,
            deadline_at=lambda: until,
            stopped=threading.Event(),
            opener=self._api.opener,
            log=Log(quiet=True),
            headers=self._api.headers(self.url),
        )
        try:
            download.run()
        except TransferFailed as error:
            raise ClientError("unreachable", str(error)) from error

    def __repr__(self) -> str:
        return f"<RemoteFile {self.name!r} {self.content_type} {self.size:,} bytes>"
