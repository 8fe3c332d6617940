"""What a fit says while it runs: a bar on a terminal if asked for, and lines of a log."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Nothing is printed unless the caller configures logging.
logger = logging.getLogger("factorbench")
logger.addHandler(logging.NullHandler())


@contextmanager
def epoch_bar(solver: str, epochs: int, *, shown: bool) -> Iterator[Callable[[Any], object]]:
    """Yield what is called with each `EpochRecord`: it logs it, and moves a bar.

    The bar is shown on a terminal alone, by tqdm where that is installed.
    """
    bar = None
    if shown and sys.stderr is not None and sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ModuleNotFoundError:
            logger.warning("tqdm is not installed, so there is no progress bar: pip install tqdm")
        else:
            bar = tqdm(total=epochs, desc=solver, unit="epoch", leave=False)
    done = 0

    def tell(record: Any) -> None:
        nonlocal done
        rmse = (
            ""
            if math.isnan(record.validation_mse)
            else (f"validation RMSE {math.sqrt(record.validation_mse):.4f}")
        )
        logger.debug("%s: epoch %d, %.3f s %s", solver, record.epoch, record.seconds, rmse)
        if bar is not None:
            bar.set_postfix_str(rmse, refresh=False)
            bar.update(record.epoch - done)
        done = record.epoch

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()
