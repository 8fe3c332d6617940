"""A backend's registry row is all that the benchmark knows of it."""

from pathlib import Path

import pytest

from backends import registry
from backends.registry import BackendInfo
from bench.measure import peers
from bench.measure.backend_facts import Contender, backend_rows
from bench.report.figures.palette import PINK, Look, styles
from bench.roofline.work import WORK_MODELS


def test_a_new_backend_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed, measured, compared with the roofline and drawn in its colour."""
    new = BackendInfo(
        "backends.numpy_gd:NumpyGD", "descent", work="gradient descent", look="pink *"
    )
    monkeypatch.setitem(registry._BACKENDS, "brand-new", new)
    row = backend_rows()["brand-new"]
    assert (row.algorithm, row.available) == ("descent", True)
    assert row.work in WORK_MODELS
    facts = Contender(row, threads=1).facts()
    assert facts["look"] == "pink *"
    assert styles({"brand-new": facts["look"], "numpy": "grey o"})["brand-new"] == Look(PINK, "*")


@pytest.mark.usefixtures("planted")
def test_a_backend_of_another_package_needs_neither_work_nor_look() -> None:
    row = backend_rows()["steady"]
    assert (row.work, row.look) == ("", "")
    assert "look" not in Contender(row, threads=1).facts()


def test_a_contender_is_called_by_its_label() -> None:
    row = backend_rows()["numpy"]
    facts = Contender(row, 2, "float64", {"reg": 0.1}, "numpy:reg=0.1").facts()
    assert (facts["name"], facts["threads"], facts["dtype"]) == ("numpy:reg=0.1", 2, "float64")
    assert facts["params"] == {"reg": 0.1}
    assert Contender(row, 2).facts()["name"] == "numpy"


@pytest.mark.parametrize("value", [float("inf"), float("nan"), b"x", {1, 2}, object()])
def test_a_parameter_that_no_record_can_hold_is_refused(value: object) -> None:
    """Over the pipe it would arrive as another value."""
    wording = r"^cap must be a value that a record can contain .*, got "
    with pytest.raises(ValueError, match=wording):
        Contender(backend_rows()["numpy"], 1, params={"reg": 0.1, "cap": value})


def test_an_adapter_runs_in_the_environment_of_its_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python = Path("elsewhere", "bin", "python")
    monkeypatch.setattr(peers, "interpreter", lambda name: python if name == "cornac" else None)
    monkeypatch.setattr(peers, "problem", lambda name: "it broke" if name == "libmf" else "")
    rows = backend_rows()
    cornac, libmf, smurff = rows["cornac"], rows["libmf"], rows["smurff"]
    assert (cornac.library, cornac.interpreter, cornac.available) == ("cornac", python, True)
    assert cornac.reason == ""
    assert (libmf.interpreter, libmf.available, libmf.reason) == (None, False, "it broke")
    assert smurff.reason == (
        "the package smurff is not installed; run: pip install 'factorbench[smurff]'; or, for "
        "benchmarks: python -m bench.peers install smurff"
    )
    own = rows["numpy"]
    assert (own.library, own.interpreter, own.steppable) == ("", None, True)
    assert not rows["surprise-svd"].steppable
