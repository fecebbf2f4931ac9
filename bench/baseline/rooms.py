"""The design of the system that Dialout replaces: python-socketio passes events through Redis.

Usage: rooms.py <port> <redis port>
"""

import sys

import socketio
import uvicorn

port, redis_port = sys.argv[1:]
# Without handlers in tasks of their own, the events of one publisher stay in order.
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
