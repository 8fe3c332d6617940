"""What the solvers on Spark share: the session, and fits to a file that the driver never reads."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from backends._seen import SeenElsewhere
from backends.factorizer import Factorizer
from backends.model import FactorModel
from backends.objective import Parameters
from backends.ratings import Ratings

from .on_cluster import RatingsOnCluster, read_parquet
from .session import open_session, users_session_kept

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_COLUMNS = {"user": "user", "item": "item", "rating": "rating"}


@dataclass(kw_only=True, eq=False)
class SparkSolver(Factorizer):
    """Base class of the solvers on Spark.

    ``fit`` takes `Ratings`, or the path of a Parquet file or folder that all executors can read.
    Then no rating comes to the driver, and rows are numbered by ascending id; a model of such a fit
    does not know which items a user has rated.

    Parameters
    ----------
    master
        Where Spark runs: "local[*]", in threads of this machine, as many as ``n_jobs``;
        "spark://host:7077" for a standalone cluster, "yarn", or what else Spark knows.
    conf
        Settings of Spark, such as ``{"spark.executor.memory": "8g"}``.
    columns
        Names of the columns of a Parquet file: "user", "item", "rating", and "weight" if there is
        one.
    """

    master: str = "local[*]"
    conf: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=lambda: dict(_COLUMNS))

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        if not isinstance(self.master, str) or not self.master:
            raise ValueError(
                'master must be a text such as "local[*]" or "spark://host:7077", '
                f"got {self.master!r}"
            )
        for name in ("conf", "columns"):
            value = getattr(self, name)
            if not isinstance(value, Mapping) or not all(
                isinstance(text, str) for pair in value.items() for text in pair
            ):
                raise ValueError(f"{name} must be a dict of texts, got {value!r}")
        if not set(_COLUMNS) <= set(self.columns) <= {*_COLUMNS, "weight"}:
            raise ValueError(
                'columns must name "user", "item" and "rating", and may name "weight", '
                f"got {self.columns!r}"
            )

    def fit(
        self,
        train: Ratings | str | os.PathLike[str],
        validation: Ratings | float | None = None,
        **options: Any,
    ) -> Self:
        """Fit ``model_`` to ratings, or to the Parquet file of a path; see `Factorizer.fit`.

        Raises
        ------
        BackendUnavailable
            Without Java, or if no master answers.
        ClusterError
            When Spark gives up; the message says why.
        RatingsError
            For a file that cannot be read, or ratings that cannot be factorised.
        ValueError
            Also for validation ratings with a path: those need the ratings on the driver.
        """
        is_path = isinstance(train, str | os.PathLike)
        if is_path and (validation is not None or options.get("evaluate")):
            raise ValueError(
                "validation must be None, and evaluate False, with the path of a file, whose "
                "ratings do not come to the driver"
            )
        self.check_params()
        with users_session_kept():
            if isinstance(train, str | os.PathLike):
                train = self._read(self._session(), train)
            super().fit(train, validation, **options)
        if is_path:  # the driver has no ratings, which `partial_fit` needs
            vars(self).pop("_trained_on", None)
        return self

    @property
    def works_elsewhere(self) -> bool:
        """Whether other processes than this one's children do the work."""
        return not self.master.startswith("local")

    def threads(self) -> AbstractContextManager[None]:
        """Return a context that limits nothing: the driver computes next to nothing."""
        return contextlib.nullcontext()

    def _read(self, session: SparkSession, path: str | os.PathLike[str]) -> RatingsOnCluster:
        """Return what the driver knows of a file; see `read_parquet`."""
        name = os.fspath(path)
        if self.master.startswith("local") and not re.match(r"\w[\w+.-]+:", name):  # no "hdfs:"
            name = os.path.abspath(name)  # Java may have been started in another folder
        return read_parquet(session, name, self.columns)

    def _exploded(self, x: Parameters, train: Ratings, limit: float) -> float:
        if isinstance(train, RatingsOnCluster):  # whose MSE `step` has looked at
            return 0.0 if x.is_finite() else math.nan
        return super()._exploded(x, train, limit)

    def _session(self) -> SparkSession:
        return open_session(self.master, self.n_threads, self.conf)

    def _model(
        self, x: Parameters, train: Ratings, rated: Ratings, facts: dict[str, Any]
    ) -> FactorModel:
        model = super()._model(x, train, rated, facts)
        model.fit.pop("conf", None)  # it may hold passwords, and the model is saved
        if isinstance(rated, RatingsOnCluster):
            model.training = SeenElsewhere(rated.item_counts())
        return model
