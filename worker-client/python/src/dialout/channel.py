"""Messages between the model's process and the process that keeps the connection."""

from __future__ import annotations

import pickle
import struct
import threading
from typing import Any, BinaryIO, Optional

_HEAD = struct.Struct("<I")


class Channel:
    """A pair of pipes. Messages are tuples whose first item says what they are.

    They are pickled, as `multiprocessing` does: both ends are the same program, and nothing that came from the edge
    is unpickled.
    """

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = threading.Lock()

    def send(self, *message: Any) -> bool:
        """Returns whether the other end is there. Blocks while it doesn't read."""
        data = pickle.dumps(message, protocol=4)
        try:
            with self._lock:
                self._writer.write(_HEAD.pack(len(data)) + data)
                self._writer.flush()
        except (OSError, ValueError):
            return False
        return True

    def receive(self) -> Optional[tuple[Any, ...]]:
        """The next message; `None` when the other end has gone."""
        head = self._read(_HEAD.size)
        data = None if head is None else self._read(_HEAD.unpack(head)[0])
        return None if data is None else tuple(pickle.loads(data))

    def close_writer(self) -> None:
        with self._lock:
            try:
                self._writer.close()
            except OSError:
                return

    def _read(self, size: int) -> Optional[bytes]:
        try:
            data = self._reader.read(size)
        except (OSError, ValueError):
            return None
        return data if len(data) == size else None
