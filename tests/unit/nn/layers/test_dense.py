from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.kernels.dropout import standard
from dropout_service.kernels.streams import Purpose, stream
from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.layers.dense import Dense
from dropout_service.nn.layers.dropout import Dropout
from dropout_service.nn.mode import EVALUATION, Mode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]
    from collections.abc import Callable

NOISY = Mode.training(seed=7, step=3)
RATES = [0.0, 0.3, 0.5, 1.0]


def dense(
    activation: str | None, rate: float, *, inputs: int = 5, units: int = 7, dtype: type = np.float64, layer: int = 2
):
    dropout = Dropout(units, rate, layer=layer, dtype=dtype)
    made = Dense(inputs, units, activation=activation, dropout=dropout, dtype=dtype)
    rng = np.random.default_rng(1)
    made.bind(
        {
            "weight": rng.standard_normal((inputs, units)).astype(dtype),
            "bias": rng.standard_normal(units).astype(dtype),
        },
        {"weight": np.full((inputs, units), np.nan, dtype), "bias": np.full(units, np.nan, dtype)},
    )
    return made


@pytest.mark.parametrize(
    ("activation", "rate"), [(activation, rate) for activation in (None, *ACTIVATIONS) for rate in RATES]
)
def test_backward_of_dense_is_the_gradient(
    activation: str | None, rate: float, numeric_gradient: Callable[..., Floats]
):
    layer = dense(activation, rate)
    rng = np.random.default_rng(2)
    x, grad_output = rng.standard_normal((6, 5)), rng.standard_normal((6, 7))

    def objective() -> float:
        return float((layer.forward(x, NOISY, differentiable=False) * grad_output).sum())

    layer.forward(x, NOISY, differentiable=True)
    grad_input = layer.backward(grad_output.copy(), input_gradient=True)
    np.testing.assert_allclose(grad_input, numeric_gradient(objective, x), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(layer.weight_grad, numeric_gradient(objective, layer.weight), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(layer.bias_grad, numeric_gradient(objective, layer.bias), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rate", RATES)
def test_backward_of_dropout_is_the_gradient(rate: float, numeric_gradient: Callable[..., Floats]):
    layer = Dropout(5, rate, layer=0, dtype=np.float64)
    rng = np.random.default_rng(3)
    x, grad_output = rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    layer.forward(x, NOISY, differentiable=True)
    grad_input = layer.backward(grad_output.copy(), input_gradient=True)
    numeric = numeric_gradient(lambda: float((layer.forward(x, NOISY, differentiable=False) * grad_output).sum()), x)
    np.testing.assert_allclose(grad_input, numeric, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_dense_layer_drops_what_the_dropout_kernel_drops(activation: str | None, rate: float, dtype: type):
    """Fused or not, the output is the plain composition's, to the bit, for every width."""
    rng = np.random.default_rng(4)
    offset = stream(Purpose.DROPOUT, layer=2, step=3)
    for rows, units in ((1, 1), (5, 7), (64, 64), (33, 130)):
        layer = dense(activation, rate, units=units, dtype=dtype)
        x = rng.standard_normal((rows, 5)).astype(dtype)
        value = x @ layer.weight + layer.bias
        derivative = np.empty_like(value)
        ACTIVATIONS[activation].apply(value, derivative)
        expected = standard.forward(value, rate, seed=7, offset=offset)
        output = layer.forward(x, NOISY, differentiable=True).copy()
        assert output.tobytes() == expected.tobytes()

        grad_output = rng.standard_normal((rows, units)).astype(dtype)
        grad = standard.backward(grad_output, rate, seed=7, offset=offset) * derivative
        layer.backward(grad_output, input_gradient=False)
        tolerance = 1e-5 if dtype is np.float32 else 1e-12
        np.testing.assert_allclose(layer.bias_grad, grad.sum(axis=0), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(layer.weight_grad, x.T @ grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_the_dropout_layer_is_the_dropout_kernel(rate: float, dtype: type):
    x = np.random.default_rng(5).standard_normal((19, 23)).astype(dtype)
    expected = standard.forward(x, rate, seed=7, offset=stream(Purpose.DROPOUT, layer=4, step=3))
    output = Dropout(23, rate, layer=4, dtype=dtype).forward(x, NOISY, differentiable=True)
    assert output.tobytes() == expected.tobytes()


def test_a_dropped_unit_leaks_no_nan_into_value_or_gradient():
    layer = dense("relu", 0.5, units=64)
    x = np.full((4, 5), np.nan)
    output = layer.forward(x, NOISY, differentiable=True)
    keep = standard.keep_mask((4, 64), 0.5, seed=7, offset=stream(Purpose.DROPOUT, layer=2, step=3))
    assert np.isnan(output[keep]).all()
    assert (output[~keep] == 0).all()
    grad_output = np.where(keep, 1.0, np.nan)
    layer.backward(grad_output, input_gradient=False)
    assert np.isfinite(layer.bias_grad).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_in_evaluation_nothing_is_dropped(activation: str | None):
    layer = dense(activation, 0.5)
    x = np.random.default_rng(6).standard_normal((6, 5))
    value = x @ layer.weight + layer.bias
    ACTIVATIONS[activation].apply(value, None)
    np.testing.assert_array_equal(layer.forward(x, EVALUATION, differentiable=True), value)


def test_masks_differ_by_seed_step_layer_and_mode_and_repeat_otherwise():
    x = np.ones((8, 64))

    def pattern(mode: Mode = NOISY, layer: int = 0) -> bytes:
        made = Dropout(64, 0.5, layer=layer, dtype=np.float64)
        return made.forward(x, mode, differentiable=False).tobytes()

    others = [Mode.training(8, 3), Mode.training(7, 4), Mode.monte_carlo(7, 3)]
    patterns = [pattern(), pattern(layer=1), *map(pattern, others)]
    assert len(set(patterns)) == len(patterns)
    assert pattern() == patterns[0]


@pytest.mark.parametrize("units", [1, 10, 64, 77])
def test_a_row_keeps_its_mask_however_the_rows_are_cut(units: int):
    x = np.ones((192, units))
    whole = Dropout(units, 0.5, layer=1, dtype=np.float64).forward(x, Mode.training(9, 0), differentiable=False)
    layer = Dropout(units, 0.5, layer=1, dtype=np.float64)
    for begin in (64, 128):
        part = layer.forward(x[begin:], Mode.training(9, 0, first_row=begin), differentiable=False)
        np.testing.assert_array_equal(part, whole[begin:])


def test_a_cut_inside_a_group_of_the_stream_is_refused():
    with pytest.raises(ValueError, match="multiple of 64"):
        Dropout(3, 0.5, layer=0).forward(
            np.ones((2, 3), np.float32), Mode.training(0, 0, first_row=5), differentiable=False
        )
