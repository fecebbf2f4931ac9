"""What a worker can be told."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Optional, Sequence

from .address import DEFAULT_URL, check_space, read_edge_address
from .errors import InvalidOptions

MOST_AT_ONCE = 1_000


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker serves: see `serve`."""

    url: str
    space: str
    token: str
    concurrency: int = 1
    capabilities: Sequence[str] = ()
    worker_id: Optional[str] = None
    name: Optional[str] = None
    version: Optional[str] = None
    wait: bool = True
    verbose: bool = False
    quiet: bool = False
    drain_s: float = 30.0
    backoff_s: tuple[float, float] = (1.0, 10.0)


def check_options(
    url: Optional[str], space: Optional[str], token: Optional[str], options: dict[str, object]
) -> WorkerOptions:
    """Fills in what the environment says. Raises `InvalidOptions` so that a mistake shows before the first dial."""
    address = read_edge_address(url or os.environ.get("DIALOUT_URL") or DEFAULT_URL)
    named = space or os.environ.get("DIALOUT_SPACE") or address.space
    if named is None:
        raise InvalidOptions("Name the space: space=…, or DIALOUT_SPACE.")
    if address.space is not None and named != address.space:
        raise InvalidOptions(
            f"The address is of the space {address.space}, but the space to serve is {named}."
        )
    secret = token or os.environ.get("DIALOUT_TOKEN")
    if not secret:
        raise InvalidOptions("A token is missing: token=…, or DIALOUT_TOKEN.")
    checked = WorkerOptions(address.url, check_space(named), check_token(secret), **options)  # type: ignore[arg-type]
    if not 1 <= checked.concurrency <= MOST_AT_ONCE:
        raise InvalidOptions(f"The concurrency must be a whole number from 1 to {MOST_AT_ONCE:,}.")
    for what, value, most in (
        ("id", checked.worker_id, 120),
        ("name", checked.name, 120),
        ("version", checked.version, 60),
    ):
        if value is not None and not 1 <= len(value) <= most:
            raise InvalidOptions(f"The worker's {what} must have 1 to {most} characters.")
    if len(checked.capabilities) > 50 or not all(1 <= len(c) <= 60 for c in checked.capabilities):
        raise InvalidOptions("There may be 50 capabilities of 1 to 60 characters.")
    return checked


def check_token(token: str) -> str:
    """Other characters can't be sent in a header."""
    token = token.strip()
    if re.fullmatch(r"[!-~]+", token) is None:
        raise InvalidOptions(
            "The token is empty, or has characters that no token has: give it as the page of settings showed it."
        )
    return token
