"""The jobs of the conformance suite (docs/conformance.md), done by worker.py:

    npm run conformance -- -- python3 docs/examples/conformance.py
"""

import asyncio
import hashlib
import sys
import time
from typing import Any

import worker


def perform(job: worker.Job) -> Any:
    task = job.input
    if "echo" in task:
        return task["echo"]
    if "sleep_s" in task:
        job.canceled.wait(task["sleep_s"])
        return "slept"
    if "block_s" in task:
        time.sleep(task["block_s"])
        return "done"
    if "pieces" in task:
        for number in range(task["pieces"]):
            job.output("x" * task["size"] if "size" in task else number)
            job.progress(100 * (number + 1) / task["pieces"], f"piece {number + 1}")
            job.canceled.wait(task.get("pause_s", 0))
        return task["pieces"]
    if "hash" in task:
        return [hashlib.sha256(job.fetch(file)).hexdigest() for file in job.files]
    if "fail" in task:
        raise worker.Failure(task["fail"], retry=task.get("retryable", False))
    raise worker.Failure("This worker doesn't know the test job.")


worker.perform = perform

if __name__ == "__main__":
    sys.exit(asyncio.run(worker.main()))
