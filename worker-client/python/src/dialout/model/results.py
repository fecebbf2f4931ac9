"""From what a model returns to JSON: files in it are sent, and their names stand in their places."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import Any, Callable, Optional

from ..errors import JobError
from .bounded import Bounded
from .contents import is_array_value, is_file_value
from .file_kind import FileKind
from .kinds import Kind, ListOf, MapOf, Nullable, Record, TupleOf

# Sends a file and returns its name: the value, what it is in messages, and the format that the annotation says.
SendFile = Callable[[Any, str, Optional[str]], str]
DEEPEST = 80


def result_of(value: Any, kind: Optional[Kind], send_file: SendFile, what: str = "output") -> Any:
    """The JSON of a result. Raises `JobError` for what can't be sent."""
    return _convert(value, kind, send_file, what, DEEPEST)


def _convert(value: Any, kind: Optional[Kind], send_file: SendFile, what: str, levels: int) -> Any:
    is_path = isinstance(value, str) and isinstance(_bare(kind), FileKind)
    if not is_path and (value is None or type(value) in (str, int, bool, float)):
        return value
    if levels == 0:
        raise JobError("The result can't be sent: it is nested too deep, or contains itself.")
    kind = _bare(kind)
    if isinstance(kind, FileKind):
        return send_file(value, what, kind.format)
    if is_file_value(value):
        return send_file(value, what, None)
    if isinstance(value, (bytes, bytearray)):
        raise JobError(
            "Bytes are sent as a file, which needs a name: dialout.NamedBytes(name, data)."
        )
    inner = _members(value)
    if isinstance(inner, dict):
        return {
            name: _convert(each, _field(kind, name), send_file, _word(name), levels - 1)
            for name, each in inner.items()
        }
    if isinstance(inner, (list, tuple)):
        places = enumerate(inner)
        return [
            _convert(each, _place(kind, index), send_file, what, levels - 1)
            for index, each in places
        ]
    return inner


def _members(value: Any) -> Any:
    """Objects as the JSON that they stand for."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if is_array_value(value):
        return value.tolist()
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return value.item()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return value


def _word(name: Any) -> str:
    return name if isinstance(name, str) and name else "output"


def _bare(kind: Optional[Kind]) -> Optional[Kind]:
    while isinstance(kind, (Bounded, Nullable)):
        kind = kind.inner
    return kind


def _field(kind: Optional[Kind], name: Any) -> Optional[Kind]:
    if isinstance(kind, Record):
        return kind.fields.get(name)
    return kind.value if isinstance(kind, MapOf) else None


def _place(kind: Optional[Kind], index: int) -> Optional[Kind]:
    if isinstance(kind, ListOf):
        return kind.item
    if isinstance(kind, TupleOf) and index < len(kind.items):
        return kind.items[index]
    return None
