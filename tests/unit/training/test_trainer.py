from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dropout_specs
import numpy as np
import pytest

from dropout_service.errors import InvalidInputError, TrainingError
from dropout_service.nn.network import dropouts
from dropout_service.training import checkpoint
from dropout_service.training.identity import Identity
from dropout_service.training.metrics import EpochMetrics
from dropout_service.training.tensors import unpack
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec


def trained(spec: TrainingSpec, data: TrainingData):
    trainer = Trainer(spec, data)
    history = list(trainer.run())
    return trainer, history


@pytest.mark.parametrize(
    ("classes", "loss", "outputs", "names"),
    [
        (2, "auto", 1, {"loss", "accuracy"}),
        (2, "cross_entropy", 2, {"loss", "accuracy"}),
        (3, "auto", 3, {"loss", "accuracy"}),
        (0, "auto", 1, {"loss", "rmse", "mae"}),
        (0, "gaussian_nll", 2, {"loss", "rmse", "mae"}),
    ],
)
def test_every_task_trains_and_learns(  # noqa: PLR0917 - one column of the table each
    make_data: Callable[..., TrainingData],
    make_spec: Callable[..., TrainingSpec],
    classes: int,
    loss: str,
    outputs: int,
    names: set[str],
):
    task = "classification" if classes else "regression"
    spec = make_spec(task=task, loss=loss, epochs=40, optimizer={"kind": "adam", "learning_rate": 0.01})
    trainer, history = trained(spec, make_data(rows=120, classes=classes))
    assert [metrics.epoch for metrics in history] == list(range(1, 41))
    assert history[-1].step == trainer.step == 40 * math.ceil(96 / 8)
    assert set(history[0].train) == set(history[0].validation) == names
    assert history[-1].validation["loss"] < history[0].validation["loss"] - 0.2
    assert trainer.stop_reason == "completed"
    model = trainer.finish()
    assert model.params["layers.2.bias"].shape == (outputs,)
    assert model.metrics == history[-1]


