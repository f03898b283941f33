"""The parameters that a request may give a variant, or a layer: what they mean, and what is accepted."""

from __future__ import annotations

import math
import numbers
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np

from dropout_service.errors import FieldError, InvalidInputError
from dropout_service.kernels.arguments import SCALINGS, Scaling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["OFFSET", "RATE", "SEED", "TRAINING", "Parameter", "checked_parameters", "scaling_parameter"]

Kind = Literal["number", "integer", "axis", "shape", "boolean", "text", "integers"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a variant or of a layer.

    Parameters
    ----------
    name
        Its name in requests.
    description
        What it means.
    kind
        ``number``, ``integer``, ``boolean`` or ``text``; ``integers``, a list of them; ``axis``, an integer that counts
        from the end if negative; or ``shape``, a list with 1, a size or null for each axis.
    default
        What holds where it is left out; None where it is required or drawn.
    minimum, maximum
        Its range, both ends included; None for no bound.
    exclusive_minimum, exclusive_maximum
        Whether that end is not part of the range after all.
    choices
        What a text may be; empty where it may be anything.
    required
        Whether it has to be given.
    """

    name: str
    description: str
    kind: Kind
    default: float | int | str | bool | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def range(self) -> str:
        """The range in words, as in "from 0 to 1" or "above 0 and below 1"; empty where there are no bounds."""
        if None not in {self.minimum, self.maximum} and not (self.exclusive_minimum or self.exclusive_maximum):
            return f"from {self.minimum:g} to {self.maximum:g}"
        low = "above" if self.exclusive_minimum else "of at least"
        high = "below" if self.exclusive_maximum else "of at most"
        bounds = ((low, self.minimum), (high, self.maximum))
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)

    def checked(self, value: Any) -> Any:
        """Return the value, of this parameter's kind and in its range.

        Parameters
        ----------
        value
            What was given.

        Raises
        ------
        InvalidInputError
            With a pointer to the parameter.
        """
        if self.kind == "integers":
            return self._listed(value)
        if self.kind == "number":
            number = _number(value)
        elif self.kind in _NOT_NUMBERS:
            return self._chosen(value)
        else:
            number = _integer(value)
        if number is None or not self._contains(number):
            message = f"{self.name} is {_ARTICLES[self.kind]}{' ' + self.range if self.range else ''}, not {value!r}"
            raise InvalidInputError.at(f"/{self.name}", message)
        return number

    def _listed(self, value: Any) -> list[int]:
        """Return a list of integers in the range."""
        if not isinstance(value, list | tuple):
            raise InvalidInputError.at(f"/{self.name}", f"{self.name} is a list of integers, not {value!r}")
        items = [_integer(item) for item in cast("list[Any]", value)]
        for place, item in enumerate(items):
            if item is None or not self._contains(item):
                message = f"{self.name} are integers {self.range}, not {value[place]!r}"
                raise InvalidInputError.at(f"/{self.name}/{place}", message)
        return cast("list[int]", items)

    def _chosen(self, value: Any) -> Any:
        """Return a truth value, a text, which is one of the choices where there are any, or a shape.

        The entries of a shape mean something beside an array only.
        """
        if self.kind == "boolean" and not isinstance(value, bool):
            raise InvalidInputError.at(f"/{self.name}", f"{self.name} is true or false, not {value!r}")
        if self.kind == "text" and not (isinstance(value, str) and (not self.choices or value in self.choices)):
            right = f"one of {', '.join(self.choices)}" if self.choices else "a text"
            raise InvalidInputError.at(f"/{self.name}", f"{self.name} is {right}, not {value!r}")
        return value

    def _contains(self, value: float) -> bool:
        below = self.minimum is not None and (
            value < self.minimum or (self.exclusive_minimum and value == self.minimum)
        )
        above = self.maximum is not None and (
            value > self.maximum or (self.exclusive_maximum and value == self.maximum)
        )
        return not below and not above


def checked_parameters(owner: str, known: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of an owner, the defaults filled in.

    Parameters
    ----------
    owner
        Whose they are, in words.
    known
        The parameters that it has.
    given
        Values by name.

    Raises
    ------
    InvalidInputError
        With a pointer to each name that is not one of them, or to the first value that is missing or out of range.
    """
    own = {one.name: one for one in known}
    foreign = [name for name in given if name not in own]
    if foreign:
        takes = ", ".join(own) or "no parameters of its own"
        message = f"{owner} takes {takes}, not {', '.join(foreign)}"
        raise InvalidInputError(message, errors=[FieldError(f"/{name}", message) for name in foreign])
    for name, one in own.items():
        if one.required and name not in given:
            raise InvalidInputError.at(f"/{name}", f"{owner} needs {name}: {one.description}")
    return {name: one.checked(given[name]) if name in given else one.default for name, one in own.items()}


def _number(value: Any) -> float | None:
    """Return a finite number as a float; None for anything else."""
    if not isinstance(value, float):
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
            return None
        try:
            value = float(value)
        except OverflowError:  # an integer beyond float64
            return None
    return float(value) if math.isfinite(value) else None


def _integer(value: Any) -> int | None:
    """Return an integer as Python's; None for anything else."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


_NOT_NUMBERS: Final = {"boolean", "text", "shape"}
_ARTICLES: Final = {"number": "a number", "integer": "an integer", "axis": "an axis, an integer"}

RATE: Final = Parameter("rate", "probability of dropping", "number", minimum=0, maximum=1)
"""The parameter that every variant has; some leave an end of its range out."""

SEED: Final = Parameter(
    "seed",
    "fixes what is drawn; drawn itself and returned where it is left out",
    "integer",
    minimum=0,
    maximum=2**64 - 1,
)
OFFSET: Final = Parameter(
    "offset",
    "number of the stream: one for each independent draw of a seed",
    "integer",
    default=0,
    minimum=0,
    maximum=2**64 - 1,
)
TRAINING: Final = Parameter("training", "false for the evaluation pass, which drops nothing", "boolean", default=True)


def scaling_parameter(scalings: tuple[Scaling, ...]) -> Parameter:
    """Return the parameter ``scaling`` of a variant.

    Parameters
    ----------
    scalings
        Those that it has.
    """
    if scalings == SCALINGS:
        description = "inverted (scale in training) or classic (scale in evaluation)"
    else:
        description = "inverted: the scale belongs to training, and evaluation is the identity"
    return Parameter("scaling", description, "text", default="inverted")
