"""``Targets``: the targets of a training, as the network sees them and as a person does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.nn.units import CurvedUnit, Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.nn.heads import Head
    from dropout_service.training.standardization import Standardization
    from dropout_service.training.target_transform import TargetTransform

    Values = NDArray[np.float64]

__all__ = ["Targets"]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The targets of a training.

    Parameters
    ----------
    names
        Their names.
    transform, scaling
        What was applied to them, one after the other; without a scaling they are classes.
    """

    names: tuple[str, ...]
    transform: TargetTransform
    scaling: Standardization | None

    @property
    def curved(self) -> bool:
        """Whether an error of the network's values has no fixed size in the target's unit."""
        return self.transform.kind != "identity"

    @property
    def unit(self) -> Unit:
        """From values of the network to those of the target."""
        if self.scaling is None:
            return Unit()
        mean, scale = self.scaling.mean, self.scaling.scale
        if len(self.names) == 1:
            mean, scale = float(mean[0]), float(scale[0])
        return CurvedUnit(mean, scale, self.transform.invert) if self.curved else Unit(mean, scale)

    @property
    def training_scales(self) -> dict[str, float]:
        """The factor of the errors that a loss kernel sums, by name; empty where there is none."""
        return {} if self.curved else self.validation_scales

    @property
    def validation_scales(self) -> dict[str, float]:
        """The same where ``errors`` stand in for those of the kernel if there is no factor."""
        if self.scaling is None or self.curved:
            return dict.fromkeys(self.names, 1.0)
        return dict(zip(self.names, self.scaling.scale.tolist(), strict=True))

    def errors(self, head: Head, outputs: NDArray[np.floating], y: Values) -> Values:
        """Return the sums of squared errors of each target, then those of absolute ones, in the target's unit.

        Parameters
        ----------
        head
            What the outputs mean.
        outputs
            Of the network, shape (rows, units).
        y
            The targets as a person gave them, shape (rows,) or (rows, targets).
        """
        values = head.figures([outputs], sampled=False, unit=self.unit)["values"]
        differences = (values - y).reshape(len(outputs), -1)
        return np.concatenate([(differences**2).sum(axis=0), np.abs(differences).sum(axis=0)])
