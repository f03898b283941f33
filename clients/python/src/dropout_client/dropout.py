"""``client.dropout``: dropout of an array, forward and backward."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from dropout_client import arrays, safetensors
from dropout_client.binding import AsyncResource, Resource, awaiting, blocking
from dropout_client.errors import UnexpectedResponseError
from dropout_client.flows import Request, send
from dropout_client.records import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dropout_client.arrays import ArrayLike
    from dropout_client.flows import Flow, Response

__all__ = ["AsyncDropout", "Dropout", "ForwardResult", "Gradients", "Scaling", "VariantName"]

Scaling = Literal["inverted", "classic"]

VariantName = Literal[
    "standard",
    "feature1d",
    "feature2d",
    "feature3d",
    "gaussian",
    "alpha",
    "feature_alpha",
    "dropconnect",
    "dropblock",
    "drop_path",
    "locked",
    "batchwise",
    "concrete",
]
"""What ``variant`` may be; ``client.dropout.variants()`` tells what each one drops."""

_NEEDS_X: Final = frozenset({"concrete"})
"""Variants whose gradient needs the input of the forward pass."""

_REMEMBERED: Final = (
    "variant",
    "rate",
    "seed",
    "offset",
    "scaling",
    "training",
    "noise_shape",
    "axis",
    "block_size",
    "temperature",
)
"""What ``backward`` has to know of the call of ``forward``."""

_DEFAULTS: Final = {"variant": "standard", "offset": 0, "scaling": "inverted", "training": True}
"""Those that say something when they are left out; the others are then ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardResult:
    """An array after dropout, and all that its gradient needs.

    NumPy takes it for the array ``y``.

    Attributes
    ----------
    y
        The result, of the shape and type of ``x``.
    variant
        Which dropout it was.
    rate, effective_rate
        Probability of dropping an element: as asked for, and as it is in force (a multiple of 1/65536 for masks).
    scale
        Factor of the elements that were kept; ``None`` for a variant where it depends on what was drawn.
    seed, offset
        What the noise follows from.
    algorithm
        Name and version of the stream of the noise.
    scaling, training, noise_shape, axis, block_size, temperature
        As given to ``forward``.
    mask
        True where kept; ``None`` unless asked for.
    x
        The input itself, not a copy, where its gradient needs it (``concrete``); otherwise ``None``.
    """

    y: NDArray[Any]
    variant: VariantName = "standard"
    rate: float
    effective_rate: float
    scale: float | None
    seed: int
    offset: int
    algorithm: str
    scaling: Scaling
    training: bool
    noise_shape: tuple[int | None, ...] | None = None
    axis: int | None = None
    block_size: int | None = None
    temperature: float | None = None
    mask: NDArray[Any] | None = None
    x: NDArray[Any] | None = field(default=None, repr=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001  # NumPy's protocol
        """Give ``y``."""
        array = self.y if dtype is None else self.y.astype(dtype, copy=False)
        return array.copy() if copy else array


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """Gradients of the loss with respect to what ``forward`` was given.

    Attributes
    ----------
    grad_input
        With respect to ``x``, of its shape and type.
    grad_rate
        With respect to ``rate``, for a variant that learns it (``concrete``); otherwise ``None``.
    """

    grad_input: NDArray[Any]
    grad_rate: float | None = None


def forward(
    x: ArrayLike,
    *,
    rate: float = 0.5,
    variant: VariantName = "standard",
    seed: int | None = None,
    offset: int = 0,
    scaling: Scaling = "inverted",
    training: bool = True,
    noise_shape: Sequence[int | None] | None = None,
    axis: int | None = None,
    block_size: int | None = None,
    temperature: float | None = None,
    return_mask: bool = False,
) -> Flow[ForwardResult]:
    """Drop elements of an array at random.

    Parameters
    ----------
    x
        Floats: float16, bfloat16, float32 or float64; lists of numbers become float64. Some variants want certain axes.
    rate
        Probability of dropping an element, from 0 to 1.
    variant
        Which dropout; ``client.dropout.variants()`` describes them.
    seed
        Unsigned 64-bit integer that the noise follows from; left out, the service draws one and tells it.
    offset
        Selects another draw of the same seed.
    scaling
        ``inverted``: what is kept is divided by ``1 - rate`` in training. ``classic``: multiplied by it in evaluation.
    training
        ``False``: evaluation, in which nothing is dropped.
    noise_shape
        For ``standard``: shape of the mask, the size of an axis, or 1 to share the mask over it.
    axis
        For ``locked``: the axis over which the mask is shared.
    block_size
        For ``dropblock``: side of the squares that are dropped.
    temperature
        For ``concrete``: how far the noise is from a mask.
    return_mask
        Also give the mask. ``backward`` does not need it.

    Returns
    -------
    ForwardResult
        ``y``, and what ``backward`` needs.

    Examples
    --------
    >>> dropped = client.dropout.forward([[1, 2], [3, 4]], rate=0.5, seed=42)
    >>> grad_input = client.dropout.backward([[1, 1], [1, 1]], dropped)
    >>> blocks = client.dropout.forward(images, rate=0.1, variant="dropblock", block_size=3)
    """
    array = arrays.to_array(x)
    call = {
        "variant": variant,
        "rate": rate,
        "seed": seed,
        "offset": offset,
        "scaling": scaling,
        "training": training,
        "noise_shape": noise_shape,
        "axis": axis,
        "block_size": block_size,
        "temperature": temperature,
        "return_mask": "packed" if return_mask else None,
    }
    tensors, facts = yield from _exchange("/dropout/forward", {"x": array}, call)
    return ForwardResult(
        y=_tensor(tensors, "y"),
        variant=variant,
        rate=float(rate),
        effective_rate=float(_fact(facts, "effective_rate")),
        scale=float(facts["scale"]) if "scale" in facts else None,
        seed=int(_fact(facts, "seed")),
        offset=int(facts.get("offset", offset)),
        algorithm=facts.get("algorithm", ""),
        scaling=scaling,
        training=training,
        noise_shape=None if noise_shape is None else tuple(noise_shape),
        axis=axis,
        block_size=block_size,
        temperature=temperature,
        mask=_mask(tensors, facts) if return_mask else None,
        x=array if variant in _NEEDS_X else None,
    )


def backward(
    grad_output: ArrayLike,
    y: ForwardResult | None = None,
    *,
    rate: float | None = None,
    variant: VariantName = "standard",
    seed: int | None = None,
    offset: int = 0,
    scaling: Scaling = "inverted",
    training: bool = True,
    noise_shape: Sequence[int | None] | None = None,
    axis: int | None = None,
    block_size: int | None = None,
    temperature: float | None = None,
    mask: ArrayLike | None = None,
    x: ArrayLike | None = None,
) -> Flow[NDArray[Any]]:
    """Carry a gradient back through dropout.

    Parameters
    ----------
    grad_output
        Gradient of the loss with respect to what ``forward`` gave.
    y
        What ``forward`` gave. It remembers the variant, the seed and the rest; the noise is regenerated from them.
    rate, variant, seed, offset, scaling, training, noise_shape, axis, block_size, temperature
        In place of ``y``: what ``forward`` was called with.
    mask
        In place of a seed: True where kept, of a shape that broadcasts to ``grad_output``.
    x
        In place of ``y``, for ``concrete``: the input of ``forward``.

    Returns
    -------
    ndarray
        Gradient with respect to the input, of the shape and type of ``grad_output``.

    Raises
    ------
    TypeError
        Neither ``y`` nor ``rate`` with ``seed`` or ``mask`` was given, or something beside ``y``.
    """
    call = {
        "variant": variant,
        "rate": rate,
        "seed": seed,
        "offset": offset,
        "scaling": scaling,
        "training": training,
        "noise_shape": noise_shape,
        "axis": axis,
        "block_size": block_size,
        "temperature": temperature,
    }
    if y is not None:
        beside = [name for name, value in {**call, "mask": mask, "x": x}.items() if _is_given(name, value)]
        if beside:
            raise TypeError(f"give `y`, or `rate` with `seed` or `mask`; `y` already remembers {', '.join(beside)}")
        return (yield from gradients(grad_output, y)).grad_input
    if rate is None or (seed is None) == (mask is None):
        raise TypeError("give what `forward` returned, or `rate` with one of `seed` and `mask`")
    tensors = {"grad_output": arrays.to_array(grad_output)}
    if mask is not None:
        tensors["mask"] = arrays.to_mask(mask)
    if x is not None:
        tensors["x"] = arrays.to_array(x)
    return (yield from _backward(tensors, call)).grad_input


def gradients(grad_output: ArrayLike, y: ForwardResult) -> Flow[Gradients]:
    """Carry a gradient back through dropout, to the input and to a rate that is learned.

    Parameters
    ----------
    grad_output
        Gradient of the loss with respect to what ``forward`` gave.
    y
        What ``forward`` gave.

    Returns
    -------
    Gradients
        ``grad_input`` as ``backward`` gives it, and for ``concrete`` also ``grad_rate``.
    """
    tensors = {"grad_output": arrays.to_array(grad_output)}
    if y.x is not None:
        tensors["x"] = y.x
    return (yield from _backward(tensors, {name: getattr(y, name) for name in _REMEMBERED}))


def variants() -> Flow[tuple[Variant, ...]]:
    """List the kinds of dropout that the service offers.

    Returns
    -------
    tuple[Variant, ...]
        Each with what it drops, what it takes, its parameters with their bounds, its formulas and its paper.
    """
    response: Response = yield from send(Request(method="GET", path="/dropout/variants"))
    return tuple(Variant.from_json(item) for item in response.json()["items"])


class Dropout(Resource):
    """``client.dropout``."""

    forward = blocking(forward)
    backward = blocking(backward)
    gradients = blocking(gradients)
    variants = blocking(variants)


class AsyncDropout(AsyncResource):
    """``client.dropout``, awaiting."""

    forward = awaiting(forward)
    backward = awaiting(backward)
    gradients = awaiting(gradients)
    variants = awaiting(variants)


def _is_given(name: str, value: Any) -> bool:
    return value is not None if name not in _DEFAULTS else value != _DEFAULTS[name]


def _backward(tensors: Mapping[str, NDArray[Any]], call: Mapping[str, Any]) -> Flow[Gradients]:
    """Carry a gradient back through the dropout of this call of ``forward``."""
    answer, facts = yield from _exchange("/dropout/backward", tensors, call)
    return Gradients(
        grad_input=_tensor(answer, "grad_input"), grad_rate=float(facts["grad_rate"]) if "grad_rate" in facts else None
    )


def _exchange(
    path: str, tensors: Mapping[str, NDArray[Any]], call: Mapping[str, Any]
) -> Flow[tuple[dict[str, NDArray[Any]], dict[str, str]]]:
    response: Response = yield from send(
        Request(
            method="POST",
            path=path,
            headers={"Content-Type": safetensors.MEDIA_TYPE, "Accept": safetensors.MEDIA_TYPE},
            body=safetensors.encode(tensors, _text(call)),
        )
    )
    return safetensors.decode(response.content)


def _text(call: Mapping[str, Any]) -> dict[str, str]:
    """Metadata is text; a parameter that is left out is the service's default."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, default=arrays.plain)
        for name, value in call.items()
        if value is not None
    }


def _tensor(tensors: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in tensors:
        raise UnexpectedResponseError(f"the answer lacks the array `{name}`")
    return tensors[name]


def _mask(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, str]) -> NDArray[Any]:
    """Unpack the mask, which travels at one bit an element."""
    return arrays.unpack_bits(_tensor(tensors, "mask"), json.loads(_fact(facts, "mask_shape")))


def _fact(facts: Mapping[str, str], name: str) -> str:
    if name not in facts:
        raise UnexpectedResponseError(f"the answer's metadata lacks `{name}`")
    return facts[name]
