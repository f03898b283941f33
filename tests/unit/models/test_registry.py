from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropout_service.blobs import BlobStore
from dropout_service.database.engine import writing
from dropout_service.errors import NotFoundError
from dropout_service.models import artifact
from dropout_service.models.cache import ModelCache
from dropout_service.models.prediction import predict
from dropout_service.models.registry import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from dropout_service.training.trained import TrainedModel

    MakeModel = Callable[..., TrainedModel]


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


@pytest.fixture
def registry(engine: Engine, blobs: BlobStore) -> ModelRegistry:
    return ModelRegistry(engine, blobs)


def test_put_record_get_load_delete(registry: ModelRegistry, blobs: BlobStore, make_model: MakeModel):
    trained = make_model(name="demo")
    draft = registry.put(trained, job_id="job_1")
    with pytest.raises(NotFoundError, match=draft.id):
        registry.get(draft.id)
    registry.record(draft)
    model = registry.get(draft.id)
    content = blobs.get(model.blob_key)
    assert content == artifact.dump(trained)
    assert model.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert (model.size_bytes, model.job_id, model.name, model.task) == (len(content), "job_1", "demo", "classification")
    assert model.weights_digest == trained.weights_digest
    assert model.description == artifact.description(trained)
    x = np.ones((2, 4))
    loaded, original = predict(registry.load(model), x).probabilities, predict(trained, x).probabilities
    assert loaded is not None
    assert original is not None
    np.testing.assert_array_equal(loaded, original)
    registry.delete(model.id)
    assert blobs.list("") == []
    for gone in (registry.get, registry.delete):
        with pytest.raises(NotFoundError, match=model.id):
            gone(model.id)


def test_a_model_is_recorded_only_if_the_transaction_is(
    registry: ModelRegistry, engine: Engine, blobs: BlobStore, make_model: MakeModel
):
    draft = registry.put(make_model(), job_id="job_1")

    def fenced() -> None:
        with writing(engine) as connection:
            registry.record(draft, connection)
            raise RuntimeError("the result does not count")

    with pytest.raises(RuntimeError, match="does not count"):
        fenced()
    assert registry.list(limit=10) == []
    registry.discard(draft)
    assert blobs.list("") == []
    with writing(engine) as connection:
        registry.record(registry.put(make_model(), job_id="job_1"), connection)
    assert len(registry.list(limit=10)) == 1


def test_lists_are_newest_first_and_by_job(registry: ModelRegistry, make_model: MakeModel):
    trained = make_model()
    drafts = [registry.put(trained, job_id=f"job_{index % 2}") for index in range(5)]
    for draft in drafts:
        registry.record(draft)
    ids = [draft.id for draft in reversed(drafts)]
    first = registry.list(limit=2)
    rest = registry.list(limit=9, after=first[-1].id)
    assert [model.id for model in first + rest] == ids
    assert [model.id for model in registry.list(limit=9, job_id="job_1")] == [ids[1], ids[3]]


def test_loaded_models_stay_in_memory_until_they_are_deleted(
    registry: ModelRegistry, blobs: BlobStore, make_model: MakeModel
):
    draft = registry.put(make_model(), job_id="job_1")
    registry.record(draft)
    model = registry.get(draft.id)
    assert registry.load(model) is registry.load(model)
    registry.delete(model.id)
    assert not blobs.exists(model.blob_key)
    with pytest.raises(NotFoundError):
        registry.load(model)


def test_the_cache_keeps_the_models_used_last(make_model: MakeModel):
    trained = make_model()
    loads: list[str] = []
    cache = ModelCache(max_bytes=100)

    def get(model_id: str, size_bytes: int = 40) -> None:
        def load() -> TrainedModel:
            loads.append(model_id)
            return trained

        cache.get(model_id, size_bytes, load)

    for model_id in ("a", "b", "a", "c", "a", "b"):
        get(model_id)
    assert loads == ["a", "b", "c", "b"]
    get("huge", 101)
    get("huge", 101)
    assert loads[4:] == ["huge", "huge"]
    get("a")
    cache.drop("a")
    cache.drop("never there")
    get("a")
    assert loads[6:] == ["a"]
