"""The application with a data folder of the test's own, and without a dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dropout_service.app import create_app
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx
    from fastapi import FastAPI


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, dispatcher=False)


@pytest.fixture
def client(settings: Settings, open_client: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    return open_client(create_app(settings))
