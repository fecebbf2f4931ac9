"""Reports that the edge can't be reached without filling the log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Optional

from ..log import Log

# How long an outage has lasted when it is reported again, seconds; after the last one, every hour.
_REPORTED_AFTER_S = (60.0, 300.0, 1_800.0, 3_600.0)
# A connection that broke sooner than this belongs to the same outage, seconds.
STEADY_S = 60.0
# How many different problems, and how many connections, are reported in one outage.
MOST_LINES = 5
# How often a worker that waits for a place says so, seconds.
WAITING_S = 60.0


@dataclass
class _Outage:
    since: float
    report_at_s: float
    reasons: set[str] = field(default_factory=set)
    connections: int = 0


class OutageLog:
    """A problem is reported when it is new, then after 1, 5, 30 and 60 minutes and every hour."""

    def __init__(self, log: Log, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._now = now
        self._outage: Optional[_Outage] = None
        self._connected_at: Optional[float] = None

    def on_problem(self, why: str, then: str = "") -> None:
        """A connection or a dial has failed."""
        now = self._now()
        outage = self._continued(now)
        line = why + then
        is_new = _is_new(outage, why)
        lasted = now - outage.since
        if lasted >= outage.report_at_s:
            outage.report_at_s = _next_report(lasted)
            self._log.warn(f"no steady connection for {_words(lasted)}: {line}")
        elif is_new:
            self._log.warn(line)
        else:
            self._log.debug(line)

    def on_complaint(self, line: str) -> None:
        """The edge complained in words over the connection."""
        steady = self._connected_at is not None and self._now() >= self._connected_at + STEADY_S
        outage = None if steady else self._outage
        if outage is None or _is_new(outage, line):
            self._log.warn(line)
        else:
            self._log.debug(line)

    def on_connected(self, line: str) -> None:
        now = self._now()
        self._connected_at = now
        outage = self._outage
        if outage is None:
            self._log.info(line)
            return
        outage.connections += 1
        lasted = now - outage.since
        after = "" if lasted < 60 else f", after {_words(lasted)} without a steady connection"
        if outage.connections <= MOST_LINES:
            self._log.info(line + after)
        else:
            self._log.debug(line + after)

    def _continued(self, now: float) -> _Outage:
        """The outage that a problem belongs to. A connection that lasted has ended the one before."""
        connected_at, self._connected_at = self._connected_at, None
        is_over = connected_at is not None and now - connected_at >= STEADY_S
        if self._outage is None or is_over:
            self._outage = _Outage(now, _next_report(0.0))
        return self._outage


class PlaceWait:
    """Says that the worker waits because others have every place: at first why, then how long."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._started: Optional[float] = None
        self._reported = 0.0

    def report(self, why: str, delay_s: float, now: float) -> None:
        dials = f"dialing again in {delay_s:.1f} s"
        reason = why.rstrip(".")
        if self._started is None:
            self._started = self._reported = now
            self._log.warn(f"{reason}. Waiting until there is a place for this one; {dials}")
            return
        line = f"{reason}. Waiting for a place, for {now - self._started:.0f} s so far; {dials}"
        if now - self._reported < WAITING_S:
            self._log.debug(line)
            return
        self._reported = now
        self._log.warn(line)

    def end(self) -> None:
        self._started = None


def _is_new(outage: _Outage, reason: str) -> bool:
    if reason in outage.reasons or len(outage.reasons) >= MOST_LINES:
        return False
    outage.reasons.add(reason)
    return True


def _next_report(lasted: float) -> float:
    for limit in _REPORTED_AFTER_S:
        if limit > lasted:
            return limit
    return (lasted // 3_600 + 1) * 3_600


def _words(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 120:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    hours = minutes // 60
    return f"{hours} hours" if hours < 48 else f"{hours // 24} days"
