"""Backends with a planted fault each: what the runner has to tell apart."""

import contextlib
import hashlib
import os
import pickle
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import threadpoolctl

from backends import BackendUnavailable, Parameters, Ratings
from backends.numpy_als import NumpyALS


@dataclass(kw_only=True, eq=False)
class Planted(NumpyALS):
    """Honest, but for what a subclass does in an epoch on more ratings than the warm-up has."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        self.is_real = len(train) > 3000
        return super().prepare(train, initial, seed=seed)

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


def shrink(state: Any, factor: float) -> None:
    """Multiply all factors and biases by a number."""
    users, items = (type(table)(*(factor * array for array in table)) for table in state.done)
    state.done = users, items


class Stalls(Planted):
    """Never gets below the mean."""

    def fault(self, state: Any, loss: float) -> float:
        shrink(state, 0.0)
        return loss


class Flatters(Stalls):
    """Says that its loss is tiny; its predictions say otherwise."""

    def fault(self, state: Any, loss: float) -> float:
        super().fault(state, loss)
        return 1e-9


class Clock:
    """A worker's clock. It advances by what is added to it, and by a microsecond per reading."""

    def __init__(self) -> None:
        self.now = time.perf_counter()

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


class Steady(Planted):
    """Takes a known time per epoch, with a known noise, by a clock that stands still meanwhile.

    Whatever the machine does is no part of it: what is measured is as exact as what is planted.
    """

    seconds, noise = 0.2, 0.002
    clock: ClassVar[Clock | None] = None

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        if Steady.clock is None:  # in a worker, which does nothing else
            Steady.clock = time.perf_counter = Clock()  # type: ignore[assignment]
            sys.modules["bench.measure.worker"].perf_counter = Steady.clock  # type: ignore[attr-defined]
        self.draw = random.Random()  # other noise in every fit
        return super().prepare(train, initial, seed=seed)

    def step(self, state: Any, n_epochs: int) -> float:
        loss = super().step(state, n_epochs)
        if self.is_real:
            self.pass_time(self.seconds * n_epochs * self.draw.lognormvariate(0, self.noise))
        return loss

    def pass_time(self, seconds: float) -> None:
        """Let some time pass."""
        assert Steady.clock is not None
        Steady.clock.now += seconds


class Slower(Steady):
    """Takes 5 % longer."""

    seconds = 1.05 * Steady.seconds


class Worse(Steady):
    """Fast, and ends well over the target."""

    seconds = 0.5 * Steady.seconds

    def fault(self, state: Any, loss: float) -> float:
        shrink(state, 0.5)
        return loss


class Early(Planted):
    """Counts epochs that it trains only if the last one was looked at, as a calibration does."""

    looked = True

    def step(self, state: Any, n_epochs: int) -> float:
        if self.is_real and not self.looked:
            state.epochs += n_epochs
            return self.loss
        self.loss = super().step(state, n_epochs)
        self.looked = False
        return self.loss

    def parameters(self, state: Any) -> Parameters:
        self.looked = True
        return super().parameters(state)


class LeaksThreads(Planted):
    """Leaves a thread behind after each fit."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        return super().prepare(train, initial, seed=seed)


class SpinsThreads(Planted):
    """Computes on three threads, whatever it was allowed."""

    def fault(self, state: Any, loss: float) -> float:
        numbers = np.ones(300_000)
        others = [threading.Thread(target=self.spin, args=(numbers,)) for _ in range(2)]
        for one in others:
            one.start()
        self.spin(numbers)
        for one in others:
            one.join()
        return loss

    def spin(self, numbers: np.ndarray) -> None:
        end = time.perf_counter() + 0.1
        while time.perf_counter() < end:
            np.sqrt(numbers)  # frees the GIL


class SetsThreads(Planted):
    """Sets BLAS to four threads, and leaves it so."""

    def threads(self) -> Any:
        threadpoolctl.threadpool_limits(4)
        return contextlib.nullcontext()


class Grows(Planted):
    """Holds 100 MB more after each epoch."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        self.held: list[Any] = []
        return super().prepare(train, initial, seed=seed)

    def fault(self, state: Any, loss: float) -> float:
        self.held.append(np.ones(100 * 2**17))
        return loss


class GrowsForever(Grows):
    """Holds 100 MB more every tenth of a second, and never ends an epoch."""

    def fault(self, state: Any, loss: float) -> float:
        while True:
            super().fault(state, loss)
            time.sleep(0.1)


