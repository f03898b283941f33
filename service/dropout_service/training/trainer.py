"""``Trainer``: fits the network of a specification, step by step, resumable to the last bit."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.errors import InvalidInputError, TrainingError
from dropout_service.kernels.streams import Purpose, permutation, stream
from dropout_service.kernels.training.optimizer_steps import max_norm
from dropout_service.nn.losses import UNWEIGHTED
from dropout_service.nn.mode import Mode
from dropout_service.nn.network import dropouts
from dropout_service.training import checkpoint
from dropout_service.training.identity import Identity
from dropout_service.training.metrics import EpochMetrics, summarize
from dropout_service.training.networks import (
    EVALUATION_ROWS,
    build_loss,
    build_network,
    build_optimizer,
    build_rate_schedules,
    build_schedule,
    output_units,
    resolve_loss,
)
from dropout_service.training.preparation import check_inputs, fit_encoders, prepare
from dropout_service.training.spec import DataSpec
from dropout_service.training.split import split
from dropout_service.training.trained import TrainedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from dropout_service.training.checkpoint import TrainingEnd
    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

__all__ = ["Trainer"]


class Trainer:
    """Fit the network of ``spec`` to ``data``.

    The weights after a step are a pure function of specification, data and the number of the step (on one platform
    and with one number of BLAS threads), whether or not the training was interrupted in between.

    Parameters
    ----------
    spec
        What to train and how; its ``data`` is not looked at.
    data
        The rows.
    resume
        What ``checkpoint`` of a trainer of the same specification and data returned.

    Raises
    ------
    InvalidInputError
        Data that the specification does not fit, or a checkpoint of another training.

    Examples
    --------
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

    def __init__(self, spec: TrainingSpec, data: TrainingData, *, resume: bytes | None = None) -> None:
        classes = None if data.classes is None else len(data.classes)
        self._spec = spec
        self._data = data
        self._loss_name = resolve_loss(spec, classes)
        targets = 1 if data.target_names is None else len(data.target_names)
        self._loss = build_loss(spec, self._loss_name, targets)
        # Smoothing is for the training: the loss of the validation part says how good the probabilities are
        plain = spec.model_copy(update={"label_smoothing": 0.0})
        self._validation_loss = build_loss(plain, self._loss_name, targets)
        parts = split(data, spec.validation_fraction, seed=spec.seed)
        encoders = fit_encoders(spec, data, parts.train)
        self._network = build_network(spec, encoders.width, output_units(self._loss, classes))
        self._rows = prepare(spec, data, parts, encoders.sparing(self._network.codes))
        check_inputs(data, parts, self._rows, self._network)

        self._network.initialize(spec.model.initializer, seed=spec.seed)
        self._network.fit(self._rows.x)
        self._optimizer = build_optimizer(spec, self._network)
        self._state = {"params": self._network.parameters.values, "buffers": self._network.buffers.values}
        self._best = {
            name: np.zeros_like(values if spec.early_stopping else np.empty(0)) for name, values in self._state.items()
        }

        self._y, self._y_validation = (
            part if data.classes is not None else part.reshape(len(part), targets)
            for part in (self._rows.y, self._rows.y_validation)
        )
        x, y = self._rows.x, self._y
        rows = len(x)
        self._batch_rows = min(spec.batch_size, rows)
        self._steps_per_epoch = math.ceil(rows / self._batch_rows)
        self._schedule = build_schedule(spec, self._steps_per_epoch)
        self._rate_schedules = build_rate_schedules(spec, self._network)
        self._order = np.arange(0)
        self._x_batch = np.empty((self._batch_rows, x.shape[1]), x.dtype)
        self._y_batch = np.empty((self._batch_rows, *y.shape[1:]), y.dtype)
        self._weights_batch = np.empty(self._batch_rows if self._rows.weights.size else 0)
        outputs = self._network.dense_layers[-1].bias.size
        self._grad_outputs = np.empty((max(self._batch_rows, EVALUATION_ROWS), outputs), x.dtype)
        self._norms = np.empty(max(layer.bias.size for layer in self._network.dense_layers))

        self._started_s: float | None = None
        self._position = checkpoint.Position(sums=self._loss.sums)
        if resume is not None:
            self._position = checkpoint.load(resume, self._identity, self._tensors())
            inside = self._position.batch <= self._steps_per_epoch and self._position.epoch <= spec.epochs
            if not inside or self._position.sums.shape != self._loss.sums.shape:
                raise InvalidInputError.at("/checkpoint", "the position lies outside of the training")
            if self._position.batch:
                self._shuffle()

    @property
    def epoch(self) -> int:
        """Number of the epoch under way, from 1; of the last one when the training has ended."""
        return max(1, self._position.epoch + (self.stop_reason is None))

    @property
    def epochs_done(self) -> int:
        """Epochs that are complete."""
        return self._position.epoch

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self._position.step

    @property
    def progress(self) -> float:
        """Part of the steps that the specification asks for that is done, 0 to 1; 1 when the training has ended."""
        if self.stop_reason is not None:
            return 1.0
        return (self._position.epoch + self._position.batch / self._steps_per_epoch) / self._spec.epochs

    @property
    def phase(self) -> str:
        """What is being done: ``training``, ``validating`` or ``finished``."""
        if self.stop_reason is not None:
            return "finished"
        return "validating" if self._position.batch == self._steps_per_epoch else "training"

    @property
    def stop_reason(self) -> TrainingEnd | None:
        """Why the training has ended; ``None`` before that, and so after an interruption."""
        return self._position.stop_reason

    def run(self, interrupt: Callable[[], bool] = lambda: False) -> Iterator[EpochMetrics]:
        """Train, yielding the metrics of each epoch as it closes.

        Parameters
        ----------
        interrupt
            Asked after every step; true ends the iteration there. The state can then be taken by ``checkpoint``, and
            ``run`` may be called again to go on. It may itself call ``checkpoint``.

        Raises
        ------
        TrainingError
            ``diverged``: a loss, gradient or weight is no longer finite.
        """
        position = self._position
        while position.stop_reason is None:
            self._started_s = time.monotonic()
            try:
                if position.batch == 0:
                    self._shuffle()
                while position.batch < self._steps_per_epoch:
                    self._step()
                    if interrupt():
                        return
                    if self._out_of_time():
                        break
                metrics = self._close_epoch()
            finally:
                position.running_s = self._running_s()
                self._started_s = None
            yield metrics

    def checkpoint(self) -> bytes:
        """Return the state as bytes (safetensors), to be given to another trainer as ``resume``.

        Allowed between steps: while ``run`` is suspended, from within ``interrupt``, and after the end.
        """
        self._position.running_s, running_s = self._running_s(), self._position.running_s
        try:
            return checkpoint.save(self._identity, self._position, self._tensors())
        finally:
            self._position.running_s = running_s

    def finish(self) -> TrainedModel:
        """Return the trained model: with early stopping the best weights, otherwise the last.

        Raises
        ------
        RuntimeError
            The training has not ended.
        """
        position = self._position
        if self.stop_reason is None or position.metrics is None:
            raise RuntimeError("the training has not ended; exhaust run() first")
        network, kept = self._network, self._state if position.best is None else self._best
        inline = self._spec.data.dataset is None
        return TrainedModel(
            spec=self._spec.model_copy(update={"data": DataSpec(dataset="inline")}) if inline else self._spec,
            loss=self._loss_name,
            feature_names=self._data.feature_names,
            target_name=self._data.target_name,
            target_names=self._data.target_names,
            classes=self._data.classes,
            encoders=self._rows.encoders,
            target_scaling=self._rows.target_scaling,
            params={name: view.astype(np.float32) for name, view in network.parameters.views(kept["params"]).items()},
            metrics=position.best or position.metrics,
            buffers={name: view.astype(np.float32) for name, view in network.buffers.views(kept["buffers"]).items()},
        )

    @cached_property
    def _identity(self) -> Identity:
        return Identity.of(self._spec, self._data)

    def _tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything that steps change, by name."""
        tensors = {"params": self._state["params"], "best": self._best["params"]}
        tensors |= {f"optimizer.{name}": array for name, array in self._optimizer.state.items()}
        if self._state["buffers"].size:
            tensors |= {"buffers": self._state["buffers"], "best_buffers": self._best["buffers"]}
        return tensors

    def _shuffle(self) -> None:
        offset = stream(Purpose.SHUFFLE, step=self._position.epoch)
        self._order = permutation(len(self._rows.x), seed=self._spec.seed, offset=offset)

    def _time_epochs(self, batch: int) -> float:
        """Return the training time at which a mini-batch (from 0) of the epoch under way begins."""
        return self._position.epoch + batch / self._steps_per_epoch

    def _learning_rate(self, batch: int) -> float:
        return self._spec.optimizer.learning_rate * self._schedule(self._time_epochs(batch))

    def _set_rates(self, batch: int) -> None:
        """Put the dropout rates of a mini-batch in force."""
        for dropout, schedule in self._rate_schedules:
            dropout.rate = schedule(self._time_epochs(batch))

    def _step(self) -> None:
        """Take one optimizer step."""
        position, network = self._position, self._network
        chosen = self._order[position.batch * self._batch_rows : (position.batch + 1) * self._batch_rows]
        rows = len(chosen)
        x, y, grad = self._x_batch[:rows], self._y_batch[:rows], self._grad_outputs[:rows]
        # mode="clip" lets NumPy write into `out` without a buffer; the indices are in range
        np.take(self._rows.x, chosen, axis=0, out=x, mode="clip")
        np.take(self._y, chosen, axis=0, out=y, mode="clip")
        weights = UNWEIGHTED
        if self._rows.weights.size:
            weights = np.take(self._rows.weights, chosen, out=self._weights_batch[:rows], mode="clip")
        self._set_rates(position.batch)
        with np.errstate(all="ignore"):  # what overflows is found below, with a better message
            outputs = network.forward(x, Mode.training(self._spec.seed, position.step), differentiable=True)
            self._loss(outputs, y, grad, position.sums, weights)
            network.backward(grad)
            network.regularize(len(self._rows.x))
            norm = network.parameters.grad_norm()
        if not math.isfinite(position.sums[0]) or not math.isfinite(norm):
            raise self._diverged("the training loss or its gradient")
        clip = self._spec.clip_norm
        self._optimizer.step(
            network.parameters,
            learning_rate=self._learning_rate(position.batch),
            step=position.step + 1,
            grad_scale=clip / norm if clip is not None and norm > clip else 1.0,
        )
        if self._spec.max_norm is not None:
            for layer in network.dense_layers[:-1]:
                max_norm(layer.weight, self._spec.max_norm, self._norms[: layer.bias.size])
        position.batch += 1
        position.step += 1

    def _close_epoch(self) -> EpochMetrics:
        """Validate, decide whether to stop, and move to the next epoch."""
        position, spec = self._position, self._spec
        if not np.isfinite(self._network.parameters.values).all():
            raise self._diverged("a weight")
        complete = position.batch == self._steps_per_epoch
        self._set_rates(position.batch - 1)
        input_rate, *rates = (0.0 if dropout is None else dropout.rate for dropout in dropouts(self._network.layers))
        metrics = EpochMetrics(
            epoch=position.epoch + 1,
            epochs=spec.epochs,
            step=position.step,
            learning_rate=self._learning_rate(position.batch - 1),
            train=self._summary(
                position.sums,
                min(position.batch * self._batch_rows, len(self._rows.x)),
                self._rows.weights[self._order[: position.batch * self._batch_rows]]
                if self._rows.weights.size
                else UNWEIGHTED,
            ),
            validation=self._validate() if len(self._rows.x_validation) else None,
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
        elif self._out_of_time():
            position.stop_reason = "max_runtime"
        position.metrics = metrics
        position.epoch += 1
        position.batch = 0
        position.sums[:] = 0
        return metrics

    def _keep_best(self, metrics: EpochMetrics, min_delta: float) -> tuple[EpochMetrics, int]:
        """Keep the weights if the validation loss improved; return the metrics with ``best_epoch``, and its age."""
        best = self._position.best
        if best is None or _validation_loss(metrics) < _validation_loss(best) - min_delta:
            self._position.best = best = replace(metrics, best_epoch=metrics.epoch)
            for name, values in self._state.items():
                self._best[name][:] = values
        return replace(metrics, best_epoch=best.epoch), metrics.epoch - best.epoch

    def _validate(self) -> dict[str, float]:
        """Return the metrics of the validation part, in evaluation mode."""
        x, y, weights = self._rows.x_validation, self._y_validation, self._rows.weights_validation
        sums = self._loss.sums
        for begin in range(0, len(x), EVALUATION_ROWS):
            part = slice(begin, begin + EVALUATION_ROWS)
            with np.errstate(all="ignore"):
                outputs = self._network.forward(x[part])
            self._validation_loss(outputs, y[part], self._grad_outputs[: len(outputs)], sums, weights[part])
        if not math.isfinite(sums[0]):
            raise self._diverged("the validation loss")
        return self._summary(sums, len(x), weights)

    def _summary(
        self, sums: NDArray[np.float64], rows: int, weights: NDArray[np.float64] = UNWEIGHTED
    ) -> dict[str, float]:
        scaling = self._rows.target_scaling
        weight = float(weights.sum()) if weights.size else None
        scales = [1.0] if scaling is None else scaling.scale.tolist()
        names = self._data.target_names or (self._data.target_name,)
        units = dict(zip(names, scales, strict=True))
        return summarize(self._spec.task, sums.tolist(), rows, target_scales=units, weight=weight)

    def _diverged(self, what: str) -> TrainingError:
        position, spec = self._position, self._spec
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

    def _running_s(self) -> float:
        """Return the seconds spent inside ``run``, this attempt and those before."""
        now_s = 0.0 if self._started_s is None else time.monotonic() - self._started_s
        return self._position.running_s + now_s

    def _out_of_time(self) -> bool:
        limit_s = self._spec.max_runtime_s
        return limit_s is not None and self._running_s() >= limit_s


def _validation_loss(metrics: EpochMetrics) -> float:
    """Return what early stopping watches; the specification guarantees a validation part."""
    return math.inf if metrics.validation is None else metrics.validation["loss"]
