"""Files of a job: fetched before the model gets it, sent while it runs; each on a thread."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Optional

from ..http import make_opener
from ..log import Log
from .attempt import Attempt
from .download import Download
from .failures import TransferFailed
from .upload import Upload

MOST_THREADS = 32


class Transfers:
    """Fetches and sends the files of attempts."""

    def __init__(self, edge_url: str, concurrency: int, log: Log) -> None:
        self._edge_url = edge_url
        self._log = log
        self._opener = make_opener()
        self._pool = ThreadPoolExecutor(min(MOST_THREADS, concurrency + 4), "dialout-files")
        self._is_away = threading.Event()

    def set_away(self, is_away: bool) -> None:
        """While the edge can't be reached, nothing is given up at its deadline (W26b)."""
        if is_away:
            self._is_away.set()
        else:
            self._is_away.clear()

    async def fetch(self, attempt: Attempt) -> None:
        """Fetches the files of an attempt into a folder of its own. Raises `TransferFailed`."""
        attempt.folder = tempfile.mkdtemp(prefix="dialout-in-")
        for index, file in enumerate(attempt.frame["files"]):
            path = Path(attempt.folder) / f"{index}-{_safe_name(str(file.get('name', '')))}"
            download = Download(
                file,
                path,
                edge_url=self._edge_url,
                url=_address_of(attempt, index),
                deadline_at=lambda: self._deadline_of(attempt),
                stopped=attempt.stopped,
                opener=self._opener,
                log=self._log,
            )
            await self._on_thread(download.run)
            file["path"] = str(path)

    async def send(
        self, attempt: Attempt, path: str, name: str, content_type: str
    ) -> dict[str, Any]:
        """Sends a file and returns what the edge says of it. Raises `TransferFailed`."""
        upload = Upload(
            path,
            name,
            content_type,
            edge_url=self._edge_url,
            url=lambda: attempt.output_url or "",
            deadline_at=lambda: self._deadline_of(attempt),
            stopped=attempt.stopped,
            opener=self._opener,
            log=self._log,
        )
        answer: dict[str, Any] = await self._on_thread(upload.run)
        return answer

    def _deadline_of(self, attempt: Attempt) -> Optional[float]:
        return None if self._is_away.is_set() else attempt.deadline_at

    async def _on_thread(self, run: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except (OSError, ValueError) as error:
            # Of this machine, such as a full disk: its text is not for submitters.
            self._log.error(f"a file could not be stored or read: {error}")
            raise TransferFailed("A file could not be stored on the worker.") from error

    def close(self) -> None:
        self._pool.shutdown(wait=False)


def _address_of(attempt: Attempt, index: int) -> Callable[[], str]:
    """The address of a file as it is now: a worker that is resumed gets another one (W26c)."""
    return lambda: attempt.file_urls[index]


def _safe_name(name: str) -> str:
    """The end of a name, with its ending, as a name of a file here: what a stranger sends is no path (W13)."""
    base = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.basename(name.replace("\\", "/")))[-80:]
    return base.lstrip(".-") or "file"
