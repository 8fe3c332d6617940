"""``python -m bench.gpu_check [--smoke]``: proves and times the torch backend on a GPU.

It holds both solvers against the CPU, counts how often an epoch makes the host wait, times
preparing, epochs and the products inside on up to 99 million synthetic ratings (the size of the
Netflix Prize), and does the same with prototypes of kernels in Triton. Figures are printed as they
come, and once more as a table at the end.

Each part is fenced: what fails is printed with its traceback, and the next part runs. The exit
status is 1 if anything failed or any result is off, and 2 where there is no GPU. ``--smoke`` tests
the check itself: tiny sizes on the CPU (so that the CPU is held against itself), and Triton's
kernels by its interpreter. What a machine lacks is left out, and the end says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import math
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from backends import BackendUnavailable, Factorizer, Parameters, Ratings, get_backend

from .text.wording import plural

if TYPE_CHECKING:  # torch takes seconds to import, and may be missing
    from torch import Tensor

    from backends import State

Optimizer = Literal["gd", "adam"]

OPTIMIZERS: tuple[Optimizer, ...] = ("gd", "adam")
# Largest difference from the CPU after 12 epochs, relative to the largest parameter of its kind:
# sums in another order, rounded anew in each epoch. A mistake makes it about 1.
SAME = {"float32": 2e-3, "float64": 1e-8}
SAME_SUMS = 1e-3  # relative, of a kernel's float32 sums from float64 ones; rounding makes 1e-5
LEARNT = 0.999  # of the training MSE of the start, after some passes of SGD

# Ratings, users and items: those of the anime data, of MovieLens 20M and of the Netflix Prize.
SIZES = ((1_014_000, 13_771, 4_333), (20_000_000, 138_493, 26_744), (99_072_112, 480_189, 17_770))
SMALL = (2_000, 100, 60)
ALL_RANKS_UP_TO = 30_000_000  # ratings; beyond, one rank and gradient descent alone, for time
KERNEL_CHUNK = 1 << 22  # ratings whose float64 products are made at a time


class Timing(NamedTuple):
    """How long something took, and for how many ratings; bytes where they are known."""

    what: str
    n: int
    seconds: float
    n_bytes: int = 0

    def cells(self) -> list[str]:
        """Return the line of the table: what, ms, ns per rating, TB/s."""
        rate = f"{self.n_bytes / self.seconds / 1e12:.2f}" if self.n_bytes else ""
        return [self.what, f"{1e3 * self.seconds:,.3f}", f"{1e9 * self.seconds / self.n:.4f}", rate]


@dataclass
class Check:
    """One run: where it computes, what it timed, what was wrong, and what was left out and why."""

    smoke: bool
    timings: list[Timing] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)

    @property
    def device(self) -> str:
        """The device under test."""
        return "cpu" if self.smoke else "cuda"

    @contextmanager
    def fenced(self, what: str) -> Iterator[None]:
        """Print what fails in this block and note it; the run goes on."""
        try:
            yield
        except Exception as error:
            self.say(f"{what}: FAILED")
            traceback.print_exc(file=sys.stdout)
            self.wrong.append(f"{what}: {type(error).__name__}: {error}")
        if not self.smoke:
            import torch

            with suppress(RuntimeError):  # of the failure above: some leave the device unusable
                torch.cuda.empty_cache()

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        print(f"[{time.perf_counter() - self.start:6.1f} s] {text}", flush=True)

    def leave_out(self, what: str, why: str) -> None:
        """Note a part that cannot run here."""
        self.left_out.append(f"{what}: {why}")
        self.say(f"left out: {what}: {why}")

    def expect(self, what: str, value: float, limit: float) -> None:
        """Print a number, and note it as wrong unless it is at most ``limit``; NaN is wrong."""
        good = value <= limit
        text = f"{what}: {value:.3g} (limit {limit:.3g})"
        self.say(text if good else f"{text}  <-- OFF")
        if not good:
            self.wrong.append(text)

    def wait(self) -> None:
        """Wait until the device has done all that was asked of it."""
        if not self.smoke:
            import torch

            torch.cuda.synchronize()

    def add(self, timing: Timing) -> None:
        """Keep a timing for the table, and print it."""
        self.timings.append(timing)
        what, milliseconds, per_rating, rate = timing.cells()
        more = f", {rate} TB/s" if rate else ""
        self.say(f"{what}: {milliseconds} ms, {per_rating} ns/rating{more}")

    def time(
        self,
        what: str,
        n: int,
        work: Callable[[], object],
        *,
        repeats: int = 15,
        n_bytes: int = 0,
    ) -> None:
        """Time something by the device's own clock: the median of some calls, after two others."""
        work()
        if self.smoke:
            began = time.perf_counter()
            work()
            self.add(Timing(what, n, time.perf_counter() - began, n_bytes))
            return
        import torch

        work()
        self.wait()
        seconds = []
        for _ in range(repeats):
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            work()
            after.record()
            after.synchronize()
            seconds.append(before.elapsed_time(after) / 1e3)
        self.add(Timing(what, n, float(np.median(seconds)), n_bytes))

    def solver(
        self,
        optimizer: Optimizer = "gd",
        *,
        device: str | None = None,
        **params: Any,
    ) -> Factorizer:
        """Return a torch solver on the device under test, or another one."""
        name, threads = f"torch-{device or self.device}", 1 if self.smoke else 4
        return get_backend(name, optimizer=optimizer, n_jobs=threads, **params)


