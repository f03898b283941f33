"""Predictions: rows in, arrays out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropout_client import arrays, safetensors
from dropout_client.arrays import ArrayLike, SupportsArrow
from dropout_client.errors import UnexpectedResponseError
from dropout_client.flows import Request, send
from dropout_client.formats import MEDIA_TYPES, format_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dropout_client.flows import Body, Flow
    from dropout_client.records import Label

__all__ = ["ClassPrediction", "Prediction", "Rows", "ValuePrediction", "predict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sampled:
    """What a model predicts; what is ``None`` needs ``mc_samples``.

    Attributes
    ----------
    mc_samples, seed
        How many passes with dropout were averaged, and what their masks follow from.
    """

    mc_samples: int | None
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPrediction(_Sampled):
    """Of a classification, for n rows and k classes.

    Attributes
    ----------
    classes
        The most probable label of each row, shape (n,).
    probabilities, probabilities_std
        Shape (n, k): the mean over the passes, and the standard deviation between them.
    entropy
        Shape (n,), in nats: how undecided the mean is.
    mutual_information
        Shape (n,), in nats: the part of it that comes from the passes disagreeing, which more data would lower.
    class_labels
        The k labels, in the order of the columns.
    """

    classes: NDArray[Any]
    probabilities: NDArray[np.floating[Any]]
    probabilities_std: NDArray[np.floating[Any]] | None
    entropy: NDArray[np.floating[Any]] | None
    mutual_information: NDArray[np.floating[Any]] | None
    class_labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuePrediction(_Sampled):
    """Of a regression, for n rows.

    Attributes
    ----------
    values
        Shape (n,), in the unit of the target.
    std
        Shape (n,): the standard deviation between the passes.
    aleatoric_std
        Shape (n,): the noise of the target that the network has learned (loss ``gaussian_nll``).
    quantiles
        Shape (n, q), rising (loss ``quantile``); ``values`` is the one nearest to the median.
    quantile_levels
        The q levels, in the order of the columns.
    target_names
        Of several targets their t names: the arrays then have an axis of targets after that of the rows, (n, t).
    """

    values: NDArray[np.floating[Any]]
    std: NDArray[np.floating[Any]] | None
    aleatoric_std: NDArray[np.floating[Any]] | None
    quantiles: NDArray[np.floating[Any]] | None = None
    quantile_levels: tuple[float, ...] | None = None
    target_names: tuple[str, ...] | None = None


Prediction = ClassPrediction | ValuePrediction
"""What ``predict`` gives: by the task of the model, one or the other."""

Rows = ArrayLike | SupportsArrow | Path
"""Rows to predict: a data frame, an Arrow table or a list of dictionaries, by column name; the path of a csv, Parquet,
Arrow or npy file; or an array, its columns in the order of the model's features."""

_JSON = "application/json"
_TIMEOUT_S = 600.0


def predict(model_id: str, x: Rows, *, mc_samples: int | None = None, seed: int = 0) -> Flow[Prediction]:
    """Let a model predict; see ``model_handle.predict``."""
    media_type, body = _content(x)
    response = yield from send(
        Request(
            method="POST",
            path=f"/models/{model_id}/predict",
            params={"mc_samples": mc_samples, "seed": seed},
            headers={"Content-Type": media_type, "Accept": safetensors.MEDIA_TYPE},
            body=body,
            timeout_s=_TIMEOUT_S,
            repeat_after_timeout=False,
        )
    )
    return _prediction(*safetensors.decode(response.content))


def _content(x: Rows) -> tuple[str, Body]:
    """Media type and content of a request for rows."""
    if isinstance(x, Path):
        kind = format_of(x) or "csv"
        if kind != "npy":
            return MEDIA_TYPES[kind], x
        x = arrays.from_npy(x)
    if arrays.is_table(x):
        content, kind = arrays.to_table(x)
        return MEDIA_TYPES[kind], content
    records = arrays.to_records(x)
    if records is not None:
        return _JSON, json.dumps({"records": records}, default=arrays.plain_value, allow_nan=False).encode()
    return MEDIA_TYPES["npy"], arrays.to_npy(arrays.to_features(x))


def _prediction(tensors: dict[str, NDArray[Any]], facts: dict[str, str]) -> Prediction:
    samples, seed = (json.loads(facts.get(name, "null")) for name in ("mc_samples", "seed"))
    if "probabilities" in tensors:
        labels: Sequence[Label] = json.loads(facts["class_labels"])
        probabilities = tensors["probabilities"]
        return ClassPrediction(
            mc_samples=samples,
            seed=seed,
            classes=_labelled(probabilities.argmax(axis=1), labels),
            probabilities=probabilities,
            probabilities_std=tensors.get("probabilities_std"),
            entropy=tensors.get("entropy"),
            mutual_information=tensors.get("mutual_information"),
            class_labels=tuple(labels),
        )
    if "values" in tensors:
        levels: Sequence[float] | None = json.loads(facts.get("quantile_levels", "null"))
        targets: Sequence[str] | None = json.loads(facts.get("target_names", "null"))
        return ValuePrediction(
            mc_samples=samples,
            seed=seed,
            values=tensors["values"],
            std=tensors.get("std"),
            aleatoric_std=tensors.get("aleatoric_std"),
            quantiles=tensors.get("quantiles"),
            quantile_levels=None if levels is None else tuple(levels),
            target_names=None if targets is None else tuple(targets),
        )
    raise UnexpectedResponseError("the answer holds neither `probabilities` nor `values`")


def _labelled(indices: NDArray[Any], labels: Sequence[Label]) -> NDArray[Any]:
    import numpy as np

    # Labels of several types stay what they are; NumPy would make text of them all.
    mixed = len({type(label) for label in labels}) > 1
    return np.asarray(labels, dtype=np.object_ if mixed else None)[indices]
