"""``Trainer``: fits the networks of a specification, step by step, resumable to the last bit."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.scratch import IN_MEMORY
from dropout_service.training import checkpoint
from dropout_service.training.ensemble import stacked, together
from dropout_service.training.identity import Identity
from dropout_service.training.member import Member
from dropout_service.training.networks import build_loss, build_network, output_units, resolve_loss
from dropout_service.training.plan import have_one_split, plans_of_ensemble
from dropout_service.training.preparation import check_inputs, fit_encoders, prepare
from dropout_service.training.spec import DataSpec
from dropout_service.training.split import Split
from dropout_service.training.targets import Targets
from dropout_service.training.trained import TrainedModel
from dropout_service.training.validation import validation_of_mean
from dropout_service.training.weights import row_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from dropout_service.nn.network import Network
    from dropout_service.nn.shared_network import SharedNetwork
    from dropout_service.scratch import Scratch
    from dropout_service.training.checkpoint import TrainingEnd
    from dropout_service.training.data import TrainingData
    from dropout_service.training.metrics import EpochMetrics
    from dropout_service.training.plan import MemberPlan
    from dropout_service.training.spec import TrainingSpec

__all__ = ["Trainer"]

_ENDS: Final[tuple[TrainingEnd, ...]] = ("max_runtime", "completed", "early_stopped")
"""The latest first."""
_FASTER: Final = 4
"""How many times as many steps a call may take as the one before it."""


class Trainer:
    """Fit the network of ``spec`` to ``data``, or its networks.

    The weights after a step are a pure function of specification, data and the number of the step (on one platform
    and with one number of BLAS threads), whether or not the training was interrupted in between.

    Parameters
    ----------
    spec
        What to train and how; its ``data`` is not looked at.
    data
        The rows.
    members
        The networks to train, of one shape: they may differ in seed, rows, rates and learning rate, and in whatever
        else says how steps are taken. Encoders and weights of rows, and the time for all, are those of ``spec``.
        ``None``: the networks that ``spec`` asks for.
    resume
        What ``checkpoint`` of a trainer of the same specification, data and networks returned.
    scratch
        Makes the arrays of the encoded rows.

    Raises
    ------
    InvalidInputError
        Data that the specification does not fit, networks of several shapes, or a checkpoint of another training.
    StorageFullError
        There is no room for the arrays on the disk.

    Examples
    --------
    >>> import numpy as np
    >>> from dropout_service.training.data import TrainingData
    >>> from dropout_service.training.spec import TrainingSpec
    >>> x = np.linspace(-1, 1, 40).reshape(-1, 1)
    >>> data = TrainingData(x, 3 * x[:, 0], ("x",), "y", None)
    >>> spec = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "line"}, "epochs": 2})
    >>> trainer = Trainer(spec, data)
    >>> [metrics.epoch for metrics in trainer.run()]
    [1, 2]
    >>> trainer.finish().weights_digest.partition(":")[0]
    'sha256'
    """

    def __init__(
        self,
        spec: TrainingSpec,
        data: TrainingData,
        members: Sequence[MemberPlan] | None = None,
        *,
        resume: bytes | None = None,
        scratch: Scratch = IN_MEMORY,
    ) -> None:
        classes = None if data.classes is None else len(data.classes)
        self._spec, self._data, self._given = spec, data, members
        self._loss_name = resolve_loss(spec, classes)
        plans = self._plans = members or plans_of_ensemble(spec, data, scratch)
        names = data.target_names or (data.target_name,)
        losses = [build_loss(plan.spec, self._loss_name, len(names)) for plan in plans]
        # Smoothing is for the training: the loss of the validation part says how good the probabilities are
        plain = spec.model_copy(update={"label_smoothing": 0.0})
        validation_loss = self._validation_loss = build_loss(plain, self._loss_name, len(names))
        own = not have_one_split(plans)
        # What all networks see: of parts of their own every row, as most of them train on it
        whole = Split(np.arange(len(data.y)), np.arange(0)) if own else plans[0].parts
        encoders = fit_encoders(spec, data, whole.train)
        outputs = output_units(losses[0], classes)
        networks = [build_network(plan.spec, encoders.cardinalities, outputs) for plan in plans]
        _check_shapes(networks)
        rows = self._rows = prepare(spec, data, whole, encoders.sparing(networks[0].codes), scratch)
        check_inputs(data, whole, rows, networks[0])
        targets = Targets(names, rows.target_transform, rows.target_scaling)
        self._own_y = data.y[whole.validation] if targets.curved else data.y[:0]
        self._members = [
            Member(
                plan.spec,
                network,
                rows.of_parts(plan.parts, row_weights(spec, data, *plan.parts), scratch) if own else rows,
                plan.parts.train if own else None,
                loss=loss,
                validation_loss=validation_loss,
                targets=targets,
                own_y=data.y[plan.parts.validation] if targets.curved else data.y[:0],
                scratch=scratch,
            )
            for plan, network, loss in zip(plans, networks, losses, strict=True)
        ]
        self._running_s = 0.0
        self._started_s: float | None = None
        self._steps = 1
        """Steps of the next turn of a network."""
        if resume is not None:
            positions = checkpoint.load(resume, self._identity, self._tensors(), networks=len(self._members))
            for member, position in zip(self._members, positions, strict=True):
                member.resume(position)
            self._running_s = positions[0].running_s

    @property
    def epoch(self) -> int:
        """Number of the epoch under way, from 1; of the last one when the training has ended."""
        return max(1, self.epochs_done + (self.stop_reason is None))

    @property
    def epochs_done(self) -> int:
        """Epochs that are complete, of the network that is furthest."""
        return max(member.position.epoch for member in self._members)

    @property
    def step(self) -> int:
        """Optimizer steps done, of the network that is furthest."""
        return max(member.position.step for member in self._members)

    @property
    def progress(self) -> float:
        """Part of the steps that the specification asks for that is done, 0 to 1; 1 when the training has ended."""
        return sum(member.progress for member in self._members) / len(self._members)

    @property
    def phase(self) -> str:
        """What is being done: ``training``, ``validating`` or ``finished``."""
        if self.stop_reason is not None:
            return "finished"
        return "training" if self._in_epoch else "validating"

    @property
    def stop_reason(self) -> TrainingEnd | None:
        """Why the training has ended; ``None`` before that, and so after an interruption.

        Of several networks: that of those that ended last.
        """
        reasons = {member.position.stop_reason for member in self._members}
        if None in reasons:
            return None
        return next(reason for reason in _ENDS if reason in reasons)

    def run(self, interrupt: Callable[[], bool] = lambda: False, *, every_s: float = 0.0) -> Iterator[EpochMetrics]:
        """Train, yielding the metrics of each epoch as it closes; of several networks the means of those figures.

        Parameters
        ----------
        interrupt
            Asked between steps; true ends the iteration there. The state can then be taken by ``checkpoint``, and
            ``run`` may be called again to go on. It may itself call ``checkpoint``.
        every_s
            About how many seconds may lie between two questions; 0: it is asked after every step. Steps that are taken
            in one call take less time.

        Raises
        ------
        TrainingError
            ``diverged``: a loss, gradient or weight is no longer finite.
        """
        with ExitStack() as stack:
            threads = min(self._spec.threads, len(self._members))
            pool = None
            if threads > 1 and self._members[0].one_threaded:  # what runs layer by layer has its threads below
                pool = stack.enter_context(ThreadPoolExecutor(threads))
            while self.stop_reason is None:
                self._started_s = time.monotonic()
                try:
                    waiting = deque(member for member in self._members if member.in_epoch)
                    while waiting:
                        self._take(waiting, pool, threads if pool else 1, every_s)
                        if interrupt():
                            return
                        if self._out_of_time():
                            break
                    running = [member for member in self._members if not member.ended]
                    out_of_time = self._out_of_time()
                    for member in running:
                        member.close_epoch(out_of_time=out_of_time)
                finally:
                    self._running_s, self._started_s = self._seconds(), None
                yield together([_latest(member, running) for member in self._members])

    def checkpoint(self) -> bytes:
        """Return the state as bytes (safetensors), to be given to another trainer as ``resume``.

        Allowed between steps: while ``run`` is suspended, from within ``interrupt``, and after the end.
        """
        positions = [member.position for member in self._members]
        for position in positions:
            position.running_s = self._seconds()
        return checkpoint.save(self._identity, positions, self._tensors())

    def finish(self) -> TrainedModel:
        """Return the trained model: with early stopping the best weights, otherwise the last.

        Raises
        ------
        RuntimeError
            The training has not ended; or its networks are no ensemble: their models differ, in rates for instance.
        """
        if self.stop_reason is None:
            raise RuntimeError("the training has not ended; exhaust run() first")
        model = self._plans[0].spec.model
        if any(plan.spec.model != model for plan in self._plans) or (model.shares and len(self._plans) > 1):
            raise RuntimeError("networks of several models are no ensemble; look at the figures of each in `members`")
        members, network = self._members, self._members[0].network
        tensors = stacked([member.kept for member in members])
        buffers = network.buffers.views()
        inline = self._spec.data.dataset is None
        trained = TrainedModel(
            spec=self._spec.model_copy(update={"data": DataSpec(dataset="inline")}) if inline else self._spec,
            loss=self._loss_name,
            feature_names=self._data.feature_names,
            target_name=self._data.target_name,
            target_names=self._data.target_names,
            classes=self._data.classes,
            encoders=self._rows.encoders,
            target_transform=self._rows.target_transform,
            target_scaling=self._rows.target_scaling,
            params={name: array for name, array in tensors.items() if name not in buffers},
            metrics=together([member.metrics for member in members]),
            buffers={name: array for name, array in tensors.items() if name in buffers},
        )
        if len(members) == 1 or not self._rows.validation_rows:
            return trained  # of parts of their own the mean of what each says of rows that it has not seen
        networks = trained.networks()

        def outputs_of(x: NDArray[np.float32]) -> Iterator[NDArray[np.floating]]:
            return (network.forward(x) for network in networks)

        figures = validation_of_mean(outputs_of, self._rows, self._validation_loss, trained.targets, self._own_y)
        return replace(trained, metrics=replace(trained.metrics, validation=figures))

    @property
    def members(self) -> tuple[Member, ...]:
        """The networks, as they are now, with how far each is and its figures."""
        return tuple(self._members)

    @cached_property
    def _identity(self) -> Identity:
        return Identity.of(self._spec, self._data, self._given)

    @property
    def _in_epoch(self) -> bool:
        """Whether a network has steps left in the epoch under way."""
        return any(member.in_epoch for member in self._members)

    def _tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything that steps change, by name; of several networks with their numbers before."""
        if len(self._members) == 1:
            return self._members[0].tensors()
        return {
            f"members.{number}.{name}": tensor
            for number, member in enumerate(self._members)
            for name, tensor in member.tensors().items()
        }

    def _take(self, waiting: deque[Member], pool: ThreadPoolExecutor | None, together: int, every_s: float) -> None:
        """Take steps of the networks that have some left in the epoch, for about so many seconds.

        Each has its turn, ``together`` at a time, and then several steps: what it needs has then come into the caches.
        """
        began_s = turned_s = time.monotonic()
        while waiting:
            turn = [waiting.popleft() for _ in range(min(together, len(waiting)))]
            most = self._steps if self._members[0].one_threaded else 1  # by layers, a step may take long

            def take(member: Member, most: int = most) -> int:
                return member.take(most)

            deque((map if pool is None else pool.map)(take, turn), maxlen=0)
            waiting.extend(member for member in turn if member.in_epoch)
            now_s = time.monotonic()
            fitting = most * every_s / max(now_s - turned_s, 1e-9)
            self._steps = int(max(1, min(fitting, most * _FASTER, self._members[0].steps_per_epoch)))
            turned_s = now_s
            if now_s - began_s >= every_s or not self._members[0].one_threaded:
                return

    def _seconds(self) -> float:
        """Return the seconds spent inside ``run``, this attempt and those before."""
        now_s = 0.0 if self._started_s is None else time.monotonic() - self._started_s
        return self._running_s + now_s

    def _out_of_time(self) -> bool:
        limit_s = self._spec.max_runtime_s
        return limit_s is not None and self._seconds() >= limit_s


def _latest(member: Member, running: list[Member]) -> EpochMetrics:
    """Return the figures of the epoch that has just closed; of a network that ended before it those that it keeps."""
    metrics = member.position.metrics
    return member.metrics if metrics is None or member not in running else metrics


def _check_shapes(networks: Sequence[Network | SharedNetwork]) -> None:
    """Refuse networks that are not of one shape."""
    first, *others = ([(layer.shapes, layer.buffer_shapes) for layer in network.layers] for network in networks)
    for number, shapes in enumerate(others, 1):
        if shapes != first:
            message = "its shape is not that of the first network; seed, rows, rates and learning rate may differ"
            raise InvalidInputError.at(f"/members/{number}/model", message)
