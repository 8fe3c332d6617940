"""The fitted model: predictions for raw ids, recommendations, and its files, refused in words."""

import dataclasses
import gzip
import io
import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import in_fresh_process
from numpy.typing import NDArray

from backends import (
    FactorModel,
    ModelFileError,
    Parameters,
    RatingEncoder,
    Ratings,
    RatingsError,
    UnknownIdError,
    _model_file,
    get_backend,
)

USERS = ["ann", "ann", "bob", "cid"]
ITEMS = [10, 20, 10, 30]
VALUES = [4.0, 2.0, 5.0, 3.0]


def model(users: list[Any] | None = None) -> FactorModel:
    """Three users, three items, rank 1; scores of ann: 3 + 0.5 + c + q."""
    train = Ratings.from_arrays(USERS if users is None else users, ITEMS, VALUES)
    parameters = Parameters(
        mean=3.0,
        user_bias=np.array([0.5, 0.0, -0.5]),
        item_bias=np.array([0.25, 0.0, -0.25]),
        user_factors=np.array([[1.0], [2.0], [-1.0]]),
        item_factors=np.array([[1.0], [0.0], [3.0]]),
    )
    return FactorModel(parameters, train.encoder, (2.0, 5.0), 3.5, train)


def without_encoder() -> FactorModel:
    known = model()
    train = Ratings([0, 0, 1, 2], [0, 1, 0, 2], VALUES)
    return FactorModel(known.parameters, None, (2.0, 5.0), 3.5, train)


# ---- predict ------------------------------------------------------------------------------------


def test_predictions_are_mean_biases_and_product() -> None:
    assert model().predict(["ann", "cid"], [30, 10]).tolist() == [
        3 + 0.5 - 0.25 + 3,
        3 - 0.5 + 0.25 - 1,
    ]


def test_one_id_goes_with_each_of_many() -> None:
    assert model().predict("ann", [10, 20]).tolist() == [4.75, 3.5]
    assert model().predict(["ann", "bob"], 10).tolist() == [4.75, 5.25]
    assert model().predict("ann", 10).shape == (1,)
    assert model().predict([], []).shape == (0,)


def test_ids_must_pair_up() -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        model().predict(["ann", "bob"], [10, 20, 30])
    assert str(caught.value) == "users and items must pair up, got shapes (2,) and (3,)"


def test_unknown_ids_are_counted_and_named() -> None:
    with pytest.raises(UnknownIdError) as caught:
        model().predict(["dan", "ann", "dan"], [10, 10, 10])
    assert str(caught.value) == (
        "1 unknown user id ('dan'): not in the training ratings. "
        'Drop them, or predict with unknown="mean"'
    )
    with pytest.raises(UnknownIdError) as caught:
        model().predict("ann", list(range(100, 108)))
    assert str(caught.value).startswith(
        "8 unknown item ids (100, 101, 102, 103, 104, ...): not in the training"
    )


def test_unknown_ids_get_what_is_left_of_the_model() -> None:
    found = model().predict(["ann", "dan", "ann", "dan"], [10, 10, 99, 99], unknown="mean")
    assert found.tolist() == [4.75, 3.5 + 0.25, 3.5 + 0.5, 3.5]


def test_unknown_must_be_a_known_word() -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        model().predict("ann", 10, unknown="skip")
    assert str(caught.value) == 'unknown must be "error" or "mean", got \'skip\''


def test_clipping_keeps_to_the_range_of_the_training_ratings() -> None:
    assert model().predict(["bob", "cid"], [30, 30], clip=True).tolist() == [5.0, 2.0]


def test_float_ids_are_refused() -> None:
    with pytest.raises(RatingsError, match="items must be integer or string ids, got float64"):
        model().predict("ann", [10.0])


