"""What to measure, as asked for on a command line: checked, and made into a case. pytest and the duel share it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from backends import available_cores
from bench.cases.case import Case, build_case
from bench.datasets.splits import METHODS
from bench.datasets.twin import SCALE_RANGE
from bench.measure.backend_facts import Limits
from bench.text.progress import Say

from .datasets import load_dataset, load_file

RANK = 16
SCALE = 0.2  # of the twin: 1.27 million ratings
QUICK_SCALE = 0.02  # of the twin: about 127,000 ratings


def _option(help: str, default: Any = None, **settings: Any) -> Any:
    """Return a field that is an option too; ``settings`` as for `argparse.ArgumentParser.add_argument`."""
    return field(default=default, metadata={"help": help, "default": default, **settings})


@dataclass(frozen=True)
class Selection:
    """The options that say which data, objective and budgets; None where an option was not given.

    Each field is an option of every command that measures, by its own name; see `add_options`.
    """

    dataset: str | None = _option("twin (made here, the default), or a name from python -m bench.datasets list")
    split: str | None = _option("an official split of the data set (u1), or: " + METHODS, metavar="NAME")
    ratings: Path | None = _option(  # noqa: RUF009  # it makes a field
        "your own ratings: CSV, TSV or Parquet", type=Path, metavar="FILE"
    )
    rank: int | None = _option("number of factors (default: 16; of the roofline: 16, 64 and 128)", type=int)
    reg: float | None = _option(
        "regularisation of the factors: a pure number, in units of the root mean square of the ratings about their "
        "mean (default: the one that serves ALS best)",
        type=float,
    )
    damping: float | None = _option(
        "number of ratings by which each row's factors are regularised more than by its own (default: the one that "
        "serves ALS best)",
        type=float,
    )
    seed: int = _option("seed of data and split, and the first of the fits (default: 0)", default=0, type=int)
    seeds: int | None = _option("how many seeds each backend is fitted with (default: 3; quick: 1)", type=int)
    scale: float | None = _option("size of the twin; 1 is 6.3 million ratings (default: 0.2)", type=float)
    rounds: int | None = _option("timed rounds per seed (default: 3, of one seed 5; fewer of slow fits)", type=int)
    threads: int | None = _option("thread budget of every library (default: all cores)", type=int)
    quick: bool = _option("a look in under a minute: the twin at 0.02", default=False, action="store_true")

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


def add_options(add: Callable[..., object], other_help: Mapping[str, str] | None = None) -> None:
    """Add the options of a `Selection` to a command.

    Parameters
    ----------
    add
        ``add_argument`` of argparse's parser, or ``addoption`` of pytest's.
    other_help
        What a command says of an option in place of what all say, by the option's name.
    """
    for option in fields(Selection):
        settings = dict(option.metadata)
        settings["help"] = (other_help or {}).get(option.name, settings["help"])
        add(f"--{option.name}", **settings)
