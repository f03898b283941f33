"""Commands about datasets and models: upload, datasets, models, download, predict."""

from __future__ import annotations

import csv
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropout_client import ClassPrediction, Client, Prediction, ValuePrediction
from dropout_client.cli.inputs import blamed_on
from dropout_client.cli.output import AsJson, Limit, print_json, print_table, size, time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_client import Column

__all__ = ["add_commands"]

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="Id of the model.")]


class Encoding(Enum):
    """Encodings of a csv."""

    UTF_8 = "utf-8"
    UTF_16 = "utf-16"
    LATIN_1 = "latin-1"
    CP1252 = "cp1252"


class Point(Enum):
    """Points of numbers."""

    POINT = "."
    COMMA = ","


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (upload, datasets, models, download, predict):
        app.command()(command)


def upload(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="A csv, npy, npz, parquet or arrow file.", exists=True, dir_okay=False, readable=True)
    ],
    *,
    name: Annotated[str | None, typer.Option(help="A name for people; by default that of the file.")] = None,
    header: Annotated[bool, typer.Option(help="Whether a csv begins with the names of its columns.")] = True,
    missing: Annotated[
        list[str] | None, typer.Option(help="A cell of a csv that stands for no value; several times for several.")
    ] = None,
    encoding: Annotated[
        Encoding | None, typer.Option(help="Encoding of a csv; by default UTF-8, or what it looks like.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="What is between the cells of a csv, such as '|'.")] = None,
    decimal: Annotated[Point, typer.Option(help="The point of the numbers of a csv.")] = Point.POINT,
    thousands: Annotated[str | None, typer.Option(help="What groups the digits of numbers of a csv.")] = None,
    comment: Annotated[
        str | None, typer.Option(help="What lines of a csv begin with that are none of the table, such as '#'.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Store a dataset and show what is in it."""
    client: Client = context.obj
    with blamed_on(file):
        dataset = client.datasets.upload(
            file,
            name=name,
            header=header,
            missing=missing or (),
            encoding=None if encoding is None else encoding.value,
            delimiter=delimiter,
            decimal=decimal.value,
            thousands=thousands,
            comment=comment,
        )
    if json:
        print_json(dataset)
        return
    typer.echo(f"{dataset.id}\n{dataset.schema.rows} rows, {len(dataset.schema.columns)} columns")
    found = dataset.schema.options.get("encoding")
    if found is not None and encoding is None:
        typer.echo(f"read as {found}, which it looks like; --encoding says otherwise")
    typer.echo()
    print_table(
        ("column", "type", "missing", "distinct", "mean", "std", "in a training"),
        (
            (one.name, one.type, one.missing, one.distinct, _short(one.mean), _short(one.std), _decision(one))
            for one in dataset.schema.columns
        ),
    )

    for one in dataset.schema.columns:
        if one.training is not None and one.training.warning is not None:
            typer.echo(f"warning: column {one.name} {one.training.warning}")


def _decision(column: Column) -> str:
    if column.training is None:
        return "the target"
    return column.training.reason if column.training.use else f"left out: {column.training.reason}"


def datasets(context: typer.Context, *, limit: Limit = 50, json: AsJson = False) -> None:
    """List datasets."""
    client: Client = context.obj
    found = list(client.datasets.list(limit=limit))
    if json:
        print_json(found)
        return
    print_table(
        ("id", "name", "rows", "columns", "size", "created"),
        (
            (one.id, one.name, one.schema.rows, len(one.schema.columns), size(one.size_bytes), time(one.created_at))
            for one in found
        ),
    )


def models(context: typer.Context, *, limit: Limit = 50, json: AsJson = False) -> None:
    """List models, newest first."""
    client: Client = context.obj
    records = [model.record for model in client.models.list(limit=limit)]
    if json:
        print_json(records)
        return
    print_table(
        ("id", "name", "task", "size", "created", "job"),
        ((one.id, one.name, one.task, size(one.size_bytes), time(one.created_at), one.job) for one in records),
    )


def download(
    context: typer.Context,
    model_id: ModelId,
    path: Annotated[Path | None, typer.Argument(help="Where to; by default MODEL.safetensors.")] = None,
) -> None:
    """Download a model as safetensors, checked against its digest."""
    client: Client = context.obj
    target = path or Path(f"{model_id}.safetensors")
    with blamed_on(target):
        typer.echo(client.models.get(model_id).download(target))


def predict(
    context: typer.Context,
    model_id: ModelId,
    data: Annotated[
        Path, typer.Argument(help="CSV with a header, Parquet, Arrow or npy.", exists=True, dir_okay=False)
    ],
    *,
    mc_samples: Annotated[
        int | None, typer.Option(min=1, help="Passes with dropout, which tell how sure the network is.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of those passes.")] = 0,
    json: AsJson = False,
) -> None:
    """Predict, one line for each row: CSV, or JSON with all there is."""
    client: Client = context.obj
    model = client.models.get(model_id)
    with blamed_on(data):
        prediction = model.predict(data, mc_samples=mc_samples, seed=seed)
    if json:
        print_json(prediction)
    else:
        _write_csv(prediction)


def _write_csv(prediction: Prediction) -> None:
    if isinstance(prediction, ClassPrediction):
        best = prediction.probabilities.argmax(axis=1)[:, None]
        std = prediction.probabilities_std
        columns = {
            "class": prediction.classes,
            "probability": _take(prediction.probabilities, best),
            "probability_std": None if std is None else _take(std, best),
            "entropy": prediction.entropy,
            "mutual_information": prediction.mutual_information,
        }
    else:
        columns = _value_columns(prediction)
    known = {name: column.tolist() for name, column in columns.items() if column is not None}
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(known)
    for row in zip(*known.values(), strict=True):
        writer.writerow([_short(cell) if isinstance(cell, float) else cell for cell in row])


def _value_columns(prediction: ValuePrediction) -> dict[str, NDArray[Any] | None]:
    """Return the figures of a regression as columns; of several targets, each has its name before it."""
    columns: dict[str, NDArray[Any] | None] = {}
    for place, target in enumerate(prediction.target_names or ("",)):
        before = f"{target}_" if target else ""
        several = (slice(None), place) if target else (slice(None),)
        for name in ("value", "std", "aleatoric_std"):
            figures = getattr(prediction, "values" if name == "value" else name)
            columns[before + name] = None if figures is None else figures[several]
        if prediction.quantiles is not None:
            for i, level in enumerate(prediction.quantile_levels or ()):
                columns[f"{before}quantile_{level:g}"] = prediction.quantiles[*several, i]
    return columns


def _take(values: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.take_along_axis(values, places, axis=1)[:, 0]


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"
