"""Predictions over HTTP: rows in any form in, JSON or safetensors out."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from dropout_service.api.arrays.json import nested_values
from dropout_service.api.arrays.npy import NPY, encode_npy
from dropout_service.api.arrays.safetensors import SAFETENSORS, encode_safetensors
from dropout_service.api.arrays.schemas import Numbers
from dropout_service.api.dependencies import Compute, Models, RequestLimits, TableReader
from dropout_service.api.http.bodies import PartsResponse, read_buffer
from dropout_service.api.http.media_types import (
    ARROW_FILE,
    ARROW_STREAM,
    CSV,
    JSON,
    OCTETS,
    PARQUET,
    accepted_media_type,
    body_media_type,
)
from dropout_service.api.http.openapi import BINARY_SCHEMA, binary_body, binary_example
from dropout_service.api.http.problems import problem_responses
from dropout_service.api.http.validation_errors import validated
from dropout_service.api.models import examples
from dropout_service.api.models.bodies import FORMS, RowBody
from dropout_service.errors import InvalidInputError
from dropout_service.models.prediction import predict
from dropout_service.training.data import Label

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.api.state import Limits
    from dropout_service.budgets import Budgets
    from dropout_service.datasets.reader import Reader
    from dropout_service.models.prediction import Prediction
    from dropout_service.models.registry import ModelRegistry
    from dropout_service.training.trained import TrainedModel

__all__ = ["router"]

router = APIRouter()

_ANSWERS: Final = (JSON, SAFETENSORS)
_CLASSIFICATION: Final = (
    "classes",
    "probabilities",
    "probabilities_std",
    "entropy",
    "mutual_information",
    "class_labels",
)
_REGRESSION: Final = ("values", "std", "aleatoric_std", "quantiles", "quantile_levels", "target_names")

_FACTS: Final = ("class_labels", "quantile_levels", "target_names", "mc_samples", "seed")
"""What is told as JSON in the metadata of a binary answer."""

Samples = Annotated[int, Field(ge=1, le=10_000)]
Seed = Annotated[int, Field(ge=0, lt=2**64)]


class PredictionParameters(BaseModel):
    """How to predict, apart from what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mc_samples: Samples | None = Field(
        default=None,
        description="Passes with dropout active, for the mean and its uncertainty (Gal and Ghahramani 2016). Left out: "
        "one pass without dropout.",
        examples=[100],
    )
    seed: Seed = Field(default=0, description="Seed of the masks of these passes.")


class PredictionRequest(PredictionParameters):
    """Rows to predict: `records`, or `x`."""

    records: list[dict[str, Any]] | None = Field(
        default=None,
        description="One object for each row, with a value for each feature by its name, in any order; null where "
        "there is none. A category may be one that no training row had. Other names are left aside.",
        examples=[[{"bill_length_mm": 39.1, "island": "Biscoe", "sex": None}]],
    )
    x: Numbers | None = Field(
        default=None,
        description="Rows of features in their order, as they are in the data: not scaled. For models all of whose "
        "features are numbers or truth values.",
        examples=[[[5.1, 3.5]]],
    )


class _Answer(BaseModel):
    mc_samples: int | None
    seed: int


class ClassificationAnswer(_Answer):
    """Classes and their probabilities."""

    classes: list[Label] = Field(description="The most probable class of each row.")
    probabilities: list[list[float]] = Field(description="Shape (rows, classes).")
    probabilities_std: list[list[float]] | None = Field(
        description="Standard deviation over the samples, and over the networks of an ensemble."
    )
    entropy: list[float] | None = Field(description="Of the mean probabilities, in nats: the whole uncertainty.")
    mutual_information: list[float] | None = Field(description="The part that more data could remove, in nats.")
    class_labels: list[Label] = Field(description="The classes, in the order of the probabilities.")


Figures = list[float] | list[list[float]]
"""A number for each row, or of several targets one for each target of each row."""


class RegressionAnswer(_Answer):
    """Values and their uncertainty."""

    values: Figures = Field(
        description="One for each row, in the unit of the target. With a `target_transform` medians rather than means."
    )
    std: Figures | None = Field(
        description="Standard deviation over the samples, and over the networks of an ensemble: of the model."
    )
    aleatoric_std: Figures | None = Field(description="Of the data, when the loss was `gaussian_nll`.")
    quantiles: list[Figures] | None = Field(
        description="Shape (rows, levels), rising, when the loss was `quantile`; `values` are those nearest to 1/2."
    )
    quantile_levels: list[float] | None = Field(description="The levels, in the order of the quantiles.")
    target_names: list[str] | None = Field(
        description="Names of several targets. Each row then has a list, one for each target, in place of one number."
    )


_BINARY: Final = {"schema": BINARY_SCHEMA}
_ROW: Final = np.array([[5.1, 3.5]])


def _table(description: str, content: bytes) -> dict[str, Any]:
    return binary_body(description, rows=binary_example("Two rows", [content]))


