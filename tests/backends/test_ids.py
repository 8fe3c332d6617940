"""Ids: of any container, of one kind, which never match ids of the other kind in silence."""

import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import FactorModel, Parameters, RatingEncoder, Ratings, RatingsError, UnknownIdError
from backends._coding import PART, number_integers, repeated_pairs

WORDS = ["b", "a", "b", "a\0", "é"]
NUMBERS = [5, 3, 5, -4, 0]


def coded(ids: Any) -> tuple[list[int], list[Any]]:
    """Rows and ids of a column of users."""
    train = Ratings.from_arrays(ids, list(range(len(ids))), np.ones(len(ids)))
    assert train.encoder is not None
    return train.users.tolist(), train.encoder.users.tolist()


def message(ids: Any) -> str:
    with pytest.raises(RatingsError) as caught:
        Ratings.from_arrays(ids, list(range(len(ids))), [1.0] * len(ids))
    return str(caught.value)


def model(users: list[Any], items: list[Any]) -> FactorModel:
    """Two users and two items, as many ratings."""
    train = Ratings.from_arrays(users, items, [1.0, 2.0])
    x = Parameters(3.0, np.array([0.5, 1.0]), np.zeros(2), np.zeros((2, 1)), np.zeros((2, 1)))
    return FactorModel(x, train.encoder, (1.0, 5.0), 1.5, train)


def kind_of(value: Any) -> str:
    """A name for a case; representations of Arrow arrays hold addresses."""
    return value if isinstance(value, str) else type(value).__name__


def categories(ids: list[Any]) -> pd.Categorical:
    found = pd.Categorical(ids)
    if len(found.categories) < len(set(ids)):
        pytest.skip(f"pandas {pd.__version__} takes two of these texts for one")
    return found


# ---- containers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        lambda ids: np.array(ids, object),
        pd.Series,
        pd.Index,
        lambda ids: categories(ids),
        lambda ids: pd.Series(categories(ids)),
        lambda ids: pd.Series(ids, dtype=object),
        pl.Series,
        pa.array,
        lambda ids: pa.chunked_array([ids[:2], [], ids[2:]]),
        lambda ids: pa.array(ids).dictionary_encode(),
        lambda ids: pa.chunked_array(
            [pa.array(ids[:2]).dictionary_encode(), pa.array(ids[2:]).dictionary_encode()]
        ),
        lambda ids: pa.RunEndEncodedArray.from_arrays(list(range(1, len(ids) + 1)), ids),
    ],
)
@pytest.mark.parametrize("ids", [WORDS, NUMBERS], ids=["text", "integers"])
def test_ids_of_any_container_are_the_same_ids(ids: list[Any], make: Callable[..., Any]) -> None:
    distinct = list(dict.fromkeys(ids))
    rows = [distinct.index(i) for i in ids]
    assert coded(make(ids)) == (rows, distinct)
    known = RatingEncoder(distinct[::-1], [0])
    assert known.user_rows(make(ids)).tolist() == [len(distinct) - 1 - row for row in rows]


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series(WORDS, dtype=pl.Categorical),
        pl.Series(WORDS, dtype=pl.Enum(["é", "z", "a\0", "a", "b"])),
        pa.array(WORDS, pa.string_view()),
        pa.DictionaryArray.from_arrays(
            pa.array([0, 1, 0, 2, 3]), pa.array(["b", "a", "a\0", "é"], pa.string_view())
        ),
        pa.array(WORDS, pa.large_string()),
        pa.array([word.encode() for word in WORDS], pa.binary()),
        [word.encode() for word in WORDS],
        np.array(WORDS, getattr(np.dtypes, "StringDType", lambda: object)()),  # of NumPy 2
        pd.Series(WORDS, dtype="string[python]"),
    ],
    ids=lambda ids: str(getattr(ids, "dtype", None) or getattr(ids, "type", None) or "bytes"),
)
def test_text_of_any_type_is_text(ids: Any) -> None:
    assert coded(ids) == ([0, 1, 0, 2, 3], ["b", "a", "a\0", "é"])


@pytest.mark.parametrize(
    "ids",
    [
        np.array([7, 2, 7], ">i4"),
        np.array([7, 2, 7], np.uint8),
        np.array([7, 0, 2, 0, 7])[::2],
        pl.Series([7, 2, 7], dtype=pl.UInt16),
        pd.Series([7, 2, 7], dtype="Int32"),
        pd.arrays.SparseArray([7, 2, 7]),
        [Decimal("7"), Decimal("2.00"), Decimal(7)],
        pa.array([Decimal("7"), Decimal("2.00"), Decimal(7)]),
        [np.int8(7), 2, np.uint64(7)],
    ],
    ids=kind_of,
)
def test_integers_of_any_type_are_integers(ids: Any) -> None:
    assert coded(ids) == ([0, 1, 0], [7, 2])


