from __future__ import annotations

import dataclasses
import datetime
import enum
import json
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Dict,
    Generator,
    Iterator,
    List,
    Literal,
    Optional,
    TypedDict,
    Union,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dialout
from dialout import Input, InvalidInput, InvalidModel
from dialout.files import received_file
from dialout.model.handler import make_handler
from dialout.model.signature import Signature, read_signature


class Colour(enum.Enum):
    RED = "#f00"
    BLUE = "#00f"


class Box(TypedDict):
    x: int
    y: int


@dataclasses.dataclass
class Point:
    x: float
    label: str = "here"


def signature(function: Any) -> Signature:
    return read_signature(function, function.__name__)


def everything(
    count: int,
    ratio: float = Input(default=0.5, ge=0, le=1, step=0.1, title="Ratio", description="how much"),
    style: Literal["oil", "ink"] = "oil",
    colour: Colour = Colour.RED,
    on: bool = False,
    prompt: str = Input(default="", format="multiline", max_length=100, examples=["a cat"]),
    tags: List[str] = Input(default=["a"], max_length=3),
    box: Optional[Box] = None,
    point: Point = Point(1.0),
    day: datetime.date = datetime.date(2026, 11, 29),
    size: int = Input(default=512, choices=[256, 512]),
    weights: Dict[str, float] = {},  # noqa: B006
    photo: dialout.Image = Input(media_type="image/png"),
    extra: List[Path] = [],  # noqa: B006
    raw: Annotated[bytes, dialout.Audio] = b"",
) -> Dict[str, Any]: ...


def test_the_schema_of_a_signature() -> None:
    schema = signature(everything).schema()
    assert schema is not None
    taken = schema["input"]
    assert taken["required"] == ["count", "photo"]
    assert taken["additionalProperties"] is False
    properties = taken["properties"]
    assert properties["count"] == {"type": "integer"}
    assert properties["ratio"] == {
        "type": "number",
        "title": "Ratio",
        "description": "how much",
        "minimum": 0,
        "maximum": 1,
        "multipleOf": 0.1,
        "default": 0.5,
    }
    assert properties["style"] == {"type": "string", "enum": ["oil", "ink"], "default": "oil"}
    assert properties["colour"]["oneOf"][1] == {"const": "#00f", "title": "BLUE"}
    assert properties["colour"]["default"] == "#f00"
    assert properties["on"] == {"type": "boolean", "default": False}
    assert properties["prompt"]["format"] == "multiline"
    assert properties["tags"] == {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": 3,
        "default": ["a"],
    }
    assert properties["box"]["required"] == ["x", "y"]
    assert properties["point"]["default"] == {"x": 1.0, "label": "here"}
    assert properties["day"] == {"type": "string", "format": "date", "default": "2026-11-29"}
    assert properties["size"] == {"type": "integer", "enum": [256, 512], "default": 512}
    assert properties["weights"]["additionalProperties"] == {"type": "number"}
    assert properties["photo"] == {
        "type": "string",
        "format": "image",
        "contentMediaType": "image/png",
    }
    assert properties["extra"] == {"type": "array", "items": {"type": "string", "format": "file"}}
    assert properties["raw"] == {"type": "string", "format": "audio"}
    json.dumps(schema)


def test_values_become_what_the_annotations_say(tmp_path: Path) -> None:
    path = tmp_path / "0-a.png"
    path.write_bytes(b"abc")
    files = [
        received_file(dialout.File, str(path), {"field": field, "name": "a.png"})
        for field in ("photo", "extra", "extra", "raw")
    ]
    sent = {
        "count": 3.0,
        "colour": "#00f",
        "box": {"x": 1, "y": 2},
        "point": {"x": 2},
        "day": "2026-01-02",
        "size": "256",
        "on": "true",
    }
    values = signature(everything).bind(sent, files)
    assert values["count"] == 3
    assert isinstance(values["count"], int)
    assert values["colour"] is Colour.BLUE
    assert values["box"] == {"x": 1, "y": 2}
    assert values["point"] == Point(2.0)
    assert values["day"] == datetime.date(2026, 1, 2)
    assert values["size"] == 256
    assert values["on"] is True
    assert values["ratio"] == 0.5
    assert isinstance(values["photo"], dialout.Image)
    assert values["photo"].filename == "a.png"
    assert [type(each) for each in values["extra"]] == [type(Path())] * 2
    assert values["raw"] == b"abc"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "count is missing."),
        ({"count": True}, "count must be a whole number, not True."),
        ({"count": 1.5}, "count must be a whole number, not 1.5."),
        ({"count": 1, "ratio": 2}, "ratio must be 1 or less, not 2.0."),
        ({"count": 1, "ratio": 0.25}, "ratio must be a multiple of 0.1, not 0.25."),
        ({"count": 1, "style": "pen"}, "style must be one of 'oil', 'ink', not 'pen'."),
        ({"count": 1, "tags": ["a", 2]}, "tags[1] must be a text, not 2."),
        ({"count": 1, "tags": list("abcd")}, "tags must be of length 3 or less"),
        ({"count": 1, "box": {"x": 1}}, "box.y is missing."),
        ({"count": 1, "day": "tomorrow"}, "day must be a date such as 2026-11-29, not 'tomorrow'."),
        ({"count": 1, "photo": "x"}, "photo must be sent as a file"),
    ],
)
def test_what_does_not_fit_is_named(sent: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match="^") as caught:
        signature(everything).bind({"box": None, **sent}, [])
    if not str(caught.value).startswith(message):
        photo = received_file(dialout.File, "/nowhere", {"field": "photo"})
        with pytest.raises(InvalidInput) as caught:
            signature(everything).bind(sent, [photo])
    assert str(caught.value).startswith(message)