@router.post(
    "/{model_id}/predict",
    operation_id="predict",
    summary="Predict with a model",
    response_model=ClassificationAnswer | RegressionAnswer,
    responses={200: {"content": {SAFETENSORS: _BINARY}}, **problem_responses(404, 406, 413, 415, 503)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": {"$ref": "#/components/schemas/PredictionRequest"},
                    "examples": {
                        "records": {
                            "summary": "A row by the names of its columns",
                            "value": {"records": [{"x0": 5.1, "x1": 3.4}, {"x1": 3.5, "x0": 4.9}]},
                        },
                        "array": {
                            "summary": "A row of numbers, with its uncertainty",
                            "value": {"x": [[5.1, 3.5]], "mc_samples": 50},
                        },
                    },
                },
                CSV: {
                    "schema": {
                        "type": "string",
                        "description": "A header row with the names of the columns, then rows.",
                    },
                    "examples": {"rows": {"summary": "Two rows", "value": "x1,x0\n3.4,5.1\n,4.9\n"}},
                },
                PARQUET: _table("A Parquet file with the columns by their names.", examples.PARQUET),
                ARROW_FILE: _table("An Arrow IPC file, likewise.", examples.ARROW_FILE),
                ARROW_STREAM: _table("An Arrow IPC stream, likewise.", examples.ARROW_STREAM),
                OCTETS: _table("Any of these, csv or npy: its content tells.", examples.PARQUET),
                NPY: binary_body("The rows.", rows=binary_example("One row", encode_npy(_ROW), "mc_samples=50")),
                SAFETENSORS: binary_body(
                    "The rows, as a tensor `x`.",
                    rows=binary_example("One row, `x`", encode_safetensors({"x": _ROW}), "seed=7"),
                ),
            },
        }
    },
)
async def predict_rows(
    model_id: str,
    request: Request,
    models: Models,
    compute: Compute,
    limits: RequestLimits,
    *,
    reader: TableReader,
    mc_samples: Annotated[Samples | None, Query(description="As in a JSON body; for binary bodies.")] = None,
    seed: Annotated[Seed | None, Query(description="As in a JSON body; for binary bodies.")] = None,
) -> Response:
    """Predict rows of raw features: classes with probabilities, or values.

    `records`, csv, Parquet and Arrow take rows as a table has them: columns by name, gaps and unknown categories
    included.
    `mc_samples` keeps dropout on and says how sure the model is. npy: the array, parameters in the query.
    safetensors: a tensor `x`, parameters in the query or the metadata; both are answered with safetensors, unless
    `Accept` says JSON: tensors by the names of the JSON fields, the other fields as JSON in the metadata.
    """
    form = body_media_type(request, FORMS)
    answer_form = accepted_media_type(request, _ANSWERS, default=JSON if form == JSON else SAFETENSORS)
    query = {name: value for name, value in (("mc_samples", mc_samples), ("seed", seed)) if value is not None}
    with compute.place() as place:
        body = RowBody(form, await request.body() if form == JSON else await read_buffer(request))
        answer = partial(_answer, answer_form=answer_form, reader=reader, limits=limits, before_pass=place.check)
        return await place.run(request, partial(answer, models, model_id, body, query))


def _answer(
    models: ModelRegistry,
    model_id: str,
    body: RowBody,
    query: dict[str, Any],
    *,
    answer_form: str,
    reader: Reader,
    limits: Limits,
    before_pass: Callable[[], None],
) -> Response:
    model = models.load(models.get(model_id))
    rows, given = body.rows(model, reader, limits)
    for name in given.keys() & query.keys():
        raise InvalidInputError.at(f"/{name}", "given in the query and in the body; give it once")
    parameters = validated(PredictionParameters, {**query, **given}, strict=body.form == JSON)
    if answer_form == JSON:
        _check_values(len(rows.x), model, parameters, limits.budgets)
    prediction = predict(
        model,
        rows,
        mc_samples=parameters.mc_samples,
        seed=parameters.seed,
        budgets=limits.budgets,
        before_pass=before_pass,
    )
    return (_json if answer_form == JSON else _safetensors)(prediction)


def _check_values(rows: int, model: TrainedModel, parameters: PredictionParameters, budgets: Budgets) -> None:
    """Bound the numbers and lists of an answer in JSON."""
    sampled = parameters.mc_samples is not None or model.members > 1
    figures = 1 + sampled + (model.target_names is not None)
    values = figures * (nested_values((rows, model.answer_columns)) + rows)
    budgets.check("json_values", values, pointer="/x", remedy=f"accept {SAFETENSORS}, or send fewer rows at a time")


def _json(prediction: Prediction) -> Response:
    answer = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in ((name, getattr(prediction, name)) for name in _fields(prediction))
    }
    return Response(to_json(answer, inf_nan_mode="strings"), media_type=JSON)


def _safetensors(prediction: Prediction) -> Response:
    values = {name: getattr(prediction, name) for name in _fields(prediction)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    metadata = {name: json.dumps(values[name]) for name in _FACTS if name in values}
    return PartsResponse(encode_safetensors(arrays, metadata), media_type=SAFETENSORS)


def _fields(prediction: Prediction) -> tuple[str, ...]:
    return (*(_REGRESSION if prediction.class_labels is None else _CLASSIFICATION), "mc_samples", "seed")
