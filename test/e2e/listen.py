"""Listens to a job with Python's `websockets`, having sent one text so that the end comes at once."""

import asyncio
import sys

import websockets


async def main():
    async with websockets.connect(sys.argv[1]) as socket:
        await socket.send("ping")
        async for text in socket:
            print(text, flush=True)
        print("closed with", socket.close_code, flush=True)


asyncio.run(main())
