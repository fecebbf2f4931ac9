"""When attempts are taken back, on this machine's clock."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any, Callable, Optional

from .attempt import Attempt

# The edge normally enforces the deadline first; this is in case its `cancel` doesn't arrive, seconds.
SLACK_S = 1.0
# The `date` of an answer has a resolution of one second, so smaller differences mean nothing.
CLOCK_TOLERANCE_S = 2.0


class Deadlines:
    """Calls `on_due` for an attempt that has run past its deadline (W15), unless the edge can't be reached."""

    def __init__(self, on_due: Callable[[Attempt], None]) -> None:
        self._on_due = on_due
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._clock_ahead_s = 0.0
        self._is_away = False

    def set_edge_time(self, edge_time: Optional[float]) -> None:
        """Corrects deadlines for this machine's clock, which may be hours off the edge's."""
        ahead = 0.0 if edge_time is None else time.time() - edge_time
        self._clock_ahead_s = ahead if abs(ahead) > CLOCK_TOLERANCE_S else 0.0

    def pause(self) -> None:
        """While the edge can't be reached nothing is stopped at its deadline: only the edge knows it (W26b)."""
        self._is_away = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def go_on(self) -> None:
        self._is_away = False

    def set(self, attempt: Attempt, edge_time: Any) -> None:
        """`edge_time` is ISO 8601; with `None` the deadline stays as it was."""
        if edge_time is not None:
            attempt.deadline_at = self._local_time(edge_time)
        if attempt.deadline_at is None or attempt.phase == "ended":
            return
        self.forget(attempt)
        loop = asyncio.get_running_loop()
        wait = max(0.0, attempt.deadline_at - time.time())
        self._timers[attempt.run] = loop.call_later(wait, self._check, attempt)

    def forget(self, attempt: Attempt) -> None:
        timer = self._timers.pop(attempt.run, None)
        if timer is not None:
            timer.cancel()

    def _check(self, attempt: Attempt) -> None:
        if not self._is_away and attempt.phase != "ended":
            self._on_due(attempt)

    def _local_time(self, edge_time: Any) -> Optional[float]:
        try:
            at = datetime.fromisoformat(str(edge_time).replace("Z", "+00:00")).timestamp()
        except ValueError:
            return None
        return at + self._clock_ahead_s + SLACK_S
