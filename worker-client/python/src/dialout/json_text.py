"""JSON in and out, with every digit."""

from __future__ import annotations

import json
import math
import uuid
from decimal import Decimal
from typing import Any, Optional

# int() refuses more digits, and writing more is refused too.
MOST_DIGITS = 4_000
MOST_LEVELS = 64


def parse_json(text: str) -> Any:
    """Reads JSON. Numbers that Python's int or float can't keep become `Decimal`. Raises `ValueError`."""
    return json.loads(text, parse_int=_parse_int, parse_float=_parse_float)


def _parse_int(digits: str) -> Any:
    return int(digits) if len(digits) < MOST_DIGITS else Decimal(digits)


def _parse_float(digits: str) -> Any:
    number = float(digits)
    return number if math.isfinite(number) else Decimal(digits)


def write_json(value: Any) -> str:
    """Writes JSON as the edge takes it. Raises `ValueError` with the reason if it can't be written."""
    if _is_deeper(value, MOST_LEVELS - 1):
        raise ValueError("it is nested too deep, or contains itself")
    decimals: dict[str, Decimal] = {}

    def default(other: Any) -> str:
        if isinstance(other, Decimal):
            if not other.is_finite():
                raise ValueError(f"{other} is no number that JSON knows")
            mark = f"decimal {uuid.uuid4().hex}"
            decimals[mark] = other
            return mark
        kind = type(other).__name__
        raise TypeError(f"a {kind} can't be written as JSON")

    try:
        text = json.dumps(
            value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=default
        )
    except ValueError as error:
        found = _find_not_finite(value, "")
        if found is None:
            raise ValueError(_plain_reason(error)) from None
        where, number = found
        raise ValueError(f"{number}{where} is no number that JSON knows") from None
    except TypeError as error:
        raise ValueError(_plain_reason(error)) from None
    for mark, decimal in decimals.items():
        text = text.replace(f'"{mark}"', str(decimal))
    # Half a surrogate pair can't be encoded; inside a text of JSON it may be written as \udXXX.
    return text.encode("utf-8", "backslashreplace").decode()


def _plain_reason(error: Exception) -> str:
    text = str(error)
    if text.startswith("keys must be"):
        return "the keys of an object must be texts"
    if "integer string conversion" in text:
        return "a whole number has more than 4,300 digits"
    return text


def _is_deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return False
    return levels == 0 or any(_is_deeper(inner, levels - 1) for inner in value)


def _find_not_finite(value: Any, where: str) -> Optional[tuple[str, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        return (f" (at {where.lstrip('.')})" if where else "", value)
    if isinstance(value, dict):
        pairs = [(f"{where}.{name}", inner) for name, inner in value.items()]
    elif isinstance(value, (list, tuple)):
        pairs = [(f"{where}[{index}]", inner) for index, inner in enumerate(value)]
    else:
        return None
    for place, inner in pairs:
        found = _find_not_finite(inner, place)
        if found is not None:
            return found
    return None


def cut(text: str, most: int) -> str:
    """Cuts a text as JavaScript counts it: a character outside the basic plane counts twice."""
    if len(text) * 2 <= most:
        return text
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * most]
    return units.decode("utf-16-le", "ignore")
