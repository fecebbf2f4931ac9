"""From Python's annotations to kinds."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import inspect
import pathlib
import types
import typing
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

from ..errors import InvalidModel
from ..files import Audio, File, Image, Markdown, NamedBytes, Video
from .file_kind import FileKind
from .input import InputField
from .kinds import (
    Boolean,
    Choice,
    Integer,
    Kind,
    ListOf,
    MapOf,
    Moment,
    Nullable,
    Number,
    OneOf,
    Record,
    Text,
    TupleOf,
)

_SIMPLE: dict[Any, type[Kind]] = {bool: Boolean, int: Integer, float: Number, str: Text}
_MOMENTS = (datetime.datetime, datetime.date, datetime.time)
_FILES = (Image, Audio, Video, File)
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_SETS = (set, frozenset)
_MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
# Those of TypedDict, which Python 3.9 doesn't have.
_WRAPPERS = tuple(
    getattr(typing, name) for name in ("Required", "NotRequired") if hasattr(typing, name)
)
_UNIONS = (Union, getattr(types, "UnionType", Union))


def kind_of(annotation: Any, where: str, file_format: Optional[str] = None) -> Kind:
    """The kind that an annotation means. `file_format` is what bytes and arrays are, if `Input` says it.

    Raises `InvalidModel` with `where` in its message if there is none.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *notes = get_args(annotation)
        return kind_of(inner, where, _format_in(notes) or file_format)
    if origin in _UNIONS:
        return _union(get_args(annotation), where, file_format)
    if origin in _WRAPPERS:
        return kind_of(get_args(annotation)[0], where, file_format)
    if origin is Literal:
        return Choice(get_args(annotation))
    if origin is not None:
        return _generic(annotation, origin, where, file_format)
    return _plain(annotation, where, file_format)


def _format_in(notes: list[Any]) -> Optional[str]:
    """What `Annotated[bytes, dialout.Image]` or `Annotated[bytes, Input(format="image")]` says."""
    for note in notes:
        if isinstance(note, type) and issubclass(note, File):
            return note.format
        if isinstance(note, InputField) and note.format is not None:
            return note.format
    return None


def _union(members: tuple[Any, ...], where: str, file_format: Optional[str]) -> Kind:
    kinds = [
        kind_of(member, where, file_format)
        for member in members
        if member not in (None, type(None))
    ]
    kind = kinds[0] if len(kinds) == 1 else OneOf(kinds)
    return Nullable(kind) if len(kinds) < len(members) else kind


def _generic(annotation: Any, origin: Any, where: str, file_format: Optional[str]) -> Kind:
    arguments = get_args(annotation)
    if is_array(origin):
        return _array(file_format)
    if origin in _LISTS:
        return ListOf(kind_of(arguments[0], where, file_format))
    if origin in _SETS:
        return ListOf(kind_of(arguments[0], where, file_format), origin)
    if origin in _MAPS:
        return MapOf(kind_of(arguments[1], where, file_format))
    if origin is tuple:
        if len(arguments) == 2 and arguments[0] is int and is_array(_bare(arguments[1])):
            return FileKind("audio", "sound")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return ListOf(kind_of(arguments[0], where, file_format), tuple)
        return TupleOf([kind_of(argument, where, file_format) for argument in arguments])
    raise unknown(annotation, where)


def _plain(annotation: Any, where: str, file_format: Optional[str]) -> Kind:
    if annotation in (Any, inspect.Parameter.empty, object):
        return Kind()
    if annotation is Markdown:
        return Text("markdown")
    if isinstance(annotation, type):
        found = _class(annotation, where, file_format)
        if found is not None:
            return found
    if isinstance(annotation, types.ModuleType) and annotation.__name__ == "PIL.Image":
        raise InvalidModel(f"{where}: PIL.Image is a module; its pictures are PIL.Image.Image.")
    if isinstance(annotation, typing.TypeVar):
        return Kind()
    raise unknown(annotation, where)


def _class(annotation: type, where: str, file_format: Optional[str]) -> Optional[Kind]:
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]()
    if annotation in _MOMENTS:
        return Moment(annotation)
    if issubclass(annotation, enum.Enum):
        return Choice.of_enum(annotation)
    for path_type in _FILES:
        if annotation is path_type:
            return FileKind(path_type.format, "path", path_type)
    if issubclass(annotation, pathlib.PurePath):
        return FileKind(file_format or "file", "plain")
    if annotation in (bytes, bytearray, NamedBytes):
        return FileKind(file_format or "file", "bytes")
    if is_picture(annotation):
        return FileKind("image", "pil")
    if is_array(annotation):
        return _array(file_format)
    if issubclass(annotation, dict) and hasattr(annotation, "__required_keys__"):
        return _typed_dict(annotation, where)
    if dataclasses.is_dataclass(annotation):
        return _dataclass(annotation, where)
    if annotation in (list, tuple, *_SETS):
        return ListOf(Kind(), annotation)
    if annotation is dict:
        return MapOf(Kind())
    return None


def _typed_dict(annotation: Any, where: str) -> Kind:
    hints = hints_of(annotation, where)
    fields = {name: kind_of(hint, f"{where}.{name}") for name, hint in hints.items()}
    return Record(fields, sorted(annotation.__required_keys__), dict, annotation.__name__)


def _dataclass(annotation: Any, where: str) -> Kind:
    hints = hints_of(annotation, where)
    members = [field for field in dataclasses.fields(annotation) if field.init]
    fields = {each.name: kind_of(hints[each.name], f"{where}.{each.name}") for each in members}
    required = [
        each.name
        for each in members
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    ]
    return Record(fields, required, annotation, annotation.__name__)


def _array(file_format: Optional[str]) -> Kind:
    if file_format in (None, "image"):
        return FileKind("image", "array")
    return FileKind(file_format or "audio", "sound")


def _bare(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def is_array(annotation: Any) -> bool:
    """Whether it is numpy's array, without importing numpy."""
    return getattr(annotation, "__module__", "") == "numpy" and annotation.__name__ == "ndarray"


def is_picture(annotation: Any) -> bool:
    """Whether it is PIL's picture, without importing PIL."""
    module = getattr(annotation, "__module__", "")
    return module == "PIL.Image" and getattr(annotation, "__name__", "") == "Image"


def hints_of(annotated: Any, where: str) -> dict[str, Any]:
    """The annotations of a function or class, with those that are texts evaluated."""
    try:
        return typing.get_type_hints(annotated, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise InvalidModel(f"{where}: an annotation can't be evaluated: {error}.") from error


def unknown(annotation: Any, where: str) -> InvalidModel:
    name = getattr(annotation, "__qualname__", None) or str(annotation)
    return InvalidModel(
        f"{where}: the type {name} has no place in a form. Use int, float, str, bool, Literal, Enum, Optional, "
        "list, dict, TypedDict, a dataclass, datetime.date, dialout.File, Image, Audio, Video, pathlib.Path, "
        "PIL.Image.Image, numpy.ndarray or bytes."
    )