def test_rows_serve_as_ids_where_there_is_no_encoder() -> None:
    plain = without_encoder()
    assert (
        plain.predict([0, 2], [2, 0]).tolist() == model().predict(["ann", "cid"], [30, 10]).tolist()
    )
    assert [item for item, _ in plain.recommend(0, 1)] == [2]
    for users in ([-1], [3]):
        with pytest.raises(UnknownIdError, match="1 unknown user id"):
            plain.predict(users, [0])
    for other in (["ann"], [0.5]):
        with pytest.raises(RatingsError):
            plain.predict(other, [0], unknown="mean")


# ---- recommend ----------------------------------------------------------------------------------


def test_the_best_items_come_first_and_seen_ones_not_at_all() -> None:
    """Their ratings are clipped: unclipped they would be 6.25 and 8.75."""
    assert model().recommend("ann", 3) == [(30, 5.0)]
    assert model().recommend("bob", 1) == [(30, 5.0)]


def test_lists_are_ordered_by_unclipped_scores() -> None:
    """Both items would be rated above the range; the first in training is not the best."""
    known = model()
    known.parameters.item_bias[:] = [10.0, 20.0, 30.0]
    found = known.recommend("ann", 3, exclude_seen=False)
    assert found == [(30, 5.0), (20, 5.0), (10, 5.0)]


def test_list_scores_are_predictions_and_what_popularity_adds() -> None:
    known = dataclasses.replace(model(), rating_std=2.0)
    counts = known.item_counts()
    assert counts.tolist() == [2, 1, 1]
    users = ["ann", "cid"]
    plain = np.array([known.predict(user, [10, 20, 30]) for user in users])
    np.testing.assert_allclose(known.list_scores(users, popularity=0), plain)
    for popularity in (0.25, 3.0):
        expected = plain + popularity * 2.0 * np.log(1 + counts)
        np.testing.assert_allclose(known.list_scores(users, popularity=popularity), expected)
    # Models of earlier releases have no standard deviation: a quarter of the range, 2 to 5.
    expected = plain + 0.25 * 0.75 * np.log(1 + counts)
    np.testing.assert_allclose(model().list_scores(users), expected)


def test_popular_items_come_first_if_popularity_is_all_that_counts() -> None:
    known = model()
    by_count = np.argsort(-known.item_counts(), kind="stable")
    found = known.recommend("cid", 3, exclude_seen=False, popularity=1e6)
    assert [item for item, _ in found] == (10 * (1 + by_count)).tolist()


def test_items_with_few_ratings_can_be_left_out() -> None:
    known = model()
    for least in range(4):
        found = known.recommend("cid", 3, exclude_seen=False, min_ratings=least)
        expected = {10 * (row + 1) for row, n in enumerate(known.item_counts()) if n >= least}
        assert {item for item, _ in found} == expected


@pytest.mark.parametrize("popularity", [-0.1, np.nan, np.inf, "much"])
def test_the_weight_of_popularity_is_checked(popularity: Any) -> None:
    with pytest.raises(ValueError, match="popularity must be"):
        model().recommend("ann", popularity=popularity)


@pytest.mark.parametrize("least", [-1, 2.5, "3"])
def test_the_least_number_of_ratings_is_checked(least: Any) -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        model().recommend("ann", min_ratings=least)
    assert str(caught.value) == f"min_ratings must be an integer of at least 0, got {least!r}"


def test_seen_items_can_be_included() -> None:
    assert [item for item, _ in model().recommend("ann", 3, exclude_seen=False)] == [30, 10, 20]


def test_no_more_items_come_back_than_there_are() -> None:
    assert len(model().recommend("ann", 10**6)) == 1
    assert len(model().recommend("ann", 10**6, exclude_seen=False)) == 3


def test_ties_go_to_the_item_that_appeared_first() -> None:
    flat = model()
    flat.parameters.item_factors[:], flat.parameters.item_bias[:] = 0, 0
    assert [item for item, _ in flat.recommend("cid", 2)] == [10, 20]


def test_recommended_items_are_the_callers_own_ids() -> None:
    (best, _) = model().recommend("ann", 1)[0]
    assert type(best) is int


