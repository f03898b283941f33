from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.nn.layers import LAYERS
from dropout_service.nn.layers.columns import Columns
from dropout_service.nn.layers.kind import Place
from dropout_service.nn.layers.rules import NO_DROPOUT
from dropout_service.nn.mode import EVALUATION, Mode
from dropout_service.nn.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[Any]

CARDINALITIES = [0, 4, 1, 0, 7]
FORMS: list[dict[str, Any]] = [
    {},
    {"numbers": "periodic", "frequencies": 3, "sigma": 0.5, "units": 2},
    {"numbers": "piecewise_linear", "bins": 3},
    {"numbers": "piecewise_linear", "bins": 3, "units": 4, "activation": "linear"},
]
each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())) or "plain")


def made(dtype: type = np.float64, *, cardinalities: list[int] | None = None, **parameters: Any) -> Columns:
    kind = LAYERS["columns"]
    cardinalities = CARDINALITIES if cardinalities is None else cardinalities
    given = kind.checked_parameters({"cardinalities": cardinalities, "embedding_dim": 3, **parameters})
    layer = kind.make(Place(len(cardinalities), 0, dtype, first=True), given, NO_DROPOUT)
    assert isinstance(layer, Columns)
    network = Network([layer], dtype)
    network.initialize("auto", seed=1)
    network.fit(rows(60, dtype))
    return layer


def rows(count: int = 9, dtype: type = np.float64) -> Floats:
    rng = np.random.default_rng(count)
    x = rng.standard_normal((count, len(CARDINALITIES)))
    for place, cardinality in enumerate(CARDINALITIES):
        if cardinality:
            x[:, place] = rng.integers(0, max(2, cardinality), count)
    return x.astype(dtype)


@each_form
def test_backward_is_the_gradient(form: dict[str, Any], numeric_gradient: Callable[..., Floats]):
    layer = made(**form)
    x, grad_output = rows(), np.random.default_rng(2).standard_normal((9, layer.units))

    def objective() -> float:
        return float((layer.forward(x, EVALUATION, differentiable=False) * grad_output).sum())

    layer.forward(x, EVALUATION, differentiable=True)
    grad_input = layer.backward(grad_output.copy(), input_gradient=True)
    grads = {name: grad.copy() for name, grad in layer.grads.items()}
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, numeric_gradient(objective, layer.params[name]), rtol=1e-5, atol=1e-7)
    assert grad_input is not None
    np.testing.assert_array_equal(grad_input[:, list(layer.codes)], 0)
    numeric = numeric_gradient(objective, x[:, 2:4])
    np.testing.assert_allclose(grad_input[:, 2:4], numeric, rtol=1e-5, atol=1e-7)


def test_kinds_of_columns_come_side_by_side():
    layer = made()
    x = rows()
    output = layer.forward(x, EVALUATION, differentiable=False)
    table = layer.params["table"]
    expected = np.column_stack([x[:, [0, 2, 3]], table[x[:, 1].astype(int)], table[4 + x[:, 4].astype(int)]])
    np.testing.assert_array_equal(output, expected)
    assert table.shape == (11, 3)


def test_the_unknown_begins_at_zero_and_the_others_as_standard_normal():
    layer = made(cardinalities=[3000, 5, 2000], embedding_dim=8)
    table = layer.params["table"]
    np.testing.assert_array_equal(table[[0, 3000, 3005]], 0)
    drawn = np.delete(table, [0, 3000, 3005], axis=0)
    # 40 016 draws: 5 standard errors
    assert abs(drawn.mean()) < 5 / np.sqrt(drawn.size)
    assert drawn.var() == pytest.approx(1, rel=5 * np.sqrt(2 / drawn.size))


