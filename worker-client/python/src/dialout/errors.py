"""What goes wrong, as exceptions. Those of the worker and of the submitter's client stand together here."""

from __future__ import annotations

import asyncio
from typing import Any


class DialoutError(Exception):
    """The base of what this package raises, except `Cancelled`."""


class InvalidModel(DialoutError):
    """The function or class that is to be served can't be: its signature, its types or its file."""


class InvalidOptions(DialoutError, ValueError):
    """An option is missing or wrong; the message can be shown to the user."""


class WorkerRefused(DialoutError):
    """The edge refuses this worker for good: dialing again would not help.

    `code` is one of `not_authenticated`, `not_allowed`, `not_found`, `space_occupied`, `replaced`,
    `schema_invalid`, `frame_too_large`, `malformed_frame`, `policy`, `closed`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class JobError(DialoutError):
    """Raise it in a model: the job fails with this message, which submitters read.

    With `retry=True` the edge tries the job again, up to the space's `max_attempts`. `code` is up to
    60 characters. The text of any other exception goes only into the worker's log (W18a).
    """

    def __init__(self, message: str, *, code: str = "worker_error", retry: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retry = retry


class InvalidInput(JobError):
    """The job's input doesn't fit the model's parameters."""


class Cancelled(asyncio.CancelledError):
    """Nobody wants the job any more: it was canceled, ran out of time, or is another worker's.

    It is raised by `job.progress`, `job.output`, `job.file` and `job.raise_if_cancelled`, at the `yield`
    of a generator, and at the `await` of an async model. Like asyncio's own, `except Exception` doesn't
    catch it. `why` is `canceled`, `stale`, `dropped`, `deadline`, `failed` or `stopped`.
    """

    def __init__(self, why: str = "canceled") -> None:
        super().__init__(_WHY.get(why, why))
        self.why = why


_WHY = {
    "canceled": "the job was canceled",
    "stale": "the attempt was taken back",
    "dropped": "the attempt was given up after a reconnect",
    "deadline": "the attempt was not finished by its deadline",
    "failed": "the job has already failed",
    "stopped": "the worker is stopping",
}


class ClientError(DialoutError):
    """A call of the submitter's client failed.

    `code` is one of the edge's (`invalid_input`, `space_not_found`, `worker_not_connected` …) or `unreachable`,
    `timed_out`, `not_an_edge`, `too_many_redirects`, `malformed_answer`, `output_restarted`. `status` is the HTTP
    status, `errors` the list of `{path, message}` of a problem about fields. If a submit failed without an answer,
    the job may exist: submit again with `idempotency_key`, and there is one job.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        errors: list[dict[str, Any]] | None = None,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.errors = errors or []
        self.retry_after = retry_after
        self.idempotency_key = idempotency_key


class JobFailed(DialoutError):
    """The job that was waited for failed or was canceled. `code` is one of the edge's (`worker_error`, `timeout` …)."""

    def __init__(self, job_id: str, status: str, code: str, message: str) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.status = status
        self.code = code
