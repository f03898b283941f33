"""Microseconds a member and step of many small networks, beside a jitted JAX scan and PyTorch's best eager loop.

Three shapes with standard dropout 0.5 and Adam, one thread. Ours trains K members by ``model.ensemble``; JAX runs a
step inside ``lax.scan``, jitted, with ``vmap`` over K members, each with rows drawn anew for every step; PyTorch trains
one network. All gather their mini-batches. Rounds are interleaved; a figure is the median over the rounds, a ratio the
median of the rounds' ratios. Needs jax and torch, which are no dependencies of the project.

    python benchmarks/members.py [--rounds 7] [--members 16]
"""

# ruff: noqa: E402 - the environment is set before NumPy is loaded

from __future__ import annotations

import os

for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import machine
from dropout_service.training.data import TrainingData
from dropout_service.training.spec import AdamSpec, DataSpec, EnsembleSpec, ModelSpec, TrainingSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

LEARNING_RATE, RATE = 1e-3, 0.5


@dataclass(frozen=True)
class Shape:
    """A network, the rows it is trained on, and how many steps a round takes."""

    sizes: tuple[int, ...]
    rows: int
    batch: int
    steps: int
    classes: bool

    @property
    def name(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def torch_steps(self) -> int:
        """Fewer: it takes longer."""
        return max(8, self.steps // 8)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.rows, self.sizes[0]))
        noisy = x[:, 0] + rng.standard_normal(self.rows)
        return x, (noisy > 0).astype(np.int64) if self.classes else noisy


SHAPES = [
    Shape((20, 64, 64, 2), rows=4096, batch=32, steps=512, classes=True),
    Shape((13, 50, 1), rows=512, batch=32, steps=512, classes=False),
    Shape((100, 256, 256, 2), rows=25_600, batch=256, steps=16, classes=True),
]


def service_side(shape: Shape, members: int) -> Callable[[], int]:
    x, y = shape.data()
    spec = TrainingSpec(
        task="classification" if shape.classes else "regression",
        data=DataSpec(dataset="benchmark"),
        model=ModelSpec(
            hidden=shape.sizes[1:-1],
            dropout=RATE,
            ensemble=EnsembleSpec(members=members) if members > 1 else None,
        ),
        loss="cross_entropy" if shape.classes else "squared_error",
        optimizer=AdamSpec(learning_rate=LEARNING_RATE),
        epochs=1_000_000,
        batch_size=shape.batch,
        validation_fraction=0,
    )
    names = tuple(f"x{i}" for i in range(x.shape[1]))
    trainer = Trainer(spec, TrainingData(x, y, names, "y", (0, 1) if shape.classes else None))
    end = 0

    def done() -> int:
        return sum(member.position.step for member in trainer.members)

    def run() -> int:
        nonlocal end
        began = done()
        end = began + shape.steps * members
        while done() < end:
            for _ in trainer.run(lambda: done() >= end, every_s=0.01):
                pass
        return done() - began

    return run


def jax_side(shape: Shape, members: int) -> Callable[[], int]:
    x, y = shape.data()
    rows, targets = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32 if shape.classes else jnp.float32)

    def outputs(params: Any, batch: Any, key: Any) -> Any:
        *hidden, last = params
        for weight, bias in hidden:
            batch = jax.nn.relu(batch @ weight + bias)
            key, own = jax.random.split(key)
            # 16 bits a unit, as ours: JAX's own bernoulli draws 32 and is slower
            kept = jax.random.bits(own, batch.shape, jnp.uint16) >= round(RATE * 65536)
            batch = jnp.where(kept, batch / (1 - RATE), 0)
        return batch @ last[0] + last[1]

    def loss(params: Any, batch: Any, wanted: Any, key: Any) -> Any:
        found = outputs(params, batch, key)
        if not shape.classes:
            return jnp.mean((found[:, 0] - wanted) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(found), wanted[:, None], 1))

    def step(state: Any, _: Any) -> Any:
        params, mean, variance, count, key = state
        key, chooses, drops = jax.random.split(key, 3)
        chosen = jax.random.randint(chooses, (shape.batch,), 0, shape.rows)
        grads = jax.grad(loss)(params, rows[chosen], targets[chosen], drops)
        count += 1
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grads)
        variance = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, variance, grads)
        size, root = LEARNING_RATE / (1 - 0.9**count), 1 / jnp.sqrt(1 - 0.999**count)
        params = jax.tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) * root + 1e-8), params, mean, variance)
        return (params, mean, variance, count, key), None

    def train(state: Any) -> Any:
        return jax.lax.scan(step, state, None, length=shape.steps)[0]

    def begin(seed: int) -> Any:
        keys = jax.random.split(jax.random.key(seed), len(shape.sizes))
        params = [
            (jax.random.normal(key, (inputs, units)) * np.sqrt(2 / inputs), jnp.zeros(units))
            for key, inputs, units in zip(keys, shape.sizes[:-1], shape.sizes[1:], strict=False)
        ]
        nothing = jax.tree.map(jnp.zeros_like, params)
        return params, nothing, nothing, jnp.float32(0), keys[-1]

    states = [begin(seed) for seed in range(members)]
    state = states[0] if members == 1 else jax.tree.map(lambda *parts: jnp.stack(parts), *states)
    compiled = jax.jit(train if members == 1 else jax.vmap(train))

    def run() -> int:
        nonlocal state
        state = jax.block_until_ready(compiled(state))
        return shape.steps * members

    return run


