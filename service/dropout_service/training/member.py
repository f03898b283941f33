"""``Member``: one network of a training, with its position; a training has one of them or several.

Networks that share weights are one here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.errors import InvalidInputError, TrainingError
from dropout_service.kernels.streams import Purpose, permutation, stream
from dropout_service.nn.losses import UNWEIGHTED
from dropout_service.nn.network import dropouts
from dropout_service.nn.shared_network import SharedNetwork
from dropout_service.nn.step_plan import StepPlan
from dropout_service.nn.stepping import make_steps
from dropout_service.scratch import IN_MEMORY
from dropout_service.training.checkpoint import Position
from dropout_service.training.metrics import EpochMetrics, summarize
from dropout_service.training.networks import (
    EVALUATION_ROWS,
    build_optimizer,
    build_rate_schedules,
    build_schedule,
)
from dropout_service.training.validation import validation_of_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dropout_service.nn.losses import Loss
    from dropout_service.nn.network import Network
    from dropout_service.scratch import Scratch
    from dropout_service.training.preparation import PreparedData
    from dropout_service.training.spec import TrainingSpec
    from dropout_service.training.targets import Targets

__all__ = ["Member"]


class Member:
    """One network, its optimizer, and how far its training is.

    Its weights after a step are a pure function of specification, data, seed and the number of the step: they do not
    depend on other members.

    Parameters
    ----------
    spec
        How to train it, with the seed of its initial weights, shuffles and masks.
    network
        A new network that takes the rows; it is initialised here.
    rows
        What to train and to validate on.
    chosen
        Numbers of the rows of the training part that it is trained on; ``None``: all.
    loss, validation_loss
        What is minimised, and what is reported of the validation part.
    targets
        Their units.
    own_y
        The targets of the validation part in their own unit, where they are transformed; else without rows.
    scratch
        Makes the order of the rows.
    """

    def __init__(
        self,
        spec: TrainingSpec,
        network: Network | SharedNetwork,
        rows: PreparedData,
        chosen: NDArray[np.intp] | None = None,
        *,
        loss: Loss,
        validation_loss: Loss,
        targets: Targets,
        own_y: NDArray[Any],
        scratch: Scratch = IN_MEMORY,
    ) -> None:
        self._spec, self._rows = spec, rows
        self._validation_loss, self._targets = validation_loss, targets
        self._own_y = own_y
        self.network = network
        network.initialize(spec.model.initializer, seed=spec.seed)
        self._chosen = chosen
        self._order = scratch.empty(len(rows.x) if chosen is None else chosen.size, np.int64)
        network.fit(rows.x, chosen)
        self._optimizer = build_optimizer(spec, network)
        self._state = {"params": network.parameters.values, "buffers": network.buffers.values}
        self._best = {
            name: np.zeros_like(values if spec.early_stopping else np.empty(0)) for name, values in self._state.items()
        }
        self._batch_rows = min(spec.batch_size, self._order.size)
        self.steps_per_epoch = math.ceil(self._order.size / self._batch_rows)
        self._schedule = build_schedule(spec, self.steps_per_epoch)
        # Asked for once: of a small network what comes between two epochs takes as long as some of its steps
        self._constant_rate = spec.schedule.kind == "constant" and not spec.schedule.warmup_epochs
        self._dropouts = dropouts(network.layers)
        self._training_scales = targets.training_scales
        self._rate_schedules = build_rate_schedules(spec, network)
        plan = StepPlan(
            rows.x,
            rows.y if loss.task == "classification" else rows.y.reshape(len(rows.y), loss.head.targets),
            rows.weights,
            batch_rows=self._batch_rows,
            training_rows=self._order.size,
            seed=spec.seed,
            scheduled=[dropout for dropout, _ in self._rate_schedules],
            clip_norm=spec.clip_norm,
            max_norm=spec.max_norm,
            threads=spec.threads,
        )
        self._steps = make_steps(network, loss, self._optimizer, plan)
        self._unused_grad = np.empty((EVALUATION_ROWS, network.layers[-1].units), np.float32)
        self._empty_sums = loss.sums
        self.position = Position(sums=loss.sums)

    @property
    def one_threaded(self) -> bool:
        """Whether a step keeps one thread busy at most, whatever a training may use."""
        return self._steps.one_threaded

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.position.stop_reason is not None

    @property
    def in_epoch(self) -> bool:
        """Whether it has steps left in the epoch under way."""
        return not self.ended and self.position.batch < self.steps_per_epoch

    @property
    def progress(self) -> float:
        """Part of the steps that the specification asks for that is done, 0 to 1; 1 when the training has ended."""
        done = self.position.epoch + self.position.batch / self.steps_per_epoch
        return 1.0 if self.ended else done / self._spec.epochs

    @property
    def kept(self) -> Mapping[str, NDArray[Any]]:
        """Parameters and buffers of the result, each by name: with early stopping the best, otherwise the last."""
        values = self._state if self.position.best is None else self._best
        return self.network.parameters.views(values["params"]) | self.network.buffers.views(values["buffers"])

    @property
    def metrics(self) -> EpochMetrics:
        """Figures of the epoch whose weights are the result."""
        metrics = self.position.best or self.position.metrics
        if metrics is None:
            raise RuntimeError("no epoch has been closed yet")
        return metrics

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything that steps change, by name."""
        tensors = {"params": self._state["params"], "best": self._best["params"]}
        tensors |= {f"optimizer.{name}": array for name, array in self._optimizer.state.items()}
        if self._state["buffers"].size:
            tensors |= {"buffers": self._state["buffers"], "best_buffers": self._best["buffers"]}
        return tensors

    def resume(self, position: Position) -> None:
        """Go on from a position, whose tensors have been written into ``tensors`` already.

        Raises
        ------
        InvalidInputError
            It lies outside of the training.
        """
        inside = position.batch <= self.steps_per_epoch and position.epoch <= self._spec.epochs
        if not inside or position.sums.shape != self._empty_sums.shape:
            raise InvalidInputError.at("/checkpoint", "the position lies outside of the training")
        self.position = position
        if position.batch:
            self._shuffle()

    def take(self, most: int) -> int:
        """Take at most so many steps of the epoch under way; return how many.

        Raises
        ------
        TrainingError
            ``diverged``: a loss or gradient is no longer finite.
        """
        position = self.position
        if position.batch == 0:
            self._shuffle()
        count = min(most, self.steps_per_epoch - position.batch)
        if count <= 0 or self.ended:
            return 0
        times = self._times_epochs(range(position.batch, position.batch + count))
        taken = self._steps.take(
            self._order[position.batch * self._batch_rows : (position.batch + count) * self._batch_rows],
            self._learning_rates(times),
            self._rates(times),
            sums=position.sums,
            step=position.step,
        )
        position.batch += taken
        position.step += taken
        if taken < count:
            raise self._diverged("the training loss or its gradient")
        return taken

    def close_epoch(self, *, out_of_time: bool) -> None:
        """Validate, decide whether to stop, and move to the next epoch; ``position.metrics`` has its figures.

        Raises
        ------
        TrainingError
            ``diverged``: the validation loss or a weight is no longer finite.
        """
        position, spec = self.position, self._spec
        if not np.isfinite(self.network.parameters.values).all():
            raise self._diverged("a weight")
        complete = position.batch == self.steps_per_epoch
        (time,) = self._times_epochs(range(position.batch - 1, position.batch))
        for dropout, schedule in self._rate_schedules:
            dropout.rate = schedule(time)
        input_rate, *rates = (0.0 if dropout is None else dropout.rate for dropout in self._dropouts)
        seen = min(position.batch * self._batch_rows, self._order.size)
        metrics = EpochMetrics(
            epoch=position.epoch + 1,
            epochs=spec.epochs,
            step=position.step,
            learning_rate=spec.optimizer.learning_rate * self._schedule(time),
            train=self._summary(
                position.sums,
                seen,
                self._rows.weights[self._order[:seen]] if self._rows.weights.size else UNWEIGHTED,
                self._training_scales,
            ),
            validation=self._validate() if self._rows.validation_rows else None,
            best_epoch=None,
            dropout_rates=tuple(rates),
            input_dropout_rate=input_rate,
        )
        waited = 0
        if spec.early_stopping is not None:
            metrics, waited = self._keep_best(metrics, spec.early_stopping.min_delta)
        if metrics.epoch == spec.epochs and complete:
            position.stop_reason = "completed"
        elif spec.early_stopping is not None and waited >= spec.early_stopping.patience:
            position.stop_reason = "early_stopped"
        elif out_of_time:
            position.stop_reason = "max_runtime"
        position.metrics = metrics
        position.epoch += 1
        position.batch = 0
        position.sums[:] = 0

    def _rates(self, times: list[float]) -> NDArray[np.float64]:
        """Return the rates of the scheduled dropouts at each of the times."""
        if not self._rate_schedules:
            return np.empty((len(times), 0))
        return np.array([[schedule(time) for _, schedule in self._rate_schedules] for time in times])

    def _shuffle(self) -> None:
        offset = stream(Purpose.SHUFFLE, step=self.position.epoch)
        places = permutation(self._order.size, seed=self._spec.seed, offset=offset)
        self._order[:] = places if self._chosen is None else self._chosen[places]

    def _times_epochs(self, batches: range) -> list[float]:
        """Return the training times at which mini-batches (from 0) of the epoch under way begin."""
        epoch, steps = self.position.epoch, self.steps_per_epoch
        return [epoch + batch / steps for batch in batches]

    def _learning_rates(self, times: list[float]) -> NDArray[np.float64]:
        """Return the learning rate at each of the times."""
        rate = self._spec.optimizer.learning_rate
        if self._constant_rate:
            return np.full(len(times), rate)
        return np.array([rate * self._schedule(time) for time in times])

    def _keep_best(self, metrics: EpochMetrics, min_delta: float) -> tuple[EpochMetrics, int]:
        """Keep the weights if the validation loss improved; return the metrics with ``best_epoch``, and its age."""
        best = self.position.best
        if best is None or _validation_loss(metrics) < _validation_loss(best) - min_delta:
            self.position.best = best = replace(metrics, best_epoch=metrics.epoch)
            for name, values in self._state.items():
                self._best[name][:] = values
        return replace(metrics, best_epoch=best.epoch), metrics.epoch - best.epoch

    def _validate(self) -> dict[str, float]:
        """Return the metrics of the validation part in evaluation mode; where members share weights, of their mean."""
        rows, loss = self._rows, self._validation_loss
        if isinstance(self.network, SharedNetwork):
            with np.errstate(all="ignore"):
                figures = validation_of_mean(self.network.outputs, rows, loss, self._targets, self._own_y)
            if not math.isfinite(figures["loss"]):
                raise self._diverged("the validation loss")
            return figures
        sums = loss.sums
        errors, begin = np.zeros(len(sums) - 1), 0
        for x, y, weights in rows.validation_blocks(EVALUATION_ROWS):
            with np.errstate(all="ignore"):
                outputs = self.network.forward(x)
            targets = y if loss.task == "classification" else y.reshape(len(y), loss.head.targets)
            loss(outputs, targets, self._unused_grad[: len(outputs)], sums, weights)
            if self._targets.curved:
                errors += self._targets.errors(loss.head, outputs, self._own_y[begin : begin + len(y)])
                begin += len(y)
        if not math.isfinite(sums[0]):
            raise self._diverged("the validation loss")
        if self._targets.curved:
            sums[1:] = errors
        return self._summary(sums, rows.validation_rows, rows.weights_validation, self._targets.validation_scales)

    def _summary(
        self, sums: NDArray[np.float64], rows: int, weights: NDArray[np.float64], scales: Mapping[str, float]
    ) -> dict[str, float]:
        weight = float(weights.sum()) if weights.size else None
        return summarize(self._spec.task, sums.tolist(), rows, target_scales=scales, weight=weight)

    def _diverged(self, what: str) -> TrainingError:
        position, spec = self.position, self._spec
        hints = [f"lower the learning rate (now {spec.optimizer.learning_rate:g})"]
        if spec.clip_norm is None:
            hints.append("limit the gradient with clip_norm (1, say)")
        if not spec.standardize:
            hints.append("set standardize")
        return TrainingError(
            f"{what} is no longer finite at epoch {position.epoch + 1}, step {position.step + 1}",
            reason="diverged",
            epoch=position.epoch + 1,
            hint="; ".join(hints),
        )


def _validation_loss(metrics: EpochMetrics) -> float:
    """Return what early stopping watches; the specification guarantees a validation part."""
    return math.inf if metrics.validation is None else metrics.validation["loss"]
