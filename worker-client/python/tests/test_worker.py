"""The worker against an edge that does what a test says; titles name the rules of docs/protocol.md."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from typing import Any, Callable

import pytest
from fake_edge import JOB, SPACE, TOKEN, Connection, Cut, FakeEdge, Request, json_reply, problem

Start = Callable[..., Any]
REF = {"job_id": JOB, "attempt": 1}


def serve(edge: FakeEdge, start: Start, target: str = "anything", *args: str) -> Connection:
    start(target, *args)
    connection = edge.connection()
    connection.welcome()
    return connection


def test_registers_with_a_schema_and_runs_a_job(edge: FakeEdge, start: Start) -> None:
    """W1, W2, W6, W12, W35."""
    worker = start(
        "predict", "--name", "GPU 1", "--worker-id", "gpu-1", "--capabilities", "gpu, large"
    )
    connection = edge.connection()
    assert connection.path == f"/api/spaces/{SPACE}/connect?batch=1"
    assert connection.headers["Authorization"] == f"Bearer {TOKEN}"
    register = connection.welcome()
    assert register["worker_id"] == "gpu-1"
    assert register["name"] == "GPU 1"
    assert register["capabilities"] == ["gpu", "large"]
    assert register["concurrency"] == 1
    assert register["resume"] == []
    assert register["schema"]["input"]["properties"]["times"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 5,
        "default": 1,
    }
    assert connection.run({"text": "ab", "times": 2})["output"] == "abab"
    assert connection.run({}, attempt=2)["output"] == "cat"
    assert TOKEN not in worker.printed


def test_refuses_input_that_does_not_fit(edge: FakeEdge, start: Start) -> None:
    connection = serve(edge, start, "predict")
    cases = [
        ({"times": 9}, "times must be 5 or less, not 9."),
        ({"times": "two"}, "times must be a whole number, not 'two'."),
        ({"text": 3}, "text must be a text, not 3."),
        (
            {"colour": "red"},
            "There is no input named 'colour'; this model takes text, times, scale, day.",
        ),
    ]
    for attempt, (given, message) in enumerate(cases, 1):
        end = connection.run(given, attempt=attempt)
        assert end["type"] == "fail"
        assert end["message"] == message
        assert end["retryable"] is False


def test_streams_pieces_progress_and_result_in_order(edge: FakeEdge, start: Start) -> None:
    """W16, W16a, W21."""
    connection = serve(edge, start)
    connection.dispatch({"model": "count", "to": 3})
    frames = connection.until("result")
    assert [frame["delta"] for frame in frames if frame["type"] == "output"] == [0, 1, 2]
    connection.ack(REF)
    connection.dispatch({"model": "progress"}, attempt=2)
    frames = connection.until("result")
    progress = [frame for frame in frames if frame["type"] == "progress"][-1]
    assert progress["progress"] == 100
    assert len(progress["message"]) == 2_000
    assert frames[-1]["metrics"] == {"seconds": 1.5}
    connection.ack({**REF, "attempt": 2})
    assert connection.run({"model": "text"}, attempt=3)["output"] == "one two"
    end = connection.run({"model": "wrong progress"}, attempt=4)
    assert end["message"] == "Progress must be a number from 0 to 100, not nan."


def test_generators_stream_what_they_yield(edge: FakeEdge, start: Start) -> None:
    connection = serve(edge, start, "words")
    connection.dispatch({"prompt": "a cat"})
    frames = connection.until("result")
    assert [frame["delta"] for frame in frames if frame["type"] == "output"] == ["A ", "CAT "]
    assert frames[-1]["output"] == "A CAT "


def test_async_models_run_together(edge: FakeEdge, start: Start) -> None:
    start("twice", "--concurrency", "3")
    connection = edge.connection()
    assert connection.welcome()["concurrency"] == 3
    slow = connection.dispatch({"text": "9"}, job_id=f"{JOB}1")
    connection.dispatch({"text": "b"}, job_id=f"{JOB}2")
    assert connection.next("result")["output"] == "bb"
    connection.send({"type": "cancel", **slow, "reason": "canceled"})
    assert connection.next("fail")["code"] == "canceled"


def test_async_generators(edge: FakeEdge, start: Start) -> None:
    connection = serve(edge, start, "async_words")
    assert connection.run({"prompt": "a cat"})["output"] == "acat"


def test_loads_a_class_once_and_before_it_registers(edge: FakeEdge, start: Start) -> None:
    worker = start("Predictor")
    connection = edge.connection()
    assert "model is loaded" in worker.printed
    connection.welcome()
    for attempt in (1, 2):
        begun = time.monotonic()
        assert connection.run({"n": attempt}, attempt=attempt)["output"]["n"] == 2 * attempt
        assert time.monotonic() - begun < 0.2
    assert worker.printed.count("model is loaded") == 1


def test_numbers_keep_their_digits(edge: FakeEdge, start: Start) -> None:
    """H18."""
    connection = serve(edge, start)
    long = "1" * 5_000
    value = f"[18446744073709551615,1.0,-0.0,1e400,{long},true]"
    head = json.dumps({"type": "job", **REF, "files": [], "deadline": "2100-01-01T00:00:00Z"})
    connection.send(head[:-1] + f',"input":{{"model":"echo","value":{value}}}}}')
    connection.next("result")
    sent = connection.messages[-1]
    assert '"output":[18446744073709551615,1.0,-0.0,1E+400,' + long + ",true]" in sent


def test_what_can_not_be_sent_fails_its_job_with_the_reason(edge: FakeEdge, start: Start) -> None:
    """C3, W18, W18a."""
    worker = start("anything")
    connection = edge.connection()
    connection.welcome()
    plain = "The model failed: the worker's log says why."
    for attempt, (model, message) in enumerate(
        [("raise", plain), ("exit", plain), ("nobody", "There is no model 'nobody'.")], 1
    ):
        end = connection.run({"model": model}, attempt=attempt)
        assert (end["code"], end["message"], end["retryable"]) == ("worker_error", message, False)
    end = connection.run({"model": "fail"}, attempt=9)
    assert (end["code"], end["message"], end["retryable"]) == ("busy", "The GPU is busy.", True)
    worker.prints("secret.bin")


def test_large_text_is_streamed_in_several_frames(edge: FakeEdge, start: Start) -> None:
    """C3, C17, W34."""
    connection = serve(edge, start)
    connection.dispatch({"model": "large text"})
    frames = connection.until("result")
    deltas = [frame["delta"] for frame in frames if frame["type"] == "output"]
    assert "".join(deltas) == "é" * 1_200_000
    assert len(deltas) > 1
    assert any(frame["type"] == "sending" for frame in frames)
    assert all(len(text.encode()) <= 1_048_576 for text in connection.messages)


def test_cancel_reaches_the_model(edge: FakeEdge, start: Start) -> None:
    """W23."""
    worker = start("anything")
    connection = edge.connection()
    connection.welcome()
    ref = connection.dispatch({"model": "wait"})
    worker.prints("waiting")
    connection.send({"type": "cancel", **ref, "reason": "canceled"})
    end = connection.next("fail")
    assert end["code"] == "canceled"
    connection.ack(ref, "fail")
    unknown = {"job_id": f"{SPACE}.OTHER", "attempt": 3}
    connection.send({"type": "cancel", **unknown, "reason": "canceled"})
    assert {**connection.next("fail"), "message": ""} == {
        "type": "fail",
        **unknown,
        "code": "canceled",
        "message": "",
    }


def test_a_generator_is_told_at_its_yield(edge: FakeEdge, start: Start) -> None:
    worker = start("slow_words")
    connection = edge.connection()
    connection.welcome()
    ref = connection.dispatch({"count": 100_000})
    connection.next("output")
    connection.send({"type": "cancel", **ref, "reason": "canceled"})
    assert connection.next("fail")["code"] == "canceled"
    worker.prints("cleaned up")


def test_a_canceled_model_that_runs_on_keeps_its_place(edge: FakeEdge, start: Start) -> None:
    worker = start("anything")
    connection = edge.connection()
    connection.welcome()
    ref = connection.dispatch({"model": "ignore", "seconds": 1})
    worker.prints("ignoring")
    connection.send({"type": "cancel", **ref, "reason": "timeout"})
    begun = time.monotonic()
    other = connection.dispatch({"model": "current"}, job_id=f"{JOB}2")
    ends = [connection.next("fail"), connection.next("result")]
    assert ends[0]["code"] == "canceled"
    assert ends[1] == {"type": "result", **other, "output": True}
    assert time.monotonic() - begun > 0.5


def test_goes_on_after_a_break(edge: FakeEdge, start: Start) -> None:
    """W20a, W24, W25, W26."""
    first = serve(edge, start)
    first.dispatch({"model": "count", "to": 3})
    first.until("result")
    first.drop()
    second = edge.connection()
    register = second.welcome(registered={"resumed": [{**REF, "outputs": 1}]})
    assert register["resume"] == [REF]
    frames = second.until("result")
    assert [frame["delta"] for frame in frames if frame["type"] == "output"] == [1, 2]
    second.ack(REF)
    second.drop()
    third = edge.connection()
    assert third.welcome()["resume"] == []


def test_forgets_what_was_dropped(edge: FakeEdge, start: Start) -> None:
    """W25a."""
    worker = start("anything")
    first = edge.connection()
    first.welcome()
    first.dispatch({"model": "wait"})
    worker.prints("waiting")
    first.drop()
    second = edge.connection()
    second.welcome(registered={"dropped": [REF]})
    assert second.run({"model": "current"}, attempt=2)["output"] is True


def test_the_same_attempt_may_come_again_while_the_former_run_goes_on(
    edge: FakeEdge, start: Start
) -> None:
    """W25a: an edge that was killed forgets a dispatch that it had not stored."""
    worker = start("anything")
    first = edge.connection()
    first.welcome()
    first.dispatch({"model": "ignore", "seconds": 1, "then": "late"})
    worker.prints("ignoring")
    first.drop()
    second = edge.connection()
    second.welcome(registered={"dropped": [REF]})
    second.dispatch({"model": "count", "to": 3, "pause": 0.1})
    frames = second.until("result")
    assert [frame["delta"] for frame in frames if frame["type"] == "output"] == [0, 1, 2]
    assert frames[-1]["output"] == 3


def test_stale_ends_an_attempt(edge: FakeEdge, start: Start) -> None:
    """W22."""
    connection = serve(edge, start)
    connection.dispatch({"model": "wait"})
    connection.send({"type": "stale", **REF})
    assert connection.run({"model": "current"}, attempt=2)["output"] is True


def test_too_many_jobs_are_sent_back(edge: FakeEdge, start: Start) -> None:
    connection = serve(edge, start)
    connection.dispatch({"model": "wait"})
    connection.dispatch({"model": "wait"}, job_id=f"{JOB}2")
    assert connection.next("reject")["reason"] == "all slots are taken"


def test_pings_while_the_model_holds_the_lock(edge: FakeEdge, start: Start) -> None:
    """W9: also in a call into C that never gives up Python's lock."""
    start("anything")
    connection = edge.connection()
    connection.welcome({"heartbeat_s": 0.1, "lease_s": 30})
    connection.dispatch({"model": "lock", "seconds": 1.5})
    assert connection.next("output")["delta"] == "before"
    begun = time.monotonic()
    frames = connection.until("result")
    assert frames[-2]["delta"] == "after"
    times = [at for at in connection.pinged_at if at > begun]
    assert len(times) >= 5
    # One call takes longer than this, and a thread would have had no turn in it.
    assert max(b - a for a, b in zip(times, times[1:])) < 0.5


