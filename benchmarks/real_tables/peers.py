"""The peers of ``tables.py``, each at its defaults: a fit takes a table and training rows, and gives what predicts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from real_tables.sources import classes_of, codes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sklearn.base import BaseEstimator

    from real_tables.sources import Table

    Predictor = Callable[[pd.DataFrame], np.ndarray]
    """From test rows to probabilities (rows, classes), or to values (rows,)."""
    Fit = Callable[[Table, pd.DataFrame], Predictor]
    """From a table and its training rows."""

DISTINCT: Final = 0.9
"""A column of text of which so many values are distinct is left out."""
MOST_CATEGORIES: Final = 255
"""That HistGradientBoosting takes."""


class Features:
    """Features as the peers take them, learned from the training rows."""

    def __init__(self, table: Table, train: pd.DataFrame) -> None:
        self._dates = table.dates
        frame = self._dated(train.drop(columns=table.target))
        numbers = list(frame.select_dtypes(["number", "bool"]).columns)
        texts = [column for column in frame if column not in numbers]
        self.numbers = numbers
        self.texts = [column for column in texts if frame[column].nunique() < DISTINCT * frame[column].count()]
        self._medians = frame[numbers].astype(float).median().fillna(0.0)
        self._kinds = {column: pd.CategoricalDtype(sorted(frame[column].dropna().unique())) for column in self.texts}

    def raw(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return numbers as floats and text as it is, gaps in both."""
        dated = self._dated(frame)
        return pd.concat([dated[self.numbers].astype(float), dated[self.texts].astype(object)], axis=1)

    def filled(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return numbers with the median for gaps, and text with a word for them."""
        raw = self.raw(frame)
        raw[self.numbers] = raw[self.numbers].fillna(self._medians)
        raw[self.texts] = raw[self.texts].where(raw[self.texts].notna(), "(none)")
        return raw

    def categories(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the same with text as categories."""
        filled = self.filled(frame)
        return filled.astype(dict.fromkeys(self.texts, "category"))

    def _dated(self, frame: pd.DataFrame) -> pd.DataFrame:
        days = {name: (pd.to_datetime(frame[name]) - pd.Timestamp(0)) / pd.Timedelta(days=1) for name in self._dates}
        return frame.assign(**days)


def _fit_on_numbers(table: Table, train: pd.DataFrame, estimator: BaseEstimator) -> Predictor:
    features = Features(table, train)
    prepare = ColumnTransformer(
        [
            ("numbers", StandardScaler(), features.numbers),
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), features.texts),
        ]
    )
    model = make_pipeline(prepare, estimator)
    if table.task == "classification":
        model.fit(features.filled(train), codes_of(table, train, classes_of(table, train)))
        return lambda test: model.predict_proba(features.filled(test))
    y = train[table.target].to_numpy(float)
    mean, deviation = y.mean(), y.std()  # an MLP at its defaults does not learn prices by the thousand
    model.fit(features.filled(train), (y - mean) / deviation)
    return lambda test: model.predict(features.filled(test)) * deviation + mean


def _fit_hist(table: Table, train: pd.DataFrame) -> Predictor:
    features = Features(table, train)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    texts = features.texts
    raw = features.raw(train)
    if texts:
        encoder.fit(raw[texts])
    few = [column in texts and raw[column].nunique() < MOST_CATEGORIES for column in raw]

    def encoded(frame: pd.DataFrame) -> np.ndarray:
        both = features.raw(frame)
        numbers = both[features.numbers].to_numpy(float)
        return np.column_stack([numbers, encoder.transform(both[texts])]) if texts else numbers

    if table.task == "classification":
        model = HistGradientBoostingClassifier(categorical_features=few, random_state=0)
        model.fit(encoded(train), codes_of(table, train, classes_of(table, train)))
        return lambda test: model.predict_proba(encoded(test))
    model = HistGradientBoostingRegressor(categorical_features=few, random_state=0)
    model.fit(encoded(train), train[table.target].to_numpy(float))
    return lambda test: model.predict(encoded(test))


def _fit_realmlp(table: Table, train: pd.DataFrame) -> Predictor:
    import torch  # noqa: PLC0415 - takes seconds, and only this one needs it
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor  # noqa: PLC0415 - as torch

    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    features = Features(table, train)
    if table.task == "classification":
        model = RealMLP_TD_Classifier(device="cpu", n_threads=1, random_state=0)
        model.fit(features.categories(train), codes_of(table, train, classes_of(table, train)))
        return lambda test: model.predict_proba(features.categories(test))
    model = RealMLP_TD_Regressor(device="cpu", n_threads=1, random_state=0)
    model.fit(features.categories(train), train[table.target].to_numpy(float))
    return lambda test: np.asarray(model.predict(features.categories(test))).reshape(-1)


def _fit_linear(table: Table, train: pd.DataFrame) -> Predictor:
    return _fit_on_numbers(table, train, LogisticRegression() if table.task == "classification" else Ridge())


def _fit_mlp(table: Table, train: pd.DataFrame) -> Predictor:
    kind = MLPClassifier if table.task == "classification" else MLPRegressor
    return _fit_on_numbers(table, train, kind(early_stopping=True, random_state=0))


PEERS: Final[dict[str, Fit]] = {"linear": _fit_linear, "mlp": _fit_mlp, "hist": _fit_hist, "realmlp": _fit_realmlp}
