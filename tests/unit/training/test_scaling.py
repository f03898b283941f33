from __future__ import annotations

import json

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.training.scaling import Scaling


def test_columns_get_mean_0_and_deviation_1():
    x = np.random.default_rng(0).standard_normal((50, 3)) * [1, 1e-9, 1e9] + [0, 5, -7]
    z = Scaling.fit(x, pointer="/data").apply(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e300, 5e-324])
def test_a_constant_column_becomes_0_and_keeps_its_unit(value: float):
    scaling = Scaling.fit(np.full((7, 1), value), pointer="/data")
    assert scaling.scale.tolist() == [1.0]
    assert scaling.apply(np.full((7, 1), value)).tolist() == [[0.0]] * 7


def test_a_deviation_that_rounds_to_0_counts_as_1():
    scaling = Scaling.fit(np.array([[0.0], [5e-324]]), pointer="/data")
    assert scaling.scale.tolist() == [1.0]


def test_values_whose_variance_overflows_are_an_error():
    with pytest.raises(InvalidInputError, match="column 1") as caught:
        Scaling.fit(np.array([[0.0, 1e200], [1.0, -1e200]]), pointer="/data")
    assert caught.value.errors[0].pointer == "/data"


def test_json_keeps_every_bit():
    scaling = Scaling.fit(np.random.default_rng(1).standard_normal((9, 4)) / 3, pointer="/data")
    read = Scaling.from_json(json.loads(json.dumps(scaling.to_json())))
    assert read.mean.tobytes() == scaling.mean.tobytes()
    assert read.scale.tobytes() == scaling.scale.tobytes()
