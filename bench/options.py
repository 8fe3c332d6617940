"""What to measure, as asked for on a command line: checked, and made into a case. pytest and the duel share it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bench.cases.case import Case, build_case
from bench.datasets.twin import SCALE_RANGE
from bench.machine.environment import available_cores
from bench.measure.backend_facts import Limits
from bench.text.progress import Say

from .datasets import load_dataset, load_file

RANK = 16
REG_HELP = (
    "regularisation of the factors: a pure number, in units of the root mean square of the ratings "
    "about their mean (default: the one that serves ALS best)"
)
DAMPING_HELP = (
    "number of ratings by which each row's factors are regularised more than by its own (default: "
    "the one that serves ALS best)"
)
SCALE = 0.2  # of the twin: 1.27 million ratings
QUICK_SCALE = 0.02  # of the twin: about 127,000 ratings


@dataclass(frozen=True)
class Selection:
    """The options that say which data, objective and budgets; None where an option was not given."""

    dataset: str | None = None
    split: str | None = None
    ratings: Path | None = None
    rank: int | None = None
    reg: float | None = None
    damping: float | None = None
    seed: int = 0
    seeds: int | None = None
    scale: float | None = None
    rounds: int | None = None
    threads: int | None = None
    quick: bool = False

    def check(self) -> None:
        """Raise ValueError naming the option that makes no sense."""
        least = {"rank": 1, "rounds": 1, "threads": 1, "seed": 0, "seeds": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ValueError(f"--{name} must be at least {lowest}, got {value}")
        if self.threads is not None and self.threads > available_cores():
            raise ValueError(f"--threads must be at most {available_cores()}, the cores here; got {self.threads}")
        for name in ("reg", "damping"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"--{name} must be a finite number of at least 0, got {value}")
        if self.scale is not None and not SCALE_RANGE[0] <= self.scale <= SCALE_RANGE[1]:
            raise ValueError(f"--scale must lie between 1/1000 and 100, got {self.scale}")
        if self.ratings and self.dataset is not None:
            raise ValueError("--ratings and --dataset exclude each other: measure one of them")
        if self.scale is not None and (self.ratings or self.dataset not in (None, "twin")):
            raise ValueError("--scale is the size of the twin and goes with no other data")

    def build_case(self, say: Say) -> Case:
        """Load the data and find the reference.

        Raises
        ------
        ValueError
            Of the data or of the file.
        """
        name = self.dataset or "twin"
        say(f"loading {self.ratings or name}")
        if self.ratings:
            dataset = load_file(self.ratings, seed=self.seed, split=self.split)
        else:
            scale = self.scale or (QUICK_SCALE if self.quick else SCALE)
            dataset = load_dataset(name, scale=scale, seed=self.seed, split=self.split)
        rank, reg, damping = self.rank or RANK, self.reg, self.damping
        return build_case(dataset, rank=rank, reg=reg, damping=damping, seed=self.seed, say=say)

    @property
    def fit_seeds(self) -> list[int]:
        """Seeds of the fits: as many as asked for, or 3, or 1 for a quick look."""
        return list(range(self.seed, self.seed + (self.seeds or (1 if self.quick else 3))))

    @property
    def budget(self) -> int:
        """Threads of every library."""
        return self.threads or available_cores()

    @property
    def limits(self) -> Limits:
        """When a backend is given up."""
        return Limits(max_seconds=15, timeout=60) if self.quick else Limits()
