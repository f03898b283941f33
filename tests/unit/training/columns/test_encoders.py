from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.training.columns import ENCODERS, Encoders, NumberEncoder, RawColumn
from dropout_service.training.columns.category import MOST_CATEGORIES, CategoryEncoder
from dropout_service.training.columns.code import MOST_CODES, CodeEncoder
from dropout_service.training.columns.date import DateEncoder
from dropout_service.training.columns.number import BooleanEncoder
from dropout_service.training.columns.text import TextEncoder
from dropout_service.training.data import TrainingData

NAN = float("nan")


def numbers(*values: float) -> RawColumn:
    return RawColumn(np.array(values))


def texts(*cells: str | None) -> RawColumn:
    labels = tuple(dict.fromkeys(cell for cell in cells if cell is not None))
    return RawColumn(np.array([NAN if cell is None else labels.index(cell) for cell in cells]), labels)


def moments(*values: str) -> RawColumn:
    return numbers(*(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp() for value in values))


FITTED = {
    "number": NumberEncoder.fit(numbers(1, 2, 3, 4, 100, NAN)),
    "boolean": BooleanEncoder.fit(numbers(0, 1, NAN)),
    "category": CategoryEncoder.fit(texts("a", "b", "c", None)),
    "code": CodeEncoder.fit(texts("a", "b", "c", None)),
    "date": DateEncoder.fit(moments("2020-01-01", "2021-06-15T12:00:00", "2023-03-03")),
    "text": TextEncoder.fit(texts("the quick fox", "a lazy dog")),
}


def test_each_kind_is_tried():
    assert FITTED.keys() == ENCODERS.keys()


@pytest.mark.parametrize("kind", ENCODERS)
def test_what_was_fitted_survives_as_json(kind: str):
    fitted = FITTED[kind]
    read = ENCODERS[kind].from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    assert read == fitted
    raw = texts("b", "never seen", None) if kind in {"category", "code", "text"} else numbers(1, 0, NAN)
    encoded = read.encode(raw)
    np.testing.assert_array_equal(encoded, fitted.encode(raw))
    assert encoded.shape == (3, fitted.width)
    assert np.isfinite(encoded).all()


