"""The table of variants, and what each row refuses."""

# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import hashlib
import inspect

import numpy as np
import pytest
from reference_variants import example

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.dropout import standard
from dropout_service.kernels.variants import VARIANTS, Parameter
from dropout_service.kernels.variants.parameters import checked_parameters

NAMES = [
    "standard",
    "feature1d",
    "feature2d",
    "feature3d",
    "gaussian",
    "alpha",
    "feature_alpha",
    "dropconnect",
    "dropblock",
    "drop_path",
    "locked",
    "batchwise",
    "concrete",
]


def test_the_names_and_their_order_are_pinned():
    assert list(VARIANTS) == NAMES
    assert all(variant.name == name for name, variant in VARIANTS.items())


def test_the_standard_variant_lists_what_forward_takes():
    listed = {parameter.name for parameter in VARIANTS["standard"].all_parameters}
    taken = set(inspect.signature(standard.forward).parameters) - {"x", "mask", "out", "threads"}
    assert listed == taken


@pytest.mark.parametrize("word", ["seed", "offset"])
def test_the_table_tells_the_range_of_seeds_and_offsets(word):
    (parameter,) = [one for one in VARIANTS["standard"].all_parameters if one.name == word]
    forward, x = VARIANTS["standard"].forward, np.ones(3)
    for accepted in (parameter.minimum, parameter.maximum):
        forward(x, 0.5, **{"seed": 1, word: accepted})
    for refused in (parameter.minimum - 1, parameter.maximum + 1):
        with pytest.raises(InvalidInputError, match="unsigned 64-bit integer"):
            forward(x, 0.5, **{"seed": 1, word: refused})


@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_is_filled_in(name):
    variant = VARIANTS[name]
    for text in (variant.title, variant.drops, variant.constraints, variant.formula, variant.gradient, variant.paper):
        assert text
        assert text == text.strip()
    assert len({parameter.name for parameter in variant.all_parameters}) == len(variant.all_parameters)
    assert variant.checked_parameters({}).keys() == {parameter.name for parameter in variant.parameters}
    assert variant.scalings[0] == "inverted"


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        (Parameter("a", "", "number"), ""),
        (Parameter("a", "", "number", minimum=0, maximum=1), "from 0 to 1"),
        (Parameter("a", "", "number", minimum=0, maximum=1, exclusive_maximum=True), "of at least 0 and below 1"),
        (Parameter("a", "", "number", minimum=0, exclusive_minimum=True), "above 0"),
        (Parameter("a", "", "integer", maximum=7), "of at most 7"),
    ],
)
def test_a_range_is_put_into_words(parameter, words):
    assert parameter.range == words


@pytest.mark.parametrize(
    ("bounds", "accepted", "refused"),
    [
        (
            {"minimum": 0, "maximum": 1},
            [0, 1, 0.5, np.float32(0.5)],
            [-1e-9, 1 + 1e-9, 10**400, "0.5", None, True, np.nan],
        ),
        ({"minimum": 0, "exclusive_minimum": True}, [1e-300, 1e300], [0, -1, np.inf]),
        ({"maximum": 1, "exclusive_maximum": True}, [-5, 1 - 1e-9], [1, 2]),
        ({}, [-1e300, 0], [10**400, np.inf, np.nan, 1j, [1]]),
    ],
)
def test_numbers_are_checked_against_their_bounds(bounds, accepted, refused):
    parameter = Parameter("a", "", "number", **bounds)
    for value in accepted:
        checked = parameter.checked(value)
        assert checked == value
        assert type(checked) is float
    for value in refused:
        with pytest.raises(InvalidInputError, match="a is a number") as told:
            parameter.checked(value)
        assert [fault.pointer for fault in told.value.errors] == ["/a"]


def test_integers_are_checked():
    parameter = Parameter("block_size", "", "integer", minimum=1)
    assert parameter.checked(np.int16(3)) == 3
    for value in (0, 3.0, True, "3", None):
        with pytest.raises(InvalidInputError, match="block_size is an integer of at least 1, not"):
            parameter.checked(value)


@pytest.mark.parametrize(
    ("parameter", "accepted", "refused", "message"),
    [
        (Parameter("a", "", "boolean"), [True, False], [1, 0, None, "true"], "a is true or false"),
        (Parameter("a", "", "text", choices=("x", "y")), ["x", "y"], ["z", "", 1, None], "a is one of x, y"),
        (Parameter("a", "", "text"), ["x", ""], [1, None], "a is a text"),
    ],
)
def test_words_and_truth_values_are_checked(parameter, accepted, refused, message):
    for value in accepted:
        assert parameter.checked(value) is value
    for value in refused:
        with pytest.raises(InvalidInputError, match=message) as told:
            parameter.checked(value)
        assert [fault.pointer for fault in told.value.errors] == ["/a"]


