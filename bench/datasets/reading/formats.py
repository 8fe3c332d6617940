"""Formats that are recognised and not read: what to do with them instead."""

from __future__ import annotations

import json
import re

_TO_CSV = "Convert it, for example by pandas: "

# The first bytes of a file, its format, and what to do.
_BINARY = (
    (b"SQLite format 3\0", "an SQLite database", _TO_CSV + "read_sql(...).to_parquet(...)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _TO_CSV + "read_hdf(...).to_parquet(...)"),
    (b"\x93NUMPY", "one NumPy array", "Save users, items and ratings as columns by numpy.savez"),
    (b"ORC", "an ORC file", _TO_CSV + "read_orc(...).to_parquet(...)"),
    (b"Obj\x01", "an Avro file", "Convert it to Parquet"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook", "Save its sheet as CSV"),
    (b"RDX3\n", "an R workspace", "Save the data frame in R by write.csv(..., row.names=FALSE)"),
    (b"RDX2\n", "an R workspace", "Save the data frame in R by write.csv(..., row.names=FALSE)"),
    (b"X\n\0\0\0", "an R object", "Save the data frame in R by write.csv(..., row.names=FALSE)"),
    (b"%PDF-", "a PDF file", "Save its table as CSV"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it and give the file of ratings"),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it and give the file of ratings"),
    (b"$FL2", "an SPSS file", _TO_CSV + "read_spss(...).to_parquet(...)"),
    (b"MATLAB 5.0", "a MATLAB file", "Save the matrix by scipy.sparse.save_npz"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95\x8c}\]cXq(K]")
_TABLES = (
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "a Feather file"),
    (b"\xff\xff\xff\xff", "an Arrow stream"),
    (b"PK\x03\x04", "a zip file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
)


def known_binary(start: bytes) -> tuple[str, str] | None:
    """Return the format of a binary file that is not read, and what to do, or None."""
    for magic, what, advice in _BINARY:
        if start.startswith(magic):
            return what, advice
    if _PICKLE.match(start):
        return "a pickle", "Pickles can run code, so none is opened. Save the ratings as Parquet"
    if start[257:262] == b"ustar":
        return "a tar archive", "Unpack it and give the file of ratings"
    return None


def packed_table(start: bytes) -> tuple[str, str] | None:
    """Return the format of what was found inside a compressed file, and what to do, or None."""
    for magic, what in _TABLES:
        if start.startswith(magic):
            return what, "Unpack it and give the file inside"
    return known_binary(start)


def known_text(lines: list[str]) -> tuple[str, str] | None:
    """Return the format of a text that is not a table with a rating per line, or None.

    ``lines`` are its first lines that are not blank, at least one.
    """
    first = lines[0].strip()
    if first.startswith("%%MatrixMarket"):
        return (
            "a Matrix Market file",
            "Save it by scipy.sparse.save_npz('ratings.npz', scipy.sparse.coo_array("
            "scipy.io.mmread(...)))",
        )
    lower = first.lower()
    if lower.startswith(("<!doctype", "<html", "<?xml", "<")) and ">" in "".join(lines):
        return "HTML or XML, such as a page about a file", "Download the file itself"
    if lower.startswith("version https://git-lfs"):
        return "a pointer of Git LFS, not the file that it stands for", "Run git lfs pull"
    if first.startswith("+--") or (
        len(lines) > 1 and re.fullmatch(r"[|\s:-]+--[|\s:-]*", lines[1])
    ):
        return "a table that was printed", "Save it as CSV"
    if re.fullmatch(r"-?[\d.]+( \d+:[\d.eE+-]+)+ *", first):
        return "in the layout of LIBSVM", "Convert it to lines of user, item and rating"
    if lower.startswith(("@relation", "@attribute")):
        return "a Weka ARFF file", "Remove the lines up to and with @data"
    if lower.startswith(("insert into", "create table", "-- mysql", "-- postgresql", "copy ")):
        return "an SQL dump", "Export the table as CSV"
    if first[:1] in ("{", "[") and _is_json(first, lines):
        return (
            "JSON",
            "Convert it, for example by pandas.read_json(..., lines=True).to_parquet(...)",
        )
    if re.fullmatch(r"\d+:", first) and len(lines) > 1 and lines[1].count(",") in (1, 2):
        return (
            "in the layout of the Netflix Prize, where a line '7:' starts the ratings of movie 7",
            "Convert it to lines of user, item and rating; the original files are read as the data "
            "set netflix",
        )
    return None


def _is_json(first: str, lines: list[str]) -> bool:
    if first in ("{", "[", "[{"):
        return len(lines) > 1 and lines[1].lstrip()[:1] in ('"', "{", "[")
    try:
        return isinstance(json.loads(first.rstrip(",")), dict | list)
    except (ValueError, RecursionError):
        return first.startswith(('{"', '[{"', "[["))
