from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dropout_specs import DROPOUTS, model_with

from dropout_service.budgets import Budgets
from dropout_service.errors import InvalidInputError, OverBudgetError
from dropout_service.models.prediction import predict

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dropout_service.models.prediction import Prediction
    from dropout_service.training.trained import TrainedModel

    Floats = NDArray[Any]

LOSSES = ["binary_cross_entropy", "cross_entropy", "squared_error", "huber", "gaussian_nll", "quantile"]
X = np.random.default_rng(1).standard_normal((1100, 4)) * [1, 10, 100, 0.1] + 3


def figures(prediction: Prediction):
    """All arrays of a prediction by name."""
    names = (
        "probabilities",
        "probabilities_std",
        "entropy",
        "mutual_information",
        "values",
        "std",
        "aleatoric_std",
        "quantiles",
    )
    return {name: getattr(prediction, name) for name in names if getattr(prediction, name) is not None}


@pytest.mark.parametrize(
    ("loss", "names"),
    [
        ("binary_cross_entropy", {"probabilities"}),
        ("cross_entropy", {"probabilities"}),
        ("squared_error", {"values"}),
        ("gaussian_nll", {"values", "aleatoric_std"}),
        ("quantile", {"values", "quantiles"}),
    ],
)
def test_figures_that_apply_are_given(make_model: Callable[..., TrainedModel], loss: str, names: set[str]):
    model = make_model(loss)
    assert set(figures(predict(model, X))) == names
    sampled = set(figures(predict(model, X, mc_samples=2)))
    extra = {"std"} if "values" in names else {"probabilities_std", "entropy", "mutual_information"}
    assert sampled == names | extra


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy"])
def test_classes_are_the_most_probable_labels(make_model: Callable[..., TrainedModel], loss: str):
    model = make_model(loss)
    prediction = predict(model, X)
    np.testing.assert_allclose(prediction.probabilities.sum(axis=1), 1, rtol=1e-12)
    assert prediction.probabilities.shape == (len(X), len(model.classes))
    assert prediction.class_labels == model.classes
    assert prediction.classes == tuple(model.classes[k] for k in prediction.probabilities.argmax(axis=1))
    assert len(set(prediction.classes)) > 1


