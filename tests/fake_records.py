"""Plausible records that nobody measured, for tests of what reads records. Collects no tests."""

from __future__ import annotations

import copy
import zlib
from typing import Any, cast

from bench.records import SCHEMA, Environment, GPUCheck, Record, RooflineRecord, Score, Status

NOTHING_KNOWN: dict[str, Any] = dict.fromkeys(Environment.__annotations__)
REFERENCE, TARGET = 0.8432, 0.8516
_ALGORITHMS = {
    "numpy": "momentum gradient descent",
    "numpy-als": "alternating least squares",
    "numba-gd": "momentum gradient descent",
    "numba-sgd": "per-rating SGD, row-wise AdaGrad",
    "torch-cpu": "momentum gradient descent (or Adam)",
    "torch-cuda": "momentum gradient descent (or Adam)",
}

_LOOKS = {
    "numba": "red s",
    "numba-gd": "orange ^",
    "numba-sgd": "red s",
    "numpy": "grey o",
    "numpy-als": "pink D",
    "torch-cpu": "blue v",
    "torch-cuda": "green P",
    "torch-mps": "sky X",
}


def fake_record(
    backend: str = "numpy",
    status: Status = "matched",
    seconds: float | list[float] = 1.0,
    **overrides: Any,
) -> Record:
    """Return a full record of a backend that took ``seconds``: those of each round, or a median.

    ``overrides`` replace fields by name; those of backend, case and reference are merged, as in
    ``case={"rank": 64}``.
    """
    jitter = zlib.crc32(backend.encode()) % 97 / 97
    spread = [1.0, 0.985, 1.02, 1.004, 0.993 - 0.01 * jitter]
    times = (
        seconds if isinstance(seconds, list) else [seconds * factor / 0.993 for factor in spread]
    )
    ran = status in ("matched", "missed")
    level = 0.8475 + 0.003 * jitter if status == "matched" else 0.8621
    epochs = 4 + int(30 * jitter)
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "time to MSE",
        "run": "2025-06-01T10-00-00",
        "created": f"2025-06-01T10:00:{zlib.crc32(backend.encode()) % 60:02d}Z",
        "command": "pytest bench/ --benchmark-only",
        "order": "sequential",
        "key": {name: name for name in ("code", "data", "machine", "settings", "versions")},
        "status": status,
        "reason": "" if status == "matched" else f"{backend} {_REASONS[status]}",
        "gave_up_after": 180.0 if status == "timed out" else None,
        "backend": {
            "name": backend,
            "params": {},
            "algorithm": _ALGORITHMS.get(backend, "third party"),
            "device": "cuda" if backend.endswith("cuda") else "cpu",
            "dtype": "float32",
            "threads": 1 if backend == "numpy" else 2,
            "deterministic": not backend.endswith("cuda"),
            "minimises": not backend.endswith("sgd"),
        },
        "case": {
            "name": "ml-100k-rank=16-seed=0",
            "dataset": "ml-100k",
            "split": "random 80/10/10, by rating",
            "seed": 0,
            "rank": 16,
            "reg": 0.1,
            "reg_scaling": "per_rating",
            "bias": True,
            "reg_unit": "rms",
            "damping": 10.0,
            "bias_reg": 0.01,
            "user_bias_damping": 5.0,
            "item_bias_damping": 2.0,
            "n_users": 943,
            "n_items": 1682,
            "n_train": 80000,
            "n_validation": 9981,
            "n_test": 9975,
            "dropped": (
                "19 of 10,000 validation and 25 of 10,000 test ratings: "
                "item without training rating"
            ),
            "data_hash": "5d2e9c0b",
        },
        "reference": {
            "validation_mse": REFERENCE,
            "test_mse": 0.8517,
            "objective": 0.7419,
            "spread": 0.0009,
            "seeds": 3,
        },
        "baselines": {
            "global mean": fake_score(1.2663, 1.2701),
            "biases": fake_score(0.8893, 0.8964, user_damping=5.0, item_damping=2.0),
        },
        "ladder": [
            {"factor": 1.05, "mse": 0.8854, "dropped": ""},
            {"factor": 1.01, "mse": TARGET, "dropped": ""},
            {
                "factor": 1.001,
                "mse": 0.8440,
                "dropped": "tighter than the spread over seeds (0.0009)",
            },
        ],
        "target": {"factor": 1.01, "mse": TARGET, "dropped": ""},
        "seeds": [0],
        "calibrations": [_calibration(level, epochs, times, status)]
        if ran or status == "diverged"
        else [],
        "rounds": [
            {
                "round": index,
                "seed": 0,
                "factor": 1.01,
                "seconds": time,
                "prepare_seconds": time * 0.08,
                "first_epoch_seconds": time * 0.9 / epochs,
                "epoch_seconds": time * 0.85 / epochs,
                "cpu_seconds": time * 1.2,
                "others_seconds": time * 0.02,
                "stolen_seconds": 0.0,
                "energy_joules": None,
                "validation_mse": level + 1e-4 * (index % 3) * jitter,
                "test_mse": level + 0.0083 + 1e-4 * (index % 2),
                "objective": 0.7419 * (1 + 0.004 * jitter),
                "matched": status == "matched",
            }
            for index, time in enumerate(times if ran else [])
        ],
        "rungs": [],
        "cold": [_cold(caches, times) for caches in ("empty", "filled")] if ran else [],
        "memory": {
            "peak_mb": 120.0 + 400 * jitter,
            "fit_mb": 40.0 + 100 * jitter,
            "device_mb": None,
            "running_threads": 1.0,
        }
        if ran
        else None,
        "environment": NOTHING_KNOWN
        | {
            "cpu": "Intel Xeon Platinum 8480, 2 cores",
            "watched": "all",
            "os": "Linux 6.8, x86_64",
            "python": "3.11.9",
            "numpy": "2.3.1",
            "blas": {"name": "OpenBLAS 0.3.29", "core type": "SkylakeX"},
            "torch": "2.8.0" if backend.startswith("torch") else None,
        },
    }
    if backend in _LOOKS:
        record["backend"]["look"] = _LOOKS[backend]
    for name, value in overrides.items():
        if name in ("backend", "case", "reference"):
            value = {**record[name], **value}
        elif name == "environment":
            value = {**NOTHING_KNOWN, **value}
        record[name] = value
    return cast(Record, copy.deepcopy(record))