def test_a_silent_edge_is_dropped(edge: FakeEdge, start: Start) -> None:
    """W10."""
    worker = start("anything")
    first = edge.connection()
    first.answers_pings = False
    first.welcome({"heartbeat_s": 0.1, "lease_s": 0.5})
    edge.connection().welcome()
    worker.prints("no message from the edge for")


def test_answers_checks_in_messages_of_their_own(edge: FakeEdge, start: Start) -> None:
    """C18a."""
    connection = serve(edge, start)
    text = '{"type":"read_check","token":"abc"}'
    connection.send(text)
    assert connection.next("read_check")["_text"] == text


@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [
        (401, "not_authenticated", True),
        (404, "space_not_found", True),
        (429, "rate_limited", False),
    ],
)
def test_the_edges_own_refusals(
    edge: FakeEdge, start: Start, status: int, code: str, ends: bool
) -> None:
    """W3, W4."""
    edge.refusals.append(problem(status, code, "The token is not of this space."))
    worker = start("anything")
    if ends:
        assert worker.wait() == 1
        assert "stopping: The token is not of this space." in worker.printed
    else:
        edge.connection().welcome()


def test_refusals_of_a_proxy_are_not_final(edge: FakeEdge, start: Start) -> None:
    """W4a."""
    for status in (401, 403, 404):
        edge.refusals.append((status, {"Content-Type": "text/html"}, "<h1>sign in</h1>"))
    start("anything")
    edge.connection().welcome()


