"""The address of an edge, as people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional
from urllib.parse import urlsplit

from .errors import InvalidOptions

SPACE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
DEFAULT_URL = "http://127.0.0.1:8787"


@dataclass(frozen=True)
class EdgeAddress:
    """Where a program dials: the edge, and the space if the given address names one."""

    url: str
    space: Optional[str]


def without_query(text: str) -> str:
    """A query may contain a token, and this text is shown."""
    return re.sub(r"[?#].*$", "", text.strip(), flags=re.DOTALL)


def read_edge_address(text: str) -> EdgeAddress:
    """Reads an address. People also paste the address of a space's page or of the API: it names edge and space.

    Raises `InvalidOptions` with a sentence that says what to write.
    """
    given = without_query(text)
    known = "The edge's address must be an http: or https: URL"
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError as error:
        raise InvalidOptions(f"{known}, not {given!r}: {error}.") from None
    if parts.scheme.lower() in ("ws", "wss"):
        better = re.sub("^ws", "http", given, flags=re.IGNORECASE)
        raise InvalidOptions(f"{known}: write {better} instead of {given}.")
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        is_host = re.fullmatch(r"(?!/)[\w.-]+(:\d+)?(/.*)?", given) is not None
        hint = f": write http://{given} or https://{given}." if is_host else f", not {given!r}."
        raise InvalidOptions(known + hint)
    if parts.username is not None or parts.password is not None:
        raise InvalidOptions(
            "The edge's address must not contain a user and password: there are tokens and keys."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme.lower()}://{host}" + ("" if port is None else f":{port}")
    match = re.fullmatch(r"(.*?)(?:/api)?/spaces(?:/([^/]*))?(?:/.*)?", parts.path)
    path, name = (parts.path, None) if match is None else (match[1], match[2])
    if path.strip("/"):
        raise InvalidOptions(
            f"The edge's address must have no path, such as https://dialout.example, and not {given!r}: "
            "an edge is served at the root of a host name."
        )
    is_name = name is not None and SPACE_NAME.fullmatch(name) is not None
    return EdgeAddress(origin, name if is_name else None)


def check_space(name: str) -> str:
    """Returns the name. Raises `InvalidOptions` if no space can have it."""
    if SPACE_NAME.fullmatch(name) is None:
        raise InvalidOptions(
            f"The space's name must have 1 to 63 small letters, digits and hyphens, not {name[:100]!r}."
        )
    return name
