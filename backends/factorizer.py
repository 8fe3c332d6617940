"""`Factorizer`: the interface of all solvers, and the only epoch loop.

A backend is a dataclass of hyper-parameters with three methods: ``prepare`` (sort, copy to the
device), ``step`` (train for some epochs) and ``parameters`` (copy to the host). The epoch loop, its
clock, evaluation, callbacks and stopping are here.
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
from numpy.typing import NDArray

from backends._engine.cores import available_cores
from backends._engine.interrupt import delayed_interrupt

from ._arrays import Float
from ._progress import epoch_bar, logger
from ._validation import check_choice, check_count, check_fits, check_number
from .errors import DivergenceWarning, NotFittedError, RatingsError
from .model import FactorModel
from .objective import (
    Objective,
    Parameters,
    RegScaling,
    RegUnit,
    mean_squared_error,
    rating_unit,
)
from .ratings import RatingEncoder, Ratings, extended_by
from .start import Init, initial_model
from .stopping import (
    Best,
    EpochRecord,
    Keep,
    Patience,
    Progress,
    Status,
    Stopping,
    exploded,
    explosion_limit,
)


@dataclass(kw_only=True)
class State:
    """The state of a fit; backends add their arrays.

    Attributes
    ----------
    epochs
        Number of whole epochs trained. A backend increments it when an epoch takes effect.
    row_weights
        Sums of the weights of each user's and each item's ratings, shapes (n_users,) and
        (n_items,). ``prepare`` may set them if it has them anyway; if None, ``fit`` computes them.
    facts
        What else the model should say of how it was fitted; see `FactorModel`.
    """

    epochs: int = 0
    row_weights: tuple[NDArray[Any], NDArray[Any]] | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass
class Outcome:
    """The results of a fit besides its model. They become the solver's attributes at the end."""

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
        Passes over the ratings; the default of ``fit``.
    dtype
        Precision of the computation, "float32" or "float64".
    n_jobs
        Number of threads; None, or -1 as in scikit-learn, for one per core that this process may
        use.
    init, init_scale
        How the initial factors are drawn; see `initial_model`.

    Attributes
    ----------
    model_ : FactorModel
        The fitted model; absent after a fit that diverged.
    history_ : list of EpochRecord
        One record per epoch; ``pandas.DataFrame(history_)`` makes a table of it.
    n_epochs_ : int
        Number of whole epochs trained.
    best_epoch_ : int
        The epoch whose parameters ``model_`` has: the one with the lowest validation MSE, or the
        last one. 0 if no epoch was better than the damped biases alone, or than the given initial
        model. Meaningless after a fit that diverged.
    prepare_seconds_ : float
        Duration of ``prepare``; included in the seconds of ``history_``.
    status_ : str
        Why the fit stopped: "epochs", "target", "patience", "time", "callback", "interrupted" or
        "diverged".
    """

    # False if `step` restarts from scratch at each call; then it is called once, for all epochs.
    steppable: ClassVar[bool] = True
    # What ``patience="auto"`` of `fit` stands for.
    patience: ClassVar[int] = 5
    # Named sets of hyper-parameters, for `get_backend(preset=)`.
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    # Smallest and largest `rating_unit` that a precision can be used with; any, if it is not here.
    rating_units: ClassVar[dict[str, tuple[float, float]]] = {}
    # Hyper-parameters that tuning varies, with their smallest and largest values. Steps in the
    # logarithm count alike.
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        "reg": (0.01, 0.15),
        "damping": (10.0, 800.0),
    }

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

    # ---- what a backend implements --------------------------------------------------------------

    @abstractmethod
    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> State:
        """Return the solver's state at the parameters ``initial``. Neither argument may be changed.

        Parameters
        ----------
        train
            Ratings in any order.
        initial
            In the solver's precision.
        seed
            The seed of ``fit``, for solvers that draw more than the initial model.
        """

    @abstractmethod
    def step(self, state: Any, n_epochs: int) -> float:
        """Train ``n_epochs`` more epochs; return a training MSE, to recognise divergence by.

        An epoch takes effect at its end, when ``state.epochs`` is incremented: until then
        ``parameters`` returns those of the epoch before. During a step a Ctrl-C is delayed. A step
        that can take longer than half a second calls `checkpoint` now and then, which raises it.
        """

    @abstractmethod
    def parameters(self, state: Any) -> Parameters:
        """Return a copy of the parameters on the host."""

    def targets(self, train: Ratings, initial: Parameters) -> Float:
        """Return r - m of each rating in the solver's precision, shape (n,)."""
        # In float64, since close numbers are subtracted.
        differences = np.subtract(train.ratings, initial.mean, dtype=np.float64)
        targets: Float = differences.astype(self.dtype)
        return targets

    def synchronize(self, state: Any) -> None:  # noqa: B027  # optional: nothing on a CPU
        """Wait until the device has finished all work it was given."""

    def threads(self) -> AbstractContextManager[Any]:
        """Return a context that limits the solver's threads to ``n_jobs``.

        By default it limits those of BLAS and OpenMP.
        """
        from threadpoolctl import threadpool_limits

        return threadpool_limits(self.n_threads)  # type: ignore[no-any-return]  # it has no types

    # ---- what a user calls ----------------------------------------------------------------------

    @property
    def objective(self) -> Objective:
        """The objective that ``fit`` minimises."""
        names = [field.name for field in dataclasses.fields(Objective)]
        return Objective(**{name: getattr(self, name) for name in names})

    @property
    def n_threads(self) -> int:
        """Number of threads that ``n_jobs`` stands for."""
        if self.n_jobs is not None:
            if self.n_jobs == -1:
                return available_cores()
            return int(self.n_jobs)  # threadpoolctl refuses NumPy's integers
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
        progress: bool = False,
    ) -> Self:
        """Fit ``model_`` to ``train``.

        With validation ratings the model is that of the best epoch: the mean squared error on them
        is computed after each epoch, and the parameters with the lowest are kept. Epoch 0 takes
        part: it is the damped biases alone (the objective without factors, see `damped_biases`) or
        the given ``initial``, whichever is better. Without validation ratings the model is that of
        the last epoch. Computing the error counts for ``max_seconds`` but not for the seconds of
        ``history_``; with a fast solver it takes longer than training.

        During a fit ``model_`` is still the model of the fit before. If a callback raises, or a
        Ctrl-C comes before the first epoch is over, the solver stays as it was before the fit.

        Parameters
        ----------
        train
            The ratings to factorise, at least one.
        validation
            Ratings over the same rows, encoded by ``train.encoder.encode_new``; they are not
            trained on. A number between 0 and 1 is the share of the training ratings to split off;
            see `Ratings.split`.
        epochs
            Passes over the ratings, at most; ``self.epochs`` if None.
        callback
            Called with a `Progress` after each epoch; its time does not count for ``history_``. If
            it returns a true value, the fit stops.
        seed
            Seed of the initial model, of whatever else the solver draws, and of the split if
            ``validation`` is a share.
        initial
            Parameters to start from instead of random ones; copied. Their mean is replaced by that
            of ``train``. A model that was trained on what are now validation ratings has an unfair
            advantage as epoch 0: if ``validation`` is a share, keep the seed.
        target_mse
            Stop when the validation MSE is at most this, which may already be so at epoch 0.
        patience
            Stop when the validation MSE has not improved for this many epochs; None for never.
            "auto" is the solver's ``patience`` if the best epoch is kept, and None otherwise.
        max_seconds
            Stop after the epoch in which this much time has passed since ``fit`` was called,
            including evaluation and callbacks.
        keep
            "best", as above, or "last": the model of the last epoch even with validation ratings.
        evaluate
            Whether to compute the objective and the training MSE after each epoch, for
            ``history_``. It takes about as long as an epoch of a slow solver. Otherwise they are
            NaN.
        progress
            Whether a bar shows the epochs, if standard error is a terminal. Each epoch is also a
            line of the log "factorbench", of the level DEBUG, and the end of a fit one of INFO.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong; the message says which, what it is and what it should be.

        Warns
        -----
        DivergenceWarning
            If the loss exceeds all bounds or is not finite. Then ``status_`` is "diverged" and
            there is no ``model_``.
        """
        epochs = self.epochs if epochs is None else epochs
        stopping = Stopping(callback, target_mse, None, max_seconds)
        self._check(train, validation, epochs, seed, keep)
        # What `recommend` counts as seen by a user, which includes ratings that are split off
        # below.
        rated = train
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
        # Epochs per call of `step`: all at once if a solver restarts at each call and nothing has
        # to be looked at in between.
        stride = 1 if self.steppable or evaluate or stopping.watches else epochs
        best = Best()
        outcome = Outcome()
        # The cast tells mypy that the loop below, which an exception can leave at any place, may
        # have set `state`.
        seconds, state = 0.0, cast("State | None", None)

        # How the model was fitted, saved with it; see `FactorModel`.
        facts: dict[str, Any] = {
            "seed": int(seed),
            "validation": validation is not None,
            "warm_start": initial is not None,
        }
        if isinstance(validation, Real):
            facts["validation"] = float(validation)

        def model_of(x: Parameters, epoch: int) -> FactorModel:
            ran = {} if state is None else state.facts
            return self._model(x, train, rated, facts | ran | {"epoch": epoch})

        def model_now(x: Parameters | None, epoch: int) -> FactorModel:
            """Return the current epoch's model, of new arrays: a callback may change them."""
            assert state is not None
            return model_of(x.astype(self.dtype) if x else self._parameters(state, train), epoch)

        name = type(self).__name__
        with self.threads(), epoch_bar(name, epochs, shown=progress) as tell:
            try:
                clock = time.perf_counter()
                state = self.prepare(train, start, seed=int(seed))
                seconds = outcome.prepare_seconds_ = time.perf_counter() - clock
                outcome.n_epochs_ = state.epochs  # not 0 where a solver goes on from a checkpoint
                if keeps_best:
                    # The candidates for epoch 0; the better one gets the first record of the
                    # history.
                    candidates = [self._biases_alone(train, start)] if self.bias else []
                    if initial is not None:
                        given = self._without_unrated(start.astype(self.dtype), state, train)
                        candidates.append(given)
                    for candidate in candidates:
                        record = self._record(0, candidate, train, held_out, 0.0, evaluate)
                        if best.offer(record, candidate):
                            outcome.history_ = [record]
                # Without a candidate the comparison with NaN is false.
                first_mse = math.nan if best.parameters is None else best.mse
                if target_mse is not None and first_mse <= target_mse:
                    epochs, outcome.status_ = 0, "target"
                while state.epochs < epochs:
                    # Only what is between the two readings of the clock counts as training.
                    clock = time.perf_counter()
                    # Without the delay a Ctrl-C could come between an epoch's taking effect and its
                    # being counted.
                    with delayed_interrupt():
                        loss = self.step(state, stride)
                        self.synchronize(state)
                    seconds += time.perf_counter() - clock
                    if state.epochs <= outcome.n_epochs_:
                        step = f"{type(self).__name__}.step"
                        wanted = "must raise state.epochs by the epochs it trained"
                        raise RuntimeError(f"{step} {wanted}")
                    outcome.n_epochs_ = state.epochs
                    # Written so that NaN, for which every comparison is false, counts as diverged.
                    if not loss <= limit:
                        return self._diverged(outcome, loss)
                    # Copying the parameters takes time, so they are only copied if they are used. A
                    # callback that asks for the model gets it through `model_now`.
                    x = self._parameters(state, train) if evaluate or held_out is not None else None
                    record = self._record(state.epochs, x, train, held_out, seconds, evaluate)
                    if x is not None and keeps_best:
                        best.offer(record, x)
                    outcome.history_.append(record)
                    tell(record)
                    reason = stopping.reason(Progress(record, partial(model_now, x, state.epochs)))
                    if reason:
                        outcome.status_ = reason
                        break
            except KeyboardInterrupt:
                # Before the first epoch is over there is no model to return.
                if state is None or not state.epochs:
                    raise
                # The interrupt may have come after the last epoch but before it was noted above.
                outcome.status_, outcome.n_epochs_ = "interrupted", state.epochs
            with delayed_interrupt():
                last = self._parameters(state, train)
                # `step` returns a loss from before or during the last epoch, so this epoch's own
                # divergence shows only in its parameters.
                exploded_mse = self._exploded(last, train, limit)
                if exploded_mse:
                    return self._diverged(outcome, exploded_mse)
                outcome.best_epoch_ = state.epochs if best.parameters is None else best.epoch
                model = model_of(best.parameters or last, outcome.best_epoch_)
                model.fit["status"] = outcome.status_
                # A single update, so that a thread that predicts meanwhile never sees half of it.
                vars(self).update(vars(outcome), model_=model, _trained_on=rated)
        logger.info(
            "%s: %s after %d epochs, %.3f s", name, outcome.status_, outcome.n_epochs_, seconds
        )
        return self

    def initial_parameters(self, train: Ratings, seed: int = 0) -> Parameters:
        """Return the random parameters that ``fit(train, seed=seed)`` starts from.

        They can be given to several solvers, evaluated to know the error before the first epoch, or
        passed to ``prepare``, to call that and ``step`` by hand.

        Returns
        -------
        initial : Parameters
            In the solver's precision: factors, shapes (n_users, rank) and (n_items, rank), drawn
            according to ``init`` and ``init_scale``, see `initial_model`; biases of zero, shapes
            (n_users,) and (n_items,); and the mean of ``train``, or 0 with ``bias=False``.

        Raises
        ------
        TypeError, ValueError
            Where `fit` would refuse the solver's parameters, ``train`` or ``seed``.
        """
        self.check_params()
        _check_ratings(train)
        _check_seed(seed)
        return initial_model(
            self.objective,
            train,
            int(seed),
            self.init,
            self.init_scale,
            self.dtype,
            self.n_threads,
        )

    def partial_fit(
        self, ratings: Ratings, *, sweeps: int = 1, history: Ratings | None = None
    ) -> Self:
        """Let the model learn of new ratings, without a fit; the first call is a fit.

        The rows of the users and items of new ratings are solved for exactly, with all of their
        ratings and with all other rows fixed: users, items, and users again. So the objective of
        all ratings does not rise, whatever solver the fit was done by. Users and items may be new,
        and ratings come in any order; the rating of a pair that was rated before takes the place of
        the old one. The mean and the unit of the penalties stay those of the last fit: fit anew now
        and then.

        ``model_`` is a new model afterwards; ``history_`` and the like are those of the last fit.

        Parameters
        ----------
        ratings
            New ratings, with raw ids as `Ratings.from_arrays` makes them.
        sweeps
            How often items are solved for. More lets new users and items come closer to where a fit
            would have put them.
        history
            The ratings up to now, for a solver that does not have them: one that was pickled, or
            whose ``model_`` was set. None for those of the fit and of earlier calls.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong, where the ratings up to now are not known, or not all of them,
            and for models of other libraries, which minimise something else.
        RatingsError
            For ids of the other kind than before.
        """
        self.check_params()
        _check_ratings(ratings, "ratings")
        check_count("sweeps", sweeps)
        if not len(ratings):
            raise ValueError("ratings must hold at least one rating, and is empty")
        known = self.__dict__.get("_trained_on") if history is None else history
        if "model_" not in self.__dict__:
            return self.fit(ratings if known is None else known.extended(ratings))
        model = self.model_
        if known is None:
            raise ValueError(
                "history must be given, since this solver does not have the ratings up to now: "
                "partial_fit(ratings, history=train)"
            )
        _check_ratings(known, "history")
        known = model.in_its_rows(known)
        together, n_new = extended_by(known, ratings)
        new = together.take(np.arange(len(together) - n_new, len(together)))
        model = model.learned(together, new, sweeps=int(sweeps), n_threads=self.n_threads)
        vars(self).update(_trained_on=together, model_=model)
        return self

    def predict(self, users: Any, items: Any, **options: Any) -> NDArray[np.float64]:
        """Predict ratings of pairs of raw ids; see `FactorModel.predict`."""
        model: FactorModel = self.model_
        return model.predict(users, items, **options)

    def recommend(self, users: Any = None, n: int = 10, **options: Any) -> Any:
        """Return the ``n`` best items for one user, many or all; see `FactorModel.recommend`."""
        model: FactorModel = self.model_
        return model.recommend(users, n, **options)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the hyper-parameters by name. ``deep`` is ignored; scikit-learn passes it."""
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
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(names)}",
                )
            setattr(self, name, value)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Whoever gets a copy of a solver need not get the training ratings.
        return {name: value for name, value in vars(self).items() if name != "_trained_on"}

    def __getattr__(self, name: str) -> Any:
        # Python calls this only for attributes that do not exist.
        if name == "model_" or name in Outcome.__dataclass_fields__:
            if self.__dict__.get("status_") == "diverged":
                advice = "the fit diverged; lower the learning rate or raise reg, and fit again"
            else:
                advice = "call fit first"
            raise NotFittedError(f"no {name}: {advice}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ---- parts of fit ---------------------------------------------------------------------------

    def check_params(self) -> None:
        """Raise ValueError if a hyper-parameter is wrong; backends extend it."""
        _ = self.objective  # its constructor checks its own parameters
        check_choice("dtype", self.dtype, ("float32", "float64"))
        check_choice("init", self.init, get_args(Init))
        check_count("epochs", self.epochs)
        check_number("init_scale", self.init_scale, positive=True)
        check_fits("reg", self.reg, self.dtype)
        if self.n_jobs != -1:
            check_count("n_jobs", self.n_jobs, optional=True)

    def _check(self, train: Ratings, validation: object, epochs: int, seed: int, keep: str) -> None:
        """Raise TypeError or ValueError if an argument of `fit` is wrong."""
        self.check_params()
        self._check_prepare()
        _check_ratings(train)
        is_share = isinstance(validation, Real) and not isinstance(validation, bool)
        if is_share:
            check_number("validation", validation, positive=True)
            if float(cast("float", validation)) >= 1:
                raise ValueError(
                    f"validation must be ratings, or a share of less than 1, got {validation!r}",
                )
        if not (validation is None or is_share or isinstance(validation, Ratings)):
            raise TypeError(
                f"validation must be Ratings, got {type(validation).__name__}; make them by "
                "train.encoder.encode_new, or give the share of the training ratings to split off"
            )
        if not len(train):
            raise ValueError("train has no ratings; at least one is needed")
        self._check_scale(train)
        if isinstance(validation, Ratings):
            given, wanted = (validation.n_users, validation.n_items), (train.n_users, train.n_items)
            same_rows = _same_rows(validation.encoder, train.encoder)
            if given != wanted or not same_rows:
                encoder = "the same" if same_rows else "another"
                raise ValueError(
                    f"validation must be encoded as train is: got {given} rows for {wanted}, and "
                    f"{encoder} encoder; use train.encoder.encode_new"
                )
        check_count("epochs", epochs)
        _check_seed(seed)
        check_choice("keep", keep, get_args(Keep))

    def _check_scale(self, train: Ratings) -> None:
        """Raise RatingsError if the ratings are too far apart, or not enough, for the precision."""
        unit = math.sqrt(train.summary.variance)
        if math.isfinite(unit):
            unit = rating_unit(train, train.summary.mean)
        least, most = self.rating_units.get(self.dtype, (0.0, math.inf))
        if not least <= unit <= most:
            raise RatingsError(
                f"train has ratings that differ by about {unit:.2g}; {type(self).__name__} in "
                f"{self.dtype} takes {least:g} to {most:g}: multiply them by a number, or give "
                'dtype="float64"'
            )

    def _check_prepare(self) -> None:
        """Raise TypeError if ``prepare`` takes no seed, as it was written up to version 0.2."""
        try:
            signature = inspect.signature(self.prepare, follow_wrapped=False)
        except ValueError:  # written in C, without a signature
            return
        try:
            signature.bind(None, None, seed=0)
        except TypeError:
            raise TypeError(
                f"{type(self).__name__}.prepare must take the seed: write `def prepare(self, "
                "train: Ratings, initial: Parameters, *, seed: int)`, "
                "whether or not it draws anything"
            ) from None

    def _start(
        self,
        train: Ratings,
        seed: int,
        initial: Parameters | FactorModel | None,
    ) -> Parameters:
        """Return the initial parameters, drawn or given, in the solver's precision."""
        if initial is None:
            return self.initial_parameters(train, seed)
        if not isinstance(initial, Parameters | FactorModel):
            raise TypeError(
                f"initial must be Parameters or a FactorModel, got {type(initial).__name__}",
            )
        given = initial.parameters if isinstance(initial, FactorModel) else initial
        if isinstance(initial, FactorModel) and not _same_rows(initial.encoder, train.encoder):
            reason = "it was fitted on other ids, or in another order"
            raise ValueError(f"initial must be a model of these rows: {reason}")
        shapes = [
            given.user_factors.shape,
            given.item_factors.shape,
            given.user_bias.shape,
            given.item_bias.shape,
        ]
        wanted = [
            (train.n_users, self.rank),
            (train.n_items, self.rank),
            (train.n_users,),
            (train.n_items,),
        ]
        if shapes != wanted:
            needed = f"arrays of shapes {wanted} for these ratings and this rank"
            raise ValueError(f"initial must have {needed}, got {shapes}")
        if not given.is_finite():
            raise ValueError("initial holds numbers that are not finite")
        if not self.bias and (given.mean or given.user_bias.any() or given.item_bias.any()):
            found = "a mean or biases, which a model with bias=False does not"
            raise ValueError(f"initial has {found}; set them to zero")
        start = given.astype(self.dtype)
        if not start.is_finite():
            raise ValueError(f"initial holds numbers beyond {self.dtype}")
        # The given model may be of other ratings, with another mean.
        start.mean = self.objective.mean(train)
        return start

    def _parameters(self, state: State, train: Ratings) -> Parameters:
        """Return a copy of the parameters, in which rows without training ratings are zero."""
        return self._without_unrated(self.parameters(state), state, train)

    def _without_unrated(self, x: Parameters, state: State, train: Ratings) -> Parameters:
        """Set rows without training ratings to zero. Their initial values would mean nothing."""
        if state.row_weights is None:
            state.row_weights = train.user_weights(), train.item_weights()
        for side, weights in zip(("user", "item"), state.row_weights, strict=True):
            unrated = weights == 0
            if not unrated.any():
                continue
            for name in (f"{side}_factors", f"{side}_bias"):
                # A copy, since a backend may return arrays that cannot be written to.
                array = np.array(getattr(x, name))
                array[unrated] = 0
                setattr(x, name, array)
        return x

    def _biases_alone(self, train: Ratings, like: Parameters) -> Parameters:
        """Return the damped biases, with factors of zero in the shapes of ``like``."""
        b, c = self.objective.biases_alone(train)
        p, q = np.zeros_like(like.user_factors), np.zeros_like(like.item_factors)
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
        """Return a row of the history; what is not computed in it is NaN."""
        objective = train_mse = validation_mse = math.nan
        if x is not None and evaluate:
            objective, train_mse = self.objective.value_and_mse(x, train)
        if x is not None and validation is not None:
            validation_mse = mean_squared_error(x, validation)
        return EpochRecord(epoch, seconds, objective, train_mse, validation_mse)

    def _model(
        self,
        x: Parameters,
        train: Ratings,
        rated: Ratings,
        facts: dict[str, Any],
    ) -> FactorModel:
        summary = train.summary
        fit = {"solver": type(self).__name__, **self.get_params(), **facts}
        fit |= self._minimised(train, x.mean)
        return FactorModel(
            x,
            train.encoder,
            (summary.low, summary.high),
            summary.mean,
            rated,
            fit,
            math.sqrt(summary.variance),
        )

    def _minimised(self, train: Ratings, mean: float) -> dict[str, float]:
        """Return what the objective takes of the training ratings, to solve for further rows."""
        return {"weight": train.summary.weight, "rms": rating_unit(train, mean)}

    def _exploded(self, x: Parameters, train: Ratings, limit: float) -> float:
        """Return 0 for a usable model, and the training MSE (or NaN) for one that has diverged."""
        return exploded(x, train, limit)

    def _diverged(self, outcome: Outcome, loss: float) -> Self:
        """End a fit that diverged: no model, and a warning."""
        outcome.status_ = "diverged"
        self.__dict__.pop("model_", None)
        vars(self).update(vars(outcome))
        remedy = "Raise reg or damping, and check the scale of the ratings"
        if hasattr(self, "learning_rate"):
            remedy = "Lower the learning rate or raise reg"
        warnings.warn(
            f"{type(self).__name__} diverged in epoch {self.n_epochs_} (training MSE {loss:.3g}); "
            f"it has no model. {remedy}",
            DivergenceWarning,
            stacklevel=3,  # the line that called `fit`
        )
        return self


def _check_ratings(ratings: object, name: str = "train") -> None:
    """Raise TypeError unless an argument is `Ratings`."""
    if not isinstance(ratings, Ratings):
        raise TypeError(
            f"{name} must be Ratings, got {type(ratings).__name__}; make them by "
            "Ratings.from_frame or Ratings.from_arrays"
        )


def _check_seed(seed: object) -> None:
    """Raise ValueError unless ``seed`` is an integer of at least 0."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")


def _same_rows(a: RatingEncoder | None, b: RatingEncoder | None) -> bool:
    """Return whether two encoders give the same rows to the same ids."""
    if a is None or b is None or a is b:
        return a is b
    return a.same_rows(b)
