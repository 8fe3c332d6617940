"""The options that say how a file is to be read: what they mean, and what errors advise."""

import argparse
import shlex
from pathlib import Path

import pytest
from reading import stored

from bench import duel, tune
from bench.datasets import DatasetError, FileOptions, load_file
from bench.file_options import FileArguments, add_fields
from bench.options import Selection


def arguments(line: str) -> FileArguments:
    parser = argparse.ArgumentParser()
    add_fields(parser.add_argument, FileArguments)
    return FileArguments(**vars(parser.parse_args(shlex.split(line))))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", FileOptions()),
        ("--columns user,item,rating", FileOptions(columns=("user", "item", "rating"))),
        ("--columns 0,1,3,2", FileOptions(columns=(0, 1, 3, 2))),
        ("--separator tab", FileOptions(separator="\t")),
        (r"--separator '\t'", FileOptions(separator="\t")),
        ("--separator '~~'", FileOptions(separator="~~")),
        ("--separator semicolon", FileOptions(separator=";")),
        ("--header", FileOptions(header=True)),
        ("--no-header", FileOptions(header=False)),
        ("--encoding latin-1", FileOptions(encoding="latin-1")),
        ("--decimal ,", FileOptions(decimal=",")),
        ("--missing -1", FileOptions(missing_rating=-1.0)),
        ("--missing none", FileOptions(missing_rating="none")),
        ("--missing-ids none", FileOptions(missing_ids=())),
        ("--missing-ids '?,x'", FileOptions(missing_ids=("?", "x"))),
        ("--on-bad-rows drop", FileOptions(on_bad_rows="drop")),
    ],
)
def test_what_they_mean(line: str, expected: FileOptions) -> None:
    assert arguments(line).file_options == expected


@pytest.mark.parametrize(
    ("line", "content", "advice"),
    [
        ("", "user,item,rating\n1,2,x\n", "give --on-bad-rows drop to leave out such rows"),
        ("", "user,item,rating\nNULL,2,3\n", "if it is an id, give --missing-ids none"),
        ("", "user,item,rating\n1,2,-1\n1,3,4\n", "give --missing -1; if it is a rating, give --m"),
        ("", "1,10,978300760,5\n2,10,978302109,3\n", "if so, give --columns 0,1,3,2; if they are"),
        ("", "a,b,c\n1,2,3\n", "or give --columns who,what,stars, or whatever"),
        ("", "1,2,3,4,5\n1,2,3,4,5\n", "or give --columns 0,1,2, or whatever"),
        ("", "1;2,3;4,5;6,7\n", "Give --separator semicolon or another one of them"),
        ("", "hello\n", "For another one, give --separator '~'"),
        ("", "user;item;rating\n1;2;4,500\n", "If it is a decimal comma, give --decimal ,"),
        ("--columns 0,1", "1,2,3\n", "--columns 0,1 must be three or four names or positions"),
        ("--columns 0,1,1", "1,2,3\n", "--columns 0,1,1 contains a column twice"),
        ("--duplicates error", "1,2,3\n1,2,4\n", "To keep one, give --duplicates last or mean"),
    ],
)
def test_errors_advise_options_that_exist(
    tmp_path: Path, line: str, content: str, advice: str
) -> None:
    given = arguments(line)
    with pytest.raises(DatasetError) as caught:
        load_file(stored(tmp_path, content), given.file_options, duplicates=given.duplicates)
    told = str(caught.value)
    assert advice in told
    for name in ("on_bad_rows", "missing_rating", "missing_ids", "columns=", "separator=", "pass "):
        assert name not in told, "no argument of a Python function"


def test_a_file_in_latin_1_is_told_the_option(tmp_path: Path) -> None:
    path = stored(tmp_path, "user;item;rating\n1;\u00e9;5\n2;b;4\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="give --encoding latin-1"):
        load_file(path)
    options = arguments("--encoding latin-1 --separator semicolon").file_options
    assert load_file(path, options).raw.items.tolist() == ["\u00e9", "b"]


def test_duplicates(tmp_path: Path) -> None:
    path = stored(tmp_path, "user,item,rating\n1,2,3\n1,3,5\n1,2,4\n")
    last = load_file(path)
    assert (last.raw.ratings.tolist(), last.reading) == ([5.0, 4.0], "")
    mean = load_file(path, duplicates="mean")
    assert (mean.raw.ratings.tolist(), mean.reading) == ([3.5, 5.0], "duplicates mean")
    assert mean.raw.dropped == {"in the mean of the pair": 1}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--encoding latin-11", "--encoding latin-11 is not an encoding that Python knows"),
        ("--separator ''", "--separator '' must be one or more characters"),
        ("--separator , --decimal ,", "--decimal , and --separator comma exclude each other"),
    ],
)
def test_options_that_make_no_sense(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Selection(ratings=Path("mine.csv"), **vars(arguments(line))).check()


@pytest.mark.parametrize("line", ["--columns 0,1,2", "--no-header", "--missing -1"])
def test_they_need_a_file(line: str) -> None:
    name = line.split()[0].replace("--no-", "--")
    with pytest.raises(ValueError, match=f"{name} says how to read a file of your own: give --rat"):
        Selection(**vars(arguments(line))).check()


def test_every_command_has_them() -> None:
    for parser in (duel._parser(), tune._parser()):
        text = parser.format_help()
        assert all(f"--{name.replace('_', '-')}" in text for name in FileArguments.__annotations__)
