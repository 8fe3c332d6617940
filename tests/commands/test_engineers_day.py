"""A day with a model in use, from its fit to tomorrow's file, goes as it should."""

import pytest


@pytest.mark.fits
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_day_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    from engineers_day import day

    assert len(day("numpy-als").seconds) == 9
    assert capsys.readouterr().out.startswith(("ml-latest-small, ", "anime twin x0.02, "))
