"""Follows a job and a room with Python's `websockets`, without any code of Dialout."""

import asyncio
import json
import sys

try:
    from websockets.asyncio.client import connect

    HEADERS = "additional_headers"
except ImportError:  # websockets 10 to 12
    from websockets import connect

    HEADERS = "extra_headers"

EDGE, TOKEN, ROOM, JOB = sys.argv[1:]


def report(channel, frame):
    print(channel, json.dumps(frame), flush=True)


async def follow_job():
    async with connect(f"{EDGE}/ws/{JOB}", subprotocols=["dialout.v1"]) as socket:
        # One text, so that the connection ends as soon as the edge has closed the socket.
        await socket.send("ping")
        async for text in socket:
            if text != "pong":
                report("job", json.loads(text))
        report("job", {"type": "closed", "code": socket.close_code})


async def follow_room():
    headers = {HEADERS: {"Authorization": f"Bearer {TOKEN}"}}
    async with connect(f"{EDGE}/ws", **headers) as socket:
        async for text in socket:
            frame = json.loads(text)
            report("room", frame)
            if frame["type"] == "connection.established":
                await socket.send(json.dumps({"type": "subscribe", "room": ROOM}))
            if frame.get("data", {}).get("last"):
                return


async def main():
    await asyncio.gather(follow_job(), follow_room())


asyncio.run(main())
