"""Large files are sent in parts, and go on where they were after a break (tus 1.0)."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..errors import ClientError
from ..model.contents import Content
from .api import Api
from .form import open_content, size_of

PART = 32 << 20
_VERSION = {"Tus-Resumable": "1.0.0"}


def send_in_parts(api: Api, space: str, field: str, content: Content) -> str:
    """Returns the id of the upload. Raises `ClientError`."""
    size = size_of(content)
    metadata = {
        "space": space,
        "field": field,
        "filename": content.name,
        "filetype": content.content_type,
    }
    pairs = (
        f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in metadata.items()
    )
    headers = {**_VERSION, "Upload-Length": str(size), "Upload-Metadata": ",".join(pairs)}
    made = api.call("POST", "/api/uploads", headers=headers, make_body=lambda: (b"", 0))
    path = urlsplit(urljoin(f"{api.url}/", made.headers.get("Location") or "")).path
    offset = 0
    failures = 0
    while offset < size:
        try:
            offset = _send_part(api, path, content, offset, size)
            failures = 0
        except ClientError as error:
            # What arrived of a part that broke off is kept: ask how much that is.
            failures += 1
            if (error.code != "unreachable" and error.status != 409) or failures > 5:
                raise
            offset = int(api.call("HEAD", path, headers=_VERSION).headers["Upload-Offset"])
    return str(path.rstrip("/").rpartition("/")[2])


def _send_part(api: Api, path: str, content: Content, offset: int, size: int) -> int:
    with open_content(content) as file:
        file.seek(offset)
        data = file.read(min(PART, size - offset))
    sent: Any = api.call(
        "PATCH",
        path,
        headers={
            **_VERSION,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
        },
        make_body=lambda: (data, len(data)),
    )
    return int(sent.headers["Upload-Offset"])