class Remembers(Steady):
    """Keeps what it computed: a second fit of equal ratings from an equal start is a look-up."""

    points: ClassVar[dict[tuple[float, float, int], tuple[Any, float]]] = {}

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        self.start = float(train.ratings.sum()), float(initial.user_factors[0, 0])
        return super().prepare(train, initial, seed=seed)

    def step(self, state: Any, n_epochs: int) -> float:
        where = *self.start, state.epochs + n_epochs
        if where not in self.points:
            loss = super().step(state, n_epochs)
            self.points[where] = state.done, loss
        state.done, loss = self.points[where]
        state.epochs = where[-1]
        return loss


class RemembersOnDisk(Steady):
    """Keeps whole fits in a file, for this process and all others."""

    def fit(self, train: Ratings, **options: Any) -> Any:  # type: ignore[override]
        what = hashlib.sha256(train.ratings.tobytes() + repr(sorted(options)).encode()).hexdigest()[
            :16
        ]
        path = Path(os.environ["PLANTED_CACHE"]) / f"{what}-{options['epochs']}.pickle"
        if len(train) <= 3000 or options.get("callback"):
            return super().fit(train, **options)
        if not path.exists():
            super().fit(train, **options)
            path.write_bytes(pickle.dumps((self.model_.parameters, self.n_epochs_)))
        before = time.perf_counter()
        parameters, epochs = pickle.loads(path.read_bytes())
        state = super().prepare(train, parameters, seed=0)
        state.epochs = epochs
        self.prepare_seconds_, self.history_ = time.perf_counter() - before, []
        model = self._model(self._parameters(state, train), train, train, {})
        self.status_, self.n_epochs_, self.model_ = "epochs", epochs, model
        return self


class CompilesShapes(Steady):
    """Honest: takes a second more for a shape it has not met, as one that compiles for it would."""

    shapes: ClassVar[set[tuple[int, ...]]] = set()

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        shape = len(train), train.n_users, train.n_items
        if shape not in self.shapes:
            self.shapes.add(shape)
            state = super().prepare(train, initial, seed=seed)
            self.pass_time(1.0)
            return state
        return super().prepare(train, initial, seed=seed)


class Returns(Steady):
    """Keeps whole fits, and hands out the first again, with what its clock showed then."""

    fits: ClassVar[dict[tuple[float, int], dict[str, Any]]] = {}

    def fit(self, train: Ratings, **options: Any) -> Any:  # type: ignore[override]
        which = float(train.ratings.sum()), int(options["epochs"])
        if which not in self.fits or options.get("callback"):
            super().fit(train, **options)
            self.fits[which] = vars(self)
        vars(self).update(self.fits[which])
        return self


class SpinsProcesses(Planted):
    """Computes in three processes, whatever it was allowed, and waits for them."""

    cpu_seconds = 0.1  # of each process in an epoch

    def fault(self, state: Any, loss: float) -> float:
        for one in [fork(lambda: spin(self.cpu_seconds)) for _ in range(3)]:
            os.waitpid(one, 0)
        return loss


class KeepsProcesses(SpinsProcesses):
    """The same, with processes that go on when they are done, and have a session of their own."""

    def fault(self, state: Any, loss: float) -> float:
        read, write = os.pipe()
        for _ in range(3):
            fork(lambda: (os.setsid(), spin(self.cpu_seconds), os.write(write, b"."), self.stay()))
        for _ in range(3):
            os.read(read, 1)
        os.close(read)
        os.close(write)
        return loss

    def stay(self) -> None:
        time.sleep(3600)


class DiesLeaving(Planted):
    """Starts a process that cuts its ties, and is killed."""

    def fault(self, state: Any, loss: float) -> float:
        child = fork(lambda: (os.setsid(), time.sleep(3600)))
        Path(os.environ["PLANTED_CACHE"], "child").write_text(str(child), "utf-8")
        time.sleep(1.2)  # so long that it is seen
        os.kill(os.getpid(), signal.SIGKILL)
        return loss


class HangsBeside(Planted):
    """Starts a process that cuts its ties, and hangs."""

    def fault(self, state: Any, loss: float) -> float:
        child = fork(lambda: (os.setsid(), time.sleep(3600)))
        processes = Path(os.environ["PLANTED_CACHE"], "processes")
        processes.write_text(f"{os.getpid()} {child}", "utf-8")
        time.sleep(3600)
        return loss


