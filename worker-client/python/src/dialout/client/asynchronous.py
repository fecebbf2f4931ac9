"""The client for asyncio: each call runs on a thread, so that the loop goes on."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any, AsyncGenerator, AsyncIterator, Mapping, Optional, Union

from ..errors import ClientError
from .events import End, Event, Output, Restart
from .stream import JobStream
from .sync import Client, ClientJob, RemoteFile, Space


class AsyncClient:
    """As `Client`, for asyncio."""

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> None:
        self._client = Client(url, key=key, timeout=timeout)

    @property
    def url(self) -> str:
        return self._client.url

    def space(self, name: Optional[str] = None) -> AsyncSpace:
        return AsyncSpace(self._client.space(name))

    async def spaces(self) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self._client.spaces)

    def job(self, job_id: str) -> AsyncJob:
        return AsyncJob(self._client.job(job_id))


class AsyncSpace:
    """As `Space`, for asyncio."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.name = space.name

    async def get(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._space.get)

    async def submit(
        self,
        given: Optional[Mapping[str, Any]] = None,
        /,
        *,
        options: Optional[Mapping[str, Any]] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
        **fields: Any,
    ) -> AsyncJob:
        """As `Space.submit`."""
        job = await asyncio.to_thread(
            self._space.submit,
            given,
            options=options,
            idempotency_key=idempotency_key,
            timeout=timeout,
            **fields,
        )
        return AsyncJob(job)

    def job(self, job_id: str) -> AsyncJob:
        return AsyncJob(self._space.job(job_id))


class AsyncJob:
    """As `ClientJob`, for asyncio: what are properties there are methods here."""

    def __init__(self, job: ClientJob) -> None:
        self._job = job
        self.id = job.id

    async def get(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._job.get)

    async def status(self) -> str:
        return str((await self.get())["status"])

    async def output(self) -> Any:
        await self.wait()
        return (await self.get())["output"]

    async def outputs(self) -> list[AsyncRemoteFile]:
        await self.wait()
        found = await asyncio.to_thread(lambda: self._job.outputs)
        return [AsyncRemoteFile(each) for each in found]

    async def events(self, timeout: Optional[float] = None) -> AsyncGenerator[Event, None]:
        """As `ClientJob.events`. Leaving the loop, or a cancel, closes the connection."""
        until = None if timeout is None else time.monotonic() + timeout
        stream = JobStream(self._job._api, self.id, self._job._path, until)
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[Union[Event, BaseException, None]] = asyncio.Queue()

        def pump() -> None:
            end: Optional[BaseException] = None
            try:
                for event in stream.events():
                    loop.call_soon_threadsafe(waiting.put_nowait, event)
            except Exception as error:
                end = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(waiting.put_nowait, end)

        threading.Thread(target=pump, name="dialout-events", daemon=True).start()
        try:
            while True:
                item = await waiting.get()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stream.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.events()

    async def stream(self, timeout: Optional[float] = None) -> AsyncIterator[Any]:
        """As `ClientJob.stream`."""
        async for event in self.events(timeout):
            if isinstance(event, Output) and event.file is None:
                yield event.delta
            elif isinstance(event, Restart):
                raise ClientError(
                    "output_restarted", "Another attempt of the job begins: its output starts anew."
                )
            elif isinstance(event, End):
                self._job._raise_if_failed(event)

    async def wait(self, timeout: Optional[float] = None) -> End:
        events = self.events(timeout)
        try:
            async for event in events:
                if isinstance(event, End):
                    return event
        finally:
            await events.aclose()
        raise ClientError("malformed_answer", "The stream of the job ended without its end.")

    async def result(self, timeout: Optional[float] = None) -> Any:
        end = await self.wait(timeout)
        self._job._raise_if_failed(end)
        return end.result

    async def cancel(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._job.cancel)

    def __repr__(self) -> str:
        return f"<AsyncJob {self.id}>"


class AsyncRemoteFile:
    """As `RemoteFile`, for asyncio."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self.name = file.name
        self.content_type = file.content_type
        self.size = file.size
        self.sha256 = file.sha256
        self.url = file.url

    async def save(self, path: Union[str, os.PathLike[str], None] = None) -> Path:
        return await asyncio.to_thread(self._file.save, path)

    async def read(self) -> bytes:
        return await asyncio.to_thread(self._file.read)