@pytest.mark.parametrize(
    ("code", "ends"), [(4401, True), (1001, False), (1012, False), (4404, True)]
)
def test_close_codes(edge: FakeEdge, start: Start, code: int, ends: bool) -> None:
    """W30."""
    worker = start("anything")
    connection = edge.connection()
    connection.welcome()
    connection.send({"type": "error", "code": "token_revoked", "message": "It was revoked."})
    connection.close(code, "over")
    if ends:
        assert worker.wait() == 1
        assert "It was revoked." in worker.printed
    else:
        edge.connection().welcome()


def test_waits_for_a_place(edge: FakeEdge, start: Start) -> None:
    """W7, W7c."""
    worker = start("anything")
    message = {"type": "error", "code": "space_occupied", "message": "Another worker serves it."}
    first = edge.connection()
    first.send(
        {
            "type": "hello",
            "protocol": "dialout.worker.v1",
            "space": SPACE,
            "heartbeat_s": 10,
            "lease_s": 30,
            "max_frame_bytes": 1_048_576,
        }
    )
    first.next("register")
    first.send(message)
    first.close(4409)
    second = edge.connection()
    second.welcome()
    worker.prints("Waiting until there is a place")
    second.send({**message, "code": "replaced", "message": "Replaced."})
    second.close(4409)
    assert worker.wait() == 1


