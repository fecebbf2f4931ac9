"""How an attempt ends, as a frame that the edge takes, with words for the log."""

from __future__ import annotations

from typing import Any, Optional

from ..json_text import cut
from .attempt import Attempt, End
from .link import compact

MOST_MESSAGE = 8_000
MOST_REASON = 2_000


def result_end(
    attempt: Attempt, output: Optional[str], metrics: Optional[str], files: list[str], limit: int
) -> tuple[End, str]:
    """`output` is JSON; without it what was streamed is the result, or null if that is too large for a frame.

    A result that is larger than `limit`, bytes, becomes a failure that says so.
    """
    text = attempt.result_text(output or attempt.outputs.joined() or "null", metrics, files)
    if output is None and len(text.encode()) > limit:
        text = attempt.result_text("null", metrics, files)
    size = len(text.encode())
    if size > limit:
        words = f"The result makes a frame of {size:,} bytes; the edge accepts {limit:,}."
        return failure_end(attempt, "worker_error", words, False, limit)
    return End("result", text, False), "completed"


def failure_end(
    attempt: Attempt, code: str, message: str, retryable: bool, limit: int
) -> tuple[End, str]:
    """`limit` is the largest frame, bytes."""
    # JSON needs up to 12 bytes for a character outside the basic plane.
    text = attempt.fail_text(code, cut(message, min(MOST_MESSAGE, limit // 12)), retryable)
    first = message.splitlines()[0] if message else ""
    words = "canceled" if code == "canceled" else f"failed ({code}): {first}"
    return End("fail", text, code == "canceled"), words


def rejection_end(attempt: Attempt, reason: str) -> tuple[End, str]:
    frame: dict[str, Any] = {"type": "reject", **attempt.ref, "reason": cut(reason, MOST_REASON)}
    return End("reject", compact(frame), False), f"sent back ({reason})"
