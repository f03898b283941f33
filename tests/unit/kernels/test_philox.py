# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import numba
import numpy as np
import pytest
import reference_stream as reference

from dropout_service.kernels import dropout
from dropout_service.kernels.philox import GROUP_LANES, fill_group

PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
PI_KEY = (0xA4093822, 0x299F31D0)
FULL = 0xFFFFFFFF

# Published with Random123 (kat_vectors, philox4x32 10).
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, PI_KEY, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


# docs/mask-stream.md works this example out; another answer would be another version of the stream.
PINNED_DRAWS = [15426, 8112, 22233, 38835, 13272, 30138, 32462, 38495, 4720, 60159, 2066, 24438]
PINNED_BITS = "eceafbff365bfb77"


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
