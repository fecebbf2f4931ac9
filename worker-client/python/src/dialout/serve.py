"""Serving a model: the entry of a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional, Sequence

from .channel import Channel
from .errors import InvalidModel, WorkerRefused
from .host import Host
from .log import Log
from .model.handler import Handler, make_handler
from .options import WorkerOptions, check_options

# Where the package is, and the number of the descriptor on which signals come, are its arguments. The folder that
# the worker is started in must not be searched for modules: it may have a json.py.
_ENGINE = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.append(sys.argv[1]); "
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "from dialout.engine.process import main; main(int(sys.argv[2]))"
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Statistics:
    """Counts since the worker was started. A job has ended once the edge has acknowledged it.

    `jobs` has `received`, `completed`, `failed`, `canceled`, `rejected`, `stale` and `held`; times are in seconds.
    """

    jobs: dict[str, int] = field(default_factory=dict)
    reconnects: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    uptime_s: float = 0.0
    busy_s: float = 0.0


def serve(
    model: Any,
    *,
    url: Optional[str] = None,
    space: Optional[str] = None,
    token: Optional[str] = None,
    concurrency: int = 1,
    capabilities: Sequence[str] = (),
    worker_id: Optional[str] = None,
    name: Optional[str] = None,
    version: Optional[str] = None,
    wait: bool = True,
    verbose: bool = False,
    quiet: bool = False,
    drain_s: float = 30.0,
    backoff_s: tuple[float, float] = (1.0, 10.0),
) -> Statistics:
    """Serves a space with a model until SIGINT or SIGTERM has drained it; then returns its statistics.

    `model` is a function, a generator, or a class with `setup` and `predict`, plain or async. `url`, `space` and
    `token` come from DIALOUT_URL, DIALOUT_SPACE and DIALOUT_TOKEN if they are not given. `concurrency` is how many
    jobs run at once: on threads, or as tasks of an async model. `wait` is whether to wait while other workers have
    every place of the space. After a signal, running jobs have `drain_s` seconds. `backoff_s` is the first and the
    longest wait between two dials.

    The connection is kept by a process of its own: a model may block for as long as it likes.

    Raises `InvalidOptions`, `InvalidModel`, and `WorkerRefused` if the edge refuses the worker for good.
    """
    options = check_options(
        url,
        space,
        token,
        {
            "concurrency": concurrency,
            "capabilities": tuple(capabilities),
            "worker_id": worker_id,
            "name": name,
            "version": version,
            "wait": wait,
            "verbose": verbose,
            "quiet": quiet,
            "drain_s": drain_s,
            "backoff_s": backoff_s,
        },
    )
    return serve_handler(make_handler(model), options)


def serve_handler(
    handler: Handler,
    options: WorkerOptions,
    on_abandon: Optional[Callable[[int], None]] = None,
) -> Statistics:
    """As `serve`. `on_abandon` is called if the worker has ended, and a model runs on without looking."""
    schema = handler.signature.schema()
    log = Log(options.verbose, options.quiet)
    with _Engine() as engine:
        host = Host(handler, engine.channel, options.concurrency, log, on_abandon)
        ended = host.run(("start", asdict(options), schema), engine.take_signals)
    statistics = Statistics(**ended["statistics"])
    if ended["code"] is not None:
        raise WorkerRefused(ended["code"], ended["message"])
    return statistics


class _Engine:
    """The process that keeps the connection, and the signals that go to it."""

    def __init__(self) -> None:
        if not sys.executable:
            raise InvalidModel("The Python that runs this program isn't known, so it can't serve.")
        self._former: dict[int, Any] = {}
        self._signals: Optional[tuple[int, int]] = None

    def __enter__(self) -> _Engine:
        self._signals = self._make_pipe()
        reader = -1 if self._signals is None else self._signals[0]
        package = str(Path(__file__).resolve().parent.parent)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ENGINE, package, str(reader)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=() if self._signals is None else (reader,),
        )
        if self._signals is not None:
            os.close(reader)
        self.channel = Channel(_binary(self._process.stdout), _binary(self._process.stdin))
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close_writer()
        if self._former:
            signal.set_wakeup_fd(-1)
        for number, former in self._former.items():
            signal.signal(number, former)
        if self._signals is not None:
            os.close(self._signals[1])
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _binary(self._process.stdout).close()

    def _make_pipe(self) -> Optional[tuple[int, int]]:
        is_main = threading.current_thread() is threading.main_thread()
        if os.name != "posix" or not is_main:
            return None
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        return reader, writer

    def take_signals(self) -> None:
        """Hands SIGINT and SIGTERM to the engine, once the model is loaded.

        Python handles a signal when the model's current call into C has ended, which may take minutes. Its number
        is written at once, so the engine gets it even then.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            self._former[number] = signal.signal(number, self._on_signal)
        if self._signals is not None:
            signal.set_wakeup_fd(self._signals[1], warn_on_full_buffer=False)

    def _on_signal(self, number: int, _: object) -> None:
        if self._signals is None:
            # Not on this thread: it may be in the middle of another message.
            threading.Thread(target=self.channel.send, args=("signal", number)).start()


def _binary(stream: Any) -> BinaryIO:
    found: BinaryIO = stream
    return found
