"""The engine's pure parts."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialout.engine.attempt import Attempt, End, OutputLog
from dialout.engine.pacing import LEAST_WINDOW, MOST_WINDOW, Pacer
from dialout.engine.refusal import Closed, Refused, Unreachable, judge
from dialout.json_text import cut, parse_json, write_json
from dialout.retrying import backoff

FRAME = {"job_id": "s.1", "attempt": 1, "files": []}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert parse_json(write_json(value)) == value


def test_numbers_of_any_size_are_kept() -> None:
    long = "9" * 6_000
    text = f"[{long},1e999,{2**64},1.0,-0.0]"
    assert parse_json(write_json(parse_json(text))) == parse_json(text)
    assert write_json(parse_json(text)).startswith(f"[{long},")
    assert write_json([Decimal("0.1")]) == "[0.1]"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"scores": [1.0, float("nan")]}, "nan (at scores[1]) is no number that JSON knows"),
        (float("inf"), "inf is no number"),
        (b"RIFF", "a bytes can't be written as JSON"),
        ({1, 2}, "a set can't be written as JSON"),
        ({(1, 2): 3}, "the keys of an object must be texts"),
        pytest.param(10**5_000, "more than 4,300 digits", id="long"),
        (Decimal("NaN"), "NaN is no number"),
    ],
)
def test_what_json_lacks_is_refused_in_words(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match="^") as caught:
        write_json(value)
    assert words in str(caught.value)


def test_deep_and_circular_values_are_refused() -> None:
    circular: dict[str, Any] = {}
    circular["itself"] = circular
    with pytest.raises(ValueError, match="nested too deep"):
        write_json(circular)


def test_half_a_surrogate_pair_is_sent() -> None:
    assert write_json("\ud800") == '"\\ud800"'


@given(st.text(), st.integers(0, 50))
def test_texts_are_cut_as_javascript_counts(text: str, most: int) -> None:
    shorter = cut(text, most)
    assert text.encode("utf-16-le", "surrogatepass").startswith(
        shorter.encode("utf-16-le", "surrogatepass")
    )
    assert len(shorter.encode("utf-16-le", "surrogatepass")) <= 2 * most


@given(
    st.lists(st.sampled_from(["output", "progress", "take", "break"]), max_size=60), st.randoms()
)
def test_the_edge_gets_every_output_once_and_in_order(
    steps: list[str], rand: random.Random
) -> None:
    """W20a, W21, W26: whatever breaks in between."""
    attempt = Attempt(dict(FRAME))
    stored: list[int] = []
    made = 0

    def receive(frame: str) -> None:
        read = json.loads(frame)
        if read["type"] == "output":
            stored.append(read["delta"])

    for step in steps:
        if step == "output":
            attempt.add_output(str(made))
            made += 1
        elif step == "progress":
            attempt.set_progress(50.0, None, None)
        elif step == "take":
            frame = attempt.take()
            if frame is not None and rand.random() < 0.7:
                receive(frame)
            elif frame is not None:
                attempt.resume(len(stored))  # it was lost with its connection
        else:
            attempt.resume(len(stored))
    attempt.end = End("result", attempt.result_text("null", None, []), False)
    attempt.resume(len(stored))
    frames = []
    while True:
        frame = attempt.take()
        if frame is None:
            break
        receive(frame)
        frames.append(json.loads(frame)["type"])
    assert stored == list(range(made))
    assert frames[-1] == "result"
    assert frames.count("result") == 1


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(20, 100), st.integers(0, 40))
def test_the_log_keeps_the_newest_and_counts_what_is_lost(
    sizes: list[int], most: int, stored: int
) -> None:
    """W26a."""
    log = OutputLog(most)
    for number, size in enumerate(sizes):
        log.append(str(number).ljust(size))
    stored = min(stored, len(sizes))
    lost = log.resume_at(stored)
    rest = [log.get(number) for number in range(stored, log.end)]
    assert len(rest) == len(sizes) - stored - lost
    assert None not in rest


@pytest.mark.parametrize(
    ("deltas", "joined"),
    [
        ([], "null"),
        (['"a"', '"b"'], '"ab"'),
        (["1.0", '"b"', "18446744073709551615"], '[1.0,"b",18446744073709551615]'),
    ],
)
def test_streamed_output_as_a_result(deltas: list[str], joined: str) -> None:
    attempt = Attempt(dict(FRAME))
    for delta in deltas:
        attempt.add_output(delta)
    attempt.add_file("a.png", preview=False)
    assert attempt.outputs.joined() == joined


@given(st.lists(st.tuples(st.integers(1, 200_000), st.floats(0, 20)), max_size=50))
def test_never_much_more_than_the_window_is_under_way(sends: list[tuple[int, float]]) -> None:
    """W34b."""
    pacer = Pacer()
    now = 0.0
    for size, took in sends:
        if not pacer.is_full:
            pacer.on_sending(size, now)
            if pacer.wants_ping:
                pacer.on_ping(now)
        else:
            now += took
            pacer.on_pong(now)
            if pacer.is_full:
                pacer.on_ping(now)
        assert LEAST_WINDOW <= pacer.window <= MOST_WINDOW


def test_waits_are_random_and_bounded() -> None:
    """W31."""
    assert backoff(0, rand=lambda: 0.5) == 0.5
    assert backoff(2, rand=lambda: 1.0) == 4
    assert backoff(1_000, rand=lambda: 1.0) == 10


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (Unreachable("nothing listens"), None),
        (Refused(401, True, "no"), "not_authenticated"),
        (Refused(401, False, "no"), None),
        (Refused(503, True, "no"), None),
        (Closed(1006, "", None), None),
        (Closed(1000, "", None), "closed"),
        (Closed(4429, "", None), None),
        (Closed(4409, "", ("replaced", "x")), "replaced"),
        (Closed(4409, "", ("space_occupied", "x")), "space_occupied"),
        (Closed(4400, "", ("schema_invalid", "x")), "schema_invalid"),
    ],
)
def test_which_ends_are_final(end: Any, code: Any) -> None:
    """W4, W4a, W30."""
    assert judge(end).code == code


def test_a_file_that_the_edge_lacks_does_not_count() -> None:
    """W36g."""
    attempt = Attempt(dict(FRAME))
    attempt.add_output("0")
    attempt.add_file("a.png", preview=True)
    attempt.add_output("1")
    taken = [attempt.take() for _ in range(3)]
    assert all(taken)
    attempt.on_no_such_file("a.png")
    attempt.resume(1)
    rest = [attempt.take(), attempt.take()]
    assert '"delta":1' in str(rest[0])
    assert rest[1] is None
