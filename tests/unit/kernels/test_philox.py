# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import numba
import numpy as np
import pytest
import reference_stream as reference

from dropout_service.kernels import dropout
from dropout_service.kernels.formats import FORMATS
from dropout_service.kernels.loops import DROP_BY_STREAM, drop_by_stream
from dropout_service.kernels.philox import ALIKE_GROUPS, GROUP_LANES, fill_group

PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
PI_KEY = (0xA4093822, 0x299F31D0)
FULL = 0xFFFFFFFF

# Published with Random123 (kat_vectors, philox4x32 7).
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
    ((FULL,) * 4, (FULL,) * 2, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
    (PI, PI_KEY, (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A)),
]


# docs/mask-stream.md works this example out; another answer would be another version of the stream.
PINNED_DRAWS = [47440, 47461, 25260, 19385, 63096, 21031, 30794, 20488, 18075, 16206, 17760, 9988]
PINNED_BITS = "f770db8cbffe3eb6"


@numba.njit
def fill(lanes, group, offset, seed):
    fill_group(lanes, group, offset, seed)


def join(low: int, high: int) -> int:
    return high << 32 | low


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_the_reference_agrees_with_the_published_vectors(counter, key, words):
    assert reference.philox(counter, key) == words


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_the_compiled_generator_agrees_with_the_published_vectors(counter, key, words):
    block, offset, seed = join(*counter[:2]), join(*counter[2:]), join(*key)
    group, lane = divmod(block, 8)
    lanes = np.empty(GROUP_LANES, np.uint64)
    fill(lanes, np.uint64(group), np.uint64(offset), np.uint64(seed))
    w0, w1, w2, w3 = words
    assert int(lanes[lane]) == join(w1, w0)
    assert int(lanes[8 + lane]) == join(w3, w2)


def test_the_mapping_is_pinned_by_known_answers():
    assert reference.draws(12, seed=7, offset=3).tolist() == PINNED_DRAWS
    mask = dropout.keep_mask(64, 0.3, seed=7, offset=3)
    assert dropout.pack_mask(mask).tobytes().hex() == PINNED_BITS


@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (7, 3), (2**64 - 1, 2**64 - 1), (1 << 32, 1 << 32)])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 255, 256, 257, 700])
def test_masks_are_those_of_the_reference(seed, offset, size):
    expected = reference.keep((size,), 0.3, seed=seed, offset=offset)
    np.testing.assert_array_equal(dropout.keep_mask(size, 0.3, seed=seed, offset=offset), expected)
    # The fused loops draw several groups at a time, so they are held against the reference too.
    kept = dropout.forward(np.ones(size, np.float32), 0.3, seed=seed, offset=offset) != 0
    np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize("before", [2, 5])
def test_masks_go_on_where_the_upper_half_of_the_block_number_steps(before):
    """Elements around 2^35, as of an array of 128 GB: only the part that is touched is there."""
    first, groups, item_bytes = ALIKE_GROUPS - before, 2 * before, 4
    x, y = np.ones((2, groups * 64), np.float32)
    begin = first * 64
    away = begin * item_bytes
    arguments = DROP_BY_STREAM.pack(
        FORMATS["float32"], item_bytes, 0, x.ctypes.data - away, y.ctypes.data - away, 2.0, 1 << 15, 3, 7
    )
    cells = np.frombuffer(arguments, np.uint8)
    drop_by_stream(cells.ctypes.data, begin, begin + x.size)
    lanes = np.array([reference.lanes(group, seed=7, offset=3) for group in range(first, first + groups)], np.uint64)
    np.testing.assert_array_equal(y, np.where(lanes.view(np.uint16).ravel() >= 1 << 15, 2, 0))