def fake_score(validation_mse: float, test_mse: float | None = None, **tuned: Any) -> Score:
    """Return the errors of a baseline for which only the given settings were tuned."""
    plain: dict[str, Any] = {"reg": None, "user_damping": None, "item_damping": None, "note": ""}
    return cast(Score, {"validation_mse": validation_mse, "test_mse": test_mse, **plain, **tuned})


def fake_roofline(
    backend: str = "numba-sgd",
    ns: float = 40.0,
    ranks: tuple[int, ...] = (16, 64, 128),
    threads: tuple[int, ...] = (1, 2),
    **overrides: Any,
) -> RooflineRecord:
    """Return the roofline of a backend that takes ``ns`` per rating at rank 16 on one thread.

    Higher ranks take more, more threads less. A backend whose name ends in "sgd" has a chain.
    ``overrides`` as in `fake_record`.
    """
    chained = backend.endswith("sgd")
    costs = []
    for rank in ranks:
        for count in threads:
            took = ns * (0.6 + 0.4 * rank / 16) / count
            limits = {"memory": 0.25 / count, "arithmetic": 0.1 * rank / count}
            if chained:
                limits["dependency chain"] = (10.0 + rank / 16) / count
            bound = max(limits, key=lambda name: limits[name])
            costs.append(
                {
                    "rank": rank,
                    "threads": count,
                    "epochs": 20,
                    "seconds": took * 80000e-9,
                    "cpu_seconds": took * count * 80000e-9,
                    "ns": took,
                    "cpu_ns": took * count,
                    "flops": 12.0 * rank,
                    "bytes": 8.0,
                    "memory_ns": limits["memory"],
                    "arithmetic_ns": limits["arithmetic"],
                    "chain_ns": limits.get("dependency chain"),
                    "bound": bound,
                    "limit_ns": limits[bound],
                    "share": limits[bound] / took,
                    "cpu_share": limits[bound] / took,
                }
            )
    plain = fake_record(backend)
    record: dict[str, Any] = {
        **{
            name: plain[name]
            for name in (
                "schema",
                "run",
                "created",
                "command",
                "key",
                "backend",
                "case",
                "environment",
            )
        },  # type: ignore[literal-required]
        "kind": "roofline",
        "status": "measured",
        "reason": "",
        "work_model": "per-rating SGD" if chained else "gradient descent",
        "assumptions": ["An operation is an operation."],
        "cache_mb": 32.0,
        "limits": [
            {
                "threads": count,
                "memory_gb_per_s": 32.0 * count,
                "gflop_per_s": 120.0 * count,
                "chain": [{"rank": rank, "ns": 10.0 + rank / 16} for rank in ranks],
            }
            for count in threads
        ],
        "costs": costs,
    }
    for name, value in overrides.items():
        record[name] = {**record[name], **value} if name in ("backend", "case") else value
    return cast(RooflineRecord, copy.deepcopy(record))


