"""Models that the tests serve."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any, AsyncIterator, Iterator, Optional

import dialout
from dialout import Input, Job, JobError


def predict(
    text: str = "cat",
    times: int = Input(default=1, ge=1, le=5),
    scale: float = 1.0,
    day: Optional[str] = None,
) -> str:
    return text * times


def anything(job: Job) -> Any:
    model = job.input.get("model")
    if model == "echo":
        return job.input.get("value")
    if model == "count":
        for number in range(job.input["to"]):
            job.output(number)
            job.sleep(job.input.get("pause", 0))
        return job.input["to"]
    if model == "progress":
        for percent in (-5, 50, 1e9):
            job.progress(percent, "half way" * 1000, remaining=3)
        job.metrics(seconds=1.5)
        return None
    if model == "wrong progress":
        job.progress(float("nan"))
    if model == "text":
        job.output("one ")
        job.output("two")
        return None
    if model == "large text":
        job.output("é" * 1_200_000)
        return "done"
    if model == "wait":
        print("waiting", file=sys.stderr, flush=True)
        job.sleep(60)
        return "too late"
    if model == "ignore":
        print("ignoring", file=sys.stderr, flush=True)
        time.sleep(job.input.get("seconds", 1))
        if "then" in job.input:
            job.output(job.input["then"])
        return "too late"
    if model == "fail":
        raise JobError("The GPU is busy.", code="busy", retry=True)
    if model == "raise":
        raise ValueError("/home/me/keys/secret.bin")
    if model == "exit":
        sys.exit(3)
    if model == "die":
        os._exit(9)
    if model == "lock":
        # One call into C that never gives up Python's lock.
        job.output("before")
        started = time.monotonic()
        while time.monotonic() - started < job.input["seconds"]:
            sum(range(job.input.get("size", 30_000_000)))
        job.output("after")
        return round(time.monotonic() - started)
    if model == "files":
        return [[file.field, file.filename, file.read_bytes().decode()] for file in job.files]
    if model == "send":
        job.preview(b"\x89PNG\r\n\x1a\n", "small.png")
        sent = job.file(b"hello", "hello.txt")
        return {"sent": [sent.name, sent.size], "also": dialout.NamedBytes("hello.txt", b"again")}
    if model == "current":
        return dialout.current_job().id == job.id
    raise JobError(f"There is no model {model!r}.")


def words(prompt: str) -> Iterator[str]:
    for word in prompt.split():
        yield word.upper() + " "


def slow_words(count: int) -> Iterator[str]:
    try:
        for number in range(count):
            yield f"{number} "
            time.sleep(0.02)
    except dialout.Cancelled:
        print("cleaned up", file=sys.stderr, flush=True)
        raise


async def twice(text: str, job: Job) -> str:
    try:
        await asyncio.sleep(float(text) if text.isdigit() else 0)
    except dialout.Cancelled as error:
        print(f"cancelled: {error.why}", file=sys.stderr, flush=True)
        raise
    return text * 2


async def async_words(prompt: str) -> AsyncIterator[str]:
    for word in prompt.split():
        await asyncio.sleep(0)
        yield word


class Predictor:
    def setup(self) -> None:
        time.sleep(float(os.environ.get("LOAD_S", "0.3")))
        self.model = "loaded"
        print("model is loaded", file=sys.stderr, flush=True)

    def predict(self, n: int) -> dict[str, Any]:
        return {"n": n * 2, "model": self.model}


class Broken:
    def setup(self) -> None:
        raise RuntimeError("no such weights")

    def predict(self) -> None: ...


def picture(path: dialout.Image) -> dialout.Image:
    target = Path(os.environ["TARGET"])
    target.write_bytes(path.read_bytes()[::-1])
    return dialout.Image(target)


def unusable(thing: complex) -> str:
    return str(thing)
