"""``client.models`` and its handles: :class:`Model`, :class:`AsyncModel`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dropout_client.binding import (
    AsyncResource,
    Resource,
    awaiting,
    awaiting_as,
    awaiting_each,
    blocking,
    blocking_as,
    blocking_each,
)
from dropout_client.downloads import download
from dropout_client.flows import Request, send
from dropout_client.paging import pages
from dropout_client.predictions import predict
from dropout_client.records import ModelRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dropout_client.arrays import ArrayLike
    from dropout_client.flows import Flow, Stream
    from dropout_client.predictions import Prediction
    from dropout_client.records import Label
    from dropout_client.transport import AsyncRunner, Runner

__all__ = ["AsyncModel", "AsyncModels", "Model", "Models", "get_model"]


def get_model(model_id: str) -> Flow[ModelRecord]:
    """Read what a model is: its specification, features, classes, metrics."""
    response = yield from send(Request(method="GET", path=f"/models/{model_id}"))
    return ModelRecord.from_json(response.json())


def list_models(*, job: str | None = None, limit: int | None = None) -> Stream[ModelRecord]:
    """Iterate the models, newest first, fetching pages as needed.

    Parameters
    ----------
    job
        Only the models of this job.
    limit
        The most to give.
    """
    return pages("/models", ModelRecord.from_json, limit=limit, job=job)


def delete_model(model_id: str) -> Flow[None]:
    """Delete a model."""
    yield from send(Request(method="DELETE", path=f"/models/{model_id}"))


def download_model(record: ModelRecord, path: str | Path) -> Flow[Path]:
    """Write the model's safetensors file, checked against its digest."""
    return download(f"/models/{record.id}/weights", Path(path), digest=record.digest)


class _ModelState:
    """What is known of a model; it never changes."""

    def __init__(self, record: ModelRecord) -> None:
        self.record = record

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


class Model(_ModelState):
    """A trained network that the service keeps."""

    def __init__(self, runner: Runner, record: ModelRecord) -> None:
        super().__init__(record)
        self._runner = runner

    def predict(self, x: ArrayLike, *, mc_samples: int | None = None, seed: int = 0) -> Prediction:
        """Predict.

        Parameters
        ----------
        x
            Raw features, shape (rows, features): an array, lists or a data frame. The model scales them itself.
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
        return self._runner.run(predict(self.id, x, mc_samples=mc_samples, seed=seed))

    def download(self, path: str | Path) -> Path:
        """Write the safetensors file (weights, and the description as metadata), checked against its digest."""
        return self._runner.run(download_model(self.record, path))

    def delete(self) -> None:
        """Delete the model."""
        self._runner.run(delete_model(self.id))


class AsyncModel(_ModelState):
    """As :class:`Model`, awaiting."""

    def __init__(self, runner: AsyncRunner, record: ModelRecord) -> None:
        super().__init__(record)
        self._runner = runner

    async def predict(self, x: ArrayLike, *, mc_samples: int | None = None, seed: int = 0) -> Prediction:
        """As :meth:`Model.predict`."""
        return await self._runner.run(predict(self.id, x, mc_samples=mc_samples, seed=seed))

    async def download(self, path: str | Path) -> Path:
        """As :meth:`Model.download`."""
        return await self._runner.run(download_model(self.record, path))

    async def delete(self) -> None:
        """As :meth:`Model.delete`."""
        await self._runner.run(delete_model(self.id))


class Models(Resource):
    """``client.models``."""

    get = blocking_as(Model, get_model)
    list = blocking_each(Model, list_models)
    delete = blocking(delete_model)


class AsyncModels(AsyncResource):
    """``client.models``, awaiting; ``list`` is for ``async for``."""

    get = awaiting_as(AsyncModel, get_model)
    list = awaiting_each(AsyncModel, list_models)
    delete = awaiting(delete_model)