def test_what_is_required_is_asked_for():
    known = (Parameter("a", "the first", "integer", required=True), Parameter("b", "", "integer", default=2))
    assert checked_parameters("it", known, {"a": 1}) == {"a": 1, "b": 2}
    with pytest.raises(InvalidInputError, match="it needs a: the first") as told:
        checked_parameters("it", known, {"b": 1})
    assert [fault.pointer for fault in told.value.errors] == ["/a"]


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"rate": -0.1}, "/rate"),
        ({"rate": 1.1}, "/rate"),
        ({"rate": np.nan}, "/rate"),
        ({"rate": True}, "/rate"),
        ({"rate": "0.5"}, "/rate"),
        ({"seed": -1}, "/seed"),
        ({"seed": 2**64}, "/seed"),
        ({"seed": 1.0}, "/seed"),
        ({"offset": 2**64}, "/offset"),
        ({"scaling": "outverted"}, "/scaling"),
        ({"colour": 1}, "/colour"),
        ({"out": np.zeros(3)}, "/out"),
        ({"mask": np.ones(11, np.bool_)}, "/mask"),
        ({"mask": np.ones((), np.int8)}, "/mask"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_in_both_passes(name, change, pointer):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    x = np.ones(shape)
    needed = {"x": x} if variant.needs_x else {}
    for run, more in ((variant.forward, {}), (variant.backward, needed)):
        for training in (True, False):
            arguments = {"rate": 0.5, "seed": 1, "training": training, **parameters, **more, **change}
            with pytest.raises(InvalidInputError) as told:
                run(x, **arguments)
            assert [fault.pointer for fault in told.value.errors] == [pointer]


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex128, ">f4"])
def test_other_dtypes_are_refused(name, dtype):
    shape, parameters = example(name)
    with pytest.raises(InvalidInputError, match="dtype") as told:
        VARIANTS[name].forward(np.ones(shape, dtype), 0.5, seed=1, **parameters)
    assert told.value.errors[0].pointer == "/x"


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "pointer", "message"),
    [
        ("standard", (2, 3), {"noise_shape": (2, 2)}, "/noise_shape", "one entry for each axis"),
        ("feature1d", (2, 3), {}, "/x", r"axes \(n, c, l\), not shape \[2, 3\]"),
        ("feature2d", (2, 3, 4), {}, "/x", r"axes \(n, c, h, w\)"),
        ("feature3d", (2, 3, 4, 5), {}, "/x", r"axes \(n, c, d, h, w\)"),
        ("feature_alpha", (5,), {}, "/x", r"axes \(n, c, ...\)"),
        ("drop_path", (), {}, "/x", "first axis"),
        ("batchwise", (), {}, "/x", "first axis"),
        ("locked", (2, 3), {"axis": 2}, "/axis", r"axis 2 is not one of x, which has shape \[2, 3\]"),
        ("locked", (2, 3), {"axis": -3}, "/axis", "axis -3"),
        ("locked", (), {}, "/axis", "axis 1"),
        ("locked", (2, 3), {"axis": 1.0}, "/axis", "an axis, an integer, not 1.0"),
        ("dropblock", (2, 3), {}, "/x", r"\(n, c, l\) or \(n, c, h, w\)"),
        ("dropblock", (2, 3, 4, 4, 4), {}, "/x", r"\(n, c, l\) or \(n, c, h, w\)"),
        ("dropblock", (2, 3, 9, 6), {}, "/block_size", "at most the size of a map, 6, not 7"),
        ("dropblock", (2, 3, 9), {"block_size": 10}, "/block_size", "at most the size of a map, 9, not 10"),
        ("dropblock", (2, 3, 9), {"block_size": 0}, "/block_size", "an integer of at least 1, not 0"),
        ("concrete", (2, 3), {"temperature": 0}, "/temperature", "a number above 0, not 0"),
        ("concrete", (2, 3), {"temperature": np.inf}, "/temperature", "a number above 0, not inf"),
    ],
)
def test_wrong_shapes_and_parameters_are_refused(name, shape, parameters, pointer, message):
    variant = VARIANTS[name]
    runs = [
        lambda: variant.forward(np.ones(shape), 0.5, seed=1, **parameters),
        lambda: variant.forward(np.ones(shape), 0.5, seed=1, training=False, **parameters),
    ]
    if variant.masked:
        runs.append(lambda: variant.mask(shape, 0.5, seed=1, **parameters))
    for run in runs:
        if variant is VARIANTS["standard"] and run is runs[2]:
            message = "has 2 axes|one entry for each axis"
        with pytest.raises(InvalidInputError, match=message) as told:
            run()
        assert told.value.errors[0].pointer == pointer
    gradient_pointer = "/grad_output" if pointer == "/x" else pointer
    with pytest.raises(InvalidInputError) as told:
        variant.backward(np.ones(shape), 0.5, seed=1, x=np.ones(shape), **parameters)
    assert told.value.errors[0].pointer == gradient_pointer


