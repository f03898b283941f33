"""The client offers every variant of the service's table, and remembers what its gradient needs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from sample_arrays import array_for, same_bits

from dropout_client import Client, UnprocessableEntityError
from dropout_client.dropout import _NEEDS_X, VariantName, backward, forward
from dropout_service.kernels.variants import VARIANTS, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live_server import LiveServer

OWN: dict[str, dict[str, Any]] = {
    "standard": {"noise_shape": (None, 1)},
    "dropblock": {"block_size": 3},
    "locked": {"axis": -2},
    "concrete": {"temperature": 0.75},
}
"""Parameters that not every variant has, at another value than their default."""

each_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())


@pytest.fixture(scope="module")
def client(live_server: LiveServer) -> Iterator[Client]:
    with Client(live_server.url) as client:
        yield client


def test_the_client_names_what_the_table_has():
    assert get_args(VariantName) == tuple(VARIANTS)
    assert {variant.name for variant in VARIANTS.values() if variant.needs_x} == _NEEDS_X
    for flow in (forward, backward):
        offered = set(inspect.signature(flow).parameters)
        assert {one.name for variant in VARIANTS.values() for one in variant.all_parameters} <= offered


def test_every_parameter_of_its_own_is_tried():
    for variant in VARIANTS.values():
        assert {one.name for one in variant.parameters} == set(OWN.get(variant.name, {}))


def test_the_table_reaches_the_client(client: Client):
    for told, variant in zip(client.dropout.variants(), VARIANTS.values(), strict=True):
        assert (told.name, told.masked, told.learns_rate) == (variant.name, variant.masked, variant.needs_x)
        assert told.scalings == variant.scalings
        for one, parameter in zip(told.parameters, variant.all_parameters, strict=True):
            assert (one.name, one.kind, one.default) == (parameter.name, parameter.kind, parameter.default)
            assert (one.minimum, one.maximum) == (parameter.minimum, parameter.maximum)


@each_variant
def test_forward_and_backward_are_the_kernel_s(client: Client, variant: Variant):
    x, grad_output = array_for(variant, 0), array_for(variant, 1)
    name: Any = variant.name
    own = OWN.get(variant.name, {})
    dropped = client.dropout.forward(x, rate=0.3, variant=name, seed=8, offset=2, return_mask=variant.masked, **own)
    assert same_bits(dropped.y, variant.forward(x, 0.3, seed=8, offset=2, **own))
    if own:
        assert not np.array_equal(dropped.y, variant.forward(x, 0.3, seed=8, offset=2))
    assert dropped.variant == variant.name
    assert dropped.scale == variant.scale(0.3)
    assert dropped.algorithm == variant.algorithm
    if variant.masked:
        assert dropped.mask is not None
        assert np.array_equal(dropped.mask, variant.mask(x.shape, 0.3, seed=8, offset=2, **own))

    needed = {"x": x} if variant.needs_x else {}
    expected = variant.backward(grad_output, 0.3, seed=8, offset=2, **own, **needed)
    if own:
        other = variant.backward(grad_output, 0.3, seed=8, offset=2, **needed)
        assert not np.array_equal(expected.grad_input, other.grad_input)
    gradients = client.dropout.gradients(grad_output, dropped)
    assert same_bits(gradients.grad_input, expected.grad_input)
    assert gradients.grad_rate == expected.grad_rate
    assert same_bits(client.dropout.backward(grad_output, dropped), expected.grad_input)
    by_facts = client.dropout.backward(grad_output, rate=0.3, variant=name, seed=8, offset=2, **own, **needed)
    assert same_bits(by_facts, expected.grad_input)


@each_variant
def test_evaluation_has_a_gradient_too(client: Client, variant: Variant):
    x: Any = array_for(variant, 0)
    name: Any = variant.name
    for scaling in variant.scalings:
        dropped = client.dropout.forward(x, rate=0.25, variant=name, training=False, scaling=scaling)
        scale = 0.75 if scaling == "classic" else 1
        assert np.array_equal(dropped.y, x * np.float32(scale))
        assert np.array_equal(client.dropout.backward(x, dropped), x * np.float32(scale))


def test_what_does_not_belong_together_is_refused(client: Client):
    with pytest.raises(UnprocessableEntityError, match="did you mean `locked`"):
        client.dropout.forward([1.0], variant="loked")  # type: ignore[arg-type] - that is what is tested
    with pytest.raises(UnprocessableEntityError, match="/axis: a parameter of `locked`"):
        client.dropout.forward([1.0], axis=0)
    with pytest.raises(TypeError, match="already remembers"):
        client.dropout.backward([1.0], client.dropout.forward([1.0]), variant="batchwise")