def test_several_files_for_one_field() -> None:
    def one(photo: dialout.Image) -> None: ...

    files = [received_file(dialout.File, "/x", {"field": "photo"})] * 2
    with pytest.raises(InvalidInput, match="photo takes one file; 2 came"):
        signature(one).bind({}, files)


def test_a_function_of_the_job_alone_takes_anything() -> None:
    def free(job: dialout.Job) -> None: ...

    assert signature(free).schema() is None
    assert signature(free).bind({"a": 1}, []) == {}


def test_keyword_arguments_take_the_rest() -> None:
    def rest(a: int = 1, **more: Any) -> None: ...

    schema = signature(rest).schema()
    assert schema is not None
    assert "additionalProperties" not in schema["input"]
    assert signature(rest).bind({"b": 2}, []) == {"a": 1, "b": 2}


def test_results() -> None:
    def text() -> str: ...
    def stream() -> Iterator[str]: ...
    def numbers() -> Iterator[int]: ...
    def both() -> Generator[str, None, dialout.Audio]: ...
    def markdown() -> dialout.Markdown: ...
    def pair() -> tuple[str, dialout.Image]: ...
    def nothing() -> None: ...

    found = [
        signature(each).schema() for each in (text, stream, numbers, both, markdown, pair, nothing)
    ]
    outputs = [(each or {}).get("output") for each in found]
    image = {"type": "string", "format": "image"}
    assert outputs == [
        {"type": "string"},
        {"type": "string"},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "string", "format": "audio"},
        {"type": "string", "format": "markdown"},
        {
            "type": "array",
            "prefixItems": [{"type": "string"}, image],
            "minItems": 2,
            "maxItems": 2,
        },
        None,
    ]


def test_mistakes_in_a_model_are_named() -> None:
    def default(n: int = Input(default=9, le=5)) -> None: ...
    def bound(s: str = Input(default="", ge=1)) -> None: ...
    def kind(z: complex) -> None: ...
    def late(z: Unknown) -> None: ...  # type: ignore[name-defined]  # noqa: F821
    def positional(a: int, /) -> None: ...
    def inside(a: Dict[str, dialout.File]) -> None: ...
    def union(a: Union[int, str]) -> None: ...

    class Arguments:
        def __init__(self, size: int) -> None: ...

    for model, words in [
        (default, "must be 5 or less, not 9"),
        (bound, "bound a number"),
        (kind, "complex has no place in a form"),
        (late, "can't be evaluated"),
        (positional, "positional only"),
        (inside, "a parameter of its own"),
        (Arguments, "must be made without arguments"),
        (3, "neither a function"),
    ]:
        with pytest.raises(InvalidModel, match=words):
            make_handler(model)
    with pytest.raises(InvalidModel, match="there is no format"):
        Input(format="picture")
    signature(union)


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans())
def test_what_fits_arrives_as_it_is(n: int, x: float, s: str, b: bool) -> None:
    def four(n: int, x: float, s: str, b: bool) -> None: ...

    assert signature(four).bind({"n": n, "x": x, "s": s, "b": b}, []) == {
        "n": n,
        "x": x,
        "s": s,
        "b": b,
    }


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_whatever_comes_is_taken_or_refused_in_words(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        signature(everything).bind({"count": value, "ratio": value, "tags": value}, [])
    assert len(str(caught.value)) < 300
