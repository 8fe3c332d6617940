"""The options that select what to measure, shared by the benchmark suite and the duel.

A `Selection` checks the options of a command line and turns them into a case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from backends import available_cores
from bench.cases.case import Case, build_case
from bench.datasets.sample import sample_users
from bench.datasets.splits import METHODS
from bench.datasets.twin import SCALE_RANGE
from bench.measure.backend_facts import Limits
from bench.text.progress import Notify

from .datasets import load_dataset, load_file
from .file_options import FileArguments, add_fields, option

RANK = 16
SCALE = 0.2  # of the twin: 1.27 million ratings
QUICK_SCALE = 0.02  # of the twin: about 127,000 ratings
QUICK_RATINGS = 100_000  # of other data, at most
QUICK_ROUNDS = 3


@dataclass(frozen=True)
class Selection(FileArguments):
    """Options for data, objective and budgets; None for an option that was not given.

    Each field is an option, of the same name, of every command that measures; see `add_options`.
    """

    dataset: str | None = option(
        "twin (generated, the default), or a name from python -m bench.datasets list"
    )
    split: str | None = option(
        "an official split of the data set (u1), or: " + METHODS, metavar="NAME"
    )
    ratings: Path | None = option(  # noqa: RUF009  # a call, but it returns a field
        "your own ratings: CSV, TSV, ';', '::', Parquet, Feather or npz", type=Path, metavar="FILE"
    )
    rank: int | None = option(
        "number of factors (default: 16; for the roofline 16, 64 and 128)", type=int
    )
    reg: float | None = option(
        "regularisation of the factors: a pure number, in units of the root mean square of the "
        "ratings minus their mean (default: the value that serves ALS best)",
        type=float,
    )
    damping: float | None = option(
        "each row's factors are regularised as if the row had this many more ratings (default: "
        "the value that serves ALS best)",
        type=float,
    )
    seed: int = option(
        "seed of the data and its split, and first seed of the fits (default: 0)",
        default=0,
        type=int,
    )
    seeds: int | None = option(
        "number of seeds that each backend is fitted with (default: 3; quick: 1)", type=int
    )
    scale: float | None = option(
        "size of the twin; 1 is 6.3 million ratings (default: 0.2)", type=float
    )
    rounds: int | None = option(
        "timed rounds per seed (default: 3, or 5 with one seed; fewer for slow fits; quick: 3)",
        type=int,
    )
    threads: int | None = option("thread budget of every library (default: all cores)", type=int)
    max_seconds: float | None = option(
        "seconds of training after which a backend is given up (default: 180; quick: 15)",
        type=float,
    )
    quick: bool = option(
        "finish in about a minute: the twin at scale 0.02, or at most 100,000 ratings of whole "
        "users; one seed, a rough search for --reg and --damping, and no roofline",
        default=False,
        action="store_true",
    )

    def check(self) -> None:
        """Raise ValueError for an option whose value makes no sense; the message names it."""
        self.check_file_options(given=self.ratings is not None)
        minimum = {"rank": 1, "rounds": 1, "threads": 1, "seed": 0, "seeds": 1}
        for name, least in minimum.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name} must be at least {least}, got {value}")
        cores = available_cores()
        if self.threads is not None and self.threads > cores:
            raise ValueError(
                f"--threads must be at most {cores}, the number of available cores; "
                f"got {self.threads}"
            )
        for name in ("reg", "damping"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"--{name} must be a finite number of at least 0, got {value}")
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise ValueError(
                f"--max-seconds must be a finite number above 0, got {self.max_seconds}"
            )
        if self.scale is not None and not SCALE_RANGE[0] <= self.scale <= SCALE_RANGE[1]:
            raise ValueError(f"--scale must lie between 1/1000 and 100, got {self.scale}")
        if self.ratings and self.dataset is not None:
            raise ValueError("--ratings and --dataset exclude each other: give one of them")
        if self.scale is not None and (self.ratings or self.dataset not in (None, "twin")):
            raise ValueError("--scale is the size of the twin and cannot be used with other data")

    def build_case(self, notify: Notify) -> Case:
        """Load the data and find its reference; ``notify`` is called with progress messages.

        Raises
        ------
        ValueError
            When the data set or file cannot be used.
        """
        name = self.dataset or "twin"
        notify(f"loading {self.ratings or name}")
        if self.ratings:
            dataset = load_file(
                self.ratings,
                options=self.file_options,
                duplicates=self.duplicates,
                seed=self.seed,
                split=self.split,
            )
        else:
            scale = self.scale or (QUICK_SCALE if self.quick else SCALE)
            dataset = load_dataset(name, scale=scale, seed=self.seed, split=self.split)
        if self.quick and (self.ratings or name != "twin"):
            dataset = sample_users(dataset, QUICK_RATINGS, self.seed)
        return build_case(
            dataset,
            rank=self.rank or RANK,
            reg=self.reg,
            damping=self.damping,
            seed=self.seed,
            quick=self.quick,
            notify=notify,
        )

    @property
    def fit_seeds(self) -> list[int]:
        """Seeds of the fits: as many as were asked for, else 3, or 1 with --quick."""
        n_seeds = self.seeds
        if n_seeds is None:
            n_seeds = 1 if self.quick else 3
        return list(range(self.seed, self.seed + n_seeds))

    @property
    def timed_rounds(self) -> int | None:
        """Timed rounds per seed: as many as were asked for, 3 with --quick, else None."""
        return self.rounds or (QUICK_ROUNDS if self.quick else None)

    @property
    def budget(self) -> int:
        """Thread budget of every library."""
        return self.threads or available_cores()

    @property
    def limits(self) -> Limits:
        """When to give up a backend."""
        limits = Limits(max_seconds=15, timeout=60) if self.quick else Limits()
        if self.max_seconds:
            # Fits that start again for every number of epochs take several times the last one.
            timeout = max(limits.timeout, 10 * self.max_seconds)
            limits = replace(limits, max_seconds=self.max_seconds, timeout=timeout)
        return limits


def add_options(add: Callable[..., object], other_help: Mapping[str, str] | None = None) -> None:
    """Add the options of a `Selection` to a command.

    Parameters
    ----------
    add
        ``add_argument`` of argparse's parser, or ``addoption`` of pytest's.
    other_help
        Help texts by option that replace the common ones.
    """
    add_fields(add, Selection, other_help)
