"""Training steps a second against PyTorch: MLP 100-256-256-2, batch 256, Adam, dropout 0.5, one thread each.

Both sides gather a shuffled mini-batch, run forward, loss, backward and the optimizer. PyTorch runs eagerly with each
of its forms of Adam, and its best counts. Rounds are interleaved; a figure is the
median over the rounds, a ratio the median of the rounds' ratios.

    python benchmarks/training_steps.py [--rounds 9] [--steps 100]
"""

# ruff: noqa: E402 - the environment is set before NumPy is loaded

from __future__ import annotations

import os

# Before NumPy loads OpenBLAS: one thread, and the kernels that it would choose on its own (DESIGN.md section 9)
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

import machine
from dropout_service.training.data import TrainingData
from dropout_service.training.spec import AdamSpec, DataSpec, ModelSpec, TrainingSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, INPUTS, HIDDEN, CLASSES, BATCH = 25_600, 100, (256, 256), 2, 256


def service_side(x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
    spec = TrainingSpec(
        task="classification",
        data=DataSpec(dataset="benchmark"),
        model=ModelSpec(hidden=HIDDEN, dropout=0.5),
        loss="cross_entropy",
        optimizer=AdamSpec(learning_rate=1e-3),
        epochs=1_000_000,
        batch_size=BATCH,
        validation_fraction=0,
    )
    data = TrainingData(x, y, tuple(f"x{i}" for i in range(INPUTS)), "y", tuple(range(CLASSES)))
    trainer = Trainer(spec, data)

    def run(steps: int) -> None:
        end = trainer.step + steps
        while trainer.step < end:
            for _ in trainer.run(lambda: trainer.step >= end):
                pass

    return run


def torch_side(x: np.ndarray, y: np.ndarray, **form: bool) -> Callable[[int], None]:
    torch.manual_seed(0)
    inputs, labels = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)
    layers: list[torch.nn.Module] = []
    width = INPUTS
    for units in HIDDEN:
        layers += [torch.nn.Linear(width, units), torch.nn.ReLU(), torch.nn.Dropout(0.5)]
        width = units
    model = torch.nn.Sequential(*layers, torch.nn.Linear(width, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **form)
    loss = torch.nn.CrossEntropyLoss()
    position, order = 0, torch.randperm(ROWS)

    def run(steps: int) -> None:
        nonlocal position, order
        for _ in range(steps):
            if position >= ROWS:
                position, order = 0, torch.randperm(ROWS)
            rows = order[position : position + BATCH]
            position += BATCH
            optimizer.zero_grad()
            loss(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()

    return run


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--steps", type=int, default=100)
    options = arguments.parse_args()
    machine.describe(cores=1)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, INPUTS))
    y = (x[:, 0] + rng.standard_normal(ROWS) > 0).astype(np.int64)
    sides = {
        "service": service_side(x, y),
        "torch_loop": torch_side(x, y, foreach=False),
        "torch_foreach": torch_side(x, y, foreach=True),
        "torch_fused": torch_side(x, y, fused=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run(options.steps)
    for _ in range(options.rounds):
        for name, run in sides.items():
            begin_s = time.perf_counter()
            run(options.steps)
            seconds[name].append((time.perf_counter() - begin_s) / options.steps)
    for name, values in seconds.items():
        print(f"training_steps.{name} {1 / statistics.median(values):.1f} steps/s")
    ours = seconds.pop("service")
    ratios = [statistics.median(np.divide(values, ours)) for values in seconds.values()]
    print(f"training_steps.ratio_to_best_torch {min(ratios):.2f} x")


if __name__ == "__main__":
    main()
