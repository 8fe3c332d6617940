"""`Factorizer`: what every solver is to its user, and the only epoch loop there is.

A backend is a dataclass of hyper-parameters with three methods: ``prepare`` (sort, copy to the device), ``step``
(train for some epochs) and ``parameters`` (a copy on the host). The loop, its clock, evaluation, callbacks and
stopping live here.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any, ClassVar, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backends._engine.interrupt import delayed_interrupt
from backends._engine.threads import available_cores

from ._arrays import Float
from ._validation import check_choice, check_count, check_fits, check_number
from .errors import DivergenceWarning, NotFittedError
from .model import FactorModel, Recommendation
from .objective import Objective, Parameters, RegScaling, RegUnit, mean_squared_error
from .ratings import RatingEncoder, Ratings
from .start import Init, initial_model
from .stopping import Best, EpochRecord, Keep, Patience, Progress, Status, Stopping, exploded, explosion_limit


@dataclass(kw_only=True)
class State:
    """What a solver keeps during a fit; backends add their arrays.

    ``epochs`` counts the whole epochs done; a backend raises it as an epoch takes effect.
    ``row_weights`` are the sums of the weights of each user's and each item's ratings, shapes
    (n_users,) and (n_items,), where ``prepare`` has them anyway; None leaves that to ``fit``.
    """

    epochs: int = 0
    row_weights: tuple[NDArray[Any], NDArray[Any]] | None = None


@dataclass
class Outcome:
    """What a fit leaves behind besides its model: put on the solver at its end, all at once."""

    history_: list[EpochRecord] = dataclasses.field(default_factory=list)
    n_epochs_: int = 0
    best_epoch_: int = 0
    prepare_seconds_: float = 0.0
    status_: Status = "epochs"


@dataclass(kw_only=True, eq=False)
class Factorizer(ABC):
    """Factorises explicit ratings by minimising an `Objective`.

    Parameters
    ----------
    rank, reg, reg_scaling, bias, reg_unit, damping, bias_reg, user_bias_damping, item_bias_damping
        The objective; see `Objective`.
    epochs
        How many passes ``fit`` makes over the ratings unless told otherwise.
    dtype
        Precision of the computation, "float32" or "float64".
    n_jobs
        Threads to use; None for every core that this process may use.
    init, init_scale
        The start: normal draws in the ratings' unit, or uniform draws as they are; see `initial_model`.

    Attributes
    ----------
    model_ : FactorModel
        The fitted model; absent after a fit that diverged.
    history_ : list of EpochRecord
        One record per epoch; ``pandas.DataFrame(history_)`` makes a table of it.
    n_epochs_ : int
        Whole epochs that were trained.
    best_epoch_ : int
        The epoch that ``model_`` is of: that with the lowest validation MSE, or the last one. 0 is the damped biases
        alone, or the initial model that was given: no epoch did better. It means nothing after a fit that diverged.
    prepare_seconds_ : float
        What sorting and copying to the device took; part of the seconds in ``history_``.
    status_ : str
        Why the fit stopped: "epochs", "target", "patience", "time", "callback", "interrupted" or "diverged".
    """

    steppable: ClassVar[bool] = True  # False: step() restarts from scratch, so the loop asks for all epochs at once
    patience: ClassVar[int] = 5  # epochs without a better validation MSE after which a fit ends unless told otherwise
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    rank: int = Objective.rank
    reg: float = Objective.reg
    reg_scaling: RegScaling = Objective.reg_scaling
    bias: bool = Objective.bias
    reg_unit: RegUnit = Objective.reg_unit
    damping: float = Objective.damping
    bias_reg: float = Objective.bias_reg
    user_bias_damping: float = Objective.user_bias_damping
    item_bias_damping: float = Objective.item_bias_damping
    epochs: int = 20
    dtype: Literal["float32", "float64"] = "float32"
    n_jobs: int | None = None
    init: Init = "normal"
    init_scale: float = 0.1

    # ---- what a backend supplies ------------------------------------------------------------------------------------

    @abstractmethod
    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> State:
        """Return the solver's state at ``initial``, from unsorted ratings. Neither may be changed.

        ``seed`` is that of ``fit``, for solvers that draw more than the initial model.
        """

    @abstractmethod
    def step(self, state: Any, n_epochs: int) -> float:
        """Train ``n_epochs`` more epochs; return a training MSE seen on the way (NaN or infinity: diverged).

        An epoch takes effect at its end, and with it ``state.epochs`` rises. A Ctrl-C waits until the step is over,
        so a step that can take longer than half a second calls `checkpoint` now and then, wherever the parameters are
        those of the last whole epoch.
        """

    @abstractmethod
    def parameters(self, state: Any) -> Parameters:
        """Return a copy of the parameters on the host."""

    def targets(self, train: Ratings, initial: Parameters) -> Float:
        """Return r - m of each training rating in the solver's precision, subtracted in float64, shape (n,)."""
        targets: Float = np.subtract(train.ratings, initial.mean, dtype=np.float64).astype(self.dtype)
        return targets

    def synchronize(self, state: Any) -> None:  # noqa: B027  # a hook: nothing to wait for on a CPU
        """Wait until the device has done all work asked of it."""

    def threads(self) -> AbstractContextManager[Any]:
        """Return a context in which the solver's threads keep to ``n_jobs``; the default covers BLAS and OpenMP."""
        from threadpoolctl import threadpool_limits

        return threadpool_limits(self.n_threads)  # type: ignore[no-any-return]  # untyped there

    # ---- what a user calls ------------------------------------------------------------------------------------------

    @property
    def objective(self) -> Objective:
        """The objective that ``fit`` minimises."""
        return Objective(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Objective)})

    @property
    def n_threads(self) -> int:
        """Threads that ``n_jobs`` stands for."""
        if self.n_jobs is not None:
            return int(self.n_jobs)  # of NumPy's integers threadpoolctl takes none
        return available_cores()

    def fit(
        self,
        train: Ratings,
        validation: Ratings | float | None = None,
        *,
        epochs: int | None = None,
        callback: Callable[[Progress], object] | None = None,
        seed: int = 0,
        initial: Parameters | FactorModel | None = None,
        target_mse: float | None = None,
        patience: Patience = "auto",
        max_seconds: float | None = None,
        keep: Keep = "best",
        evaluate: bool = False,
    ) -> Self:
        """Fit ``model_`` to ``train``.

        With validation ratings the model is the best that was met: after each epoch its mean squared error on them is
        computed, and the model with the lowest is kept. Epoch 0 competes: the damped biases alone (the objective
        without factors, see `damped_biases`) or the ``initial`` that was given, whichever does better. Scoring counts
        for ``max_seconds``, not for the clock of ``history_``; beside a fast solver it takes longer than training.
        Without validation ratings the model is that of the last epoch.

        An old ``model_`` serves until the new one takes its place, at the end of the fit. What a callback raises, or a
        Ctrl-C before the first epoch is over, leaves everything as it was before the fit.

        Parameters
        ----------
        train
            The ratings to factorise, at least one.
        validation
            Ratings over the same rows, encoded by ``train.encoder.encode_new``; only looked at, never trained on. A
            number between 0 and 1 splits this share off the training ratings; see `Ratings.split`.
        epochs
            Passes over the ratings, at most; ``self.epochs`` when None.
        callback
            Called with a `Progress` after each epoch, outside the clock of ``history_``; a true result stops the fit.
        seed
            Seed of the initial model, of whatever else the solver draws, and of the split where ``validation`` is a
            share.
        initial
            Parameters to start from in place of random ones; copied. Their mean becomes that of ``train``. A model that
            was trained on what are now validation ratings is at an unfair advantage as epoch 0: where ``validation`` is
            a share, keep the seed.
        target_mse
            Stop once the validation MSE is at or under this; that of epoch 0 may be.
        patience
            Stop once the validation MSE has not improved for this many epochs; None for never. "auto" is the solver's
            own ``patience`` where the best model is kept on validation ratings, and None otherwise.
        max_seconds
            Stop after the epoch in which this much time has passed since ``fit`` was called, evaluation and callbacks
            included.
        keep
            "best", as above, or "last": the model of the last epoch, also with validation ratings.
        evaluate
            Whether ``history_`` gets the objective and the training MSE after each epoch, which costs about as much as
            an epoch of a slow solver; without it they are NaN.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was given and what is expected.

        Warns
        -----
        DivergenceWarning
            When the loss became non-finite or exploded; ``status_`` is then "diverged" and there is no ``model_``.
        """
        epochs = self.epochs if epochs is None else epochs
        stopping = Stopping(callback, target_mse, None, max_seconds)
        self._check(train, validation, epochs, seed, keep)
        rated = train  # what counts as seen by a user, also where some of it is split off
        held_out = validation if isinstance(validation, Ratings) else None
        if validation is not None and not isinstance(validation, Ratings):
            train, held_out = train.split(float(validation), int(seed))
        keeps_best = keep == "best" and held_out is not None and len(held_out) > 0
        if patience == "auto":
            patience = self.patience if keeps_best and self.steppable else None
        stopping.patience = patience
        stopping.check(held_out)
        start = self._start(train, seed, initial)
        limit = explosion_limit(train, start)
        stride = 1 if self.steppable or evaluate or stopping.watches else epochs
        best = Best()
        outcome = Outcome()
        seconds, state = 0.0, cast("State | None", None)

        facts = {
            "seed": int(seed),
            "validation": float(validation) if isinstance(validation, Real) else validation is not None,
            "warm_start": initial is not None,
        }

        def model_of(x: Parameters, epoch: int) -> FactorModel:
            return self._model(x, train, rated, facts | {"epoch": epoch})

        def model_now(x: Parameters | None, epoch: int) -> FactorModel:
            """Return the model of this epoch, of arrays of its own: a callback may do with them what it likes."""
            assert state is not None
            return model_of(x.astype(self.dtype) if x else self._parameters(state, train), epoch)

        with self.threads():
            try:
                clock = time.perf_counter()
                state = self.prepare(train, start, seed=int(seed))
                seconds = outcome.prepare_seconds_ = time.perf_counter() - clock
                if keeps_best:
                    firsts = [self._biases_alone(train, start)] if self.bias else []
                    if initial is not None:
                        firsts.append(self._without_unrated(start.astype(self.dtype), state, train))
                    for first in firsts:
                        record = self._record(0, first, train, held_out, 0.0, evaluate)
                        if best.offer(record, first):
                            outcome.history_ = [record]
                if target_mse is not None and best.parameters is not None and best.mse <= target_mse:
                    epochs, outcome.status_ = 0, "target"
                while state.epochs < epochs:
                    clock = time.perf_counter()
                    with delayed_interrupt():  # an epoch happens and is counted, or neither; see `checkpoint`
                        loss = self.step(state, stride)
                        self.synchronize(state)
                    seconds += time.perf_counter() - clock
                    if state.epochs <= outcome.n_epochs_:
                        raise RuntimeError(
                            f"{type(self).__name__}.step must raise state.epochs by the epochs it trained"
                        )
                    outcome.n_epochs_ = state.epochs
                    if not loss <= limit:
                        return self._diverged(outcome, loss)
                    x = self._parameters(state, train) if evaluate or held_out is not None else None
                    record = self._record(state.epochs, x, train, held_out, seconds, evaluate)
                    if x is not None and keeps_best:
                        best.offer(record, x)
                    outcome.history_.append(record)
                    reason = stopping.reason(Progress(record, partial(model_now, x, state.epochs)))
                    if reason:
                        outcome.status_ = reason
                        break
            except KeyboardInterrupt:
                if state is None or not state.epochs:  # nothing was trained yet: there is no model to leave behind
                    raise
                outcome.status_, outcome.n_epochs_ = "interrupted", state.epochs
            with delayed_interrupt():
                last = self._parameters(state, train)
                worthless = exploded(last, train, limit)
                if worthless:
                    return self._diverged(outcome, worthless)
                outcome.best_epoch_ = state.epochs if best.parameters is None else best.epoch
                model = model_of(best.parameters or last, outcome.best_epoch_)
                vars(self).update(vars(outcome), model_=model)  # one step: who predicts meanwhile has one or the other
        return self

    def initial_parameters(self, train: Ratings, seed: int = 0) -> Parameters:
        """Return the random start that ``fit(train, seed=seed)`` draws without ``initial``.

        It serves callers that need the start itself: to give several solvers the same one, to know
        the error before the first epoch, or to call ``prepare`` and ``step`` by hand.

        Returns
        -------
        initial : Parameters
            In the solver's precision: factors, shapes (n_users, rank) and (n_items, rank), drawn as
            ``init`` and ``init_scale`` say, see `initial_model`; biases of zero, shapes (n_users,)
            and (n_items,); and the mean of ``train``, or 0 with ``bias=False``.

        Raises
        ------
        TypeError, ValueError
            Where `fit` would refuse the solver's parameters, ``train`` or ``seed``.
        """
        self.check_params()
        _check_ratings(train)
        _check_seed(seed)
        draws = (int(seed), self.init, self.init_scale, self.dtype, self.n_threads)
        return initial_model(self.objective, train, *draws)

    def predict(self, users: ArrayLike, items: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Predict ratings of pairs of raw ids; see `FactorModel.predict`."""
        model: FactorModel = self.model_
        return model.predict(users, items, **options)

    def recommend(self, user: Any, n: int = 10, *, exclude_seen: bool = True) -> list[Recommendation]:
        """Return the ``n`` best items for one user; see `FactorModel.recommend`."""
        model: FactorModel = self.model_
        return model.recommend(user, n, exclude_seen=exclude_seen)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the hyper-parameters by name (``deep`` is there for scikit-learn)."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters by name.

        Raises
        ------
        ValueError
            For a name that is not one of them.
        """
        names = self.get_params()
        for name, value in params.items():
            if name not in names:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(names)}")
            setattr(self, name, value)
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "model_" or name in Outcome.__dataclass_fields__:
            diverged = self.__dict__.get("status_") == "diverged"
            raise NotFittedError(
                f"no {name}: the fit diverged; lower the learning rate or raise reg, and fit again"
                if diverged
                else f"no {name}: call fit first"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ---- inner parts of fit -----------------------------------------------------------------------------------------

    def check_params(self) -> None:
        """Raise ValueError naming the hyper-parameter that is wrong; backends extend it."""
        _ = self.objective  # checks its own
        check_choice("dtype", self.dtype, ("float32", "float64"))
        check_choice("init", self.init, get_args(Init))
        check_count("epochs", self.epochs)
        check_number("init_scale", self.init_scale, positive=True)
        check_fits("reg", self.reg, self.dtype)
        check_count("n_jobs", self.n_jobs, optional=True)

    def _check(self, train: Ratings, validation: object, epochs: int, seed: int, keep: str) -> None:
        self.check_params()
        self._check_prepare()
        _check_ratings(train)
        share = float(validation) if isinstance(validation, Real) and not isinstance(validation, bool) else None
        if share is not None:
            check_number("validation", validation, positive=True)
            if share >= 1:
                raise ValueError(f"validation must be ratings, or a share of less than 1, got {validation!r}")
        if not (validation is None or share is not None or isinstance(validation, Ratings)):
            raise TypeError(
                f"validation must be Ratings, got {type(validation).__name__}; make them by train.encoder.encode_new, "
                "or give the share of the training ratings to split off"
            )
        if not len(train):
            raise ValueError("train has no ratings; at least one is needed")
        if isinstance(validation, Ratings):
            shapes = (validation.n_users, validation.n_items), (train.n_users, train.n_items)
            if shapes[0] != shapes[1] or not _same_rows(validation.encoder, train.encoder):
                raise ValueError(
                    f"validation must be encoded as train is: got {shapes[0]} rows for {shapes[1]}, and "
                    f"{'the same' if _same_rows(validation.encoder, train.encoder) else 'another'} encoder; "
                    "use train.encoder.encode_new"
                )
        check_count("epochs", epochs)
        _check_seed(seed)
        check_choice("keep", keep, get_args(Keep))

    def _check_prepare(self) -> None:
        """Refuse a ``prepare`` without the seed, as it was written up to version 0.2."""
        try:
            signature = inspect.signature(self.prepare, follow_wrapped=False)
        except ValueError:  # written in C, and silent about its arguments
            return
        try:
            signature.bind(None, None, seed=0)
        except TypeError:
            raise TypeError(
                f"{type(self).__name__}.prepare must take the seed: write `def prepare(self, "
                "train: Ratings, initial: Parameters, *, seed: int)`, whether or not it draws anything"
            ) from None

    def _start(self, train: Ratings, seed: int, initial: Parameters | FactorModel | None) -> Parameters:
        """Draw or check the initial parameters, in the solver's precision."""
        if initial is None:
            return self.initial_parameters(train, seed)
        if not isinstance(initial, Parameters | FactorModel):
            raise TypeError(f"initial must be Parameters or a FactorModel, got {type(initial).__name__}")
        given = initial.parameters if isinstance(initial, FactorModel) else initial
        if isinstance(initial, FactorModel) and not _same_rows(initial.encoder, train.encoder):
            raise ValueError("initial must be a model of these rows: it was fitted on other ids, or in another order")
        shapes = [
            given.user_factors.shape,
            given.item_factors.shape,
            given.user_bias.shape,
            given.item_bias.shape,
        ]
        wanted = [(train.n_users, self.rank), (train.n_items, self.rank), (train.n_users,), (train.n_items,)]
        if shapes != wanted:
            raise ValueError(
                f"initial must have arrays of shapes {wanted} for these ratings and this rank, got {shapes}"
            )
        if not given.is_finite():
            raise ValueError("initial holds numbers that are not finite")
        if not self.bias and (given.mean or given.user_bias.any() or given.item_bias.any()):
            raise ValueError("initial has a mean or biases, which a model with bias=False does not; set them to zero")
        start = given.astype(self.dtype)
        if not start.is_finite():
            raise ValueError(f"initial holds numbers beyond {self.dtype}")
        start.mean = self.objective.mean(train)  # of other ratings it may have been another
        return start

    def _parameters(self, state: State, train: Ratings) -> Parameters:
        """Return a copy of the parameters, in which rows without training ratings are zero."""
        return self._without_unrated(self.parameters(state), state, train)

    def _without_unrated(self, x: Parameters, state: State, train: Ratings) -> Parameters:
        if state.row_weights is None:
            state.row_weights = train.user_weights(), train.item_weights()
        for side, weights in zip(("user", "item"), state.row_weights, strict=True):
            unrated = weights == 0
            for name in (f"{side}_factors", f"{side}_bias") if unrated.any() else ():
                array = np.array(getattr(x, name))
                array[unrated] = 0
                setattr(x, name, array)
        return x

    def _biases_alone(self, train: Ratings, like: Parameters) -> Parameters:
        """Return the minimum of the objective without factors, in the form of other parameters."""
        b, c = self.objective.biases_alone(train)
        p, q = (np.zeros_like(factors) for factors in (like.user_factors, like.item_factors))
        return Parameters(like.mean, b.astype(p.dtype), c.astype(p.dtype), p, q)

    def _record(
        self,
        epoch: int,
        x: Parameters | None,
        train: Ratings,
        validation: Ratings | None,
        seconds: float,
        evaluate: bool,
    ) -> EpochRecord:
        objective = train_mse = validation_mse = math.nan
        if x is not None and evaluate:
            objective, train_mse = self.objective.value_and_mse(x, train)
        if x is not None and validation is not None:
            validation_mse = mean_squared_error(x, validation)
        return EpochRecord(epoch, seconds, objective, train_mse, validation_mse)

    def _model(self, x: Parameters, train: Ratings, rated: Ratings, facts: dict[str, Any]) -> FactorModel:
        ratings = train.summary
        fit = {"solver": type(self).__name__, **self.get_params(), **facts}
        return FactorModel(x, train.encoder, (ratings.low, ratings.high), ratings.mean, rated, fit)

    def _diverged(self, outcome: Outcome, loss: float) -> Self:
        outcome.status_ = "diverged"
        self.__dict__.pop("model_", None)
        vars(self).update(vars(outcome))
        warnings.warn(
            f"{type(self).__name__} diverged in epoch {self.n_epochs_} (training MSE {loss:.3g}); it has no model. "
            "Lower the learning rate or raise reg",
            DivergenceWarning,
            stacklevel=3,
        )
        return self


def _check_ratings(train: object) -> None:
    if not isinstance(train, Ratings):
        raise TypeError(
            f"train must be Ratings, got {type(train).__name__}; make them by Ratings.from_frame or Ratings.from_arrays"
        )


def _check_seed(seed: object) -> None:
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")


def _same_rows(one: RatingEncoder | None, other: RatingEncoder | None) -> bool:
    if one is None or other is None or one is other:
        return one is other
    return np.array_equal(one.users, other.users) and np.array_equal(one.items, other.items)
