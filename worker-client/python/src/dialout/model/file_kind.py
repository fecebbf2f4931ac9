"""Files among the input: as paths, bytes, pictures of PIL, or arrays of numpy."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path
from typing import Any, Optional

from ..errors import InvalidInput
from ..files import File
from .kinds import Kind, Schema

FFMPEG_S = 120


class FileKind(Kind):
    """`form` is how the model gets it: `path`, `plain` (a pathlib.Path), `bytes`, `pil`, `array` or `sound`."""

    is_file = True
    has_file = True

    def __init__(self, file_format: str, form: str, path_type: type[File] = File) -> None:
        self.format = file_format
        self.form = form
        self.path_type = path_type

    def schema(self) -> Schema:
        return {"type": "string", "format": self.format}

    def coerce(self, value: Any, where: str) -> Any:
        if isinstance(value, File):
            return self._opened(value, where)
        raise InvalidInput(
            f"{where} must be sent as a file of the form, in the field of this name.",
            code="invalid_input",
        )

    def _opened(self, file: File, where: str) -> Any:
        if self.form == "path":
            typed = self.path_type(file)
            typed.filename, typed.content_type, typed.field = (
                file.filename,
                file.content_type,
                file.field,
            )
            return typed
        if self.form == "bytes":
            return file.read_bytes()
        if self.form == "pil":
            return read_image(file, where)
        if self.form == "array":
            import numpy

            return numpy.asarray(read_image(file, where).convert("RGB"))
        if self.form == "sound":
            return read_sound(file, where)
        return Path(file)


def read_image(path: Path, where: str) -> Any:
    """The picture, upright as its camera was held. Raises `InvalidInput` if it is none."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except Exception as error:  # PIL raises anything for what strangers send
        raise InvalidInput(
            f"{where} is no picture that can be read ({type(error).__name__}).",
            code="invalid_input",
        ) from error


def read_sound(path: Path, where: str) -> tuple[int, Any]:
    """`(rate, samples)`: samples a second, and float32 from -1 to 1 of the shape (samples,) or (samples, channels).

    WAV is read by Python itself, everything else needs ffmpeg.
    """
    try:
        return _read_wave(path)
    except (wave.Error, EOFError):
        pass
    converted = _convert(path, where)
    try:
        return _read_wave(converted)
    finally:
        converted.unlink()


def _read_wave(path: Path) -> tuple[int, Any]:
    import numpy

    with wave.open(str(path), "rb") as sound:
        rate, channels, width = sound.getframerate(), sound.getnchannels(), sound.getsampwidth()
        data = sound.readframes(sound.getnframes())
    data = data[: len(data) - len(data) % (width * channels)]
    if width == 1:
        samples = (numpy.frombuffer(data, numpy.uint8).astype(numpy.float32) - 128) / 128
    elif width == 3:
        # There are no numbers of three bytes: each becomes the upper three of four.
        padded: Any = numpy.zeros((len(data) // 3, 4), numpy.uint8)
        padded[:, 1:] = numpy.frombuffer(data, numpy.uint8).reshape(-1, 3)
        samples = padded.view("<i4")[:, 0].astype(numpy.float32) / 2**31
    else:
        whole = numpy.frombuffer(data, "<i2" if width == 2 else "<i4")
        samples = whole.astype(numpy.float32) / 2 ** (8 * width - 1)
    return rate, samples if channels == 1 else samples.reshape(-1, channels)


def _convert(path: Path, where: str) -> Path:
    program: Optional[str] = shutil.which("ffmpeg")
    if program is None:
        raise InvalidInput(
            f"{where} is no WAV, and other sound can't be read on this worker (ffmpeg is missing).",
            code="invalid_input",
        )
    target = path.with_name(f"{path.name}.converted.wav")
    # The file may be a list of addresses: the worker must not fetch what a stranger names.
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe"]
    command += ["-i", f"file:{path}", "-vn", "-acodec", "pcm_s16le", "-y", f"file:{target}"]
    try:
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=FFMPEG_S, check=False)
        is_done = ran.returncode == 0
    except subprocess.TimeoutExpired:
        is_done = False
    if not is_done:
        target.unlink(missing_ok=True)
        raise InvalidInput(f"{where} is no sound that can be read.", code="invalid_input")
    return target
