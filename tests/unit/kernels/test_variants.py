from __future__ import annotations

import inspect

from dropout_service.kernels import dropout
from dropout_service.kernels.variants import VARIANTS


def test_every_variant_is_listed_under_its_name():
    assert VARIANTS
    assert all(variant.name == name for name, variant in VARIANTS.items())


def test_the_standard_variant_lists_what_forward_takes():
    listed = {parameter.name for parameter in VARIANTS["standard"].all_parameters}
    taken = set(inspect.signature(dropout.forward).parameters) - {"x", "mask", "out", "threads"}
    assert listed == taken
