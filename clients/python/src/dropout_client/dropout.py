"""``client.dropout``: dropout of an array, forward and backward."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

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

__all__ = ["AsyncDropout", "Dropout", "ForwardResult", "Scaling"]

Scaling = Literal["inverted", "classic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardResult:
    """An array after dropout, and all that its gradient needs.

    NumPy takes it for the array ``y``.

    Attributes
    ----------
    y
        The result, of the shape and type of ``x``.
    rate, effective_rate
        Probability of dropping an element: as asked for, and as it is in force (a multiple of 1/65536).
    scale
        Factor of the elements that were kept.
    seed, offset
        What the mask follows from.
    algorithm
        Name and version of the mask stream.
    scaling, training, noise_shape
        As given to ``forward``.
    mask
        True where kept; ``None`` unless asked for.
    """

    y: NDArray[Any]
    rate: float
    effective_rate: float
    scale: float
    seed: int
    offset: int
    algorithm: str
    scaling: Scaling
    training: bool
    noise_shape: tuple[int | None, ...] | None
    mask: NDArray[Any] | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001  # NumPy's protocol
        """Give ``y``."""
        array = self.y if dtype is None else self.y.astype(dtype, copy=False)
        return array.copy() if copy else array


def forward(
    x: ArrayLike,
    *,
    rate: float = 0.5,
    seed: int | None = None,
    offset: int = 0,
    scaling: Scaling = "inverted",
    training: bool = True,
    noise_shape: Sequence[int | None] | None = None,
    return_mask: bool = False,
) -> Flow[ForwardResult]:
    """Drop elements of an array at random.

    Parameters
    ----------
    x
        Floats of any shape: float16, bfloat16, float32 or float64; lists of numbers become float64.
    rate
        Probability of dropping an element, from 0 to 1.
    seed
        Unsigned 64-bit integer that the mask follows from; left out, the service draws one and tells it.
    offset
        Selects another mask of the same seed.
    scaling
        ``inverted``: what is kept is divided by ``1 - rate`` in training. ``classic``: multiplied by it in evaluation.
    training
        ``False``: evaluation, in which nothing is dropped.
    noise_shape
        Shape of the mask: the size of an axis, or 1 to share the mask over it.
    return_mask
        Also give the mask. ``backward`` does not need it.

    Returns
    -------
    ForwardResult
        ``y``, and what ``backward`` needs.

    Examples
    --------
    >>> dropped = client.dropout.forward([[1, 2], [3, 4]], rate=0.5, seed=7)
    >>> grad_input = client.dropout.backward([[1, 1], [1, 1]], dropped)
    """
    parameters = _parameters(
        rate=rate,
        seed=seed,
        offset=offset,
        scaling=scaling,
        training=training,
        noise_shape=noise_shape,
        return_mask="packed" if return_mask else None,
    )
    tensors, facts = yield from _exchange("/dropout/forward", {"x": arrays.to_array(x)}, parameters)
    return ForwardResult(
        y=_tensor(tensors, "y"),
        rate=rate,
        effective_rate=float(_fact(facts, "effective_rate")),
        scale=float(_fact(facts, "scale")),
        seed=int(_fact(facts, "seed")),
        offset=int(facts.get("offset", offset)),
        algorithm=facts.get("algorithm", ""),
        scaling=scaling,
        training=training,
        noise_shape=None if noise_shape is None else tuple(noise_shape),
        mask=_mask(tensors, facts) if return_mask else None,
    )


def backward(
    grad_output: ArrayLike,
    y: ForwardResult | None = None,
    *,
    rate: float | None = None,
    seed: int | None = None,
    offset: int = 0,
    scaling: Scaling = "inverted",
    training: bool = True,
    noise_shape: Sequence[int | None] | None = None,
    mask: ArrayLike | None = None,
) -> Flow[NDArray[Any]]:
    """Carry a gradient back through dropout.

    Parameters
    ----------
    grad_output
        Gradient of the loss with respect to what ``forward`` gave.
    y
        What ``forward`` gave. It remembers the seed and the rest; the mask is regenerated from them.
    rate, seed, offset, scaling, training, noise_shape
        In place of ``y``: what ``forward`` was called with.
    mask
        In place of a seed: True where kept, of a shape that broadcasts to ``grad_output``.

    Returns
    -------
    ndarray
        Gradient with respect to the input, of the shape and type of ``grad_output``.

    Raises
    ------
    TypeError
        Neither ``y`` nor ``rate`` with ``seed`` or ``mask`` was given, or both.
    """
    tensors = {"grad_output": arrays.to_array(grad_output)}
    if y is not None:
        if rate is not None or seed is not None or mask is not None:
            raise TypeError("give `y`, or `rate` with `seed` or `mask`; `y` already remembers them")
        rate, seed, offset = y.rate, y.seed, y.offset
        scaling, training, noise_shape = y.scaling, y.training, y.noise_shape
    elif rate is None or (seed is None) == (mask is None):
        raise TypeError("give what `forward` returned, or `rate` with one of `seed` and `mask`")
    if mask is not None:
        tensors["mask"] = arrays.to_mask(mask)
    parameters = _parameters(
        rate=rate, seed=seed, offset=offset, scaling=scaling, training=training, noise_shape=noise_shape
    )
    answer, _ = yield from _exchange("/dropout/backward", tensors, parameters)
    return _tensor(answer, "grad_input")


def variants() -> Flow[tuple[Variant, ...]]:
    """List the kinds of dropout that the service offers.

    Returns
    -------
    tuple[Variant, ...]
        Each with what it drops, its parameters, formula and paper.
    """
    response: Response = yield from send(Request(method="GET", path="/dropout/variants"))
    return tuple(Variant.from_json(item) for item in response.json()["items"])


class Dropout(Resource):
    """``client.dropout``."""

    forward = blocking(forward)
    backward = blocking(backward)
    variants = blocking(variants)


class AsyncDropout(AsyncResource):
    """``client.dropout``, awaiting."""

    forward = awaiting(forward)
    backward = awaiting(backward)
    variants = awaiting(variants)


def _parameters(**parameters: Any) -> dict[str, str]:
    """Metadata is text; a parameter that is left out is the service's default."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in parameters.items()
        if value is not None
    }


def _exchange(
    path: str, tensors: Mapping[str, NDArray[Any]], parameters: Mapping[str, str]
) -> Flow[tuple[dict[str, NDArray[Any]], dict[str, str]]]:
    response: Response = yield from send(
        Request(
            method="POST",
            path=path,
            headers={"Content-Type": safetensors.MEDIA_TYPE, "Accept": safetensors.MEDIA_TYPE},
            body=safetensors.encode(tensors, parameters),
        )
    )
    return safetensors.decode(response.content)


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