@pytest.mark.parametrize("loss", LOSSES)
def test_raw_input_is_standardised_as_in_training(make_model: Callable[..., TrainedModel], loss: str):
    """The plain composition in float64: scaling, layers, and the way back to the target's unit."""
    model = make_model(loss)
    h = model.encoders.encode(X, overflow=AssertionError).astype(np.float64)
    for i in range(3):
        h = h @ model.params[f"layers.{i}.weight"] + model.params[f"layers.{i}.bias"]
        h = np.maximum(h, 0) if i < 2 else h
    prediction = predict(model, X)
    if loss == "binary_cross_entropy":
        np.testing.assert_allclose(prediction.probabilities[:, 1], 1 / (1 + np.exp(-h[:, 0])), rtol=1e-4)
    elif loss == "cross_entropy":
        expected = np.exp(h) / np.exp(h).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(prediction.probabilities, expected, rtol=1e-4)
    else:
        mean, scale = model.target_scaling.mean[0], model.target_scaling.scale[0]
        h = np.sort(h, axis=1) if loss == "quantile" else h
        place = 1 if loss == "quantile" else 0
        np.testing.assert_allclose(prediction.values, h[:, place] * scale + mean, rtol=1e-4)
    if loss == "quantile":
        assert prediction.quantile_levels == (0.1, 0.5, 0.9)
        np.testing.assert_allclose(prediction.quantiles, h * scale + mean, rtol=1e-4)
    if loss == "gaussian_nll":
        np.testing.assert_allclose(prediction.aleatoric_std, np.exp(h[:, 1] / 2) * scale, rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_samples_are_repeated_by_their_seed(make_model: Callable[..., TrainedModel], loss: str):
    model = make_model(loss)
    one, same, other = (figures(predict(model, X, mc_samples=5, seed=seed)) for seed in (7, 7, 8))
    for name, values in one.items():
        assert values.tobytes() == same[name].tobytes()
        assert not np.array_equal(values, other[name])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rows", [1, 63, 512, 700])
def test_a_row_does_not_depend_on_the_rows_after_it(make_model: Callable[..., TrainedModel], loss: str, rows: int):
    model = make_model(loss)
    whole = figures(predict(model, X, mc_samples=4, seed=7))
    part = figures(predict(model, X[:rows], mc_samples=4, seed=7))
    for name, values in part.items():
        np.testing.assert_allclose(values, whole[name][:rows], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_more_samples_come_close_to_the_truth(make_model: Callable[..., TrainedModel], loss: str):
    """Mean and deviation of 400 samples agree with those of 400 others, within 6 standard errors."""
    model = make_model(loss)
    one, other = (predict(model, X[:5], mc_samples=400, seed=seed) for seed in (1, 2))
    if model.classes is None:
        means, deviation = (one.values, other.values), one.std
    else:
        means, deviation = (one.probabilities, other.probabilities), one.probabilities_std
    assert (deviation > 0).all()
    assert (np.abs(means[0] - means[1]) < 6 * deviation * np.sqrt(2 / 400)).all()


def test_mean_deviation_and_entropies_are_those_of_the_samples(make_model: Callable[..., TrainedModel]):
    """Against 8 single passes, which are samples of their own seeds no longer: so by the definition of each figure."""
    prediction = predict(make_model(), X, mc_samples=8, seed=3)
    p = prediction.probabilities
    np.testing.assert_allclose(prediction.entropy, -(p * np.log(p)).sum(axis=1), rtol=1e-9)
    assert (prediction.mutual_information >= 0).all()
    assert (prediction.mutual_information <= prediction.entropy + 1e-12).all()
    single = predict(make_model(), X, mc_samples=1, seed=3)
    np.testing.assert_allclose(single.probabilities_std, 0)
    np.testing.assert_allclose(single.mutual_information, 0, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_without_dropout_samples_do_not_spread(make_model: Callable[..., TrainedModel], loss: str):
    model = make_model(loss, model={"hidden": [16], "dropout": 0})
    plain, sampled = predict(model, X), predict(model, X, mc_samples=3)
    name = "values" if model.classes is None else "probabilities"
    np.testing.assert_allclose(getattr(sampled, name), getattr(plain, name), rtol=1e-12)
    deviation = sampled.std if model.classes is None else sampled.probabilities_std
    np.testing.assert_allclose(deviation, 0, atol=1e-9)


@pytest.mark.parametrize("variant", DROPOUTS)
def test_every_variant_gives_samples(make_model: Callable[..., TrainedModel], variant: str):
    """Over more than one pass of rows: the same by their seed, others by another, and none without."""
    model = make_model("squared_error", model=model_with(variant), epochs=3)
    one, same, other = (predict(model, X, mc_samples=3, seed=seed) for seed in (7, 7, 8))
    assert one.values.tobytes() == same.values.tobytes()
    assert not np.array_equal(one.values, other.values)
    assert (one.std > 0).mean() > 0.5  # three samples of drop_path agree on a third of the rows
    np.testing.assert_array_equal(predict(model, X, seed=7).values, predict(model, X, seed=8).values)
    np.testing.assert_allclose(predict(model, X[:512], mc_samples=3, seed=7).values, one.values[:512], rtol=1e-4)


@pytest.mark.parametrize("variant", DROPOUTS)
def test_without_samples_a_prediction_is_the_plain_network(make_model: Callable[..., TrainedModel], variant: str):
    """In evaluation nothing is left of any variant: the composition in float64."""
    model = make_model("squared_error", model=model_with(variant), epochs=3)
    h = model.encoders.encode(X, overflow=AssertionError).astype(np.float64)
    for i in range(3):
        z = h @ model.params[f"layers.{i}.weight"] + model.params[f"layers.{i}.bias"]
        past = h if i == 1 and model.spec.model.residual else 0
        h = z if i == 2 else np.maximum(z, 0) + past
    expected = h[:, 0] * model.target_scaling.scale[0] + model.target_scaling.mean[0]
    np.testing.assert_allclose(predict(model, X).values, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_any_real_dtype_is_taken(make_model: Callable[..., TrainedModel], dtype: type):
    x = np.array([[1, 0, 1, 1], [0, 0, 1, 0]]).astype(dtype)
    model = make_model()
    np.testing.assert_array_equal(predict(model, x).probabilities, predict(model, x.astype(np.float64)).probabilities)


@pytest.mark.parametrize(
    ("x", "pointer"),
    [
        (np.zeros((3, 5)), "/x"),
        (np.zeros(4), "/x"),
        (np.zeros((2, 2, 4)), "/x"),
        (np.zeros((0, 4)), "/x"),
        (np.zeros((3, 4), np.complex128), "/x"),
        (np.full((3, 4), "1"), "/x"),
        (np.array([[0, 0, 0, 0], [0, 0, np.nan, 0]]), "/x/1/2"),
        (np.array([[0, np.inf, 0, 0]]), "/x/0/1"),
        (np.full((1, 4), 1e300), "/x"),
    ],
)
def test_bad_rows_are_refused(make_model: Callable[..., TrainedModel], x: Floats, pointer: str):
    with pytest.raises(InvalidInputError) as caught:
        predict(make_model(), x)
    assert caught.value.errors[0].pointer == pointer


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_has_64_bits(make_model: Callable[..., TrainedModel], seed: int):
    with pytest.raises(InvalidInputError) as caught:
        predict(make_model(), X, mc_samples=1, seed=seed)
    assert caught.value.errors[0].pointer == "/seed"


def test_no_samples_are_refused(make_model: Callable[..., TrainedModel]):
    with pytest.raises(InvalidInputError) as caught:
        predict(make_model(), X, mc_samples=0)
    assert caught.value.errors[0].pointer == "/mc_samples"


@pytest.mark.parametrize("mc_samples", [None, 7])
def test_the_work_of_a_prediction_has_a_bound(make_model: Callable[..., TrainedModel], mc_samples: int | None):
    model = make_model("cross_entropy")
    weights = 4 * 16 + 16 * 8 + 8 * 3
    work = len(X) * (mc_samples or 1) * (weights + 256 * (16 + 8 + 3))
    predict(model, X, mc_samples=mc_samples, budgets=Budgets(prediction_operations=work))
    with pytest.raises(OverBudgetError, match="DROPOUT_SERVICE_MAX_PREDICTION_OPERATIONS") as caught:
        predict(model, X, mc_samples=mc_samples, budgets=Budgets(prediction_operations=work - 1))
    assert caught.value.excess.value == work
    assert caught.value.errors[0].pointer == ("/x" if mc_samples is None else "/mc_samples")


def test_the_size_of_a_prediction_has_a_bound(make_model: Callable[..., TrainedModel]):
    model = make_model("cross_entropy")
    predict(model, X, budgets=Budgets(prediction_elements=3 * len(X)))
    with pytest.raises(OverBudgetError, match="DROPOUT_SERVICE_MAX_PREDICTION_ELEMENTS"):
        predict(model, X, budgets=Budgets(prediction_elements=3 * len(X) - 1))


def test_what_is_refused_allocates_nothing(make_model: Callable[..., TrainedModel]):
    model = make_model("cross_entropy")
    rows = np.zeros((1 << 20, 4), np.float16)
    tracemalloc.start()
    try:
        with pytest.raises(OverBudgetError):
            predict(model, rows, mc_samples=10_000, budgets=Budgets())
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_rows_are_widened_in_pieces(make_model: Callable[..., TrainedModel]):
    model = make_model("squared_error")
    rows = np.zeros((200_000, 4), np.float16)
    tracemalloc.start()
    try:
        predict(model, rows)
        assert tracemalloc.get_traced_memory()[1] < 200_000 * 4 * 8  # as float64 the rows alone
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mc_samples", [None, 10_000])
def test_what_is_raised_before_a_pass_ends_the_prediction(
    make_model: Callable[..., TrainedModel], mc_samples: int | None
):
    model = make_model()
    passes = 0

    def stop_at_the_third() -> None:
        nonlocal passes
        passes += 1
        if passes == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        predict(model, X, mc_samples=mc_samples, before_pass=stop_at_the_third)
    assert passes == 3
