"""The kinds of values that a parameter or a result can have: each has a JSON Schema and takes what JSON brings."""

from __future__ import annotations

import datetime
import enum
import math
import re
from decimal import Decimal
from typing import Any, Callable, Optional, Sequence

from ..errors import InvalidInput

Schema = dict[str, Any]
LONGEST_SHOWN = 60


def show(value: Any) -> str:
    """A value as it stands in a message: short, whatever was sent."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def wrong(where: str, wanted: str, value: Any) -> InvalidInput:
    return InvalidInput(f"{where} must be {wanted}, not {show(value)}.", code="invalid_input")


class Kind:
    """Any JSON value; the base of the others.

    `is_file` is whether it is a file or a list of files, `has_file` whether there is one anywhere inside.
    """

    is_file = False
    has_file = False

    def schema(self) -> Schema:
        return {}

    def coerce(self, value: Any, where: str) -> Any:
        """The value for the model. Raises `InvalidInput` with `where` in its message if it doesn't fit."""
        return value


class Integer(Kind):
    def schema(self) -> Schema:
        return {"type": "integer"}

    def coerce(self, value: Any, where: str) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
            return int(value)
        # A form has only texts; an edge without the schema passes them on as they are.
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,400}", value.strip()):
            return int(value)
        raise wrong(where, "a whole number", value)


class Number(Kind):
    def schema(self) -> Schema:
        return {"type": "number"}

    def coerce(self, value: Any, where: str) -> float:
        if isinstance(value, (int, float, Decimal, str)) and not isinstance(value, bool):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                number = math.nan
            if math.isfinite(number):
                return number
        raise wrong(where, "a number", value)


class Boolean(Kind):
    def schema(self) -> Schema:
        return {"type": "boolean"}

    def coerce(self, value: Any, where: str) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        raise wrong(where, "true or false", value)


class Text(Kind):
    def __init__(self, text_format: Optional[str] = None) -> None:
        self.format = text_format

    def schema(self) -> Schema:
        return {"type": "string", **({"format": self.format} if self.format else {})}

    def coerce(self, value: Any, where: str) -> str:
        if isinstance(value, str):
            return value
        raise wrong(where, "a text", value)


