"""The fitted model: predictions and recommendations for raw ids, and its file format.

It does not depend on any solver.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _model_file
from ._id_columns import IdColumn
from ._ids import RowIds, RowLabels, look_up
from ._validation import check_count, check_number
from .errors import ModelFileError
from .objective import Parameters
from .ratings import RatingEncoder, Ratings, known_rows

# The weight of popularity in lists. Of 0.05, 0.1, 0.15, ... it is the smallest for which under 2 %
# of the recommended items have three ratings or fewer, with three solvers on six data sets;
# `docs/lists.md` has the figures, and those of data sets that it was not chosen on.
POPULARITY = 0.25

_NO_LIST = "Users without training ratings have no list: show them what is popular"


class Recommendation(NamedTuple):
    """An item by raw id, and its predicted rating, clipped to the range of the training ratings."""

    item: Any
    rating: float


class SeenItems(NamedTuple):
    """Item rows that each user rated, in CSR form: ``items[offsets[u] : offsets[u + 1]]``."""

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]

    @classmethod
    def of(cls, ratings: Ratings) -> SeenItems:
        """Group the training pairs by user."""
        order = np.argsort(ratings.users, kind="stable")
        offsets = np.concatenate(([0], np.cumsum(ratings.user_counts()))).astype(np.int64)
        return cls(offsets, ratings.items[order])

    def check(self, n_users: int, n_items: int) -> None:
        """Raise ValueError unless these are valid for ``n_users`` and ``n_items`` rows."""
        offsets, items = self
        fits = offsets.shape == (n_users + 1,) and items.ndim == 1
        fits = fits and offsets.dtype.kind == items.dtype.kind == "i"
        fits = fits and offsets[0] == 0 and offsets[-1] == len(items)
        if not (fits and (np.diff(offsets) >= 0).all()):
            raise ValueError("its lists of seen items do not fit its users")
        if len(items) and not (items.min() >= 0 and items.max() < n_items):
            raise ValueError("its lists of seen items name items that it does not have")


class SeenElsewhere(NamedTuple):
    """In place of `SeenItems`, where the training ratings stayed on a cluster."""

    item_counts: NDArray[np.int64]  # number of ratings of each item


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
    """

    parameters: Parameters
    encoder: RatingEncoder | None
    rating_range: tuple[float, float]
    rating_mean: float
    training: Ratings | SeenItems | SeenElsewhere = field(repr=False)
    fit: dict[str, Any] = field(default_factory=dict, repr=False)
    rating_std: float | None = None
    _item_counts: NDArray[np.int64] | None = field(default=None, init=False, repr=False)

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
        user: Any,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        min_ratings: int = 0,
        popularity: float = POPULARITY,
    ) -> list[Recommendation]:
        """Return the ``n`` best items for one user, best first.

        Items are ordered by `list_scores`, so not by the predicted rating alone. Fewer come back
        where fewer are left. Ties go to the item that appeared first in training.

        Parameters
        ----------
        user
            Raw id.
        n
            Number of items.
        exclude_seen
            Whether to leave out items that the user rated in training.
        min_ratings
            Items with fewer training ratings are left out.
        popularity
            See `list_scores`; 0 orders by the predicted rating.

        Raises
        ------
        UnknownIdError
            For a user who was not in training.
        RatingsError
            For ids of the other kind than those in training, as `predict`.
        ValueError
            If ``n``, ``min_ratings`` or ``popularity`` is not a number that makes sense.
        """
        check_count("n", n)
        check_count("min_ratings", min_ratings, least=0)
        ids, row = self._users([user])
        known_rows(row, ids, "user", _NO_LIST)
        scores = self.list_scores([user], popularity=popularity)[0]
        is_left = self.item_counts() >= min_ratings
        if exclude_seen:
            seen = self._seen()
            first, last = seen.offsets[row[0] : row[0] + 2]
            is_left[seen.items[first:last]] = False
        left = np.flatnonzero(is_left)
        best = left[np.argsort(-scores[left], kind="stable")[:n]]
        items = self._labels()[1].take(best).tolist()
        ratings = self.parameters.predict(np.full(len(best), row[0]), best)
        shown = zip(items, np.clip(ratings, *self.rating_range).tolist(), strict=True)
        return [Recommendation(item, rating) for item, rating in shown]

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
            Raw ids, shape (n,).
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
        check_number("popularity", popularity)
        ids, rows = self._users(users)
        known_rows(rows, ids, "user", _NO_LIST)
        x = self.parameters
        scores = x.user_factors[rows].astype(np.float64) @ x.item_factors.T.astype(np.float64)
        scores += x.mean + x.user_bias[rows, None].astype(np.float64) + x.item_bias
        if popularity:
            low, high = self.rating_range
            std = (high - low) / 4 if self.rating_std is None else self.rating_std
            scores += popularity * std * np.log1p(self.item_counts())
        return scores

    def item_counts(self) -> NDArray[np.int64]:
        """Return the number of training ratings of each item, shape (n_items,)."""
        if self._item_counts is None:  # counted once, at the first call
            if isinstance(self.training, SeenElsewhere):
                self._item_counts = self.training.item_counts
            else:
                self._item_counts = np.bincount(self.training.items, minlength=self.n_items)
        return self._item_counts

    def _seen(self) -> SeenItems:
        """Return the items that each user rated, grouped once, at the first call.

        Raises
        ------
        ValueError
            If they are not known.
        """
        if isinstance(self.training, SeenElsewhere):
            raise ValueError(
                "which items a user has rated is not known to this model, as its training ratings "
                "stayed on a cluster; give exclude_seen=False"
            )
        if isinstance(self.training, Ratings):
            self.training = SeenItems.of(self.training)
        return self.training

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to ``path`` (.npz, no pickle); it appears whole or not at all."""
        header = {
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
        ids = None if self.encoder is None else self.encoder.labels
        _model_file.write(path, header, arrays, ids)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FactorModel:
        """Read a model that `save` wrote, in this release or an earlier one.

        The file need not be trusted: nothing in it is run, and memory is taken for what it holds,
        at most a hundred times its size or 64 MiB.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ModelFileError
            For a file that is not a model, is damaged, or has a version this release does not read.
        """
        try:
            with _model_file.opened(path) as archive:
                return cls._from_archive(archive)
        except FileNotFoundError:
            raise
        except _model_file.OtherVersion as error:
            read = " and ".join(map(str, _model_file.VERSIONS))
            raise ModelFileError(
                f"{os.fspath(path)} has format version {error}, this release reads versions "
                f"{read}; upgrade factorbench or save the model again"
            ) from None
        except Exception as error:
            # The readers of zip, zlib, npy and JSON each raise other errors for a damaged file.
            raise ModelFileError(
                f"{os.fspath(path)} is not a saved model, or is damaged ({error})",
            ) from error

    @classmethod
    def _from_archive(cls, archive: _model_file.Archive) -> FactorModel:
        """Make the model of a file's content; raises any kind of error if that is not possible."""
        header = archive.header
        user_factors = archive.array("user_factors", "f", (None, None))
        n_users, rank = user_factors.shape
        item_factors = archive.array("item_factors", "f", (None, rank))
        n_items = len(item_factors)
        parameters = Parameters(
            _finite(header["mean"], "mean"),
            archive.array("user_bias", "f", (n_users,)),
            archive.array("item_bias", "f", (n_items,)),
            user_factors,
            item_factors,
        )
        if not parameters.is_finite():
            raise ValueError("its arrays hold numbers that are not finite")
        seen: SeenItems | SeenElsewhere
        if archive.has("item_counts"):
            seen = SeenElsewhere(archive.array("item_counts", "i", (n_items,)).astype(np.int64))
        else:
            seen = SeenItems(
                archive.array("seen_offsets", "i", (n_users + 1,)),
                archive.array("seen_items", "i", (None,)),
            )
            seen.check(n_users, n_items)
        low, high = (_finite(bound, "rating range") for bound in header["rating_range"])
        if low > high:
            raise ValueError(f"its rating range is reversed: {low:g} to {high:g}")
        std = header.get("rating_std")
        if std is not None and _finite(std, "standard deviation of the ratings") < 0:
            raise ValueError("its standard deviation of the ratings is negative")
        return cls(
            parameters,
            _stored_encoder(archive, n_users, n_items),
            (low, high),
            _finite(header["rating_mean"], "mean of the ratings"),
            seen,
            dict(header.get("fit", {})),  # releases before 0.2 wrote none
            None if std is None else float(std),
        )

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


def _finite(value: Any, what: str) -> float:
    """Return a number of a file's header; raise ValueError unless it is finite."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ValueError(f"its {what} is not a finite number")
    return float(value)


def _stored_encoder(
    archive: _model_file.Archive, n_users: int, n_items: int
) -> RatingEncoder | None:
    """Return the raw ids in a model's file; None if its rows have none."""
    kinds = archive.header["ids"]
    if archive.version == 1:  # a flag; the arrays say which kind they are
        kinds = [None, None] if kinds else None
    if kinds is None:
        return None
    user_kind, item_kind = kinds
    users = archive.ids("user_ids", user_kind, n_users)
    return RatingEncoder.of_labels(users, archive.ids("item_ids", item_kind, n_items))
