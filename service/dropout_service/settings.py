"""The settings, read once at start from ``DROPOUT_SERVICE_*`` variables and the command line."""

from __future__ import annotations

import re
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from dropout_service.budgets import Budgets
from dropout_service.dispatch.config import ARRAY_BYTES
from dropout_service.jobs.job import MIN_MEMORY_BYTES
from dropout_service.kernels.runtime import cpus

__all__ = ["Settings"]

_HEARTBEATS_OF_A_LEASE = 3
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\*\.)?[\w.-]+|\[[0-9a-f:.]+\]", re.IGNORECASE)
_ORIGIN = re.compile(r"https?://[\w.:\[\]-]+", re.IGNORECASE)
_BUDGETS = Budgets()


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _database_in_data_dir(values: dict[str, Any]) -> str:
    return f"sqlite:///{values['data_dir'] / 'dropout.sqlite3'}" if "data_dir" in values else ""


def _blobs_in_data_dir(values: dict[str, Any]) -> str:
    return (values["data_dir"] / "blobs").as_uri() if "data_dir" in values else ""


def _database(url: str, info: ValidationInfo) -> str:
    file = url.removeprefix("sqlite:///")
    if file != url and file not in {"", ":memory:"}:
        # A relative file is in the data folder: where a process was started must not decide which database it has.
        return f"sqlite:///{info.data['data_dir'] / file}" if "data_dir" in info.data else url
    scheme, _, rest = url.partition("://")
    if scheme in {"postgresql", "postgresql+psycopg", "postgres"}:
        return _postgresql(f"postgresql://{rest}")
    raise ValueError(
        "should be an SQLite file, such as sqlite:////data/dropout.sqlite3, or a PostgreSQL database, such as "
        "postgresql://user:password@host:5432/database"
    )


def _postgresql(url: str) -> str:
    """Check the parts by hand: a parser's own message would tell the password."""
    parts = urlsplit(url)
    try:
        places = bool(parts.hostname or "host" in parse_qs(parts.query)) and (parts.port is None or parts.port > 0)
    except ValueError:
        places = False
    if not places or len(parts.path) <= 1 or parts.fragment:
        raise ValueError(
            "should name host and database, such as postgresql://user:password@host:5432/database; write a character "
            "such as @ : / # % in the password as %40 %3A %2F %23 %25"
        )
    return url


def _blob_store(url: str) -> str:
    if not url.startswith(("file:///", "s3://")):
        raise ValueError("should be a folder, such as file:///data/blobs, or a bucket, such as s3://bucket/prefix")
    return url


def _longer_than_heartbeats(lease_s: float, info: ValidationInfo) -> float:
    heartbeat_s = info.data.get("heartbeat_s", 0.0)
    if lease_s < _HEARTBEATS_OF_A_LEASE * heartbeat_s:
        raise ValueError(
            f"should be at least {_HEARTBEATS_OF_A_LEASE} times DROPOUT_SERVICE_HEARTBEAT_S ({heartbeat_s:g}), since "
            f"one sign of life may be late; got {lease_s:g}"
        )
    return lease_s


def _listed_hosts(text: str | None) -> str | None:
    wrong = [host for host in _items(text) if host != "*" and not _HOST.fullmatch(host)]
    if wrong:
        raise ValueError(f"should list names without scheme and port, such as dropout.example.com; got {wrong[0]!r}")
    return text


def _listed_origins(text: str | None) -> str | None:
    wrong = [origin for origin in _items(text) if origin != "*" and not _ORIGIN.fullmatch(origin)]
    if wrong:
        raise ValueError(f"should list origins such as https://app.example.com; got {wrong[0]!r}")
    return text


def _items(text: str | None) -> list[str]:
    return [item for item in (part.strip() for part in (text or "").split(",")) if item]


