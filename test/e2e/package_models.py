"""Models that the Python package serves in tests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import dialout


def slow_echo(job: dialout.Job) -> Any:
    time.sleep(1)
    return job.input


def echo(job: dialout.Job) -> Any:
    return job.input


def count(to: int, pause: float) -> Iterator[int]:
    for number in range(to):
        yield number
        time.sleep(pause)


def repeat(
    text: str, times: int = dialout.Input(default=2, ge=1, le=10, description="How often")
) -> str:
    return text * times


def reverse(file: dialout.File, copies: int = 1) -> list[dialout.NamedBytes]:
    """Sends the file's bytes, in reverse, as so many files."""
    data = file.read_bytes()[::-1]
    return [dialout.NamedBytes("reversed.bin", data) for _ in range(copies)]


class Loaded:
    def setup(self) -> None:
        time.sleep(3)

    def predict(self, n: int) -> int:
        return n * 2
