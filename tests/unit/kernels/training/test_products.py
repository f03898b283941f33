"""Products of small matrices against exact ones, and their promise: an element's bits depend on its own terms only."""

from __future__ import annotations

import numpy as np
import pytest

from dropout_service.kernels.training.products import ROOM_BYTES, multiply, sum_of_squares
from dropout_service.kernels.training.transposes import transpose

ROOM = np.zeros(ROOM_BYTES, np.uint8)
SIZES = [(1, 1, 1), (7, 3, 5), (32, 64, 64), (33, 17, 300), (64, 2, 32), (100, 256, 600), (5, 33, 9), (6, 16, 257)]


def product(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """Multiply through the kernel, into a matrix that is surrounded by numbers that must stay."""
    rows, columns = a.shape[0], b.shape[1]
    frame = np.full((rows + 2, columns + 2), np.float32(7))
    inside = frame[1:-1, 1:-1]
    multiply(
        rows,
        columns,
        a.shape[1],
        a.ctypes.data,
        *a.strides,
        b.ctypes.data,
        b.strides[0],
        inside.ctypes.data,
        inside.strides[0],
        0 if bias is None else bias.ctypes.data,
        ROOM.ctypes.data,
    )
    result = inside.copy()
    inside[:] = 7
    assert (frame == 7).all()
    return result


def matrices(rows: int, columns: int, depth: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows + columns + depth)
    return (rng.standard_normal(size).astype(np.float32) for size in ((rows, depth), (depth, columns)))


def chain(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum the terms of each element in order, in float64, where products of float32 are exact, rounded each time."""
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        total = (a[:, k, None].astype(np.float64) * b[k].astype(np.float64) + total).astype(np.float32)
    return total


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_product_is_the_chain_of_its_terms_in_order(size: tuple[int, int, int]):
    a, b = matrices(*size)
    ours = product(a, b)
    # A fused multiply-add rounds once; the reference twice, which differs by a last bit on few elements
    np.testing.assert_allclose(ours, chain(a, b), rtol=0, atol=4 * np.spacing(np.abs(ours).max()))
    bound = 2e-7 * size[2] * (np.abs(a).astype(np.float64) @ np.abs(b))
    assert (np.abs(ours - a.astype(np.float64) @ b) <= bound + 1e-12).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_bias_is_added_when_all_terms_are_summed(size: tuple[int, int, int]):
    a, b = matrices(*size)
    bias = np.random.default_rng(0).standard_normal(size[1]).astype(np.float32)
    np.testing.assert_array_equal(product(a, b, bias), product(a, b) + bias)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_transposed_matrix_gives_the_same_bits(size: tuple[int, int, int]):
    a, b = matrices(*size)
    turned = np.ascontiguousarray(a.T)
    np.testing.assert_array_equal(product(turned.T, b), product(a, b))


@pytest.mark.parametrize("columns", [1, 7, 16, 40, 129])
def test_rows_and_columns_alone_give_the_bits_that_they_have_together(columns: int):
    a, b = matrices(37, columns, 70)
    whole = product(a, b)
    for row in range(37):
        np.testing.assert_array_equal(product(a[row : row + 1], b)[0], whole[row])
    for column in range(columns):
        one = np.ascontiguousarray(b[:, column : column + 1])
        np.testing.assert_array_equal(product(a, one)[:, 0], whole[:, column])


def test_what_is_not_a_number_stays_in_its_row():
    a, b = matrices(9, 20, 12)
    a[4, 3] = np.nan
    result = product(a, b)
    assert np.isnan(result[4]).all()
    assert np.isfinite(np.delete(result, 4, axis=0)).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (64, 64), (16, 8), (17, 31), (100, 2)], ids=str)
def test_a_transpose_writes_what_it_should_and_nothing_else(shape: tuple[int, int]):
    rows, columns = shape
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    frame = np.full((columns + 2, rows + 2), np.float32(7))
    inside = frame[1:-1, 1:-1]
    transpose(rows, columns, x.ctypes.data, x.strides[0], inside.ctypes.data, inside.strides[0])
    np.testing.assert_array_equal(inside, x.T)
    inside[:] = 7
    assert (frame == 7).all()


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 1000])
def test_a_sum_of_squares_has_its_order_written_down(size: int):
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    partial = np.zeros(32, np.float32)
    for begin in range(0, size, 32):
        part = x[begin : begin + 32]
        partial[: part.size] += part * part
    expected = np.float32(0)
    for one in partial:
        expected += one
    assert sum_of_squares(x) == expected