def test_table_and_gradient_are_those_of_torch():
    torch = pytest.importorskip("torch")
    layer = made(np.float32, cardinalities=[50])
    codes = np.random.default_rng(3).integers(0, 50, 400)
    x = codes.astype(np.float32)[:, np.newaxis]
    grad_output = np.random.default_rng(4).standard_normal((400, 3)).astype(np.float32)
    table = torch.tensor(layer.params["table"], requires_grad=True)
    y = torch.nn.functional.embedding(torch.tensor(codes), table)
    (y * torch.tensor(grad_output)).sum().backward()
    np.testing.assert_array_equal(layer.forward(x, EVALUATION, differentiable=True), y.detach().numpy())
    layer.backward(grad_output.copy(), input_gradient=False)
    np.testing.assert_allclose(layer.grads["table"], table.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_table_is_the_same_to_the_bit_each_time():
    layer = made(np.float32)
    x = rows(500, np.float32)
    grad_output = np.random.default_rng(5).standard_normal((500, layer.units)).astype(np.float32)
    seen = set()
    for _ in range(3):
        layer.grads["table"][:] = np.nan
        layer.forward(x, Mode.training(1, 1), differentiable=True)
        layer.backward(grad_output.copy(), input_gradient=False)
        seen.add(layer.grads["table"].tobytes())
    assert len(seen) == 1


@pytest.mark.parametrize("code", [-1.0, 4.0, 1e30, -1e30, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_code_is_found_and_touches_no_other_memory(code: float, dtype: type):
    layer = made(dtype)
    x = rows(dtype=dtype)
    assert layer.find_fault(x) is None
    x[6, 1] = code
    fault = layer.find_fault(x)
    assert fault is not None
    assert fault[:2] == (6, 1)
    assert "no code of it; codes are integers from 0 to 3" in fault[2]
    output = layer.forward(x, EVALUATION, differentiable=True)
    np.testing.assert_array_equal(output[6, 3:6], layer.params["table"][0])
    layer.grads["table"][:] = 0
    layer.backward(np.ones_like(output), input_gradient=False)
    assert layer.grads["table"].sum() == 2 * 3 * 9


def test_a_code_between_two_is_found():
    x = rows()
    x[2, 4] = 1.5
    assert made().find_fault(x) == (2, 4, "1.5 is no code of it; codes are integers from 0 to 6")


def test_codes_are_exact_up_to_2_to_the_24():
    layer = made(np.float32, cardinalities=[1 << 24], embedding_dim=1)
    layer.params["table"][:, 0] = np.arange(1 << 24, dtype=np.float32)
    x = np.array([[(1 << 24) - 1], [(1 << 24) - 2], [0]], np.float32)
    np.testing.assert_array_equal(layer.forward(x, EVALUATION, differentiable=False), x)


def test_without_numbers_there_is_no_embedding_of_them():
    layer = made(cardinalities=[3, 1], numbers="periodic")
    assert set(layer.shapes) == {"table"}
    assert layer.units == 1 + 3


@pytest.mark.parametrize(
    ("given", "pointer", "message"),
    [
        ({"cardinalities": [0, 1]}, "/cardinalities", "2 for 3 inputs"),
        ({"cardinalities": [0, 1, -1]}, "/cardinalities/2", "integers from 0 to"),
        ({"cardinalities": [0, 1, (1 << 24) + 1]}, "/cardinalities/2", "not 16777217"),
        ({"cardinalities": [0, 1, True]}, "/cardinalities/2", "not True"),
        ({"cardinalities": 3}, "/cardinalities", "a list of integers, not 3"),
        ({"bins": 4}, "/bins", "say how by `numbers`: periodic, piecewise_linear"),
        ({"numbers": "periodic", "bins": 4}, "/bins", 'layer "periodic" takes frequencies, sigma, units, activation'),
        ({"numbers": "splines"}, "/numbers", "one of plain, periodic, piecewise_linear"),
    ],
)
def test_what_does_not_fit_is_told_at_its_place(given: dict[str, Any], pointer: str, message: str):
    kind = LAYERS["columns"]
    with pytest.raises(InvalidInputError) as caught:
        kind.make(Place(3, 0, np.float32, first=True), kind.checked_parameters(given), NO_DROPOUT)
    assert caught.value.errors[0].pointer == pointer
    assert message in caught.value.errors[0].message


@pytest.mark.parametrize(
    ("of_data", "flags", "expected"),
    [
        ((0, 1, 0), None, [0, 0, 0]),
        ((0, 1, 0), "embedded", [0, 0, 0]),
        ((0, 1, 0), "plain", [0, 1, 0]),
        ((0, 1, 9), "plain", [0, 1, 9]),
        ((0, 1, 9), None, [0, 0, 9]),
        ((), "plain", [0, 0, 0]),
    ],
)
def test_left_out_the_cardinalities_are_those_of_the_data(
    of_data: tuple[int, ...], flags: str | None, expected: list[int]
):
    kind = LAYERS["columns"]
    given = kind.checked_parameters({} if flags is None else {"flags": flags})
    layer = kind.make(Place(3, 0, np.float32, first=True, cardinalities=of_data), given, NO_DROPOUT)
    assert layer.description["cardinalities"] == expected


@pytest.mark.parametrize(
    ("given", "pointer", "message"),
    [
        ({"cardinalities": [0, 1, 8]}, "/cardinalities", "input 3 has 9 codes, not 8"),
        ({"cardinalities": [0, 1, 9], "flags": "plain"}, "/flags", "give one of them"),
        ({"flags": "kept"}, "/flags", "embedded"),
    ],
)
def test_what_contradicts_the_data_is_told(given: dict[str, Any], pointer: str, message: str):
    kind = LAYERS["columns"]
    with pytest.raises(InvalidInputError, match=message) as caught:
        kind.make(
            Place(3, 0, np.float32, first=True, cardinalities=(0, 1, 9)), kind.checked_parameters(given), NO_DROPOUT
        )
    assert caught.value.errors[0].pointer == pointer