class Moment(Kind):
    """A date, a time of day, or both."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.format, self.wanted = {
            datetime.datetime: ("date-time", "a date and time such as 2026-11-29T19:30:00Z"),
            datetime.date: ("date", "a date such as 2026-11-29"),
            datetime.time: ("time", "a time such as 19:30:00"),
        }[kind]

    def schema(self) -> Schema:
        return {"type": "string", "format": self.format}

    def coerce(self, value: Any, where: str) -> Any:
        if isinstance(value, str):
            # Python before 3.11 doesn't know the Z.
            text = re.sub("[zZ]$", "+00:00", value.strip())
            try:
                return self.kind.fromisoformat(text)  # type: ignore[attr-defined]
            except ValueError:
                pass
        raise wrong(where, self.wanted, value)


class Choice(Kind):
    """One of several values. `values` are the JSON values, `results` what the model gets for each."""

    def __init__(
        self,
        values: Sequence[Any],
        results: Optional[Sequence[Any]] = None,
        titles: Optional[Sequence[str]] = None,
    ) -> None:
        self.values = list(values)
        self.results = list(values if results is None else results)
        self.titles = titles

    @classmethod
    def of_enum(cls, members: type[enum.Enum]) -> Choice:
        values = [member.value for member in members]
        titles = [member.name for member in members]
        return cls(values, list(members), None if titles == values else titles)

    def schema(self) -> Schema:
        names = {str: "string", bool: "boolean", int: "integer", float: "number"}
        types = {names.get(type(value), "") for value in self.values}
        typed: Schema = {"type": types.pop()} if len(types) == 1 and "" not in types else {}
        if self.titles is None:
            return {**typed, "enum": self.values}
        pairs = zip(self.values, self.titles)
        return {**typed, "oneOf": [{"const": value, "title": title} for value, title in pairs]}

    def coerce(self, value: Any, where: str) -> Any:
        for known, result in zip(self.values, self.results):
            # In Python True == 1, in JSON they differ.
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return result
        for known, result in zip(self.values, self.results):
            if isinstance(value, str) and not isinstance(known, str) and _as_text(known) == value:
                return result
        raise wrong(where, f"one of {', '.join(show(known) for known in self.values[:20])}", value)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class ListOf(Kind):
    def __init__(self, item: Kind, make: Callable[[list[Any]], Any] = list) -> None:
        self.item = item
        self.make = make
        self.is_file = item.is_file and not isinstance(item, ListOf)
        self.has_file = item.has_file

    def schema(self) -> Schema:
        return {"type": "array", "items": self.item.schema()}

    def coerce(self, value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise wrong(where, "a list", value)
        return self.make(
            [self.item.coerce(item, f"{where}[{index}]") for index, item in enumerate(value)]
        )


class TupleOf(Kind):
    """A list of a fixed length, each place with a kind of its own."""

    def __init__(self, items: Sequence[Kind]) -> None:
        self.items = list(items)
        self.has_file = any(item.has_file for item in items)

    def schema(self) -> Schema:
        length = len(self.items)
        places = [item.schema() for item in self.items]
        return {"type": "array", "prefixItems": places, "minItems": length, "maxItems": length}

    def coerce(self, value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(self.items):
            raise wrong(where, f"a list of {len(self.items)} values", value)
        pairs = enumerate(zip(self.items, value))
        return tuple(item.coerce(each, f"{where}[{index}]") for index, (item, each) in pairs)


class MapOf(Kind):
    def __init__(self, value: Kind) -> None:
        self.value = value
        self.has_file = value.has_file

    def schema(self) -> Schema:
        values = self.value.schema()
        return {"type": "object", **({"additionalProperties": values} if values else {})}

    def coerce(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(where, "an object", value)
        return {name: self.value.coerce(each, f"{where}.{name}") for name, each in value.items()}


class Record(Kind):
    """An object with known fields: a TypedDict or a dataclass."""

    def __init__(
        self, fields: dict[str, Kind], required: Sequence[str], make: Callable[..., Any], title: str
    ) -> None:
        self.fields = fields
        self.required = list(required)
        self.make = make
        self.title = title
        self.has_file = any(kind.has_file for kind in fields.values())

    def schema(self) -> Schema:
        properties = {name: kind.schema() for name, kind in self.fields.items()}
        required: Schema = {"required": self.required} if self.required else {}
        return {"type": "object", "title": self.title, "properties": properties, **required}

    def coerce(self, value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise wrong(where, "an object", value)
        for name in self.required:
            if name not in value:
                raise InvalidInput(f"{where}.{name} is missing.", code="invalid_input")
        for name in value:
            if name not in self.fields:
                raise InvalidInput(
                    f"{where} has no field {show(name)}; it has {', '.join(self.fields)}.",
                    code="invalid_input",
                )
        known = {name: self.fields[name].coerce(value[name], f"{where}.{name}") for name in value}
        return self.make(**known)


class Nullable(Kind):
    """A value or null."""

    def __init__(self, inner: Kind) -> None:
        self.inner = inner
        self.is_file = inner.is_file
        self.has_file = inner.has_file

    def schema(self) -> Schema:
        # A field that may be left out is simply not required: so the form stays a form.
        return self.inner.schema()

    def coerce(self, value: Any, where: str) -> Any:
        return None if value is None else self.inner.coerce(value, where)


class OneOf(Kind):
    """A union: the first kind that takes the value."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = list(kinds)
        self.has_file = any(kind.has_file for kind in kinds)

    def schema(self) -> Schema:
        return {"anyOf": [kind.schema() for kind in self.kinds]}

    def coerce(self, value: Any, where: str) -> Any:
        problems = []
        for kind in self.kinds:
            try:
                return kind.coerce(value, where)
            except InvalidInput as error:
                problems.append(error)
        raise problems[0]
