"""What the solvers by alternating least squares share: when biases are solved for.

With the items fixed, J is a sum over the users, and each user's (b_u, p_u) solves a weighted ridge
regression on the rows (1, q_i) of the items it rated (Zhou et al. 2008, with biases). Then the
users are fixed and the items are solved for. Each half-epoch is an exact minimum of J in one side,
up to rounding, so J never rises.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from .factorizer import Factorizer
from .objective import Objective, Parameters
from .ratings import Ratings


@dataclass(kw_only=True, eq=False)
class AlternatingLeastSquares(Factorizer):
    """Base class of the solvers; an epoch updates the users, and then the items.

    Parameters
    ----------
    bias
        True: each half-epoch solves for a row's factors and bias together. False: a model without
        mean and biases. "fixed": the biases stay those of the start, which are the damped biases
        alone unless ``initial`` is given, and only factors are solved for. Then J is minimised over
        the factors only.
    """

    # Wider than that of the base class, which mypy does not allow for attributes.
    bias: bool | Literal["fixed"] = True  # type: ignore[assignment]

    @property
    def objective(self) -> Objective:
        """The objective that ``fit`` minimises; "fixed" biases are part of it too."""
        if self.bias == "fixed":
            return dataclasses.replace(self, bias=True).objective
        return super().objective

    @property
    def solves_for_biases(self) -> bool:
        """Whether a half-epoch changes the biases."""
        return self.bias is True

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        if not isinstance(self.bias, bool) and self.bias != "fixed":
            raise ValueError(f'bias must be True, False or "fixed", got {self.bias!r}')
        super().check_params()

    def initial_parameters(self, train: Ratings, seed: int = 0) -> Parameters:
        """Return the parameters that ``fit(train, seed=seed)`` starts from; see the base class.

        With ``bias="fixed"`` the biases are the damped biases alone.
        """
        start = super().initial_parameters(train, seed)
        if self.bias == "fixed":
            b, c = self.objective.biases_alone(train)
            start.user_bias, start.item_bias = b.astype(self.dtype), c.astype(self.dtype)
        return start
