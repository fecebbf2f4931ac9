"""The submitter's client: submit jobs to a space, follow them, fetch what comes of them."""

from __future__ import annotations

from .asynchronous import AsyncClient, AsyncJob, AsyncRemoteFile, AsyncSpace
from .events import End, Event, Output, Progress, Restart
from .sync import Client, ClientJob, RemoteFile, Space

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncRemoteFile",
    "AsyncSpace",
    "Client",
    "ClientJob",
    "End",
    "Event",
    "Output",
    "Progress",
    "RemoteFile",
    "Restart",
    "Space",
]
