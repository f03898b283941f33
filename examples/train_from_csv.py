"""From a CSV file to predictions: wines by their chemistry, told apart by the grower.

Run the service (``dropout-service serve``), then ``python examples/train_from_csv.py``.
Needs scikit-learn for its data.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_wine

from dropout_client import Client

HELD_BACK = 30


def main() -> None:
    """Write a table, look at what the service found in it, train, and predict rows that it has not seen."""
    wine = load_wine()
    growers = np.array(["Barolo", "Grignolino", "Barbera"])[wine.target]
    order = np.random.default_rng(0).permutation(len(growers))
    training, unseen = order[HELD_BACK:], order[:HELD_BACK]

    with Client() as client, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wine.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*wine.feature_names, "grower"])
            writer.writerows([*wine.data[row].tolist(), growers[row]] for row in training)

        dataset = client.datasets.upload(path)
        print(f"{dataset.schema.rows} rows, {len(dataset.schema.columns)} columns")
        for column in dataset.schema.columns:
            if column.type == "text" and column.classes:
                print(f"  {column.name}:", ", ".join(f"{one.label} {one.count}" for one in column.classes))

        job = client.jobs.submit(
            name="wine",
            task="classification",
            data={"dataset": dataset.id, "target": "grower"},
            model={"hidden": [64], "dropout": 0.4},
            epochs=100,
            early_stopping={"patience": 20},
            seed=1,
        ).wait()
        print(f"{job.status} ({job.stop_reason}) after {job.epoch} epochs")

        prediction = job.model().predict(wine.data[unseen], mc_samples=100, seed=1)
        right = prediction.classes == growers[unseen]
        print(f"{right.sum()} of {HELD_BACK} unseen wines are right")


if __name__ == "__main__":
    main()