def test_nul_ends_no_id() -> None:
    words = ["a", "a\0b", "\0"]
    for ids in (words[:2], words, np.array(words[:2]), np.array(words[:2], "S")):
        assert coded(ids) == (list(range(len(ids))), words[: len(ids)])


def test_an_extension_type_is_what_it_is_stored_as() -> None:
    json = getattr(pa, "json_", None)  # new in Arrow 19
    texts = pa.array(["b", "a"])
    if json is not None:
        texts = pa.ExtensionArray.from_storage(json(), texts)
    assert coded(texts) == ([0, 1], ["b", "a"])
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8()))
    assert Ratings.from_arrays([1, 2], [1, 2], flags).ratings.tolist() == [1.0, 0.0]


def test_uuids_are_text() -> None:
    ids = [uuid.UUID(int=7), uuid.UUID(int=2), uuid.UUID(int=7)]
    expected = [0, 1, 0], [str(ids[0]), str(ids[1])]
    assert coded(ids) == expected
    stored = pa.array([one.bytes for one in ids], pa.binary(16))
    of_arrow = pa.ExtensionArray.from_storage(pa.uuid(), stored)
    assert coded(of_arrow) == expected
    assert coded(pa.chunked_array([of_arrow])) == expected
    assert coded(pl.Series(ids, dtype=pl.Object)) == expected
    assert model(ids[:2], [1, 2]).predict(ids[1], [1, 2]).tolist() == [4.0, 4.0]


def test_categories_without_ratings_are_no_users() -> None:
    ids = pd.Categorical(["c", "a", "c"], categories=["a", "unused", "b", "c"])
    assert coded(ids) == ([0, 1, 0], ["c", "a"])
    assert coded(pd.Categorical([9, 5], categories=[1, 5, 9])) == ([0, 1], [9, 5])
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1]), pa.array(["a", "b", "a"]))
    assert coded(twice) == ([0, 1, 0, 1], ["a", "b"])
    known = RatingEncoder(["a", "c"], [0])
    assert known.user_rows(ids).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "ids",
    [
        np.ma.MaskedArray([1, 999], [False, True]),
        np.ma.MaskedArray(["a", "b"], [False, True]),
        np.ma.MaskedArray(np.array(["a", "b"], object), [False, True]),
        pa.array(["a", None]),
        pa.array([b"a", None]),
        pa.array([1, None]),
        pa.array([1.0, None]),
        pl.Series([1, None]),
        pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None])),
        [uuid.UUID(int=1), None],
        [Decimal(1), None],
        [b"a", pd.NA],
        [1, np.ma.masked],
        [1, pd.NaT],
    ],
    ids=kind_of,
)
def test_masked_and_null_ids_are_missing(ids: Any) -> None:
    assert message(ids) == "users has 1 missing ids, the first at position 1; drop them"


def test_masked_ratings_are_not_trained_on() -> None:
    masked = np.ma.MaskedArray([1.0, 999.0], [False, True])
    expected = "ratings must be finite: 1 of 2 are not, the first is nan at position 1"
    for values in (
        masked,
        np.ma.MaskedArray([1, 999], [False, True]),
        pd.Series([1, None], dtype="Int64"),
        pl.Series([1, None]),
        pa.array([1, None]),
        pa.chunked_array([[Decimal("1.5")], [None]]),
        [1.0, None],
        [1.0, pd.NA],
    ):
        with pytest.raises(RatingsError) as caught:
            Ratings.from_arrays([1, 2], [1, 2], values)
        assert str(caught.value) == expected
    with pytest.raises(RatingsError, match="nan at position 1"):
        Ratings([0, 1], [0, 1], masked)
    with pytest.raises(RatingsError, match="users has masked rows"):
        Ratings(np.ma.MaskedArray([0, 1], [False, True]), [0, 1], [1.0, 2.0])


@pytest.mark.parametrize(
    "ratings",
    [
        [Decimal("1.5"), Decimal(2)],
        [Decimal("1.5"), 2],
        pa.array([Decimal("1.5"), Decimal(2)]),
        pl.Series([Decimal("1.5"), Decimal(2)]),
        pa.chunked_array([[1.5], [2]]),
        pa.array([1.5, 2.0]).dictionary_encode(),
        pd.Series([1.5, 2], dtype="Float64"),
        pd.Categorical([1.5, 2.0]),
    ],
    ids=kind_of,
)
def test_ratings_of_any_container_become_floats(ratings: Any) -> None:
    train = Ratings.from_arrays([1, 2], [1, 2], ratings)
    assert (train.ratings.tolist(), train.ratings.dtype) == ([1.5, 2.0], np.float64)


