"""What a handle of a model knows, and what can be done with it, as flows.

:mod:`dropout_client.models` makes methods of them, for :class:`Model` and :class:`AsyncModel`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dropout_client import downloads, predictions
from dropout_client.model_flows import delete_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dropout_client.flows import Flow
    from dropout_client.predictions import Prediction, Rows
    from dropout_client.records import Label, ModelRecord

__all__ = ["ModelState", "delete", "download", "predict"]


class ModelState:
    """What is known of a model; it never changes."""

    record: ModelRecord

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.task}>"

    @property
    def id(self) -> str:
        """The model's id."""
        return self.record.id

    @property
    def name(self) -> str | None:
        """The name of the job that trained it."""
        return self.record.name

    @property
    def task(self) -> str:
        """``classification`` or ``regression``."""
        return self.record.task

    @property
    def description(self) -> Mapping[str, Any]:
        """The specification, names of features and target, classes, layers and metrics."""
        return self.record.description

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns that a prediction takes, in their order."""
        return tuple(self.description.get("feature_names") or ())

    @property
    def classes(self) -> tuple[Label, ...] | None:
        """The labels of a classification, in the order of the probabilities."""
        classes = self.description.get("classes")
        return None if classes is None else tuple(classes)

    @property
    def weights_digest(self) -> str | None:
        """``sha256:...`` of the weights; equal for equal trainings."""
        return self.record.weights_digest


def predict(model: ModelState, x: Rows, *, mc_samples: int | None = None, seed: int = 0) -> Flow[Prediction]:
    """Predict.

    Parameters
    ----------
    x
        Raw rows: a data frame (pandas, polars), an Arrow table or a list of dictionaries, whose columns are found by
        name, with gaps and values that are new; the path of such a csv, Parquet or Arrow file; or an array or lists of
        numbers, shape (rows, features), with the columns in the order of ``feature_names``. The model encodes and
        scales them itself. A data frame or Arrow table travels as Parquet where pyarrow is installed.
    mc_samples
        Passes with dropout switched on (Gal and Ghahramani 2016), which tell how sure the network is.
        ``None``: one pass without dropout.
    seed
        What the masks of those passes follow from; the same seed gives the same prediction.

    Returns
    -------
    ClassPrediction | ValuePrediction
        Of a classification, or of a regression.
    """
    return predictions.predict(model.id, x, mc_samples=mc_samples, seed=seed)


def download(model: ModelState, path: str | Path) -> Flow[Path]:
    """Write the safetensors file (weights, and the description as metadata), checked against its digest."""
    return downloads.download(f"/models/{model.id}/weights", Path(path), digest=model.record.digest)


def delete(model: ModelState) -> Flow[None]:
    """Delete the model."""
    return delete_model(model.id)
