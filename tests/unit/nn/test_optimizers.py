from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dropout_service.nn.optimizers import OPTIMIZERS
from dropout_service.nn.parameter_vector import ParameterVector

OPTIONS = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("sgd", {"momentum": 0.5, "weight_decay": 0.1}),
    ("sgd", {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    ("adam", {}),
    ("adam", {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-4, "weight_decay": 0.1}),
    ("adamw", {}),
    ("adamw", {"weight_decay": 0.2, "epsilon": 1e-3}),
]


def made(name: str, options: dict[str, Any], dtype: type = np.float64):
    parameters = ParameterVector({"weight": (3, 4), "bias": (4,)}, dtype)
    parameters.values[:] = np.random.default_rng(0).standard_normal(parameters.values.size)
    return parameters, OPTIMIZERS[name](parameters, **options)


def gradients(steps: int, size: int):
    return np.random.default_rng(1).standard_normal((steps, size))


def test_the_table_is_tested_as_a_whole():
    assert {name for name, _ in OPTIONS} == set(OPTIMIZERS)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_steps_agree_with_torch(name: str, options: dict[str, Any]):
    torch = pytest.importorskip("torch")
    parameters, optimizer = made(name, options)
    views = parameters.views()
    tensors = {key: torch.tensor(view.copy(), requires_grad=True) for key, view in views.items()}
    theirs = {"betas": (options["beta1"], options["beta2"])} if "beta1" in options else {}
    theirs |= {{"epsilon": "eps"}.get(k, k): v for k, v in options.items() if not k.startswith(("beta", "weight"))}
    decay = options.get("weight_decay", 0.0)
    groups = [
        {"params": [tensors["weight"]], "weight_decay": decay},
        {"params": [tensors["bias"]], "weight_decay": 0.0},
    ]
    oracle = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](
        groups, lr=0.05, **theirs
    )
    for step, grads in enumerate(gradients(20, parameters.values.size), start=1):
        parameters.grads[:] = grads
        for key, view in parameters.views(parameters.grads).items():
            tensors[key].grad = torch.tensor(view.copy())
        optimizer.step(parameters, learning_rate=0.05, step=step)
        oracle.step()
    for key, view in views.items():
        np.testing.assert_allclose(view, tensors[key].detach().numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_a_gradient_scale_is_a_scaled_gradient(name: str, options: dict[str, Any]):
    one, other = made(name, options), made(name, options)
    for step, grads in enumerate(gradients(5, one[0].values.size), start=1):
        for (parameters, optimizer), factor, scale in ((one, 1.0, 0.25), (other, 0.25, 1.0)):
            parameters.grads[:] = factor * grads
            optimizer.step(parameters, learning_rate=0.1, step=step, grad_scale=scale)
    np.testing.assert_allclose(one[0].values, other[0].values, rtol=1e-14)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_a_step_follows_from_values_and_state_alone(name: str, options: dict[str, Any]):
    straight, resumed = made(name, options, np.float32), made(name, options, np.float32)
    steps = gradients(6, straight[0].values.size).astype(np.float32)
    for step, grads in enumerate(steps, start=1):
        straight[0].grads[:] = grads
        straight[1].step(straight[0], learning_rate=0.1, step=step)
    for step, grads in enumerate(steps, start=1):
        if step == 4:
            fresh = made(name, options, np.float32)
            fresh[0].values[:] = resumed[0].values
            for key, array in fresh[1].state.items():
                array[:] = resumed[1].state[key]
            resumed = fresh
        resumed[0].grads[:] = grads
        resumed[1].step(resumed[0], learning_rate=0.1, step=step)
    assert resumed[0].values.tobytes() == straight[0].values.tobytes()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_moves_weights_and_never_biases(name: str):
    parameters, optimizer = made(name, {"weight_decay": 0.5})
    before = parameters.values.copy()
    optimizer.step(parameters, learning_rate=0.01, step=1)
    assert (np.abs(parameters.views()["weight"]) < np.abs(parameters.views(before)["weight"])).all()
    np.testing.assert_array_equal(parameters.views()["bias"], parameters.views(before)["bias"])
