"""Fits on the device to the matching target: copying, ordering and all epochs, in seconds."""

from __future__ import annotations

import math
import time
from importlib.util import find_spec

import numpy as np

from backends import Factorizer, Ratings, get_backend, list_backends, mean_squared_error
from bench.cases.targets import MATCHING, meets
from bench.records import CheckFit

from .check import Check
from .data import SIZES, SMALL, held_out, skewed_ratings
from .solvers import prepare

_RANK = 16
_MOST_VALIDATION = 200_000  # ratings; more would take longer to predict than the epochs
_REFERENCE_EPOCHS, _CONVERGED = 40, 1e-4  # of ALS, and a relative change of its validation MSE
_MOST_EPOCHS, _MOST_SECONDS = 200, 20.0  # of a fit, without preparing


def to_target(check: Check) -> None:
    """Time a fit of each backend to the target, at several sizes."""
    looks = list_backends()["look"]
    for size in [SMALL] if check.smoke else SIZES:
        ratings = skewed_ratings(*size)
        train, validation = held_out(ratings, min(len(ratings) // 10, _MOST_VALIDATION))
        target = math.inf
        with check.fenced(f"reference, n={len(train):,}"):
            target = MATCHING * reference(check, train, validation)
            check.log(f"target, n={len(train):,}: validation MSE {target:.4f}")
        if not math.isfinite(target):
            continue
        for name in contenders(check):
            if check.is_late():
                check.skip(f"{name} to the target, n={len(train):,}", check.too_late)
                continue
            with check.fenced(f"{name} to the target, n={len(train):,}"):
                check.fits.append(fit_to(check, name, train, validation, target, looks[name]))


def contenders(check: Check) -> list[str]:
    """Return the backends that run on the device; of --smoke, those without kernels in Triton."""
    device = check.device
    if device == "cpu":
        return ["torch-cpu", "torch-cpu-gd", "torch-als"]
    names = [f"torch-{device}", f"torch-{device}-gd", f"torch-als-{device}"]
    sgd = f"torch-{device}-sgd"
    if find_spec("triton") is None:
        check.skip(f"{sgd} to the target", "the package triton is not installed")
        return names
    return [*names, sgd]


def reference(check: Check, train: Ratings, validation: Ratings) -> float:
    """Return the lowest validation MSE of alternating least squares on the device."""
    solver = backend(check, "torch-als" if check.device == "cpu" else f"torch-als-{check.device}")
    best = math.inf
    with solver.threads():
        state = prepare(solver, train)
        for _ in range(_REFERENCE_EPOCHS):
            solver.step(state, 1)
            score, before = mean_squared_error(solver.parameters(state), validation), best
            best = min(best, score)
            if not math.isfinite(score):
                raise ValueError(f"the validation MSE of the reference is {score}")
            if not score < before * (1 - _CONVERGED) or check.is_late():
                break
    return best


def fit_to(
    check: Check, name: str, train: Ratings, validation: Ratings, target: float, look: str
) -> CheckFit:
    """Time one fit to the target; evaluation is outside the clock."""
    few = train.take(np.arange(min(len(train), 2_000)))
    backend(check, name).fit(few, epochs=2)  # loads and compiles kernels
    solver = backend(check, name)
    start = solver.initial_parameters(train, seed=0)
    score, epochs = math.inf, 0
    with solver.threads():
        check.wait()
        began = time.perf_counter()
        state = solver.prepare(train, start, seed=0)
        check.wait()
        prepared = time.perf_counter() - began
        trained = 0.0
        while not meets(score, target) and epochs < _MOST_EPOCHS and trained < _MOST_SECONDS:
            began = time.perf_counter()
            solver.step(state, 1)
            solver.synchronize(state)
            trained += time.perf_counter() - began
            epochs += 1
            score = mean_squared_error(solver.parameters(state), validation)
            if not math.isfinite(score):
                check.wrong.append(f"{name}, n={len(train):,}: the validation MSE is {score}")
            if not math.isfinite(score) or check.is_late():
                break
    fit = CheckFit(
        backend=name,
        look=look,
        n=len(train),
        rank=_RANK,
        target=target,
        validation_mse=score if math.isfinite(score) else None,
        epochs=epochs,
        prepare_seconds=prepared,
        seconds=prepared + trained,
        reached=meets(score, target),
    )
    end = "reaches the target" if fit["reached"] else f"ends above the target, at {score:.4f}"
    check.log(
        f"{name}, n={len(train):,}: {end} after {epochs} epochs, {fit['seconds']:.3f} s, of them "
        f"{prepared:.3f} s preparing"
    )
    return fit


def backend(check: Check, name: str) -> Factorizer:
    """Return a solver with its defaults."""
    return get_backend(name, rank=_RANK, n_jobs=check.n_jobs)
