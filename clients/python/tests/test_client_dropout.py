"""What both clients send and remember of a call of dropout, against a server that records it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_client.dropout import ForwardResult
from dropout_client.safetensors import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stub

    Call = Callable[..., Any]


def test_the_gradient_remembers_what_forward_was_told(stub: Stub, call: Call):
    y = np.float32([[0, 2], [2, 0]])
    facts = {"effective_rate": "0.5", "scale": "2.0", "seed": str(2**60), "offset": "3", "algorithm": "a/1"}
    stub.answer(200, b"".join(encode({"y": y}, facts)))
    stub.answer(200, b"".join(encode({"grad_input": y * 3}, facts)))

    dropped = call(
        lambda client: client.dropout.forward(y, rate=0.5, offset=3, scaling="classic", noise_shape=(None, 2)),
        base_url=stub.url,
    )
    assert dropped.seed == 2**60
    assert np.array_equal(np.asarray(dropped), y)
    grad_input = call(lambda client: client.dropout.backward(y, dropped), base_url=stub.url)
    assert np.array_equal(grad_input, y * 3)
    for name, text in {"seed": str(2**60), "offset": "3", "scaling": "classic", "noise_shape": "[null, 2]"}.items():
        assert f'"{name}":"{text}"'.encode() in stub.received[1].body


def test_numbers_of_numpy_are_numbers(stub: Stub, call: Call):
    x = np.ones((2, 4), np.float32)
    facts = {"effective_rate": "0.25", "seed": "5"}
    stub.answer(200, b"".join(encode({"y": x}, facts)))
    stub.answer(200, b"".join(encode({"grad_input": x}, facts)))
    dropped = call(
        lambda client: client.dropout.forward(
            x, rate=np.float32(0.25), seed=np.int64(5), noise_shape=np.array([2, 1]), training=np.True_
        ),
        base_url=stub.url,
    )
    assert type(dropped.rate) is float
    call(lambda client: client.dropout.backward(x, dropped), base_url=stub.url)
    for received in stub.received:
        for name, text in {"rate": "0.25", "seed": "5", "noise_shape": "[2, 1]", "training": "true"}.items():
            assert f'"{name}":"{text}"'.encode() in received.body


@pytest.mark.parametrize(
    "beside",
    [
        {"rate": 0.5},
        {"seed": 1},
        {"variant": "locked"},
        {"offset": 1},
        {"scaling": "classic"},
        {"training": False},
        {"noise_shape": (None, 1)},
        {"axis": 0},
        {"block_size": 3},
        {"temperature": 0.5},
        {"mask": [True]},
        {"x": [1.0]},
    ],
    ids=lambda beside: next(iter(beside)),
)
def test_nothing_is_taken_beside_what_forward_gave(beside: dict[str, Any], call: Call):
    y: Any = ForwardResult(
        y=np.ones(1), rate=0.5, effective_rate=0.5, scale=2.0, seed=1, offset=0,
        algorithm="a/1", scaling="inverted", training=True,
    )  # fmt: skip
    with pytest.raises(TypeError, match=f"`y` already remembers {next(iter(beside))}$"):
        call(lambda client: client.dropout.backward([1.0], y, **beside))


@pytest.mark.parametrize("arguments", [{}, {"rate": 0.5}, {"seed": 1}, {"rate": 0.5, "seed": 1, "mask": [True]}])
def test_a_gradient_needs_to_know_the_mask(arguments: dict[str, Any], call: Call):
    with pytest.raises(TypeError, match="give what `forward` returned"):
        call(lambda client: client.dropout.backward([1.0], **arguments))
