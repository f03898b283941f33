"""The variants of dropout that the service offers, one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["VARIANTS", "Parameter", "Variant"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a variant.

    Parameters
    ----------
    name
        Its name in requests.
    description
        What it means, and its range.
    default
        What holds where it is left out; None where it is required or drawn.
    """

    name: str
    description: str
    default: float | int | str | bool | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of dropout.

    Parameters
    ----------
    name
        Its name in requests and in training specifications.
    drops
        What is dropped, in a line.
    parameters
        The parameters that it reads.
    formula
        The forward pass in training.
    gradient
        The backward pass.
    paper
        Where it was introduced.
    """

    name: str
    drops: str
    parameters: tuple[Parameter, ...]
    formula: str
    gradient: str
    paper: str


_STANDARD: Final = Variant(
    name="standard",
    drops="each element on its own, or what noise_shape shares as one",
    parameters=(
        Parameter("rate", "probability of dropping, 0 to 1"),
        Parameter("seed", "unsigned 64-bit integer that fixes the mask; drawn and returned where it is left out"),
        Parameter("offset", "unsigned 64-bit number of the stream: one for each independent mask of a seed", 0),
        Parameter("scaling", "inverted (scale in training) or classic (scale in evaluation)", "inverted"),
        Parameter("training", "false for the evaluation pass, which drops nothing", default=True),
        Parameter("noise_shape", "shape the mask is drawn on: for each axis 1 (shared) or its size"),
    ),
    formula="y = x * mask * scale, scale = 1 / (1 - effective_rate) if inverted, 1 if classic",
    gradient="grad_input = grad_output * mask * scale",
    paper="Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: Dropout: A Simple Way to Prevent Neural Networks "
    "from Overfitting. Journal of Machine Learning Research 15 (2014) 1929-1958",
)

VARIANTS: Final = {_STANDARD.name: _STANDARD}
"""Every variant, by name."""
