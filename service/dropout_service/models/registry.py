"""``ModelRegistry``: trained models in the database, their weights in the blob store."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from dropout_service.database.clock import now_s
from dropout_service.database.engine import reading, writing
from dropout_service.database.ids import new_id
from dropout_service.errors import InvalidInputError, NotFoundError, ServiceError
from dropout_service.models.artifact import description, dump, load
from dropout_service.models.cache import ModelCache
from dropout_service.models.tables import models

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from dropout_service.blobs import BlobStore
    from dropout_service.training.trained import TrainedModel

__all__ = ["Model", "ModelDraft", "ModelRegistry"]


@dataclass(frozen=True, slots=True)
class ModelDraft:
    """A model whose artefact is stored, and which is not in the registry yet.

    Parameters
    ----------
    id
        Sorts by the time of its making.
    job_id
        The job that trained it.
    name
        A name for people, that of the job.
    task
        ``classification`` or ``regression``.
    size_bytes, digest
        Of the artefact, a safetensors file; ``sha256:...``.
    weights_digest
        Of the weights alone: equal for equal trainings.
    description
        All of the model but its weights, as JSON values.
    blob_key
        Where the artefact is.
    """

    id: str
    job_id: str
    name: str | None
    task: str
    size_bytes: int
    digest: str
    weights_digest: str
    description: dict[str, Any]
    blob_key: str


@dataclass(frozen=True, slots=True)
class Model(ModelDraft):
    """A model in the registry.

    Parameters
    ----------
    created_at
        Seconds since 1970 by the database's clock.
    """

    created_at: float


class ModelRegistry:
    """Models, each made by a job.

    A model is first ``put``, which stores its artefact, and then recorded in the transaction that also ends the job,
    so that an attempt whose result does not count leaves no model::

        draft = models.put(trained, job_id=job.id)
        if not jobs.finish(..., in_transaction=lambda connection: models.record(draft, connection)):
            models.discard(draft)

    Parameters
    ----------
    engine
        The database.
    blobs
        Where the artefacts go.
    cache_bytes
        Size of the models that are kept in memory.
    """

    def __init__(self, engine: Engine, blobs: BlobStore, *, cache_bytes: int = 256 << 20) -> None:
        self._engine = engine
        self._blobs = blobs
        self._cache = ModelCache(cache_bytes)

    def put(self, trained: TrainedModel, *, job_id: str) -> ModelDraft:
        """Store the artefact of a trained model."""
        model_id = new_id("model")
        artifact = dump(trained)
        draft = ModelDraft(
            id=model_id,
            job_id=job_id,
            name=trained.spec.name,
            task=trained.spec.task,
            size_bytes=len(artifact),
            digest=f"sha256:{hashlib.sha256(artifact).hexdigest()}",
            weights_digest=trained.weights_digest,
            description=description(trained),
            blob_key=f"models/{model_id}",
        )
        self._blobs.put(draft.blob_key, artifact)
        return draft

    def record(self, draft: ModelDraft, connection: Connection | None = None) -> None:
        """Enter a model into the registry.

        Parameters
        ----------
        draft
            What ``put`` returned.
        connection
            An open transaction to do it in. Default: one of its own.
        """
        statement = insert(models).values(**asdict(draft), created_at=now_s())
        if connection is not None:
            connection.execute(statement)
        else:
            with writing(self._engine) as own:
                own.execute(statement)

    def discard(self, draft: ModelDraft) -> None:
        """Remove the artefact of a model that was not recorded."""
        self._blobs.discard(draft.blob_key)

    def get(self, model_id: str) -> Model:
        """Find a model.

        Raises
        ------
        NotFoundError
            There is none with this id.
        """
        with reading(self._engine) as connection:
            row = connection.execute(select(models).where(models.c.id == model_id)).mappings().one_or_none()
        if row is None:
            raise _no_such(model_id)
        return Model(**row)

    def load(self, model: Model) -> TrainedModel:
        """Read a model's artefact, or take it from memory when it was used lately.

        Raises
        ------
        NotFoundError
            The model has been deleted.
        ServiceError
            The stored file is damaged, or of a version that this one cannot read.
        """
        return self._cache.get(model.id, model.size_bytes, lambda: self._read(model))

    def _read(self, model: Model) -> TrainedModel:
        try:
            return load(self._blobs.get(model.blob_key))
        except InvalidInputError as error:  # a fault of ours, not of who asks for a prediction
            raise ServiceError(f"the stored file of model `{model.id}` cannot be read: {error.message}") from error

    def list(self, *, limit: int, after: str | None = None, job_id: str | None = None) -> list[Model]:
        """List up to ``limit`` models, the newest first, that come after the id ``after`` in that order."""
        query = select(models).order_by(models.c.id.desc()).limit(limit)
        if after is not None:
            query = query.where(models.c.id < after)
        if job_id is not None:
            query = query.where(models.c.job_id == job_id)
        with reading(self._engine) as connection:
            return [Model(**row) for row in connection.execute(query).mappings()]

    def delete(self, model_id: str) -> None:
        """Remove a model and its artefact.

        Raises
        ------
        NotFoundError
            There is none with this id.
        """
        with writing(self._engine) as connection:
            gone = models.delete().where(models.c.id == model_id).returning(models.c.blob_key)
            blob_key = connection.execute(gone).scalar_one_or_none()
        if blob_key is None:
            raise _no_such(model_id)
        self._cache.drop(model_id)
        self._blobs.discard(blob_key)


def _no_such(model_id: str) -> NotFoundError:
    return NotFoundError(f"there is no model `{model_id}`; GET /models lists them")
