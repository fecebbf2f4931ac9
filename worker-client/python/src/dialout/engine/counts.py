"""What a worker has done so far."""

from __future__ import annotations

import time
from typing import Any

from .link import Traffic


class BusyClock:
    """The time during which at least one job runs."""

    def __init__(self) -> None:
        self._active = 0
        self._since = 0.0
        self._total = 0.0

    def enter(self) -> None:
        if self._active == 0:
            self._since = time.monotonic()
        self._active += 1

    def leave(self) -> None:
        self._active -= 1
        if self._active == 0:
            self._total += time.monotonic() - self._since

    @property
    def seconds(self) -> float:
        running = time.monotonic() - self._since if self._active > 0 else 0.0
        return self._total + running


class Counts:
    """Jobs by how they ended. A job has ended once the edge has acknowledged it."""

    def __init__(self) -> None:
        self.received = 0
        self.completed = 0
        self.failed = 0
        self.canceled = 0
        self.rejected = 0
        self.stale = 0

    def on_ack(self, of: str, is_canceled: bool) -> None:
        if of == "result":
            self.completed += 1
        elif of == "reject":
            self.rejected += 1
        elif is_canceled:
            self.canceled += 1
        else:
            self.failed += 1


def statistics_of(
    counts: Counts, held: int, reconnects: int, traffic: Traffic, started: float, busy: BusyClock
) -> dict[str, Any]:
    return {
        "jobs": {**vars(counts), "held": held},
        "reconnects": reconnects,
        "bytes_in": traffic.bytes_in,
        "bytes_out": traffic.bytes_out,
        "uptime_s": time.monotonic() - started,
        "busy_s": busy.seconds,
    }


def describe_statistics(statistics: dict[str, Any]) -> list[str]:
    """Two lines to read."""
    jobs = statistics["jobs"]
    names = ("received", "completed", "failed", "canceled", "rejected", "stale")
    counts = [f"{jobs[name]} {name}" for name in names]
    if jobs["held"]:
        counts.append(f"{jobs['held']} not acknowledged")
    return [
        f"jobs: {', '.join(counts)}",
        f"up {statistics['uptime_s']:.1f} s, busy {statistics['busy_s']:.1f} s, "
        f"reconnects {statistics['reconnects']}, {statistics['bytes_in']:,} bytes in, "
        f"{statistics['bytes_out']:,} bytes out",
    ]
