"""``client.models`` and its handles: :class:`Model`, :class:`AsyncModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_client import model_handle
from dropout_client.binding import (
    AsyncResource,
    Resource,
    asking,
    async_asking,
    awaiting,
    awaiting_as,
    awaiting_each,
    blocking,
    blocking_as,
    blocking_each,
)
from dropout_client.model_flows import delete_model, get_model, list_models

if TYPE_CHECKING:
    from dropout_client.records import ModelRecord
    from dropout_client.transport import AsyncRunner, Runner

__all__ = ["AsyncModel", "AsyncModels", "Model", "Models"]


class Model(model_handle.ModelState, Resource):
    """A trained network that the service keeps."""

    def __init__(self, runner: Runner, record: ModelRecord) -> None:
        Resource.__init__(self, runner)
        self.record = record

    predict = asking(model_handle.predict)
    download = asking(model_handle.download)
    delete = asking(model_handle.delete)


class AsyncModel(model_handle.ModelState, AsyncResource):
    """As :class:`Model`, awaiting."""

    def __init__(self, runner: AsyncRunner, record: ModelRecord) -> None:
        AsyncResource.__init__(self, runner)
        self.record = record

    predict = async_asking(model_handle.predict)
    download = async_asking(model_handle.download)
    delete = async_asking(model_handle.delete)


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
