from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from prepared import prepared

from dropout_service.errors import InvalidInputError
from dropout_service.training.data import TrainingData
from dropout_service.training.split import split

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.spec import TrainingSpec


def test_scaling_is_fitted_on_the_training_part_only(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data()
    train, validation = split(data, 0.2, seed=3)
    data.x[validation] += 1000
    data.y[validation] += 1000
    rows = prepared(make_spec(), data)
    assert [encoder.center for encoder in rows.encoders.columns] == pytest.approx(data.x[train].mean(axis=0).tolist())
    assert rows.target_scaling.scale[0] == pytest.approx(data.y[train].std())
    np.testing.assert_allclose(rows.x.mean(axis=0), 0, atol=1e-6)
    assert rows.x_validation.min() > 10
    assert rows.x.dtype == rows.y.dtype == np.float32


def test_without_standardisation_values_stay(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data()
    rows = prepared(make_spec(standardize=False, validation_fraction=0), data)
    np.testing.assert_array_equal(rows.x, data.x.astype(np.float32))
    np.testing.assert_array_equal(rows.y, data.y.astype(np.float32))
    assert rows.x_validation.shape == (0, 4)


def test_class_indices_stay(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    data = make_data(classes=3)
    rows = prepared(make_spec(task="classification", validation_fraction=0), data)
    np.testing.assert_array_equal(rows.y, data.y)
    assert rows.target_scaling is None


@pytest.mark.parametrize(("x", "y", "pointer"), [(1e39, 0.0, "/data"), (0.0, 1e39, "/data/target")])
def test_values_beyond_float32_are_an_error(make_spec: Callable[..., TrainingSpec], x: float, y: float, pointer: str):
    data = TrainingData(np.array([[x], [1.0]]), np.array([y, 1.0]), ("height",), "y", None)
    with pytest.raises(InvalidInputError, match="exceed float32") as caught:
        prepared(make_spec(standardize=False, validation_fraction=0), data)
    assert caught.value.errors[0].pointer == pointer
