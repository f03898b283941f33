"""The real awaiting client against the real application, in one process; no dispatcher runs, so jobs stay queued."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import ml_dtypes
import numpy as np
import pytest

from dropout_client import (
    AsyncClient,
    ConflictError,
    JobCancelledError,
    NotFoundError,
    UnprocessableEntityError,
    WaitTimeoutError,
)
from dropout_service.app import create_app
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Use = Callable[[Callable[[AsyncClient], Awaitable[Any]]], Any]

X = np.linspace(-3, 3, 60).reshape(20, 3)
Y = np.array(["cat", "dog"] * 10)


@pytest.fixture
def use(tmp_path: Path) -> Use:
    """Run an operation with a client of a fresh application."""
    app = create_app(Settings(data_dir=tmp_path / "data"))

    @asynccontextmanager
    async def client() -> AsyncIterator[AsyncClient]:
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope: Any, receive: Any, send: Any) -> None:
                scope["state"] = dict(state or {})
                await app(scope, receive, send)

            transport = httpx.ASGITransport(with_state)
            async with AsyncClient("http://localhost", transport=transport) as opened:
                yield opened

    async def run(operation: Callable[[AsyncClient], Awaitable[Any]]) -> Any:
        async with client() as opened:
            return await operation(opened)

    return lambda operation: asyncio.run(run(operation))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16])
def test_dropout_and_its_gradient(use: Use, dtype: Any):
    x = np.arange(1, 13).reshape(3, 4).astype(dtype)

    async def operation(client: AsyncClient) -> None:
        dropped = await client.dropout.forward(x, rate=0.5, seed=7, return_mask=True)
        assert dropped.y.dtype == x.dtype
        assert dropped.mask is not None
        assert 0 < dropped.mask.sum() < 12
        assert np.array_equal(dropped.y, np.where(dropped.mask, x * 2, 0).astype(dtype))
        assert (dropped.seed, dropped.effective_rate, dropped.scale) == (7, 0.5, 2.0)
        assert dropped.algorithm == "aes128-ctr/u16"

        again = await client.dropout.forward(x, rate=0.5, seed=7)
        assert np.array_equal(again.y, dropped.y)
        assert again.mask is None

        grad_input = await client.dropout.backward(np.ones_like(x), dropped)
        expected = np.where(dropped.mask, 2, 0).astype(dtype)
        assert np.array_equal(grad_input, expected)
        by_seed = await client.dropout.backward(np.ones_like(x), rate=0.5, seed=7)
        by_mask = await client.dropout.backward(np.ones_like(x), rate=0.5, mask=dropped.mask)
        assert np.array_equal(by_seed, expected)
        assert np.array_equal(by_mask, expected)

    use(operation)


def test_lists_become_float64_and_a_seed_is_drawn(use: Use):
    async def operation(client: AsyncClient) -> None:
        dropped = await client.dropout.forward([[1, 2], [3, 4]], rate=0)
        assert dropped.y.dtype == np.float64
        assert np.asarray(dropped).tolist() == [[1, 2], [3, 4]]
        assert 0 <= dropped.seed < 2**53

    use(operation)


def test_a_gradient_remembers_scaling_noise_shape_and_a_large_seed(use: Use):
    x = np.ones((4, 6), np.float32)

    async def operation(client: AsyncClient) -> None:
        for facts in (
            {"noise_shape": (None, 1), "seed": 2**64 - 1, "offset": 2**63},
            {"noise_shape": (1, 6), "scaling": "classic", "seed": 3},
            {"training": False, "scaling": "classic", "seed": 3},
        ):
            dropped = await client.dropout.forward(x, rate=0.3, **facts)
            # x is all ones, so the gradient of the sum is what forward gave.
            assert np.array_equal(await client.dropout.backward(x, dropped), dropped.y)

    use(operation)


def test_variants_are_described(use: Use):
    async def operation(client: AsyncClient) -> None:
        standard = {one.name: one for one in await client.dropout.variants()}["standard"]
        assert "rate" in {one.name for one in standard.parameters}
        assert "Srivastava" in (standard.paper or "")

    use(operation)


def test_a_fault_names_its_place_and_the_request(use: Use):
    async def operation(client: AsyncClient) -> None:
        with pytest.raises(UnprocessableEntityError) as told:
            await client.dropout.forward([1.0], rate=1.5)
        assert [one.pointer for one in told.value.problem.errors] == ["/rate"]
        assert told.value.request_id
        assert "1.5" in str(told.value)
        with pytest.raises(UnprocessableEntityError, match="/x"):
            await client.dropout.forward(np.array([1, 2]), rate=0.5)  # an integer array stays one, and is refused
        with pytest.raises(UnprocessableEntityError, match="/mask"):
            await client.dropout.backward(np.ones((2, 2)), rate=0.5, mask=[True] * 3)

    use(operation)


def test_datasets_are_stored_once_listed_downloaded_and_deleted(use: Use, tmp_path: Path):
    table = tmp_path / "pets.csv"
    table.write_text("height,kind\n1.5,cat\n,dog\n3.5,cat\n")

    async def operation(client: AsyncClient) -> None:
        dataset = await client.datasets.upload(table)
        assert dataset.name == "pets"
        height, kind = dataset.schema.columns
        assert (dataset.schema.rows, height.name, height.missing, height.mean) == (3, "height", 1, 2.5)
        assert kind.classes is not None
        assert {one.label: one.count for one in kind.classes} == {"cat": 2, "dog": 1}

        assert (await client.datasets.upload(table.read_bytes(), format="csv")).id == dataset.id
        arrays = await client.datasets.upload(x=X, y=Y, name="arrays")
        assert (await client.datasets.upload(x=X, y=Y)).id == arrays.id
        assert {one.id async for one in client.datasets.list()} == {dataset.id, arrays.id}
        assert await client.datasets.get(dataset.id) == dataset

        copy = await client.datasets.download(dataset.id, tmp_path / "copy.csv")
        assert copy.read_bytes() == table.read_bytes()
        await client.datasets.delete(dataset.id)
        with pytest.raises(NotFoundError):
            await client.datasets.get(dataset.id)
        assert [one.id async for one in client.datasets.list()] == [arrays.id]

    use(operation)


class Frame:
    """A data frame as far as the client looks at one, so that the test needs no pandas."""

    columns = ("a", "b")

    def __array__(self) -> np.ndarray:
        return np.array([[1, 2], [3, 4]])

    def to_csv(self, *, index: bool) -> str:
        assert not index
        return "a,b\n1,2\n3,4\n"


def test_a_data_frame_keeps_its_column_names(use: Use):
    async def operation(client: AsyncClient) -> None:
        dataset = await client.datasets.upload(Frame(), name="frame")
        assert [one.name for one in dataset.schema.columns] == ["a", "b"]
        assert dataset.format == "csv"

    use(operation)


def test_a_job_is_queued_listed_cancelled_and_deleted(use: Use):
    async def operation(client: AsyncClient) -> None:
        job = await client.jobs.submit(
            name="pets",
            task="classification",
            data={"x": X, "y": Y},
            model={"hidden": np.array([8]), "dropout": 0.2},
            epochs=np.int64(3),
        )
        assert (job.status, job.name, job.spec["epochs"], job.spec["model"]["hidden"]) == ("queued", "pets", 3, [8])
        assert [one.id async for one in client.jobs.list(status="queued")] == [job.id]
        assert [one.id async for one in client.jobs.list(status="running")] == []
        with pytest.raises(WaitTimeoutError):
            await job.wait(timeout=0.05)

        urgent = await client.jobs.submit({**job.spec, "epochs": 4}, priority=9, max_memory_bytes=2 * 10**9)
        assert (urgent.priority, urgent.record.max_memory_bytes, urgent.spec["epochs"]) == (9, 2 * 10**9, 4)
        assert (job.priority, job.record.max_memory_bytes, job.attempts) == (0, None, ())
        await urgent.cancel()
        await urgent.delete(model=True)
        with pytest.raises(NotFoundError):
            await urgent.refresh()
        await job.pause()
        assert job.status == "paused"
        with pytest.raises(WaitTimeoutError, match="is paused"):
            await job.wait(timeout=0.05)
        await job.resume()
        assert job.status == "queued"
        await job.cancel()
        assert job.status == "cancelled"
        with pytest.raises(JobCancelledError):
            await job.result()
        await job.cancel()  # again: nothing happens
        with pytest.raises(ConflictError):
            await job.pause()
        assert [one.type async for one in job.events()] == ["queued", "paused", "resumed", "cancelled"]
        assert [one.type async for one in job.events(after=4)] == []
        assert await job.metrics() == ()
        await job.delete()
        with pytest.raises(NotFoundError):
            await job.refresh()

    use(operation)


def test_a_key_makes_one_job_of_two_submissions(use: Use):
    async def operation(client: AsyncClient) -> None:
        spec: Any = {"task": "regression", "data": {"x": X, "y": X[:, 0]}, "epochs": 3}
        first, second = [await client.jobs.submit(spec, idempotency_key="mine") for _ in range(2)]
        assert first.id == second.id
        with pytest.raises(UnprocessableEntityError, match="mine"):
            await client.jobs.submit(spec, epochs=4, idempotency_key="mine")
        assert (await client.jobs.submit(spec)).id != first.id

    use(operation)


def test_a_wrong_specification_names_its_place(use: Use):
    async def operation(client: AsyncClient) -> None:
        with pytest.raises(UnprocessableEntityError, match="/model/dropout"):
            await client.jobs.submit(task="regression", data={"x": X, "y": X[:, 0]}, model={"dropout": 1.5})
        with pytest.raises(UnprocessableEntityError, match="/data"):
            await client.jobs.submit(task="regression", data={"dataset": "sha256-none"})

    use(operation)


def test_lists_are_paged(use: Use):
    async def operation(client: AsyncClient) -> None:
        spec: Any = {"task": "regression", "data": {"x": X, "y": X[:, 0]}, "epochs": 1}
        data = {"dataset": (await client.datasets.upload(x=X, y=X[:, 0])).id}
        ids = [(await client.jobs.submit(spec, data=data, seed=seed)).id for seed in range(53)]
        assert [one.id async for one in client.jobs.list()] == ids[::-1]
        assert [one.id async for one in client.jobs.list(limit=51)] == ids[:1:-1]

    use(operation)
