# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import reference_stream as reference
from llvmlite.binding import get_host_cpu_features
from other_cpu import run_tests

from dropout_service.kernels import streams
from dropout_service.kernels.codegen import keystream
from dropout_service.kernels.codegen.formats import FORMATS
from dropout_service.kernels.codegen.keystream import GROUP_ELEMENTS, GROUP_LANES
from dropout_service.kernels.dropout import standard
from dropout_service.kernels.dropout.loops import DROP_BY_STREAM, drop_by_stream

DOCS = Path(__file__).parents[4] / "docs" / "mask-stream.md"

# docs/mask-stream.md works this example out; another answer would be another version of the stream.
PINNED_DRAWS = [11155, 25694, 28533, 38287, 31193, 1030, 26985, 52423, 49599, 47647, 29497, 29979]
PINNED_BITS = "dedffdfbfebf41ce"

INSTRUCTIONS = {
    "tables": ("x86-64", ""),
    "AES-NI": ("nehalem", "+aes,+sse4.2"),
    "VAES, 256 bits": ("znver3", "+aes,+vaes,+avx,+avx2"),
    "AES-NI beside AVX-512": ("skylake-avx512", "+aes,+avx,+avx2,+avx512f,+avx512bw,+avx512vl,+avx512dq"),
}
"""CPUs and their features, by how they encrypt."""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="runs openssl")
def test_the_command_of_the_docs_answers_what_they_say():
    command, answer = re.search(r"```console\n\$ (.*)\n((?: .*\n)+)```", DOCS.read_text(encoding="utf-8")).groups()
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True)
    assert done.stdout == answer
    assert reference.keystream(24, seed=7, offset=3) == bytes.fromhex(answer)
    assert streams.bits(3, seed=7, offset=3).tobytes() == bytes.fromhex(answer)


def test_the_mapping_is_pinned_by_known_answers():
    assert reference.draws(12, seed=7, offset=3).tolist() == PINNED_DRAWS
    mask = standard.keep_mask(64, 0.3, seed=7, offset=3)
    assert standard.pack_mask(mask).tobytes().hex() == PINNED_BITS


@pytest.mark.parametrize("first", [0, 1, 2**29 - 1, 2**61 - 2])
@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (7, 3), (2**64 - 1, 2**64 - 1), (1 << 32, 1 << 32)])
def test_the_stream_is_the_keystream_of_aes_in_counter_mode(seed, offset, first):
    lanes = np.empty(2 * GROUP_LANES, np.uint64)
    keystream.fill(lanes, first, np.uint64(offset), np.uint64(seed))
    assert lanes.tobytes() == reference.keystream(lanes.nbytes, seed=seed, offset=offset, first=8 * first)


def test_any_seed_and_any_offset():
    # Every byte of the key goes through a table when the round keys are made, and has to meet each of its entries.
    for seed, offset in np.random.default_rng(0).integers(0, 2**64, (500, 2), np.uint64).tolist():
        drawn = streams.bits(GROUP_LANES, seed=seed, offset=offset)
        assert drawn.tolist() == reference.lanes(0, seed=seed, offset=offset)


@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (7, 3), (2**64 - 1, 2**64 - 1), (1 << 32, 1 << 32)])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 255, 256, 257, 700])
def test_masks_are_those_of_the_reference(seed, offset, size):
    expected = reference.keep((size,), 0.3, seed=seed, offset=offset)
    np.testing.assert_array_equal(standard.keep_mask(size, 0.3, seed=seed, offset=offset), expected)
    # The fused loops draw several groups at a time, so they are held against the reference too.
    kept = standard.forward(np.ones(size, np.float32), 0.3, seed=seed, offset=offset) != 0
    np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize("before", [2, 5])
def test_masks_go_on_where_the_block_number_outgrows_32_bits(before):
    """Elements around 2^35, as of an array of 128 GB: only the part that is touched is there."""
    first, groups, item_bytes = 2**29 - before, 2 * before, 4
    x, y = np.ones((2, groups * GROUP_ELEMENTS), np.float32)
    begin = first * GROUP_ELEMENTS
    away = begin * item_bytes
    arguments = DROP_BY_STREAM.pack(
        FORMATS["float32"], item_bytes, 0, x.ctypes.data - away, y.ctypes.data - away, 2.0, 1 << 15, 3, 7
    )
    cells = np.frombuffer(arguments, np.uint8)
    drop_by_stream(cells.ctypes.data, begin, begin + x.size)
    stream = reference.keystream(2 * x.size, seed=7, offset=3, first=8 * first)
    np.testing.assert_array_equal(y, np.where(np.frombuffer(stream, "<u2") >= 1 << 15, 2, 0))


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names CPUs of that kind")
@pytest.mark.parametrize("which", INSTRUCTIONS)
def test_every_cpu_has_the_same_stream(which):
    name, features = INSTRUCTIONS[which]
    if "+avx512f" in features and not get_host_cpu_features().get("avx512f"):
        pytest.skip("this CPU cannot run instructions of AVX-512")
    report = run_tests(__file__, "keystream_of or any_seed or outgrows", cpu=name, features=features)
    assert "19 passed" in report
