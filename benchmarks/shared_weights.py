"""CPU milliseconds of a step of all members of an ensemble, and bytes of its model: sharing weights, and apart.

5,000 rows of 20 numbers, AdamW, one thread. Rounds are interleaved; a figure is the median over the rounds.

    python benchmarks/shared_weights.py [--rounds 5] [--members 16 32]
"""

# ruff: noqa: E402 - the environment is set before NumPy is loaded

from __future__ import annotations

import os

for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import statistics
import time
from typing import Any, Final

import numpy as np

import machine
from dropout_service.models import artifact
from dropout_service.training.data import TrainingData
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

ROWS: Final = 5000
INPUTS: Final = 20
ROUND_S: Final = 1.0
_DENSE: Final = {"kind": "dense", "units": 128, "activation": "silu", "dropout": 0.1}
NETWORKS: Final[dict[str, tuple[dict[str, Any], int]]] = {
    "128-128": ({"layers": [_DENSE, _DENSE]}, 64),
    "bins-128-128": ({"layers": [{"kind": "piecewise_linear", "bins": 32, "units": 8}, _DENSE, _DENSE]}, 128),
    "256-256-256": ({"hidden": [256, 256, 256], "dropout": 0.1}, 256),
}
"""Each with its rows of a mini-batch."""


def trainer_of(network: str, ensemble: dict[str, Any], *, epochs: int) -> Trainer:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, INPUTS))
    data = TrainingData(x, x @ rng.standard_normal(INPUTS), tuple(f"x{i}" for i in range(INPUTS)), "y", None)
    model, batch_size = NETWORKS[network]
    fields = {"model": {**model, "ensemble": ensemble}, "batch_size": batch_size, "epochs": epochs}
    fixed = {"task": "regression", "data": {"dataset": "benchmark"}, "validation_fraction": 0}
    return Trainer(TrainingSpec.model_validate({**fixed, **fields, "optimizer": {"kind": "adamw"}}), data)


def step_ms(trainer: Trainer) -> float:
    """Train for a round; return CPU milliseconds of a step of all members."""

    def done() -> float:
        return statistics.mean(member.position.step for member in trainer.members)

    began, began_s = done(), time.process_time()
    while time.process_time() - began_s < ROUND_S:
        for _ in trainer.run(lambda: time.process_time() - began_s >= ROUND_S, every_s=0.1):
            pass
    return (time.process_time() - began_s) / (done() - began) * 1e3


def model_bytes(network: str, ensemble: dict[str, Any]) -> int:
    trainer = trainer_of(network, ensemble, epochs=1)
    for _ in trainer.run(every_s=1.0):
        pass
    return len(artifact.dump(trainer.finish()))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--members", type=int, nargs="+", default=[16, 32])
    options = arguments.parse_args()
    machine.describe(cores=1)
    for network in NETWORKS:
        for members in options.members:
            forms = {"apart": {"members": members}, "shared": {"members": members, "share": True}}
            trainers = {name: trainer_of(network, ensemble, epochs=1_000_000) for name, ensemble in forms.items()}
            times: dict[str, list[float]] = {name: [] for name in forms}
            for warm_up in [True, *[False] * options.rounds]:
                for name, trainer in trainers.items():
                    took = step_ms(trainer)
                    if not warm_up:
                        times[name].append(took)
            for name, ensemble in forms.items():
                about = f"shared_weights.{network}.{members}.{name}"
                print(f"{about}.step {statistics.median(times[name]):.2f} ms", flush=True)
                print(f"{about}.model {model_bytes(network, ensemble)} bytes", flush=True)


if __name__ == "__main__":
    main()
