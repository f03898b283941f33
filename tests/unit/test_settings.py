from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from dropout_service.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
ROWS = dict(re.findall(r"^\| `(DROPOUT_SERVICE_\w+)` \| (.+?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_setting_is_documented_and_nothing_else():
    assert set(ROWS) == {f"DROPOUT_SERVICE_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_documented_default_is_the_default(name: str):
    documented = re.fullmatch(r"`(.+)`", ROWS[f"DROPOUT_SERVICE_{name.upper()}"])
    default = Settings.model_fields[name].default
    if documented and default is not None:
        assert documented[1] == (str(default).lower() if isinstance(default, bool) else str(default))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is(name: str):
    assert Settings.model_fields[name].description


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DROPOUT_SERVICE_PORT", "8123")
    monkeypatch.setenv("DROPOUT_SERVICE_DATA_DIR", str(tmp_path))
    settings = Settings()
    assert settings.port == 8123
    assert settings.database_url == f"sqlite:///{tmp_path}/dropout.sqlite3"
    assert settings.blob_url == f"file://{tmp_path}/blobs"
    assert Settings(port=1).port == 1


def test_a_relative_data_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert Settings(data_dir=Path("here")).data_dir == tmp_path / "here"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70_000),
        ("workers", 0),
        ("lease_s", 0),
        ("log_level", "loud"),
        ("database_url", "mysql://x"),
        ("database_url", "sqlite:///:memory:"),
        ("database_url", "postgresql://user@host"),
        ("database_url", "postgresql:///database"),
        ("database_url", "postgresql://user@host:port/database"),
        ("blob_url", "ftp://x"),
    ],
)
def test_what_makes_no_sense_is_rejected(name: str, value: object):
    with pytest.raises(ValidationError):
        Settings.model_validate({name: value})


@pytest.mark.parametrize("values", [{"heartbeat_s": 6.0}, {"lease_s": 2.9}, {"heartbeat_s": 0.5, "lease_s": 1.0}])
def test_a_lease_that_a_late_heartbeat_would_lose_is_rejected_by_name(values: dict[str, float]):
    with pytest.raises(ValidationError, match="at least 3 times DROPOUT_SERVICE_HEARTBEAT_S") as caught:
        Settings.model_validate(values)
    assert [fault["loc"] for fault in caught.value.errors()] == [("lease_s",)]
    assert Settings(heartbeat_s=0.5, lease_s=1.5).lease_s == 1.5


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgresql://u:p@db.example:5433/dropout", None),
        ("postgresql://u@/dropout?host=/run/postgresql", None),
        ("postgres://u:p%40%2F@db/dropout?sslmode=require", "postgresql://u:p%40%2F@db/dropout?sslmode=require"),
        ("postgresql+psycopg://u@db/dropout", "postgresql://u@db/dropout"),
    ],
)
def test_a_postgresql_database_is_chosen_by_its_url(given: str, read: str | None):
    assert Settings(database_url=given).database_url == (read or given)


def test_a_password_is_never_told():
    assert "swordfish" not in repr(Settings(database_url="postgresql://u:swordfish@db/dropout"))
    with pytest.raises(ValidationError, match="%40") as caught:
        Settings(database_url="postgresql://u:swordfish@/x@db/dropout")
    assert "swordfish" not in str(caught.value)


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().port = 1  # pyright: ignore[reportAttributeAccessIssue] - that is the point
