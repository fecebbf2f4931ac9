"""The jobs of the conformance suite (docs/conformance.md), done with the Python package:

    npm run conformance -- -- dialout serve worker-client/conformance/sample_worker.py:perform
"""

import hashlib
import time
from typing import Any

import dialout


def perform(job: dialout.Job) -> Any:
    task = job.input
    if "echo" in task:
        return task["echo"]
    if "sleep_s" in task:
        job.sleep(task["sleep_s"])
        return "slept"
    if "block_s" in task:
        time.sleep(task["block_s"])
        return "done"
    if "pieces" in task:
        for number in range(task["pieces"]):
            job.output("x" * task["size"] if "size" in task else number)
            job.progress(100 * (number + 1) / task["pieces"], f"piece {number + 1}")
            job.sleep(task.get("pause_s", 0))
        return task["pieces"]
    if "hash" in task:
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in job.files]
    if "write" in task:
        for file in task["write"]:
            job.file(file["text"].encode(), file["name"])
        return len(task["write"])
    raise dialout.JobError(
        task.get("fail", "This worker doesn't know the test job."),
        retry=task.get("retryable", False),
    )
