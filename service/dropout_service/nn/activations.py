"""The table of activations: elementwise functions with their derivatives.

GELU is the tanh form (Hendrycks and Gimpel 2016), which differs from the erf form by less than 5e-4.
SELU: Klambauer et al. (2017), "Self-normalizing neural networks". SiLU: Elfwing, Uchibe and Doya (2018),
"Sigmoid-weighted linear units". Mish: Misra (2020), "Mish: a self regularized non-monotonic activation function".

NumPy's own tanh and exp are used, not compiled loops: they are vectorised, libm's are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.kernels.training.dense import relu_drop

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

__all__ = ["ACTIVATIONS", "Activation"]


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation in up to two forms.

    Parameters
    ----------
    apply
        ``apply(z, derivative)`` turns ``z`` into the activation in place and, unless ``derivative`` is ``None``,
        writes the derivative by ``z`` there.
    fused
        The same together with bias and dropout in one pass (see ``kernels.dense``), where that pays.
    """

    apply: Callable[[Floats, Floats | None], None]
    fused: Callable[..., None] | None = None


def _relu(z: Floats, derivative: Floats | None) -> None:
    if derivative is not None:
        np.greater(z, 0, out=derivative, casting="unsafe")
    np.maximum(z, 0, out=z)


def _tanh(z: Floats, derivative: Floats | None) -> None:
    np.tanh(z, out=z)
    if derivative is not None:
        np.multiply(z, z, out=derivative)
        np.subtract(1, derivative, out=derivative)


def _sigmoid(z: Floats, derivative: Floats | None) -> None:
    # (1 + tanh(z / 2)) / 2 overflows nowhere
    z *= 0.5
    np.tanh(z, out=z)
    z *= 0.5
    z += 0.5
    if derivative is not None:
        np.subtract(1, z, out=derivative)
        derivative *= z


_GELU_SLOPE = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715


def _gelu(z: Floats, derivative: Floats | None) -> None:
    square = z * z
    t = np.tanh(_GELU_SLOPE * z * (1 + _GELU_CUBIC * square))
    if derivative is not None:
        # (1 + t) / 2 + z / 2 (1 - t^2) slope (1 + 3 cubic z^2)
        np.multiply(t, t, out=derivative)
        np.subtract(1, derivative, out=derivative)
        derivative *= z
        derivative *= _GELU_SLOPE * (1 + 3 * _GELU_CUBIC * square)
        derivative += 1
        derivative += t
        derivative *= 0.5
    t += 1
    t *= 0.5
    z *= t


_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772


def _selu(z: Floats, derivative: Floats | None) -> None:
    negative = np.expm1(np.minimum(z, 0))
    negative *= _SELU_ALPHA
    if derivative is not None:
        np.add(negative, _SELU_ALPHA, out=derivative)
        derivative[z > 0] = 1
        derivative *= _SELU_SCALE
    np.maximum(z, 0, out=z)
    z += negative
    z *= _SELU_SCALE


def _silu(z: Floats, derivative: Floats | None) -> None:
    gate = 0.5 * z
    np.tanh(gate, out=gate)
    gate *= 0.5
    gate += 0.5
    if derivative is not None:
        # The product rule: the gate, and z times its derivative gate (1 - gate)
        np.subtract(1, gate, out=derivative)
        derivative *= z
        derivative += 1
        derivative *= gate
    z *= gate


def _mish(z: Floats, derivative: Floats | None) -> None:
    # With e^z = p / q and neither above 1: tanh(log(1 + e^z)) = (p^2 + 2 p q) / (p^2 + 2 p q + 2 q^2), 1 less that is
    # 2 q^2 over the same, and the sigmoid is p / (p + q). Nothing overflows, and no difference of equals is taken.
    p = np.exp(np.minimum(z, 0))
    q = np.exp(-np.maximum(z, 0))
    grown = p * (p + 2 * q)
    rest = 2 * q * q
    gate = grown / (grown + rest)
    if derivative is not None:
        # gate + z (1 - gate) (1 + gate) sigmoid(z)
        np.divide(rest, grown + rest, out=derivative)
        derivative *= 1 + gate
        derivative *= p / (p + q)
        derivative *= z
        derivative += gate
    z *= gate


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(_relu, fused=relu_drop),
    "gelu": Activation(_gelu),
    "tanh": Activation(_tanh),
    "sigmoid": Activation(_sigmoid),
    "selu": Activation(_selu),
    "silu": Activation(_silu),
    "mish": Activation(_mish),
}
