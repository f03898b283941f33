"""Models that were used lately stay in memory: predicting one row should not read and check a file each time."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.trained import TrainedModel

__all__ = ["ModelCache"]


class ModelCache:
    """The least recently used model goes first when there are too many bytes of them; used by any thread.

    Parameters
    ----------
    max_bytes
        Bound of the sizes together; a model above it is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._models: OrderedDict[str, tuple[TrainedModel, int]] = OrderedDict()
        self._size_bytes = 0

    def get(self, model_id: str, size_bytes: int, load: Callable[[], TrainedModel]) -> TrainedModel:
        """Return the model, loaded if it is not here. Two threads may load the same one; they do not wait."""
        with self._lock:
            if model_id in self._models:
                self._models.move_to_end(model_id)
                return self._models[model_id][0]
        model = load()
        with self._lock:
            if model_id not in self._models and size_bytes <= self._max_bytes:
                self._models[model_id] = model, size_bytes
                self._size_bytes += size_bytes
            while self._size_bytes > self._max_bytes:
                _, (_, size_bytes) = self._models.popitem(last=False)
                self._size_bytes -= size_bytes
        return model

    def drop(self, model_id: str) -> None:
        """Forget a model."""
        with self._lock:
            _, size_bytes = self._models.pop(model_id, (None, 0))
            self._size_bytes -= size_bytes