class Settings(BaseSettings):
    """All that an operator can choose. ``docs/settings.md`` lists every one."""

    model_config = SettingsConfigDict(
        env_prefix="DROPOUT_SERVICE_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` for every interface.")
    port: int = Field(default=8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    allowed_hosts: Annotated[str | None, AfterValidator(_listed_hosts)] = Field(
        default=None,
        description="Names by which the service may be called (the `Host` of requests), separated by commas: "
        "`dropout.example.com, *.example.org`, or `*` for any. Default: `localhost`, `127.0.0.1` and `[::1]` where it "
        "listens on loopback, else any.",
    )
    allowed_origins: Annotated[str | None, AfterValidator(_listed_origins)] = Field(
        default=None,
        description="Web pages from which writes are taken besides those that the service itself serves, separated by "
        "commas: `https://app.example.com`, or `*` for any. Default: none where it listens on loopback, else any.",
    )
    data_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        default=Path("dropout-data"), description="Folder of the default database and blobs; made at start."
    )
    database_url: Annotated[str, AfterValidator(_database)] = Field(
        default_factory=_database_in_data_dir,
        repr=False,  # it may hold a password
        description="URL of the database: an SQLite file, `sqlite:////data/dropout.sqlite3` (a relative one, "
        "`sqlite:///jobs.sqlite3`, is in the data folder), or PostgreSQL, "
        "`postgresql://user:password@host:5432/database`. Default: an SQLite file in the data folder.",
    )
    blob_url: Annotated[str, AfterValidator(_blob_store)] = Field(
        default_factory=_blobs_in_data_dir,
        description="Where datasets, checkpoints and models are kept: `file:///...` or `s3://...`. "
        "Default: a folder in the data folder.",
    )
    kernel_cache_dir: str | None = Field(
        default=None,
        description="Folders of compiled kernels, separated as in `PATH`: searched in order, written to the first that "
        "can be. Default: a folder in the user's cache.",
    )
    kernel_threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Threads of one dropout computation. Default: the CPUs that the process may keep busy.",
    )
    compute_threads: int = Field(
        default_factory=cpus.available,
        ge=1,
        le=1024,
        description="Requests that compute at the same time. Default: the CPUs that the process may keep busy.",
    )
    compute_queue: int = Field(
        default=64, ge=0, le=65_536, description="Requests that wait to compute; further ones are answered with 503."
    )
    max_body_bytes: int = Field(
        default=1 << 28, ge=1024, description="Largest request body, but for dataset uploads. Default: 256 MiB."
    )
    max_bytes_in_flight: int = Field(
        default=1 << 31,
        ge=1 << 16,
        description="Memory for the bodies of all requests and of their answers together; requests beyond it are "
        "answered with 503. Default: 2 GiB.",
    )
    max_dataset_bytes: int = Field(default=1 << 32, ge=1024, description="Largest dataset upload. Default: 4 GiB.")
    max_json_bytes: int = Field(
        default=1 << 26,
        ge=1024,
        description="Largest JSON body, which takes a multiple of its size in memory. Default: 64 MiB.",
    )
    max_json_values: int = Field(
        default=_BUDGETS.json_values,
        ge=1024,
        description="Most numbers, texts, lists and objects of a JSON body, asked or answered; each takes up to 80 "
        "bytes of memory.",
    )
    max_mask_elements: int = Field(
        default=_BUDGETS.mask_elements,
        ge=1024,
        description="Most elements of a mask that is returned, or unpacked from bits; each takes a byte.",
    )
    max_columns: int = Field(default=_BUDGETS.columns, ge=2, description="Most columns of a dataset.")
    max_cells: int = Field(
        default=_BUDGETS.cells,
        ge=1024,
        description="Most cells (rows times columns) of a Parquet or Arrow dataset, which may unpack to far more than "
        "its size.",
    )
    max_npz_bytes: int = Field(
        default=_BUDGETS.npz_bytes,
        ge=1024,
        description="Largest arrays of an npz dataset, unpacked; they are read into memory. Default: 1 GiB.",
    )
    reader_memory_bytes: int = Field(
        default=2 << 30,
        ge=1 << 28,
        description="Memory that the process may take which looks through an upload, or reads rows to predict from "
        "Parquet or Arrow. Default: 2 GiB.",
    )
    reader_timeout_s: float = Field(
        default=600.0, gt=0, description="Seconds after which that process is ended, and the request refused."
    )
    max_parameters: int = Field(
        default=_BUDGETS.parameters,
        ge=1,
        description="Most weights and biases of a network to train; each takes up to 24 bytes of its process.",
    )
    max_activations: int = Field(
        default=_BUDGETS.activations,
        ge=1,
        description="Most activations of a pass, which are the rows of a mini-batch (or the 1024 that validation takes "
        "at once) times the units of all layers; each takes up to 12 bytes of a training process.",
    )
    max_prediction_cells: int = Field(
        default=_BUDGETS.prediction_cells,
        ge=1,
        description="Most cells (rows times columns) of a Parquet or Arrow file of rows to predict, which may unpack "
        "to far more than its size; each takes up to 60 bytes of memory.",
    )
    max_prediction_elements: int = Field(
        default=_BUDGETS.prediction_elements,
        ge=1,
        description="Most rows times outputs of a prediction; each takes up to 50 bytes of memory.",
    )
    max_prediction_operations: int = Field(
        default=_BUDGETS.prediction_operations,
        ge=1,
        description="Most multiplications of a prediction, which are its rows times its samples times the weights of "
        "the network and 256 for each of its units. Default: a minute or two of a core.",
    )
    dispatcher: bool = Field(
        default=True,
        description="Whether `serve` also runs the dispatcher; `false` when `dropout-service dispatch` runs it.",
    )
    workers: int = Field(
        default_factory=cpus.available,
        ge=1,
        le=4096,
        description="Training jobs that run at the same time. Default: the CPUs that the process may keep busy.",
    )
    heartbeat_s: float = Field(
        default=1.0, gt=0, le=3600, description="Seconds between two signs of life of a running job."
    )
    lease_s: Annotated[float, AfterValidator(_longer_than_heartbeats)] = Field(
        default=15.0,
        gt=0,
        le=86_400,
        description="Seconds without a sign of life after which a job is taken for lost; at least three times "
        "`heartbeat_s`.",
    )
    checkpoint_s: float = Field(
        default=30.0, gt=0, le=86_400, description="Seconds between two checkpoints of a running job."
    )
    job_memory_bytes: int | None = Field(
        default=None,
        ge=MIN_MEMORY_BYTES,
        description="Memory of one training process, at least 1 GB; mapped files do not count. Default: no limit.",
    )
    job_array_bytes: int = Field(
        default=ARRAY_BYTES,
        ge=0,
        description="Largest array of a training in its memory, such as the values of the table or what the network "
        "reads of them; a larger one is in a file on the disk that is mapped. Default: 64 MiB.",
    )
    drain_s: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="Seconds after SIGTERM in which `/readyz` answers 503 and everything else goes on, for a load "
        "balancer to notice.",
    )
    shutdown_timeout_s: int = Field(
        default=5,
        ge=0,
        le=3600,
        description="Seconds that open requests then have to end, and running jobs to write a checkpoint.",
    )
    max_connections: int = Field(
        default=512, ge=1, le=1_000_000, description="Connections at the same time; further ones are answered with 503."
    )
    idle_timeout_s: float = Field(
        default=65.0,  # longer than clients and proxies keep a connection, so that they end it, not we
        gt=0,
        le=86_400,
        description="Seconds after which a connection without a request is closed.",
    )
    headers_timeout_s: float = Field(
        default=15.0, gt=0, le=86_400, description="Seconds in which the headers of a request have to come."
    )
    min_body_rate: int = Field(
        default=1024,
        ge=1,
        description="Bytes of a body that have to come each second, in the mean of ten, and of an answer that have to "
        "be read, in the mean of `send_timeout_s`; a slower client is cut off.",
    )
    send_timeout_s: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="Seconds after which a client that reads nothing of an answer, an event stream, say, is cut off.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log messages to write."
    )

    @property
    def listens_on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names by which the service may be called."""
        if self.allowed_hosts is not None:
            return tuple(_items(self.allowed_hosts))
        return (*_LOOPBACK, self.host) if self.listens_on_loopback else ("*",)

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins of pages from which writes are taken."""
        if self.allowed_origins is not None:
            return tuple(_items(self.allowed_origins))
        return () if self.listens_on_loopback else ("*",)

    @property
    def budgets(self) -> Budgets:
        """What one request may allocate and compute."""
        return Budgets(**{budget.name: getattr(self, f"max_{budget.name}") for budget in fields(Budgets)})
