"""The worker of worker-program.ts in Python: it writes the begin and the end of every run to a file."""

from __future__ import annotations

import sys
from typing import Any

import dialout

url, space, token, worker_id, notes = sys.argv[1:6]


def note(words: str) -> None:
    with open(notes, "a") as file:
        file.write(f"{words}\n")


def run(job: dialout.Job) -> Any:
    note(f"begin {job.id}")
    try:
        n, ms, pieces = job.input["n"], job.input["ms"], job.input["pieces"]
        for index in range(pieces):
            job.sleep(ms / pieces / 1_000)
            job.output(f"{n}.{index};")
            job.progress(index / pieces * 100)
        return {"n": n, "square": n * n}
    finally:
        note(f"leave {job.id}")


print("dialing", flush=True)
dialout.serve(
    run,
    url=url,
    space=space,
    token=token,
    worker_id=worker_id,
    concurrency=4,
    backoff_s=(0.02, 0.2),
)
