"""The worker's log: readable lines on standard error, of both of its processes."""

from __future__ import annotations

import os
import re
import sys
import time

_COLORS = {"DEBUG": "90", "INFO": "32", "WARN": "33", "ERROR": "31"}


class Log:
    """Writes lines to standard error, coloured on a terminal unless NO_COLOR is set."""

    def __init__(self, verbose: bool = False, quiet: bool = False) -> None:
        self.verbose = verbose
        self.quiet = quiet

    def debug(self, message: str) -> None:
        if self.verbose:
            self._write("DEBUG", message)

    def info(self, message: str) -> None:
        self._write("INFO", message)

    def warn(self, message: str) -> None:
        self._write("WARN", message)

    def error(self, message: str) -> None:
        self._write("ERROR", message)

    def _write(self, level: str, message: str) -> None:
        stream = sys.stderr
        if self.quiet or stream is None:
            return
        now = time.time()
        stamp = (
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03}"
        )
        # Messages may quote what strangers sent, with escape sequences for the terminal.
        text = "\n  ".join(printable(line) for line in message.split("\n"))
        if stream.isatty() and not os.environ.get("NO_COLOR"):
            line = f"\x1b[90m{stamp}\x1b[0m \x1b[{_COLORS[level]}m{level:<5}\x1b[0m {text}\n"
        else:
            line = f"{stamp} {level:<5} {text}\n"
        try:
            stream.write(line)
            stream.flush()
        except (OSError, ValueError):
            self.quiet = True


def printable(text: str) -> str:
    """Without control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", text).encode("utf-8", "replace").decode()
