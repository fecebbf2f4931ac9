"""What `Input` says about a parameter: its bounds, and its words in the form."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ..errors import InvalidModel
from .input import InputField
from .kinds import Integer, Kind, Nullable, Number, Schema, Text, wrong


class Bounded(Kind):
    """A kind with what `Input` says about it."""

    def __init__(self, inner: Kind, field: InputField, name: str) -> None:
        self.inner = inner
        self.field = field
        self.is_file = inner.is_file
        self.has_file = inner.has_file
        self._check(name)

    def schema(self) -> Schema:
        field = self.field
        base = self.inner.schema()
        is_list = base.get("type") == "array"
        long, short = ("maxItems", "minItems") if is_list else ("maxLength", "minLength")
        added = {
            "title": field.title,
            "description": field.description,
            "minimum": field.ge,
            "maximum": field.le,
            "multipleOf": field.step,
            short: field.min_length,
            long: field.max_length,
            "pattern": field.pattern,
            "examples": None if field.examples is None else list(field.examples),
        }
        if field.format is not None and not self.is_file:
            added["format"] = field.format
        schema = {**base, **{name: value for name, value in added.items() if value is not None}}
        if field.media_type is not None:
            (schema["items"] if is_list else schema)["contentMediaType"] = field.media_type
        return schema

    def coerce(self, value: Any, where: str) -> Any:
        value = self.inner.coerce(value, where)
        if value is None:
            return None
        field = self.field
        if field.ge is not None and value < field.ge:
            raise wrong(where, f"{field.ge} or more", value)
        if field.le is not None and value > field.le:
            raise wrong(where, f"{field.le} or less", value)
        if field.step is not None and not _is_multiple(value, field.step):
            raise wrong(where, f"a multiple of {field.step}", value)
        if field.min_length is not None and len(value) < field.min_length:
            raise wrong(where, f"of length {field.min_length} or more", value)
        if field.max_length is not None and len(value) > field.max_length:
            raise wrong(where, f"of length {field.max_length} or less", value)
        if field.pattern is not None and re.search(field.pattern, value) is None:
            raise wrong(where, f"a text like {field.pattern}", value)
        return value

    def _check(self, name: str) -> None:
        field, inner = self.field, self.inner
        bare = inner.inner if isinstance(inner, Nullable) else inner
        is_number = isinstance(bare, (Integer, Number))
        if (field.ge, field.le, field.step) != (None, None, None) and not is_number:
            raise InvalidModel(f"{name}: ge, le and step bound a number, and it isn't one.")
        if field.pattern is not None:
            if not isinstance(bare, Text):
                raise InvalidModel(f"{name}: pattern bounds a text, and it isn't one.")
            try:
                re.compile(field.pattern)
            except re.error as error:
                raise InvalidModel(
                    f"{name}: the pattern is no regular expression: {error}."
                ) from None
        if field.media_type is not None and not self.is_file:
            raise InvalidModel(f"{name}: media_type is about a file, and it isn't one.")
        if field.format is not None and not self.is_file and not isinstance(bare, Text):
            raise InvalidModel(f"{name}: format={field.format!r} needs a str, bytes or an array.")


def _is_multiple(value: Any, step: float) -> bool:
    # As decimals: 0.3 is a multiple of 0.1 for whoever wrote it.
    return Decimal(str(value)) % Decimal(str(step)) == 0
