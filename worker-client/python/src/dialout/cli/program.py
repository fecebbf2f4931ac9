"""`dialout serve` and `dialout doctor`."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn, Optional, Sequence

from .._version import __version__
from ..address import DEFAULT_URL
from ..errors import InvalidModel, InvalidOptions, WorkerRefused
from ..log import Log
from ..model.handler import make_handler
from ..model.target import load_target
from ..options import WorkerOptions, check_options
from ..serve import serve_handler
from .doctor import examine

EXIT_FAILED = 1
EXIT_USAGE = 2


def main(arguments: Optional[Sequence[str]] = None) -> NoReturn:
    """Runs the command and ends the process: 0 after a drain, 1 after a refusal, 2 for wrong options."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        code = options.run(options)
    except (InvalidOptions, InvalidModel) as error:
        sys.stderr.write(f"dialout: error: {error}\n")
        code = EXIT_USAGE
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dialout", description="Puts a Python model that sits behind NAT on the web."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="<command>", required=True)

    serving = commands.add_parser(
        "serve",
        help="serve a space with a Python function",
        description="Serves a space with a function, a generator, or a class with setup() and predict().",
    )
    serving.add_argument(
        "target",
        help="model.py:predict, or package.module:name; without a name, predict or Predictor",
    )
    _add_edge(serving)
    serving.add_argument(
        "--concurrency", type=int, default=1, metavar="<n>", help="how many jobs to run at once"
    )
    serving.add_argument(
        "--capabilities",
        default="",
        metavar="<list>",
        help="what this worker can do, such as gpu,large: jobs may require it",
    )
    serving.add_argument(
        "--worker-id",
        metavar="<id>",
        help="id of this worker (default: a new one for every process)",
    )
    serving.add_argument("--name", metavar="<name>", help="name that is shown to people")
    serving.add_argument(
        "--no-wait",
        action="store_true",
        help="end if other workers have every place of the space, instead of waiting",
    )
    serving.add_argument("--verbose", action="store_true", help="log more details")
    serving.set_defaults(run=_serve)

    doctor = commands.add_parser(
        "doctor",
        help="say what is wrong with the address, the network, the token or the space",
        description="Says what is wrong with the address, the network, the token or the space.",
    )
    _add_edge(doctor)
    doctor.set_defaults(run=_examine)
    return parser


def _add_edge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", metavar="<url>", help=f"address of the edge (DIALOUT_URL; default: {DEFAULT_URL})"
    )
    parser.add_argument("--space", metavar="<name>", help="the space (DIALOUT_SPACE)")
    parser.add_argument(
        "--token", metavar="<token>", help="a worker token of the space (DIALOUT_TOKEN)"
    )
    parser.add_argument(
        "--token-file",
        metavar="<path>",
        help="a file with the token; used instead of DIALOUT_TOKEN",
    )


def _serve(options: argparse.Namespace) -> int:
    checked = _check(options)
    log = Log(checked.verbose)
    try:
        handler = make_handler(load_target(options.target))
    except (InvalidModel, InvalidOptions):
        raise
    except Exception:
        log.error(f"{options.target} can't be loaded\n{traceback.format_exc().rstrip()}")
        return EXIT_FAILED
    try:
        statistics = serve_handler(handler, checked, on_abandon=_leave)
    except WorkerRefused:
        return EXIT_FAILED
    except (InvalidModel, InvalidOptions):
        raise
    except Exception:
        log.error(f"the model can't be loaded\n{traceback.format_exc().rstrip()}")
        return EXIT_FAILED
    return EXIT_FAILED if statistics.jobs.get("held", 0) > 0 else 0


def _check(options: argparse.Namespace) -> WorkerOptions:
    capabilities = [word.strip() for word in options.capabilities.split(",")]
    return check_options(
        options.url,
        options.space,
        read_token(options),
        {
            "concurrency": options.concurrency,
            "capabilities": tuple(word for word in capabilities if word),
            "worker_id": options.worker_id,
            "name": options.name,
            "wait": not options.no_wait,
            "verbose": options.verbose,
        },
    )


def read_token(options: argparse.Namespace) -> Optional[str]:
    """The token of `--token` or of the file; `None` if it may be in the environment."""
    if options.token_file is None:
        token: Optional[str] = options.token
        return token
    if options.token is not None:
        raise InvalidOptions("Give either --token or --token-file, not both.")
    try:
        return Path(options.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOptions(f"The token file can't be read: {error}.") from None


def _leave(_: int) -> None:
    """A model that looks at nothing must not keep the process alive when its jobs were given back."""
    sys.stderr.flush()
    os._exit(EXIT_FAILED)


def _examine(options: argparse.Namespace) -> int:
    return examine(options.url, options.space, read_token(options))
