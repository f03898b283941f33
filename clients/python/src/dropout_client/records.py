"""What the service tells of its resources: frozen, typed, and deaf to fields that it does not know.

The service may add fields at any time; an older client ignores them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from dropout_client.errors import UnexpectedResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ClassCount",
    "Column",
    "ColumnDecision",
    "Dataset",
    "EpochMetrics",
    "Event",
    "Failure",
    "JobAttempt",
    "JobRecord",
    "ModelRecord",
    "TableSchema",
    "Variant",
    "VariantParameter",
]

T = TypeVar("T")
Label = str | int | float | bool
"""What a class is called: the value as it stands in the dataset."""

_TERMINAL = frozenset({"succeeded", "failed", "cancelled"})


class _Record:
    """Builds itself from JSON: known fields are taken, the others left."""

    __slots__ = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Build the record from what the service sent."""
        try:
            return cls._build(document)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UnexpectedResponseError(f"the answer is not a {cls.__name__}: {error}") from error

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        known = {one.name for one in fields(cls)}  # pyright: ignore[reportArgumentType] # each subclass is a dataclass
        return cls(**{name: value for name, value in document.items() if name in known} | converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount(_Record):
    """How often a label occurs."""

    label: Label
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDecision(_Record):
    """What a training does with a column unless its specification says otherwise, why, and what to look at before."""

    use: bool
    kind: str
    reason: str
    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(_Record):
    """One column of a dataset; ``training`` says what is done with it, ``same_as`` and ``one_to_one`` what it is like.

    ``min``, ``max``, ``mean`` and ``std`` are of numbers, ``classes`` of few values, ``stored`` of files with types.
    """

    name: str
    type: str
    missing: int = 0
    distinct: int | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    classes: tuple[ClassCount, ...] | None = None
    constant: bool = False
    date: bool = False
    stored: str | None = None
    same_as: str | None = None
    one_to_one: str | None = None
    training: ColumnDecision | None = None

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        classes, training = document.get("classes"), document.get("training")
        counts = None if classes is None else tuple(ClassCount.from_json(one) for one in classes)
        decision = None if training is None else ColumnDecision.from_json(training)
        return super(Column, cls)._build(document, classes=counts, training=decision, **converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema(_Record):
    """What the service found in a dataset; ``options`` tell how a csv is read, as said or found."""

    rows: int
    columns: tuple[Column, ...]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        columns = map(Column.from_json, document["columns"])
        return super(TableSchema, cls)._build(document, columns=tuple(columns), **converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(_Record):
    """A stored dataset; its id follows from its content."""

    id: str
    name: str | None = None
    format: str
    size_bytes: int
    created_at: datetime
    digest: str | None = None
    schema: TableSchema

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        return super(Dataset, cls)._build(
            document,
            schema=TableSchema.from_json(document["schema"]),
            created_at=_moment(document["created_at"]),
            **converted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics(_Record):
    """Where a training stood after an epoch (from 1).

    ``train`` and ``validation`` map a metric's name (``loss``, ``accuracy``, ``rmse``, ...) to its value.
    ``dropout_rates`` are those of the hidden layers at the epoch's end, as scheduled or learned.
    """

    epoch: int
    epochs: int
    step: int | None = None
    learning_rate: float | None = None
    train: Mapping[str, float] = field(default_factory=dict[str, float])
    validation: Mapping[str, float] | None = None
    best_epoch: int | None = None
    dropout_rates: tuple[float, ...] | None = None
    input_dropout_rate: float | None = None

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        validation, rates = document.get("validation"), document.get("dropout_rates")
        return super(EpochMetrics, cls)._build(
            document,
            train=_numbers(document.get("train") or {}),
            validation=None if validation is None else _numbers(validation),
            dropout_rates=None if rates is None else tuple(rates),
            **converted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(_Record):
    """Why a job failed."""

    code: str
    message: str = ""
    phase: str | None = None
    epoch: int | None = None
    hint: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAttempt(_Record):
    """One attempt at a job.

    Attributes
    ----------
    reason
        Why it ended: the stop reason of the job, or ``pause`` or ``shutdown``; ``None`` while it runs.
    message
        What happened, if it did not end in good order.
    epoch, step
        Complete epochs and optimizer steps of the checkpoint it went on from; ``None`` from the beginning.
    """

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    reason: str | None = None
    message: str | None = None
    epoch: int | None = None
    step: int | None = None

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        return super(JobAttempt, cls)._build(document, **_moments(document, "started_at", "ended_at"), **converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord(_Record):
    """A job as it stood when the service was asked.

    Attributes
    ----------
    status
        ``queued``, ``running``, ``pausing``, ``paused``, ``cancelling``, ``succeeded``, ``failed`` or ``cancelled``.
    stop_reason
        Why it ended: ``completed``, ``early_stopped``, ``max_runtime``, ``cancelled``, ``diverged``, ...
    attempts
        How each attempt began and ended; empty in lists.
    phase
        What the latest attempt is doing, or did last: ``loading``, ``training`` or ``saving``.
    retry_at
        When the next attempt may begin, after attempts that died.
    progress
        From 0 to 1.
    metrics
        Those of the latest epoch.
    model
        Id of the model, once the job has succeeded.
    unreadable
        Why the version of the service that was asked cannot read the specification, and leaves the job to another one.
    """

    id: str
    name: str | None = None
    status: str
    stop_reason: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict[str, Any])
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0
    phase: str | None = None
    max_attempts: int | None = None
    attempts: tuple[JobAttempt, ...] = ()
    retry_at: datetime | None = None
    priority: int = 0
    max_memory_bytes: int | None = None
    progress: float = 0.0
    epoch: int | None = None
    epochs: int | None = None
    estimated_finish_at: datetime | None = None
    metrics: EpochMetrics | None = None
    model: str | None = None
    failure: Failure | None = None
    unreadable: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the job has ended, one way or another."""
        return self.status in _TERMINAL

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        times = ("created_at", "started_at", "finished_at", "estimated_finish_at", "retry_at")
        metrics, failure = document.get("metrics"), document.get("failure")
        return super(JobRecord, cls)._build(
            document,
            metrics=None if metrics is None else EpochMetrics.from_json(metrics),
            failure=None if failure is None else Failure.from_json(failure),
            attempts=tuple(JobAttempt.from_json(one) for one in document.get("attempts") or ()),
            **_moments(document, *times),
            **converted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(_Record):
    """Something that happened to a job.

    Attributes
    ----------
    sequence
        Strictly increasing within a job.
    type
        ``queued``, ``started``, ``epoch``, ``restarted``, ``succeeded``, ``failed``, ``cancelled``, ...
    at
        When.
    data
        What belongs to the type: the metrics of an ``epoch``, the reason of a ``restarted``.
    """

    sequence: int
    type: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def final(self) -> bool:
        """Whether no other event follows."""
        return self.type in _TERMINAL

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        return super(Event, cls)._build(
            document, at=_moment(document["at"]), data=document.get("data") or {}, **converted
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord(_Record):
    """A trained network, as the service describes it.

    Attributes
    ----------
    job
        Id of the job that trained it.
    digest
        ``sha256:...`` of the file that ``download`` gives.
    weights_digest
        ``sha256:...`` of the weights alone; equal for equal trainings.
    description
        The specification, names of features and target, classes, layers and metrics.
    """

    id: str
    job: str | None = None
    name: str | None = None
    task: Literal["classification", "regression"]
    created_at: datetime
    size_bytes: int
    digest: str
    weights_digest: str | None = None
    description: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        return super(ModelRecord, cls)._build(document, created_at=_moment(document["created_at"]), **converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantParameter(_Record):
    """A parameter of a kind of dropout.

    ``default`` is ``None`` where it is required or drawn, ``minimum`` and ``maximum`` where there is no bound.
    """

    name: str
    description: str = ""
    kind: str = ""
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(_Record):
    """A kind of dropout that the service offers: what it drops, its formulas forward and backward, and its paper.

    ``masked`` tells whether its noise is a mask, ``learns_rate`` whether its gradient includes that of the rate.
    """

    name: str
    title: str = ""
    drops: str = ""
    constraints: str = ""
    parameters: tuple[VariantParameter, ...] = ()
    masked: bool = True
    learns_rate: bool = False
    scalings: tuple[str, ...] = ()
    algorithm: str = ""
    formula: str | None = None
    gradient: str | None = None
    paper: str | None = None

    @classmethod
    def _build(cls, document: Mapping[str, Any], **converted: Any) -> Self:
        parameters = tuple(VariantParameter.from_json(one) for one in document.get("parameters") or ())
        scalings = tuple(document.get("scalings") or ())
        return super(Variant, cls)._build(document, parameters=parameters, scalings=scalings, **converted)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _moments(document: Mapping[str, Any], *names: str) -> dict[str, datetime]:
    return {name: _moment(document[name]) for name in names if document.get(name) is not None}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers, among them those that JSON writes as text: "NaN", "Infinity", "-Infinity"."""
    return {name: float(value) for name, value in values.items() if value is not None}
