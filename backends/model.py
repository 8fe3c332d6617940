"""The fitted model: predictions and recommendations for raw ids, and its file format.

It does not depend on any solver.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from backends._engine.cores import available_cores

from . import _model_file
from ._files import written_whole
from ._growth import NewRows, Side, check_complete, grown, new_rows, over_rows, updated
from ._id_columns import IdColumn
from ._ids import (
    RowIds,
    RowLabels,
    as_labels,
    joined,
    look_up,
)
from ._model_members import hash_of, read, versions
from ._rows import Problem
from ._seen import SeenElsewhere, SeenItems
from ._validation import check_choice, check_count, check_number
from .lists import (
    Candidates,
    Directions,
    KeptTables,
    ListMaker,
    Lists,
    Recommendation,
    Similar,
    write_parquet,
)
from .objective import Objective, Parameters
from .ratings import RatingEncoder, Ratings, known_rows

# The weight of popularity in lists. Of 0.05, 0.1, 0.15, ... it is the smallest for which under 2 %
# of the recommended items have three ratings or fewer, with three solvers on six data sets;
# `docs/lists.md` has the figures, and those of data sets that it was not chosen on.
POPULARITY = 0.25

_USERS_PER_PART = 1 << 16  # of a file of lists
_FEW_BANNED = 1000  # items that it costs less to leave out of each list than of the table

_NO_LIST = "Users without training ratings have no list: show them what is popular"


@dataclass(eq=False)
class FactorModel:
    """Predicts r_ui = m + b_u + c_i + p_u . q_i for raw ids.

    Parameters
    ----------
    parameters
        Biases and factors; all finite.
    encoder
        Raw ids of the rows; None if raw ids are row numbers.
    rating_range
        Smallest and largest training rating, for clipping.
    rating_mean
        Mean training rating: the prediction for an unknown user and an unknown item.
    training
        For ``exclude_seen``: the training ratings, or, in a loaded model, the items that each user
        rated. `SeenElsewhere` if neither is known.
    fit
        How it was fitted, saved with the model: the solver's class and hyper-parameters; ``seed``;
        ``validation``, the share that was split off, or whether there were validation ratings;
        ``warm_start``, whether an initial model was given; and ``epoch``, the number of epochs
        after which these were the parameters.
    rating_std
        Standard deviation of the training ratings, the unit of popularity in lists. None in models
        of earlier releases: then a quarter of the rating range.
    versions
        Versions of Python and of packages when a loaded model was saved.
    data
        Hash of the training ratings of a loaded model; "" where they are not known.
    """

    parameters: Parameters
    encoder: RatingEncoder | None
    rating_range: tuple[float, float]
    rating_mean: float
    training: Ratings | SeenItems | SeenElsewhere = field(repr=False)
    fit: dict[str, Any] = field(default_factory=dict, repr=False)
    rating_std: float | None = None
    versions: dict[str, str] = field(default_factory=dict, repr=False)
    data: str = field(default="", repr=False)
    _item_counts: NDArray[np.int64] | None = field(default=None, init=False, repr=False)
    _tables: KeptTables = field(default_factory=KeptTables, init=False, repr=False)

    @property
    def n_users(self) -> int:
        """Number of user rows."""
        return len(self.parameters.user_factors)

    @property
    def n_items(self) -> int:
        """Number of item rows."""
        return len(self.parameters.item_factors)

    def predict(
        self,
        users: Any,
        items: Any,
        *,
        unknown: Literal["error", "mean"] = "error",
        clip: bool = False,
    ) -> NDArray[np.float64]:
        """Predict ratings of (user, item) pairs.

        Parameters
        ----------
        users, items
            Raw ids, shape (n,) each. One of them may be a scalar, which is paired with each element
            of the other.
        unknown
            How to treat ids that were not in training. "error" raises. "mean" predicts the mean
            plus the bias of the known user or item, if one of them is known.
        clip
            Whether to clip to the range of the training ratings.

        Returns
        -------
        ndarray of float64, shape (n,)

        Raises
        ------
        UnknownIdError
            If ids are unknown and ``unknown="error"``; the message counts them and names some.
        RatingsError
            For text where the training ratings have integer ids or the other way round, whatever
            ``unknown`` is, and for ids that `Ratings.from_arrays` would refuse.
        ValueError
            If the shapes do not match.
        """
        if unknown not in ("error", "mean"):
            raise ValueError(f'unknown must be "error" or "mean", got {unknown!r}')
        # As they come: NumPy would make text of a list of integers and strings.
        user_ids, user_rows = self._users(users)
        item_ids, item_rows = look_up(self._labels()[1], items, "items")
        try:
            pairs = np.broadcast_arrays(user_rows, item_rows)
        except ValueError:
            shapes = f"{user_rows.shape} and {item_rows.shape}"
            raise ValueError(f"users and items must pair up, got shapes {shapes}") from None
        if unknown == "error":
            known_rows(user_rows, user_ids, "user")
            known_rows(item_rows, item_ids, "item")
            predictions = self.parameters.predict(*pairs)
        else:
            predictions = self._predict_with_unknown(*pairs)
        return np.clip(predictions, *self.rating_range) if clip else predictions

    def recommend(
        self,
        users: Any = None,
        n: int = 10,
        *,
        items: Any = None,
        exclude: Any = None,
        exclude_seen: bool = True,
        min_ratings: int = 0,
        popularity: float = POPULARITY,
        n_jobs: int | None = None,
    ) -> Any:
        """Return the ``n`` best items for one user, for many, or for all, best first.

        Items are ordered by `list_scores`, so not by the predicted rating alone. Fewer come back
        where fewer are left. Ties go to the item that appeared first in training.

        After the first list the arrays of ``parameters`` cannot be written to.

        Parameters
        ----------
        users
            A raw id; or several, shape (m,); None for all users.
        n
            Number of items.
        items
            Raw ids of the items to choose from, shape (k,); None for all.
        exclude
            Raw ids of items that are in nobody's list, shape (k,). Ids that were not in training
            are no error.
        exclude_seen
            Whether to leave out items that the user rated in training.
        min_ratings
            Items with fewer training ratings are left out.
        popularity
            See `list_scores`; 0 orders by the predicted rating.
        n_jobs
            Number of threads for many users; None for one per core that this process may use.

        Returns
        -------
        list of Recommendation
            For one user.
        Lists
            For many: arrays, or a frame by ``frame()``.

        Raises
        ------
        UnknownIdError
            For users or ``items`` that were not in training.
        RatingsError
            For ids of the other kind than those in training, as `predict`.
        ValueError
            If ``n``, ``min_ratings``, ``popularity`` or ``n_jobs`` is not a number that makes
            sense.
        """
        row = self._labels()[0].row_of(users)
        n_jobs = 1 if row >= 0 and n_jobs is None else n_jobs  # asking for cores takes time
        maker = self._list_maker(n, items, exclude, exclude_seen, min_ratings, popularity, n_jobs)
        if row < 0:
            rows = self._rows(users)
            if not _is_one(users):
                return self._lists(maker, rows)
            row = int(rows[0])
        x = self.parameters
        found = maker.of_one(x.user_factors, row)
        ratings = x.predict_of_user(row, found)
        low, high = self.rating_range
        items = self._labels()[1].take(found).tolist()
        return [
            Recommendation(item, min(max(rating, low), high))
            for item, rating in zip(items, ratings.tolist(), strict=True)
        ]

    def write_lists(
        self,
        path: str | os.PathLike[str],
        users: Any = None,
        n: int = 10,
        *,
        items: Any = None,
        exclude: Any = None,
        exclude_seen: bool = True,
        min_ratings: int = 0,
        popularity: float = POPULARITY,
        n_jobs: int | None = None,
    ) -> int:
        """Write the lists of many users, or of all, to a Parquet file, which appears whole.

        It has the columns user, rank (from 1), item and rating, by user and rank. Memory is taken
        for 65,536 users at a time. Arguments are those of `recommend`.

        Returns
        -------
        int
            Number of lines.

        Raises
        ------
        OSError
            If the file cannot be written; and what `recommend` raises.
        """
        rows = self._rows(users)
        maker = self._list_maker(n, items, exclude, exclude_seen, min_ratings, popularity, n_jobs)

        def parts() -> Iterator[Lists]:
            for first in range(0, max(1, len(rows)), _USERS_PER_PART):
                yield self._lists(maker, rows[first : first + _USERS_PER_PART])

        return write_parquet(path, parts())

    def similar_items(self, items: Any = None, n: int = 10, *, n_jobs: int | None = None) -> Any:
        """Return the ``n`` items with the most similar factors for one item, for many, or for all.

        Similarity is the cosine of the angle between the factors, from -1 to 1, in the precision of
        these. Biases and popularity have no part in it. An item without training ratings has
        similarity 0 to all.

        Parameters
        ----------
        items
            A raw id; or several, shape (m,); None for all items.
        n
            Number of similar items; the item itself is not one of them.
        n_jobs
            See `recommend`.

        Returns
        -------
        list of Similar
            For one item.
        Lists
            For many.

        Raises
        ------
        UnknownIdError, RatingsError, ValueError
            As `recommend`.
        """
        return self._similar("item", items, n, n_jobs)

    def similar_users(self, users: Any = None, n: int = 10, *, n_jobs: int | None = None) -> Any:
        """Return the ``n`` users with the most similar factors; see `similar_items`."""
        return self._similar("user", users, n, n_jobs)

    def item_vectors(
        self,
        *,
        popularity: float = POPULARITY,
        metric: Literal["inner_product", "euclidean"] = "inner_product",
    ) -> NDArray[np.float32]:
        """Return vectors of all items for a nearest-neighbour index, to search by `user_vectors`.

        Parameters
        ----------
        popularity
            See `list_scores`.
        metric
            "inner_product": the inner product with a user's vector is the score of `list_scores`
            less the mean and the user's bias, so it orders items alike. "euclidean": a further
            component gives all vectors the same length, so that the nearest item is the one with
            the highest score (Bachrach et al. 2014, "Speeding up the Xbox recommender system using
            a Euclidean transformation for inner-product spaces").

        Returns
        -------
        ndarray of float32, shape (n_items, rank + 1), or (n_items, rank + 2) if "euclidean"
            In the order of the encoder's ``items``.
        """
        check_choice("metric", metric, ("inner_product", "euclidean"))
        columns = [self.parameters.item_factors, self._item_constants(popularity)[:, None]]
        if metric == "euclidean":
            squares = sum((np.square(part, dtype=np.float64)).sum(axis=1) for part in columns)
            columns.append(np.sqrt(squares.max(initial=0) - squares)[:, None])
        with np.errstate(over="ignore"):
            vectors = np.hstack(columns).astype(np.float32)
        if not np.isfinite(vectors).all():
            raise ValueError("the factors are too large for float32, in which the vectors are")
        return vectors

    def user_vectors(
        self,
        users: Any = None,
        *,
        metric: Literal["inner_product", "euclidean"] = "inner_product",
    ) -> NDArray[np.float32]:
        """Return vectors of users to search an index of `item_vectors` by.

        Parameters
        ----------
        users
            Raw ids, shape (m,); None for all users.
        metric
            That of the index.

        Returns
        -------
        ndarray of float32, shape (m, rank + 1), or (m, rank + 2) if "euclidean"
        """
        check_choice("metric", metric, ("inner_product", "euclidean"))
        rows = self._rows(users)
        further = (1, 0) if metric == "euclidean" else (1,)
        vectors = np.empty((len(rows), self.parameters.user_factors.shape[1] + len(further)), "f4")
        vectors[:, : -len(further)] = self.parameters.user_factors[rows]
        vectors[:, -len(further) :] = further
        return vectors

    def write_item_vectors(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write `item_vectors` to a Parquet file with the columns item and vector."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        vectors = self.item_vectors(**options)
        ids = self._labels()[1].take_arrow(np.arange(self.n_items))
        rows = pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), vectors.shape[1])
        with written_whole(path) as file:
            pq.write_table(pa.table({"item": ids, "vector": rows}), file)

    def list_scores(self, users: Any, *, popularity: float = POPULARITY) -> NDArray[np.float64]:
        """Return the scores of all items by which each user's list is ordered.

        The score is the predicted rating, unclipped, plus popularity * std * log(1 + n), with the
        standard deviation of the training ratings and the item's number n of them. A model of
        ratings answers how a user would rate an item *if* she rated it. But people rate what they
        chose, and they choose what is known, so a list by the predicted rating alone shows items
        that hardly anybody would choose (Steck 2011, "Item popularity and recommendation
        accuracy").

        Parameters
        ----------
        users
            Raw ids, shape (n,); None for all users.
        popularity
            Weight of the popularity; 0 for predicted ratings.

        Returns
        -------
        ndarray of float64, shape (n, n_items)
            Columns are in the order of the encoder's ``items``.

        Raises
        ------
        UnknownIdError
            For users who were not in training.
        RatingsError
            For ids of the other kind than those in training, as `predict`.
        """
        constants = self._item_constants(popularity)
        rows = self._rows(users)
        x = self.parameters
        scores = x.user_factors[rows].astype(np.float64) @ x.item_factors.T.astype(np.float64)
        scores += x.mean + x.user_bias[rows, None].astype(np.float64) + constants
        return scores

    def fold_in(
        self,
        ratings: Ratings,
        *,
        side: Literal["user", "item"] = "user",
        unknown: Literal["error", "drop"] = "error",
        alone: bool = False,
        objective: Objective | None = None,
        n_jobs: int | None = None,
    ) -> FactorModel:
        """Return a model with users, or items, that were not in training: exactly, without a fit.

        Each of them gets the bias and the factors that minimise the objective given the rows of the
        other side, which stay what they are. So a list for somebody who has just rated five films
        takes a millisecond.

        Parameters
        ----------
        ratings
            All ratings of the new rows, with raw ids as `Ratings.from_arrays` makes them, in any
            order.
        side
            Whether users or items are new.
        unknown
            How to treat ratings of opposite rows that were not in training: "error" raises, "drop"
            leaves them out, and rows that have no others.
        alone
            Whether the model that comes back has the new rows alone on their side. Then nothing of
            this model is copied, and the popularity of items is that of this model.
        objective
            What to minimise, where another library fitted the model; None for what the fit
            minimised.
        n_jobs
            Number of threads for many rows; None for one per core that this process may use.

        Returns
        -------
        FactorModel
            Rows that this model has keep their numbers; new ones follow in the order of
            ``ratings``.

        Raises
        ------
        UnknownIdError
            For ratings of opposite rows that were not in training.
        RatingsError
            For ids of the other kind, and if no rating is left.
        ValueError
            For a row that this model has: its other ratings would be forgotten. See
            `Factorizer.partial_fit` for those.
        """
        check_choice("side", side, ("user", "item"))
        check_choice("unknown", unknown, ("error", "drop"))
        if not isinstance(ratings, Ratings):
            raise TypeError(
                f"ratings must be Ratings, got {type(ratings).__name__}; make them by "
                "Ratings.from_frame or Ratings.from_arrays"
            )
        problem, x = self._problem(objective), self.parameters
        labels = self._labels()
        own, other = labels if side == "user" else labels[::-1]
        opposites = (
            (x.item_factors, x.item_bias) if side == "user" else (x.user_factors, x.user_bias)
        )
        threads = _n_threads(n_jobs)
        new = new_rows(
            side,
            ratings,
            other,
            opposites,
            problem,
            drop_unknown=unknown == "drop",
            n_threads=threads,
        )
        every = new.labels.take_arrow(np.arange(len(new.labels)))
        is_known = look_up(own, every, f"{side}s")[1] >= 0
        if is_known.any():
            first = new.labels.take(np.flatnonzero(is_known)[:1]).tolist()[0]
            raise ValueError(
                f"{int(is_known.sum())} of {len(is_known)} {side}s (such as {first!r}) are in the "
                "model, and folding them in would forget their ratings in training; leave them "
                "out, or give new ratings of known rows to the solver's partial_fit"
            )
        if alone:
            return self._of_new_rows(side, new)
        return self._with_new_rows(side, new)

    def in_its_rows(self, history: Ratings) -> Ratings:
        """Return the ratings up to now over the rows of this model, and further ones after them.

        Raises
        ------
        ValueError
            If they lack ratings that this model was fitted to, or that were folded in.
        """
        labels = self._labels()
        history = over_rows(history, labels)
        training = self.training
        of_users: NDArray[Any] | None = None
        if isinstance(training, Ratings):
            of_users = training.user_counts()
        elif isinstance(training, SeenItems):
            of_users = np.diff(training.offsets)
        check_complete(history, labels, (of_users, self.item_counts()))
        return history

    def learned(
        self, ratings: Ratings, new: Ratings, *, sweeps: int = 1, n_threads: int = 1
    ) -> FactorModel:
        """Return a model in which the rows of new ratings are solved for again.

        See `Factorizer.partial_fit`.

        Parameters
        ----------
        ratings
            All ratings, over the rows of this model and further ones after them.
        new
            Those of them that are new.
        sweeps
            See `Factorizer.partial_fit`.
        n_threads
            Number of threads.
        """
        touched: dict[Side, NDArray[np.bool_]] = {
            "user": new.user_counts() > 0,
            "item": new.item_counts() > 0,
        }
        problem = dataclasses.replace(self._problem(None), weight=ratings.summary.weight)
        summary, facts = ratings.summary, {**self.fit, "weight": ratings.summary.weight}
        return dataclasses.replace(
            self,
            parameters=updated(
                self.parameters, ratings, touched, problem, sweeps=sweeps, n_threads=n_threads
            ),
            encoder=ratings.encoder,
            rating_range=(summary.low, summary.high),
            rating_mean=summary.mean,
            rating_std=math.sqrt(summary.variance),
            training=ratings,
            fit=facts,
            data="",
        )

    def item_counts(self) -> NDArray[np.int64]:
        """Return the number of training ratings of each item, shape (n_items,)."""
        if self._item_counts is None:  # counted once, at the first call
            known = self.training
            if isinstance(known, SeenElsewhere):
                self._item_counts = known.item_counts
            else:
                self._item_counts = _counts(known.items, self.n_items)
        return self._item_counts

    def _seen(self) -> SeenItems:
        """Return the items that each user rated, grouped once, at the first call.

        Raises
        ------
        ValueError
            If they are not known.
        """
        known = self.training  # read once: another thread may replace it meanwhile
        if isinstance(known, SeenElsewhere):
            raise ValueError(
                "which items a user has rated is not known to this model, as its training ratings "
                "stayed on a cluster; give exclude_seen=False"
            )
        if isinstance(known, Ratings):
            # What only the ratings tell: a pair that was rated twice counts twice.
            self.item_counts()
            self.data = self._data_hash()
            self.training = known = SeenItems.of(known)
        return known

    def _data_hash(self) -> str:
        """Return a hash of the training ratings, ids included; "" where they are not known."""
        known = self.training
        if self.data or not isinstance(known, Ratings):
            return self.data
        return hash_of(known)

    def save(self, file: str | os.PathLike[str] | IO[bytes]) -> None:
        """Write the model to a path or an open file (.npz, no pickle).

        At a path it appears whole or not at all. An open file need not be seekable. With it go the
        hyper-parameters and the outcome of its fit (``fit``), the versions of Python and of
        packages, and a hash of the training ratings.
        """
        _model_file.check_bytes(file, "wb")
        header = {
            "versions": versions(),
            "data": self._data_hash(),
            "mean": self.parameters.mean,
            "rating_range": self.rating_range,
            "rating_mean": self.rating_mean,
            "fit": self.fit,
            "rating_std": self.rating_std,
        }
        arrays: dict[str, NDArray[Any]] = {**self.parameters.arrays()}
        if isinstance(self.training, SeenElsewhere):
            arrays["item_counts"] = self.training.item_counts
        else:
            seen = self._seen()
            arrays |= {"seen_offsets": seen.offsets, "seen_items": seen.items}
            # Of a model with new users alone, whose popular items are those of another model.
            if not np.array_equal(self.item_counts(), _counts(seen.items, self.n_items)):
                arrays["item_counts"] = self.item_counts()
        ids = None if self.encoder is None else self.encoder.labels
        _model_file.write(file, header, arrays, ids)

    @classmethod
    def load(cls, file: str | os.PathLike[str] | IO[bytes], *, mmap: bool = False) -> FactorModel:
        """Read a model that `save` wrote, in this release or an earlier one.

        The file need not be trusted: nothing in it is run, and memory is taken for what it holds,
        at most a hundred times its size or 64 MiB.

        Parameters
        ----------
        file
            A path, or a file that was opened for reading bytes.
        mmap
            Whether arrays are mapped from the file at a path instead of read into memory. Processes
            that serve the same file share it then. It must not be written to meanwhile; `save`
            replaces a file and does not write to it.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ModelFileError
            For a file that is not a model, is damaged, or has a version this release does not read.
        """
        stored = read(file, mmap=mmap)
        counts = stored.pop("item_counts")
        model = cls(**stored)
        model._item_counts = counts
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: no training ratings, and no tables, made again."""
        training = self.training if isinstance(self.training, SeenElsewhere) else self._seen()
        return {**vars(self), "training": training, "_tables": KeptTables()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a pickle holds, also one of an earlier release."""
        added: dict[str, Any] = {"versions": {}, "data": "", "_item_counts": None}
        vars(self).update({**added, **state, "_tables": KeptTables()})

    def _item_constants(self, popularity: float) -> NDArray[np.float64]:
        """Return what is added to the products of factors in `list_scores`, for each item."""
        check_number("popularity", popularity)
        constants = self.parameters.item_bias.astype(np.float64)
        if popularity:
            low, high = self.rating_range
            std = (high - low) / 4 if self.rating_std is None else self.rating_std
            constants += popularity * std * np.log1p(self.item_counts())
        return constants

    def _rows(self, users: Any) -> NDArray[np.int32]:
        """Return the rows of users, None for all of them; raise UnknownIdError for unknown ids."""
        if users is None:
            return np.arange(self.n_users, dtype=np.int32)
        ids, rows = self._users(_column(users))
        known_rows(rows, ids, "user", _NO_LIST)
        return rows

    def _list_maker(
        self,
        n: int,
        items: Any,
        exclude: Any,
        exclude_seen: bool,
        min_ratings: int,
        popularity: float,
        n_jobs: int | None,
    ) -> ListMaker:
        """Return what makes lists by the arguments of `recommend`."""
        check_count("n", n)
        check_count("min_ratings", min_ratings, least=0)
        banned = np.empty(0, np.int32)
        if exclude is not None:
            _, banned = look_up(self._labels()[1], exclude, "items")
            banned = banned[banned >= 0]
        return ListMaker(
            candidates=self._candidates(popularity, min_ratings, items, banned),
            seen=self._seen() if exclude_seen else None,
            banned=banned if len(banned) <= _FEW_BANNED else banned[:0],
            n=int(n),
            n_threads=_n_threads(n_jobs),
        )

    def _candidates(
        self, popularity: float, min_ratings: int, items: Any, banned: NDArray[np.int32]
    ) -> Candidates:
        """Return the items that can be in a list; kept for the next list where it may be alike."""
        check_number("popularity", popularity)
        key = "recommend", float(popularity), int(min_ratings)
        is_usual = items is None and len(banned) <= _FEW_BANNED
        arrays = self.parameters.arrays()
        kept: Candidates | None = self._tables.get(key, arrays) if is_usual else None
        if kept is not None:
            return kept
        is_candidate = self.item_counts() >= min_ratings
        if items is not None:
            ids, rows = look_up(self._labels()[1], items, "items")
            known_rows(rows, ids, "item", "Leave them out of items=")
            chosen = np.zeros(self.n_items, bool)
            chosen[rows] = True
            is_candidate &= chosen
        if not is_usual:
            is_candidate[banned] = False
        x = self.parameters
        made = Candidates.of(x.item_factors, self._item_constants(popularity), is_candidate)
        if is_usual:
            self._tables.keep(key, arrays, made)
        return made

    def _similar(self, side: Literal["user", "item"], ids: Any, n: int, n_jobs: int | None) -> Any:
        """Return the lists of `similar_items` or `similar_users`."""
        check_count("n", n)
        labels = self._labels()[side == "item"]
        if ids is None:
            rows = np.arange(len(labels), dtype=np.int32)
        else:
            column, rows = look_up(labels, _column(ids), f"{side}s")
            known_rows(rows, column, side, "Leave them out")
        key = (f"similar {side}s",)
        table = self._tables.get(key, self.parameters.arrays())
        if table is None:
            table = Directions.of(getattr(self.parameters, f"{side}_factors"))
            self._tables.keep(key, self.parameters.arrays(), table)
        found, similarities = table.most_similar(rows, int(n), _n_threads(n_jobs))
        columns = side, f"similar_{side}", "similarity"
        if not _is_one(ids):
            return Lists(found, similarities, columns, (labels, rows), labels)
        listed = found[0] >= 0
        pairs = zip(labels.take(found[0, listed]).tolist(), similarities[0, listed], strict=True)
        return [Similar(label, float(value)) for label, value in pairs]

    def _problem(self, objective: Objective | None) -> Problem:
        """Return what is solved for new rows."""
        std = self.rating_std or math.sqrt(max(self.rating_mean**2, 1.0))
        weight = float(self.item_counts().sum())
        return Problem.of_model(self.parameters, self.fit, objective, std, weight)

    def _of_new_rows(self, side: Literal["user", "item"], new: NewRows) -> FactorModel:
        """Return a model with new rows alone on their side."""
        x = self.parameters
        arrays = x.arrays() | {f"{side}_factors": new.factors, f"{side}_bias": new.bias}
        parameters = Parameters(x.mean, **arrays)
        users, items = map(as_labels, self._labels())
        users, items = (new.labels, items) if side == "user" else (users, new.labels)
        model = dataclasses.replace(
            self,
            parameters=parameters,
            encoder=RatingEncoder.of_labels(users, items),
            training=SeenItems.of(new.ratings),
            data="",
        )
        if side == "user":
            model._item_counts = self.item_counts()
            model._tables.take(self._tables, "recommend", parameters.arrays(), x.arrays())
        return model

    def _with_new_rows(self, side: Literal["user", "item"], new: NewRows) -> FactorModel:
        """Return a model with new rows after its own."""
        ids, _ = joined(self._labels()[side == "item"], new.labels, f"{side}s")
        x, n_before = self.parameters, len(self._labels()[side == "item"])
        arrays = x.arrays()
        for name, added in (("factors", new.factors), ("bias", new.bias)):
            arrays[f"{side}_{name}"] = np.concatenate([getattr(x, f"{side}_{name}"), added])
        users, items = map(as_labels, self._labels())
        users, items = (ids, items) if side == "user" else (users, ids)
        training: SeenItems | SeenElsewhere
        pairs = [new.ratings.users, new.ratings.items]
        pairs[side == "item"] = pairs[side == "item"] + np.int32(n_before)
        shape = len(users), len(items)
        counts = grown(self.item_counts(), len(items)) + _counts(pairs[1], len(items))
        if isinstance(self.training, SeenElsewhere):
            training = SeenElsewhere(counts)
        else:
            training = self._seen().joined(pairs[0], pairs[1], shape)
        facts = dict(self.fit)
        if "weight" in facts:
            facts["weight"] = facts["weight"] + new.ratings.summary.weight
        model = dataclasses.replace(
            self,
            parameters=Parameters(x.mean, **arrays),
            encoder=RatingEncoder.of_labels(users, items),
            training=training,
            fit=facts,
            data="",
        )
        model._item_counts = counts
        return model

    def _lists(self, maker: ListMaker, rows: NDArray[np.int32]) -> Lists:
        """Return the lists of the users of some rows."""
        x = self.parameters
        found = maker.item_rows(x.user_factors, rows)
        values = np.full(found.shape, np.nan)
        lists, places = np.nonzero(found >= 0)
        predicted = x.predict(rows[lists], found[lists, places])
        values[lists, places] = np.clip(predicted, *self.rating_range)
        users, items = self._labels()
        return Lists(found, values, ("user", "item", "rating"), (users, rows), items)

    def _labels(self) -> tuple[RowLabels | RowIds, RowLabels | RowIds]:
        """Return the ids of the user rows and of the item rows."""
        if self.encoder is None:
            return RowIds(self.n_users), RowIds(self.n_items)
        return self.encoder.labels

    def _users(self, users: Any) -> tuple[IdColumn, NDArray[np.int32]]:
        """Return users as a column of ids, and their rows."""
        return look_up(self._labels()[0], users, "users")

    def _predict_with_unknown(
        self,
        user_rows: NDArray[np.int32],
        item_rows: NDArray[np.int32],
    ) -> NDArray[np.float64]:
        known = (user_rows >= 0) & (item_rows >= 0)
        out = np.full(len(user_rows), self.rating_mean)
        for rows, bias in (
            (user_rows, self.parameters.user_bias),
            (item_rows, self.parameters.item_bias),
        ):
            one_side = ~known & (rows >= 0)
            out[one_side] += bias[rows[one_side]]
        out[known] = self.parameters.predict(user_rows[known], item_rows[known])
        return out


def _n_threads(n_jobs: int | None) -> int:
    """Return the number of threads that ``n_jobs`` stands for."""
    if n_jobs is None or n_jobs == -1:
        return available_cores()
    check_count("n_jobs", n_jobs, optional=True)
    return int(n_jobs)


def _column(ids: Any) -> Any:
    """Return ids as a column, also a single one."""
    if not _is_one(ids):
        return ids
    return ids.reshape(1) if isinstance(ids, np.ndarray) else [ids]


def _is_one(ids: Any) -> bool:
    """Return whether this is a single id."""
    if isinstance(ids, str | bytes):
        return True
    return ids is not None and (not hasattr(ids, "__len__") or getattr(ids, "ndim", 1) == 0)


def _counts(items: NDArray[Any], n_items: int) -> NDArray[np.int64]:
    """Return how often each item occurs."""
    return np.bincount(items, minlength=n_items)
