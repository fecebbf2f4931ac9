"""Runs docs/examples/worker.py with another model: the job's `model` names one of the functions below."""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/examples"))
import worker  # noqa: E402


def nested(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no text")


RESULTS = {
    "nan": float("nan"),
    "infinity": [float("inf")],
    "bytes": {"audio": b"RIFF"},
    "set": {1, 2},
    "object": object(),
    "keys": {(1, 2): 3},
    "deep": nested(64),
    "very deep": nested(5000),
    "large": "é" * 600_000,
    "circular": {},
    "half a pair": "\ud800",
    "digits": 10**3000,
    "more digits": 10**5000,
    "tuple": (1, 2.5, None, "ä", nested(60)),
}
RESULTS["circular"]["itself"] = RESULTS["circular"]


def perform(job):
    model = job.input["model"]
    if model in RESULTS:
        return RESULTS[model]
    if model == "echo":
        return job.input
    if model == "slow echo":
        time.sleep(1)
        return job.input
    if model == "piece":
        job.output(float("nan"))
    if model == "progress":
        job.progress(float("nan"), "😀" * 3000)
        job.progress(1000)
        return None
    if model == "raise":
        raise RuntimeError("x" * 10_000 + "😀" * 10_000)
    if model == "open":
        open("/home/me/keys/model.bin")
    if model == "raise silently":
        raise Unspeakable
    if model == "exit":
        sys.exit("the model gave up")
    if model == "busy":
        raise worker.Failure("The GPU is busy.", retry=True)
    if model == "block":
        print("blocking", file=sys.stderr, flush=True)
        time.sleep(3600)
    if model in ("stop", "progress then stop"):
        if model == "stop":
            job.output("first")
        else:
            job.progress(40)
        job.canceled.wait()
        job.output("never sent")
    if model == "ignore":
        job.canceled.wait()
        return "too late"
    if model == "count":
        for number in range(job.input["to"]):
            job.output(number)
            time.sleep(job.input["pause"])
        return job.input["to"]
    if model == "fetch":
        return [job.fetch(file).decode() for file in job.files]
    raise KeyError(model)


worker.perform = perform
sys.exit(asyncio.run(worker.main()))