def fake_gpu_check(**overrides: Any) -> GPUCheck:
    """Return what a check of a GPU found: two backends at two sizes, one of which ends too high."""
    fits = []
    for backend, look, pace in (
        ("torch-cuda", "green P", 1e-8),
        ("torch-cuda-gd", "green o", 3e-8),
    ):
        for n in (1_000_000, 20_000_000):
            fit = {
                "backend": backend,
                "look": look,
                "n": n,
                "rank": 16,
                "target": 1.3131,
                "validation_mse": 1.3127,
                "epochs": 12,
                "prepare_seconds": 0.2 * pace * n,
                "seconds": pace * n,
                "reached": True,
            }
            fits.append(fit)
    fits[-1] |= {"reached": False, "validation_mse": 1.42}
    record = {
        "schema": SCHEMA,
        "kind": "GPU check",
        "run": "2026-11-01T10-00-00Z",
        "created": "2026-11-01T10:08:00.000+00:00",
        "command": "python -m bench.gpu_check",
        "status": "right",
        "reason": "",
        "device": "NVIDIA H200",
        "smoke": False,
        "cache_mb": 60.0,
        "limits": [
            {"threads": 4, "memory_gb_per_s": 4000.0, "gflop_per_s": 5e4, "chain": []},
        ],
        "comparisons": [{"what": "gd, float64", "value": 2e-12, "limit": 1e-8}],
        "fits": fits,
        "timings": [
            {"what": "gradient, rank 16", "n": 10**8, "seconds": 0.01, "bytes": 2 * 10**10},
            {"what": "gd, rank 16: prepare", "n": 10**6, "seconds": 0.004, "bytes": 0},
        ],
        "skipped": ["epochs as graphs: they need CUDA"],
        "wrong": [],
        "environment": {**NOTHING_KNOWN, "device": "cuda"},
    }
    return cast(GPUCheck, copy.deepcopy(record | overrides))


_REASONS: dict[Status, str] = {
    "missed": "ended at validation MSE 0.8621, over the target 0.8516",
    "diverged": (
        "gave a validation MSE that is not finite after epoch 7; a smaller learning rate may help"
    ),
    "crashed": "ended with signal 11 in prepare",
    "timed out": "ran for more than 600 s",
    "out of memory": "asked for 31 GB where 8 GB are free",
    "over budget": "used 2.0 cores in its timed rounds; the budget is 1",
    "inconsistent": "was fast only with ratings that it had fitted before",
    "in progress": "measured in part",
    "unavailable": "is not installed; run: pip install 'factorbench[torch]'",
}


def _cold(caches: str, times: list[float]) -> dict[str, Any]:
    """Return a start that takes 0.4 s to import and, with empty caches, 1.5 s to compile."""
    compiling, fit = 1.5 if caches == "empty" else 0.1, min(times)
    return {
        "seed": 0,
        "caches": caches,
        "import_seconds": 0.4,
        "compile_seconds": compiling,
        "prepare_seconds": fit * 0.08,
        "fit_seconds": fit,
        "total_seconds": 0.4 + compiling + fit,
    }


def _calibration(level: float, epochs: int, times: list[float], status: Status) -> dict[str, Any]:
    """Return a trace that falls to ``level`` in ``epochs``, or one that blows up."""
    step = sorted(times)[len(times) // 2] / epochs
    trace = []
    for epoch in range(1, epochs + 5):
        value = level + (12.0 if epoch == 1 else 0.35) * 0.8 ** (epoch * 25 / epochs)
        value = value if status != "diverged" else 1.1 * 3.0**epoch
        trace.append({"epoch": epoch, "seconds": step * epoch, "validation_mse": value})
    first = {
        target: next((point["epoch"] for point in trace if point["validation_mse"] <= target), None)
        for target in (0.8854, TARGET)
    }
    reached = [
        {"factor": factor, "epochs": first[target]}
        for factor, target in ((1.05, 0.8854), (1.01, TARGET))
    ]
    return {
        "seed": 0,
        "epochs": first[TARGET],
        "repeats": 1,
        "evaluation_seconds": 0.01,
        "trace": trace,
        "rungs": reached,
    }