def test_a_schema_that_is_refused_ends_the_worker(edge: FakeEdge, start: Start) -> None:
    """W35."""
    worker = start("anything")
    connection = edge.connection()
    connection.send(
        {
            "type": "hello",
            "protocol": "dialout.worker.v1",
            "space": SPACE,
            "heartbeat_s": 10,
            "lease_s": 30,
            "max_frame_bytes": 1_048_576,
        }
    )
    connection.next("register")
    message = "/input/properties/n: the type is unknown."
    connection.send({"type": "error", "code": "schema_invalid", "message": message})
    connection.close(4400)
    assert worker.wait() == 1
    assert message in worker.printed


def test_drains_on_a_signal(edge: FakeEdge, start: Start) -> None:
    """W28, W28a."""
    worker = start("anything")
    connection = edge.connection()
    connection.welcome()
    ref = connection.dispatch({"model": "count", "to": 5, "pause": 0.1})
    connection.next("output")
    worker.signal(signal.SIGTERM)
    assert connection.next("drain")["reason"] == "SIGTERM"
    connection.next("result")
    connection.ack(ref)
    assert connection.closed.wait(10)
    assert connection.close_code == 1000
    assert worker.wait() == 0
    assert "jobs: 1 received, 1 completed" in worker.printed


def test_a_second_signal_gives_jobs_back(edge: FakeEdge, start: Start) -> None:
    """W28a: also if the model holds Python's lock."""
    worker = start("anything")
    connection = edge.connection()
    connection.welcome()
    connection.dispatch({"model": "lock", "seconds": 0.5})
    connection.next("output")
    worker.signal(signal.SIGINT)
    connection.next("drain")
    worker.signal(signal.SIGINT)
    assert connection.closed.wait(10)
    assert connection.close_code == 1000
    assert worker.wait() == 1


