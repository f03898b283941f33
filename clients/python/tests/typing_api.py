"""The public API as a type checker sees it; ``test_client_typing.py`` runs basedpyright over this file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np  # noqa: TC002  # a user's file would import it so
from numpy.typing import NDArray

from dropout_client import (
    AsyncClient,
    AsyncJob,
    AsyncModel,
    ClassPrediction,
    Client,
    Dataset,
    EpochMetrics,
    Event,
    ForwardResult,
    Gradients,
    Job,
    JobAttempt,
    Model,
    TrainingSpec,
    ValuePrediction,
    Variant,
)


def blocking(client: Client, x: NDArray[np.float32]) -> None:
    dropped = client.dropout.forward(x, rate=0.5, seed=7)
    assert_type(dropped, ForwardResult)
    assert_type(client.dropout.backward(x, dropped), NDArray[Any])
    assert_type(client.dropout.backward([[1, 2]], rate=0.5, mask=[[True, False]]), NDArray[Any])
    assert_type(client.dropout.variants(), tuple[Variant, ...])
    assert_type(client.dropout.forward(x, rate=0.1, variant="dropblock", block_size=3), ForwardResult)
    assert_type(client.dropout.gradients(x, dropped), Gradients)
    assert_type(client.dropout.gradients(x, dropped).grad_rate, float | None)

    assert_type(client.datasets.upload(Path("iris.csv"), name="iris"), Dataset)
    assert_type(client.datasets.upload(x=x, y=["a", "b"]), Dataset)
    assert_type(client.datasets.list(limit=3), Iterator[Dataset])

    spec: TrainingSpec = {"task": "classification", "data": {"dataset": "sha256-1"}, "optimizer": {"kind": "adamw"}}
    job = client.jobs.submit(spec, epochs=3)
    assert_type(job, Job)
    assert_type(job.wait(timeout=3), Job)
    assert_type(client.jobs.submit(spec, priority=5, max_memory_bytes=2 * 10**9, max_attempts=5), Job)
    assert_type(job.attempts, tuple[JobAttempt, ...])
    assert_type(job.pause(), Job)
    assert_type(job.resume(), Job)
    assert_type(job.refresh(), Job)
    assert_type(job.model(), Model)
    assert_type(job.model().download("weights.safetensors"), Path)
    assert_type(job.events(), Iterator[Event])
    assert_type(job.metrics(), tuple[EpochMetrics, ...])
    assert_type(job.result(), Model)
    assert_type(client.jobs.list(status="running"), Iterator[Job])

    assert_type(client.models.get("model_1"), Model)
    prediction = client.models.get("model_1").predict(x, mc_samples=10)
    assert_type(prediction, ClassPrediction | ValuePrediction)
    assert_type(client.with_options(timeout=3), Client)

    # Mistakes, each told as such: where one is accepted after all, its comment is an error.
    client.jobs.submit(task="clustering")  # pyright: ignore[reportArgumentType]
    job.wait(time=3)  # pyright: ignore[reportCallIssue]
    client.models.get("model_1").predict(x, samples=3)  # pyright: ignore[reportCallIssue]
    client.jobs.submit(epoch=3)  # pyright: ignore[reportCallIssue]
    client.dropout.forward(x, p=0.5)  # pyright: ignore[reportCallIssue]
    client.dropout.forward(x, scaling="none")  # pyright: ignore[reportArgumentType]
    client.dropout.forward(x, variant="dropblok")  # pyright: ignore[reportArgumentType]
    client.with_options(time=3)  # pyright: ignore[reportCallIssue]


async def awaiting(client: AsyncClient, x: NDArray[np.float32]) -> None:
    dropped = await client.dropout.forward(x)
    assert_type(dropped, ForwardResult)
    assert_type(await client.dropout.backward(x, dropped), NDArray[Any])
    job = await client.jobs.submit(task="regression", data={"x": x, "y": x[:, 0]})
    assert_type(job, AsyncJob)
    assert_type(await job.wait(), AsyncJob)
    assert_type(await job.pause(), AsyncJob)
    assert_type(await job.resume(), AsyncJob)
    assert_type(await job.refresh(), AsyncJob)
    assert_type(await job.metrics(), tuple[EpochMetrics, ...])
    assert_type(job.events(), AsyncIterator[Event])
    assert_type(await job.result(), AsyncModel)
    assert_type(client.jobs.list(), AsyncIterator[AsyncJob])
    assert_type(await (await client.models.get("m")).predict(x), ClassPrediction | ValuePrediction)
