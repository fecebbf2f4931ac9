"""`Input(…)`: what a form says about a parameter, and which values it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence

from ..errors import InvalidModel


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()

FORMATS = (
    "multiline",
    "markdown",
    "date",
    "date-time",
    "time",
    "uri",
    "email",
    "password",
    "file",
    "image",
    "audio",
    "video",
)


@dataclass(frozen=True)
class InputField:
    """What `Input` was given."""

    default: Any = MISSING
    title: Optional[str] = None
    description: Optional[str] = None
    ge: Optional[float] = None
    le: Optional[float] = None
    step: Optional[float] = None
    min_length: Optional[int] = None
    max_length: Optional[int] = None
    pattern: Optional[str] = None
    choices: Optional[Sequence[Any]] = None
    examples: Optional[Sequence[Any]] = None
    format: Optional[str] = None
    media_type: Optional[str] = None


def Input(
    default: Any = MISSING,
    *,
    title: Optional[str] = None,
    description: Optional[str] = None,
    ge: Optional[float] = None,
    le: Optional[float] = None,
    step: Optional[float] = None,
    min_length: Optional[int] = None,
    max_length: Optional[int] = None,
    pattern: Optional[str] = None,
    choices: Optional[Sequence[Any]] = None,
    examples: Optional[Sequence[Any]] = None,
    format: Optional[str] = None,
    media_type: Optional[str] = None,
) -> Any:
    """Describes a parameter: `steps: int = Input(default=20, ge=1, le=100, description="How many steps")`.

    `ge` and `le` bound a number, `step` is what it is a multiple of; `min_length`, `max_length` and `pattern` (a
    regular expression) bound a text, the lengths also a list. `choices` lists the values that there are, `examples`
    values to click. `format` says what a text is (`multiline`, `markdown`, `email`, `uri`, `password` …), or that
    bytes or an array are an `image`, `audio`, `video` or `file`; `media_type` narrows a file, such as `image/png`.
    Without `default` a value is required.

    Raises `InvalidModel` if the options contradict each other.
    """
    if format is not None and format not in FORMATS:
        raise InvalidModel(f"Input: there is no format {format!r}; there are {', '.join(FORMATS)}.")
    if ge is not None and le is not None and ge > le:
        raise InvalidModel(f"Input: ge={ge} is larger than le={le}.")
    if step is not None and step <= 0:
        raise InvalidModel(f"Input: step={step} must be above 0.")
    if choices is not None and len(choices) == 0:
        raise InvalidModel("Input: choices is empty.")
    return InputField(
        default=default,
        title=title,
        description=description,
        ge=ge,
        le=le,
        step=step,
        min_length=min_length,
        max_length=max_length,
        pattern=pattern,
        choices=None if choices is None else tuple(choices),
        examples=None if examples is None else tuple(examples),
        format=format,
        media_type=media_type,
    )
