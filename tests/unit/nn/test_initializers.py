from __future__ import annotations

import numpy as np
import pytest

from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.initializers import INITIALIZERS, default_initializer

VARIANCE = {"he": 2 / 400, "glorot": 2 / 500, "lecun": 1 / 400}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_mean_and_variance_are_those_of_the_scheme(name: str):
    weight = INITIALIZERS[name](400, 100, seed=3, layer=1, dtype=np.float64)
    variance = VARIANCE[name.split("_", maxsplit=1)[0]]
    assert weight.shape == (400, 100)
    # 40 000 draws: 5 standard errors of mean and variance
    assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
    assert weight.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / weight.size))
    if name.endswith("uniform"):
        assert np.abs(weight).max() <= np.sqrt(3 * variance)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_weights_are_a_function_of_seed_and_layer(name: str):
    def draw(seed: int, layer: int) -> bytes:
        return INITIALIZERS[name](20, 30, seed=seed, layer=layer).tobytes()

    assert draw(1, 0) == draw(1, 0)
    assert len({draw(1, 0), draw(2, 0), draw(1, 1)}) == 3


def test_float32_weights_are_the_float64_ones_rounded():
    drawn = [INITIALIZERS["he_normal"](7, 5, seed=1, layer=0, dtype=dtype) for dtype in (np.float32, np.float64)]
    np.testing.assert_array_equal(drawn[0], drawn[1].astype(np.float32))


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_every_activation_has_a_default(activation: str | None):
    assert default_initializer(activation) in INITIALIZERS
