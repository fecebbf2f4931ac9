"""Dialout for Python: serve a model from behind NAT, and submit jobs to one.

import dialout

def predict(text: str, times: int = dialout.Input(default=2, ge=1, le=10)) -> str:
    return text * times

dialout.serve(predict, space="my-space")   # DIALOUT_URL and DIALOUT_TOKEN say where
"""

from __future__ import annotations

from ._version import __version__
from .client import (
    AsyncClient,
    AsyncJob,
    AsyncSpace,
    Client,
    ClientJob,
    End,
    Event,
    Output,
    Progress,
    RemoteFile,
    Restart,
    Space,
)
from .errors import (
    Cancelled,
    ClientError,
    DialoutError,
    InvalidInput,
    InvalidModel,
    InvalidOptions,
    JobError,
    JobFailed,
    WorkerRefused,
)
from .files import Audio, File, Image, Markdown, NamedBytes, Video
from .job import Job, OutputFile, current_job
from .model.input import Input
from .serve import Statistics, serve

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncSpace",
    "Audio",
    "Cancelled",
    "Client",
    "ClientError",
    "ClientJob",
    "DialoutError",
    "End",
    "Event",
    "File",
    "Image",
    "Input",
    "InvalidInput",
    "InvalidModel",
    "InvalidOptions",
    "Job",
    "JobError",
    "JobFailed",
    "Markdown",
    "NamedBytes",
    "Output",
    "OutputFile",
    "Progress",
    "RemoteFile",
    "Restart",
    "Space",
    "Statistics",
    "Video",
    "WorkerRefused",
    "__version__",
    "current_job",
    "serve",
]