def test_a_model_that_ends_its_process_gives_its_job_back(edge: FakeEdge, start: Start) -> None:
    """W19."""
    start("anything")
    connection = edge.connection()
    connection.welcome()
    end = connection.run({"model": "die"})
    assert end["message"] == "The worker's program ended while it ran this job."
    assert end["retryable"] is True
    assert connection.closed.wait(10)
    assert connection.close_code == 1000


def file_of(data: bytes, name: str = "a.txt", field: str = "file", **more: Any) -> dict[str, Any]:
    return {
        "field": field,
        "name": name,
        "content_type": "text/plain",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "url": "/files/a?signature=1",
        **more,
    }


def test_fetches_files_and_goes_on_after_breaks(edge: FakeEdge, start: Start) -> None:
    """W13, W14b, W14f."""
    data = b"0123456789" * 100
    asked: list[Any] = []

    def reply(request: Request) -> Any:
        since = request.headers.get("Range")
        asked.append((since, request.headers.get("If-Range"), request.headers.get("Authorization")))
        if since is None:
            headers = {"Content-Length": str(len(data)), "ETag": '"one"'}
            return 200, headers, iter([data[:300]])
        begin = int(since[6:-1])
        headers = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}
        return 206, headers, data[begin:]

    edge.route("GET", "/files/a", reply)
    connection = serve(edge, start)
    end = connection.run({"model": "files"}, files=[file_of(data, "../../etc/passwd")])
    assert end["output"] == [["file", "../../etc/passwd", data.decode()]]
    assert asked == [(None, None, None), ("bytes=300-", '"one"', None)]


def test_a_file_that_is_refused_fails_its_job(edge: FakeEdge, start: Start) -> None:
    edge.route("GET", "/files/a", lambda _: problem(404, "file_not_found", "The job was erased."))
    connection = serve(edge, start)
    end = connection.run({"model": "files"}, files=[file_of(b"x")])
    assert end["retryable"] is True
    assert "status 404: The job was erased." in end["message"]
    edge.route("GET", "/files/a", lambda _: (200, {}, b"y"))
    end = connection.run({"model": "files"}, files=[file_of(b"x")], attempt=2)
    assert "its checksum is wrong" in end["message"]


