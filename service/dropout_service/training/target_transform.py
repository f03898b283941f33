"""``TargetTransform``: what is done to the target of a regression before it is standardised, and undone afterwards.

========== ================ ==================================================================
identity   y                any number
log        log y            above 0
log1p      log(1 + y)       above -1: counts, and amounts that may be 0
quantile   a normal score   any number; of the training rows' ranks (Blom 1958)
========== ================ ==================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["IDENTITY", "TargetTransform", "TransformKind", "find_fault"]

TransformKind = Literal["identity", "log", "log1p", "quantile"]

MAX_KNOTS: Final = 1001
"""Of the normal scores of one target: a thousandth of the rows between two."""
_LARGEST_LOG: Final = 150.0
"""Fourth powers of e to this can be summed in float64: deviations of predictions, however wrong, stay finite."""
_LOWER_BOUNDS: Final = {"log": 0.0, "log1p": -1.0}


@dataclass(frozen=True, slots=True, eq=False)
class TargetTransform:
    """A rising function of each target.

    Parameters
    ----------
    kind
        See above.
    knots
        Of ``quantile``, for each target: values and their normal scores, both rising strictly, float64, (2, knots).
        It is linear between knots, and stays beyond the ends: nothing is predicted that no training row had.
    """

    kind: TransformKind
    knots: tuple[Values, ...] = ()

    @classmethod
    def fit(cls, kind: TransformKind, y: Values, rows: NDArray[np.intp], *, names: Sequence[str]) -> Self:
        """Fit to some rows of ``y``, (all rows, targets); the others are checked as well.

        Raises
        ------
        InvalidInputError
            ``/data/target``: a value that has no logarithm, with target and row.
        """
        if kind in _LOWER_BOUNDS:
            _check_range(kind, y, names)
        return cls(kind, tuple(_normal_scores(y[rows, target]) for target in range(len(names))) * (kind == "quantile"))

    def apply(self, y: Values) -> Values:
        """Return targets transformed, shape (rows, targets)."""
        match self.kind:
            case "identity":
                return y
            case "log":
                return np.log(y)
            case "log1p":
                return np.log1p(y)
            case "quantile":
                return self._interpolated(y, 0, 1)

    def invert(self, values: Values) -> Values:
        """Return transformed values in the target's unit; of several targets the last axis is theirs."""
        match self.kind:
            case "identity":
                return values
            case "log":
                return np.exp(np.minimum(values, _LARGEST_LOG))
            case "log1p":
                return np.expm1(np.minimum(values, _LARGEST_LOG))
            case "quantile":
                return self._interpolated(values, 1, 0)

    def _interpolated(self, x: Values, given: int, wanted: int) -> Values:
        if len(self.knots) == 1:
            return np.interp(x, self.knots[0][given], self.knots[0][wanted])
        parts = [np.interp(x[..., k], knots[given], knots[wanted]) for k, knots in enumerate(self.knots)]
        return np.stack(parts, axis=-1)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; every float survives exactly."""
        return {"kind": self.kind, "knots": [knots.tolist() for knots in self.knots]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], *, targets: int) -> Self:
        """Build from what ``to_json`` gave, checked.

        Raises
        ------
        ValueError
            Not a transform of so many targets.
        """
        kind, knots = fields["kind"], tuple(np.asarray(one, np.float64) for one in fields["knots"])
        if len(knots) != (targets if kind == "quantile" else 0):
            raise ValueError(f"{len(knots)} lists of knots for {targets} targets of the transform `{kind}`")
        for one in knots:
            if one.ndim != 2 or len(one) != 2 or not 1 <= one.shape[1] <= MAX_KNOTS:  # noqa: PLR2004 - values and scores
                raise ValueError(f"knots are values and as many scores, 1 to {MAX_KNOTS}")
            if not np.isfinite(one).all() or (np.diff(one) <= 0).any():
                raise ValueError("values and scores of the knots are finite and rise")
        return cls(kind, knots)


IDENTITY: Final = TargetTransform("identity")


def find_fault(kind: TransformKind, name: str, value: float) -> str | None:
    """Return what is wrong with a value of a target, if the transform does not take it."""
    low, high = _LOWER_BOUNDS.get(kind, -math.inf), math.exp(_LARGEST_LOG)
    if kind not in _LOWER_BOUNDS or low < value < high:
        return None
    others = "`log1p` takes numbers above -1, and `quantile` any" if kind == "log" else "`quantile` takes any"
    return (
        f"`{name}` has the value {value:g}; the target transform `{kind}` takes numbers above {low:g} and below "
        f"{high:.0e}; {others}"
    )


def _check_range(kind: TransformKind, y: Values, names: Sequence[str]) -> None:
    bad = np.argwhere(~((y > _LOWER_BOUNDS[kind]) & (y < math.exp(_LARGEST_LOG))))
    if bad.size:
        row, target = map(int, bad[0])
        fault = find_fault(kind, names[target], float(y[row, target]))
        raise InvalidInputError.at("/data/target", f"row {row + 1:,} of those with a target: {fault}")


def _normal_scores(y: Values) -> Values:
    """Return at most ``MAX_KNOTS`` of the distinct values, evenly by rank, with their scores; ties share a rank.

    The score of rank r of n is the normal quantile of (r - 3/8) / (n + 1/4) (Blom 1958).
    """
    values, counts = np.unique(y, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    if len(values) > MAX_KNOTS:
        chosen = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], MAX_KNOTS)))
        values, ranks = values[chosen], ranks[chosen]
    levels = (ranks - 3 / 8) / (len(y) + 1 / 4)
    return np.stack([values, [NormalDist().inv_cdf(level) for level in levels.tolist()]])
