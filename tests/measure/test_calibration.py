"""Which of several calibrations counts, and what is reported if none reached the target."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.measure.backend_facts import Limits
from bench.measure.calibration import Uncalibrated, add_epochs, calibrate, training_seconds
from bench.measure.protocol import Calibrated
from bench.measure.session import Session
from bench.records import Calibration

TRACE: Any = [
    {"epoch": epoch, "seconds": epoch / 4, "validation_mse": 1 - epoch / 20}  # down to 0.6
    for epoch in range(1, 9)
]


def attempt(epochs: int | None, tighter: int | None) -> Calibration:
    targets: Any = [{"factor": 1.01, "epochs": epochs}, {"factor": 1.001, "epochs": tighter}]
    facts: Any = {"seed": 3, "epochs": epochs, "repeats": 1, "evaluation_seconds": None}
    return Calibration(**facts, trace=TRACE, rungs=targets)


def calibrated(
    attempts: Sequence[Calibration],
    deterministic: bool = False,
    status: Any = "callback",
    steppable: bool = True,
    before: int | None = None,
    asked: list[Any] | None = None,
) -> Calibration:
    answers = iter([Calibrated(calibration, status) for calibration in attempts])
    limits = Limits(max_seconds=7.0, patience=5)
    row = SimpleNamespace(deterministic=deterministic, steppable=steppable)
    contender = SimpleNamespace(row=row)
    setting = SimpleNamespace(contender=contender, limits=limits, target={"mse": 0.5})

    def answer(*words: Any, **options: Any) -> Calibrated:
        if asked is not None:
            asked.append((*words, *options.values()))
        return next(answers)

    worker = SimpleNamespace(setting=setting, calibrate=answer)
    found = calibrate(cast("Session", worker), before)
    assert next(answers, None) is None  # all were asked for
    return found


def test_the_slowest_of_three_counts_for_each_target() -> None:
    found = calibrated([attempt(4, 9), attempt(6, 7), attempt(5, 8)])
    assert (found["epochs"], found["repeats"]) == (6, 3)
    assert [target["epochs"] for target in found["rungs"]] == [6, 9]


def test_a_target_that_one_attempt_missed_is_missed() -> None:
    found = calibrated([attempt(4, None), attempt(6, 7), attempt(5, 8)])
    assert [target["epochs"] for target in found["rungs"]] == [6, None]


def test_of_a_deterministic_backend_one_is_enough() -> None:
    found = calibrated([attempt(4, 9)], deterministic=True)
    assert (found["epochs"], found["repeats"]) == (4, 1)
    assert training_seconds(found) == 1.0


def test_epochs_are_added_by_tenths_and_the_trace_is_as_it_was() -> None:
    target: Any = {"factor": 1.01}
    once = add_epochs(attempt(4, 4), target, 2, 100)
    assert (once["epochs"], once["added"], training_seconds(once)) == (5, 1, 1.0)
    assert [level["epochs"] for level in once["rungs"]] == [5, 5]  # a tighter one takes no fewer
    found = add_epochs(add_epochs({**once, "epochs": 50}, target, 1, 100), target, 3, 57)
    assert (found["epochs"], found["added"], found["missed"]) == (57, 8, 6)


def test_only_a_solver_that_starts_again_begins_where_the_last_attempt_ended() -> None:
    asked: list[Any] = []
    calibrated([attempt(4, 9), attempt(6, 7), attempt(5, 8)], steppable=False, asked=asked)
    assert asked == [(1,), (4,), (6,)]
    asked.clear()
    calibrated([attempt(4, 9)], True, steppable=False, before=5, asked=asked)
    assert asked == [(5,)]  # of another seed
    asked.clear()
    calibrated([attempt(4, 9)], True, before=5, asked=asked)
    assert asked == [()]


@pytest.mark.parametrize(
    ("status", "verdict", "reason"),
    [
        ("time", "timed out", "not at the target after 7 s of training"),
        ("epochs", "timed out", "not at the target after 2000 epochs, the most allowed"),
        ("callback", "missed", "no improvement for 5 epochs"),
    ],
)
def test_an_attempt_that_missed_is_a_miss_of_all(status: Any, verdict: str, reason: str) -> None:
    with pytest.raises(Uncalibrated) as raised:
        calibrated([attempt(4, 9), attempt(None, None), attempt(5, 8)], status=status)
    seen = "best validation MSE 0.6000 at epoch 8 of 8, the target is 0.5000"
    assert (raised.value.status, str(raised.value)) == (verdict, f"{reason} ({seen})")
    assert raised.value.seconds == (2.0 if verdict == "timed out" else None)
    assert raised.value.calibration["epochs"] is None


@pytest.mark.parametrize(
    ("status", "verdict", "reason"),
    [
        ("time", "timed out", "not at the target in a fit of 2 s, the longest allowed"),
        ("callback", "missed", "longer fits are no better"),
    ],
)
def test_fits_that_start_again_end_in_other_words(status: Any, verdict: str, reason: str) -> None:
    with pytest.raises(Uncalibrated) as raised:
        calibrated([attempt(None, None)], True, status=status, steppable=False)
    assert (raised.value.status, str(raised.value).partition(" (")[0]) == (verdict, reason)


def test_a_fit_that_has_not_improved_for_long_is_no_time_out() -> None:
    """It would not reach the target later, wherever it was stopped."""
    scores = [0.9, 0.7, *[0.8] * 19]
    trace: Any = [
        {"epoch": epoch, "seconds": float(epoch), "validation_mse": score}
        for epoch, score in enumerate(scores, 1)
    ]
    short, long = ({**attempt(None, None), "trace": trace[:n]} for n in (20, 22))
    with pytest.raises(Uncalibrated) as raised:
        calibrated([cast("Calibration", short)], True, status="time")
    assert raised.value.status == "timed out"
    long["trace"] = [*trace, {"epoch": 22, "seconds": 22.0, "validation_mse": 0.8}]
    with pytest.raises(Uncalibrated, match="no improvement for 20 epochs") as raised:
        calibrated([cast("Calibration", long)], True, status="time")
    assert raised.value.status == "missed"
    assert "0.7000 at epoch 2 of 22" in str(raised.value)


def test_an_attempt_that_diverged_ends_it() -> None:
    with pytest.raises(Uncalibrated, match="its loss exploded after 8 epochs") as raised:
        calibrated([attempt(None, None)], status="diverged")
    assert raised.value.status == "diverged"
