"""Predictions of a trained model, with the uncertainty that Monte-Carlo dropout gives.

Gal and Ghahramani (2016), "Dropout as a Bayesian approximation": keep dropout active and look at the spread of
several passes. For a Gaussian likelihood the learned variance is the aleatoric part (Kendall and Gal 2017).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.streams import Purpose
from dropout_service.kernels.training.losses import LOG_VARIANCE_FLOOR
from dropout_service.nn.layer import Masks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from dropout_service.training.data import Label
    from dropout_service.training.trained import TrainedModel

    Values = NDArray[np.float64]

__all__ = ["Prediction", "predict"]

_CHUNK_ROWS = 512
"""Rows of a pass: a multiple of the 64 that a mask chunk must start at, small enough for the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says about n rows. Fields that do not apply are ``None``.

    Parameters
    ----------
    class_labels
        Classification: the k labels, in the order of the columns below.
    classes
        Classification: the most probable label of each row; the first of equals.
    probabilities
        Classification: shape (n, k), the mean over the samples when there are any.
    probabilities_std
        With samples: standard deviation of the probabilities over them, (n, k).
    entropy
        With samples: entropy of the mean probabilities in nats, (n,): the whole uncertainty.
    mutual_information
        With samples: entropy less the mean entropy of the samples, (n,): the part that more data could remove.
    values
        Regression: shape (n,), in the target's unit; the mean over the samples when there are any.
    std
        Regression with samples: standard deviation of the values over them, (n,): the epistemic part.
    aleatoric_std
        Regression with the loss ``gaussian_nll``: square root of the (mean) learned variance, (n,).
    mc_samples, seed
        What was asked for.
    """

    class_labels: tuple[Label, ...] | None = None
    classes: tuple[Label, ...] | None = None
    probabilities: Values | None = None
    probabilities_std: Values | None = None
    entropy: Values | None = None
    mutual_information: Values | None = None
    values: Values | None = None
    std: Values | None = None
    aleatoric_std: Values | None = None
    mc_samples: int | None = None
    seed: int = 0


def predict(
    model: TrainedModel,
    x: NDArray[Any],
    *,
    mc_samples: int | None = None,
    seed: int = 0,
    before_pass: Callable[[], None] = lambda: None,
) -> Prediction:
    """Predict rows of raw (not standardised) input.

    Parameters
    ----------
    model
        The model.
    x
        Features, shape (n, features), numeric and finite.
    mc_samples
        Number of passes with dropout active; ``None``: one pass without dropout.
    seed
        Of the masks. A row's masks depend on the seed, the sample and the row's place in ``x``; its figures do not
        depend on the rows after it, beyond the last bits of float32 in the matrix products. Except with DropBlock,
        whose scale counts what is kept of all rows of a pass, 512 at most.
    before_pass
        Called before each pass; what it raises ends the prediction.

    Returns
    -------
    Prediction
        Classes with probabilities, or values; standard deviations are those of the population of samples.

    Raises
    ------
    InvalidInputError
        ``/x``: not of shape (n, features), not numeric, or not finite; ``/mc_samples``: below 1;
        ``/seed``: not an unsigned 64-bit integer.
    """
    rows = _checked(model, x)
    if mc_samples is not None and mc_samples < 1:
        raise InvalidInputError.at("/mc_samples", f"must be 1 or more, not {mc_samples}")
    if not 0 <= seed < 1 << 64:
        raise InvalidInputError.at("/seed", f"must be from 0 to 2^64 - 1, not {seed}")
    network = model.network()
    summarize = _regression if model.classes is None else _classification
    parts: list[dict[str, Values]] = []
    for begin in range(0, len(rows), _CHUNK_ROWS):
        with np.errstate(over="ignore"):
            scaled = model.input_scaling.apply(rows[begin : begin + _CHUNK_ROWS]).astype(np.float32)
        if not np.isfinite(scaled).all():
            raise InvalidInputError.at("/x", "values exceed float32 after standardisation; check their unit")
        if mc_samples is None:
            before_pass()
            parts.append(summarize(model, iter([network.forward(scaled)]), sampled=False))
        else:
            masks = _masks(seed, mc_samples, first_row=begin, before_each=before_pass)
            parts.append(summarize(model, network.samples(scaled, masks), sampled=True))
    figures = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    prediction = Prediction(mc_samples=mc_samples, seed=seed)
    if model.classes is not None:
        best = figures["probabilities"].argmax(axis=1)
        prediction = replace(prediction, class_labels=model.classes, classes=tuple(model.classes[k] for k in best))
    return replace(prediction, **figures)


def _masks(seed: int, samples: int, *, first_row: int, before_each: Callable[[], None]) -> Iterator[Masks]:
    """Yield the masks of each sample, no earlier than its pass begins."""
    for sample in range(samples):
        before_each()
        yield Masks(seed, sample, Purpose.MC_SAMPLE, first_row=first_row)


def _checked(model: TrainedModel, x: NDArray[Any]) -> Values:
    """Return ``x`` as float64 after looking at its shape, type and values."""
    features = len(model.feature_names)
    if x.ndim != 2 or x.shape[1] != features:  # noqa: PLR2004 - rows and columns
        raise InvalidInputError.at("/x", f"shape {x.shape}; the model takes (rows, {features})")
    if not x.shape[0]:
        raise InvalidInputError.at("/x", "no rows; give one or more")
    if x.dtype.kind not in "fiub":
        raise InvalidInputError.at("/x", f"dtype {x.dtype}; the model takes real numbers")
    rows = x.astype(np.float64)
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise InvalidInputError.at(
            f"/x/{row}/{column}", f"{rows[row, column]} (column `{model.feature_names[column]}`) is not finite"
        )
    return rows


class _Moments:
    """Mean and variance of arrays that come one by one (Welford 1962): no sample is kept."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Values = np.zeros(())
        self._squares: Values = np.zeros(())

    def add(self, values: Values) -> None:
        self.count += 1
        before = values - self.mean
        self.mean = self.mean + before / self.count
        self._squares = self._squares + before * (values - self.mean)

    @property
    def std(self) -> Values:
        return np.sqrt(self._squares / self.count)