def torch_side(shape: Shape, form: dict[str, bool]) -> Callable[[], int]:
    torch.manual_seed(0)
    x, y = shape.data()
    rows = torch.from_numpy(x.astype(np.float32))
    targets = torch.from_numpy(y if shape.classes else y.astype(np.float32))
    layers: list[torch.nn.Module] = []
    for inputs, units in zip(shape.sizes[:-2], shape.sizes[1:-1], strict=True):
        layers += [torch.nn.Linear(inputs, units), torch.nn.ReLU(), torch.nn.Dropout(RATE)]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(shape.sizes[-2], shape.sizes[-1]))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, **form)
    loss = torch.nn.CrossEntropyLoss() if shape.classes else torch.nn.MSELoss()

    def run() -> int:
        order = torch.randperm(shape.rows)
        for number in range(shape.torch_steps):
            begin = number * shape.batch % (shape.rows - shape.batch + 1)
            chosen = order[begin : begin + shape.batch]
            optimizer.zero_grad()
            found = model(rows[chosen])
            loss(found if shape.classes else found[:, 0], targets[chosen]).backward()
            optimizer.step()
        return shape.torch_steps

    return run


def compare(shape: Shape, members: int, rounds: int) -> None:
    """Time all sides in turn and print their figures; each tells how many steps of all members it took."""
    sides: dict[str, Callable[[], int]] = {}
    for count in (1, members):
        sides[f"ours_{count}"] = service_side(shape, count)
        sides[f"jax_{count}"] = jax_side(shape, count)
    for name, form in {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}.items():
        sides[f"torch_{name}"] = torch_side(shape, form)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    for _ in range(rounds):
        for name, run in sides.items():
            begin_s = time.perf_counter()
            steps = run()
            times[name].append((time.perf_counter() - begin_s) / steps * 1e6)
    for name, values in times.items():
        print(f"members.{shape.name}.{name} {statistics.median(values):.1f} us", flush=True)
    torch_best = min((times[name] for name in times if name.startswith("torch")), key=statistics.median)
    for count in (1, members):
        for peer, values in (("jax", times[f"jax_{count}"]), ("torch", torch_best)):
            ratio = statistics.median(np.divide(values, times[f"ours_{count}"]))
            print(f"members.{shape.name}.{peer}_over_ours_{count} {ratio:.2f} x", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--members", type=int, default=16)
    options = arguments.parse_args()
    machine.describe(cores=1)
    print(f"jax {jax.__version__} version")
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for shape in SHAPES:
        compare(shape, options.members, options.rounds)


if __name__ == "__main__":
    main()