def test_figures_of_a_regression_are_in_the_targets_unit(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data(rows=60)
    spec = make_spec(model={"hidden": [], "dropout": ()}, epochs=1, batch_size=60, validation_fraction=0)
    before = Trainer(spec, data)
    network = before.members[0].network
    values = before._rows.target_scaling
    outputs = network.forward(before._rows.x)[:, 0] * values.scale[0] + values.mean[0]
    (metrics,) = before.run()
    error = outputs - data.y
    assert metrics.train["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert metrics.train["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert metrics.train["loss"] == pytest.approx((error**2).mean() / data.y.std() ** 2, rel=1e-5)


def test_the_last_partial_batch_is_trained_on(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    """With a learning rate of almost 0 the running loss is that of all rows, whatever the batches."""
    losses = []
    for batch_size in (7, 40, 1000):
        spec = make_spec(
            epochs=1,
            batch_size=batch_size,
            model={"hidden": [5], "dropout": 0},
            optimizer={"kind": "sgd", "learning_rate": 1e-12},
            validation_fraction=0,
        )
        trainer, history = trained(spec, make_data(rows=40))
        assert trainer.step == math.ceil(40 / batch_size)
        losses.append(history[0].train["loss"])
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_the_result_is_a_function_of_specification_and_data(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data(classes=3)

    def digest(**fields: Any) -> str:
        return trained(make_spec(task="classification", **fields), data)[0].finish().weights_digest

    assert digest() == digest(name="another name", max_runtime_s=1e6)
    assert len({digest(), digest(seed=4), digest(batch_size=9), digest(model={"hidden": [6, 5]})}) == 4


def test_early_stopping_keeps_the_best_weights(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data(rows=60)
    fields = {
        "model": {"hidden": [32], "dropout": 0},
        "optimizer": {"kind": "adam", "learning_rate": 0.05},
        "validation_fraction": 0.5,
    }
    spec = make_spec(epochs=200, early_stopping={"patience": 3}, **fields)
    trainer, history = trained(spec, data)
    assert trainer.stop_reason == "early_stopped"
    losses = [metrics.validation["loss"] for metrics in history]
    best = int(np.argmin(losses)) + 1
    assert len(history) == best + 3
    assert [metrics.best_epoch for metrics in history][-4:] == [best] * 4
    model = trainer.finish()
    assert model.metrics == history[best - 1]
    plain = make_spec(epochs=best, **fields)
    assert model.weights_digest == trained(plain, data)[0].finish().weights_digest


def test_an_improvement_below_min_delta_does_not_count(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    spec = make_spec(epochs=50, early_stopping={"patience": 2, "min_delta": 1e6})
    trainer, history = trained(spec, make_data())
    assert len(history) == 3
    assert trainer.finish().metrics.epoch == 1


@pytest.mark.parametrize("optimizer", [{"kind": "sgd", "learning_rate": 1e3}, {"kind": "adam", "learning_rate": 1e3}])
def test_divergence_is_an_error_with_a_hint(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], optimizer: dict[str, Any]
):
    spec = make_spec(epochs=300, optimizer=optimizer, standardize=False, model={"hidden": [64] * 12, "dropout": 0})
    with pytest.raises(TrainingError, match="no longer finite at epoch") as caught:
        trained(spec, make_data(rows=40))
    assert caught.value.reason == "diverged"
    assert caught.value.epoch is not None
    assert "lower the learning rate (now 1000)" in caught.value.hint
    assert "clip_norm" in caught.value.hint
    assert "standardize" in caught.value.hint


def test_a_weight_that_is_not_finite_ends_the_epoch(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    trainer = Trainer(make_spec(validation_fraction=0), make_data(rows=40))

    def spoil() -> bool:
        if trainer.step == 5:
            trainer.members[0].network.parameters.values[0] = np.inf
        return False

    with pytest.raises(TrainingError, match="a weight is no longer finite at epoch 1"):
        list(trainer.run(spoil))


def test_a_validation_part_out_of_reach_is_divergence(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    trainer = Trainer(make_spec(clip_norm=1.0), make_data())
    trainer._rows.y_validation[:] = np.inf
    with pytest.raises(TrainingError, match="the validation loss") as caught:
        list(trainer.run())
    assert "clip_norm" not in caught.value.hint
    assert "standardize" not in caught.value.hint


def test_max_runtime_ends_with_the_weights_reached(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    trainer, history = trained(make_spec(epochs=1000, max_runtime_s=1e-9), make_data())
    assert trainer.stop_reason == "max_runtime"
    assert trainer.progress == 1
    assert [metrics.epoch for metrics in history] == [1]
    assert history[0].step == 1
    assert history[0].validation is not None
    assert trainer.finish().metrics == history[0]


def test_max_runtime_counts_the_time_of_earlier_attempts(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data, spec = make_data(), make_spec(epochs=10)
    first = Trainer(spec, data)
    run = first.run()
    next(run)
    tensors, description = unpack(first.checkpoint(), pointer="")
    description.pop("digest")
    description["position"]["running_s"] = 100.0
    limited = spec.model_copy(update={"max_runtime_s": 90.0})
    earlier = checkpoint.save(
        Identity.of(spec, data), [checkpoint.Position.from_json(description["position"])], tensors
    )
    second = Trainer(limited, data, resume=earlier)
    assert len(list(second.run())) == 1
    assert second.stop_reason == "max_runtime"


def test_progress_moves_with_every_step(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    seen = []
    trainer = Trainer(make_spec(epochs=2, validation_fraction=0), make_data(rows=40))
    assert (trainer.progress, trainer.epoch, trainer.step, trainer.phase) == (0, 1, 0, "training")
    for _ in trainer.run(lambda: bool(seen.append((trainer.progress, trainer.epoch, trainer.step)))):
        pass
    assert seen == [(i / 10, 1 + (i > 5), i) for i in range(1, 11)]
    assert (trainer.progress, trainer.epoch, trainer.phase) == (1, 2, "finished")


def test_an_interrupted_training_has_no_stop_reason_and_no_model(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    trainer = Trainer(make_spec(), make_data())
    assert list(trainer.run(lambda: True)) == []
    assert trainer.stop_reason is None
    assert trainer.step == 1
    with pytest.raises(RuntimeError, match="not ended"):
        trainer.finish()


def test_the_schedule_is_reported_and_obeyed(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    schedule = {"kind": "step", "every_epochs": 2, "factor": 0.5, "warmup_epochs": 1}
    spec = make_spec(epochs=5, schedule=schedule, optimizer={"kind": "sgd", "learning_rate": 0.08})
    _, history = trained(spec, make_data())
    assert [metrics.learning_rate for metrics in history] == pytest.approx([0.08, 0.08, 0.08, 0.04, 0.04])


def test_the_dropout_rates_in_force_are_reported(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    """Of the last step of each epoch: 4 steps an epoch, so after 3/4 of it."""
    hidden = [{"rate": 0.4, "schedule": {"kind": "late", "first_epochs": 2}}, 0.3]
    inputs = {"variant": "gaussian", "rate": 0.2, "schedule": {"kind": "linear", "start": 0.1}}
    spec = make_spec(epochs=4, model={"hidden": [6, 5], "dropout": hidden, "input_dropout": inputs})
    trainer, history = trained(spec, make_data())
    assert [metrics.dropout_rates for metrics in history] == [(0.0, 0.3), (0.0, 0.3), (0.4, 0.3), (0.4, 0.3)]
    expected = [0.1 + 0.1 * (epoch + 0.75) / 4 for epoch in range(4)]
    assert [metrics.input_dropout_rate for metrics in history] == pytest.approx(expected)
    rates = [
        dropout.rate for dropout in dropouts(next(iter(trainer.finish().networks())).layers) if dropout is not None
    ]
    assert rates == [history[-1].input_dropout_rate, 0.4, 0.3]


def test_scheduled_rates_are_those_of_the_steps(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    """With dropout in the first epochs only, the rest is a training without: other rates give other weights."""

    def digest(dropout: Any) -> str:
        return trained(make_spec(model={"hidden": [6], "dropout": dropout}), make_data())[0].finish().weights_digest

    schedules = [{"kind": kind, "first_epochs": epochs} for kind in ("early", "late") for epochs in (1, 2)]
    digests = [digest(0.5), digest(0), *(digest({"rate": 0.5, "schedule": schedule}) for schedule in schedules)]
    assert len(set(digests)) == 6
    assert digest({"rate": 0.5, "schedule": {"kind": "early", "first_epochs": 4}}) == digests[0]
    assert digest({"rate": 0.5, "schedule": {"kind": "late", "first_epochs": 4}}) == digests[1]
    assert digest({"rate": 0.5}) == digests[0]


def test_a_learned_rate_is_reported_and_kept(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    dropout = {"variant": "concrete", "rate": 0.1}
    optimizer = {"kind": "adam", "learning_rate": 0.05}
    model_spec = {"hidden": [12], "dropout": dropout, "input_dropout": dropout}
    trainer, history = trained(make_spec(model=model_spec, optimizer=optimizer, epochs=20), make_data())
    model = trainer.finish()
    logits = [float(model.params[f"layers.{layer}.rate_logit"][0]) for layer in (0, 1)]
    last = history[-1]
    assert (last.input_dropout_rate, *last.dropout_rates) == pytest.approx([1 / (1 + np.exp(-one)) for one in logits])
    # A rate may come by its first value again, so the whole way counts.
    ways = np.array([(0.1, 0.1), *((metrics.input_dropout_rate, *metrics.dropout_rates) for metrics in history)])
    assert (np.ptp(ways, axis=0) > 0.01).all()


def test_the_penalty_alone_drives_a_learned_rate_to_the_largest_entropy(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    """With a target of noise and weights held at almost 0, nothing speaks against dropping: p goes to 1/2."""
    spec = make_spec(
        model={"hidden": [16], "dropout": {"variant": "concrete", "rate": 0.1}},
        optimizer={"kind": "adam", "learning_rate": 0.1},
        max_norm=1e-6,
        epochs=60,
        validation_fraction=0,
    )
    _, history = trained(spec, make_data())
    assert history[-1].dropout_rates == pytest.approx([0.5], abs=0.02)


def test_inputs_laid_out_otherwise_than_the_data_are_refused(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    spec = make_spec(model={"hidden": [6], "input_dropout": {"variant": "feature1d", "rate": 0.1, "shape": [3, 3]}})
    with pytest.raises(InvalidInputError, match="9 units, not 4") as caught:
        Trainer(spec, make_data())
    assert caught.value.errors[0].pointer == "/model/input_dropout/shape"


def test_clipping_bounds_the_step(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    data = make_data()
    optimizer = {"kind": "sgd", "learning_rate": 1.0, "momentum": 0.0}
    trainer = Trainer(make_spec(clip_norm=0.01, optimizer=optimizer), data)
    before = trainer.members[0].network.parameters.values.copy()
    list(trainer.run(lambda: True))
    moved = np.linalg.norm(trainer.members[0].network.parameters.values - before)
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_max_norm_bounds_hidden_units_and_not_the_output(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    spec = make_spec(max_norm=0.3, epochs=10, optimizer={"kind": "sgd", "learning_rate": 0.1})
    params = trained(spec, make_data())[0].finish().params
    norms = [np.linalg.norm(params[f"layers.{i}.weight"], axis=0) for i in range(3)]
    assert max(norms[0].max(), norms[1].max()) <= 0.3 * (1 + 1e-6)
    assert norms[2].max() > 0.3


def test_metrics_are_json(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    _, history = trained(make_spec(early_stopping={"patience": 5}), make_data())
    read = [EpochMetrics.from_json(json.loads(json.dumps(metrics.to_json()))) for metrics in history]
    assert read == history


@pytest.mark.parametrize(
    ("fields", "classes", "pointer"),
    [
        ({"task": "classification"}, 0, "/task"),
        ({"task": "regression"}, 2, "/task"),
        ({"task": "classification"}, 1, "/data/target"),
        ({"task": "classification", "loss": "binary_cross_entropy"}, 3, "/loss"),
    ],
)
def test_data_that_does_not_fit_is_refused(
    make_data: Callable[..., TrainingData],
    make_spec: Callable[..., TrainingSpec],
    fields: Any,
    classes: int,
    pointer: str,
):
    with pytest.raises(InvalidInputError) as caught:
        Trainer(make_spec(**fields), make_data(classes=classes))
    assert caught.value.errors[0].pointer == pointer


def test_arrays_in_place_are_not_kept_in_the_model(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data()
    inline = {"x": data.x.tolist(), "y": data.y.tolist()}
    model = trained(make_spec(epochs=1, data=inline), data)[0].finish()
    assert model.spec.data.dataset == "inline"
    assert model.spec.data.x is None


def test_warm_kernels_serve_a_training():
    """After `warm`, as the image and the forkserver run it, a training and a prediction compile nothing."""
    program = """
        import numpy as np
        from dropout_specs import DROPOUTS, model_with
        from dropout_service.kernels.codegen import compile_cache
        from dropout_service.models.prediction import predict
        from dropout_service.training.data import TrainingData
        from dropout_service.training.spec import TrainingSpec
        from dropout_service.training.trainer import Trainer

        def signatures():
            return {(d.py_func.__qualname__, s) for d in compile_cache._dispatchers for s in d.signatures}

        compile_cache.warm()
        before = signatures()
        x = np.random.default_rng(0).standard_normal((30, 3))
        for loss, task in (("cross_entropy", "classification"), ("binary_cross_entropy", "classification"),
                           ("squared_error", "regression"), ("gaussian_nll", "regression")):
            classes = (0, 1) if task == "classification" else None
            y = (x[:, 0] > 0).astype(np.int64) if classes else x[:, 0].copy()
            for kind in ("sgd", "adam", "adamw"):
                spec = TrainingSpec(
                    task=task, data={"dataset": "d"}, loss=loss, optimizer={"kind": kind}, epochs=2, max_norm=1,
                    clip_norm=1, model={"hidden": [4], "input_dropout": 0.1, "activation": "relu"},
                )
                trainer = Trainer(spec, TrainingData(x, y, ("a", "b", "c"), "y", classes))
                list(trainer.run())
                predict(trainer.finish(), x, mc_samples=2)
        for variant in DROPOUTS:
            spec = TrainingSpec.model_validate({
                "task": "regression", "data": {"dataset": "d"}, "epochs": 1, "model": model_with(variant, None),
            })
            trainer = Trainer(spec, TrainingData(x, x[:, 0].copy(), ("a", "b", "c"), "y", None))
            list(trainer.run())
            predict(trainer.finish(), x, mc_samples=2)
        print(sorted(signatures() - before))
    """
    environment = os.environ | {"PYTHONPATH": str(Path(dropout_specs.__file__).parent)}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout == "[]\n"
