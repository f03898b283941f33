"""The row of the table of variants, and what its passes are given.

A `Variant` checks what it is given and leaves the arithmetic to its family's subclass, which has a module of its own
in this package.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.arguments import Scaling, checked_format, checked_mask, checked_out, checked_word
from dropout_service.kernels.dropout import standard
from dropout_service.kernels.runtime.memory import empty_like
from dropout_service.kernels.variants.parameters import (
    OFFSET,
    RATE,
    SEED,
    TRAINING,
    Parameter,
    checked_parameters,
    scaling_parameter,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Draw", "Gradients", "Pass", "Variant"]


@dataclass(frozen=True, slots=True)
class Gradients:
    """What a backward pass gives.

    Parameters
    ----------
    grad_input
        Gradient with respect to x, of its shape and dtype.
    grad_rate
        Gradient with respect to the rate, for variants that can learn it.
    """

    grad_input: NDArray[Any]
    grad_rate: float | None = None


class Draw(NamedTuple):
    """The draw of a mask: what it was given, checked.

    Parameters
    ----------
    shape
        Shape of the array that it is for.
    pointer
        What that array is called.
    rate, seed, offset, threads
        As in `Variant.forward`.
    parameters
        The variant's own parameters, all of them.
    """

    shape: tuple[int, ...]
    pointer: str
    rate: float
    seed: int
    offset: int
    threads: int | None
    parameters: Mapping[str, Any]


class Pass(NamedTuple):
    """One forward or backward pass: what it was given, checked.

    A tuple, which is made in a quarter of the time of a frozen dataclass: small arrays are bound by such things.

    Parameters
    ----------
    array
        x, or grad_output.
    format_
        The format of its elements; see `formats.FORMATS`.
    pointer
        What the array is called.
    rate, seed, offset, scaling, training, mask, threads
        As in `Variant.forward`; seed is 0 where a mask takes its place.
    out
        The array to write into; a new one where the caller had none.
    x
        The input of the forward pass, where a backward pass was given it.
    parameters
        The variant's own parameters, all of them.
    """

    array: NDArray[Any]
    format_: int
    pointer: str
    rate: float
    seed: int
    offset: int
    scaling: Scaling
    training: bool
    mask: NDArray[np.bool_] | None
    out: NDArray[Any]
    threads: int | None
    x: NDArray[Any] | None
    parameters: Mapping[str, Any]

    @property
    def draw(self) -> Draw:
        """The draw of its mask."""
        return Draw(self.array.shape, self.pointer, self.rate, self.seed, self.offset, self.threads, self.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(abc.ABC):
    """One variant of dropout.

    Parameters
    ----------
    name
        Its name in requests and in training specifications.
    title
        Its name in prose.
    drops
        What is dropped, in a line.
    constraints
        What x must look like.
    formula
        The forward pass in training.
    gradient
        The backward pass.
    paper
        Where it was introduced.
    parameters
        Its own parameters, beyond those that all variants share.
    rate
        The rate with its range.
    scalings
        Which scalings it has.
    example_shape
        A small shape that x may have beside the default parameters, for examples and tests.
    """

    masked: ClassVar[bool] = True
    """Whether its noise is a mask of 0 and 1, which can be returned and given."""
    needs_x: ClassVar[bool] = False
    """Whether its backward pass needs the input of the forward pass, and then also gives ``grad_rate``."""
    algorithm: ClassVar[str] = standard.ALGORITHM
    """Version of the stream that its noise is drawn from; see docs/mask-stream.md."""

    name: str
    title: str
    drops: str
    constraints: str
    formula: str
    gradient: str
    paper: str
    parameters: tuple[Parameter, ...] = ()
    rate: Parameter = RATE
    scalings: tuple[Scaling, ...] = ("inverted",)
    example_shape: tuple[int, ...] = (2, 3)

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """The shared parameters and its own: all that a request may hold beside the arrays."""
        return (self.rate, SEED, OFFSET, scaling_parameter(self.scalings), TRAINING, *self.parameters)

    def forward(
        self,
        x: NDArray[Any],
        rate: float,
        *,
        seed: int,
        offset: int = 0,
        scaling: Scaling = "inverted",
        training: bool = True,
        mask: NDArray[np.bool_] | None = None,
        out: NDArray[Any] | None = None,
        threads: int | None = None,
        **parameters: Any,
    ) -> NDArray[Any]:
        """Apply the variant to x.

        Parameters
        ----------
        x
            float16, bfloat16, float32 or float64, of any layout.
        rate
            Probability of dropping.
        seed, offset
            Unsigned 64-bit integers that address the noise.
        scaling
            One of `scalings`.
        training
            False for evaluation: nothing is dropped.
        mask
            Booleans, True for kept, broadcastable to x: used instead of the stream by a variant that is `masked`.
        out
            Array of x's shape and dtype to write into; it may be x itself.
        threads
            Threads at most; None for the process-wide number. The result does not depend on it.
        parameters
            Its own, by name.

        Returns
        -------
        ndarray
            y, of x's shape and dtype.

        Raises
        ------
        InvalidInputError
            With a pointer to the argument that is wrong.
        """
        x = np.asarray(x)
        given = Pass(  # by position, which is faster than by name
            x,
            checked_format(x, "/x"),
            "/x",
            self.rate.checked(rate),
            checked_word("/seed", seed),
            checked_word("/offset", offset),
            self._checked_scaling(scaling),
            training,
            None if mask is None else self._checked_mask(mask, x.shape),
            empty_like(x) if out is None else checked_out(out, x, "/x"),
            threads,
            None,
            self.checked_parameters(parameters),
        )
        self._forward(given)
        return given.out

    def backward(
        self,
        grad_output: NDArray[Any],
        rate: float,
        *,
        seed: int | None = None,
        offset: int = 0,
        scaling: Scaling = "inverted",
        training: bool = True,
        mask: NDArray[np.bool_] | None = None,
        x: NDArray[Any] | None = None,
        out: NDArray[Any] | None = None,
        threads: int | None = None,
        **parameters: Any,
    ) -> Gradients:
        """Return the exact gradient of `forward`: its noise is drawn again, not stored.

        Parameters
        ----------
        grad_output
            Gradient with respect to y, of y's shape.
        rate, offset, scaling, training, out, threads, parameters
            As given to `forward`.
        seed
            As given to `forward`; not needed with a mask.
        mask
            The mask that `forward` used, where it was not drawn from the seed.
        x
            The input of `forward`, for a variant that `needs_x`.

        Returns
        -------
        Gradients
            With respect to x, and for a variant that `needs_x` to the rate.

        Raises
        ------
        InvalidInputError
            With a pointer to the argument that is wrong.
        """
        if seed is None and mask is None:
            message = f"backward needs the seed of the forward pass{', or its mask' if self.masked else ''}"
            raise InvalidInputError.at("/seed", message)
        grad_output = np.asarray(grad_output)
        given = Pass(  # by position, which is faster than by name
            grad_output,
            checked_format(grad_output, "/grad_output"),
            "/grad_output",
            self.rate.checked(rate),
            checked_word("/seed", 0 if seed is None else seed),
            checked_word("/offset", offset),
            self._checked_scaling(scaling),
            training,
            None if mask is None else self._checked_mask(mask, grad_output.shape),
            empty_like(grad_output) if out is None else checked_out(out, grad_output, "/grad_output"),
            threads,
            x,
            self.checked_parameters(parameters),
        )
        return Gradients(given.out, self._backward(given))

    def mask(
        self,
        shape: int | Sequence[int],
        rate: float,
        *,
        seed: int,
        offset: int = 0,
        threads: int | None = None,
        **parameters: Any,
    ) -> NDArray[np.bool_]:
        """Draw the mask that `forward` uses on an array of this shape: True for kept, broadcastable to it.

        Parameters
        ----------
        shape
            Shape of x.
        rate, seed, offset, threads, parameters
            As in `forward`.

        Raises
        ------
        InvalidInputError
            With a pointer to the argument that is wrong, or to ``/variant`` where it has no mask.
        """
        if not self.masked:
            message = f'the noise of variant "{self.name}" is not a mask'
            raise InvalidInputError.at("/variant", message)
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        return self._mask(
            Draw(
                sizes,
                "/x",
                self.rate.checked(rate),
                checked_word("/seed", seed),
                checked_word("/offset", offset),
                threads,
                self.checked_parameters(parameters),
            )
        )

    def effective_rate(self, rate: float) -> float:
        """Return the rate that is in force: the streams of masks round it to 1/65536."""
        return standard.effective_rate(self.rate.checked(rate))

    def scale(self, rate: float, scaling: Scaling = "inverted", training: bool = True) -> float | None:  # noqa: FBT001, FBT002 - as in `standard.scale`
        """Return the factor of what is kept; None where it depends on what was drawn.

        Parameters
        ----------
        rate, scaling, training
            As in `forward`.
        """
        return standard.scale(self.rate.checked(rate), self._checked_scaling(scaling), training)

    def checked_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all of its own parameters, the defaults filled in.

        Parameters
        ----------
        given
            By name.

        Raises
        ------
        InvalidInputError
            With a pointer to each name that is not its own, or to the first value that is out of range.
        """
        if not given:
            return {one.name: one.default for one in self.parameters}
        return checked_parameters(f'variant "{self.name}"', self.parameters, given)

    @abc.abstractmethod
    def _forward(self, given: Pass) -> None:
        """Write y into ``given.out``."""

    @abc.abstractmethod
    def _backward(self, given: Pass) -> float | None:
        """Write grad_input into ``given.out``; return grad_rate where the variant has it."""

    def _mask(self, draw: Draw) -> NDArray[np.bool_]:
        """Draw the mask, broadcastable to the shape."""
        raise NotImplementedError

    def _checked_scaling(self, scaling: Scaling) -> Scaling:
        if scaling not in self.scalings:
            message = f'scaling of variant "{self.name}" is {_quoted(self.scalings)}, not {scaling!r}'
            raise InvalidInputError.at("/scaling", message)
        return scaling

    def _checked_mask(self, mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
        if not self.masked:
            message = f'the noise of variant "{self.name}" is not a mask: give the seed'
            raise InvalidInputError.at("/mask", message)
        return checked_mask(mask, shape)


def _quoted(words: Sequence[str]) -> str:
    return " or ".join(f'"{word}"' for word in words)