def test_arrow_ratings_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(RatingsError) as caught:
        Ratings.from_arrays([1, 2], [1, 2], pa.array(["good", "bad"]))
    assert str(caught.value) == "ratings must be numbers, got string (first: 'good')"


def test_one_value_is_a_column_of_one() -> None:
    for ids in ("ann", 7, np.array("ann"), np.int64(7), uuid.UUID(int=1), b"ann"):
        train = Ratings.from_arrays(ids, [1], 4.0)
        assert (len(train), train.ratings.tolist()) == (1, [4.0])
    with pytest.raises(RatingsError, match="users must be a sequence or an array, got a set"):
        Ratings.from_arrays({1, 2}, [1, 2], [1.0, 2.0])


# ---- kinds --------------------------------------------------------------------------------------


def test_integers_beyond_63_bits() -> None:
    ids = [2**64 - 1, 5, 2**63]
    assert coded(ids) == ([0, 1, 2], ids)
    known = RatingEncoder(ids, [1])
    assert known.users.dtype == np.uint64
    assert known.user_rows([5, 2**63]).tolist() == [1, 2]
    assert known.user_rows(np.array([-1, 5])).tolist() == [-1, 1]
    # Modulo 2**64 these are the same.
    assert RatingEncoder([-1, 5], [1]).user_rows([2**64 - 1]).tolist() == [-1]
    assert message([2**63, -1]) == (
        "users holds integers below 0 and from 2**63 on, which no 64-bit type holds together; "
        "turn the ids into strings"
    )
    for beyond in ([2**64, 1], [Decimal(2**64), Decimal(1)]):
        assert "64 bits" in message(beyond)
        assert message(beyond).endswith("turn the ids into strings")


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([Decimal("1.5"), Decimal(1)], "decimal numbers that are not whole"),
        ([b"a", b"\xff"], "bytes that are not UTF-8"),
        (pa.array([b"a", b"\xff"]), "bytes that are not UTF-8"),
        (["a", b"a"], "users mixes types (bytes and str)"),
        ([1, "x"], "users mixes types (int and str)"),
        ([uuid.UUID(int=1), "x"], "users mixes types (UUID and str)"),
        ([True, 1], "users mixes types (bool and int)"),
        (pd.Series([True, False]), "users must be integer or string ids, got bool"),
        (pa.array([True, False]), "users must be integer or string ids, got bool"),
        ([object(), object()], "users holds object objects"),
        (pd.period_range("2020", periods=2), "got extension<pandas.period"),
        (pd.interval_range(0, 2), "got extension<pandas.interval"),
        (pl.Series([[1], [2]]), "users must be integer or string ids, got large_list"),
        (np.array(["a", "b\ud800"]), "text that is not Unicode ('b\\ud800')"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_makes_no_id_is_refused(ids: Any, said: str) -> None:
    assert said in message(ids)


def test_ids_of_the_other_kind_are_refused_and_not_unseen() -> None:
    integers, text = model([1, 2], [10, 20]), model(["1", "2"], ["x", "y"])
    expected = (
        "users are text (first: '1'), but the training ratings have integer user ids (first: 1); "
        "convert them, as in [int(id) for id in users]"
    )
    assert integers.encoder is not None
    for ask in (
        lambda: integers.predict(["1"], [10], unknown="mean"),
        lambda: integers.predict("1", [10, 20]),
        lambda: integers.recommend("1"),
        lambda: integers.list_scores(["1"]),
        lambda: integers.encoder.encode_new(["1"], [10], [4.0]),
        lambda: integers.encoder.user_rows(pd.Categorical(["1"])),
    ):
        with pytest.raises(RatingsError) as caught:
            ask()
        assert str(caught.value) == expected
    with pytest.raises(RatingsError) as caught:
        text.predict(["1"], [7], unknown="mean")
    assert str(caught.value) == (
        "items are integers (first: 7), but the training ratings have text item ids (first: 'x'); "
        "convert them, as in [str(id) for id in items]"
    )


def test_a_list_of_both_kinds_is_refused_as_it_is_given() -> None:
    for known in (model([1, 2], [10, 20]), model(["1", "2"], [10, 20])):
        with pytest.raises(RatingsError) as caught:
            known.predict([1, "x"], [10, 20], unknown="mean")
        assert str(caught.value) == (
            "users mixes types (int and str); make all ids integers or all strings"
        )
        for missing in ([1, None], [np.nan, np.nan]):
            with pytest.raises(RatingsError, match="missing ids, the first at position"):
                known.predict(missing, [10, 20], unknown="mean")


def test_rows_without_ids_are_integers() -> None:
    known = model([1, 2], [10, 20])
    plain = FactorModel(known.parameters, None, (1.0, 5.0), 1.5, known.training)
    with pytest.raises(RatingsError, match=r"users are text .*have integer user ids"):
        plain.predict(["0"], [0], unknown="mean")
    with pytest.raises(UnknownIdError, match="1 unknown item id \\(2\\)"):
        plain.predict([0], [2])
    assert plain.predict(np.array([0, 1], np.uint8), 0).tolist() == [3.5, 4.0]


@pytest.mark.parametrize("dtype", [object, float, str, np.int64])
def test_nothing_can_be_asked_for_in_any_type(dtype: Any) -> None:
    nothing = np.array([], dtype)
    for known in (model([1, 2], [10, 20]), model(["1", "2"], ["x", "y"])):
        assert known.predict(nothing, nothing).shape == (0,)
        assert known.encoder is not None
        assert known.encoder.user_rows(nothing).shape == (0,)


def test_ids_must_pair_up_before_any_is_unknown() -> None:
    with pytest.raises(ValueError, match="must pair up"):
        model([1, 2], [10, 20]).predict([1, 99, 2], [10, 20])


# ---- the encoder --------------------------------------------------------------------------------


def test_ids_of_some_rows() -> None:
    known = RatingEncoder(["b", "a", "c"], [30, 10])
    assert known.user_ids([2, 0, 2]).tolist() == ["c", "b", "c"]
    assert known.item_ids(np.array([1])).tolist() == [10]
    for wrong in ([3], [-1], [0.5]):
        for ids in (known.user_ids, known.item_ids):
            with pytest.raises(RatingsError, match="must"):
                ids(wrong)
    assert repr(known) == "RatingEncoder(3 text user ids, 2 integer item ids)"
    assert known.same_rows(RatingEncoder(["b", "a", "c"], [30, 10]))
    assert not known.same_rows(RatingEncoder(["a", "b", "c"], [30, 10]))
    assert not known.same_rows(RatingEncoder([1, 2, 3], [30, 10]))


@pytest.mark.parametrize("kind", ["text", "integers", "wide"])
@pytest.mark.parametrize("n_asked", [1, 3, 5000])
def test_few_look_ups_and_many_find_the_same(kind: str, n_asked: int) -> None:
    """Among many ids: a few are found by bisection, many by a table."""
    rng = np.random.default_rng(0)
    numbers: Any = (
        np.unique(rng.integers(-(2**62), 2**62, 3000)) if kind == "wide" else np.arange(3000)
    )
    ids: list[Any] = rng.permutation(numbers).tolist()
    if kind == "text":
        ids = [f"{n}é" for n in ids]
    known = RatingEncoder(ids, [0])
    rows = rng.integers(-1, len(ids), n_asked)
    absent: Any = "zz" if kind == "text" else 10**18 + 1
    asked = [absent if row < 0 else ids[row] for row in rows]
    assert known.user_rows(asked).tolist() == rows.tolist()
    assert known.user_rows([absent]).tolist() == [-1]


def test_long_columns_are_numbered_by_first_appearance() -> None:
    """Longer than a part, so that new ids come in later parts."""
    rng = np.random.default_rng(0)
    for low, spread in ((0, 1), (-(2**63), 1), (2**62, 1), (0, 2**40)):
        ids = low + spread * rng.integers(0, 2 * PART, 3 * PART)
        rows, keys = number_integers([ids[:10], ids[10:]])
        expected, first = pd.factorize(ids)
        np.testing.assert_array_equal(rows, expected)
        np.testing.assert_array_equal(keys, first)


@pytest.mark.parametrize("n_items", [1, 50_000, 2**31 - 1])
def test_repeated_pairs_are_found_in_any_block(n_items: int) -> None:
    rng = np.random.default_rng(0)
    n = 1 << 20  # so many are looked at block by block
    users = rng.permutation(n).astype(np.int32)
    items = rng.integers(0, n_items, n).astype(np.int32)
    assert not len(repeated_pairs(users, items, n, n_items))
    for a, b in ((0, n - 1), (5, 7)):
        again, same = users.copy(), items.copy()
        again[a], same[a] = again[b], same[b]
        pair = int(again[a]) * n_items + int(same[a])
        assert repeated_pairs(again, same, n, n_items).tolist() == [pair]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8, unique=True),
    st.lists(st.integers(-(2**63), 2**64 - 1), max_size=8),
)
def test_signed_and_unsigned_ids_match_by_value(known: list[int], asked: list[int]) -> None:
    encoder = RatingEncoder(known, [0])
    for dtype in (np.int64, np.uint64):
        limits = np.iinfo(dtype)
        fits = [i for i in asked + known if limits.min <= i <= limits.max]
        expected = [known.index(i) if i in known else -1 for i in fits]
        assert encoder.user_rows(np.array(fits, dtype)).tolist() == expected