def skewed_ratings(n: int, n_users: int, n_items: int) -> Ratings:
    """Return random ratings of distinct pairs in random order, at most ``n``.

    Some rows have far more than others: more than ``n`` are drawn, and pairs drawn twice are one.
    """
    rng = np.random.default_rng(0)
    draws = n * 5 // 4
    items = (rng.random(draws) ** 2 * n_items).astype(np.int64)
    users = (rng.random(draws) ** 1.5 * n_users).astype(np.int64)
    pairs = np.unique(items + n_items * users)
    pairs = pairs[rng.permutation(len(pairs))[:n]]
    ratings = rng.integers(1, 11, len(pairs)).astype(np.float32)
    rows = (pairs // n_items).astype(np.int32), (pairs % n_items).astype(np.int32)
    return Ratings(*rows, ratings, n_users, n_items)


def prepare(solver: Factorizer, train: Ratings) -> Any:
    """Return a solver's state at its own random start."""
    state: State = solver.prepare(train, solver.initial_parameters(train, seed=0), seed=0)
    return state


# ---- the parts -----------------------------------------------------------------------------------


def correctness(check: Check) -> None:
    """Hold both solvers against the CPU, by each kind of products and in each precision."""
    train = skewed_ratings(20_000, 900, 400)
    for optimizer, products, dtype in itertools.product(OPTIMIZERS, ("sparse", "gather"), SAME):
        what = f"{optimizer}, {products} products, {dtype}"
        with check.fenced(what):
            options = {"products": products, "dtype": dtype, "rank": 7, "reg": 0.1}
            ours, theirs = (
                after_twelve_epochs(check.solver(optimizer, device=device, **options), train)
                for device in (check.device, "cpu")
            )
            apart = largest_difference(ours, theirs)
            check.expect(f"{what}: difference from the CPU", apart, SAME[dtype])


def after_twelve_epochs(solver: Factorizer, train: Ratings) -> Parameters:
    """Return where 12 epochs end that begin with NaN in the buffers they must overwrite."""
    with solver.threads():
        state = prepare(solver, train)
        for buffer in state.gradient.of.values():
            buffer.fill_(math.nan)
        solver.step(state, 12)
        solver.synchronize(state)
        return solver.parameters(state)


def largest_difference(ours: Parameters, theirs: Parameters) -> float:
    """Return the largest difference over the largest parameter of its kind; NaN if any is NaN."""
    other = theirs.arrays()
    apart = {name: np.abs(x - other[name]).max() for name, x in ours.arrays().items()}
    return float(np.max([one / np.abs(other[name]).max() for name, one in apart.items()]))


def waits(check: Check) -> None:
    """Count how often an epoch of gradient descent makes the host wait, and say for what."""
    if check.smoke:
        check.leave_out("waits of the host", "only CUDA tells them")
        return
    import torch

    solver = check.solver()
    with solver.threads():
        state = prepare(solver, skewed_ratings(20_000, 900, 400))
        solver.step(state, 3)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                solver.step(state, 10)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    kinds = sorted({str(one.message)[:60] for one in caught})
    check.say(f"waits of the host per epoch: {len(caught) / 10:g} {kinds}")


def graph(check: Check) -> None:
    """Time the sums over all ratings as one CUDA graph, which an epoch in one launch would need."""
    if check.smoke:
        check.leave_out("sums as a CUDA graph", "they take CUDA")
        return
    import torch

    solver = check.solver()
    train = skewed_ratings(*SIZES[0])
    with solver.threads(), torch.no_grad():
        sums = sums_of(prepare(solver, train))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # a graph is captured of what has run before, elsewhere
            sums()
            sums()
        torch.cuda.current_stream().wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            sums()
        check.time(f"sums, one by one, n={len(train):,}", len(train), sums)
        check.time(f"sums, as a graph, n={len(train):,}", len(train), captured.replay)


def sums_of(state: Any) -> Callable[[], object]:
    """Return the sums over all ratings of an epoch of gradient descent, to be called."""
    x, of = state.model.tables(), state.gradient.of
    return lambda: state.products.sums(x["user"], x["item"], of["user"], of["item"], 1e-9)


def epochs(check: Check) -> None:
    """Time preparing, epochs, and the products of an epoch."""
    for size in (SMALL,) if check.smoke else SIZES:
        train = skewed_ratings(*size)
        whole = not check.smoke and len(train) <= ALL_RANKS_UP_TO
        solvers = OPTIMIZERS if check.smoke or whole else OPTIMIZERS[:1]
        for rank, optimizer in itertools.product((16, 64, 128) if whole else (16,), solvers):
            with check.fenced(f"{optimizer}, rank {rank}, n={len(train):,}"):
                time_epochs(check, train, optimizer, rank)


def time_epochs(check: Check, train: Ratings, optimizer: Optimizer, rank: int) -> None:
    """Time one solver at one size."""
    import torch

    n, title = len(train), f"{optimizer}, rank {rank}, n={len(train):,}"
    solver = check.solver(optimizer, rank=rank)
    start = solver.initial_parameters(train, seed=0)
    if not check.smoke:
        torch.cuda.reset_peak_memory_stats()
    with solver.threads():
        check.wait()
        began = time.perf_counter()
        state: Any = solver.prepare(train, start, seed=0)
        check.wait()
        check.add(Timing(f"{title}: prepare", n, time.perf_counter() - began))
        check.time(f"{title}: epoch", n, lambda: solver.step(state, 1))
        if not check.smoke:
            peak = torch.cuda.max_memory_allocated() / 2**30
            check.say(f"{title}: at most {peak:.2f} GiB on the device")
        if optimizer == "gd":
            with torch.no_grad():
                time_products(check, state, n)


def time_products(check: Check, state: Any, n: int) -> None:
    """Time what an epoch of gradient descent is made of."""
    x, of, products = state.model.tables(), state.gradient.of, state.products
    check.time("  all sums", n, sums_of(state))
    if not hasattr(products, "by_user"):  # the device has no sparse products
        return
    check.time(
        "  sampled product",
        n,
        lambda: products.by_user.subtract_from_products(x["user"], x["item"]),
    )
    by_user, by_item = products.by_user, products.by_item
    check.time("  product by user", n, lambda: by_user.multiply(x["item"], 1e-9, of["user"]))
    check.time("  product by item", n, lambda: by_item.multiply(x["user"], 1e-9, of["item"]))
    check.time(
        "  errors in items' order",
        n,
        lambda: products.by_item.take(products.by_user.values, products.order),
    )


# ---- prototypes in Triton ------------------------------------------------------------------------


class Side(NamedTuple):
    """Ratings on the device, grouped by row: where each row's start, opposite rows and targets."""

    offsets: Tensor
    others: Tensor
    targets: Tensor


class OnDevice(NamedTuple):
    """Ratings on the device in random order, shape (n,), and grouped by user and by item."""

    users: Tensor
    items: Tensor
    targets: Tensor
    by_user: Side
    by_item: Side

    def parts(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield users, items and targets of some ratings at a time."""
        columns = (self.users, self.items, self.targets)
        return zip(*(column.split(KERNEL_CHUNK) for column in columns), strict=True)


def kernels(check: Check) -> None:
    """Prove and time the prototypes: the gradient by row, and per-rating SGD."""
    if importlib.util.find_spec("triton") is None:
        missing = "the package triton is not installed; run: pip install triton"
        check.leave_out("Triton's kernels", missing)
        return
    import torch

    train = skewed_ratings(*((300, 30, 20) if check.smoke else SIZES[-1]))
    ratings = on_device(check, train)
    precisions = (torch.float32,) if check.smoke else (torch.float32, torch.float16)
    for rank, dtype in itertools.product((16,) if check.smoke else (16, 64, 128), precisions):
        title = f"rank {rank}, {str(dtype).removeprefix('torch.')}"
        draws = torch.Generator(device=check.device).manual_seed(0)
        tables = [
            (0.1 * torch.randn(n_rows, rank, device=check.device, generator=draws)).to(dtype)
            for n_rows in (train.n_users, train.n_items)
        ]
        with check.fenced(f"Triton's gradient, {title}"):
            triton_gradient(check, ratings, tables[0], tables[1], title)
        with check.fenced(f"Triton's SGD, {title}"):
            triton_sgd(check, ratings, tables[0], tables[1], title)


def on_device(check: Check, train: Ratings) -> OnDevice:
    """Copy ratings to the device and sort them there, which is timed: what `prepare` could cost."""
    import torch

    targets = train.ratings - train.ratings.mean(dtype=np.float64).astype(np.float32)
    users, items = (torch.tensor(rows, device=check.device) for rows in (train.users, train.items))
    values = torch.tensor(targets, device=check.device)

    def side(rows: Tensor, others: Tensor, n_rows: int) -> Side:
        order = torch.argsort(rows, stable=True)
        ends = torch.bincount(rows, minlength=n_rows).cumsum(0)
        return Side(torch.cat([ends.new_zeros(1), ends]).int(), others[order], values[order])

    def both() -> tuple[Side, Side]:
        return side(users, items, train.n_users), side(items, users, train.n_items)

    check.time(f"both sides sorted on the device, n={len(train):,}", len(train), both, repeats=3)
    return OnDevice(users, items, values, *both())


def triton_gradient(check: Check, ratings: OnDevice, p: Tensor, q: Tensor, title: str) -> None:
    """Time the gradient by row in blocks of several sizes; hold its sums against float64."""
    import torch

    from backends.kernels.triton.gradient import gd_side

    n, rank = len(ratings.targets), p.shape[1]
    scale = 2 / n
    draws = torch.Generator(device=check.device).manual_seed(1)
    biases = [torch.randn(len(x), device=check.device, generator=draws) for x in (p, q)]

    def unwritten(*shape: int) -> Tensor:
        """Return NaN, which shows where a kernel did not write."""
        return torch.full(shape, math.nan, device=check.device)

    sums = [unwritten(len(table), rank) for table in (p, q)]
    bias_sums, squares = ([unwritten(len(table)) for table in (p, q)] for _ in range(2))

    def sweep(block: int, warps: int) -> None:
        for one, other, side in ((0, 1, ratings.by_user), (1, 0, ratings.by_item)):
            tables = (p, q)[one], (p, q)[other], biases[one], biases[other]
            written = sums[one], bias_sums[one], squares[one]
            grid = (len(tables[0]),)
            gd_side[grid](*tables, *side, *written, scale, RANK=rank, BLOCK=block, num_warps=warps)

    exact, exact_bias, squared_error = exact_sums(ratings, (p, q), biases, scale)
    n_bytes = n * (16 + 2 * rank * p.element_size())
    for block, warps in ((16, 1),) if check.smoke else ((16, 1), (32, 1), (32, 4), (64, 4)):
        what = f"Triton's gradient, {title}, block {block}, warps {warps}"
        check.time(what, n, partial(sweep, block, warps), n_bytes=n_bytes)
        for one, name in enumerate(("users", "items")):
            apart = {
                "sums": relative_error(sums[one], exact[one]),
                "bias sums": relative_error(bias_sums[one], exact_bias[one]),
                "squared errors": abs(float(squares[one].double().sum()) / squared_error - 1),
            }
            for kind, error in apart.items():
                check.expect(f"{what}: relative error of the {name}' {kind}", error, SAME_SUMS)


def exact_sums(
    ratings: OnDevice,
    tables: tuple[Tensor, Tensor],
    biases: list[Tensor],
    scale: float,
) -> tuple[list[Tensor], list[Tensor], float]:
    """Return what `gd_side` writes for both sides, and the squared error, in float64."""
    import torch

    sums = [torch.zeros(table.shape, dtype=torch.float64, device=table.device) for table in tables]
    bias_sums = [table.new_zeros(len(table)) for table in sums]
    squared_error = 0.0
    for users, items, targets in ratings.parts():
        of_users, of_items = tables[0][users].double(), tables[1][items].double()
        errors = (of_users * of_items).sum(1) - targets
        errors += biases[0][users].double() + biases[1][items]
        squared_error += float(errors.square().sum())
        errors *= scale
        for side, rows, opposites in ((0, users, of_items), (1, items, of_users)):
            sums[side].index_add_(0, rows, errors[:, None] * opposites)
            bias_sums[side].index_add_(0, rows, errors)
    return sums, bias_sums, squared_error


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Return the norm of the difference over that of the exact sums."""
    return float((found.double() - exact).norm() / exact.norm())


def triton_sgd(check: Check, ratings: OnDevice, p: Tensor, q: Tensor, title: str) -> None:
    """Time passes of SGD in random order and by user, which must lower the training MSE."""
    import torch

    from backends.kernels.triton.sgd import sgd

    n, rank, by_user = len(ratings.targets), p.shape[1], ratings.by_user
    rows = torch.arange(len(p), device=check.device, dtype=torch.int32)
    sorted_users = torch.repeat_interleave(rows, by_user.offsets.diff().long())
    before, n_bytes = training_mse(ratings, p, q), n * (12 + 4 * rank * p.element_size())
    orders = {
        "random": (ratings.users, ratings.items, ratings.targets),
        "by user": (sorted_users, by_user.others, by_user.targets),
    }

    def one_pass(columns: tuple[Tensor, ...], trained: tuple[Tensor, ...], per: int) -> None:
        sgd[(-(-n // per),)](*trained, *columns, n, 0.02, 0.05, RANK=rank, PER=per, num_warps=1)

    for order, columns in orders.items():
        trained = p.clone(), q.clone()
        for per in (800,) if check.smoke else (128, 512):
            what = f"Triton's SGD, {title}, {order}, {per} per program"
            work = partial(one_pass, columns, trained, per)
            check.time(what, n, work, repeats=5, n_bytes=n_bytes)
        fallen = training_mse(ratings, *trained) / before
        check.expect(f"Triton's SGD, {title}, {order}: MSE over that of the start", fallen, LEARNT)


def training_mse(ratings: OnDevice, p: Tensor, q: Tensor) -> float:
    """Return the mean squared error of dot products, in float64."""
    errors = ((p[u].double() * q[i].double()).sum(1) - targets for u, i, targets in ratings.parts())
    return sum(float(some.square().sum()) for some in errors) / len(ratings.targets)


# ---- the command ---------------------------------------------------------------------------------

ALL_RIGHT = "All that ran is right."
PARTS: tuple[Callable[[Check], None], ...] = (correctness, waits, graph, epochs, kernels)


def run(check: Check) -> int:
    """Run all parts, print the table and what was wrong or left out; return the exit status."""
    for part in PARTS:
        with check.fenced(part.__name__):
            part(check)
    print("\n".join(["", *table(check.timings)]))
    for title, notes in (("Left out", check.left_out), ("Wrong", check.wrong)):
        if notes:
            print("\n".join(["", f"{title}:", *(f"  {note}" for note in notes)]))
    verdict = f"{plural(len(check.wrong), 'result')} failed or off" if check.wrong else ALL_RIGHT
    print(f"\n{verdict}")
    return 1 if check.wrong else 0


def table(timings: list[Timing]) -> list[str]:
    """Return the lines of a table of timings."""
    rows = [["what", "ms", "ns/rating", "TB/s"], *(timing.cells() for timing in timings)]
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = []
    for what, *numbers in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, others, strict=True)]
        lines.append("  ".join([what.ljust(first), *cells]).rstrip())
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Prove and time the torch backend on a GPU."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description=main.__doc__)
    smoke = "test the check itself: tiny sizes, on the CPU"
    parser.add_argument("--smoke", action="store_true", help=smoke)
    check = Check(parser.parse_args(arguments).smoke)
    if check.smoke:
        os.environ["TRITON_INTERPRET"] = "1"  # triton reads it when it is imported
    try:
        check.solver()
    except BackendUnavailable as error:
        print(
            f"{error}" if check.smoke else f"{error}; --smoke tests the check itself on the CPU",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(run(check))


if __name__ == "__main__":
    main()
