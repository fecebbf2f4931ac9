"""How long to wait before something is tried again."""

from __future__ import annotations

import random
from typing import Callable


def backoff(
    failures: int,
    first_s: float = 1.0,
    cap_s: float = 10.0,
    rand: Callable[[], float] = random.random,
) -> float:
    """Exponential with full jitter: workers that lost the same edge must not all dial again at once (W31).

    `failures` counts those in a row, 0 for the first. The longest wait is shorter than the 15 s for which an edge
    waits for a dropped worker.
    """
    return float(rand() * min(cap_s, first_s * 2 ** min(failures, 30)))
