"""How much may be under way."""

from __future__ import annotations

from collections import deque

# Least and most bytes that may be sent without the edge having answered a ping behind them.
LEAST_WINDOW = 65_536
MOST_WINDOW = 4_194_304
# The slowest connection on which large messages arrive, bytes a second; n in W34a counts up to the other.
SLOWEST = 4_096
LARGEST_COUNTED = 1_048_576
QUICK_S = 1.0
SLOW_S = 5.0


def transfer_s(size: int) -> float:
    """How long so many bytes may be under way, seconds (C17a)."""
    return min(size, LARGEST_COUNTED) / SLOWEST


class Pacer:
    """Counts what was sent and what is known to have arrived.

    What is sent stands in a queue of the network, and a ping behind it is answered only when all of it has arrived.
    Without a bound that takes minutes on a slow link, which then looks dead. So pings are sent along, and while too
    much is unanswered nothing more is sent (decision 0046). Pongs that come soon make the bound larger.
    """

    def __init__(self) -> None:
        self.window = LEAST_WINDOW
        # Until when a large message may keep the edge from being heard, on the clock that is passed in.
        self.busy_until = 0.0
        self._sent = 0
        self._pinged = 0
        self._confirmed = 0
        self._pings: deque[tuple[int, float]] = deque()

    @property
    def is_full(self) -> bool:
        return self._sent - self._confirmed >= self.window

    @property
    def wants_ping(self) -> bool:
        return self._sent - self._pinged >= self.window / 2

    def on_sending(self, size: int, now: float) -> None:
        if size > LEAST_WINDOW:
            self.busy_until = max(now, self.busy_until) + transfer_s(size)
        self._sent += size

    def on_ping(self, now: float) -> None:
        self._pings.append((self._sent, now))
        self._pinged = self._sent

    def on_pong(self, now: float) -> None:
        """Pings are answered in their order, so this answers the oldest."""
        if not self._pings:
            return
        behind, at = self._pings.popleft()
        took = now - at
        # A ping behind a few bytes shows nothing about the link.
        is_telling = behind - self._confirmed >= self.window / 2
        self._confirmed = behind
        if is_telling and took < QUICK_S:
            self.window = min(self.window * 2, MOST_WINDOW)
        elif took > SLOW_S:
            self.window = max(self.window // 2, LEAST_WINDOW)
        if self._confirmed == self._sent:
            self.busy_until = 0.0
