"""Variants that differ from the standard one in what shares a draw: a channel, a row, a time axis, the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.arguments import checked_noise_shape
from dropout_service.kernels.dropout import passes, standard
from dropout_service.kernels.variants.parameters import Parameter
from dropout_service.kernels.variants.table import Draw, Pass, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BATCHWISE",
    "DROPCONNECT",
    "DROP_PATH",
    "FEATURE_1D",
    "FEATURE_2D",
    "FEATURE_3D",
    "LOCKED",
    "STANDARD",
    "NoiseShapeVariant",
    "Shape",
    "each",
    "mask_shape",
]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseShapeVariant(Variant):
    """Standard dropout with a mask drawn on a smaller shape and broadcast.

    Parameters
    ----------
    noise_shape
        Tells the shape from that of x, what x is called (a pointer) and the variant's parameters.
    """

    noise_shape: Callable[[Shape, str, Mapping[str, Any]], Shape]

    def _forward(self, given: Pass) -> None:
        passes.drop(
            given.format_,
            given.array,
            given.out,
            passes.threshold_of(given.rate),
            seed=given.seed,
            offset=given.offset,
            scaling=given.scaling,
            training=given.training,
            noise_shape=self.noise_shape(given.array.shape, given.pointer, given.parameters),
            mask=given.mask,
            threads=given.threads,
        )

    def _backward(self, given: Pass) -> None:
        self._forward(given)  # the map is linear and diagonal: its gradient is the same map

    def _mask(self, draw: Draw) -> NDArray[np.bool_]:
        noise_shape = self.noise_shape(draw.shape, draw.pointer, draw.parameters)
        return passes.draw(noise_shape, passes.threshold_of(draw.rate), draw.seed, draw.offset, draw.threads)


def mask_shape(variant: Variant, shape: Shape, parameters: Mapping[str, Any]) -> Shape:
    """Return the shape of the mask that ``variant.mask`` draws, without drawing it.

    Parameters
    ----------
    variant
        One that is ``masked``.
    shape
        Shape of x.
    parameters
        The variant's own, by name.

    Raises
    ------
    InvalidInputError
        With a pointer to the argument that is wrong.
    """
    own = variant.checked_parameters(parameters)
    return variant.noise_shape(shape, "/x", own) if isinstance(variant, NoiseShapeVariant) else shape


def channels(axes: str) -> Callable[[Shape, str, Mapping[str, Any]], Shape]:
    """Return the rule of one draw for each sample and channel.

    Parameters
    ----------
    axes
        The axes that x must have, such as ``n c h w``.
    """
    rank = len(axes.split())

    def noise_shape(shape: Shape, pointer: str, _parameters: Mapping[str, Any]) -> Shape:
        if len(shape) != rank:
            message = f"{pointer.removeprefix('/')} has the axes ({axes.replace(' ', ', ')}), not shape {list(shape)}"
            raise InvalidInputError.at(pointer, message)
        return shape[:2] + (1,) * (rank - 2)

    return noise_shape


def _at_least_one_axis(shape: Shape, pointer: str) -> None:
    if not shape:
        message = f"{pointer.removeprefix('/')} has a first axis, which counts samples; this array has no axes"
        raise InvalidInputError.at(pointer, message)


def _each_or_given(shape: Shape, _pointer: str, parameters: Mapping[str, Any]) -> Shape:
    given = parameters["noise_shape"]
    return shape if given is None else checked_noise_shape(given, shape)


def each(shape: Shape, _pointer: str, _parameters: Mapping[str, Any]) -> Shape:
    """Let each element have a draw of its own."""
    return shape


def _all_but_axis(shape: Shape, pointer: str, parameters: Mapping[str, Any]) -> Shape:
    axis: int = parameters["axis"]
    if not -len(shape) <= axis < len(shape):
        message = f"axis {axis} is not one of {pointer.removeprefix('/')}, which has shape {list(shape)}"
        raise InvalidInputError.at("/axis", message)
    axis %= len(shape)
    return (*shape[:axis], 1, *shape[axis + 1 :])


def _one_for_all_samples(shape: Shape, pointer: str, _parameters: Mapping[str, Any]) -> Shape:
    _at_least_one_axis(shape, pointer)
    return (1, *shape[1:])


def _one_each_sample(shape: Shape, pointer: str, _parameters: Mapping[str, Any]) -> Shape:
    _at_least_one_axis(shape, pointer)
    return shape[:1] + (1,) * (len(shape) - 1)


_FORMULA: Final = "y = x * mask * scale, scale = 1 / (1 - effective_rate) if inverted, 1 if classic"
_GRADIENT: Final = "grad_input = grad_output * mask * scale"

STANDARD: Final = NoiseShapeVariant(
    name="standard",
    title="Standard dropout",
    drops="each element on its own, or what noise_shape shares as one",
    constraints="any shape",
    formula=_FORMULA,
    gradient=_GRADIENT,
    paper="Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: Dropout: A Simple Way to Prevent Neural Networks "
    "from Overfitting. Journal of Machine Learning Research 15 (2014) 1929-1958",
    parameters=(
        Parameter(
            "noise_shape", "shape the mask is drawn on: for each axis 1 (shared), its size, or null for it", "shape"
        ),
    ),
    scalings=standard.SCALINGS,
    noise_shape=_each_or_given,
)


def _feature(dimensions: int, axes: str) -> NoiseShapeVariant:
    return NoiseShapeVariant(
        name=f"feature{dimensions}d",
        title=f"Spatial dropout, {dimensions}d",
        drops="whole channels, on their own for each sample",
        constraints=f"axes ({axes.replace(' ', ', ')})",
        formula=f"{_FORMULA}, mask drawn on ({', '.join(['n', 'c', *'1' * dimensions])})",
        gradient=_GRADIENT,
        paper="Tompson, Goroshin, Jain, LeCun, Bregler: Efficient Object Localization Using Convolutional Networks. "
        "CVPR 2015, 648-656",
        scalings=standard.SCALINGS,
        example_shape=(1, 3) + (2,) * dimensions,
        noise_shape=channels(axes),
    )


FEATURE_1D: Final = _feature(1, "n c l")
FEATURE_2D: Final = _feature(2, "n c h w")
FEATURE_3D: Final = _feature(3, "n c d h w")

LOCKED: Final = NoiseShapeVariant(
    name="locked",
    title="Locked (variational) dropout",
    drops="elements, with one mask shared along an axis such as time",
    constraints="the axis is one of x's",
    formula=f"{_FORMULA}, mask drawn with size 1 along the axis",
    gradient=_GRADIENT,
    paper="Gal, Ghahramani: A Theoretically Grounded Application of Dropout in Recurrent Neural Networks. "
    "NIPS 2016, 1019-1027",
    parameters=(Parameter("axis", "the axis that shares one mask; negative counts from the last", "axis", default=1),),
    scalings=standard.SCALINGS,
    noise_shape=_all_but_axis,
)

BATCHWISE: Final = NoiseShapeVariant(
    name="batchwise",
    title="Batchwise dropout",
    drops="elements, with one mask for every sample of the batch",
    constraints="at least one axis; the first counts samples",
    formula=f"{_FORMULA}, mask drawn on (1, ...)",
    gradient=_GRADIENT,
    paper="Graham, Reizenstein, Robinson: Efficient batchwise dropout training using submatrices. arXiv:1502.02478 "
    "(2015)",
    scalings=standard.SCALINGS,
    noise_shape=_one_for_all_samples,
)

DROP_PATH: Final = NoiseShapeVariant(
    name="drop_path",
    title="Stochastic depth (DropPath)",
    drops="whole samples of a residual branch",
    constraints="at least one axis; the first counts samples",
    formula=f"{_FORMULA}, mask drawn on (n, 1, ...)",
    gradient=_GRADIENT,
    paper="Huang, Sun, Liu, Sedra, Weinberger: Deep Networks with Stochastic Depth. ECCV 2016, 646-661",
    scalings=standard.SCALINGS,
    noise_shape=_one_each_sample,
)

DROPCONNECT: Final = NoiseShapeVariant(
    name="dropconnect",
    title="DropConnect",
    drops="single weights: x is the weight matrix",
    constraints="any shape: the weights of a layer",
    formula=f"{_FORMULA}, x the weights",
    gradient=_GRADIENT,
    paper="Wan, Zeiler, Zhang, LeCun, Fergus: Regularization of Neural Networks using DropConnect. ICML 2013, "
    "1058-1066",
    scalings=standard.SCALINGS,
    noise_shape=each,
)
