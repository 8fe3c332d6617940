"""`spark`: the iterates of exact ALS, however the ratings are cut and wherever they come from."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT, random_ratings

from backends import FactorModel, Parameters, Ratings, get_backend
from backends.errors import ClusterError, RatingsError

EPOCHS = 3


@pytest.fixture(scope="module")
def train() -> Ratings:
    """Ratings of 40 users and 30 items, the last of each without one."""
    ratings = random_ratings()
    return replace(ratings, n_users=41, n_items=31, encoder=None)


def fit(name: str, train: Ratings | Path | str, **params: Any) -> Any:
    seed, epochs = params.pop("seed", 0), params.pop("epochs", EPOCHS)
    given = {"rank": 5, "dtype": "float64", "n_jobs": 2, "damping": 3.0, **params}
    return get_backend(name, **given).fit(train, epochs=epochs, seed=seed)


def assert_same(a: Parameters, b: Parameters, tolerance: float = 1e-9) -> None:
    for name, table in a.arrays().items():
        assert np.abs(table - getattr(b, name)).max() < tolerance, name


@pytest.mark.parametrize("bias", [True, False, "fixed"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_iterates_are_those_of_numpy(train: Ratings, bias: Any, weighted: bool) -> None:
    if weighted:
        weights = np.random.default_rng(0).lognormal(0, 1, len(train))
        train = replace(train, weights=weights)
    found, expected = (fit(name, train, bias=bias) for name in ("spark", "numpy-als"))
    assert_same(found.model_.parameters, expected.model_.parameters)
    assert found.n_epochs_ == EPOCHS
    assert not found.model_.parameters.user_factors[-1].any()


@pytest.mark.parametrize("parts", [1, 3, 1000])
def test_the_number_of_parts_changes_nothing(train: Ratings, parts: int) -> None:
    found, expected = fit("spark", train, parts=parts), fit("numpy-als", train)
    assert_same(found.model_.parameters, expected.model_.parameters)


def test_rows_that_are_broadcast_in_blocks_change_nothing(
    train: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.spark.als._BLOCK_BYTES", 7 * 48)  # seven rows
    for bias in (True, "fixed"):
        found, expected = fit("spark", train, bias=bias), fit("numpy-als", train, bias=bias)
        assert_same(found.model_.parameters, expected.model_.parameters)


def test_float32_and_one_fit_after_another(train: Ratings) -> None:
    solver = get_backend("spark", rank=5, n_jobs=2)
    first = solver.fit(train, epochs=2).model_.parameters
    assert first.user_factors.dtype == np.float32
    assert_same(first, solver.fit(train, epochs=2).model_.parameters, 1e-6)
    assert_same(
        first, get_backend("numpy-als", rank=5).fit(train, epochs=2).model_.parameters, 1e-4
    )


# ---- files that the driver does not read --------------------------------------------------------


def frame_of(train: Ratings, text: bool = False) -> pd.DataFrame:
    users, items = train.users.astype(np.int64) * 7 + 3, train.items.astype(np.int64)
    name = (lambda rows, letter: [f"{letter}{row:03d}" for row in rows]) if text else None
    return pd.DataFrame(
        {
            "user": name(users, "u") if name else users,
            "item": name(items, "i") if name else items,
            "rating": train.ratings,
        }
    )


@pytest.mark.parametrize("text", [False, True])
def test_a_parquet_file_gives_the_model_of_its_ratings(
    train: Ratings, tmp_path: Path, text: bool
) -> None:
    frame = frame_of(train, text)
    frame.to_parquet(tmp_path / "ratings.parquet")
    found = fit("spark", tmp_path / "ratings.parquet", seed=3)
    here = Ratings.from_frame(frame).canonical()
    expected = fit("numpy-als", here, seed=3)
    assert_same(found.model_.parameters, expected.model_.parameters)
    assert found.model_.encoder.same_rows(here.encoder)
    ids = frame["user"][:5].tolist(), frame["item"][:5].tolist()
    assert found.predict(*ids) == pytest.approx(expected.predict(*ids), abs=1e-9)
    assert found.model_.rating_range == expected.model_.rating_range
    # What a user rated is not known; what is popular is.
    with pytest.raises(ValueError, match="give exclude_seen=False"):
        found.recommend(ids[0][0])
    lists = [solver.recommend(ids[0][0], exclude_seen=False) for solver in (found, expected)]
    assert [one.item for one in lists[0]] == [one.item for one in lists[1]]
    found.model_.save(tmp_path / "model.npz")
    loaded = FactorModel.load(tmp_path / "model.npz")
    assert loaded.recommend(ids[0][0], exclude_seen=False) == lists[0]
    with pytest.raises(ValueError, match="give exclude_seen=False"):
        loaded.recommend(ids[0][0])
    # New ratings need those up to now, which the driver does not have.
    today = Ratings.from_arrays(ids[0][:1], ids[1][:1], [1.0])
    with pytest.raises(ValueError, match="history must be given"):
        found.partial_fit(today)
    found.partial_fit(today, history=here)
    expected.partial_fit(today)
    assert_same(found.model_.parameters, expected.model_.parameters)


def test_weights_columns_and_several_files(train: Ratings, tmp_path: Path) -> None:
    frame = frame_of(train).assign(w=np.linspace(0.5, 2, len(train)))
    frame = frame.rename(columns={"user": "who", "item": "what", "rating": "stars"})
    for number, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        frame.iloc[part].to_parquet(tmp_path / f"{number}.parquet")
    columns = {"user": "who", "item": "what", "rating": "stars", "weight": "w"}
    found = fit("spark", tmp_path, columns=columns)
    here = Ratings.from_frame(frame, user="who", item="what", rating="stars", weight="w")
    expected = fit("numpy-als", here.canonical())
    assert_same(found.model_.parameters, expected.model_.parameters)


def test_fixed_biases_of_a_file_are_the_damped_ones(train: Ratings, tmp_path: Path) -> None:
    frame = frame_of(train)
    frame.to_parquet(tmp_path / "ratings.parquet")
    found = fit("spark", tmp_path / "ratings.parquet", bias="fixed")
    expected = fit("numpy-als", Ratings.from_frame(frame).canonical(), bias="fixed")
    assert_same(found.model_.parameters, expected.model_.parameters)


def damaged(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    if what == "missing user":
        frame["user"] = frame["user"].astype("Int64")
        frame.loc[7, "user"] = pd.NA
    elif what == "missing item":
        frame["item"] = frame["item"].astype("Int64")
        frame.loc[7, "item"] = pd.NA
    elif what == "nan":
        frame.loc[[7, 9], "rating"] = np.nan
    elif what == "infinite":
        frame.loc[7, "rating"] = np.inf
    elif what == "twice":
        frame.loc[8, ["user", "item"]] = frame.loc[7, ["user", "item"]]
    elif what == "text ratings":
        frame["rating"] = frame["rating"].astype(str)
    elif what == "decimal users":
        frame["user"] = frame["user"] / 2
    elif what == "no column":
        frame = frame.drop(columns="item")
    elif what == "empty":
        frame = frame[:0]
    return frame


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing user", r"1 of 600 users that are missing; drop those before"),
        ("missing item", r"1 of 600 items that are missing"),
        ("nan", r"2 of 600 ratings that are missing or not finite"),
        ("infinite", r"1 of 600 ratings that are missing or not finite"),
        ("twice", r"1 ratings are of a pair of user and item that has another one"),
        ("text ratings", r"'rating' of .* must hold numbers, got string"),
        ("decimal users", r"'user' of .* must hold integers or text, got double"),
        ("no column", r"has no column 'item'; it has user, rating"),
        ("empty", r"has no ratings; at least one is needed"),
    ],
)
def test_damaged_files(train: Ratings, tmp_path: Path, what: str, message: str) -> None:
    damaged(frame_of(train), what).to_parquet(tmp_path / "ratings.parquet")
    with pytest.raises(RatingsError, match=message):
        fit("spark", tmp_path / "ratings.parquet")


def test_files_that_cannot_be_read(train: Ratings, tmp_path: Path) -> None:
    with pytest.raises(RatingsError, match=r"missing\.parquet cannot be read by Spark.*no such"):
        fit("spark", tmp_path / "missing.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RatingsError, match="it holds no Parquet file"):
        fit("spark", tmp_path / "empty")
    (tmp_path / "text.parquet").write_text("user,item,rating\n1,2,3\n", "utf-8")
    with pytest.raises(RatingsError, match=r"text\.parquet cannot be read"):
        fit("spark", tmp_path / "text.parquet")
    with pytest.raises(ValueError, match="validation must be None"):
        get_backend("spark", n_jobs=2).fit(tmp_path, 0.1)
    with pytest.raises(ValueError, match="columns must name"):
        get_backend("spark", columns={"user": "user"})
    with pytest.raises(ValueError, match="master must be a text"):
        get_backend("spark", master="")
    with pytest.raises(ValueError, match="conf must be a dict of texts"):
        get_backend("spark", conf={"spark.executor.cores": 2})


# ---- what goes wrong ----------------------------------------------------------------------------


def test_another_session_is_running(train: Ratings) -> None:
    fit("spark", train, epochs=1)
    with pytest.raises(ValueError, match=r"master 'local\[2\]' is running.*give n_jobs=2, or stop"):
        fit("spark", train, n_jobs=1)
    with pytest.raises(ValueError, match=r"spark\.executor\.memory=.* was asked for"):
        fit("spark", train, conf={"spark.executor.memory": "77m"})


USERS_OWN = """
import sys, threading
from helpers import random_ratings
from pyspark.sql import SparkSession
from backends import get_backend
session = SparkSession.builder.master("local[*]").getOrCreate()
setting = "spark.sql.execution.arrow.maxRecordsPerBatch"
before = session.conf.get(setting)
fits = []
def fit():
    fits.append(get_backend("spark", rank=2).fit(random_ratings(), epochs=1))
