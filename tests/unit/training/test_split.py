from __future__ import annotations

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.training.data import TrainingData
from dropout_service.training.split import split


def labelled(counts: list[int]):
    y = np.repeat(np.arange(len(counts)), counts)
    return TrainingData(np.zeros((len(y), 1)), y, ("x",), "y", tuple("abcdef"[: len(counts)]))


def valued(rows: int):
    return TrainingData(np.zeros((rows, 1)), np.arange(float(rows)), ("x",), "y", None)


@pytest.mark.parametrize("data", [labelled([50, 30, 20]), labelled([1, 7, 92]), valued(100), valued(2)])
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_parts_are_disjoint_complete_and_of_the_asked_size(data: TrainingData, fraction: float):
    train, validation = split(data, fraction, seed=1)
    rows = len(data.y)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(rows))
    most = rows - (1 if data.classes is None else len(data.classes))
    assert len(validation) == min(max(1, round(fraction * rows)), most)
    if data.classes is not None:
        assert set(data.y[train]) == set(range(len(data.classes)))


def test_each_class_gives_its_share():
    data = labelled([50, 30, 20])
    _, validation = split(data, 0.2, seed=1)
    assert np.bincount(data.y[validation]).tolist() == [10, 6, 4]


def test_rounding_goes_to_the_largest_remainders():
    data = labelled([14, 13, 13])
    _, validation = split(data, 0.25, seed=1)
    assert np.bincount(data.y[validation]).tolist() == [4, 3, 3]


def test_parts_are_a_function_of_the_seed():
    data = valued(50)
    assert split(data, 0.3, seed=1)[1].tolist() == split(data, 0.3, seed=1)[1].tolist()
    assert split(data, 0.3, seed=1)[1].tolist() != split(data, 0.3, seed=2)[1].tolist()


def test_without_a_fraction_all_rows_train():
    train, validation = split(labelled([1, 1]), 0, seed=1)
    assert train.tolist() == [0, 1]
    assert validation.size == 0


def test_a_class_of_one_row_stays_in_training():
    data = labelled([1, 9])
    train, _ = split(data, 0.5, seed=1)
    assert 0 in train


@pytest.mark.parametrize("data", [labelled([1, 1, 1]), valued(1)])
def test_nothing_to_hold_out_is_an_error(data: TrainingData):
    with pytest.raises(InvalidInputError, match="keeps at least one row") as caught:
        split(data, 0.2, seed=1)
    assert caught.value.errors[0].pointer == "/validation_fraction"


def test_a_class_without_rows_is_an_error():
    with pytest.raises(InvalidInputError, match="'b'"):
        split(labelled([3, 0, 2]), 0.2, seed=1)
