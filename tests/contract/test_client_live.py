"""The real blocking client and the command line against a real server process: training, streams, predictions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors import safe_open
from sklearn.datasets import load_diabetes, load_iris

from dropout_client import ClassPrediction, Client, JobCancelledError, JobFailedError, ValuePrediction
from dropout_client.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from live_server import LiveServer

    from dropout_client import Job

    Dropout = Callable[..., "Answer"]

IRIS = load_iris()
LABELS = IRIS.target_names[IRIS.target]


@pytest.fixture
def client(live_server: LiveServer) -> Iterator[Client]:
    with Client(live_server.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def trained(live_server: LiveServer) -> Iterator[Job]:
    """One finished classification, for the tests that only look at it."""
    with Client(live_server.url) as opened:
        job = opened.jobs.submit(
            name="iris",
            task="classification",
            data={"x": IRIS.data, "y": LABELS},
            model={"hidden": [32, 32], "dropout": 0.2},
            optimizer={"kind": "adam", "learning_rate": 0.01},
            epochs=40,
            seed=1,
        )
        yield job.wait(timeout=60)


def test_a_network_is_trained_and_predicts(trained: Job):
    assert (trained.status, trained.stop_reason, trained.progress) == ("succeeded", "completed", 1.0)
    model = trained.model()
    assert model.id == trained.model_id
    assert (model.task, model.classes) == ("classification", ("setosa", "versicolor", "virginica"))

    prediction = model.predict(IRIS.data)
    assert isinstance(prediction, ClassPrediction)
    assert prediction.probabilities.shape == (150, 3)
    assert (prediction.classes == LABELS).mean() > 0.9
    assert prediction.probabilities_std is None
    assert prediction.class_labels == model.classes


def test_variants_and_schedules_train_and_tell_their_rates(client: Client):
    job = client.jobs.submit(
        task="classification",
        data={"x": IRIS.data, "y": LABELS},
        model={
            "hidden": [16, 16],
            "residual": True,
            "dropout": [{"variant": "concrete", "rate": 0.2}, {"variant": "drop_path", "rate": 0.1}],
            "input_dropout": {"variant": "gaussian", "rate": 0.1, "schedule": {"kind": "late", "first_epochs": 1}},
        },
        epochs=2,
    )
    first, last = job.wait(timeout=60).metrics()
    assert (first.input_dropout_rate, last.input_dropout_rate) == (0.0, 0.1)
    assert first.dropout_rates is not None
    assert last.dropout_rates is not None
    assert first.dropout_rates[0] != last.dropout_rates[0]
    assert first.dropout_rates[1] == last.dropout_rates[1] == 0.1
    prediction = job.model().predict(IRIS.data, mc_samples=10)
    assert isinstance(prediction, ClassPrediction)
    assert prediction.probabilities_std is not None
    assert (prediction.probabilities_std > 0).any()


def test_uncertainty_is_reproducible_and_largest_where_classes_meet(trained: Job):
    model = trained.model()
    first, again, other = (model.predict(IRIS.data, mc_samples=50, seed=seed) for seed in (7, 7, 8))
    assert isinstance(first, ClassPrediction)
    assert isinstance(again, ClassPrediction)
    assert isinstance(other, ClassPrediction)
    assert np.array_equal(first.probabilities, again.probabilities)
    assert not np.array_equal(first.probabilities, other.probabilities)
    assert (first.mc_samples, first.seed) == (50, 7)
    assert first.probabilities_std is not None
    assert first.probabilities_std.shape == (150, 3)
    assert first.entropy is not None
    assert first.mutual_information is not None
    assert (first.mutual_information <= first.entropy + 1e-9).all()
    setosa = IRIS.target == 0  # the class that stands apart
    assert first.entropy[setosa].mean() < first.entropy[~setosa].mean()


def test_the_history_of_a_job_is_complete(trained: Job):
    events = list(trained.events())
    assert [one.sequence for one in events] == list(range(1, len(events) + 1))
    assert [events[0].type, events[1].type, events[-1].type] == ["queued", "started", "succeeded"]
    epochs = [one for one in events if one.type == "epoch"]
    metrics = trained.metrics()
    assert [one.epoch for one in metrics] == list(range(1, 41))
    assert [one.data["epoch"] for one in epochs] == [one.epoch for one in metrics]
    assert metrics[-1] == trained.latest
    assert metrics[-1].validation is not None
    assert metrics[-1].validation["loss"] < metrics[0].train["loss"]
    assert [one.sequence for one in trained.events(after=events[-3].sequence)] == [one.sequence for one in events[-2:]]


def test_a_model_is_downloaded_with_its_description(trained: Job, client: Client, tmp_path: Path):
    model = trained.model()
    assert model.id in {one.id for one in client.models.list(job=trained.id)}
    path = model.download(tmp_path / "iris.safetensors")
    assert path.stat().st_size == model.record.size_bytes
    with safe_open(path, "numpy") as file:
        assert file.metadata()
        assert sum(np.prod(file.get_slice(name).get_shape()) for name in file.keys()) >= 4 * 32  # noqa: SIM118 - no dict: it has keys() only


def test_events_arrive_while_the_job_runs(client: Client):
    job = client.jobs.submit(
        task="classification", data={"x": IRIS.data, "y": IRIS.target}, model={"hidden": [64]}, epochs=100_000
    )
    types: list[str] = []
    for event in job.events():
        types.append(event.type)
        if event.type == "epoch":
            break
    assert types[:2] == ["queued", "started"]
    assert job.refresh().status == "running"
    job.cancel()
    with pytest.raises(JobCancelledError):
        job.wait(timeout=30)


def test_a_regression_in_its_own_unit(client: Client):
    diabetes = load_diabetes()
    model = client.jobs.submit(
        task="regression",
        loss="gaussian_nll",
        data={"x": diabetes.data, "y": diabetes.target},
        model={"hidden": [32], "dropout": 0.1},
        epochs=120,
    ).result(timeout=60)
    prediction = model.predict(diabetes.data.tolist(), mc_samples=20)
    assert isinstance(prediction, ValuePrediction)
    assert np.corrcoef(prediction.values, diabetes.target)[0, 1] > 0.5
    assert abs(prediction.values.mean() - diabetes.target.mean()) < 30
    assert prediction.std is not None
    assert (prediction.std > 0).all()
    assert prediction.aleatoric_std is not None
    assert (prediction.aleatoric_std > 0).all()


def test_quantiles_of_a_target_hold_as_many_of_its_rows(client: Client):
    diabetes = load_diabetes()
    model = client.jobs.submit(
        task="regression",
        loss="quantile",
        quantiles=[0.1, 0.5, 0.9],
        data={"x": diabetes.data, "y": diabetes.target},
        model={"hidden": [32], "dropout": 0.1, "activation": "silu"},
        epochs=60,
        validation_fraction=0,
    ).result(timeout=60)
    prediction = model.predict(diabetes.data)
    assert isinstance(prediction, ValuePrediction)
    assert prediction.quantile_levels == (0.1, 0.5, 0.9)
    assert prediction.quantiles is not None
    assert (np.diff(prediction.quantiles) >= 0).all()
    np.testing.assert_array_equal(prediction.values, prediction.quantiles[:, 1])
    below = (diabetes.target[:, None] <= prediction.quantiles).mean(axis=0)
    # On the rows of the training: 442 of them, within 0.1
    np.testing.assert_allclose(below, [0.1, 0.5, 0.9], atol=0.1)


def test_several_targets_and_weights_from_a_table(client: Client, dropout: Dropout, tmp_path: Path):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((120, 2)).round(4)
    tall, heavy = x @ [1, 2] + 100, x @ [-30, 10]
    table = tmp_path / "people.csv"
    lines = [f"{a},{b},{c},{d},{e}" for (a, b), c, d, e in zip(x, tall, heavy, rng.integers(0, 3, 120), strict=True)]
    table.write_text("\n".join(["a,b,tall,heavy,often", *lines]) + "\n")
    job = client.jobs.submit(
        task="regression",
        loss="quantile",
        data={"file": table, "target": ["heavy", "tall"], "weight": "often"},
        model={"hidden": [32], "dropout": 0.05},
        optimizer={"kind": "adam", "learning_rate": 0.01},
        epochs=60,
    ).wait(timeout=60)
    assert set(job.metrics()[-1].train) == {"loss", "rmse.heavy", "mae.heavy", "rmse.tall", "mae.tall"}
    model = job.model()
    assert model.feature_names == ("a", "b")
    prediction = model.predict(x)
    assert isinstance(prediction, ValuePrediction)
    assert prediction.target_names == ("heavy", "tall")
    assert prediction.values.shape == (120, 2)
    for place, target in enumerate((heavy, tall)):
        assert np.corrcoef(prediction.values[:, place], target)[0, 1] > 0.9
    rows = dropout("predict", model.id, table, "--mc-samples", "5").out.splitlines()
    assert rows[0].split(",") == [
        f"{target}_{figure}"
        for target in ("heavy", "tall")
        for figure in ("value", "std", "quantile_0.1", "quantile_0.5", "quantile_0.9")
    ]
    assert len(rows) == 121
    told = json.loads(dropout("predict", model.id, table, "--json").out)
    np.testing.assert_allclose(told["values"], prediction.values, rtol=1e-5, atol=1e-3)


def test_a_diverging_training_says_where_and_what_to_change(client: Client):
    x = np.linspace(-1, 1, 64)[:, None]
    job = client.jobs.submit(
        task="regression",
        data={"x": x, "y": x[:, 0]},
        model={"activation": "relu", "dropout": 0},
        optimizer={"kind": "sgd", "learning_rate": 1000.0},
        epochs=200,
    )
    with pytest.raises(JobFailedError) as told:
        job.wait(timeout=60)
    assert told.value.code == "diverged"
    assert told.value.epoch is not None
    assert told.value.hint
    assert job.status == "failed"


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def dropout(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """The command line, in this process, because a hundred starts of Python would take a minute."""

    def call(*arguments: str | Path, url: str = live_server.url) -> Answer:
        monkeypatch.setattr(sys, "argv", ["dropout", "--url", url, *map(str, arguments)])
        code = run()
        return Answer(code, *capsys.readouterr())

    return call


def test_the_installed_command(live_server: LiveServer):
    command = [Path(sys.executable).with_name("dropout"), "jobs", "--json"]
    environment = {**os.environ, "DROPOUT_URL": live_server.url}
    assert isinstance(json.loads(subprocess.check_output(command, env=environment)), list)


def test_the_command_line_from_a_table_to_a_prediction(dropout: Dropout, tmp_path: Path):
    rows = [f"{a},{b},{label}" for (a, b), label in zip(IRIS.data[:, 2:], LABELS, strict=True)]
    (tmp_path / "iris.csv").write_text("\n".join(["length,width,kind", *rows]))
    (tmp_path / "iris.yaml").write_text(
        "name: by hand\ntask: classification\ndata: {file: iris.csv, target: kind}\nmodel: {hidden: [16]}\nepochs: 5\n"
    )
    uploaded = dropout("upload", tmp_path / "iris.csv")
    assert uploaded.code == 0, uploaded.err
    assert "150 rows, 3 columns" in uploaded.out
    dataset_id = uploaded.out.split()[0]
    assert dataset_id in {one["id"] for one in json.loads(dropout("datasets", "--json").out)}

    submitted = dropout("submit", tmp_path / "iris.yaml", "--watch", "--json")
    assert submitted.code == 0, submitted.err
    assert submitted.err == ""  # no bar where nobody looks
    job = json.loads(submitted.out)
    assert (job["status"], job["spec"]["data"]["dataset"]) == ("succeeded", dataset_id)

    listed = dropout("jobs", "--status", "succeeded")
    assert job["id"] in listed.out
    shown = dropout("job", job["id"])
    assert "succeeded (completed)" in shown.out
    events = dropout("events", job["id"], "--json")
    assert [json.loads(line)["type"] for line in events.out.splitlines()][-1] == "succeeded"

    (tmp_path / "new.csv").write_text("width,kind,length\n0.2,?,1.4\n2.3,?,5.9\n")
    predicted = dropout("predict", job["model"], tmp_path / "new.csv", "--mc-samples", "20")
    assert predicted.code == 0, predicted.err
    header, *lines = predicted.out.splitlines()
    assert header == "class,probability,probability_std,entropy,mutual_information"
    assert len(lines) == 2
    full = json.loads(dropout("predict", job["model"], tmp_path / "new.csv", "--json").out)
    assert full["class_labels"] == ["setosa", "versicolor", "virginica"]

    saved = dropout("download", job["model"], tmp_path / "model.safetensors")
    assert saved.code == 0, saved.err
    assert (tmp_path / "model.safetensors").stat().st_size > 0


def test_what_the_command_line_shows_to_people(dropout: Dropout, trained: Job, tmp_path: Path):
    (tmp_path / "line.csv").write_text("x,y\n" + "".join(f"{i / 32},{i / 16}\n" for i in range(64)))
    (tmp_path / "line.json").write_text(
        json.dumps({"task": "regression", "data": {"file": "line.csv"}, "epochs": 1_000_000, "name": "line"})
    )
    submitted = dropout("submit", tmp_path / "line.json")
    assert submitted.code == 0, submitted.err
    job_id = submitted.out.strip()
    shown = dropout("job", job_id)
    assert shown.out.startswith("id")
    assert job_id in shown.out
    assert dropout("pause", job_id).out.startswith(f"{job_id} is paus")
    resumed = json.loads(dropout("resume", job_id, "--json").out)
    assert (resumed["id"], resumed["status"] in {"queued", "running"}) == (job_id, True)
    cancelled = dropout("cancel", job_id)
    assert cancelled.out.startswith(f"{job_id} is cancel")

    events = dropout("events", trained.id).out.splitlines()
    assert len(events) == len(list(trained.events()))
    assert "queued" in events[0]
    assert "epoch=1" in next(line for line in events if " epoch " in line)

    assert trained.model_id is not None
    models = dropout("models").out.splitlines()
    assert models[0].split() == ["id", "name", "task", "size", "created", "job"]
    assert any(trained.model_id in line and trained.id in line for line in models)
    assert json.loads(dropout("models", "--json").out)[0]["digest"].startswith("sha256:")
    datasets = dropout("datasets").out.splitlines()
    assert datasets[0].split() == ["id", "name", "rows", "columns", "size", "created"]
    assert any(" 64 " in line for line in datasets)

    np.save(tmp_path / "rows.npy", IRIS.data[:3])
    classes = dropout("predict", trained.model_id, tmp_path / "rows.npy").out.splitlines()
    assert classes[0] == "class,probability"
    assert [line.split(",")[0] for line in classes[1:]] == ["setosa"] * 3


def test_errors_of_the_command_line_are_one_line_and_a_code(dropout: Dropout, tmp_path: Path, trained: Job):
    (tmp_path / "bad.yaml").write_text("task: [")
    (tmp_path / "no-data.yaml").write_text("task: regression\ndata: {file: nowhere.csv}\n")
    (tmp_path / "wrong.yaml").write_text("task: clustering\ndata: {dataset: sha256-1}\n")
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    (tmp_path / "table.txt").write_text("a,b\n1,2\n")
    (tmp_path / "list.yaml").write_text("- task\n")
    names = ",".join(trained.model().feature_names)
    (tmp_path / "short.csv").write_text(f"{names}\n1,2,3,4\n1,2\n")
    (tmp_path / "words.csv").write_text(f"{names}\n1,2,many,4\n")
    (tmp_path / "objects.npy").write_bytes(b"not npy")
    np.save(tmp_path / "words.npy", np.array([["many"] * 4]))
    data = "data: {file: text.csv, target: b}"
    (tmp_path / "format.yaml").write_text("task: regression\ndata: {file: table.txt}\n")
    (tmp_path / "date.yaml").write_text(f"name: 2026-01-01\ntask: regression\n{data}\n")
    (tmp_path / "nan.yaml").write_text(f"task: regression\n{data}\nepochs: .nan\n")
    (tmp_path / "both.yaml").write_text("task: regression\ndata: {file: text.csv, y: b}\n")
    assert trained.model_id is not None
    for arguments, code, message in (
        (("job", "job_none"), 3, "404: "),
        (("cancel", trained.id), 3, "409: "),
        (("submit", tmp_path / "bad.yaml"), 2, "bad.yaml: "),
        (("submit", tmp_path / "no-data.yaml"), 2, "there is no file"),
        (("submit", tmp_path / "wrong.yaml"), 3, "/task"),
        (("submit", tmp_path / "none.yaml"), 2, "none.yaml"),
        (("predict", trained.model_id, tmp_path / "text.csv"), 3, "is missing"),
        (("predict", trained.model_id, tmp_path / "short.csv"), 3, "row 2 has 2 cells, but the header has 4 columns"),
        (("predict", trained.model_id, tmp_path / "words.csv"), 3, "'many' is not a number"),
        (("predict", trained.model_id, tmp_path / "objects.npy"), 2, "objects.npy: "),
        (("upload", tmp_path / "table.txt"), 2, "the ending of table.txt tells no format"),
        (("submit", tmp_path / "list.yaml"), 2, "a specification is a mapping"),
        (("submit", tmp_path / "format.yaml"), 2, "format.yaml: the ending of table.txt tells no format"),
        (("submit", tmp_path / "date.yaml"), 2, "datetime.date(2026, 1, 1) is neither a number, nor text"),
        (("submit", tmp_path / "nan.yaml"), 2, "not JSON compliant"),
        (("submit", tmp_path / "both.yaml"), 2, "give either a `source`, or `x` and `y`"),
        (("predict", trained.model_id, tmp_path / "words.npy"), 2, "words.npy: could not convert string to float"),
        (("download", trained.model_id, tmp_path / "no folder" / "model"), 2, "No such file"),
    ):
        answer = dropout(*arguments)
        assert answer.code == code, (arguments, answer.err)
        assert answer.err.startswith("dropout: ")
        assert message in answer.err
        assert "Traceback" not in answer.err
    unreachable = dropout("jobs", url="http://127.0.0.1:9")
    assert unreachable.code == 4
    assert unreachable.err.count("\n") == 1
    assert dropout("jobs", url="localhost:8000").code == 2
    assert "is not an address" in dropout("jobs", url="http://127.0.0.1:port").err
    assert dropout("jobs", "--nonsense").code == 2


def test_an_interrupted_watch_says_that_the_job_runs_on(live_server: LiveServer, client: Client, tmp_path: Path):
    (tmp_path / "line.csv").write_text("x,y\n" + "".join(f"{i / 32},{i / 32}\n" for i in range(64)))
    spec = tmp_path / "long.yaml"
    spec.write_text("name: interrupted\ntask: regression\ndata: {file: line.csv}\nepochs: 1000000\n")
    # What a shell runs in the background ignores interrupts, and so would this command if the tests were.
    heedful = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('dropout_client', run_name='__main__')"
    )
    command = [sys.executable, "-c", heedful, "--url", live_server.url, "submit", spec, "--watch"]

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as watching:
        deadline = time.monotonic() + 30
        # An interrupt before the answer to the submission finds no job to speak of; a thousand epochs on it has come.
        while not (running := [j for j in client.jobs.list() if j.name == "interrupted" and (j.epoch or 0) > 1000]):
            assert time.monotonic() < deadline
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=30)
    (job,) = running
    assert watching.returncode == 130
    assert err == f"{job.id} runs on; `dropout cancel {job.id}` ends it\n"
    assert job.refresh().status == "running"
    job.cancel()


def test_a_failed_job_ends_a_watch_with_1(dropout: Dropout, tmp_path: Path):
    (tmp_path / "line.csv").write_text("x,y\n" + "".join(f"{i / 32},{i / 32}\n" for i in range(64)))
    (tmp_path / "spec.json").write_text(
        json.dumps(
            {
                "task": "regression",
                "data": {"file": "line.csv"},
                "optimizer": {"kind": "sgd", "learning_rate": 1000.0},
                "epochs": 200,
            }
        )
    )
    answer = dropout("submit", tmp_path / "spec.json", "--watch")
    assert answer.code == 1
    assert "failed (diverged) in epoch" in answer.err
    assert "Hint: " in answer.err
