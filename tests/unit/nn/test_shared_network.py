"""Members that share weights: each against the plain network that it is, and gradients against differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.nn.layers.rules import DropoutRule, LayerRule
from dropout_service.nn.losses import LOSSES
from dropout_service.nn.mode import EVALUATION, Mode, member_seed
from dropout_service.nn.network import Network, make_layers, mlp_rules
from dropout_service.nn.optimizers import OPTIMIZERS
from dropout_service.nn.shared_network import SharedNetwork
from dropout_service.nn.step_plan import StepPlan
from dropout_service.nn.stepping import SharedSteps, make_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

INPUTS, ROWS, MEMBERS = 5, 9, 3


def layer(kind: str, *, rate: float = 0.0, variant: str = "standard", **parameters: Any) -> LayerRule:
    return LayerRule(kind, parameters, DropoutRule(rate, variant))


def hidden(*units: int, rate: float = 0.3, **more: Any) -> tuple[LayerRule, ...]:
    return mlp_rules(units, dropouts=[DropoutRule(rate)] * len(units), **more)


NETWORKS = {
    "relu": hidden(6, 4),
    "no dropout": hidden(6, rate=0.0, activation="silu"),
    "inputs dropped": hidden(6, 4, activation="tanh", input_dropout=DropoutRule(0.2)),
    "residual": hidden(6, 6, 6, activation="silu", residual=True),
    "bins": (layer("piecewise_linear", bins=3, units=2), layer("dense", units=6, rate=0.2)),
    "periodic": (layer("periodic", frequencies=2, units=2, activation="tanh"), layer("dense", units=6, rate=0.2)),
    "bins, dropped before": (
        layer("dropout", rate=0.2),
        layer("piecewise_linear", bins=3, units=2, activation="linear"),
        layer("dense", units=6),
    ),
    "columns": (
        layer("columns", cardinalities=[0, 0, 0, 1, 3], embedding_dim=2),
        layer("dropout", rate=0.3),
        layer("scale"),
        layer("dense", units=6),
    ),
    "normalised": (
        layer("scale"),
        layer("dense", units=6, activation="linear"),
        layer("layer_norm"),
        layer("activation", activation="silu", parametric=True),
        layer("dropout", rate=0.4),
        layer("scale"),
    ),
    "gaussian": (layer("dense", units=6, rate=0.3, variant="gaussian"), layer("dense", units=4)),
    "dropconnect": (layer("dense", units=6, rate=0.3, variant="dropconnect"), layer("dense", units=4)),
    "concrete": (layer("dense", units=6, rate=0.3, variant="concrete"), layer("dense", units=4, activation="tanh")),
}


def make(name: str, dtype: Any = np.float64, members: int = MEMBERS, outputs: int = 2) -> SharedNetwork:
    """A network whose parameters are all away from where they begin."""
    network = SharedNetwork(make_layers(INPUTS, NETWORKS[name], outputs, dtype), members, dtype)
    network.initialize("auto", seed=3)
    network.fit(rows(dtype))
    values = network.parameters.values
    values += 0.2 * np.random.default_rng(1).standard_normal(values.size).astype(dtype)
    return network


def rows(dtype: Any = np.float64) -> NDArray[Any]:
    x = np.random.default_rng(0).standard_normal((ROWS, INPUTS))
    x[:, -1] = np.arange(ROWS) % 3
    return x.astype(dtype)


def alone(network: SharedNetwork, name: str, member: int) -> Network:
    """The plain network that a member is."""
    dtype = network.parameters.values.dtype
    plain = Network(make_layers(INPUTS, NETWORKS[name], network.layers[-1].units, dtype), dtype)
    network.sharing.fold(network.parameters.views(), member, plain.parameters.views())
    for kept, view in zip(network.buffers.views().values(), plain.buffers.views().values(), strict=True):
        view[:] = kept
    return plain


def test_a_member_computes_the_formula_of_the_paper():
    network = make("no dropout")
    values = network.parameters.views()
    r, s, b = (values[f"layers.0.{name}"].reshape(MEMBERS, -1) for name in ("input_adapter", "output_adapter", "bias"))
    for member, outputs in enumerate(network.outputs(rows())):
        z = s[member] * ((r[member] * rows()) @ values["layers.0.weight"]) + b[member]
        activated = z / (1 + np.exp(-z))
        biases = values["layers.1.bias"].reshape(MEMBERS, -1)
        np.testing.assert_allclose(outputs, activated @ values["layers.1.weight"][member] + biases[member])


@pytest.mark.parametrize("name", NETWORKS)
def test_each_member_is_a_plain_network_with_masks_of_its_own(name: str):
    network, mode = make(name), Mode.training(5, 7)
    said: list[NDArray[Any]] = []

    def lose(outputs: NDArray[Any]) -> NDArray[Any]:
        said.append(outputs.copy())
        return np.ones_like(outputs)

    network.differentiate(rows(), mode, lose, rows=ROWS)
    evaluated = [outputs.copy() for outputs in network.outputs(rows())]
    assert len(said) == len(evaluated) == MEMBERS
    for member in range(MEMBERS):
        plain = alone(network, name, member)
        own = Mode.training(member_seed(5, member), 7)
        np.testing.assert_array_equal(plain.forward(rows(), own), said[member])
        np.testing.assert_array_equal(plain.forward(rows(), EVALUATION), evaluated[member])


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_the_mean_loss(
    name: str, numeric_gradient: Callable[[Callable[[], float], NDArray[np.float64]], NDArray[np.float64]]
):
    network, mode, x = make(name), Mode.training(5, 7), rows()
    target = np.random.default_rng(2).standard_normal((ROWS, 2))

    def lose(outputs: NDArray[Any]) -> NDArray[Any]:
        return outputs - target

    def mean_loss() -> float:
        total = 0.0
        for member in range(MEMBERS):
            plain = alone(network, name, member)
            outputs = plain.forward(x, mode.of_member(member))
            total += 0.5 * float(((outputs - target) ** 2).sum()) + plain.regularize(ROWS)
        return total / MEMBERS

    network.differentiate(x, mode, lose, rows=ROWS)
    found = network.parameters.grads.copy()
    expected = numeric_gradient(mean_loss, network.parameters.values)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    assert np.count_nonzero(found) > found.size / 2


def plan(x: NDArray[Any], y: NDArray[Any], **options: Any) -> StepPlan:
    return StepPlan(x, y, np.empty(0), batch_rows=4, training_rows=ROWS, seed=5, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_single_member_without_adapters_trains_as_the_plain_network(name: str):
    """Its steps of SGD, before each of which adapters are put back, are those of the plain network."""
    layers = [make_layers(INPUTS, NETWORKS[name], 1) for _ in range(2)]
    shared, plain = SharedNetwork(layers[0], 1), Network(layers[1])
    x, y = rows(np.float32), rows(np.float32)[:, :1].copy()
    for network in (shared, plain):
        network.initialize("auto", seed=3)
        network.fit(x)
    values, gradients = shared.parameters.views(), shared.parameters.views(shared.parameters.grads)
    adapters = [view for key, view in values.items() if key.endswith("_adapter")]
    taken: list[tuple[float, ...]] = []
    for network in (shared, plain):
        steps = make_steps(network, LOSSES["squared_error"], OPTIMIZERS["sgd"](network.parameters), plan(x, y))
        sums = np.zeros(3)
        for step in range(3):
            for adapter in adapters:
                adapter[:] = 1
            order = np.arange(step, step + 4)
            assert steps.take(order, np.full(1, 0.01), np.empty((1, 0)), sums=sums, step=step) == 1
        taken.append(tuple(sums))
    # Embeddings that are below what is compiled go through their own passes
    rounds = {"rtol": 1e-5, "atol": 1e-7} if name in {"bins", "periodic"} else {"rtol": 0}
    np.testing.assert_allclose(*taken, **rounds)
    for key, view in plain.parameters.views().items():
        np.testing.assert_allclose(values[key].reshape(view.shape), view, **rounds)
        assert np.isfinite(gradients[key]).all()


def test_what_it_begins_with():
    network = SharedNetwork(make_layers(INPUTS, NETWORKS["relu"], 2), MEMBERS)
    network.initialize("auto", seed=3)
    plain = Network(make_layers(INPUTS, NETWORKS["relu"], 2))
    plain.initialize("auto", seed=3)
    values, weights = network.parameters.views(), plain.parameters.views()
    np.testing.assert_array_equal(values["layers.0.weight"], weights["layers.0.weight"])
    np.testing.assert_array_equal(values["layers.2.weight"][0], weights["layers.2.weight"])
    assert len({head.tobytes() for head in values["layers.2.weight"]}) == MEMBERS
    signs = values["layers.0.input_adapter"]
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert len({member.tobytes() for member in signs.reshape(MEMBERS, -1)}) == MEMBERS
    for name in ("layers.0.output_adapter", "layers.1.input_adapter", "layers.1.output_adapter"):
        assert (values[name] == 1).all()
    assert network.parameters.weight_count == sum(
        view.size for name, view in values.items() if name.endswith("weight")
    ), "adapters and biases feel no weight decay"


@pytest.mark.parametrize(("name", "normal"), [("bins", True), ("periodic", True), ("columns", False)])
def test_behind_embeddings_of_numbers_the_first_adapters_are_normal(name: str, *, normal: bool):
    network = SharedNetwork(make_layers(INPUTS, NETWORKS[name], 2), 64)
    network.initialize("auto", seed=3)
    first = network.parameters.views()[f"layers.{network.sharing.first}.input_adapter"]
    assert (len(np.unique(first)) > 2) == normal
    assert abs(first.mean()) < 0.2
    assert first.std() == pytest.approx(1, abs=0.1)


def test_what_comes_before_all_that_differs_is_computed_once(monkeypatch: pytest.MonkeyPatch):
    network, calls = make("bins"), []
    embedding = network.layers[0]
    for name in ("forward", "backward"):
        before = getattr(embedding, name)

        def counted(*given: Any, before: Any = before, name: str = name, **options: Any) -> Any:
            calls.append(name)
            return before(*given, **options)

        monkeypatch.setattr(embedding, name, counted)
    network.differentiate(rows(), Mode.training(5, 7), np.ones_like, rows=ROWS)
    assert calls == ["forward", "backward"]


@pytest.mark.parametrize(("name", "compiled"), [("relu", True), ("periodic", True), ("gaussian", False)])
def test_whether_members_are_compiled_follows_from_what_differs_between_them(name: str, *, compiled: bool):
    network = make(name, np.float32, outputs=1)
    x = rows(np.float32)
    steps = make_steps(network, LOSSES["squared_error"], OPTIMIZERS["adam"](network.parameters), plan(x, x[:, :1]))
    assert isinstance(steps, SharedSteps)
    assert steps.one_threaded == compiled
