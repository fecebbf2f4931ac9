"""What a submit sends: JSON, or a form with files that is read while it is sent."""

from __future__ import annotations

import io
import json
import os
import secrets
from typing import Any, BinaryIO, Iterator, Mapping, Optional, Sequence
from urllib.parse import quote

from ..errors import InvalidOptions
from ..files import NamedBytes
from ..json_text import write_json
from ..model.contents import Content, content_of, is_array_value, is_file_value
from .api import MakeBody

PIECE = 1 << 20


def split_input(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, Content]]]:
    """Tells files from the other fields: paths, bytes, open files and pictures, alone or in a list."""
    fields: dict[str, Any] = {}
    files: list[tuple[str, Content]] = []
    for name, value in given.items():
        values = value if isinstance(value, (list, tuple)) and value else [value]
        if all(_is_file(each) for each in values):
            files += [(name, _content(name, each)) for each in values]
        else:
            fields[name] = value
    return fields, files


def _is_file(value: Any) -> bool:
    return (
        is_file_value(value)
        or is_array_value(value)
        or isinstance(value, (bytes, bytearray))
        or (hasattr(value, "read") and not isinstance(value, type))
    )


def _content(name: str, value: Any) -> Content:
    if hasattr(value, "read") and not is_file_value(value):
        data = value.read()
        if not isinstance(data, bytes):
            raise InvalidOptions(f"{name}: open the file for reading bytes, with mode 'rb'.")
        value = NamedBytes(os.path.basename(str(getattr(value, "name", name))), data)
    if isinstance(value, os.PathLike) and not os.path.isfile(value):
        raise InvalidOptions(f"{name}: there is no file {os.fspath(value)}.")
    return content_of(value, what=name)


def size_of(content: Content) -> int:
    return len(content.data or b"") if content.path is None else content.path.stat().st_size


def json_body(value: Any) -> MakeBody:
    """Raises `InvalidOptions` if it can't be written as JSON."""
    try:
        data = write_json(value).encode()
    except ValueError as error:
        raise InvalidOptions(f"The input can't be sent as JSON: {error}.") from None
    return lambda: (data, len(data))


def form_body(
    fields: dict[str, Any], options: Mapping[str, Any], files: Sequence[tuple[str, Content]]
) -> tuple[str, MakeBody]:
    """The content type, and the body."""
    boundary = f"dialout-{secrets.token_hex(16)}"
    data, _ = json_body(fields)()
    texts = [("input", data)] + [(name, _text(value)) for name, value in options.items()]
    parts: list[tuple[bytes, Optional[Content]]] = []
    for name, text in texts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        parts.append((head.encode() + text + b"\r\n", None))
    for name, content in files:
        parts.append((_head(boundary, name, content), content))
        parts.append((b"\r\n", None))
    parts.append((f"--{boundary}--\r\n".encode(), None))
    length = sum(
        len(head) + (0 if content is None else size_of(content)) for head, content in parts
    )
    return f"multipart/form-data; boundary={boundary}", lambda: (_Body(parts), length)


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (list, tuple)):
        return ",".join(str(each) for each in value).encode()
    return json.dumps(value).encode()


def _head(boundary: str, field: str, content: Content) -> bytes:
    return (
        f"--{boundary}\r\nContent-Disposition: form-data; {_parameter('name', field)}; "
        f"{_parameter('filename', content.name)}\r\nContent-Type: {content.content_type}\r\n\r\n"
    ).encode()


def _parameter(name: str, value: str) -> str:
    """As in RFC 8187, for whatever has more than plain characters."""
    plain = all(" " <= character < "\x7f" and character not in '"\\' for character in value)
    if plain:
        return f'{name}="{value}"'
    return f"{name}*=UTF-8''{quote(value, safe='')}"


class _Body:
    """Reads heads and files one after the other."""

    def __init__(self, parts: Sequence[tuple[bytes, Optional[Content]]]) -> None:
        self._pieces = _pieces_of(parts)

    def read(self, _: int = -1) -> bytes:
        return next(self._pieces, b"")


def _pieces_of(parts: Sequence[tuple[bytes, Optional[Content]]]) -> Iterator[bytes]:
    for head, content in parts:
        yield head
        if content is None:
            continue
        with open_content(content) as file:
            while True:
                piece = file.read(PIECE)
                if not piece:
                    break
                yield piece


def open_content(content: Content) -> BinaryIO:
    if content.path is None:
        return io.BytesIO(content.data or b"")
    return open(content.path, "rb")