def _classification(model: TrainedModel, passes: Iterator[NDArray[np.floating]], *, sampled: bool) -> dict[str, Values]:
    binary = model.loss == "binary_cross_entropy"
    moments, mean_entropy = _Moments(), _Moments()
    for logits in passes:
        probabilities = _sigmoid(logits) if binary else _softmax(logits)
        moments.add(probabilities)
        if sampled:
            mean_entropy.add(_entropy(probabilities))
    if not sampled:
        return {"probabilities": moments.mean}
    entropy = _entropy(moments.mean)
    return {
        "probabilities": moments.mean,
        "probabilities_std": moments.std,
        "entropy": entropy,
        # Rounding can leave a difference of equals just below 0
        "mutual_information": np.maximum(entropy - mean_entropy.mean, 0.0),
    }


def _regression(model: TrainedModel, passes: Iterator[NDArray[np.floating]], *, sampled: bool) -> dict[str, Values]:
    scaling = model.target_scaling
    mean, unit = (0.0, 1.0) if scaling is None else (scaling.mean[0], scaling.scale[0])
    gaussian = model.loss == "gaussian_nll"
    values, variance = _Moments(), _Moments()
    for outputs in passes:
        values.add(outputs[:, 0].astype(np.float64))
        if gaussian:
            variance.add(np.exp(np.maximum(outputs[:, 1].astype(np.float64), LOG_VARIANCE_FLOOR)))
    figures = {"values": values.mean * unit + mean}
    if sampled:
        figures["std"] = values.std * unit
    if gaussian:
        figures["aleatoric_std"] = np.sqrt(variance.mean) * unit
    return figures


def _softmax(logits: NDArray[np.floating]) -> Values:
    probabilities = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def _sigmoid(logits: NDArray[np.floating]) -> Values:
    """Return the probabilities of both classes, from the logit of the second."""
    half = 0.5 * np.tanh(0.5 * logits[:, 0].astype(np.float64))
    return np.stack([0.5 - half, 0.5 + half], axis=1)


def _entropy(probabilities: Values) -> Values:
    """Return -sum p log p of each row, in nats."""
    # The smallest normal number stands in for 0: p log p is 0 there too
    return -(probabilities * np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))).sum(axis=1)