class GrowsElsewhere(Planted):
    """Holds 300 MB for a moment in each epoch, in another process."""

    def fault(self, state: Any, loss: float) -> float:
        os.waitpid(fork(lambda: (held := np.ones(300 * 2**17), time.sleep(0.15), held.sum())), 0)
        return loss


def fork(work: Callable[[], Any]) -> int:
    """Do something in a child process; return its id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def spin(seconds: float) -> None:
    """Keep a core busy for so many CPU-seconds of this process."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Umlaut(Planted):
    """Fails in words that no ASCII has."""

    def fault(self, state: Any, loss: float) -> float:
        raise RuntimeError("größte Abweichung \N{SNOWMAN} \udc80")


class NumpySeconds(Planted):
    """Tells its time in NumPy's numbers, and its status in a word of its own."""

    def fit(self, *arguments: Any, **options: Any) -> Any:
        super().fit(*arguments, **options)
        self.prepare_seconds_ = np.float64(self.prepare_seconds_)
        if self.status_ == "epochs":
            self.status_ = "converged"
        return self


class LosesItsNumbers(Planted):
    """Predicts NaN from the third epoch on, and says that all is well."""

    def parameters(self, state: Any) -> Parameters:
        found = super().parameters(state)
        if state.epochs >= 3 and self.is_real:
            found.user_bias[:] = np.nan
        return found

    def step(self, state: Any, n_epochs: int) -> float:
        super().step(state, n_epochs)
        return 1.0


class DiesColdFilled(Planted):
    """Dies in a cold start with filled caches, told by a file that the first one left there."""

    def fault(self, state: Any, loss: float) -> float:
        folder = os.environ.get("CUDA_CACHE_PATH")
        if folder:
            mark = Path(folder) / "was here"
            if mark.is_file() and mark.read_text() != str(os.getpid()):
                os._exit(7)
            mark.write_text(str(os.getpid()))
        return loss


class DiesOfTheSecondSeed(Planted):
    """Dies when it is warmed up for the second seed."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        if seed == 1:
            os._exit(9)
        return super().prepare(train, initial, seed=seed)


# ---- what must not cost a record ----------------------------------------------------------------


class NoSeconds(Planted):
    """Reports no number as the time that it took."""

    def fit(self, *arguments: Any, **options: Any) -> Any:
        super().fit(*arguments, **options)
        self.prepare_seconds_ = float("nan")
        return self


class Infinite(Planted):
    """Ends with an infinite factor, unless someone looks at each epoch."""

    def fit(self, train: Ratings, **options: Any) -> Any:  # type: ignore[override]
        super().fit(train, **options)
        if len(train) > 3000 and not options.get("callback"):
            self.model_.parameters.user_factors.flags.writeable = True
            self.model_.parameters.user_factors[0, 0] = np.inf
        return self


class WrongShape(Planted):
    """Ends with factors of a user too few, unless someone looks at each epoch."""

    def fit(self, train: Ratings, **options: Any) -> Any:  # type: ignore[override]
        super().fit(train, **options)
        if len(train) > 3000 and not options.get("callback"):
            parameters = self.model_.parameters
            object.__setattr__(parameters, "user_factors", parameters.user_factors[1:])
        return self


class RealTimeSignal(Planted):
    def fault(self, state: Any, loss: float) -> float:
        os.kill(os.getpid(), signal.SIGRTMIN + 5)
        return loss


def answer_pipe() -> int:
    """The worker's end of the pipe for answers: beside 0 to 2, the only pipe that it can write."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            is_pipe = os.readlink(f"/proc/self/fd/{name}").startswith("pipe:")
            if is_pipe and int(name) > 2 and os.get_blocking(int(name)):
                flags = Path(f"/proc/self/fdinfo/{name}").read_text("utf-8").split("flags:")[1]
                if int(flags.split()[0], 8) & 3 == os.O_WRONLY:
                    return int(name)
    raise AssertionError("no pipe")


class WritesBytes(Planted):
    content = b"\xff\xfe\x00\n"

    def fault(self, state: Any, loss: float) -> float:
        os.write(answer_pipe(), self.content)
        return loss


class WritesJson(WritesBytes):
    content = b'{"type": "done", "answer": {"status": "all is well"}}\n'


class WritesNested(WritesBytes):
    content = b"[" * 50_000 + b"\n"


class HangsUp(Planted):
    """Closes the pipe for answers, and goes on."""

    def fault(self, state: Any, loss: float) -> float:
        os.close(answer_pipe())
        time.sleep(3600)
        return loss


class Interrupts(Planted):
    def fault(self, state: Any, loss: float) -> float:
        raise KeyboardInterrupt


