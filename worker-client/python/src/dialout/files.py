"""The types of files: as annotations of a model's parameters and results, and as values."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any, ClassVar, Optional

if TYPE_CHECKING:
    _Path = pathlib.Path
else:
    # Before Python 3.12 only the class of the platform can be a base.
    _Path = type(pathlib.Path())


class File(_Path):
    """A path to a file. As a parameter's type it makes a field for files; as a result it is sent to the submitter.

    A file that was submitted is a temporary copy, erased when the job ends. `filename` and `content_type` are what
    the submitter says: never use `filename` as a path.
    """

    format: ClassVar[str] = "file"

    filename: Optional[str] = None
    content_type: Optional[str] = None
    field: Optional[str] = None


class Image(File):
    """A picture."""

    format: ClassVar[str] = "image"


class Audio(File):
    """Sound."""

    format: ClassVar[str] = "audio"


class Video(File):
    """A film."""

    format: ClassVar[str] = "video"


def received_file(kind: type[File], path: str, info: dict[str, Any]) -> File:
    """Makes the value of a file that came with a job."""
    file = kind(path)
    file.filename = info.get("name")
    file.content_type = info.get("content_type")
    file.field = info.get("field")
    return file


class NamedBytes:
    """A file that is to be sent, from memory: `return NamedBytes("speech.wav", data)`."""

    def __init__(self, name: str, data: bytes, content_type: Optional[str] = None) -> None:
        self.name = name
        self.data = data
        self.content_type = content_type


class Markdown(str):
    """Text in Markdown: as a result's type, the page shows it formatted."""
