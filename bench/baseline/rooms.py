"""The former system's design: python-socketio passes events to a room through Redis.

Usage: rooms.py <port> <redis port>
"""

import sys

import socketio
import uvicorn

port, redis_port = sys.argv[1:]
# One publisher's events stay in their order.
sio = socketio.AsyncServer(
    async_mode="asgi",
    async_handlers=False,
    client_manager=socketio.AsyncRedisManager(f"redis://127.0.0.1:{redis_port}"),
)


@sio.event
async def join(sid, _):
    sio.enter_room(sid, "room")


@sio.event
async def publish(_, event):
    await sio.emit("event", event, room="room")


uvicorn.run(
    socketio.ASGIApp(sio),
    host="127.0.0.1",
    port=int(port),
    log_level="warning",
)