class InterruptsFirst(Planted):
    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        if len(train) > 3000:
            raise KeyboardInterrupt
        return super().prepare(train, initial, seed=seed)


class Leaves(Planted):
    def fault(self, state: Any, loss: float) -> float:
        sys.exit("good bye")


class ReadsInput(Planted):
    """Asks whoever starts it, as a script that waits for a key does."""

    def fault(self, state: Any, loss: float) -> float:
        input("Press Enter to go on")
        return loss


class Rambles(Planted):
    def fault(self, state: Any, loss: float) -> float:
        sys.stderr.write("x" * 10_000_000)
        raise ValueError("\x1b[31m" + "very\nlong \udce9" * 1_000_000)


class Unspeakable(Planted):
    def fault(self, state: Any, loss: float) -> float:
        class Error(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        raise Error


class LeavesAndHolds(Planted):
    """Leaves a process in a session of its own, which holds the pipes, and is killed at once."""

    def fault(self, state: Any, loss: float) -> float:
        child = fork(lambda: (os.setsid(), time.sleep(3600)))
        Path(os.environ["PLANTED_CACHE"], "child").write_text(str(child), "utf-8")
        os.kill(os.getpid(), signal.SIGTERM)
        return loss


# ---- what is fast for a reason that does not count ----------------------------------------------


class StartsWarm(Planted):
    """Keeps its last model on disk and starts from that, as a library with checkpoints may."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        self.path = Path(os.environ["PLANTED_CACHE"]) / self.name_of(train)
        if len(train) > 3000 and self.path.exists():
            with np.load(self.path) as stored:
                initial = Parameters(initial.mean, **stored)
        return super().prepare(train, initial, seed=seed)

    def name_of(self, train: Ratings) -> str:
        return "checkpoint.npz"

    def fault(self, state: Any, loss: float) -> float:
        np.savez(self.path, **self.parameters(state).arrays())
        return loss


class StartsWarmByHash(StartsWarm):
    """Keeps one for each order of ratings."""

    def name_of(self, train: Ratings) -> str:
        return hashlib.sha256(train.users.tobytes()).hexdigest()[:16] + ".npz"


class RemembersPatterns(Remembers):
    """Keeps what it computed for equal numbers of ratings of users and items."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> Any:
        state = super().prepare(train, initial, seed=seed)
        counts = np.r_[train.user_counts(), train.item_counts()].tobytes()
        self.start = float(int(hashlib.sha256(counts).hexdigest()[:12], 16)), 0.0
        return state


class ForksAndReturns(Planted):
    """Returns in both processes, as does whoever forgets that the child has to end."""

    def fit(self, train: Ratings, **options: Any) -> Any:  # type: ignore[override]
        super().fit(train, **options)
        if len(train) > 3000 and not options.get("callback"):
            os.fork()
        return self


class DeletesFolder(Planted):
    """Deletes the folder of its own standard error, and fails."""

    def fault(self, state: Any, loss: float) -> float:
        shutil.rmtree(Path(os.readlink("/proc/self/fd/2")).parent)
        raise ValueError("clean now")


class UnavailableLater(Planted):
    def fault(self, state: Any, loss: float) -> float:
        raise BackendUnavailable("the device is lost")


class Lazy(Steady):
    """Trains when the model is asked for, and not before."""

    def fit(self, train: Ratings, **options: Any) -> Any:  # type: ignore[override]
        if len(train) <= 3000 or options.get("callback"):
            return super().fit(train, **options)
        vars(self).pop("model_", None)
        self._todo = train, options
        self.prepare_seconds_, self.history_, self.status_ = 0.0, [], "epochs"
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "model_" and "_todo" in vars(self):
            train, options = vars(self).pop("_todo")
            super().fit(train, **options)
            return vars(self)["model_"]
        return super().__getattr__(name)


class FillsLater(Planted):
    """Hands out the initial model at once, and trains it in a thread meanwhile."""

    def fit(self, train: Ratings, **options: Any) -> Any:  # type: ignore[override]
        super().fit(train, **options)
        if len(train) > 3000 and not options.get("callback"):
            arrays = self.model_.parameters.arrays()
            trained = {name: array.copy() for name, array in arrays.items()}
            for array in arrays.values():
                array.flags.writeable = True
                array[...] = 0

            def fill() -> None:
                time.sleep(0.2)
                for name, array in arrays.items():
                    array[...] = trained[name]

            threading.Thread(target=fill).start()
        return self