def test_recommending_leaves_predictions_alone() -> None:
    known = model()
    before = known.predict("ann", [10, 20, 30])
    known.recommend("ann", 2)
    assert np.array_equal(known.predict("ann", [10, 20, 30]), before)


def test_unknown_users_get_no_recommendations() -> None:
    for ask in (model().recommend, lambda user: model().list_scores([user])):
        with pytest.raises(UnknownIdError) as caught:
            ask("dan")
        assert str(caught.value) == (
            "1 unknown user id ('dan'): not in the training ratings. "
            "Users without training ratings have no list: show them what is popular"
        )


def test_a_huge_weight_of_popularity_drops_no_item() -> None:
    with np.errstate(over="ignore"):
        assert len(model().recommend("cid", 3, exclude_seen=False, popularity=1e308)) == 3


@pytest.mark.parametrize("n", [0, -1, 2.5, "3"])
def test_the_number_of_items_is_checked(n: object) -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        model().recommend("ann", n)
    assert str(caught.value) == f"n must be an integer of at least 1, got {n!r}"


# ---- files --------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "kept.model"
    model().save(path)
    return path


def rewrite(path: Path, **changes: Any) -> None:
    """Save the arrays again with changes: None drops an array, a dict updates the JSON header."""
    with np.load(path) as file:
        stored: dict[str, NDArray[Any]] = dict(file)
    for name, value in changes.items():
        if value is None:
            del stored[name]
        elif isinstance(value, dict):
            merged = json.loads(str(stored[name])) | value
            stored[name] = np.array(
                json.dumps({key: v for key, v in merged.items() if v is not None})
            )
        else:
            stored[name] = value
    with path.open("wb") as file:
        np.savez(file, **stored)


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        FactorModel.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_path_is_taken_as_it_is(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["kept.model"]


@pytest.mark.process
@pytest.mark.parametrize("users", [USERS, [7, 7, -(2**60), 9]], ids=["str", "int"])
def test_a_fresh_process_predicts_the_same(tmp_path: Path, users: list[Any]) -> None:
    known = model(users)
    known.save(tmp_path / "model.npz")
    code = """
import json, sys
from backends import FactorModel
model = FactorModel.load(sys.argv[1])
users = json.loads(sys.argv[2])
recommended = [list(array) for array in model.recommend(users[0], 2)]
predicted = model.predict(users, [10, 20, 10, 30]).tolist()
print(json.dumps([predicted, recommended, model.rating_mean, model.rating_range]))
"""
    found = json.loads(in_fresh_process(code, str(tmp_path / "model.npz"), json.dumps(users)))
    recommended = [list(array) for array in known.recommend(users[0], 2)]
    assert found == [known.predict(users, ITEMS).tolist(), recommended, 3.5, [2.0, 5.0]]


def test_a_model_without_encoder_is_saved_too(tmp_path: Path) -> None:
    without_encoder().save(tmp_path / "model.npz")
    loaded = FactorModel.load(tmp_path / "model.npz")
    assert loaded.encoder is None
    assert (
        loaded.predict([0, 2], [2, 0]).tolist()
        == without_encoder().predict([0, 2], [2, 0]).tolist()
    )


def test_how_it_was_fitted_is_saved_as_it_was(tmp_path: Path) -> None:
    facts = {
        "rank": np.int64(4),
        "reg": np.float32(0.5),
        "n_jobs": None,
        "bias": True,
        "odd": Path("here"),
    }
    dataclasses.replace(model(), fit=facts).save(tmp_path / "model.npz")
    loaded = FactorModel.load(tmp_path / "model.npz").fit
    assert loaded == {"rank": 4, "reg": 0.5, "n_jobs": None, "bias": True, "odd": "here"}
    assert [type(loaded[name]) for name in ("rank", "reg")] == [int, float]


def test_a_model_saved_before_there_were_facts_is_read(tmp_path: Path) -> None:
    model().save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as file:
        stored = dict(file)
    header = json.loads(str(stored.pop("header")))
    del header["fit"]
    np.savez(tmp_path / "older.npz", header=np.array(json.dumps(header)), **stored)
    assert FactorModel.load(tmp_path / "older.npz").fit == {}


def test_the_deviation_of_the_ratings_is_saved(tmp_path: Path) -> None:
    dataclasses.replace(model(), rating_std=1.25).save(tmp_path / "model.npz")
    assert FactorModel.load(tmp_path / "model.npz").rating_std == 1.25
    for std in (-1.0, float("nan"), float("inf"), "x"):
        rewrite(tmp_path / "model.npz", header={"rating_std": std})
        refusal(tmp_path / "model.npz")
    rewrite(tmp_path / "model.npz", header={"rating_std": None})  # as in releases before 0.2
    assert FactorModel.load(tmp_path / "model.npz").rating_std is None


def test_a_loaded_model_can_be_saved_again(saved: Path) -> None:
    FactorModel.load(saved).save(saved)
    assert FactorModel.load(saved).recommend("ann") == model().recommend("ann")


def test_ids_kept_as_objects_are_saved_without_pickle(tmp_path: Path) -> None:
    known = model()
    ids = RatingEncoder(np.array(["ann", "bob", "cid"], object), np.array([10, 20, 30]))
    FactorModel(known.parameters, ids, (2.0, 5.0), 3.5, known.training).save(tmp_path / "model.npz")
    assert FactorModel.load(tmp_path / "model.npz").predict("bob", 10).tolist() == [5.25]


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FactorModel.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04 not a zip", pickle.dumps({"a": 1})], ids=repr
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert "is not a saved model, or is damaged" in refusal(tmp_path / "file")


def test_a_folder_and_a_plain_array_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.arange(3))
    for path in (tmp_path, tmp_path / "array.npy"):
        assert "is not a saved model, or is damaged" in refusal(path)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "other.npz", header=np.array('{"format": "other", "version": 1}'), a=np.arange(3)
    )
    assert "is not a saved model, or is damaged" in refusal(tmp_path / "other.npz")


