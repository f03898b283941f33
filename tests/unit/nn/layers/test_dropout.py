"""Every variant of the table as a layer, alone and within whole networks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dropout_specs import DROPOUTS, NOT_FOR_INPUTS, UNITS
from mlp import mlp_layers

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.streams import Purpose, stream
from dropout_service.kernels.variants import VARIANTS
from dropout_service.nn.layers.concrete import ConcreteDropout
from dropout_service.nn.layers.dense import Residual
from dropout_service.nn.layers.dropout import VariantDropout
from dropout_service.nn.layers.rules import DropoutRule
from dropout_service.nn.losses import LOSSES
from dropout_service.nn.mode import EVALUATION, Mode
from dropout_service.nn.network import Network, dropouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[Any]


def rule_of(*, variant: str, rate: float, shape: list[int] | None = None, **parameters: float) -> DropoutRule:
    return DropoutRule(rate, variant, None if shape is None else tuple(shape), parameters)


RULES = {name: rule_of(**spec) for name, spec in DROPOUTS.items() if name != "standard"}
NOISY = Mode.training(seed=5, step=11)
NONE = DropoutRule(0.0)


def network(
    rule: DropoutRule, *, place: str = "hidden", activation: str = "tanh", outputs: int = 1, dtype: type = np.float64
):
    """12 inputs and three hidden layers of 12 units; the rule holds for the inputs or for one or two of the layers."""
    layers = mlp_layers(
        UNITS,
        (UNITS,) * 3,
        outputs,
        activation=activation,
        dropouts=[NONE, *([rule] * 2 if place != "inputs" else [NONE] * 2)],
        input_dropout=rule if place == "inputs" else None,
        residual=place == "residual",
        dtype=dtype,
    )
    made = Network(layers, dtype)
    made.initialize("auto", seed=1)
    made.parameters.values += 0.1 * np.random.default_rng(0).standard_normal(made.parameters.values.size).astype(dtype)
    return made


PLACES = [
    pytest.param(name, place, id=f"{name}-{place}")
    for name in RULES
    for place in ("hidden", "residual", "inputs")
    if not (place == "inputs" and name in NOT_FOR_INPUTS) and not (place == "hidden" and name == "drop_path")
]


@pytest.mark.parametrize("activation", ["relu", "selu"])
@pytest.mark.parametrize(("name", "place"), PLACES)
def test_the_whole_gradient_of_a_network_with_the_variant(
    name: str, place: str, activation: str, numeric_gradient: Callable[..., Floats]
):
    made = network(RULES[name], place=place, activation=activation)
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((6, UNITS)), rng.standard_normal((6, 1))
    loss = LOSSES["squared_error"]

    def objective() -> float:
        outputs = made.forward(x, NOISY)
        sums = np.zeros(3)
        loss(outputs, y, np.empty_like(outputs), sums)
        return sums[0] / len(x) + made.regularize(7)

    numeric = numeric_gradient(objective, made.parameters.values)
    assert not np.allclose(made.forward(x, NOISY).copy(), made.forward(x)), "the noise had no effect"
    outputs = made.forward(x, NOISY, differentiable=True)
    grad = np.empty_like(outputs)
    loss(outputs, y, grad, np.zeros(3))
    made.backward(grad)
    made.regularize(7)
    np.testing.assert_allclose(made.parameters.grads, numeric, rtol=2e-5, atol=2e-8)
    assert np.abs(numeric).max() > 1e-3


@pytest.mark.parametrize("name", RULES)
def test_the_gradient_by_the_input(name: str, numeric_gradient: Callable[..., Floats]):
    layer = VariantDropout(UNITS, RULES[name], layer=2, dtype=np.float64)
    rng = np.random.default_rng(3)
    x, grad_output = rng.standard_normal((6, UNITS)), rng.standard_normal((6, UNITS))
    if VARIANTS[name].needs_x:
        layer = ConcreteDropout(UNITS, RULES[name], layer=2, dtype=np.float64)
    numeric = numeric_gradient(lambda: float((layer.forward(x, NOISY, differentiable=False) * grad_output).sum()), x)
    layer.forward(x, NOISY, differentiable=True)
    grad_input = layer.backward(grad_output.copy(), input_gradient=True)
    np.testing.assert_allclose(grad_input, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", RULES)
def test_the_layer_is_the_kernel_of_the_table(name: str, dtype: type):
    rule = RULES[name]
    x = np.random.default_rng(4).standard_normal((9, UNITS)).astype(dtype)
    shape = (9, *(rule.shape or (UNITS,)))
    expected = VARIANTS[name].forward(
        x.reshape(shape), rule.rate, seed=5, offset=stream(Purpose.DROPOUT, layer=2, step=11), **rule.parameters
    )
    output = VariantDropout(UNITS, rule, layer=2, dtype=dtype).forward(x, NOISY, differentiable=True)
    assert output.dtype == dtype
    assert output.tobytes() == expected.tobytes()
    assert not np.shares_memory(output, x)


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_evaluation_is_the_network_without_dropout_to_the_bit(name: str, place: str):
    made, plain = (network(rule, place=place, dtype=np.float32) for rule in (RULES[name], NONE))
    views = made.parameters.views()
    for parameter, view in plain.parameters.views().items():
        view[:] = views[parameter]
    x = np.random.default_rng(5).standard_normal((6, UNITS)).astype(np.float32)
    assert made.forward(x).tobytes() == plain.forward(x).tobytes()


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if not variant.needs_x and name in RULES])
def test_at_rate_0_nothing_is_dropped(name: str):
    layer = VariantDropout(UNITS, replace(RULES[name], rate=0.0), layer=2, dtype=np.float64)
    x = np.random.default_rng(6).standard_normal((6, UNITS))
    np.testing.assert_array_equal(layer.forward(x, NOISY, differentiable=True), x)
    grad = layer.backward(x.copy(), input_gradient=True)
    np.testing.assert_array_equal(grad, x)


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_samples_are_the_passes_of_their_masks(name: str, place: str):
    made = network(RULES[name], place=place)
    x = np.random.default_rng(7).standard_normal((9, UNITS))
    modes = [Mode.monte_carlo(1, sample) for sample in range(3)]
    samples = [outputs.copy() for outputs in made.samples(x, modes)]
    for mode, outputs in zip(modes, samples, strict=True):
        np.testing.assert_array_equal(outputs, made.forward(x, mode))
    assert len({outputs.tobytes() for outputs in samples}) == 3


@pytest.mark.parametrize("name", RULES)
def test_noise_differs_between_passes_over_other_rows_unless_all_rows_share_it(name: str):
    rule = RULES[name]
    layer = VariantDropout(UNITS, rule, layer=0, dtype=np.float64)
    x = np.tile(np.linspace(1, 2, UNITS), (8, 1))
    first, other, again = (
        layer.forward(x, Mode.training(9, 0, first_row=begin), differentiable=False).tobytes()
        for begin in (0, 512, 512)
    )
    assert other == again
    assert (first == other) == (name == "batchwise")


def test_all_rows_and_passes_share_the_dropped_weights():
    made = network(RULES["dropconnect"])
    x = np.tile(np.linspace(-1, 1, UNITS), (4, 1))
    one, other = (made.forward(x, Mode.training(9, 0, first_row=begin)).copy() for begin in (0, 512))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, np.tile(one[:1], (4, 1)))


def test_dropconnect_is_the_product_with_dropped_weights():
    made = network(RULES["dropconnect"])
    layer = made.dense_layers[1]
    x = np.random.default_rng(8).standard_normal((5, UNITS))
    variant, rate = VARIANTS["dropconnect"], RULES["dropconnect"].rate
    mask = variant.mask((UNITS, UNITS), rate, seed=5, offset=stream(Purpose.DROPOUT, layer=1, step=11))
    scale = variant.scale(rate)
    expected = np.tanh(x @ (layer.weight * mask * scale) + layer.bias)
    np.testing.assert_allclose(layer.forward(x, NOISY, differentiable=False), expected, rtol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_drop_path_takes_the_branch_or_goes_past(rate: float):
    made = network(replace(RULES["drop_path"], rate=rate), place="residual")
    layer = made.layers[1]
    assert isinstance(layer, Residual)
    x = np.random.default_rng(9).standard_normal((40, UNITS))
    branch = layer.forward(x, EVALUATION, differentiable=False) - x
    output = layer.forward(x, NOISY, differentiable=False).copy()
    past = (output == x).all(axis=1)
    assert past.mean() == pytest.approx(rate, abs=0.25)
    scale = 1 if rate == 1 else VARIANTS["drop_path"].scale(rate)
    np.testing.assert_allclose(output[~past] - x[~past], branch[~past] * scale, rtol=1e-9, atol=1e-12)


def test_a_residual_layer_adds_its_input():
    made = network(NONE, place="residual")
    x = np.random.default_rng(10).standard_normal((5, UNITS))
    layer = made.dense_layers[1]
    np.testing.assert_allclose(
        layer.forward(x, EVALUATION, differentiable=False), x + np.tanh(x @ layer.weight + layer.bias), rtol=1e-12
    )
    assert not isinstance(made.layers[0], Residual)


def test_samples_of_a_network_that_begins_with_a_residual_layer():
    made = Network(network(RULES["gaussian"], place="residual").layers[1:], np.float64)
    made.initialize("auto", seed=2)
    x = np.random.default_rng(11).standard_normal((5, UNITS))
    (sample,) = made.samples(x, [NOISY])
    sample = sample.copy()
    np.testing.assert_array_equal(sample, made.forward(x, NOISY))
    assert not np.array_equal(sample, made.forward(x))
    made.forward(x, NOISY, differentiable=True)
    made.backward(np.ones((5, 1)))
    assert np.isfinite(made.parameters.grads).all()


def test_in_evaluation_the_rate_has_no_gradient():
    layer = ConcreteDropout(UNITS, RULES["concrete"], layer=0, dtype=np.float64)
    x = np.ones((3, UNITS))
    layer.logit_grad[:] = np.nan
    layer.forward(x, EVALUATION, differentiable=True)
    np.testing.assert_array_equal(layer.backward(x.copy(), input_gradient=True), x)
    assert layer.logit_grad[0] == 0


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.93])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_concrete_begins_at_its_rate_and_keeps_it_as_a_parameter(rate: float, dtype: type):
    rule = replace(RULES["concrete"], rate=rate)
    made = Network(mlp_layers(UNITS, (UNITS,), 1, dropouts=[rule], dtype=dtype), dtype)
    made.initialize("auto", seed=0)
    _, dropout = dropouts(made.layers)
    assert dropout.rate == pytest.approx(rate, rel=1e-6)
    logit = made.parameters.views()["layers.0.rate_logit"]
    assert logit.shape == (1,)
    assert made.parameters.weight_count == UNITS * UNITS + UNITS, "weight decay does not reach the rate"
    logit[:] = 0.0
    assert dropout.rate == 0.5


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_a_learned_rate_stays_inside_0_and_1(logit: float):
    layer = ConcreteDropout(UNITS, RULES["concrete"], layer=0, dtype=np.float64)
    layer.logit[:] = logit
    assert 0 < layer.rate < 1
    assert np.isfinite(layer.forward(np.ones((3, UNITS)), NOISY, differentiable=True)).all()


def test_the_penalty_of_a_learned_rate_is_the_papers():
    made = network(RULES["concrete"])
    expected = 0.0
    for dropout, reader in zip(dropouts(made.layers)[2:], made.dense_layers[2:], strict=True):
        p = dropout.rate
        entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
        expected += (1e-8 * (reader.weight**2).sum() / (2 * (1 - p)) - UNITS * entropy) / 100
    assert made.regularize(100) == pytest.approx(expected, rel=1e-12)


def test_without_a_learned_rate_there_is_no_penalty():
    made = network(RULES["gaussian"])
    made.parameters.grads[:] = 3.0
    assert made.regularize(100) == 0
    assert (made.parameters.grads == 3.0).all()


@pytest.mark.parametrize(
    ("rule", "place", "pointer", "message"),
    [
        (DropoutRule(0.4, "feature1d"), "hidden", "/dropout/1/shape", r"axes \(n, c, l\)"),
        (DropoutRule(0.4, "standard", (4, 4)), "hidden", "/dropout/1/shape", "16 units, not 12"),
        (DropoutRule(0.4, "feature1d", (4, 4)), "hidden", "/dropout/1/shape", "16 units, not 12"),
        (DropoutRule(0.4, "feature1d", (4, 4)), "inputs", "/input_dropout/shape", "16 units, not 12"),
        (DropoutRule(1.0, "gaussian"), "hidden", "/dropout/1/rate", "below 1"),
        (DropoutRule(0.4, "gaussian", None, {"axis": 1}), "hidden", "/dropout/1/axis", "not axis"),
        (DropoutRule(0.4, "dropblock", (1, 4, 3), {"block_size": 9}), "hidden", "/dropout/1/block_size", "at most"),
        (DropoutRule(0.4, "drop_path"), "hidden", "/dropout/1", "residual"),
        (DropoutRule(0.4, "drop_path"), "inputs", "/input_dropout", "nothing to drop"),
        (DropoutRule(0.4, "dropconnect"), "inputs", "/input_dropout", "nothing to drop"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(rule: DropoutRule, place: str, pointer: str, message: str):
    with pytest.raises(InvalidInputError, match=message) as caught:
        network(rule, place=place)
    assert caught.value.errors[0].pointer == pointer


def test_a_rate_that_the_variant_does_not_have_cannot_be_set():
    layer = VariantDropout(UNITS, RULES["gaussian"], layer=0)
    with pytest.raises(InvalidInputError, match="below 1"):
        layer.rate = 1.0
