from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import pytest
from fake_edge import PATIENCE_S, SPACE, TOKEN, FakeEdge
from hypothesis import settings

# The machine may be busy: an example of a property may take long.
settings.register_profile("patient", deadline=None, max_examples=50)
settings.load_profile("patient")

MODELS = Path(__file__).parent / "models.py"


@pytest.fixture
def edge() -> Iterator[FakeEdge]:
    fake = FakeEdge()
    yield fake
    fake.close()


class WorkerProgram:
    """`dialout serve` as a process; what it prints is kept."""

    def __init__(
        self, url: str, target: str, *args: str, env: Optional[dict[str, str]] = None
    ) -> None:
        command = [sys.executable, "-m", "dialout", "serve", target, "--url", url, "--space", SPACE]
        variables = {**os.environ, "DIALOUT_TOKEN": TOKEN, "NO_COLOR": "1", **(env or {})}
        self.process = subprocess.Popen(
            [*command, *args],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed = ""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.printed += line
                self._news.notify_all()

    def prints(self, wanted: str) -> None:
        until = time.monotonic() + PATIENCE_S
        with self._news:
            while wanted not in self.printed:
                left = until - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    raise AssertionError(f"not printed: {wanted}\n{self.printed}")

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join(2)
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(edge: FakeEdge) -> Iterator[Callable[..., WorkerProgram]]:
    programs: list[WorkerProgram] = []

    def launch(target: str = "predict", *args: str, **options: Any) -> WorkerProgram:
        program = WorkerProgram(edge.url, f"{MODELS}:{target}", *args, **options)
        programs.append(program)
        return program

    yield launch
    for program in programs:
        program.kill()
