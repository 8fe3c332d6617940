"""Backends with a planted fault each: what the runner has to tell apart."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

from backends import Parameters, Ratings
from backends.numpy_als import NumpyALS


@dataclass(kw_only=True, eq=False)
class Planted(NumpyALS):
    """Honest, but for what a subclass does in an epoch on more than the few ratings of the warm-up."""

    def prepare(self, train: Ratings, initial: Parameters) -> Any:
        self.is_real = len(train) > 3000
        return super().prepare(train, initial)

    def step(self, state: Any, n_epochs: int) -> float:
        loss = super().step(state, n_epochs)
        return self.fault(state, loss) if self.is_real else loss

    def fault(self, state: Any, loss: float) -> float:
        return loss


class Talks(Planted):
    def fault(self, state: Any, loss: float) -> float:
        print("progress: 50 %")
        sys.stdout.flush()
        os.write(1, b'{"answer": {"status": "done"}}\n')
        return loss


class Raises(Planted):
    def fault(self, state: Any, loss: float) -> float:
        raise RuntimeError("the matrix is <singular>")


class Exits(Planted):
    def fault(self, state: Any, loss: float) -> float:
        sys.stderr.write("fatal: assertion failed\n")
        sys.stderr.flush()
        os._exit(3)


class IsKilled(Planted):
    def fault(self, state: Any, loss: float) -> float:
        os.kill(os.getpid(), signal.SIGKILL)
        return loss


class Hangs(Planted):
    def fault(self, state: Any, loss: float) -> float:
        time.sleep(3600)
        return loss


class EatsMemory(Planted):
    def fault(self, state: Any, loss: float) -> float:
        raise MemoryError("cannot allocate")


class Explodes(Planted):
    def fault(self, state: Any, loss: float) -> float:
        return float("inf")


class Stalls(Planted):
    """Never gets below the mean."""

    def fault(self, state: Any, loss: float) -> float:
        state.now = Parameters(state.now.mean, *(0 * a for a in state.now.arrays().values()))
        return loss


class Flatters(Stalls):
    """Says that its loss is tiny; its predictions say otherwise."""

    def fault(self, state: Any, loss: float) -> float:
        super().fault(state, loss)
        return 1e-9
