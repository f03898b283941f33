"""Models: list, read, download, predict, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from dropout_service.api.arrays.safetensors import SAFETENSORS
from dropout_service.api.dependencies import Blobs, Models
from dropout_service.api.http.downloads import DOWNLOAD_RESPONSES, download
from dropout_service.api.http.pages import Page, PageQuery
from dropout_service.api.http.problems import problem_responses
from dropout_service.api.models import predictions

__all__ = ["ModelReport", "router"]

router = APIRouter(prefix="/models", tags=["models"])
router.include_router(predictions.router)


class ModelReport(BaseModel):
    """A trained model."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    id: str
    job: str = Field(validation_alias=AliasChoices("job_id", "job"), description="Id of the job that trained it.")
    name: str | None = Field(description="Name of the job.")
    task: Literal["classification", "regression"]
    created_at: datetime = Field(description="When its training ended (UTC).")
    size_bytes: int = Field(description="Size of the safetensors file.")
    digest: str = Field(description="`sha256:...` of the safetensors file; its ETag too.")
    weights_digest: str = Field(description="`sha256:...` of the weights: the same training gives the same.")
    description: dict[str, Any] = Field(
        description="All of the model but its weights: specification, names of features and target, classes, scaling, "
        "layers, metrics of the epoch whose weights these are."
    )


@router.get("", operation_id="list_models", summary="List models", responses=problem_responses())
def list_models(
    models: Models,
    page: PageQuery,
    job: Annotated[str | None, Query(description="Only the models of this job.")] = None,
) -> Page[ModelReport]:
    """Give the models, newest first, in pages."""
    found = models.list(limit=page.limit + 1, after=page.after, job_id=job)
    return Page[ModelReport].of(found, limit=page.limit, key=lambda model: model.id, item=ModelReport.model_validate)


@router.get("/{model_id}", operation_id="get_model", summary="Read a model", responses=problem_responses(404))
def get_model(model_id: str, models: Models) -> ModelReport:
    """Give all of a model but its weights."""
    return ModelReport.model_validate(models.get(model_id))


@router.get(
    "/{model_id}/weights",
    operation_id="download_model",
    summary="Download a model",
    response_class=Response,
    responses={
        200: {"description": "A safetensors file", "content": {SAFETENSORS: {}}},
        **DOWNLOAD_RESPONSES,
        **problem_responses(404, 503),
    },
)
def download_model(model_id: str, request: Request, models: Models, blobs: Blobs) -> Response:
    """Give the safetensors file: weights and biases by layer, and the description in its metadata.

    `Range` and `If-None-Match` are understood; `Repr-Digest` and the ETag are the file's SHA-256.
    """
    model = models.get(model_id)
    return download(
        request,
        blobs,
        key=model.blob_key,
        size_bytes=model.size_bytes,
        digest=model.digest,
        media_type=SAFETENSORS,
        filename=f"{model.name or model.id}.safetensors",
    )


@router.delete(
    "/{model_id}",
    operation_id="delete_model",
    summary="Delete a model",
    status_code=204,
    responses=problem_responses(404),
)
def delete_model(model_id: str, models: Models) -> None:
    """Delete a model with its weights; the job that trained it stays."""
    models.delete(model_id)
