"""What dropout gains on real data, and how sure the trained network is: the service end to end in one program.

Starts a service of its own on a free port, draws 100 handwritten digits for training (scikit-learn's copy of the UCI
optical digits), ten times over, trains the same network on each draw without and with dropout, compares the two on the
1,697 digits that are left, and shows which of those a network itself finds hard. Then it trains on a table of texts and
gaps, see ``passengers``. Run it by ``make demo``.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import httpx
import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dropout_client import Client
from passengers import show_passengers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dropout_client import ClassPrediction

DATA_DIR = Path(__file__).parents[1] / ".demo"
TRAIN_ROWS = 100
MC_SAMPLES = 100
SEEDS = range(10)
# Far larger than so few digits need, which is when dropout is called for: with two hidden layers, or with 200 digits,
# the error gains one to three of its standard errors.
NETWORK = {"hidden": [256, 256, 256, 256], "activation": "relu"}
TRAINING = {
    "task": "classification",
    "epochs": 150,
    "batch_size": 32,
    "validation_fraction": 0,
    "optimizer": {"kind": "adam", "learning_rate": 2e-3},
}
VARIANTS = {
    "without dropout": {"dropout": 0.0, "input_dropout": 0.0},
    "with dropout": {"dropout": 0.5, "input_dropout": 0.2},
}
SHADES = " .:-=+*#%@"


MEASURES = ("error", "neg. log-lik.", "calibration error")


class Digits(NamedTuple):
    """A draw of digits for training, and those that are left."""

    x_train: NDArray[np.float64]
    x_test: NDArray[np.float64]
    y_train: NDArray[np.int64]
    y_test: NDArray[np.int64]


def quality(probabilities: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[float, float, float]:
    """Error rate, mean negative log-likelihood and expected calibration error (Guo et al. 2017, 15 bins)."""
    predicted = probabilities.argmax(axis=1)
    likelihood = np.maximum(probabilities[np.arange(len(y)), y], 1e-12)
    confidence, correct = probabilities.max(axis=1), predicted == y
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(confidence[bins == b].sum() - correct[bins == b].sum()) for b in range(15)]
    return float(1 - correct.mean()), float(-np.log(likelihood).mean()), float(sum(gaps) / len(y))


def mean_and_error(values: NDArray[np.float64]) -> list[str]:
    """Write the mean of each column with its standard error, which the spread over the rows tells."""
    errors = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return [f"{mean:.3f} ± {error:.3f}" for mean, error in zip(values.mean(axis=0), errors, strict=True)]


@contextmanager
def service() -> Iterator[str]:
    """Run the service with fresh data on a free port until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shutil.rmtree(DATA_DIR, ignore_errors=True)
    DATA_DIR.mkdir()
    command = [sys.executable, "-m", "dropout_service", "serve", "--port", port, "--data-dir", str(DATA_DIR)]
    url = f"http://127.0.0.1:{port}"
    with (DATA_DIR / "service.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_ready(url, process)
            yield url
        finally:
            process.terminate()


def wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the service answers; the first start compiles the kernels."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    sys.exit(f"the service did not start; its log is {DATA_DIR / 'service.log'}")


def picture(x: NDArray[np.float64]) -> str:
    """Draw an 8 x 8 digit (values 0 to 16) in characters, two columns for each pixel."""
    levels = (x.reshape(8, 8) / 16 * (len(SHADES) - 1)).round().astype(int)
    return "\n".join("".join(SHADES[level] * 2 for level in row) for row in levels)


def show_digits(console: Console, x: NDArray[np.float64], y: NDArray[np.int64], prediction: ClassPrediction) -> None:
    """Show the digits that the network is most and least sure of."""
    assert prediction.entropy is not None
    assert prediction.probabilities_std is not None
    order = prediction.entropy.argsort()
    for title, rows in (("surest", order[:4]), ("least sure", order[-4:])):
        panels: list[Panel] = []
        for row in rows:
            best = prediction.probabilities[row].argmax()
            mean, std = prediction.probabilities[row, best], prediction.probabilities_std[row, best]
            verdict = "right" if best == y[row] else f"it is a {y[row]}"
            panels.append(
                Panel(picture(x[row]), padding=0, title=f"{best}: {mean:.2f}±{std:.2f}", subtitle=verdict, width=18)
            )
        console.print(f"\nThe four digits it is [bold]{title}[/bold] of (class: probability ± its deviation)")
        console.print(Columns(panels))


def main() -> None:
    """Run the demo."""
    console = Console()
    images, labels = load_digits(return_X_y=True)
    draws = [
        Digits(*train_test_split(images, labels, train_size=TRAIN_ROWS, stratify=labels, random_state=seed))
        for seed in SEEDS
    ]
    console.print("Starting the service (SQLite, local folder, local processes) ...")
    with service() as url, Client(url) as client:
        console.print(f"Training {len(VARIANTS) * len(SEEDS)} networks at {url}, on {TRAIN_ROWS} digits each.\n")
        jobs = {
            name: [
                client.jobs.submit(
                    name=f"{name}, draw {seed}",
                    data={"x": digits.x_train, "y": digits.y_train},
                    model={**NETWORK, **rates},
                    seed=seed,
                    **TRAINING,
                )
                for seed, digits in zip(SEEDS, draws, strict=True)
            ]
            for name, rates in VARIANTS.items()
        }
        models = {name: [job.wait().model() for job in submitted] for name, submitted in jobs.items()}

        def predicted(name: str, passes: int | None) -> list[ClassPrediction]:
            return [
                cast("ClassPrediction", model.predict(digits.x_test, mc_samples=passes, seed=1))
                for model, digits in zip(models[name], draws, strict=True)
            ]

        def measured(predictions: list[ClassPrediction]) -> NDArray[np.float64]:
            pairs = zip(predictions, draws, strict=True)
            return np.array([quality(one.probabilities, digits.y_test) for one, digits in pairs])

        sampled = predicted("with dropout", MC_SAMPLES)
        rows = {
            "without dropout": measured(predicted("without dropout", None)),
            "with dropout": measured(predicted("with dropout", None)),
            f"with dropout, {MC_SAMPLES} passes": measured(sampled),
        }
        table = Table(
            title=f"On {len(draws[0].y_test):,} unseen digits: mean of {len(SEEDS)} draws ± its standard error",
            caption="Less is better, and of a gain, more. Gains are taken draw by draw.",
        )
        for column in ("trained", *MEASURES):
            table.add_column(column, justify="left" if column == "trained" else "right")
        for name, values in rows.items():
            table.add_row(name, *mean_and_error(values))
        table.add_section()
        for name, values in list(rows.items())[1:]:
            table.add_row(f"gain {name}", *mean_and_error(rows["without dropout"] - values))
        console.print()
        console.print(table)
        show_digits(console, draws[0].x_test, draws[0].y_test, sampled[0])
        model = models["with dropout"][0]
        console.print(f"\nThe model that told these: {model.id}\nits weights: {model.weights_digest}")
        console.print("The same by hand: README.md, 'Use it'.\n")
        show_passengers(console, client, DATA_DIR)


if __name__ == "__main__":
    main()
