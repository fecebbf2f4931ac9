"""Pictures, sound and other files: in as the annotations say, out as what they are."""

from __future__ import annotations

import dataclasses
import io
import wave
from pathlib import Path
from typing import Any, Optional, Tuple

import pytest

import dialout
from dialout import InvalidInput, JobError, NamedBytes
from dialout.files import received_file
from dialout.model.contents import Names, clean_name, content_of, wave_of
from dialout.model.results import result_of
from dialout.model.signature import read_signature

numpy = pytest.importorskip("numpy")
PIL = pytest.importorskip("PIL.Image")


def bind(function: Any, path: Path, field: str) -> Any:
    signature = read_signature(function, "model")
    file = received_file(dialout.File, str(path), {"field": field, "name": "x"})
    return signature.bind({}, [file])[field]


def test_pictures_come_as_pictures_and_arrays(tmp_path: Path) -> None:
    def pil(a: PIL.Image) -> None: ...  # type: ignore[name-defined]
    def array(a: numpy.ndarray) -> None: ...  # type: ignore[name-defined]

    pil.__annotations__ = {"a": PIL.Image}
    array.__annotations__ = {"a": numpy.ndarray}
    path = tmp_path / "a.png"
    PIL.new("RGB", (3, 2), (255, 0, 10)).save(path)
    assert bind(pil, path, "a").size == (3, 2)
    assert bind(array, path, "a").shape == (2, 3, 3)
    assert bind(array, path, "a")[0, 0].tolist() == [255, 0, 10]
    path.write_bytes(b"no picture")
    with pytest.raises(InvalidInput, match="a is no picture that can be read"):
        bind(pil, path, "a")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sound_comes_as_samples(tmp_path: Path, width: int) -> None:
    def model(a: Tuple[int, numpy.ndarray]) -> None: ...  # type: ignore[name-defined]

    model.__annotations__ = {"a": Tuple[int, numpy.ndarray]}
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(width)
        sound.setframerate(8_000)
        quiet = b"\x80" if width == 1 else b"\0" * width
        loud = b"\xff" if width == 1 else b"\xff" * (width - 1) + b"\x7f"
        sound.writeframes((quiet + loud) * 10)
    rate, samples = bind(model, path, "a")
    assert rate == 8_000
    assert samples.shape == (10, 2)
    assert samples.dtype == numpy.float32
    assert samples[0].tolist() == pytest.approx([0, 1], abs=0.01)


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    def model(a: Any) -> None: ...

    model.__annotations__ = {"a": Tuple[int, numpy.ndarray]}
    path = tmp_path / "a.mp3"
    path.write_bytes(b"#EXTM3U\nhttp://127.0.0.1:9/secret\n")
    with pytest.raises(InvalidInput, match="a is no"):
        bind(model, path, "a")


class Sent:
    """Collects what a result sends."""

    def __init__(self) -> None:
        self.names = Names()
        self.files: dict[str, Any] = {}

    def __call__(self, value: Any, what: str, file_format: Optional[str]) -> str:
        content = content_of(value, what=what, file_format=file_format)
        name = self.names.take(content.name)
        self.files[name] = content
        return name


def result(value: Any, annotation: Any = None) -> tuple[Any, dict[str, Any]]:
    def model() -> None: ...

    model.__annotations__ = {} if annotation is None else {"return": annotation}
    sent = Sent()
    return result_of(value, read_signature(model, "model").output, sent), sent.files


@dataclasses.dataclass
class Both:
    text: str
    mask: Any


def test_files_in_a_result_are_sent_and_named(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-")
    picture = PIL.new("L", (2, 2))
    value, files = result({"a": path, "list": [picture, Both("x", picture)], "n": numpy.int64(3)})
    assert value == {
        "a": "report.pdf",
        "list": ["list.png", {"text": "x", "mask": "mask.png"}],
        "n": 3,
    }
    assert files["report.pdf"].path == path
    assert files["report.pdf"].content_type == "application/pdf"
    assert PIL.open(io.BytesIO(files["mask.png"].data)).size == (2, 2)
    value, files = result((picture, picture))
    assert value == ["output.png", "output-2.png"]


def test_annotations_say_what_bytes_and_arrays_are() -> None:
    value, files = result(b"\x89PNG\r\n\x1a\n", bytes)
    assert value == "output.png"
    value, files = result(numpy.full((2, 3, 3), 0.5), numpy.ndarray)
    assert value == "output.png"
    assert PIL.open(io.BytesIO(files[value].data)).getpixel((0, 0)) == (128, 128, 128)
    value, files = result((8_000, numpy.zeros(5, numpy.float32)), Tuple[int, numpy.ndarray])
    assert value == "output.wav"
    assert files[value].content_type in ("audio/wav", "audio/x-wav")
    value, files = result(("words", PIL.new("CMYK", (1, 1))), Tuple[str, PIL.Image])
    assert value == ["words", "output.png"]
    assert result([1.5, None, True, "x"]) == ([1.5, None, True, "x"], {})
    assert result(numpy.array([[1, 2]])) == ([[1, 2]], {})


def test_what_can_not_be_sent_is_named(tmp_path: Path) -> None:
    for value, annotation, words in [
        (b"RIFF", None, "needs a name"),
        (tmp_path / "missing.png", None, "The file for output isn't there"),
        (numpy.zeros((2, 2, 7)), numpy.ndarray, "is no picture"),
        (object(), dialout.Image, "can't be sent as a file"),
        ((0, numpy.zeros(3)), Tuple[int, numpy.ndarray], "Sound is"),
    ]:
        with pytest.raises(JobError, match=words) as caught:
            result(value, annotation)
        assert str(tmp_path) not in str(caught.value)
    circular: list[Any] = []
    circular.append(circular)
    with pytest.raises(JobError, match="contains itself"):
        result(circular)


def test_sound_is_written_as_it_is() -> None:
    data = wave_of(8_000, numpy.array([[0.0, 1.0], [-1.0, 2.0]], numpy.float32))
    with wave.open(io.BytesIO(data)) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getnframes()) == (2, 8_000, 2)
        assert numpy.frombuffer(sound.readframes(2), "<i2").tolist() == [0, 32_767, -32_767, 32_767]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("a/b\\c\n.png", "a_b_c_.png"),
        ("..", "file"),
        ("", "file"),
        ("x" * 300 + ".png", "x" * 196 + ".png"),
    ],
)
def test_names_are_those_that_the_edge_takes(name: str, clean: str) -> None:
    assert clean_name(name) == clean


def test_each_file_of_a_job_has_a_name_of_its_own() -> None:
    names = Names()
    assert [names.take("a.png") for _ in range(3)] == ["a.png", "a-2.png", "a-3.png"]


def test_named_bytes() -> None:
    content = content_of(NamedBytes("s.ogg", b"x", "audio/ogg"), what="output")
    assert (content.name, content.content_type, content.data) == ("s.ogg", "audio/ogg", b"x")
