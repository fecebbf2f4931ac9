"""Follows a job of Dialout to its end, through breaks of the connection:

    DIALOUT_URL=https://dialout.example python3 follow.py my-space.01JD…

It prints one frame a line. The comments name the rules of protocol.md that the code beside them follows.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
import urllib.parse
from typing import Any

from websockets.exceptions import ConnectionClosed, WebSocketException

try:
    from websockets.asyncio.client import connect
except ImportError:  # websockets 10 to 12
    from websockets import connect

SILENCE_S = 20.0  # after so long a ping is sent, and after as long again the connection is dead
SLOWEST = 4_096  # C17a: bytes a second of the slowest connection on which large messages arrive
FINAL_CODES = {1000, 1008, 1009, 4400, 4401, 4403, 4404, 4409}  # S13a, S14
FINAL_STATUSES = {401, 403, 404}  # W4


def show(frame: dict[str, Any]) -> None:
    """Put your own code here. `recovered: false` means that everything is sent again (C10)."""
    print(json.dumps(frame), flush=True)


class Follower:
    def __init__(self, base: str, job: str) -> None:
        path = f"/ws/{urllib.parse.quote(job, safe='')}"
        self.url = re.sub("^http", "ws", base.rstrip("/")) + path
        self.epoch = ""
        self.position = ""  # where to go on after a break (C8)
        self.has_state = False

    async def run(self) -> int:
        failures = 0
        while True:
            try:
                options: dict[str, Any] = {"open_timeout": 10, "close_timeout": 1}
                options |= {"ping_interval": None, "max_size": 8 << 20}  # C4
                async with connect(f"{self.url}?since={self.position}", **options) as socket:
                    failures = 0
                    try:
                        await self.read(socket)
                    finally:
                        socket.transport.abort()  # a closing handshake could wait for minutes
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if code in FINAL_CODES:
                    return 0 if code == 1000 else 1
                say(f"disconnected ({code})")
            except (OSError, EOFError, WebSocketException, ValueError, NotImplementedError) as error:
                say(f"no connection: {error or type(error).__name__}")
                if is_refusal(error):
                    return 1
            failures = min(failures + 1, 4)
            await asyncio.sleep(random.random() * min(10, 2**failures))  # W31

    async def read(self, socket: Any) -> None:
        patience, is_pinged = SILENCE_S, True
        await socket.send("ping")  # C16a
        while True:
            try:
                text = await asyncio.wait_for(socket.recv(), patience)
            except TimeoutError:
                if is_pinged:
                    raise TimeoutError("the edge fell silent") from None
                is_pinged = True
                await socket.send("ping")
                continue
            patience, is_pinged = SILENCE_S, False
            if text == "pong":
                continue
            frame: dict[str, Any] = json.loads(text)
            if frame["type"] == "sending":
                patience += frame["bytes"] / SLOWEST
                continue
            self.note(frame)
            show(frame)

    def note(self, frame: dict[str, Any]) -> None:
        """Remembers the position, but none within a snapshot: half of one would be taken for all (C10b)."""
        if frame["type"] == "connection":
            self.epoch, self.has_state = frame["epoch"], frame["recovered"]
        elif frame["type"] == "progress":
            self.has_state = True
        if self.has_state and "offset" in frame:
            self.position = f"{self.epoch}:{frame['offset']}"


def is_refusal(error: Exception) -> bool:
    """Whether the edge itself refuses for good: only it sends a problem (W4a, H2)."""
    answer: Any = getattr(error, "response", error)  # before websockets 13 the error is the answer
    if getattr(answer, "status_code", None) not in FINAL_STATUSES:
        return False
    return "problem+json" in (answer.headers.get("Content-Type") or "")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or "DIALOUT_URL" not in os.environ:
        sys.exit("Set DIALOUT_URL, and name the job: python3 follow.py <job id>")
    sys.exit(asyncio.run(Follower(os.environ["DIALOUT_URL"], sys.argv[1]).run()))