def test_robust_scaling_is_by_median_and_quartiles_with_a_smooth_clip():
    values = np.random.default_rng(0).lognormal(size=1001)
    encoder = NumberEncoder.fit(RawColumn(values))
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    z = (values - median) / (high - low)
    np.testing.assert_allclose(encoder.encode(RawColumn(values))[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-12)
    far = encoder.encode(numbers(-1e300, 1e300))[:, 0]
    np.testing.assert_allclose(far, [-3, 3])


@pytest.mark.parametrize(
    ("values", "scale"), [((0, 0, 0, 0, 0, 10), 5.0), ((7, 7, 7), 1.0), ((-1.7e308, 0, 1.7e308), 1.0)]
)
def test_the_scale_is_positive_and_finite_whatever_the_quartiles(values: tuple[float, ...], scale: float):
    encoder = NumberEncoder.fit(numbers(*values))
    assert encoder.scale == pytest.approx(scale) or values[0] < -1
    assert np.isfinite(encoder.encode(numbers(*values, 1e308, -1e308))).all()


def test_a_gap_of_a_number_is_the_median_and_told_by_a_column():
    encoder = NumberEncoder.fit(numbers(1, 2, NAN, 3, 4, 5))
    assert encoder.width == 2
    encoded = encoder.encode(numbers(3, NAN))
    np.testing.assert_array_equal(encoded, [[0, 0], [0, 1]])
    without = NumberEncoder.fit(numbers(1, 2, 3))
    np.testing.assert_array_equal(without.encode(numbers(NAN)), [[0.0]])
    nothing_known = NumberEncoder.fit(numbers(NAN, NAN))
    np.testing.assert_allclose(nothing_known.encode(numbers(NAN, 4)), [[0, 1], [4 / np.sqrt(1 + 16 / 9), 0]])


def test_a_boolean_is_minus_one_or_one_and_0_where_there_is_none():
    assert BooleanEncoder.fit(numbers(0, 1)).encode(numbers(0, 1, NAN)).tolist() == [[-1], [1], [0]]
    assert BooleanEncoder.fit(numbers(0, NAN)).encode(numbers(1, NAN)).tolist() == [[1, 0], [0, 1]]


def test_categories_are_one_hot_in_sorted_order():
    encoder = CategoryEncoder.fit(texts("b", "a", "c", "b"))
    assert encoder == CategoryEncoder(("a", "b", "c"))
    # Labels of other rows have other places, and may be unknown.
    np.testing.assert_array_equal(
        encoder.encode(texts("c", "d", None, "a")), [[0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]]
    )


def test_two_categories_share_a_column():
    encoder = CategoryEncoder.fit(texts("no", "yes", "no"))
    assert encoder.encode(texts("yes", "no", "perhaps", None)).tolist() == [[1], [-1], [0], [0]]


def test_rare_and_unknown_categories_share_a_column_and_gaps_have_one():
    cells = ["a"] * 60 + ["b"] * 40 + ["c"] * 2 + [None]
    encoder = CategoryEncoder.fit(texts(*cells))
    assert encoder == CategoryEncoder(("a", "b"), others=True, gaps=True)
    np.testing.assert_array_equal(
        encoder.encode(texts("a", "c", "never seen", None)),
        [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    )


def test_of_many_categories_the_most_frequent_have_a_column():
    cells = [f"c{i:03}" for i in range(100) for _ in range(200 - i)]
    encoder = CategoryEncoder.fit(texts(*cells))
    assert encoder.labels == tuple(f"c{i:03}" for i in range(MOST_CATEGORIES))
    assert encoder.others


def test_a_category_without_any_value_still_has_a_column():
    encoder = CategoryEncoder.fit(texts(None, None))
    assert encoder.encode(texts("x", None)).tolist() == [[0], [1]]


def test_codes_count_frequent_categories_from_1_on():
    cells = ["a"] * 60 + ["b"] * 40 + ["c"] * 2 + [None]
    encoder = CodeEncoder.fit(texts(*cells))
    assert encoder == CodeEncoder(("a", "b"), gaps=True)
    assert encoder.encode(texts("b", "c", "never seen", "a", None)).tolist() == [[2], [0], [0], [1], [3]]
    assert encoder.cardinalities == (4,)
    without = CodeEncoder.fit(texts("b", "a"))
    assert without.encode(texts("b", None)).tolist() == [[2], [0]]
    assert without.cardinalities == (3,)
    assert CodeEncoder.fit(texts()).cardinalities == (2,), "never taken for a number or a flag"


def test_of_too_many_categories_the_most_frequent_have_a_code():
    labels = tuple(f"c{i:05}" for i in range(MOST_CODES + 5))
    rows = np.concatenate([np.repeat(np.arange(MOST_CODES + 5), 3), np.arange(MOST_CODES)]).astype(float)
    encoder = CodeEncoder.fit(RawColumn(rows, labels))
    assert encoder.labels == labels[:MOST_CODES]


@pytest.mark.parametrize("kind", ENCODERS)
def test_each_column_is_told_apart_by_its_cardinality(kind: str):
    """A flag is -1, 0 or 1, a code an integer below its cardinality, and only numbers are anything else."""
    fitted = FITTED[kind]
    raw = texts("b", "a", "never seen", None) if kind in {"category", "code", "text"} else numbers(1, 0, NAN)
    encoded = fitted.encode(raw)
    assert encoded.shape[1] == len(fitted.cardinalities)
    for values, cardinality in zip(encoded.T, fitted.cardinalities, strict=True):
        if cardinality == 1:
            assert set(values) <= {-1.0, 0.0, 1.0}
        elif cardinality > 1:
            assert set(values) <= set(range(cardinality))


def test_a_date_has_its_moment_and_its_place_in_the_cycles_that_vary():
    encoder = DateEncoder.fit(moments("2020-01-01", "2020-12-31", "2022-07-01"))
    assert encoder.cycles == ("year", "week")
    encoded = encoder.encode(moments("2024-01-01", "2024-07-01T12:00:00"))
    assert encoded.shape == (2, 5)
    monday = encoded[0, 3:]
    np.testing.assert_allclose(monday, [0, 1], atol=1e-9)
    assert encoded[1, 2] < -0.99, "half a year later"
    with_times = DateEncoder.fit(moments("2020-01-01T06:00:00", "2020-01-02T18:00:00", "2020-01-05"))
    assert with_times.cycles == ("day",)
    np.testing.assert_allclose(with_times.encode(moments("2021-05-05T06:00:00"))[0, 1:], [1, 0], atol=1e-9)
    np.testing.assert_array_equal(with_times.encode(numbers(NAN))[0, 1:], [0, 0])


def test_texts_that_share_words_are_alike():
    encoder = TextEncoder.fit(texts())
    one, like, other, gap = encoder.encode(texts("Red wooden chair", "wooden chair, red", "blue steel lamp", None))
    cosine = lambda a, b: float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))  # noqa: E731
    assert cosine(one, like) > cosine(one, other) + 0.3
    assert not gap.any()
    assert np.linalg.norm(one) == pytest.approx(np.sqrt(encoder.width))


