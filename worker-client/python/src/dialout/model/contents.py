"""What a model sends as a file: found, named and put on disk."""

from __future__ import annotations

import io
import mimetypes
import os
import re
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..errors import JobError
from ..files import File, NamedBytes
from .annotations import is_array, is_picture

LONGEST_NAME = 200
# The first bytes of common files, and the endings of their names.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"%PDF-", ".pdf"),
    (b"ID3", ".mp3"),
    (b"OggS", ".ogg"),
    (b"fLaC", ".flac"),
    (b"PK\x03\x04", ".zip"),
    (b"\x1aE\xdf\xa3", ".webm"),
)
_ENDINGS = {"image": ".png", "audio": ".wav", "video": ".mp4", "file": ".bin"}


@dataclass(frozen=True)
class Content:
    """A file to send: on disk already, or as bytes."""

    name: str
    content_type: str
    path: Optional[Path] = None
    data: Optional[bytes] = None


def is_file_value(value: Any) -> bool:
    """Whether a value is sent as a file whatever the annotation says."""
    return isinstance(value, (os.PathLike, NamedBytes)) or is_picture_value(value)


def is_picture_value(value: Any) -> bool:
    return any(is_picture(kind) for kind in type(value).__mro__)


def is_array_value(value: Any) -> bool:
    return any(is_array(kind) for kind in type(value).__mro__)


def content_of(
    value: Any,
    *,
    what: str,
    file_format: Optional[str] = None,
    name: Optional[str] = None,
    content_type: Optional[str] = None,
) -> Content:
    """Makes a file of a value. `what` names it in messages, and is its name if nothing else says one.

    Raises `JobError` if the value is no file.
    """
    if isinstance(value, NamedBytes):
        return _named(name or value.name, content_type or value.content_type, data=value.data)
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        return _named(name or what + _ending_of(data, file_format), content_type, data=data)
    if is_picture_value(value):
        return _named(name or f"{what}.png", content_type or "image/png", data=_png(value))
    if isinstance(value, tuple) and len(value) == 2 and is_array_value(value[1]):
        data = wave_of(value[0], value[1])
        return _named(name or f"{what}.wav", content_type or "audio/wav", data=data)
    if is_array_value(value):
        data = _png(_picture_of(value))
        return _named(name or f"{what}.png", content_type or "image/png", data=data)
    if isinstance(value, (str, os.PathLike)):
        path = Path(value)
        if not path.is_file():
            # Only the log may name the path.
            raise JobError(f"The file for {what} isn't there.") from FileNotFoundError(str(path))
        known = value.content_type if isinstance(value, File) else None
        return _named(name or path.name, content_type or known, path=path)
    raise JobError(f"A {type(value).__name__} can't be sent as a file ({what}).")


def _named(
    name: str,
    content_type: Optional[str],
    path: Optional[Path] = None,
    data: Optional[bytes] = None,
) -> Content:
    name = clean_name(name)
    guessed = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Content(name, guessed, path, data)


def clean_name(name: str) -> str:
    """A name that the edge takes. If it is shortened, its ending stays."""
    text = re.sub(r"[/\\\x00-\x1f\x7f]", "_", name).encode("utf-8", "replace").decode()
    if text in ("", ".", ".."):
        return "file"
    if len(text) > LONGEST_NAME:
        stem, ending = os.path.splitext(text)
        ending = ending[:20]
        text = stem[: LONGEST_NAME - len(ending)] + ending
    return text


class Names:
    """Gives each file of a job a name of its own: the edge takes each name once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        stem, ending = os.path.splitext(name)
        number = 1
        while name in self._taken:
            number += 1
            name = clean_name(f"{stem[:180]}-{number}{ending}")
        self._taken.add(name)
        return name


def _ending_of(data: bytes, file_format: Optional[str]) -> str:
    for signature, ending in _SIGNATURES:
        if data.startswith(signature):
            return ending
    if data[:4] == b"RIFF":
        return {b"WAVE": ".wav", b"WEBP": ".webp", b"AVI ": ".avi"}.get(data[8:12], ".riff")
    if data[4:8] == b"ftyp":
        return ".mp4"
    return _ENDINGS[file_format or "file"]


def _png(picture: Any) -> bytes:
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
        picture = picture.convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _picture_of(array: Any) -> Any:
    """A picture of an array (height, width), (height, width, 3 or 4): bytes, or floats from 0 to 1."""
    import numpy

    try:
        from PIL import Image
    except ImportError:
        raise JobError(
            "An array is sent as a picture with the help of Pillow, which is missing on this worker."
        ) from None
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        shape = "×".join(str(length) for length in array.shape)
        raise JobError(f"An array of {shape} is no picture: height × width, or × 3 or 4 colours.")
    if array.dtype.kind == "b":
        array = array.astype(numpy.uint8) * 255
    elif array.dtype.kind == "f":
        array = numpy.clip(numpy.nan_to_num(array) * 255 + 0.5, 0, 255).astype(numpy.uint8)
    elif array.dtype != numpy.uint8:
        array = numpy.clip(array, 0, 255).astype(numpy.uint8)
    return Image.fromarray(numpy.ascontiguousarray(array))


def wave_of(rate: int, samples: Any) -> bytes:
    """WAV, 16 bits, of samples from -1 to 1 or of int16, shaped (samples,) or (samples, channels)."""
    import numpy

    if samples.ndim not in (1, 2) or int(rate) <= 0:
        raise JobError("Sound is (rate, samples), with samples of one or two dimensions.")
    if samples.dtype.kind == "f":
        samples = numpy.clip(numpy.nan_to_num(samples), -1, 1) * 32_767
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        sound.setsampwidth(2)
        sound.setframerate(int(rate))
        sound.writeframes(numpy.ascontiguousarray(samples.astype("<i2")).tobytes())
    return buffer.getvalue()
