from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine

from dropout_service.api import health
from dropout_service.api.readiness import Readiness

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    import httpx


def wait_until_ready(client: httpx.Client) -> httpx.Response:
    deadline = time.monotonic() + 60
    answer = client.get("/readyz")
    while answer.status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
        answer = client.get("/readyz")
    return answer


def test_livez(service: httpx.Client):
    assert service.get("/livez").json() == {"status": "ok"}


def test_readyz_becomes_ready(service: httpx.Client):
    answer = wait_until_ready(service)
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "checks": {"kernels": "ok", "database": "ok"}}


def test_readyz_tells_of_a_lost_database(open_client: Callable[[FastAPI], httpx.Client], tmp_path: Path):
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        engine = create_engine(f"sqlite:///{tmp_path}/no/such/folder.db")
        yield {"database": engine, "readiness": Readiness()}
        engine.dispose()

    app = FastAPI(lifespan=lifespan)
    app.include_router(health.router)
    answer = open_client(app).get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "checks": {"database": "failed: no answer"}}


def test_readiness_waits_for_every_condition():
    readiness = Readiness("a", "b")
    assert readiness.states == {"a": "pending", "b": "pending"}
    readiness.met("a")
    assert not readiness.ready
    readiness.failed("b", "no disk")
    assert readiness.states["b"] == "failed: no disk"
    assert not readiness.ready
    readiness.met("b")
    assert readiness.ready


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_reference_is_served(service: httpx.Client, path: str):
    assert service.get(path).status_code == 200
