from __future__ import annotations

import math

import numpy as np

from dropout_service.nn.parameter_vector import ParameterVector

SHAPES = {"a.weight": (2, 3), "a.bias": (3,), "b.weight": (3, 1), "b.bias": (1,)}


def test_views_share_one_vector_with_the_weights_first():
    parameters = ParameterVector(SHAPES)
    for i, view in enumerate(parameters.views().values()):
        view[:] = i
    assert parameters.weight_count == 9
    assert {name: view.shape for name, view in parameters.views().items()} == SHAPES
    np.testing.assert_array_equal(parameters.values, [0] * 6 + [1] * 3 + [2] * 3 + [3])


def test_the_norm_is_that_of_all_gradients():
    parameters = ParameterVector(SHAPES)
    parameters.grads[:] = 2
    assert parameters.grad_norm() == math.sqrt(4 * 13)
    parameters.grads[5] = np.nan
    assert math.isnan(parameters.grad_norm())