def test_truncated_files_are_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        saved.write_bytes(whole[: int(share * len(whole))])
        assert "is not a saved model, or is damaged" in refusal(saved)


def test_a_damaged_byte_is_noticed_or_harmless(saved: Path) -> None:
    """Every 7th byte in turn: the file is refused as a model file, or its model is as it was."""
    whole = saved.read_bytes()
    expected = model().predict(["ann", "bob", "cid"], [30, 20, 10])
    for position in range(0, len(whole), 7):
        saved.write_bytes(
            whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :]
        )
        try:
            loaded = FactorModel.load(saved)
        except ModelFileError:
            continue
        assert np.array_equal(loaded.predict(["ann", "bob", "cid"], [30, 20, 10]), expected), (
            position
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"header": {"version": None}},
        {"header": {"mean": None}},
        {"header": {"mean": "three"}},
        {"header": {"rating_range": [1.0]}},
        {"header": np.array("[]")},
        {"header": np.array("{")},
        {"user_factors": None},
        {"seen_items": None},
        {"user_factors": np.zeros((2, 1))},
        {"item_factors": np.zeros((3, 2))},
        {"item_factors": np.zeros(3)},
        {"user_bias": np.array(["a", "b", "c"])},
        {"user_factors": np.full((3, 1), np.nan)},
        {"user_ids_offsets": np.array([0, 3, 9])},
        {"user_ids_offsets": np.array([0, 3, 6, 8])},
        {"user_ids_offsets": np.array([0, 6, 3, 9])},
        {"user_ids_offsets": np.array([1, 3, 6, 9])},
        {"user_ids_bytes": np.frombuffer(b"annannbob", np.uint8)},
        {"user_ids_bytes": np.frombuffer(b"ann\xff\xfe\xfdbob", np.uint8)},
        {"user_ids_bytes": np.frombuffer(b"annbobcid", np.int8)},
        {"item_ids": np.array([10, 10, 20])},
        {"item_ids": np.array([10.0, 20.0, 30.0])},
        {"header": {"ids": ["text", "float"]}},
        {"header": {"ids": ["integer", "integer"]}},
        {"header": {"rating_range": [5.0, 2.0]}},
        {"header": {"rating_range": [float("nan"), 2.0]}},
        {"header": {"rating_range": [2.0, float("inf")]}},
        {"header": {"rating_mean": float("nan")}},
        {"header": {"mean": float("inf")}},
        {"header": {"fit": 3}},
        {"user_factors": np.zeros((3, 1), complex)},
        {"user_factors": np.zeros((3, 1), np.float16)},
        {"user_factors": np.zeros((3, 1), np.int64)},
        {"user_factors": np.zeros((3, 1), bool)},
        {"user_factors": np.zeros((3, 1), "m8[s]")},
        {"header": np.array("[" * 100_000)},
        {"header": np.array('{"a": ' + "9" * 2_000_000 + "}")},
        {"item_ids": None},
        {"seen_items": np.array([0, 1, 0, 99])},
        {"seen_offsets": np.array([0, 2, 3, 99])},
        {"seen_offsets": np.array([0, 3, 2, 4])},
    ],
    ids=repr,
)
def test_arrays_that_do_not_make_a_model_are_refused(saved: Path, changes: dict[str, Any]) -> None:
    rewrite(saved, **changes)
    assert "is not a saved model, or is damaged" in refusal(saved)


