"""What the end of a connection, or of a dial, means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union


@dataclass(frozen=True)
class Refused:
    """The upgrade was answered with another status than 101; by the edge itself if the answer is a problem."""

    status: int
    is_problem: bool
    detail: Optional[str]


@dataclass(frozen=True)
class Unreachable:
    """No answer: nothing listens, no such host, no route, a timeout."""

    message: str


@dataclass(frozen=True)
class Closed:
    """`error` is the code and message of an `error` frame that came directly before the close."""

    code: int
    reason: str
    error: Optional[tuple[str, str]]


LinkEnd = Union[Refused, Unreachable, Closed]


@dataclass(frozen=True)
class Verdict:
    """`code` is `None` if the worker dials again, otherwise that of the refusal."""

    why: str
    code: Optional[str] = None


# Used only if the edge sent no message: its own is more precise.
_MESSAGES = {
    "not_authenticated": "the token is wrong or revoked",
    "not_allowed": "the token may not serve this space",
    "not_found": "no such space",
    "space_occupied": "another worker serves this space",
    "replaced": "another worker with this id serves this space",
    "schema_invalid": "the edge does not take the schema of the model",
    "frame_too_large": "the edge refused a frame as too large",
    "malformed_frame": "the edge did not understand a frame",
    "policy": "the edge refused this worker",
    "closed": "the edge ended the connection for good",
}
_BY_STATUS = {
    401: "not_authenticated",
    403: "not_allowed",
    404: "not_found",
    409: "space_occupied",
    426: "policy",
}
# W30: after any other code the worker dials again.
_BY_CLOSE = {
    1000: "closed",
    1008: "policy",
    1009: "frame_too_large",
    4400: "malformed_frame",
    4401: "not_authenticated",
    4403: "not_allowed",
    4404: "not_found",
    4409: "space_occupied",
}


def judge(end: LinkEnd) -> Verdict:
    """Decides whether to dial again."""
    if isinstance(end, Unreachable):
        return Verdict(end.message)
    if isinstance(end, Refused):
        code = _BY_STATUS.get(end.status)
        if code is not None and end.is_problem:
            return Verdict(end.detail or _MESSAGES[code], code)
        # W4a: a proxy answers so too, for example while the edge behind it restarts.
        who = "the edge" if end.is_problem else "something before the edge"
        return Verdict(_with(f"{who} answered with status {end.status}", end.detail))
    code = _BY_CLOSE.get(end.code)
    words = None if end.error is None else end.error[1]
    if code is None:
        return Verdict(_with(f"connection closed ({end.code})", words or end.reason or None))
    if end.error is not None and end.error[0] in ("replaced", "schema_invalid"):
        code = end.error[0]
    return Verdict(words or _with(_MESSAGES[code], end.reason or None), code)


def _with(words: str, detail: Optional[str]) -> str:
    return words if detail is None else f"{words}: {detail}"
