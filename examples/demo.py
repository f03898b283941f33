"""What dropout gains on real data, and how sure the trained network is: the service end to end in one program.

Starts a service of its own on a free port, uploads 100 handwritten digits (scikit-learn's copy of the UCI optical
digits), trains the same network without and with dropout, five seeds each, compares them on the 1,697 digits that none
of them saw, and shows which of those the network itself finds hard. Run it by ``make demo``.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dropout_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dropout_client import ClassPrediction

DATA_DIR = Path(__file__).parents[1] / ".demo"
TRAIN_ROWS = 100
MC_SAMPLES = 100
SEEDS = range(5)
NETWORK = {"hidden": [512, 512], "activation": "relu"}
TRAINING = {
    "task": "classification",
    "epochs": 150,
    "batch_size": 32,
    "validation_fraction": 0,
    "optimizer": {"kind": "adam", "learning_rate": 1e-3},
}
VARIANTS = {
    "without dropout": {"dropout": 0.0, "input_dropout": 0.0},
    "with dropout": {"dropout": 0.5, "input_dropout": 0.2},
}
SHADES = " .:-=+*#%@"


class Quality(NamedTuple):
    """How good predicted probabilities are on labelled data."""

    error: float
    negative_log_likelihood: float
    calibration_error: float


def quality(probabilities: NDArray[np.float64], y: NDArray[np.int64]) -> Quality:
    """Error rate, mean negative log-likelihood and expected calibration error (Guo et al. 2017, 15 bins)."""
    predicted = probabilities.argmax(axis=1)
    likelihood = np.maximum(probabilities[np.arange(len(y)), y], 1e-12)
    confidence, correct = probabilities.max(axis=1), predicted == y
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(confidence[bins == b].sum() - correct[bins == b].sum()) for b in range(15)]
    return Quality(float(1 - correct.mean()), float(-np.log(likelihood).mean()), float(sum(gaps) / len(y)))


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
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.data, digits.target, train_size=TRAIN_ROWS, stratify=digits.target, random_state=0
    )
    console.print("Starting the service (SQLite, local folder, local processes) ...")
    with service() as url, Client(url) as client:
        dataset = client.datasets.upload(x=x_train, y=y_train, name="digits")
        console.print(f"Uploaded {len(x_train)} digits for training to {url}; {len(x_test)} stay unseen.\n")

        table = Table(title=f"On {len(x_test)} unseen digits: mean of {len(SEEDS)} networks")
        for column in ("trained", "error", "neg. log-lik.", "calibration error"):
            table.add_column(column, justify="left" if column == "trained" else "right")
        for name, rates in VARIANTS.items():
            jobs = [
                client.jobs.submit(
                    name=f"{name}, seed {seed}",
                    data={"dataset": dataset.id},
                    model={**NETWORK, **rates},
                    seed=seed,
                    **TRAINING,
                )
                for seed in SEEDS
            ]
            models = [job.wait(progress=True).model() for job in jobs]
            for passes in (None, MC_SAMPLES) if rates["dropout"] else (None,):
                predictions = [model.predict(x_test, mc_samples=passes, seed=1) for model in models]
                found = Quality(*np.mean([quality(p.probabilities, y_test) for p in predictions], axis=0))
                label = f"{name}, {passes} passes" if passes else name
                likelihood, calibration = found.negative_log_likelihood, found.calibration_error
                table.add_row(label, f"{found.error:.1%}", f"{likelihood:.3f}", f"{calibration:.3f}")
        console.print()
        console.print(table)
        show_digits(console, x_test, y_test, predictions[0])
        console.print(f"\nThe last model: {models[-1].id}\nits weights: {models[-1].weights_digest}")
        console.print("The same by hand: README.md, 'Use it'.")


if __name__ == "__main__":
    main()
