"""Why the textbook's backward pass of dropout is not the gradient of its forward pass; see docs/textbook-backward.md.

``python examples/textbook_backward.py`` needs no service; ``--url http://127.0.0.1:8000`` checks a running one too.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropout_client import Client
from dropout_service.kernels.dropout import standard

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]

RATES = (0.1, 0.25, 0.5, 0.75, 0.9)
SEED = 7
ELEMENTS = 256
STEP = 2.0**-10  # dropout is linear given its mask, so a central difference has no error but that of rounding


def textbook_forward(x: Array, mask: Mask, rate: float) -> Array:
    """Drop and scale, as in many a tutorial."""
    return x * mask / (1 - rate)


def textbook_backward(grad_output: Array, mask: Mask) -> Array:
    """Carry the gradient back as the same tutorials do: the factor 1 / (1 - rate) is missing."""
    return grad_output * mask


def central_differences(forward: Callable[[Array], Array], x: Array, grad_output: Array) -> Array:
    """Return the gradient of the loss ``sum(grad_output * forward(x))``, one element of x at a time."""
    gradient = np.empty_like(x)
    for i in range(x.size):
        step = np.zeros_like(x)
        step[i] = STEP
        gradient[i] = (grad_output * (forward(x + step) - forward(x - step))).sum() / (2 * STEP)
    return gradient


@dataclass(frozen=True, slots=True)
class Check:
    """What a backward pass is off by, each against the differences of its own forward pass.

    Parameters
    ----------
    factor
        The true gradient divided by the textbook's, the same for every kept element.
    spread
        How much that quotient varies from one element to another.
    textbook, ours
        Largest error of an element.
    """

    factor: float
    spread: float
    textbook: float
    ours: float


def check(rate: float, *, seed: int = SEED) -> Check:
    """Hold both backward passes, with the same mask, against finite differences."""
    rng = np.random.default_rng(seed)
    x, grad_output = rng.normal(size=(2, ELEMENTS))
    mask = standard.keep_mask(ELEMENTS, rate, seed=seed)

    true = central_differences(lambda x: textbook_forward(x, mask, rate), x, grad_output)
    textbook = textbook_backward(grad_output, mask)
    quotient = true[mask] / textbook[mask]

    our_true = central_differences(lambda x: standard.forward(x, rate, seed=seed), x, grad_output)
    ours = standard.backward(grad_output, rate, seed=seed)
    return Check(
        factor=float(np.median(quotient)),
        spread=float(np.ptp(quotient)),
        textbook=float(np.abs(textbook - true).max()),
        ours=float(np.abs(ours - our_true).max()),
    )


def network_gradients(
    weights: list[Array], x: Array, *, rate: float, residual: bool, backward_scale: float
) -> tuple[float, list[Array]]:
    """Return loss and weight gradients of tanh layers, each followed by dropout; ``residual`` adds each one's input."""
    inputs, outputs, masks = [x], [], []
    for layer, weight in enumerate(weights):
        outputs.append(np.tanh(inputs[-1] @ weight))
        masks.append(standard.keep_mask(outputs[-1].shape, rate, seed=SEED, offset=layer))
        inputs.append(textbook_forward(outputs[-1], masks[-1], rate) + residual * inputs[-1])

    loss, grad = 0.5 * float((inputs[-1] ** 2).sum()), inputs[-1]
    gradients: list[Array] = []
    for weight, layer_input, output, mask in zip(
        weights[::-1], inputs[-2::-1], outputs[::-1], masks[::-1], strict=True
    ):
        through = textbook_backward(grad, mask) * backward_scale * (1 - output**2)
        gradients.append(layer_input.T @ through)
        grad = through @ weight.T + residual * grad
    return loss, gradients[::-1]


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """How the textbook's gradient of one layer's weights compares with the true one: length and cosine."""

    length: float
    cosine: float


def network_check(*, rate: float = 0.5, layers: int = 4, residual: bool = False) -> list[LayerCheck]:
    """Compare the gradients of every layer of a network."""
    rng = np.random.default_rng(SEED)
    weights = [rng.normal(size=(16, 16)) / 4 for _ in range(layers)]
    x = rng.normal(size=(32, 16))
    _, textbook = network_gradients(weights, x, rate=rate, residual=residual, backward_scale=1)
    _, true = network_gradients(weights, x, rate=rate, residual=residual, backward_scale=1 / (1 - rate))
    return [
        LayerCheck(
            length=float(np.linalg.norm(wrong) / np.linalg.norm(right)),
            cosine=float((wrong * right).sum() / (np.linalg.norm(wrong) * np.linalg.norm(right))),
        )
        for wrong, right in zip(textbook, true, strict=True)
    ]


def service_error(url: str, rate: float) -> float:
    """Return the largest error of a running service's backward pass against differences of its forward pass."""
    rng = np.random.default_rng(SEED)
    x, grad_output = rng.normal(size=(2, ELEMENTS))
    offsets = STEP * np.eye(ELEMENTS)
    with Client(url) as client:
        # One row for each element that is moved; noise_shape gives every row the mask of a lone row.
        rows = np.concatenate([x + offsets, x - offsets])
        moved = client.dropout.forward(rows, rate=rate, seed=SEED, noise_shape=(1, None)).y
        gradient = client.dropout.backward(grad_output, rate=rate, seed=SEED)
    true = ((moved[:ELEMENTS] - moved[ELEMENTS:]) * grad_output).sum(axis=1) / (2 * STEP)
    return float(np.abs(gradient - true).max())


def main() -> None:
    """Print what is wrong, and by how much."""
    parser = argparse.ArgumentParser(description="the textbook's backward pass of dropout, against finite differences")
    parser.add_argument("--url", help="check a running service as well")
    url = parser.parse_args().url

    print("rate  1/(1-rate)  true/textbook  textbook error  our error" + ("  service error" if url else ""))
    for rate in RATES:
        found = check(rate)
        factors = f"{rate:4.2f}  {1 / (1 - rate):10.6f}  {found.factor:13.6f}"
        errors = f"{found.textbook:14.1e}  {found.ours:9.1e}"
        print(f"{factors}  {errors}" + (f"  {service_error(url, rate):13.1e}" if url else ""))

    print("\ntextbook gradient against the true one, rate 0.5, four layers")
    print("layer  plain: length  cosine  residual: length  cosine")
    for layer, (plain, residual) in enumerate(zip(network_check(), network_check(residual=True), strict=True), start=1):
        print(f"{layer:5}  {plain.length:13.4f}  {plain.cosine:6.4f}  {residual.length:16.4f}  {residual.cosine:6.4f}")


if __name__ == "__main__":
    main()
