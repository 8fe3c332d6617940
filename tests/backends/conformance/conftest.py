"""A fit, however it ends, leaves the libraries it ran on as they were."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def gradients_stay_enabled() -> Iterator[None]:
    """An interrupted fit must not leave torch's gradients off for the rest of the process."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and not torch.is_grad_enabled():
        torch.set_grad_enabled(True)
        pytest.fail("the test left torch's gradients switched off")