@pytest.mark.parametrize(("name", "rate"), [("gaussian", 1), ("concrete", 0), ("concrete", 1)])
def test_a_rate_where_the_formula_has_no_value_is_refused(name, rate):
    with pytest.raises(InvalidInputError, match=r"rate is a number .*(above 0|below 1)"):
        VARIANTS[name].forward(np.ones(3), rate, seed=1)


def test_foreign_parameters_are_all_named():
    with pytest.raises(InvalidInputError, match='variant "locked" takes axis, not block_size, temperature') as told:
        VARIANTS["locked"].forward(np.ones((2, 3)), 0.5, seed=1, block_size=3, temperature=1)
    assert [fault.pointer for fault in told.value.errors] == ["/block_size", "/temperature"]


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if not variant.masked])
def test_noise_that_is_no_mask_is_neither_given_nor_returned(name):
    variant = VARIANTS[name]
    with pytest.raises(InvalidInputError, match="not a mask: give the seed"):
        variant.forward(np.ones(3), 0.5, seed=1, mask=np.ones(3, np.bool_))
    with pytest.raises(InvalidInputError, match="is not a mask") as told:
        variant.mask(3, 0.5, seed=1)
    assert told.value.errors[0].pointer == "/variant"
    with pytest.raises(InvalidInputError, match=r"needs the seed of the forward pass$"):
        variant.backward(np.ones(3), 0.5)


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.masked])
def test_backward_needs_the_seed_or_the_mask(name):
    shape, parameters = example(name)
    with pytest.raises(InvalidInputError, match="or its mask") as told:
        VARIANTS[name].backward(np.ones(shape), 0.5, **parameters)
    assert told.value.errors[0].pointer == "/seed"


@pytest.mark.parametrize(
    ("name", "dtype", "digest"),
    [
        ("gaussian", "<f8", "c42dda9c5c29a300"),
        ("gaussian", "<f4", "b730804fcdaaa376"),
        ("concrete", "<f8", "47e1fc47e234e2f8"),
        ("concrete", "<f4", "aba76f7a1d6390f5"),
    ],
)
def test_noise_that_is_computed_has_these_very_bits(name, dtype, digest):
    # Known answers of our own: plain x86-64, AVX2 and AVX-512 give them.
    y = VARIANTS[name].forward(np.ones(10_001, dtype), 0.3, seed=7, offset=3)
    assert hashlib.sha256(y.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.needs_x])
@pytest.mark.parametrize("x", [None, np.ones(4), np.ones(3, np.float32)], ids=["none", "shape", "dtype"])
def test_x_is_needed_as_forward_had_it(name, x):
    with pytest.raises(InvalidInputError, match="needs x") as told:
        VARIANTS[name].backward(np.ones(3), 0.5, seed=1, x=x)
    assert told.value.errors[0].pointer == "/x"


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.scalings == ("inverted",)])
def test_the_classic_scaling_is_refused_where_there_is_none(name):
    shape, parameters = example(name)
    variant = VARIANTS[name]
    with pytest.raises(InvalidInputError, match='is "inverted", not'):
        variant.forward(np.ones(shape), 0.5, seed=1, scaling="classic", **parameters)
    with pytest.raises(InvalidInputError, match='is "inverted", not'):
        variant.scale(0.5, "classic")


@pytest.mark.parametrize(
    ("name", "effective", "factor"),
    [
        ("standard", 19661 / 65536, 65536 / 45875),
        ("locked", 19661 / 65536, 65536 / 45875),
        ("gaussian", 0.3, 1.0),
        ("alpha", 19661 / 65536, None),
        ("dropblock", 0.3, None),
        ("concrete", 0.3, 1 / 0.7),
    ],
)
def test_what_a_rate_means(name, effective, factor):
    variant = VARIANTS[name]
    assert variant.effective_rate(0.3) == effective
    assert variant.scale(0.3, training=False) == 1
    if name == "alpha":
        x = np.array([0.0, 1.0])
        low, high = variant.forward(x, 0.3, seed=0, mask=np.ones(2, np.bool_))
        factor = high - low
        assert variant.scale(0.3) == pytest.approx(factor, rel=1e-12)
        assert variant.scale(1) == 0
    else:
        assert variant.scale(0.3) == factor


def test_a_dropblock_that_drops_nothing_has_a_scale():
    assert VARIANTS["dropblock"].scale(0) == 1
