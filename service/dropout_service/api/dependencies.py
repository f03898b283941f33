"""What routes ask for: ``jobs: Jobs`` in a route's signature is the job store of this application.

Each name is the type with its provider, so that a route reads no state by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import Depends, Request

from dropout_service.api.state import Limits
from dropout_service.errors import FieldError, InvalidInputError

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant
    from sqlalchemy import Engine

    from dropout_service.api.compute import ComputePool
    from dropout_service.api.state import State
    from dropout_service.blobs import BlobStore
    from dropout_service.datasets.reader import Reader
    from dropout_service.datasets.registry import DatasetRegistry
    from dropout_service.jobs.store import JobStore
    from dropout_service.jobs.watch import Watcher
    from dropout_service.models.registry import ModelRegistry

__all__ = [
    "Blobs",
    "Compute",
    "Database",
    "Datasets",
    "Jobs",
    "Models",
    "RequestLimits",
    "TableReader",
    "Watch",
    "known_query",
    "state_of",
]


def state_of(request: Request) -> State:
    """Return the lifespan state that the request carries."""
    return cast("State", request.scope["state"])


def _database(request: Request) -> Any:
    return state_of(request)["database"]


def _blobs(request: Request) -> Any:
    return state_of(request)["blobs"]


def _jobs(request: Request) -> Any:
    return state_of(request)["jobs"]


def _datasets(request: Request) -> Any:
    return state_of(request)["datasets"]


def _reader(request: Request) -> Any:
    return state_of(request)["reader"]


def _models(request: Request) -> Any:
    return state_of(request)["models"]


def _watcher(request: Request) -> Any:
    return state_of(request)["watcher"]


def _compute(request: Request) -> Any:
    return state_of(request)["compute"]


def _limits(request: Request) -> Any:
    return state_of(request)["limits"]


# The quoted types are for the reader and the type checker: what a provider returns is not validated, so FastAPI
# does not need them at run time.
Database = Annotated["Engine", Depends(_database)]
Blobs = Annotated["BlobStore", Depends(_blobs)]
Jobs = Annotated["JobStore", Depends(_jobs)]
Datasets = Annotated["DatasetRegistry", Depends(_datasets)]
TableReader = Annotated["Reader", Depends(_reader)]
Models = Annotated["ModelRegistry", Depends(_models)]
Watch = Annotated["Watcher", Depends(_watcher)]
Compute = Annotated["ComputePool", Depends(_compute)]
RequestLimits = Annotated[Limits, Depends(_limits)]


async def known_query(request: Request) -> None:
    """Reject query parameters that the route does not have, or that occur twice: nothing of a request is ignored."""
    if not request.scope["query_string"]:
        return
    known = set(_query_names(request.scope["route"].dependant))
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        right = f"this operation has {_listed(sorted(known))}" if known else "this operation has none"
        raise InvalidInputError(
            f"unknown query parameter {_listed(unknown)}",
            errors=[FieldError(f"/{name}", f"unknown query parameter; {right}") for name in unknown],
        )
    repeated = next((name for name in known if len(request.query_params.getlist(name)) > 1), None)
    if repeated is not None:
        raise InvalidInputError.at(f"/{repeated}", "the query has this parameter twice; give it once")


def _query_names(dependant: Dependant) -> list[str]:
    names = [field.alias for field in dependant.query_params]
    for dependency in dependant.dependencies:
        names += _query_names(dependency)
    return names


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
