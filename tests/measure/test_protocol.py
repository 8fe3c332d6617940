"""Requests and answers come out of the pipe as they went in; anything else is refused."""

import math
from typing import get_args

import msgspec
import pytest

from bench.measure import protocol
from bench.measure.protocol import (
    AnyRequest,
    Calibrate,
    Diverged,
    Done,
    Failed,
    FitMemory,
    MeasureEpochs,
    MeasureMachine,
    Message,
    Open,
    Time,
    Update,
    Warm,
    WatchMemory,
)

REQUESTS = [
    Open(path="p", backend="numpy", params={"reg": 0.1, "init": "normal", "n_jobs": None}),
    Warm(seed=1),
    Calibrate(targets={"1.01": 0.8}, target=0.8, seed=0, max_epochs=9, max_seconds=1.5, patience=3),
    Time(
        epochs=3,
        seed=0,
        round_number=2,
        factor=1.01,
        target=None,
        objective=True,
        ratings="reversed",
    ),
    WatchMemory(epochs=3, seed=0),
    MeasureEpochs(rank=16, threads=2, seed=0, max_seconds=0.5),
    MeasureMachine(ranks=[16], threads=[1, 2], turns=25),
]


def test_every_request_is_tried_here() -> None:
    assert {type(request) for request in REQUESTS} == set(get_args(AnyRequest))


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.name)
def test_a_request_comes_out_as_it_went_in(request_: protocol.Request[object]) -> None:
    line = msgspec.json.encode(request_)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=AnyRequest) == request_
    assert msgspec.json.decode(line)["request"] == request_.name


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"request":"sing"}',
        b'{"request":"warm"}',
        b'{"request":"warm","seed":"1"}',
        b"[",
        b"",
    ],
)
def test_what_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(line, type=AnyRequest)


def test_messages_tell_their_kind() -> None:
    answer = Done(msgspec.Raw(msgspec.json.encode(FitMemory(1.0, None, None))))
    for message in (Update("epoch 1", 0.5), Failed("crashed", "why"), answer):
        assert type(msgspec.json.decode(msgspec.json.encode(message), type=Message)) is type(
            message
        )
    assert msgspec.json.decode(answer.answer, type=WatchMemory.answer) == FitMemory(1.0, None, None)
    diverged = msgspec.json.encode(Diverged())
    assert msgspec.json.decode(diverged, type=MeasureEpochs.answer) == Diverged()


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_missing_number_in_an_answer_is_refused(number: float) -> None:
    line = msgspec.json.encode(protocol.EpochSeconds(3, number, 1.0))
    with pytest.raises(
        msgspec.ValidationError, match=r"Expected `float`, got `null` - at `\$.seconds`"
    ):
        msgspec.json.decode(line, type=MeasureEpochs.answer)
