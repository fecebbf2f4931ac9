"""`dialout doctor`: the first thing that is wrong decides the exit code."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate
from typing import Any

import pytest
from fake_edge import SPACE, TOKEN, FakeEdge, json_reply, problem

from dialout.cli import doctor
from dialout.cli.doctor import EXIT, examine


@pytest.fixture(autouse=True)
def _environment(monkeypatch: Any) -> None:
    for name in ("DIALOUT_URL", "DIALOUT_SPACE", "DIALOUT_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def sound(edge: FakeEdge) -> None:
    edge.route("GET", "/healthz", lambda _: json_reply({"status": "ok"}))
    edge.route("GET", f"/api/spaces/{SPACE}", lambda _: json_reply({"schema": None}))


def test_everything_is_fine(edge: FakeEdge, capsys: Any) -> None:
    sound(edge)
    import threading

    def greet() -> None:
        edge.connection().send({"type": "hello", "protocol": "dialout.worker.v1"})

    threading.Thread(target=greet, daemon=True).start()
    assert examine(edge.url, SPACE, TOKEN) == 0
    printed = capsys.readouterr().out
    assert "token: the edge takes it" in printed
    assert "WRONG" not in printed
    assert TOKEN not in printed


def test_the_token_is_wrong(edge: FakeEdge, capsys: Any) -> None:
    sound(edge)
    edge.refusals.append(problem(401, "not_authenticated", "The token is of another space."))
    assert examine(edge.url, SPACE, TOKEN) == EXIT["token"]
    assert "The token is of another space." in capsys.readouterr().out


def test_there_is_no_such_space(edge: FakeEdge) -> None:
    edge.route("GET", "/healthz", lambda _: json_reply({"status": "ok"}))
    edge.route("GET", f"/api/spaces/{SPACE}", lambda _: problem(404, "space_not_found"))
    edge.refusals.append(problem(404, "space_not_found", "There is no such space."))
    assert examine(edge.url, SPACE, TOKEN) == EXIT["space"]


def test_the_clock_is_wrong(edge: FakeEdge, capsys: Any) -> None:
    sound(edge)
    late = formatdate(time.time() - 7_200, usegmt=True)
    edge.server.RequestHandlerClass.date_time_string = lambda *_: late  # type: ignore[method-assign]
    assert examine(edge.url, None, None) == EXIT["clock"]
    assert "ahead of the edge's" in capsys.readouterr().out


def test_the_link_is_slow(edge: FakeEdge, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(doctor, "SLOW_DOWNLOAD_S", 0.2)
    sound(edge)

    def slow() -> Any:
        for _ in range(3):
            yield b"x" * 100
            time.sleep(0.1)

    edge.route("GET", "/openapi.json", lambda _: (200, {}, slow()))
    assert examine(edge.url, None, None) == EXIT["slow"]
    assert "KB a second: slow" in capsys.readouterr().out


def test_something_else_answers(edge: FakeEdge) -> None:
    edge.route("GET", "/healthz", lambda _: (200, {}, "<h1>sign in</h1>"))
    assert examine(edge.url, None, None) == EXIT["edge"]


def test_the_scheme_is_wrong(edge: FakeEdge, capsys: Any) -> None:
    assert examine(edge.url.replace("http", "https"), None, None) == EXIT["edge"]
    assert f"use {edge.url}" in capsys.readouterr().out


def test_nothing_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert examine(f"http://127.0.0.1:{port}", None, None) == EXIT["connect"]


def test_no_such_host() -> None:
    assert examine("http://no-such-host.invalid", None, None) == EXIT["dns"]


def test_the_address_is_wrong() -> None:
    assert examine("localhost:8787", None, None) == EXIT["url"]
