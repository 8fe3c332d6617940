"""What several test modules share: data, trajectories, a fresh interpreter."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backends import Factorizer, Objective, Parameters, Ratings

ROOT = Path(__file__).resolve().parents[1]


def random_ratings(n_users: int = 40, n_items: int = 30, n: int = 600, seed: int = 0) -> Ratings:
    """Low-rank ratings with noise on distinct random cells, integer raw ids."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.normal(size=(n_users, 3)), rng.normal(size=(n_items, 3))
    exact = 6.0 + rng.normal(size=(n_users, 1)) + rng.normal(size=n_items) + 0.5 * taste @ kind.T
    users, items = np.divmod(rng.permutation(n_users * n_items)[:n], n_items)
    ratings = np.clip(exact[users, items] + 0.3 * rng.normal(size=n), 1, 10)
    return Ratings.from_arrays(1000 + users, 5 * items, ratings)


def penalty_of(tables: Mapping[str, Any], objective: Objective, train: Ratings) -> Any:
    """N times the penalty of J at ``tables``: tensors by the names of `Parameters`."""
    import torch

    total = 0
    for side, penalties in zip(("user", "item"), objective.penalties(train), strict=True):
        factors, biases = (torch.tensor(penalty) for penalty in penalties)
        total = total + (factors[:, None] * tables[f"{side}_factors"] ** 2).sum()
        total = total + (biases * tables[f"{side}_bias"] ** 2).sum()
    return total


class Trajectory(NamedTuple):
    """Parameters after some iterations, and the safeguard's learning rate after each."""

    points: list[Parameters]
    learning_rates: list[float]

    @property
    def n_rewinds(self) -> int:
        """How often the safeguard took a step back: nothing else makes the learning rate fall."""
        return int((np.diff(self.learning_rates) < 0).sum())


def trajectory(
    solver: Factorizer, train: Ratings, at: Sequence[int], start: Parameters | None = None
) -> Trajectory:
    """Step a gradient-descent backend from its own or a given start; keep the points of ``at``."""
    if start is None:
        start = solver.initial_parameters(train, seed=0)
    points, learning_rates = [], []
    with solver.threads():
        state = solver.prepare(train, start.astype(solver.dtype), seed=0)
        for iteration in range(1, max(at) + 1):
            solver.step(state, 1)
            learning_rates.append(float(state.course.learning_rate))
            if iteration in at:
                points.append(solver.parameters(state))
    return Trajectory(points, learning_rates)


def relative_differences(first: Parameters, second: Parameters) -> dict[str, float]:
    """The Frobenius norm of the difference over that of the second, per array of parameters."""
    out = {}
    for name, reference in second.arrays().items():
        difference, norm = (
            np.linalg.norm(first.arrays()[name] - reference),
            np.linalg.norm(reference),
        )
        out[name] = float(difference / norm) if norm else float(difference)
    return out


def in_fresh_process(
    code: str, *arguments: str, cwd: Path = ROOT, timeout: float | None = None
) -> str:
    """Run Python code in a new interpreter that imports this working tree; its standard output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_torch(folder: Path) -> str:
    """Let interpreters that have a folder on PYTHONPATH do as if torch was not installed.

    Commands ask it for its devices, and importing it takes longer than what tests look at.
    """
    (folder / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None\n", "utf-8")
    return str(folder)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended; on Linux."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return False
    return "Z" not in stat.rpartition(")")[2]


def is_gone(pid: int) -> bool:
    """Whether a process ends within a minute, if it has not already."""
    deadline = time.monotonic() + 60
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)
