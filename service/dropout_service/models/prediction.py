"""Predictions of a trained model, with the uncertainty that Monte-Carlo dropout and several networks give.

Gal and Ghahramani (2016), "Dropout as a Bayesian approximation": keep dropout active and look at the spread of
several passes. The networks of an ensemble are passes too (Lakshminarayanan, Pritzel and Blundell 2017, "Simple and
scalable predictive uncertainty estimation using deep ensembles"). For a Gaussian likelihood the learned variance is the
aleatoric part (Kendall and Gal 2017).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.models.rows import Rows, rows_of_array
from dropout_service.nn.heads import QuantileHead
from dropout_service.nn.mode import EVALUATION, Mode, member_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from dropout_service.budgets import Budgets
    from dropout_service.nn.network import Network
    from dropout_service.training.data import Label
    from dropout_service.training.trained import TrainedModel

    Values = NDArray[np.float64]

__all__ = ["Prediction", "predict"]

_UNIT_OPERATIONS = 256
"""Multiplications that take as long as a unit does apart from its weights: its mask, its activation, its moments."""

_CHUNK_ROWS = 512
"""Rows of a pass: a multiple of the 64 that a mask chunk must start at, small enough for the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says about n rows. Fields that do not apply are ``None``.

    The samples are the passes with dropout active, of each network of an ensemble; without any, its networks' own.

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
        Regression: shape (n,), in the target's unit; the mean over the samples when there are any. With a
        ``target_transform`` that mean, and those below, are taken of transformed values: a median rather than a mean.
    std
        Regression with samples: standard deviation of the values over them in the target's unit, (n,): the epistemic
        part.
    aleatoric_std
        Regression with the loss ``gaussian_nll``: square root of the (mean) learned variance, (n,); with a
        ``target_transform`` of the variance that this gives the target in its unit.
    quantiles
        Regression with the loss ``quantile``: shape (n, q), rising; the mean over the samples when there are any.
    quantile_levels
        The q levels, in the order of the columns.
    target_names
        Regression of several targets: their t names. The figures of a regression then have an axis of targets after
        that of the rows: (n, t), and (n, t, q).
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
    quantiles: Values | None = None
    quantile_levels: tuple[float, ...] | None = None
    target_names: tuple[str, ...] | None = None
    mc_samples: int | None = None
    seed: int = 0


def predict(
    model: TrainedModel,
    x: NDArray[Any] | Rows,
    *,
    mc_samples: int | None = None,
    seed: int = 0,
    budgets: Budgets | None = None,
    before_pass: Callable[[], None] = lambda: None,
) -> Prediction:
    """Predict raw rows: as they stand in a table, not encoded.

    Parameters
    ----------
    model
        The model.
    x
        The rows; an array as ``rows_of_array`` takes it.
    mc_samples
        Number of passes with dropout active, of each network; ``None``: one pass without dropout.
    seed
        Of the masks. A row's masks depend on the seed, the sample and the row's place in ``x``; its figures do not
        depend on the rows after it, beyond the last bits of float32 in the matrix products. Except with DropBlock,
        whose scale counts what is kept of all rows of a pass, 512 at most.
    budgets
        Bounds of what is computed and answered; ``None``: none.
    before_pass
        Called before each pass; what it raises ends the prediction.

    Returns
    -------
    Prediction
        Classes with probabilities, or values; standard deviations are those of the population of samples.

    Raises
    ------
    InvalidInputError
        ``/x``: see ``rows_of_array``, or values beyond float32 once they are scaled; ``/mc_samples``: below 1;
        ``/seed``: not an unsigned 64-bit integer.
    OverBudgetError
        So many rows and samples of so large a network are too much.
    """
    count = len(x.x) if isinstance(x, Rows) else x.size // max(1, len(model.feature_names))
    if budgets is not None:
        _check_budgets(model, count, mc_samples, budgets)
    rows = x if isinstance(x, Rows) else rows_of_array(model, x)
    if mc_samples is not None and mc_samples < 1:
        raise InvalidInputError.at("/mc_samples", f"must be 1 or more, not {mc_samples}")
    if not 0 <= seed < 1 << 64:
        raise InvalidInputError.at("/seed", f"must be from 0 to 2^64 - 1, not {seed}")
    networks, unit = model.networks(), model.targets.unit
    sampled = mc_samples is not None or model.members > 1
    parts: list[dict[str, Values]] = []
    for begin in range(0, len(rows.x), _CHUNK_ROWS):
        chosen = np.arange(begin, min(begin + _CHUNK_ROWS, len(rows.x)))
        scaled = model.encoders.encode(rows.x, rows.texts, chosen, overflow=_overflow)
        fault = next(iter(networks)).find_fault(scaled)
        if fault is not None:
            row, column, wrong = fault
            feature = model.encoders.feature_of(column)
            message = f"column `{model.feature_names[feature]}`: {wrong}"
            raise InvalidInputError.at(f"/x/{begin + row}/{feature}", message)
        passes = chain.from_iterable(
            _passes(network, scaled, _modes(seed, member, mc_samples, first_row=begin), before_pass)
            for member, network in enumerate(networks)
        )
        parts.append(model.head.figures(passes, sampled=sampled, unit=unit))
    figures = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    prediction = Prediction(mc_samples=mc_samples, seed=seed)
    if model.classes is not None:
        best = figures["probabilities"].argmax(axis=1)
        prediction = replace(prediction, class_labels=model.classes, classes=tuple(model.classes[k] for k in best))
    levels = model.head.levels if isinstance(model.head, QuantileHead) else None
    return replace(prediction, target_names=model.target_names, quantile_levels=levels, **figures)


def _passes(
    network: Network, x: NDArray[Any], modes: Sequence[Mode], before_pass: Callable[[], None]
) -> Iterator[NDArray[Any]]:
    """Yield the outputs of a network in each mode, none computed before it is asked for."""

    def asked() -> Iterator[Mode]:
        for mode in modes:
            before_pass()
            yield mode

    if modes[0] is EVALUATION:
        before_pass()
        return iter([network.forward(x, EVALUATION)])
    return network.samples(x, asked())


def _modes(seed: int, member: int, samples: int | None, *, first_row: int) -> Sequence[Mode]:
    """Return the modes of the passes of a network; masks of the first are those of the seed itself."""
    if samples is None:
        return [EVALUATION]
    own = member_seed(seed, member)
    return [Mode.monte_carlo(own, sample, first_row=first_row) for sample in range(samples)]


def _overflow(_feature: int) -> InvalidInputError:
    return InvalidInputError.at("/x", "values exceed float32 after standardisation; check their unit")


def _check_budgets(model: TrainedModel, rows: int, mc_samples: int | None, budgets: Budgets) -> None:
    size = sum(layer.multiplications + _UNIT_OPERATIONS * layer.units for layer in model.bare_layers() if layer.shapes)
    budgets.check("prediction_elements", rows * model.answer_columns, pointer="/x", remedy="send fewer rows at a time")
    operations = rows * (mc_samples or 1) * model.members * size
    pointer, fewer = ("/x", "rows") if mc_samples is None else ("/mc_samples", "samples, or fewer rows at a time")
    budgets.check("prediction_operations", operations, pointer=pointer, remedy=f"ask for fewer {fewer}")
