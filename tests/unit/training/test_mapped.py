"""What is in mapped files trains as what is in memory, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.scratch import IN_MEMORY, Scratch
from dropout_service.training.data import TrainingData
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dropout_service.training.spec import TrainingSpec

ROWS = 9000
"""More than a block."""
BINS: dict[str, Any] = {"layers": [{"kind": "piecewise_linear", "bins": 4, "units": 3}, {"kind": "dense", "units": 5}]}
OWN = {"ensemble": {"members": 2, "held_out": "own"}}
SHORT = {"epochs": 2, "batch_size": 512}


def table(scratch: Scratch = IN_MEMORY, *, classes: int = 0, targets: int = 1) -> TrainingData:
    """Numbers with gaps, categories, texts and a weight, each array made by ``scratch``."""
    rng = np.random.default_rng(0)
    texts = {"city": ("Ulm", "Bonn", "Kiel"), "note": tuple(f"{n} words" for n in range(300))}
    columns = [rng.normal(5, 3, ROWS), rng.integers(0, 3, ROWS), rng.integers(0, 300, ROWS), rng.random(ROWS)]
    columns[0] = np.where(rng.random(ROWS) < 0.1, np.nan, columns[0])
    x = scratch.empty((ROWS, 4), np.float64, order="C" if scratch is IN_MEMORY else "F")
    x[:] = np.column_stack(columns)
    y: np.ndarray = rng.normal(size=(ROWS, targets)) + columns[3][:, np.newaxis]
    y = (rng.integers(0, classes, ROWS) if classes else y) if classes or targets > 1 else y[:, 0]
    names = tuple(f"y{n}" for n in range(targets))
    return TrainingData(
        x,
        scratch.keep(y),
        ("size", "city", "note", "share"),
        ", ".join(names),
        tuple(range(classes)) or None,
        names if targets > 1 else None,
        scratch.keep(rng.integers(0, 3, ROWS).astype(np.float64)),
        texts,
    )


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        pytest.param({}, {}, id="standard"),
        pytest.param({}, {"scaling": "robust", "model": BINS | OWN}, id="robust, own parts"),
        pytest.param({"classes": 3}, {"class_weights": "balanced", "model": BINS | OWN}, id="classes, own parts"),
        pytest.param({"targets": 2}, {"model": BINS}, id="several targets"),
        pytest.param({"classes": 2}, {"standardize": False, "early_stopping": {"patience": 1}}, id="unscaled"),
    ],
)
def test_mapped_arrays_give_the_same_bits(
    make_spec: Callable[..., TrainingSpec], tmp_path: Path, shape: dict[str, int], fields: dict[str, Any]
):
    columns = {"city": {"kind": "category"}, "note": {"kind": "text"}}
    data = {"dataset": "sha256-0", "columns": columns}
    task = "classification" if "classes" in shape else "regression"
    spec, scratch = make_spec(**SHORT, task=task, data=data, **fields), Scratch(tmp_path)
    here, there = Trainer(spec, table(**shape)), Trainer(spec, table(scratch, **shape), scratch=scratch)
    first = next(here.run())
    assert next(there.run()) == first
    # Each goes on where the other was
    states = here.checkpoint(), there.checkpoint()
    here = Trainer(spec, table(**shape), resume=states[1])
    there = Trainer(spec, table(scratch, **shape), resume=states[0], scratch=scratch)
    assert list(here.run()) == list(there.run())
    assert here.finish().weights_digest == there.finish().weights_digest
    assert here.finish().metrics == there.finish().metrics
