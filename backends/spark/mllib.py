"""Spark's own alternating least squares: MLlib's."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from backends._arrays import Float
from backends._validation import check_count
from backends.objective import Parameters, rating_unit
from backends.peers.peer import (
    RESTARTS,
    FitTo,
    Offset,
    Peer,
    PeerFacts,
    PeerState,
)
from backends.ratings import Ratings

from .on_cluster import (
    RatingsOnCluster,
    check_distinct,
    damped_biases_on,
    forget,
    packed_side,
    residuals_of,
)
from .session import keep_chains_short, n_slots, run_job
from .solver import SparkSolver

if TYPE_CHECKING:
    from pyspark.ml.recommendation import ALSModel
    from pyspark.sql import DataFrame, SparkSession

_BLOCKS_PER_SLOT = 2


@dataclass(eq=False)
class _Session:
    spark: SparkSession
    frame: DataFrame  # kept by the executors: user, item, target
    shape: tuple[int, int]
    seed: int
    sources: Any = None  # from which the frame can be computed again
    model: ALSModel | None = None


@dataclass(kw_only=True, eq=False)
class MLlibALS(Peer, SparkSolver):
    """MLlib's ALS (Zhou et al. 2008; Meng et al. 2016, JMLR 17), by blocks of users and items.

    It knows neither mean nor biases. With a path, the damped biases are computed on the cluster.
    Factors come to the driver one side after the other.
    """

    facts: ClassVar[PeerFacts] = PeerFacts(
        library="pyspark",
        licence="Apache-2.0",
        minimises="squared error + reg for each rating on factors",
        biases="none; those of the damped biases with fit_to='residuals'",
        start="its own: random numbers, of at least 0 in its first half-epoch",
        seed="its initial factors",
        stepping=RESTARTS,
        threads="n_jobs tasks at once on a local master; the master's elsewhere",
        precision="float32; normal equations in float64",
    )
    modules: ClassVar[tuple[str, ...]] = ("pyspark",)
    steppable: ClassVar[bool] = False
    search_space: ClassVar[dict[str, tuple[float, float]]] = {"reg": (0.01, 1.0)}

    reg: float = 0.1
    fit_to: FitTo = "residuals"

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PeerState:
        """Give the ratings to the executors; see the base class."""
        if not isinstance(train, RatingsOnCluster):
            return super().prepare(train, initial, seed=seed)
        self.check_seed(seed)
        session = self._session()
        offset, frame, sources = self._on_cluster(session, train)
        return PeerState(session=self._kept(session, frame, train, seed, sources), offset=offset)

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return the ratings as a frame that the executors keep."""
        session = self._session()
        table = pa.table({"user": train.users, "item": train.items, "target": targets})
        frame = run_job(session, "sending the ratings", lambda: session.createDataFrame(table))
        return self._kept(session, frame, train, seed)

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Fit from the beginning."""
        from pyspark.ml.recommendation import ALS

        keep_chains_short(session.spark)
        blocks = _BLOCKS_PER_SLOT * n_slots(session.spark)
        solver = ALS(
            rank=self.rank,
            maxIter=n_epochs,
            regParam=self.reg,
            numUserBlocks=blocks,
            numItemBlocks=blocks,
            userCol="user",
            itemCol="item",
            ratingCol="target",
            seed=session.seed,
        )
        session.model = run_job(
            session.spark, "fitting by MLlib", lambda: solver.fit(session.frame)
        )

    def read(self, session: _Session) -> Parameters:
        """Return the factors; rows without ratings have none."""
        n_users, n_items = session.shape
        p, q = np.zeros((n_users, self.rank)), np.zeros((n_items, self.rank))
        if session.model is not None:
            for factors, frame in ((p, session.model.userFactors), (q, session.model.itemFactors)):
                found = run_job(session.spark, "reading factors", frame.toArrow)
                for batch in found.to_batches():
                    values = batch.column("features").flatten().to_numpy()
                    factors[batch.column("id").to_numpy()] = values.reshape(-1, self.rank)
        return Parameters(0.0, np.zeros(n_users), np.zeros(n_items), p, q)

    def fit_to_folder(
        self,
        train: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        *,
        epochs: int | None = None,
        seed: int = 0,
    ) -> None:
        """Fit to a Parquet file, and leave the model on the cluster, as Parquet.

        The driver then holds ids and biases, and no factors. The folder gets three tables: "users"
        (user, bias, factors), "items" (item, bias, factors), and "summary", of one row (mean). A
        prediction is the mean, plus both biases, plus the product of the factors.

        Parameters
        ----------
        train
            As in `fit`.
        folder
            To which the executors can write; it must not hold any of the tables yet.
        epochs, seed
            As in `fit`.

        Raises
        ------
        ClusterError, RatingsError
            As `fit`; also for a folder that cannot be written to.
        """
        epochs = self.epochs if epochs is None else epochs
        check_count("epochs", epochs)
        self.check_seed(seed)
        self.check_params()
        spark = self._session()
        place = os.fspath(folder).rstrip("/")
        for name in ("users", "items", "summary"):
            if _exists(spark, f"{place}/{name}"):
                raise ValueError(f"folder must not hold {name} yet, and {place} does")
        ratings = self._read(spark, train)
        offset, frame, sources = self._on_cluster(spark, ratings)
        session = self._kept(spark, frame, ratings, seed, sources)
        self.fit_epochs(session, epochs)
        assert session.model is not None
        encoder = ratings.encoder
        assert encoder is not None
        offset = offset or Offset(0.0, None)
        biases = offset.biases or (np.zeros(ratings.n_users), np.zeros(ratings.n_items))
        sides = {
            "user": (encoder.labels[0].values, biases[0], session.model.userFactors),
            "item": (encoder.labels[1].values, biases[1], session.model.itemFactors),
        }
        for role, (ids, bias, factors) in sides.items():
            rows = pa.table({"id": np.arange(len(bias), dtype=np.int32), role: ids, "bias": bias})
            sent = run_job(spark, f"sending the {role}s", partial(spark.createDataFrame, rows))
            table = factors.join(sent, "id")
            table = table.select(role, "bias", factors["features"].alias("factors"))
            writer = table.write.parquet
            run_job(spark, f"writing the {role}s", partial(writer, f"{place}/{role}s"))
        summary = spark.createDataFrame(pa.table({"mean": [offset.mean]}))
        run_job(spark, "writing", partial(summary.write.parquet, f"{place}/summary"))

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        if "weight" in self.columns:
            raise ValueError("columns must name no weight: pyspark takes none; every rating counts")

    def _kept(
        self,
        session: SparkSession,
        frame: DataFrame,
        train: Ratings,
        seed: int,
        sources: Any = None,
    ) -> _Session:
        """Have the executors keep a frame, from which MLlib reads."""
        blocks = _BLOCKS_PER_SLOT * n_slots(session)
        kept = frame.repartition(blocks).cache()
        made = _Session(session, kept, (train.n_users, train.n_items), seed, sources)
        weakref.finalize(made, forget, kept)
        run_job(session, "reading the ratings", kept.count)
        return made

    def _on_cluster(
        self, session: SparkSession, train: RatingsOnCluster
    ) -> tuple[Offset | None, DataFrame, Any]:
        """Return what is subtracted from a file's ratings, what is left, and its sources."""
        from pyspark.sql import functions as F

        mean = train.summary.mean
        if self.fit_to != "residuals":
            check_distinct(session, train)
            mean = mean if self.fit_to == "centred" else 0.0
            target = (F.col("rating") - F.lit(mean)).cast("float").alias("target")
            offset = Offset(mean, None) if self.fit_to == "centred" else None
            return offset, train.frame.select("user", "item", target), None
        users, items = (
            packed_side(
                session,
                train.frame,
                train,
                side,
                n_parts=None,
                dtype="float64",
                mean=mean,
                unit=rating_unit(train, mean),
                objective=self.objective,
            )
            for side in ("user", "item")
        )
        biases = damped_biases_on(session, users, items, float(np.sqrt(train.summary.variance)))
        return Offset(mean, biases), residuals_of(session, users, *biases), users


def _exists(session: SparkSession, path: str) -> bool:
    """Return whether there is a file or folder, in whatever storage the path names."""
    context = session.sparkContext
    hadoop = context._jvm.org.apache.hadoop.fs.Path(path)
    return bool(hadoop.getFileSystem(context._jsc.hadoopConfiguration()).exists(hadoop))