@pytest.mark.parametrize(
    "fields",
    [
        [{"kind": "embedding"}],
        [{"kind": "number", "center": 0, "scale": 0, "fill": 0, "gaps": False, "clip": None}],
        [{"kind": "number", "center": float("inf"), "scale": 1, "fill": 0, "gaps": False, "clip": None}],
        [{"kind": "number", "center": 0, "scale": 1, "fill": 0, "gaps": False, "clip": 0}],
        [{"kind": "number", "center": 0}],
        [{"kind": "category", "labels": ["a", "a"], "others": False, "gaps": False}],
        [{"kind": "category", "labels": [1], "others": False, "gaps": False}],
        [{"kind": "code", "labels": ["a", "a"], "gaps": False}],
        [{"kind": "date", "moment": FITTED["number"].to_json(), "cycles": ["moon"]}],
        [{"kind": "text", "buckets": 10**12}],
    ],
)
def test_a_lying_description_is_refused(fields: list[dict[str, object]]):
    with pytest.raises(ValueError, match=r"."):
        Encoders.from_json(fields)


@pytest.fixture
def table() -> TrainingData:
    rng = np.random.default_rng(3)
    height = rng.normal(170, 10, 50)
    height[:4] = NAN
    city = rng.integers(0, 3, 50).astype(float)
    city[7] = NAN
    return TrainingData(
        x=np.column_stack([height, city, rng.integers(0, 2, 50)]),
        y=height,
        feature_names=("height", "city", "member"),
        target_name="y",
        classes=None,
        labels={"city": ("Bonn", "Ulm", "Jena")},
    )


@pytest.mark.parametrize("scaling", ["none", "standard", "robust"])
def test_a_table_is_encoded_column_by_column_whatever_the_rows(table: TrainingData, scaling: str):
    train = np.arange(2, 50)
    encoders = Encoders.fit(table, train, ("number", "category", "boolean"), scaling)  # pyright: ignore[reportArgumentType]
    assert [encoder.width for encoder in encoders.columns] == [2, 4, 1]
    assert not encoders.are_plain
    encoded = encoders.encode(table.x, table.texts, overflow=AssertionError)
    raw = [RawColumn(table.x[:, index], table.texts[index]) for index in range(3)]
    parts = [encoder.encode(column) for encoder, column in zip(encoders.columns, raw, strict=True)]
    np.testing.assert_array_equal(encoded, np.hstack(parts).astype(np.float32))
    rows = np.array([49, 3, 3])
    np.testing.assert_array_equal(encoders.encode(table.x, table.texts, rows, overflow=AssertionError), encoded[rows])
    assert np.isfinite(encoded).all()


def test_only_training_rows_are_looked_at(table: TrainingData):
    train = np.arange(10, 50)
    fitted = Encoders.fit(table, train, ("number", "category", "boolean"), "robust")
    table.x[:10] = [1e9, 2, 0]
    assert Encoders.fit(table, train, ("number", "category", "boolean"), "robust") == fitted


def test_numbers_without_gaps_are_scaled_to_mean_0_and_deviation_1():
    x = np.random.default_rng(0).normal(5, 3, (200, 3))
    data = TrainingData(x, x[:, 0], ("a", "b", "c"), "y", None)
    encoders = Encoders.fit(data, np.arange(200), ("number",) * 3, "standard")
    assert encoders.are_plain
    encoded = encoders.encode(x, overflow=AssertionError)
    np.testing.assert_allclose(encoded, (x - x.mean(axis=0)) / x.std(axis=0), rtol=1e-5, atol=1e-6)


def test_what_exceeds_float32_is_told_with_its_column(table: TrainingData):
    encoders = Encoders.fit(table, np.arange(50), ("number", "category", "number"), "none")
    table.x[5, 2] = 1e39
    with pytest.raises(InvalidInputError, match="of member"):
        encoders.encode(
            table.x, table.texts, overflow=lambda feature: InvalidInputError(f"of {table.feature_names[feature]}")
        )