def test_a_newer_version_is_refused_with_the_remedy(saved: Path) -> None:
    rewrite(saved, header={"version": 3})
    assert refusal(saved) == (
        f"{saved} has format version 3, this release reads versions 1 and 2; "
        "upgrade factorbench or save the model again"
    )


def test_pickled_content_is_refused_and_never_run(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive, archive.open("extra.npy", "w") as member:
        buffer = io.BytesIO()
        np.save(buffer, np.array([Bomb()], object), allow_pickle=True)
        member.write(buffer.getvalue())
    assert "is not a saved model, or is damaged" in refusal(saved)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def npy(descr: str, shape: tuple[int, ...], n_bytes: int) -> bytes:
    """An .npy file of zeros whose header says what it is told to."""
    buffer = io.BytesIO()
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue() + bytes(n_bytes)


def peak(path: Path) -> int:
    """Bytes that a refusal takes at most, as Python and NumPy count them."""
    tracemalloc.start()
    try:
        refusal(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("extra.npy", npy("<f8", (20_000_000,), 160_000_000)),
        ("user_factors.npy", npy("<f8", (3, 6_000_000), 144_000_000)),
        ("user_factors.npy", npy("<f8", (3, 2**40), 24)),
        ("user_bias.npy", npy("<f8", (2**60,), 24)),
        ("header.npy", npy("<U40000000", (), 160_000_000)),
        ("user_ids_bytes.npy", npy("|u1", (160_000_000,), 160_000_000)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_claims_to_be_large_is_refused_before_it_is_read(
    saved: Path, name: str, content: bytes
) -> None:
    kept = members(saved)
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in (kept | {name: content}).items():
            archive.writestr(member, data)
    assert saved.stat().st_size < 1_000_000
    assert peak(saved) < 10_000_000


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(saved: Path) -> None:
    bias = members(saved)["user_bias.npy"]
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("user_bias.npy", bias)
    assert "it has the member 'user_bias' twice" in refusal(saved)


@pytest.mark.parametrize("users", [USERS, [7, 7, -(2**60), 9]], ids=["str", "int"])
def test_files_of_version_1_are_read(tmp_path: Path, users: list[Any]) -> None:
    known = model(users)
    assert known.encoder is not None
    header = {"format": "factorbench model", "version": 1, "mean": 3.0, "ids": True}
    header |= {"rating_range": [2.0, 5.0], "rating_mean": 3.5}
    seen = {"seen_offsets": np.array([0, 2, 3, 4]), "seen_items": np.array([0, 1, 0, 2], np.int32)}
    ids = {"user_ids": np.array(known.encoder.users.tolist()), "item_ids": known.encoder.items}
    with (tmp_path / "old.npz").open("wb") as file:
        np.savez(
            file, header=np.array(json.dumps(header)), **known.parameters.arrays(), **seen, **ids
        )
    loaded = FactorModel.load(tmp_path / "old.npz")
    assert loaded.predict(users, ITEMS).tolist() == known.predict(users, ITEMS).tolist()
    assert loaded.recommend(users[0], 2) == known.recommend(users[0], 2)
    loaded.save(tmp_path / "new.npz")
    again = FactorModel.load(tmp_path / "new.npz")
    assert again.predict(users, ITEMS).tolist() == known.predict(users, ITEMS).tolist()


def test_one_long_id_makes_no_large_file(tmp_path: Path) -> None:
    n = 20_000
    users = [f"user {n}" for n in range(n - 2)] + ["x" * 2000, "nul\0"]
    train = Ratings.from_arrays(users, [1] * n, np.arange(n, dtype=float))
    x = Parameters(0.0, np.arange(n, dtype=float), np.zeros(1), np.zeros((n, 1)), np.zeros((1, 1)))
    FactorModel(x, train.encoder, (0.0, n), 1.0, train).save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").stat().st_size < 1_500_000
    loaded = FactorModel.load(tmp_path / "model.npz")
    assert loaded.predict(["x" * 2000, "user 7", "nul\0"], 1).tolist() == [n - 2, 7.0, n - 1]


@pytest.mark.process
def test_a_model_of_integer_ids_needs_neither_pyarrow_nor_pandas(tmp_path: Path) -> None:
    model([7, 7, 8, 9]).save(tmp_path / "model.npz")
    code = """
import sys
from backends import FactorModel
model = FactorModel.load(sys.argv[1])
model.predict([7, 8], 10), model.recommend(7, 2), model.save(sys.argv[1])
print(sorted({"pyarrow", "pandas"} & sys.modules.keys()))
"""
    assert in_fresh_process(code, str(tmp_path / "model.npz")).strip() == "[]"


class Bomb:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was loaded",)


def test_a_failed_save_leaves_the_earlier_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def disk_full(file: Any, *arguments: object, **options: object) -> None:
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(_model_file.npy, "write_array", disk_full)
    with pytest.raises(OSError, match="no space left"):
        model().save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [
        saved.name
    ]  # and there is no half-written file beside it


# ---- open files, mapped files, pickles ----------------------------------------------------------


def test_an_open_file_holds_the_same_model(saved: Path) -> None:
    room = io.BytesIO()
    model().save(room)
    room.seek(0)
    assert FactorModel.load(room).recommend("ann", 3) == model().recommend("ann", 3)
    with saved.open("rb") as file:
        assert FactorModel.load(file).recommend("ann", 3) == model().recommend("ann", 3)
    with pytest.raises(ModelFileError, match="the file is not a saved model"):
        FactorModel.load(io.BytesIO(b"nothing"))


def test_a_mapped_file_holds_the_same_model(tmp_path: Path) -> None:
    users = [f"user {number}" for number in range(500)]
    train = Ratings.from_arrays(users, list(range(500)), [3.0] * 500)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype("f4") for shape in (500, 500, (500, 7), (500, 7))]
    known = FactorModel(Parameters(3.0, *arrays), train.encoder, (1, 5), 3.0, train)
    known.save(tmp_path / "model.npz")
    mapped = FactorModel.load(tmp_path / "model.npz", mmap=True)
    for name, array in known.parameters.arrays().items():
        found = getattr(mapped.parameters, name)
        assert np.array_equal(found, array)
        assert found.flags.aligned
        assert not found.flags.owndata and not found.flags.writeable
    assert (mapped.recommend(n=5).rows == known.recommend(n=5).rows).all()
    # `save` replaces the file, and does not write to it.
    model().save(tmp_path / "model.npz")
    assert (mapped.recommend(n=5).rows == known.recommend(n=5).rows).all()
    assert FactorModel.load(tmp_path / "model.npz", mmap=True).n_users == 3


def test_files_of_numpys_savez_are_mapped_too(tmp_path: Path, saved: Path) -> None:
    """Those of earlier releases, whose arrays may begin anywhere."""
    with np.load(saved) as archive:
        members = {name: archive[name] for name in archive.files}
    np.savez(tmp_path / "plain.npz", **members)
    np.savez_compressed(tmp_path / "compressed.npz", **members)
    for name in ("plain", "compressed"):
        found = FactorModel.load(tmp_path / f"{name}.npz", mmap=True)
        assert found.recommend("ann", 3) == model().recommend("ann", 3)


def test_only_a_path_can_be_mapped() -> None:
    with pytest.raises(ValueError, match="mmap needs the path of a file"):
        FactorModel.load(io.BytesIO(), mmap=True)


def test_a_model_knows_where_it_comes_from(tmp_path: Path) -> None:
    train = Ratings.from_arrays(USERS, ITEMS, VALUES)
    solver = get_backend("numpy-als", rank=2).fit(train, epochs=3, seed=4)
    solver.model_.save(tmp_path / "model.npz")
    loaded = FactorModel.load(tmp_path / "model.npz")
    facts = loaded.fit
    assert (facts["solver"], facts["rank"], facts["seed"]) == ("NumpyALS", 2, 4)
    assert (facts["epoch"], facts["status"]) == (3, "epochs")
    assert facts["weight"] == 4
    assert loaded.versions["numpy"] == np.__version__
    assert {"python", "factorbench"} <= loaded.versions.keys()
    assert len(loaded.data) == 32
    other = Ratings.from_arrays(USERS, ITEMS, [4.0, 2.0, 5.0, 3.5])
    get_backend("numpy-als", rank=2).fit(other, epochs=3).model_.save(tmp_path / "other.npz")
    assert FactorModel.load(tmp_path / "other.npz").data != loaded.data
    loaded.save(tmp_path / "again.npz")
    assert FactorModel.load(tmp_path / "again.npz").data == loaded.data


def test_a_pickle_holds_no_training_ratings() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    train = Ratings(rng.integers(50, size=n), rng.integers(40, size=n), rng.normal(size=n), 50, 40)
    solver = get_backend("numpy-als", rank=2).fit(train, epochs=1)
    assert len(pickle.dumps(train)) > 100_000
    for thing in (solver, solver.model_):
        text = pickle.dumps(thing)
        assert train.ratings[:100].tobytes() not in text
        assert len(text) < 50_000
    again = pickle.loads(pickle.dumps(solver))
    assert (again.recommend(n=3).rows == solver.recommend(n=3).rows).all()


@pytest.mark.process
def test_a_model_is_loaded_without_pandas(tmp_path: Path) -> None:
    """Which takes longer to import than all the rest."""
    model().save(tmp_path / "texts.npz")
    model([7, 7, 8, 9]).save(tmp_path / "integers.npz")
    code = """
import sys
from backends import FactorModel
for name, user in (("texts", "ann"), ("integers", 7)):
    model = FactorModel.load(sys.argv[1] + "/" + name + ".npz")
    assert len(model.recommend(user, 1)) == 1
    model.predict(user, 10)
print("pandas" in sys.modules)
"""
    assert in_fresh_process(code, str(tmp_path)).split() == ["False"]


def test_files_that_cannot_seek_are_written(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "model.npz.gz", "wb") as file:
        model().save(file)
    with gzip.open(tmp_path / "model.npz.gz", "rb") as file:
        room = io.BytesIO(file.read())
    assert FactorModel.load(room).recommend("ann", 3) == model().recommend("ann", 3)


def test_files_that_are_open_for_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    with path.open("w") as file, pytest.raises(ValueError, match='as open\\(path, "wb"\\) does'):
        model().save(file)
    with path.open() as file, pytest.raises(ValueError, match='as open\\(path, "rb"\\) does'):
        FactorModel.load(file)
