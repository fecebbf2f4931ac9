"""The submitter's client, against an edge that does what a test says."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from fake_edge import Cut, FakeEdge, Reply, Request, events_of, json_reply, problem

import dialout
from dialout import AsyncClient, Client, ClientError, End, JobFailed, Output, Progress, Restart

JOB = "x.01ABC"
SUBMIT = "/api/spaces/x/jobs"


def accepted(_: Request) -> Reply:
    return json_reply({"id": JOB, "status": "queued"}, 202)


def progress(offset: int, status: str = "processing", attempt: int = 1, **more: Any) -> Any:
    frame = {
        "type": "progress",
        "job_id": JOB,
        "status": status,
        "progress": 50,
        "attempt": attempt,
        "offset": offset,
        **more,
    }
    return (f"e:{offset}", frame)


def output(offset: int, delta: Any, attempt: int = 1, has_id: bool = True) -> Any:
    frame = {"type": "output", "job_id": JOB, "delta": delta, "attempt": attempt, "offset": offset}
    return (f"e:{offset}" if has_id else None, frame)


def connection(recovered: bool = False, epoch: str = "e") -> Any:
    frame = {
        "type": "connection",
        "job_id": JOB,
        "epoch": epoch,
        "offset": 9,
        "recovered": recovered,
    }
    return (None, frame)


def stream(*frames: Any) -> Reply:
    return 200, {"Content-Type": "text/event-stream"}, events_of(list(frames))


def streams(edge: FakeEdge, *replies: Any) -> list[Any]:
    """Answers the requests for the stream one after the other; returns their Last-Event-IDs."""
    asked: list[Any] = []
    waiting = list(replies)

    def reply(request: Request) -> Reply:
        asked.append(request.headers.get("Last-Event-ID"))
        found = waiting.pop(0)
        if found is Cut:
            raise Cut
        return found

    edge.route("GET", f"/api/jobs/{JOB}/events", reply)
    return asked


def test_submits_and_follows(edge: FakeEdge) -> None:
    edge.route("POST", SUBMIT, accepted)
    streams(
        edge,
        stream(
            connection(),
            progress(1, "queued", 0, queue_position=1),
            progress(2),
            output(3, "a "),
            output(4, "cat"),
            progress(5, "completed", result={"n": 18446744073709551615}),
        ),
    )
    client = Client(edge.url, key="a-key")
    job = client.space("x").submit(prompt="a cat", options={"priority": 2})
    request = edge.requests[0]
    assert json.loads(request.body) == {"input": {"prompt": "a cat"}, "priority": 2}
    assert request.headers["Authorization"] == "Bearer a-key"
    assert len(request.headers["Idempotency-Key"]) == 36
    events = list(job.events())
    assert events[0] == Progress("queued", 50.0, None, None, 1, 0)
    assert [event.delta for event in events if isinstance(event, Output)] == ["a ", "cat"]
    assert events[-1] == End("completed", {"n": 18446744073709551615})


def test_a_submit_whose_answer_was_lost_makes_one_job(edge: FakeEdge) -> None:
    """H10."""
    replies = iter(
        [Cut, (502, {}, "bad gateway"), problem(503, "temporarily_unavailable"), accepted]
    )
    keys: list[str] = []

    def reply(request: Request) -> Reply:
        keys.append(request.headers["Idempotency-Key"])
        found = next(replies)
        if found is Cut:
            raise Cut
        return found(request) if callable(found) else found

    edge.route("POST", SUBMIT, reply)
    assert Client(edge.url).space("x").submit(prompt="a").id == JOB
    assert len(keys) == 4
    assert len(set(keys)) == 1


def test_waits_as_long_as_the_edge_says(edge: FakeEdge) -> None:
    status, headers, body = problem(429, "queue_full")
    replies = iter([(status, {**headers, "Retry-After": "1"}, body), accepted(None)])  # type: ignore[arg-type]
    edge.route("POST", SUBMIT, lambda _: next(replies))
    begun = time.monotonic()
    Client(edge.url).space("x").submit(prompt="a")
    assert time.monotonic() - begun >= 1


def test_refusals_of_the_edge_are_final_and_name_the_field(edge: FakeEdge) -> None:
    """Decision 0039."""
    errors = [{"path": "/input/width", "message": "must be 2000 or less"}]
    refused = problem(422, "invalid_input", "The input is wrong.", errors=errors)
    edge.route("POST", SUBMIT, lambda _: refused)
    with pytest.raises(ClientError, match="/input/width: must be 2000 or less") as caught:
        Client(edge.url).space("x").submit(width=9_999)
    assert caught.value.code == "invalid_input"
    assert caught.value.errors == errors
    assert caught.value.status == 422
    assert caught.value.idempotency_key is not None
    assert len(edge.requests) == 1


def test_what_is_not_the_edge_is_asked_again(edge: FakeEdge) -> None:
    edge.route("GET", "/api/spaces/x", lambda _: (404, {}, "<h1>nothing</h1>"))
    with pytest.raises(ClientError) as caught:
        Client(edge.url, timeout=3).space("x").get()
    assert caught.value.code == "http_404"
    assert len(edge.requests) > 1
    edge.route("GET", "/api/spaces/x", lambda _: (200, {}, "<h1>sign in</h1>"))
    with pytest.raises(ClientError) as caught:
        Client(edge.url, timeout=0.3).space("x").get()
    assert caught.value.code == "not_an_edge"


def test_no_redirect_is_followed(edge: FakeEdge) -> None:
    elsewhere = {"Location": "http://elsewhere.example/api"}
    edge.route("GET", "/api/spaces/x", lambda _: (302, elsewhere, ""))
    with pytest.raises(ClientError, match="redirects to http://elsewhere.example"):
        Client(edge.url, timeout=0.2).space("x").get()


def test_nothing_listens() -> None:
    with pytest.raises(ClientError, match="nothing listens at 127.0.0.1:9") as caught:
        Client("http://127.0.0.1:9", timeout=0.2).space("x").submit(a=1)
    assert caught.value.code == "unreachable"
    assert caught.value.idempotency_key is not None


def test_files_are_sent_as_a_form(edge: FakeEdge, tmp_path: Path) -> None:
    edge.route("POST", SUBMIT, accepted)
    path = tmp_path / 'grün "1".png'
    path.write_bytes(b"\x89PNG" + bytes(range(256)) * 10_000)
    with open(path, "rb") as opened:
        Client(edge.url).space("x").submit(
            {"prompt": "a"},
            image=path,
            more=[dialout.NamedBytes("a.txt", b"one"), dialout.NamedBytes("b.txt", b"two")],
            again=opened,
            memory=io.BytesIO(b"three"),
            options={"requires": ["gpu", "big"]},
        )
    request = edge.requests[0]
    import email.parser
    import email.policy

    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    form = email.parser.BytesParser(policy=email.policy.default).parsebytes(head + request.body)
    parts = [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_payload(decode=True),
        )
        for part in form.iter_parts()  # type: ignore[attr-defined]
    ]
    assert parts[0] == ("input", None, b'{"prompt":"a"}')
    assert parts[1] == ("requires", None, b"gpu,big")
    assert parts[2] == ("image", path.name, path.read_bytes())
    assert parts[3] == ("more", "a.txt", b"one")
    assert parts[4] == ("more", "b.txt", b"two")
    assert parts[5][2] == path.read_bytes()
    assert parts[6][2] == b"three"


def test_a_text_is_never_a_path(edge: FakeEdge) -> None:
    edge.route("POST", SUBMIT, accepted)
    Client(edge.url).space("x").submit(path=__file__)
    assert json.loads(edge.requests[0].body) == {"input": {"path": __file__}}


def test_a_stream_goes_on_where_it_broke(edge: FakeEdge) -> None:
    """C8, C9, C12, C13."""
    asked = streams(
        edge,
        stream(connection(), output(1, "a"), output(2, "b")),
        Cut,
        (502, {}, "bad gateway"),
        stream(connection(recovered=True), output(3, "c"), progress(4, "completed", result=1)),
    )
    job = Client(edge.url).job(JOB)
    assert list(job.stream()) == ["a", "b", "c"]
    assert asked == [None, "e:2", "e:2", "e:2"]


def test_a_snapshot_repeats_nothing(edge: FakeEdge) -> None:
    """C10b: pieces of a snapshot have no id."""
    streams(
        edge,
        stream(connection(), output(1, "a", has_id=False), output(2, "b", has_id=False)),
        stream(
            connection(),
            output(1, "a", has_id=False),
            output(2, "b", has_id=False),
            output(3, "c", has_id=False),
            progress(3),
            progress(4, "completed", result=1),
        ),
    )
    assert list(Client(edge.url).job(JOB).stream()) == ["a", "b", "c"]


def test_another_attempt_starts_anew(edge: FakeEdge) -> None:
    """S5."""
    frames = [
        connection(),
        output(1, "a"),
        output(2, "z", 2),
        progress(3, "completed", 2, result=1),
    ]
    streams(edge, stream(*frames), stream(*frames))
    job = Client(edge.url).job(JOB)
    assert list(job.events())[:3] == [Output("a", 1), Restart("attempt", 2), Output("z", 2)]
    with pytest.raises(ClientError) as caught:
        list(job.stream())
    assert caught.value.code == "output_restarted"


def test_a_job_that_is_over_answers_204(edge: FakeEdge) -> None:
    """C13."""
    streams(edge, (204, {}, ""))
    edge.route(
        "GET", f"/api/jobs/{JOB}", lambda _: json_reply({"status": "completed", "result": 7})
    )
    assert Client(edge.url).job(JOB).result() == 7


def test_failed_jobs_raise(edge: FakeEdge) -> None:
    error = {"code": "worker_error", "message": "The GPU is busy."}
    streams(edge, stream(connection(), progress(1, "failed", error=error)))
    with pytest.raises(JobFailed, match=r"The GPU is busy\.") as caught:
        Client(edge.url).job(JOB).result()
    assert (caught.value.code, caught.value.status) == ("worker_error", "failed")


def test_the_edge_ends_a_stream_for_good(edge: FakeEdge) -> None:
    """C12f."""
    gone = (None, {"type": "error", "code": "job_not_found", "message": "It was erased."})
    streams(edge, stream(connection(), gone), problem(404, "job_not_found"))
    job = Client(edge.url).job(JOB)
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            job.result()
        assert caught.value.code == "job_not_found"


def test_a_result_may_take_only_so_long(edge: FakeEdge) -> None:
    def slow() -> Any:
        yield ": hello\n\n"
        time.sleep(2)

    streams(edge, (200, {"Content-Type": "text/event-stream"}, slow()))
    begun = time.monotonic()
    with pytest.raises(ClientError) as caught:
        Client(edge.url).job(JOB).result(timeout=0.3)
    assert caught.value.code == "timed_out"
    assert time.monotonic() - begun < 1.5


def test_outputs_are_saved_after_breaks_and_checked(edge: FakeEdge, tmp_path: Path) -> None:
    data = b"0123456789" * 1_000
    info = {
        "name": "../sound.wav",
        "content_type": "audio/wav",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "url": "/files/out",
    }

    def reply(request: Request) -> Reply:
        since = request.headers.get("Range")
        if since is None:
            return 200, {"Content-Length": str(len(data)), "ETag": '"1"'}, iter([data[:4_000]])
        begin = int(since[6:-1])
        return 206, {"Content-Range": f"bytes {begin}-9999/10000"}, data[begin:]

    edge.route("GET", "/files/out", reply)
    done = progress(1, "completed", result=None, outputs=[info])
    streams(edge, stream(connection(), done), stream(connection(), done))
    job = {"status": "completed", "output": None, "outputs": [info]}
    edge.route("GET", f"/api/jobs/{JOB}", lambda _: json_reply(job))
    found = Client(edge.url, key="k").job(JOB).outputs
    assert found[0].size == 10_000
    saved = found[0].save(tmp_path)
    assert saved.parent == tmp_path
    assert saved.name == ".._sound.wav"
    assert saved.read_bytes() == data
    assert found[0].read() == data
    assert sorted(each.name for each in tmp_path.iterdir()) == [".._sound.wav"]


def test_cancel(edge: FakeEdge) -> None:
    edge.route("POST", f"/api/jobs/{JOB}/cancel", lambda _: json_reply({"status": "canceled"}))
    assert Client(edge.url).job(JOB).cancel() == {"status": "canceled"}


def test_large_files_go_in_parts(edge: FakeEdge, tmp_path: Path, monkeypatch: Any) -> None:
    """H29, H30: and go on after a break where they were."""
    from dialout.client import sync, tus

    monkeypatch.setattr(sync, "LARGEST_FORM", 10)
    monkeypatch.setattr(tus, "PART", 400)
    data = bytes(range(250)) * 4
    path = tmp_path / "large.bin"
    path.write_bytes(data)
    stored = bytearray()
    breaks = iter([False, True])

    def create(request: Request) -> Reply:
        assert request.headers["Upload-Length"] == "1000"
        assert "filename bGFyZ2UuYmlu" in request.headers["Upload-Metadata"]
        return 201, {"Location": "/api/uploads/u1", "Tus-Resumable": "1.0.0"}, ""

    def patch(request: Request) -> Reply:
        if int(request.headers["Upload-Offset"]) != len(stored):
            return problem(409, "upload_offset", "another offset")
        if next(breaks, False):
            stored.extend(request.body[:100])
            raise Cut
        stored.extend(request.body)
        return 204, {"Upload-Offset": str(len(stored))}, ""

    edge.route("POST", "/api/uploads", create)
    edge.route("PATCH", "/api/uploads/u1", patch)
    edge.route("HEAD", "/api/uploads/u1", lambda _: (200, {"Upload-Offset": str(len(stored))}, ""))
    edge.route("POST", SUBMIT, accepted)
    Client(edge.url).space("x").submit(file=path)
    assert bytes(stored) == data
    body = json.loads(edge.requests[-1].body)
    assert body == {"input": {}, "files": [{"field": "file", "upload": "u1"}]}


def test_async_client(edge: FakeEdge) -> None:
    edge.route("POST", SUBMIT, accepted)
    frames = [connection(), output(1, "a"), progress(2, "completed", result=5)]
    streams(edge, stream(*frames), stream(*frames), stream(*frames))

    async def use() -> None:
        job = await AsyncClient(edge.url).space("x").submit(prompt="a")
        assert [delta async for delta in job.stream()] == ["a"]
        assert await job.result() == 5
        events = job.events()
        assert await events.__anext__() == Output("a", 1)
        await events.aclose()

    asyncio.run(use())


def test_a_follower_that_is_canceled_leaves_no_connection(edge: FakeEdge) -> None:
    def endless() -> Any:
        while True:
            yield ": still here\n\n"
            time.sleep(0.05)

    streams(edge, (200, {"Content-Type": "text/event-stream"}, endless()))

    async def use() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(AsyncClient(edge.url).job(JOB).result(), 0.3)

    asyncio.run(use())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ws://a.example", "write http://a.example"),
        ("localhost:8787", "write http://localhost:8787"),
        ("http://user:secret@a.example", "must not contain a user"),
        ("http://a.example/path", "must have no path"),
        ("ftp://a.example", "must be an http: or https: URL"),
    ],
)
def test_addresses(url: str, words: str) -> None:
    with pytest.raises(dialout.InvalidOptions, match=words) as caught:
        Client(url)
    assert "secret" not in str(caught.value)


def test_the_address_of_a_page_names_the_space() -> None:
    assert Client("https://a.example/spaces/x?token=1").space().name == "x"
