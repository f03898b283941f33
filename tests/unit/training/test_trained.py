from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.training.trained import weights_digest
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

PARAMS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float32)}


def test_the_digest_sees_names_shapes_dtypes_and_values():
    others = [
        {"a": PARAMS["a"], "c": PARAMS["b"]},
        {"a": PARAMS["a"].reshape(3, 2), "b": PARAMS["b"]},
        {"a": PARAMS["a"].view(np.int32), "b": PARAMS["b"]},
        {"a": PARAMS["a"], "b": np.array([1, -1], np.float32)},
        {"a": PARAMS["a"]},
    ]
    assert len({weights_digest(params) for params in (PARAMS, *others)}) == 6
    assert weights_digest(dict(reversed(PARAMS.items()))) == weights_digest(PARAMS)


def test_the_digest_is_made_as_documented():
    """It names models in stores and answers, so it must not change from one version to the next."""
    text = b"a|float32|2,3\n" + struct.pack("<6f", 0, 1, 2, 3, 4, 5) + b"b|float32|2\n" + struct.pack("<2f", 1, 1)
    assert weights_digest(PARAMS) == f"sha256:{hashlib.sha256(text).hexdigest()}"


def test_a_model_gives_a_network_of_its_own(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    trainer = Trainer(make_spec(model={"hidden": [5], "dropout": 0.4, "input_dropout": 0.1}), make_data())
    list(trainer.run())
    model = trainer.finish()
    network = next(iter(model.networks()))
    network.parameters.values[:] = 0
    assert model.weights_digest == trainer.finish().weights_digest
    assert [layer["kind"] for layer in model.layers] == ["dropout", "dense", "dense"]
    assert model.layers[1] == {"kind": "dense", "inputs": 4, "units": 5, "activation": "relu", "dropout": 0.4}
