"""Ratings and their encoder: what is accepted, what is refused in which words, and ids survive."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends import RatingEncoder, Ratings, RatingsError
from backends._coding import repeated_pairs

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=8)


def message(*args: object, **kwargs: object) -> str:
    """What `Ratings.from_arrays` says when it refuses."""
    with pytest.raises(RatingsError) as caught:
        Ratings.from_arrays(*args, **kwargs)
    return str(caught.value)


def frame() -> pd.DataFrame:
    return pd.DataFrame({"user": ["b", "a", "b"], "item": [7, 7, 9], "rating": [1.0, 2.0, 3.0]})


# ---- what is accepted ---------------------------------------------------------------------------


def test_ids_are_encoded_by_first_appearance() -> None:
    train = Ratings.from_arrays(["b", "a", "b"], [90, -7, -7], [1, 2, 3])
    assert train.users.tolist() == [0, 1, 0]
    assert train.items.tolist() == [0, 1, 1]
    assert train.encoder is not None
    assert train.encoder.users.tolist() == ["b", "a"]
    assert train.encoder.items.tolist() == [90, -7]
    assert (train.n_users, train.n_items, len(train)) == (2, 2, 3)
    assert repr(train) == "Ratings(3 ratings, 2 users x 2 items)"


@pytest.mark.parametrize(
    "kind", ["list", "tuple", "array", "series", "categorical", "nullable", "int8"]
)
def test_ids_come_in_any_container(kind: str) -> None:
    ids = {
        "list": [5, 3, 5],
        "tuple": (5, 3, 5),
        "array": np.array([5, 3, 5]),
        "series": pd.Series([5, 3, 5], index=[9, 9, 9]),
        "categorical": pd.Categorical([5, 3, 5]),
        "nullable": pd.array([5, 3, 5], dtype="Int64"),
        "int8": np.array([5, 3, 5], np.int8),
    }[kind]
    train = Ratings.from_arrays(ids, [0, 1, 2], [1.0, 2.0, 3.0])
    assert train.encoder is not None
    assert train.encoder.users.tolist() == [5, 3]
    assert train.encoder.user_rows([3, 5, 4]).tolist() == [1, 0, -1]


def test_float32_stays_and_everything_else_becomes_float64() -> None:
    kinds = {
        np.float32: "float32",
        np.int8: "float64",
        np.float16: "float64",
        np.float64: "float64",
    }
    for given_dtype, kept in kinds.items():
        assert Ratings([0], [0], np.array([1], given_dtype)).ratings.dtype == kept


def test_ratings_may_all_be_equal() -> None:
    assert Ratings.from_arrays([1, 2], [1, 1], [3.0, 3.0]).ratings.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_summary_is_exact(dtype: str) -> None:
    # More ratings than one part holds.
    values = (1e6 + np.random.default_rng(0).normal(size=150_000)).astype(dtype)
    rows = np.arange(len(values))
    low, high, mean, variance, weight = Ratings(rows, rows, values).summary
    exact = values.astype(np.float64)
    assert (low, high, weight) == (exact.min(), exact.max(), len(exact))
    assert mean == pytest.approx(exact.mean(), rel=1e-14)
    assert variance == pytest.approx(exact.var(), rel=1e-9)


def test_the_summary_of_nothing_is_refused_and_of_huge_ratings_right() -> None:
    with pytest.raises(RatingsError, match="at least one"):
        _ = Ratings([], [], [], n_users=1, n_items=1).summary
    with np.errstate(over="ignore"):
        assert Ratings([0, 1], [0, 1], [1e308, 1e308]).summary == (1e308, 1e308, 1e308, 0.0, 2.0)


def test_counts_include_rows_without_ratings() -> None:
    train = Ratings([0, 0], [1, 2], [1.0, 2.0], n_users=3, n_items=4)
    assert train.user_counts().tolist() == [2, 0, 0]
    assert train.item_counts().tolist() == [0, 1, 1, 0]


# ---- the caller's data --------------------------------------------------------------------------


def test_the_frame_is_left_alone() -> None:
    mine = frame()
    before = mine.copy(deep=True)
    Ratings.from_frame(mine)
    pd.testing.assert_frame_equal(mine, before)


def test_columns_are_named_by_the_caller() -> None:
    renamed = frame().rename(columns={"user": "who", "item": "what", "rating": "stars"})
    train = Ratings.from_frame(renamed, user="who", item="what", rating="stars")
    assert train.ratings.tolist() == [1.0, 2.0, 3.0]


def test_the_arrays_are_private_and_read_only() -> None:
    users, items, values = (
        np.array([0, 1], np.int32),
        np.array([0, 1], np.int32),
        np.array([1.0, 2.0]),
    )
    train = Ratings(users, items, values)
    users[0], items[0], values[0] = 1, 1, 9.0
    assert (train.users[0], train.items[0], train.ratings[0]) == (0, 0, 1.0)
    for column in (train.users, train.items, train.ratings):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0
    users.flags.writeable = True  # the caller's own arrays stay as they were
    users[0] = 0


def test_the_ids_of_the_rows_are_read_only() -> None:
    train = Ratings.from_arrays([1, 2], ["a", "b"], [1.0, 2.0])
    assert train.encoder is not None
    for ids in (train.encoder.users, train.encoder.items):
        with pytest.raises(ValueError, match="read-only"):
            ids[0] = ids[1]


def test_read_only_input_is_accepted() -> None:
    columns = [np.array([0, 1]), np.array([1, 0]), np.array([1.0, 2.0])]
    for column in columns:
        column.flags.writeable = False
    assert len(Ratings(*columns)) == len(Ratings.from_arrays(*columns)) == 2


@pytest.mark.parametrize(
    "remake", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_copy_is_the_same_and_still_read_only(remake: object) -> None:
    train = Ratings.from_arrays([5, 6], ["a", "b"], [1.0, 2.0])
    again = remake(train)
    assert again.ratings.tolist() == train.ratings.tolist()
    assert again.encoder.users.tolist() == [5, 6]
    with pytest.raises(ValueError, match="read-only"):
        again.ratings[0] = 9.0


# ---- what is refused: from_arrays and from_frame ------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ratings_must_be_finite(bad: float) -> None:
    assert message([1, 2, 3], [1, 2, 3], [1.0, bad, bad]) == (
        f"ratings must be finite: 2 of 3 are not, the first is {bad} at position 1"
    )


@pytest.mark.parametrize(
    "ratings", [["good"], ["4.5"], [1 + 2j], np.array(["2020-01-01"], "datetime64[ns]"), [None]]
)
def test_ratings_must_be_numbers(ratings: object) -> None:
    assert message([1], [1], ratings).startswith(
        ("ratings must be numbers, got ", "ratings must be finite")
    )


@pytest.mark.parametrize(
    "ids", [[1.0, 2.0], np.array([1.5, 2.5], np.float32), pd.Series([1.0, 2.0])]
)
def test_float_ids_are_refused(ids: object) -> None:
    dtype = np.asarray(ids).dtype
    first = np.asarray(ids)[0]
    assert message(ids, [1, 2], [1.0, 2.0]) == (
        f"users must be integer or string ids, got {dtype} (first: {first}); "
        "floats make unsafe keys. "
        + (
            "All of these are whole numbers: convert them with pandas' .astype('Int64'), which "
            "refuses what would be changed, and pass the same integers everywhere"
            if first == 1
            else "Read the ids as integers or as strings from where they come"
        )
    )


@pytest.mark.parametrize("ids", [[1.0, 2.0**53], np.array([2.0**60, 1.0])], ids=repr)
def test_floats_that_may_have_lost_digits_are_not_to_be_converted(ids: object) -> None:
    assert message(ids, [1, 2], [1.0, 2.0]).endswith(
        "Read the ids as integers or as strings from where they come"
    )


@pytest.mark.parametrize(
    "ids",
    [
        [1, "a"],
        ["a", 1],
        [1.5, "a"],
        pd.Series([1, "a"]),
        np.array([1, "a"], object),
        [True, "a"],
        (b"a", "a"),
    ],
    ids=repr,
)
def test_mixed_ids_are_refused(ids: object) -> None:
    assert message([1, 2], ids, [1.0, 2.0]).startswith("items mixes types (")
    assert message([1, 2], ids, [1.0, 2.0]).endswith("; make all ids integers or all strings")


@pytest.mark.parametrize(
    "ids",
    [
        ["a", None],
        ["a", np.nan],
        [3, None],
        [3, np.nan],
        pd.Series(["a", None]),
        pd.Series([3, None], dtype="Int64"),
        pd.Series(["a", pd.NA], dtype="string"),
        pd.Categorical(["a", None]),
    ],
    ids=repr,
)
def test_missing_ids_are_refused(ids: object) -> None:
    assert (
        message(ids, [1, 2], [1.0, 2.0])
        == "users has 1 missing ids, the first at position 1; drop them"
    )


@pytest.mark.parametrize(
    "ids",
    [
        [True, False],
        np.array(["2020", "2021"], "datetime64[Y]"),
        [1j, 2j],
        [(1,), (2,)],
    ],
    ids=repr,
)
def test_other_ids_are_refused(ids: object) -> None:
    assert message(ids, [1, 2], [1.0, 2.0]).startswith("users ")


def test_half_a_surrogate_pair_is_refused() -> None:
    assert message(["a", "b\ud800"], [1, 1], [1.0, 2.0]) == (
        "users holds text that is not Unicode ('b\\ud800'): it has half of a surrogate pair, which "
        "UTF-8 cannot encode; read or write that text again"
    )


def test_ids_beyond_64_bits_are_refused() -> None:
    assert message([2**70, 1], [1, 2], [1.0, 2.0]) == (
        "users holds an integer id beyond 64 bits; turn the ids into strings"
    )


def test_lengths_must_match() -> None:
    assert message([1, 2], [1], [1.0, 2.0, 3.0]) == (
        "users, items and ratings must have the same length, got 2, 1 and 3"
    )


def test_there_must_be_ratings() -> None:
    expected = "no ratings: users, items and ratings are empty; at least one rating is needed"
    assert message([], [], []) == expected
    with pytest.raises(RatingsError) as caught:
        Ratings.from_frame(frame().iloc[:0])
    assert str(caught.value) == expected


def test_columns_are_one_dimensional() -> None:
    assert message([[1, 2]], [1], [1.0]) == "users must be one-dimensional, got shape (1, 2)"
    assert message([1], [1], [[1.0]]) == "ratings must be one-dimensional, got shape (1, 1)"


@pytest.mark.parametrize("name", ["user", "item", "rating"])
def test_missing_columns_are_named(name: str) -> None:
    left = frame().drop(columns=name)
    with pytest.raises(RatingsError) as caught:
        Ratings.from_frame(left)
    has = ", ".join(repr(column) for column in left.columns)
    assert str(caught.value) == (
        f"the frame has no column {name!r}; it has {has}. "
        "Name the columns by user=, item= and rating="
    )


# ---- duplicates ---------------------------------------------------------------------------------

REPEATED = (["a", "b", "a", "a"], [1, 1, 1, 2], [1.0, 2.0, 4.0, 5.0])


def test_duplicates_are_refused_by_default() -> None:
    expected = (
        "1 duplicated (user, item) pairs, the first at position 2: user a, item 1. "
        "Choose which rating counts by duplicates='last' or 'mean'"
    )
    assert message(*REPEATED) == expected
    assert message(*REPEATED, duplicates="error") == expected


def test_the_last_duplicate_counts() -> None:
    train = Ratings.from_arrays(*REPEATED, duplicates="last")
    assert train.ratings.tolist() == [2.0, 4.0, 5.0]
    assert train.encoder is not None
    assert train.encoder.users[train.users].tolist() == ["b", "a", "a"]


def test_the_mean_of_duplicates_counts() -> None:
    train = Ratings.from_arrays(*REPEATED, duplicates="mean")
    assert train.ratings.tolist() == [2.5, 2.0, 5.0]
    assert train.encoder is not None
    assert train.encoder.users[train.users].tolist() == ["a", "b", "a"]


def test_the_mean_of_float32_duplicates_is_float32() -> None:
    values = np.array(REPEATED[2], np.float32)
    assert Ratings.from_arrays(*REPEATED[:2], values, duplicates="mean").ratings.dtype == np.float32


def test_an_unknown_policy_is_refused() -> None:
    assert (
        message(*REPEATED, duplicates="first")
        == 'duplicates must be "error", "last" or "mean", got \'first\''
    )


# ---- what is refused: the constructor -----------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ([-1, 0], [0, 0], [1.0, 2.0]),
            "users must lie in [0, n_users=1), got -1; raw ids go through ",
        ),
        (
            ([0, 1], [0, -5], [1.0, 2.0]),
            "items must lie in [0, n_items=1), got -5; raw ids go through ",
        ),
        (
            ([0, 1], [0, 0], [1.0, 2.0], 1),
            "users must lie in [0, n_users=1), got 1; raw ids go through ",
        ),
        (
            ([0.0], [0], [1.0]),
            "users must be a one-dimensional integer array of rows, got float64 of shape (1,); ",
        ),
        (
            (["a"], [0], [1.0]),
            "users must be a one-dimensional integer array of rows, got <U1 of shape (1,); ",
        ),
        (
            ([[0]], [0], [1.0]),
            "users must be a one-dimensional integer array of rows, got int64 of shape (1, 1); ",
        ),
        (
            ([0, 1], [0, 0], [1.0]),
            "users and ratings must have the same length, got 2 users and 1 ratings",
        ),
        (
            ([0], [0, 0], [1.0]),
            "items and ratings must have the same length, got 2 items and 1 ratings",
        ),
        (
            ([0], [0], [np.nan]),
            "ratings must be finite: 1 of 1 are not, the first is nan at position 0",
        ),
        (
            ([0], [2**31 + 5], [1.0]),
            "n_items=2147483654 is more than the 2147483647 rows that an int32 index can",
        ),
        (([0], [0], [1.0], -3), "n_users must be an integer of at least 0, got -3"),
        (
            ([0, 1, 2], [0, 0, 0], [1.0, 2.0, 3.0], 2.5),
            "n_users must be an integer of at least 0, got 2.5",
        ),
        (([0], [0], [1.0], "3"), "n_users must be an integer of at least 0, got '3'"),
    ],
)
def test_the_constructor_checks_its_rows(arguments: tuple[object, ...], expected: str) -> None:
    with pytest.raises(RatingsError) as caught:
        Ratings(*arguments)
    assert str(caught.value).startswith(expected)


def test_an_encoder_of_another_size_is_refused() -> None:
    encoder = RatingEncoder(np.array([5, 6]), np.array([7]))
    with pytest.raises(RatingsError) as caught:
        Ratings([0], [0], [1.0], 1, 1, encoder)
    assert (
        str(caught.value)
        == "the encoder knows (2, 1) users and items, the ratings have (1, 1) rows"
    )


# ---- the encoder --------------------------------------------------------------------------------


def encoder() -> RatingEncoder:
    found = Ratings.from_arrays([10, 20], ["x", "y"], [1.0, 2.0]).encoder
    assert found is not None
    return found


def test_new_ratings_with_unseen_ids_are_dropped_and_counted() -> None:
    new = encoder().encode_new([20, 30, 10, 30], ["x", "x", "z", "z"], [1.0, 2.0, 3.0, 4.0])
    assert new.ratings.ratings.tolist() == [1.0]
    assert (new.ratings.users.tolist(), new.ratings.items.tolist()) == ([1], [0])
    assert (new.n_dropped, new.n_unseen_user, new.n_unseen_item) == (3, 2, 2)
    assert (new.ratings.n_users, new.ratings.n_items) == (2, 2)


def test_new_ratings_share_the_encoder() -> None:
    known = encoder()
    assert known.encode_new([20], ["x"], [1.0]).ratings.encoder is known


def test_no_new_ratings_are_allowed() -> None:
    new = encoder().encode_new([], [], [])
    assert (len(new.ratings), new.n_dropped) == (0, 0)


def test_new_ratings_are_checked() -> None:
    with pytest.raises(RatingsError, match="the same length, got 1, 2 and 1"):
        encoder().encode_new([10], ["x", "y"], [1.0])
    with pytest.raises(RatingsError, match="ratings must be finite"):
        encoder().encode_new([10], ["x"], [np.nan])


def test_large_ids_are_not_confused_by_rounding() -> None:
    # 2**53 and 2**53 + 1 are the same float, so looking up signed ids by unsigned ones must not
    # pass through floats.
    known = RatingEncoder(np.array([2**53, 7]), np.array([1]))
    assert known.user_rows(np.array([2**53 + 1, 2**53], np.uint64)).tolist() == [-1, 0]


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(RatingsError, match="users must be distinct, got 1 twice"):
        RatingEncoder(np.array([1, 1]), np.array([2]))


def test_ids_may_be_lists() -> None:
    assert RatingEncoder([3, 4], ["a"]).user_rows([4]).tolist() == [1]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(INT64, TEXT), min_size=1, max_size=20, unique=True))
def test_any_ids_make_the_round_trip(pairs: list[tuple[int, str]]) -> None:
    users, items = [user for user, _ in pairs], [item for _, item in pairs]
    train = Ratings.from_arrays(users, items, np.arange(len(pairs), dtype=float))
    known = train.encoder
    assert known is not None
    assert known.users.tolist() == list(dict.fromkeys(users))
    assert known.items.tolist() == list(dict.fromkeys(items))
    assert [known.users[row] for row in train.users] == users
    assert [known.items[row] for row in train.items] == items
    assert known.user_rows(users).tolist() == train.users.tolist()
    assert known.item_rows(items).tolist() == train.items.tolist()


@settings(deadline=None, max_examples=60)
@given(st.lists(INT64, min_size=1, max_size=15, unique=True), st.lists(INT64, max_size=15))
def test_any_lookup_finds_what_is_there_and_nothing_else(
    known_ids: list[int], asked: list[int]
) -> None:
    known = RatingEncoder(np.array(known_ids), np.array([0]))
    expected = [known_ids.index(i) if i in known_ids else -1 for i in asked]
    assert known.user_rows(np.array(asked, np.int64)).tolist() == expected


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_duplicate_policies_agree_with_a_plain_loop(data: st.DataObject) -> None:
    cells = data.draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20)
    )
    values: NDArray[np.float64] = np.arange(1.0, len(cells) + 1)
    users, items = [u for u, _ in cells], [i for _, i in cells]
    groups: dict[tuple[int, int], list[float]] = {}
    for cell, value in zip(cells, values.tolist(), strict=True):
        groups.setdefault(cell, []).append(value)
    n_items = max(items) + 1
    repeated = repeated_pairs(
        np.array(users, np.int32), np.array(items, np.int32), max(users) + 1, n_items
    )
    assert repeated.tolist() == sorted(
        user * n_items + item for (user, item), group in groups.items() if len(group) > 1
    )
    for policy in ("last", "mean"):
        train = Ratings.from_arrays(users, items, values, duplicates=policy)
        assert train.encoder is not None
        pairs = zip(train.encoder.users[train.users], train.encoder.items[train.items], strict=True)
        found = dict(zip(((int(u), int(i)) for u, i in pairs), train.ratings.tolist(), strict=True))
        kept = {
            cell: group[-1] if policy == "last" else sum(group) / len(group)
            for cell, group in groups.items()
        }
        assert found == pytest.approx(kept)
