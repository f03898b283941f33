from __future__ import annotations

import numpy as np
import pytest

from dropout_service.kernels.training.optimizer_steps import max_norm


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_units_above_the_bound_are_shrunk_to_it(dtype: type):
    weight = np.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]], dtype)
    before = weight.copy()
    max_norm(weight, 1.0, np.empty(3))
    np.testing.assert_allclose(weight[:, 0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(weight[:, 1:], before[:, 1:])
    assert weight.dtype == dtype


def test_a_matrix_within_the_bound_keeps_every_bit():
    weight = np.random.default_rng(0).standard_normal((50, 20)).astype(np.float32)
    before = weight.copy()
    max_norm(weight, 100.0, np.empty(20))
    np.testing.assert_array_equal(weight, before)
