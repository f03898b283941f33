from __future__ import annotations

import json

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.training.blocks import RowBlocks
from dropout_service.training.standardization import Standardization


def fitted(x: np.ndarray) -> Standardization:
    return Standardization.fit(RowBlocks(x, np.arange(len(x))), names=("height", "width", "depth"), pointer="/data")


def test_columns_get_mean_0_and_deviation_1():
    x = np.random.default_rng(0).standard_normal((50, 3)) * [1, 1e-9, 1e9] + [0, 5, -7]
    z = fitted(x).apply(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e300, 5e-324])
def test_a_constant_column_becomes_0_and_keeps_its_unit(value: float):
    scaling = fitted(np.full((7, 1), value))
    assert scaling.scale.tolist() == [1.0]
    assert scaling.apply(np.full((7, 1), value)).tolist() == [[0.0]] * 7


def test_a_deviation_that_rounds_to_0_counts_as_1():
    scaling = fitted(np.array([[0.0], [5e-324]]))
    assert scaling.scale.tolist() == [1.0]


def test_values_whose_variance_overflows_are_an_error():
    with pytest.raises(InvalidInputError, match="`width`") as caught:
        fitted(np.array([[0.0, 1e200], [1.0, -1e200]]))
    assert caught.value.errors[0].pointer == "/data"


def test_json_keeps_every_bit():
    scaling = fitted(np.random.default_rng(1).standard_normal((9, 4)) / 3)
    read = Standardization.from_json(json.loads(json.dumps(scaling.to_json())))
    assert read.mean.tobytes() == scaling.mean.tobytes()
    assert read.scale.tobytes() == scaling.scale.tobytes()


def test_blocks_of_rows_change_nothing():
    x = np.random.default_rng(2).standard_normal((20_000, 2)) * [1, 1e6] + [1e6, 0]
    rows = np.flatnonzero(np.random.default_rng(3).random(20_000) < 0.9)
    scaling = Standardization.fit(RowBlocks(x, rows), names=("height", "width"), pointer="/data")
    np.testing.assert_allclose(scaling.mean, x[rows].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, x[rows].std(axis=0), rtol=1e-9)
