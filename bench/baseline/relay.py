"""The design of the system that Dialout replaces: Flask-SocketIO relays jobs, all in memory.

Usage: relay.py <port>
"""

from gevent import monkey

monkey.patch_all()

import sys
import uuid

from flask import Flask, request
from flask_socketio import SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent")
workers = []
submitters = {}


@socketio.on("serve")
def serve(_):
    workers.append(request.sid)


@socketio.on("submit")
def submit(frame):
    job_id = str(uuid.uuid4())
    submitters[job_id] = (request.sid, frame["ref"])
    emit("job", {"job_id": job_id, "input": frame["input"]}, to=workers[0])


@socketio.on("result")
def result(frame):
    sid, ref = submitters.pop(frame["job_id"])
    emit("end", {"ref": ref, "job_id": frame["job_id"], "result": frame["output"]}, to=sid)


socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]))
