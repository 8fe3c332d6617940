"""Fits on several processes: ``torchrun --nproc-per-node=2 -m backends.torch_distributed FILE``.

Each process reads the file and keeps a share of the ratings on its device; a step adds up the sums
of all processes. So gradient descent takes the course of one process, but for the order of sums.
Adam does the same with other batches. In code of your own: `joined_processes`, and ``sharded=True``
for a torch backend.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from backends._engine.cores import available_cores

from .errors import BackendUnavailable, RatingsError, UnknownBackend
from .ratings import Ratings
from .registry import backend_class, backend_info, get_backend, unavailable_reason


@contextmanager
def joined_processes(name: str) -> Iterator[str]:
    """Join the processes that torchrun started, and leave them at the end.

    Parameters
    ----------
    name
        A torch backend; the processes of its device communicate by what torch has for it.

    Yields
    ------
    str
        The device of this process, such as that of its number on a machine with several.

    Raises
    ------
    BackendUnavailable
        If the backend cannot run here.
    RuntimeError
        If torchrun did not start this process.
    """
    if "LOCAL_RANK" not in os.environ:
        raise RuntimeError(
            "these processes are started by torchrun: torchrun --nproc-per-node=2 -m "
            "backends.torch_distributed FILE"
        )
    info = backend_info(name)
    reason = unavailable_reason(info)
    if reason:
        raise BackendUnavailable(f"backend {name!r} is not available here: {reason}")
    kind = info.device
    module = getattr(torch, kind)
    device = torch.device(kind, int(os.environ["LOCAL_RANK"]) % module.device_count())
    if hasattr(module, "set_device"):
        module.set_device(device)
    # torch knows what the processes of a kind of device communicate by.
    torch.distributed.init_process_group(torch.distributed.get_default_backend_for_device(device))
    try:
        yield kind if module.device_count() == 1 else str(device)
    finally:
        torch.distributed.destroy_process_group()


def read_ratings(path: Path, columns: list[str]) -> Ratings:
    """Return the ratings in a CSV or Parquet file, from columns of user, item and rating.

    Raises
    ------
    OSError, RatingsError
        If it cannot be read, or what it has are no ratings.
    """
    import pandas as pd

    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except ValueError as error:  # pandas' and Arrow's errors for what is no such file
        raise RatingsError(f"{path} cannot be read ({error})") from error
    user, item, rating = columns
    return Ratings.from_frame(table, user=user, item=item, rating=rating, duplicates="last")


def main(arguments: list[str] | None = None) -> int:
    """Fit on all processes, and save the model in the first; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="torchrun --nproc-per-node=N -m backends.torch_distributed",
        description="Fit a model on several processes, each with a share of the ratings.",
    )
    parser.add_argument("file", type=Path, help="ratings, CSV or Parquet")
    parser.add_argument("-o", "--output", type=Path, default=Path("model.npz"), help="of the model")
    parser.add_argument(
        "--columns",
        nargs=3,
        default=["user", "item", "rating"],
        metavar=("USER", "ITEM", "RATING"),
        help="names of the columns",
    )
    parser.add_argument("--backend", default="torch-cpu", help="a torch backend")
    parser.add_argument("--rank", type=int, default=16, help="number of factors")
    parser.add_argument("--epochs", type=int, help="epochs at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--jobs", type=int, help="threads of each process; its share of the cores by default"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument(
        "--validation", type=float, help="share of the ratings to hold out; the best epoch is kept"
    )
    options = parser.parse_args(arguments)
    number = os.environ.get("RANK", "0")
    is_first = number == "0"
    n_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    try:
        # Before a fit that would be lost.
        if not options.output.absolute().parent.is_dir():
            raise FileNotFoundError(f"there is no folder for -o {options.output}; make it first")
        with joined_processes(options.backend) as device:
            if "sharded" not in backend_class(options.backend)().get_params():
                raise ValueError(
                    f"backend {options.backend!r} cannot share ratings; take torch-cpu, "
                    "torch-cpu-gd, torch-cuda or torch-cuda-gd"
                )
            solver = get_backend(
                options.backend,
                rank=options.rank,
                dtype=options.dtype,
                n_jobs=options.jobs or max(1, available_cores() // n_here),
                device=device,
                sharded=True,
            )
            ratings = read_ratings(options.file, options.columns)
            solver.fit(
                ratings,
                options.validation,
                epochs=options.epochs,
                seed=options.seed,
                progress=is_first,
            )
            if not hasattr(solver, "model_"):
                return 1  # it has warned that the fit diverged
            if is_first:
                solver.model_.save(options.output)
                n = torch.distributed.get_world_size()
                print(
                    f"{options.output}: {solver.n_epochs_} epochs on {n} processes, "
                    f"{solver.history_[-1].seconds:.2f} s, {len(ratings):,} ratings"
                )
    except (
        BackendUnavailable,
        OSError,
        RatingsError,
        RuntimeError,
        UnknownBackend,
        ValueError,
    ) as error:
        print(f"error in process {number}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
