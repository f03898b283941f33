"""Python client of the dropout service.

>>> from dropout_client import Client
>>> client = Client()
>>> dropped = client.dropout.forward([[1, 2], [3, 4]], rate=0.5, seed=42)
>>> job = client.jobs.submit(task="classification", data={"x": features, "y": labels}, epochs=60)
>>> prediction = job.result().predict(features, mc_samples=100)
"""

from __future__ import annotations

from dropout_client.client import AsyncClient, Client
from dropout_client.dropout import ForwardResult, Gradients
from dropout_client.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DropoutError,
    FieldError,
    InternalServerError,
    NotAcceptableError,
    NotFoundError,
    PermissionDeniedError,
    Problem,
    RateLimitError,
    TooLargeError,
    UnavailableError,
    UnexpectedResponseError,
    UnprocessableEntityError,
    UnsupportedMediaTypeError,
)
from dropout_client.job_errors import JobCancelledError, JobError, JobFailedError, WaitTimeoutError
from dropout_client.jobs import AsyncJob, Job
from dropout_client.models import AsyncModel, Model
from dropout_client.predictions import ClassPrediction, Prediction, ValuePrediction
from dropout_client.records import (
    ClassCount,
    Column,
    Dataset,
    EpochMetrics,
    Event,
    Failure,
    JobAttempt,
    JobRecord,
    ModelRecord,
    TableSchema,
    Variant,
    VariantParameter,
)
from dropout_client.spec import JobRequest, TrainingSpec
from dropout_client.version import __version__

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncClient",
    "AsyncJob",
    "AsyncModel",
    "AuthenticationError",
    "BadRequestError",
    "ClassCount",
    "ClassPrediction",
    "Client",
    "Column",
    "ConflictError",
    "Dataset",
    "DropoutError",
    "EpochMetrics",
    "Event",
    "Failure",
    "FieldError",
    "ForwardResult",
    "Gradients",
    "InternalServerError",
    "Job",
    "JobAttempt",
    "JobCancelledError",
    "JobError",
    "JobFailedError",
    "JobRecord",
    "JobRequest",
    "Model",
    "ModelRecord",
    "NotAcceptableError",
    "NotFoundError",
    "PermissionDeniedError",
    "Prediction",
    "Problem",
    "RateLimitError",
    "TableSchema",
    "TooLargeError",
    "TrainingSpec",
    "UnavailableError",
    "UnexpectedResponseError",
    "UnprocessableEntityError",
    "UnsupportedMediaTypeError",
    "ValuePrediction",
    "Variant",
    "VariantParameter",
    "WaitTimeoutError",
    "__version__",
]