def test_sends_files_and_names_them(edge: FakeEdge, start: Start) -> None:
    """W36."""
    got: dict[str, bytes] = {}
    cuts = iter([True])

    def put(name: str) -> Callable[[Request], Any]:
        def reply(request: Request) -> Any:
            if next(cuts, False):
                raise Cut
            assert request.headers["Content-Length"] == str(len(request.body))
            assert request.headers["Repr-Digest"].startswith("sha-256=:")
            got[name] = request.body
            digest = hashlib.sha256(request.body).hexdigest()
            told = {"name": name, "content_type": request.headers["Content-Type"]}
            return json_reply({**told, "size": len(request.body), "sha256": digest}, 201)

        return reply

    for name in ("small.png", "hello.txt", "hello-2.txt"):
        edge.route("PUT", f"/out/{name}", put(name))
    connection = serve(edge, start)
    outputs = {"url": "/out/{name}?signature=1", "max_bytes": 1_000}
    connection.dispatch({"model": "send"}, outputs=outputs)
    frames = connection.until("result")
    shown = [frame for frame in frames if frame["type"] == "output"]
    assert shown == [
        {"type": "output", **REF, "file": "small.png", "preview": True},
        {"type": "output", **REF, "file": "hello.txt"},
    ]
    assert frames[-1]["files"] == ["hello-2.txt"]
    assert frames[-1]["output"] == {"sent": ["hello.txt", 5], "also": "hello-2.txt"}
    assert got["hello.txt"] == b"hello"
    connection.ack(REF)
    end = connection.run({"model": "send"}, attempt=2)
    assert end["message"] == "This edge takes no files from workers."
    outputs["max_bytes"] = 3
    end = connection.run({"model": "send"}, attempt=3, outputs=outputs)
    assert end["message"] == "The file small.png has 8 bytes; the edge takes 3."


def test_a_file_goes_in_and_comes_out_as_a_path(
    edge: FakeEdge, start: Start, tmp_path: Any
) -> None:
    data = b"\x89PNG\r\n\x1a\nabc"
    edge.route("GET", "/files/a", lambda _: (200, {}, data))
    sent: list[bytes] = []

    def reply(request: Request) -> Any:
        sent.append(request.body)
        digest = hashlib.sha256(request.body).hexdigest()
        known = {"content_type": "image/png", "size": len(request.body), "sha256": digest}
        return json_reply({"name": "out.png", **known}, 201)

    edge.route("PUT", "/out/out.png", reply)
    start("picture", env={"TARGET": str(tmp_path / "out.png")})
    connection = edge.connection()
    schema = connection.welcome()["schema"]
    assert schema["input"]["properties"]["path"] == {"type": "string", "format": "image"}
    assert schema["input"]["required"] == ["path"]
    assert schema["output"] == {"type": "string", "format": "image"}
    end = connection.run(
        files=[file_of(data, "in.png", "path")],
        outputs={"url": "/out/{name}", "max_bytes": 1_000},
    )
    assert end["output"] == "out.png"
    assert end["files"] == ["out.png"]
    assert sent == [data[::-1]]
    end = connection.run({}, attempt=2)
    assert end["message"] == "path is missing."


def test_without_batches_each_frame_is_a_message(edge: FakeEdge, start: Start) -> None:
    """C6c."""
    start("anything")
    connection = edge.connection()
    connection.welcome({"batch": False})
    connection.dispatch({"model": "count", "to": 20})
    connection.until("result")
    assert not any('"batch"' in text for text in connection.messages)


def test_batches_from_the_edge(edge: FakeEdge, start: Start) -> None:
    """C6, C6b."""
    start("twice", "--concurrency", "2")
    connection = edge.connection()
    connection.welcome()
    job = {"type": "job", "attempt": 1, "files": [], "deadline": "2100-01-01T00:00:00Z"}
    jobs = [{**job, "job_id": f"{JOB}{n}", "input": {"text": f"x{n}"}} for n in (1, 2)]
    connection.send({"type": "batch", "frames": [*jobs, {"type": "unheard of"}]})
    assert {connection.next("result")["output"] for _ in jobs} == {"x1x1", "x2x2"}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["Broken"], "no such weights"),
        (["unusable"], "the type complex has no place in a form"),
        (["nobody"], "has no nobody; it has predict"),
        (["predict", "--concurrency", "0"], "from 1 to 1,000"),
        (["predict", "--space", "No Such"], "small letters"),
    ],
)
def test_mistakes_are_named(start: Start, args: list[str], words: str) -> None:
    worker = start(*args)
    assert worker.wait() in (1, 2)
    assert words in worker.printed
