"""What is written is read again, in every format; what is damaged is refused."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fuzz_readers
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import BIG, refusal, rows, saved, stored

from bench.datasets import from_frame, read_ratings
from bench.datasets.reading import blocks
from bench.datasets.reading.ids import INVISIBLE

# Any text that a line can hold and that neither begins nor ends with what nobody sees. Numbers in
# several spellings, and quotes in ids, are tested by themselves.
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n.+"), min_size=1
).filter(lambda text: text.strip(INVISIBLE) == text and not re.fullmatch('".*"', text))
ids = st.one_of(
    *(
        st.lists(values, min_size=1, max_size=12)
        for values in (texts, st.integers(-(2**63), 2**63 - 1), st.integers(0, BIG))
    )
)
quick = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def triplets(draw: st.DrawFn) -> list[tuple[Any, Any, float, int]]:
    users, items = draw(ids), draw(ids)
    ratings = draw(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=12)
    )
    times = draw(st.lists(st.integers(0, 2**62), min_size=12, max_size=12))
    return draw(st.permutations(list(zip(users, items, ratings, times, strict=False))))


def as_read(values: Sequence[Any]) -> list[Any]:
    """Ids as read back: integers where all of them look like 64-bit integers."""
    written = [str(value) for value in values]
    whole = all(re.fullmatch("0|-?[1-9][0-9]*", text) for text in written)
    numbers = [int(text) for text in written] if whole else []
    fit = any(
        all(low <= n <= high for n in numbers) for low, high in ((-(2**63), 2**63 - 1), (0, BIG))
    )
    return numbers if whole and fit else written


@quick
@given(
    triplets(),
    st.sampled_from([",", ";", "\t", "|", " ", "::"]),
    st.booleans(),
    st.integers(1, 200),
)
def test_text_round_trip(
    tmp_path: Path, rated: list[tuple[Any, ...]], separator: str, header: bool, block_bytes: int
) -> None:
    if separator == "::":  # never quoted
        rated = [tuple(str(v).replace(":", ".").replace("\x1f", ".") for v in row) for row in rated]
    table = [("user", "item", "rating", "time"), *rated] if header else rated
    if separator == "::":
        content = "\n".join("::".join(row) for row in table) + "\n"
    else:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(table)
        content = buffer.getvalue()
    path = stored(tmp_path, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            blocks, "BLOCK_BYTES", max(block_bytes, *map(len, content.encode().split(b"\n"))) + 2
        )
        raw = read_ratings(
            path,
            columns=(0, 1, 2, 3),
            separator=separator,
            header=header,
            missing_rating="none",
            missing_ids=(),
        )
    users, items, ratings, times = zip(*rated, strict=True)
    assert raw.users.tolist() == as_read(users)
    assert raw.items.tolist() == as_read(items)
    assert raw.ratings.tolist() == [float(rating) for rating in ratings]
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [int(time) for time in times]


def typed(values: list[Any]) -> np.ndarray[Any, Any]:
    """As an array of integers: NumPy makes floats of some that need 64 bits without sign."""
    return np.array(values, np.uint64 if type(values[0]) is int and max(values) >= 2**63 else None)


@quick
@given(triplets(), st.sampled_from(["parquet", "feather", "npz", "frame"]))
def test_typed_round_trip(tmp_path: Path, rated: list[tuple[Any, ...]], kind: str) -> None:
    users, items, ratings, times = (list(column) for column in zip(*rated, strict=True))
    arrays = {
        "users": typed(users),
        "items": typed(items),
        "ratings": np.array(ratings),
        "time": np.array(times),
    }
    path = tmp_path / "ratings"
    if kind == "npz":
        raw = read_ratings(saved(path, **arrays), missing_rating="none")
    else:
        frame = pd.DataFrame(arrays)
        if kind != "frame":
            getattr(frame, f"to_{kind}")(path)
        read: Any = from_frame if kind == "frame" else read_ratings
        raw = read(frame if kind == "frame" else path, missing_rating="none")
    assert rows(raw) == list(zip(as_read(users), as_read(items), ratings, strict=True))
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == times


@quick
@given(st.integers(0, 60), st.sampled_from(["9,9", "9,,9", "9,9,x"]), st.booleans(), st.booleans())
def test_the_line_named_is_the_line(
    tmp_path: Path, at: int, bad: str, header: bool, crlf: bool
) -> None:
    lines = ["1,2,3"] * 60
    if header:
        lines.insert(0, "user,item,rating")
    at = max(at, 1)  # the first line decides how many fields there are
    lines.insert(at, bad)
    path = stored(tmp_path, ("\r\n" if crlf else "\n").join(lines))
    assert f"FILE, line {at + 1}: " in refusal(path)


def test_damaged_files(tmp_path: Path) -> None:
    files = fuzz_readers.sources()
    outcomes = [
        fuzz_readers.run_case(number, 0, files, tmp_path / "ratings") for number in range(200)
    ]
    assert any(outcome.startswith("refused") for outcome in outcomes)
    assert any("agreed" in outcome for outcome in outcomes)