fit()
thread = threading.Thread(target=fit)
thread.start()
thread.join()
assert len(fits) == 2
assert session.conf.get(setting) == before
assert SparkSession.getActiveSession()._jsparkSession.equals(session._jsparkSession)
try:
    get_backend("spark", rank=2, master="spark://127.0.0.1:9").fit(random_ratings())
except ValueError as error:
    print(error)
session.stop()
fit()  # a new one
print("fits", len(fits))
"""


def test_a_session_of_the_user_is_used_as_it_is() -> None:
    lines = output_of(USERS_OWN, PYSPARK_PYTHON=sys.executable)
    assert lines[0].startswith("a Spark session with master 'local[*]' is running, and 'spark://")
    assert lines[1] == "fits 3"


def output_of(code: str, *words: str, status: int = 0, **env: str) -> list[str]:
    """The lines that a process prints, which ends with a status; of a failure the error's too."""
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **env},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == status, done.stderr[-3000:]
    return done.stdout.splitlines() + (done.stderr.splitlines() if status == 1 else [])


def test_a_task_that_fails_is_reported_in_words(
    train: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.spark.session import open_session, run_job

    session = open_session("local[*]", 2, {})

    def fail(batches: Iterator[Any]) -> Iterator[Any]:
        raise MemoryError("no room")

    frame = session.range(10).mapInArrow(fail, "id long")
    with pytest.raises(ClusterError, match="while testing: an executor's Python had too little"):
        run_job(session, "testing", frame.toArrow)
    fit("spark", train, epochs=1)  # the session goes on


# As pyspark and Spark word them: (what is in the message, the message).
REPORTED = [
    (
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.0 GiB",
        "too little memory; give more parts, a larger spark.executor.memoryOverhead",
    ),
    (
        "[ERROR_OCCURRED_WHILE_CALLING] An error occurred while calling load_stream: Job aborted "
        "due to stage failure: Task 0 in stage 3.0 failed 4 times, most recent failure: Lost task "
        "0.3 in stage 3.0 (TID 9) (host executor 4): ExecutorLostFailure (executor 4 exited caused "
        "by one of the running tasks) Reason: Container killed by YARN for exceeding memory "
        "limits. Consider boosting spark.executor.memoryOverhead.",
        "lost again and again (Container killed by YARN for exceeding memory limits. Consider",
    ),
    ("java.lang.OutOfMemoryError: Java heap space", '"spark.driver.memory" if it was the driver'),
    ("java.io.IOException: No space left on device", "let spark.local.dir name a folder with room"),
]


@pytest.mark.parametrize(("said", "words"), [(said, words) for said, words in REPORTED])
def test_what_spark_says_becomes_a_remedy(said: str, words: str) -> None:
    from pyspark.errors import PySparkException

    from backends.spark.session import in_words

    assert words in str(in_words(PySparkException(said), "testing"))


@pytest.mark.parametrize(
    ("counts", "n_parts", "words"),
    [
        ([200_000_000, 1], 2, "one item has 200,000,000 ratings, and at most 178,8"),
        ([100_000_000, 1, 100_000_000, 1], 2, "2 parts, of which one has 200,000,000 ratings"),
        ([100_000_000, 1, 100_000_000, 1], 3, ""),
        ([170_000_000, 1], 2, ""),
    ],
)
def test_parts_that_are_no_value_of_spark_are_refused_before_they_are_sent(
    counts: list[int], n_parts: int, words: str
) -> None:
    from backends.spark.on_cluster import check_fits_parts

    with pytest.raises(RatingsError) if words else contextlib.nullcontext() as caught:
        check_fits_parts(np.array(counts), n_parts, 8, "item")
    assert words in str(caught.value if caught else "")


def test_text_ids_are_those_of_the_file(train: Ratings, tmp_path: Path) -> None:
    columns = {"user": train.users, "item": train.items, "rating": train.ratings}
    pd.DataFrame(columns).to_parquet(tmp_path / "numbers.parquet")
    columns["user"] = np.array([f"u{row:03}" for row in train.users])
    pd.DataFrame(columns).to_parquet(tmp_path / "text.parquet")
    text, numbers = (fit("spark", tmp_path / f"{name}.parquet") for name in ("text", "numbers"))
    assert list(text.model_.encoder.users[:3]) == ["u000", "u001", "u002"]
    assert_same(text.model_.parameters, numbers.model_.parameters)


def test_an_address_of_a_file_is_no_relative_path(train: Ratings, tmp_path: Path) -> None:
    columns = {"user": train.users, "item": train.items, "rating": train.ratings}
    pd.DataFrame(columns).to_parquet(tmp_path / "r.parquet")
    assert fit("spark", f"file:{tmp_path}/r.parquet", epochs=1).status_ == "epochs"


IN_A_PROCESS = """
import os, signal, sys
from pathlib import Path
import numpy as np
from helpers import random_ratings
from backends import get_backend
def callback(progress):
    print("epoch", progress.record.epoch, flush=True)
    if progress.record.epoch == int(sys.argv[3]):
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
solver = get_backend(
    "spark", rank=5, dtype="float64", n_jobs=2, damping=3.0, checkpoint=sys.argv[1] or None
)
solver.fit(random_ratings(), epochs=4, callback=callback)
print("ended", solver.status_, solver.n_epochs_, flush=True)
if sys.argv[1]:
    np.save(sys.argv[1] + "/users.npy", solver.model_.parameters.user_factors)
"""


def in_a_process(folder: Path, sign: str, epoch: int, status: int) -> list[str]:
    """Fit in a process, which sends itself a signal after an epoch; the words that it prints."""
    return output_of(IN_A_PROCESS, str(folder), sign, str(epoch), status=status)


def test_a_driver_that_is_killed_goes_on_from_the_last_epoch(tmp_path: Path) -> None:
    assert in_a_process(tmp_path, "SIGKILL", 2, -signal.SIGKILL) == ["epoch 1", "epoch 2"]
    assert len(list(tmp_path.glob("spark-als-*.npz"))) == 1
    words = ["epoch 3", "epoch 4", "ended epochs 4"]
    assert in_a_process(tmp_path, "SIGKILL", 9, 0) == words
    expected = fit("numpy-als", random_ratings(), epochs=4).model_.parameters.user_factors
    assert np.abs(np.load(tmp_path / "users.npy") - expected).max() < 1e-9
    assert list(tmp_path.glob("spark-als-*.npz")) == []  # it is of no more use


def test_a_checkpoint_of_another_fit_is_not_taken(train: Ratings, tmp_path: Path) -> None:
    def stop(progress: Any) -> None:
        raise RuntimeError("stop")

    solver = get_backend("spark", rank=5, n_jobs=2, checkpoint=str(tmp_path))
    with pytest.raises(RuntimeError, match="stop"):
        solver.fit(train, epochs=3, callback=stop)
    assert len(list(tmp_path.iterdir())) == 1
    for other, changes in (("reg", {"reg": 0.07}), ("seed", {}), ("ratings", {})):
        ratings = replace(train, ratings=train.ratings + 1.0) if other == "ratings" else train
        seen: list[int] = []
        again = get_backend("spark", rank=5, n_jobs=2, checkpoint=str(tmp_path / other), **changes)
        (tmp_path / other).mkdir()
        (kept,) = tmp_path.glob("*.npz")
        (tmp_path / other / kept.name).write_bytes(kept.read_bytes())
        again.fit(
            ratings,
            epochs=2,
            seed=int(other == "seed"),
            callback=lambda progress, seen=seen: seen.append(progress.record.epoch),
        )
        assert seen == [1, 2], other


def test_of_a_file_a_checkpoint_is_known_again_and_that_of_other_ratings_is_not(
    train: Ratings, tmp_path: Path
) -> None:
    frame = frame_of(train)
    frame.to_parquet(tmp_path / "ratings.parquet")
    frame[::-1].to_parquet(tmp_path / "reversed.parquet")
    swapped = frame.copy()
    swapped.loc[[3, 4], "rating"] = frame.loc[[4, 3], "rating"].to_numpy()
    assert not swapped.equals(frame)
    swapped.to_parquet(tmp_path / "swapped.parquet")

    def stop(progress: Any) -> None:
        raise RuntimeError("stop")

    def seen_in(name: str) -> list[int]:
        seen: list[int] = []
        solver = get_backend("spark", rank=5, n_jobs=2, checkpoint=str(tmp_path / "kept"))
        solver.fit(tmp_path / name, epochs=3, callback=lambda now: seen.append(now.record.epoch))
        return seen

    solver = get_backend("spark", rank=5, n_jobs=2, checkpoint=str(tmp_path / "kept"))
    with pytest.raises(RuntimeError, match="stop"):
        solver.fit(tmp_path / "ratings.parquet", epochs=3, callback=stop)
    assert seen_in("swapped.parquet") == [1, 2, 3]
    assert len(list((tmp_path / "kept").iterdir())) == 1  # the other fit's is still there
    assert seen_in("reversed.parquet") == [2, 3]
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_checkpoint_with_validation_or_damaged(train: Ratings, tmp_path: Path) -> None:
    solver = get_backend("spark", rank=5, n_jobs=2, checkpoint=str(tmp_path))
    with pytest.raises(ValueError, match='keep must be "last" with a checkpoint'):
        solver.fit(train, 0.1)

    def stop(progress: Any) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        solver.fit(train, 0.1, keep="last", epochs=2, callback=stop)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.warns(RuntimeWarning, match="cannot be read .* starts from the beginning"):
        solver.fit(train, 0.1, keep="last", epochs=2)
    assert [record.epoch for record in solver.history_] == [1, 2]


PRESSED = """
import os, signal, sys, threading, time
from helpers import random_ratings
from backends import get_backend
from backends.spark import tasks
train = random_ratings(2000, 300, 200_000)
seen = []
def callback(progress):
    seen.append(progress.record.epoch)
    if len(seen) == 2:  # in the middle of the next epoch
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
solver = get_backend("spark", rank=64, n_jobs=2)
solver.fit(train, epochs=500, callback=callback)
print(solver.status_, solver.n_epochs_ == len(seen) < 500, solver.history_[-1].epoch == len(seen))
context = solver._session().sparkContext
print("running", list(context.statusTracker().getActiveJobsIds()))
print("again", solver.fit(train, epochs=1).n_epochs_)
"""


def test_a_ctrl_c_cancels_the_job_and_leaves_the_last_whole_epoch() -> None:
    assert output_of(PRESSED) == ["interrupted True True", "running []", "again 1"]


def test_a_master_that_does_not_answer(train: Ratings) -> None:
    """In a process of its own: here a session is running."""
    code = (
        "from backends import get_backend\nfrom helpers import random_ratings\n"
        "get_backend('spark', master='spark://127.0.0.1:9').fit(random_ratings())"
    )
    error = output_of(code, status=1)[-1]
    said = "backends.errors.BackendUnavailable: no Spark master answers at spark://"
    assert error.startswith(said)
    assert "check that it runs" in error


def test_a_setting_that_spark_refuses() -> None:
    code = (
        "from backends import get_backend\nfrom helpers import random_ratings\n"
        "get_backend('spark', conf={'spark.driver.memory': 'much'}).fit(random_ratings())"
    )
    error = output_of(code, status=1)[-1]
    assert "Spark does not start with master" in error
    assert "check master and conf" in error


@pytest.mark.parametrize(
    ("master", "elsewhere"),
    [("local[*]", False), ("local[2]", False), ("spark://host:7077", True), ("yarn", True)],
)
def test_it_says_whether_others_do_the_work(master: str, elsewhere: bool) -> None:
    solver: Any = get_backend("spark", master=master)
    assert solver.works_elsewhere == elsewhere


def test_no_java_or_an_old_one(tmp_path: Path) -> None:
    code = "from backends import get_backend\nget_backend('spark')"
    missing = output_of(code, status=1, JAVA_HOME=str(tmp_path))[-1]
    assert "Spark needs Java 17 or newer, and" in missing
    assert "install a Java 17 runtime" in missing
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n", "utf-8")
    java.chmod(0o755)
    old = output_of(code, status=1, JAVA_HOME=str(tmp_path))[-1]
    assert f"{java} is Java 11; install a Java 17 runtime" in old


def test_ctrl_c_is_what_it_was(train: Ratings) -> None:
    """Spark's Python replaces the handler of SIGINT when a session starts."""
    fit("spark", train, epochs=1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
