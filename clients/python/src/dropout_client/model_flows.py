"""What can be done with models, as flows; :mod:`dropout_client.models` makes methods of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_client.flows import Request, send
from dropout_client.paging import pages
from dropout_client.records import ModelRecord

if TYPE_CHECKING:
    from dropout_client.flows import Flow, Stream

__all__ = ["delete_model", "get_model", "list_models"]


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
