"""Every variant of the table over the three forms of a body equals the kernel, to the bit."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import app_client
import numpy as np
import pytest
from safetensors.numpy import load, save
from sample_arrays import array_for, npy, same_bits

from dropout_service.kernels.dropout.standard import pack_mask
from dropout_service.kernels.variants import VARIANTS, Variant

if TYPE_CHECKING:
    import httpx

NPY = {"Content-Type": "application/x-npy"}
SAFETENSORS = {"Content-Type": "application/vnd.safetensors"}
FORMS = ["json", "npy", "safetensors", "metadata"]
FACTS = {"rate": 0.3, "seed": 2**63 + 5, "offset": 9}

each_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
each_form = pytest.mark.parametrize("form", FORMS)


def exchange(
    service: httpx.Client, form: str, path: str, arrays: dict[str, np.ndarray[Any, Any]], parameters: dict[str, Any]
) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """Send a request in one form; return the array of the answer and its facts, numbers as numbers."""
    output = {"forward": "y", "backward": "grad_input"}[path]
    if form == "json":
        lists = {name: array.tolist() for name, array in arrays.items()}
        answer = service.post(f"/dropout/{path}", json={**lists, **parameters, "dtype": "float32"})
        assert answer.status_code == 200, answer.text
        facts = answer.json()
        return np.array(facts[output], np.float32), facts
    if form == "npy":
        [array] = arrays.values()
        answer = service.post(f"/dropout/{path}", params=parameters, content=npy(array), headers=NPY)
    elif form == "safetensors":
        answer = service.post(f"/dropout/{path}", params=parameters, content=save(arrays), headers=SAFETENSORS)
    else:
        metadata = {name: str(value) for name, value in parameters.items()}
        answer = service.post(f"/dropout/{path}", content=save(arrays, metadata), headers=SAFETENSORS)
    assert answer.status_code == 200, answer.text
    facts = {
        name.removeprefix("dropout-").replace("-", "_"): value
        if name.endswith(("variant", "algorithm"))
        else float(value)
        for name, value in answer.headers.items()
        if name.startswith("dropout-")
    }
    content = answer.content
    return (np.load(io.BytesIO(content)) if form == "npy" else load(content)[output]), facts


@each_variant
@each_form
def test_forward_equals_the_kernel(service: httpx.Client, variant: Variant, form: str):
    x = array_for(variant, 0)
    own = {one.name: one.default for one in variant.parameters if one.default is not None}
    y, facts = exchange(service, form, "forward", {"x": x}, {**FACTS, "variant": variant.name, **own})
    assert same_bits(y, variant.forward(x, **FACTS))
    assert facts["variant"] == variant.name
    assert facts["algorithm"] == variant.algorithm
    assert facts["effective_rate"] == variant.effective_rate(0.3)
    assert facts.get("scale") == variant.scale(0.3)


@pytest.mark.parametrize(
    ("variant", "form"),
    [
        pytest.param(variant, form, id=f"{variant.name}-{form}")
        for variant in VARIANTS.values()
        for form in FORMS
        if form != "npy" or not variant.needs_x  # npy holds one array
    ],
)
def test_backward_equals_the_kernel(service: httpx.Client, variant: Variant, form: str):
    arrays = {"grad_output": array_for(variant, 1)}
    if variant.needs_x:
        arrays["x"] = array_for(variant, 0)
    gradients = variant.backward(**arrays, **FACTS)
    grad_input, facts = exchange(service, form, "backward", arrays, {**FACTS, "variant": variant.name})
    assert same_bits(grad_input, gradients.grad_input)
    assert facts.get("grad_rate") == gradients.grad_rate
    assert (gradients.grad_rate is not None) == variant.needs_x


@each_variant
@each_form
def test_evaluation_equals_the_kernel_in_every_scaling(service: httpx.Client, variant: Variant, form: str):
    x = array_for(variant, 0)
    for scaling in variant.scalings:
        sent = {**FACTS, "variant": variant.name, "training": "false" if form != "json" else False, "scaling": scaling}
        y, _ = exchange(service, form, "forward", {"x": x}, sent)
        assert same_bits(y, variant.forward(x, **FACTS, training=False, scaling=scaling))


@each_variant
def test_a_mask_is_returned_and_taken_where_there_is_one(service: httpx.Client, variant: Variant):
    x, grad_output = array_for(variant, 0), array_for(variant, 1)
    sent = {"x": x.tolist(), "dtype": "float32", "variant": variant.name, **FACTS}
    back = {"grad_output": grad_output.tolist(), "dtype": "float32", "variant": variant.name, "rate": FACTS["rate"]}
    if not variant.masked:
        refused = service.post("/dropout/forward", json={**sent, "return_mask": "bool"})
        assert refused.json()["errors"][0]["pointer"] == "/return_mask"
        assert "standard" in refused.json()["errors"][0]["message"]
        refused = service.post("/dropout/backward", json={**back, "mask": True})
        assert refused.json()["errors"][0]["pointer"] == "/mask"
        assert service.post("/dropout/forward", json={**sent, "return_mask": "none"}).status_code == 200
        return
    expected = variant.mask(x.shape, **FACTS)
    answers = {
        kind: service.post("/dropout/forward", json={**sent, "return_mask": kind}).json()["mask"]
        for kind in ("bool", "packed")
    }
    assert np.array_equal(answers["bool"], expected)
    gradient = variant.backward(grad_output, FACTS["rate"], mask=expected).grad_input
    for mask in answers.values():
        answer = service.post("/dropout/backward", json={**back, "mask": mask}).json()
        assert same_bits(np.array(answer["grad_input"], np.float32), gradient)
    packed = save({"grad_output": grad_output, "mask": pack_mask(expected)}, {"variant": variant.name, "rate": "0.3"})
    answer = service.post("/dropout/backward", content=packed, headers=SAFETENSORS)
    assert same_bits(load(answer.content)["grad_input"], gradient)
    off = {**sent, "training": False, "return_mask": "bool"}
    assert np.all(service.post("/dropout/forward", json=off).json()["mask"])


@each_variant
def test_a_rate_out_of_its_range_is_told(service: httpx.Client, variant: Variant):
    bounds = [
        (variant.rate.minimum, variant.rate.exclusive_minimum),
        (variant.rate.maximum, variant.rate.exclusive_maximum),
    ]
    for bound, exclusive in bounds:
        sent = {"x": array_for(variant, 0).tolist(), "variant": variant.name, "rate": bound}
        answer = service.post("/dropout/forward", json=sent)
        assert answer.status_code == (422 if exclusive else 200)
        assert not exclusive or answer.json()["errors"][0]["pointer"] == "/rate"


@each_variant
def test_a_scaling_that_it_does_not_have_is_told(service: httpx.Client, variant: Variant):
    sent = {"x": array_for(variant, 0).tolist(), "variant": variant.name, "rate": 0.5, "scaling": "classic"}
    answer = service.post("/dropout/forward", json=sent)
    assert answer.status_code == (200 if "classic" in variant.scalings else 422)
    if answer.status_code == 422:
        assert answer.json()["errors"][0]["pointer"] == "/scaling"
        assert '"inverted"' in answer.json()["errors"][0]["message"]


@each_variant
def test_backward_needs_what_identifies_the_noise(service: httpx.Client, variant: Variant):
    sent = {"grad_output": array_for(variant, 1).tolist(), "variant": variant.name, "rate": 0.5}
    [error] = service.post("/dropout/backward", json=sent).json()["errors"]
    assert error["pointer"] == "/seed"
    assert ("mask" in error["message"]) == variant.masked


@each_variant
def test_x_of_backward_is_told_where_it_lacks_and_where_it_is_too_much(service: httpx.Client, variant: Variant):
    grad_output = array_for(variant, 1)
    sent = {"grad_output": grad_output.tolist(), "variant": variant.name, "rate": 0.5, "seed": 1}
    if not variant.needs_x:
        sent["x"] = sent["grad_output"]
    query = {"variant": variant.name, "rate": 0.5, "seed": 1}
    tensors = {"grad_output": grad_output} | ({} if variant.needs_x else {"x": grad_output})
    for answer in (
        service.post("/dropout/backward", json=sent),
        service.post("/dropout/backward", params=query, content=save(tensors), headers=SAFETENSORS),
    ):
        assert answer.status_code == 422, answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/x"]
    in_npy = service.post("/dropout/backward", params=query, content=npy(grad_output), headers=NPY)
    assert in_npy.status_code == (422 if variant.needs_x else 200)
    assert not variant.needs_x or "npy holds one array" in in_npy.json()["errors"][0]["message"]


def test_a_gradient_of_the_rate_that_is_not_finite_is_valid_json(service: httpx.Client):
    sent = {"grad_output": [1], "x": ["Infinity"], "rate": 0.5, "seed": 1, "variant": "concrete", "temperature": 2}
    answer = service.post("/dropout/backward", json=sent)
    assert answer.json()["grad_rate"] in {"Infinity", "-Infinity", "NaN"}
    assert np.isfinite(answer.json()["grad_input"]).all()


def test_parameters_change_what_is_drawn(service: httpx.Client):
    """A parameter lost on the way would leave the default in force."""
    x = np.ones((2, 3, 9, 8), np.float32)
    for form in FORMS:
        for sent in (
            {"variant": "dropblock", "block_size": 3},
            {"variant": "locked", "axis": -2},
            {"variant": "concrete", "temperature": 0.75},
        ):
            name, own = sent["variant"], {key: value for key, value in sent.items() if key != "variant"}
            y, _ = exchange(service, form, "forward", {"x": x}, {**FACTS, **sent})
            assert same_bits(y, VARIANTS[name].forward(x, **FACTS, **own))
            assert not np.array_equal(y, VARIANTS[name].forward(x, **FACTS))
            if form == "npy" and VARIANTS[name].needs_x:  # npy holds one array
                continue
            arrays = {"grad_output": x} | ({"x": x} if VARIANTS[name].needs_x else {})
            grad_input, _ = exchange(service, form, "backward", arrays, {**FACTS, **sent})
            assert same_bits(grad_input, VARIANTS[name].backward(**arrays, **FACTS, **own).grad_input)
            assert not np.array_equal(grad_input, VARIANTS[name].backward(**arrays, **FACTS).grad_input)


def test_the_list_holds_the_whole_table(service: httpx.Client):
    items = service.get("/dropout/variants").json()["items"]
    assert [item["name"] for item in items] == list(VARIANTS)
    for item, variant in zip(items, VARIANTS.values(), strict=True):
        told = {name: item[name] for name in ("title", "drops", "constraints", "formula", "gradient", "paper")}
        assert told == {name: getattr(variant, name) for name in told}
        assert (item["masked"], item["learns_rate"]) == (variant.masked, variant.needs_x)
        assert item["scalings"] == list(variant.scalings)
        assert [one["name"] for one in item["parameters"]] == [one.name for one in variant.all_parameters]
        for one, parameter in zip(item["parameters"], variant.all_parameters, strict=True):
            assert one == {name: getattr(parameter, name) for name in one}
            assert set(one) >= {"kind", "default", "minimum", "maximum", "exclusive_minimum", "exclusive_maximum"}


@each_variant
def test_the_document_describes_it(service: httpx.Client, variant: Variant):
    document = service.get("/openapi.json").json()
    foreign = {one.name for other in VARIANTS.values() for one in other.parameters}
    for path in ("forward", "backward"):
        operation = document["paths"][f"/dropout/{path}"]["post"]
        assert variant.paper in operation["description"]
        assert ("Dropout-Grad-Rate" in operation["responses"]["200"]["headers"]) == (path == "backward")
        body = operation["requestBody"]["content"]["application/json"]
        assert body["examples"][variant.name]["value"]["variant"] == variant.name
        schemas = document["components"]["schemas"]
        each = [
            schemas[one["$ref"].rpartition("/")[2]]
            for one in schemas[body["schema"]["$ref"].rpartition("/")[2]]["anyOf"]
        ]
        (schema,) = [one for one in each if one["properties"]["variant"]["const"] == variant.name]
        assert ("variant" in schema["required"]) == (variant.name != "standard")
        own = {one.name for one in variant.parameters}
        assert own <= set(schema["properties"])
        assert not (foreign - own) & set(schema["properties"]), "what another variant takes is not said to be taken"
        for parameter in variant.parameters:
            assert parameter.description in schema["properties"][parameter.name]["description"]


NEW_VARIANT = """
import sys
from dataclasses import replace
from pathlib import Path

from dropout_service.kernels import variants
from dropout_service.kernels.variants import Parameter

shared = Parameter("shared_axes", "how many axes at the end share a draw", "integer", default=1, minimum=1, maximum=2)
rows = replace(
    variants.VARIANTS["locked"],
    name="rows",
    parameters=(shared,),
    noise_shape=lambda shape, _, own: shape[: -own["shared_axes"]] + (1,) * own["shared_axes"],
)
variants.VARIANTS = {**variants.VARIANTS, "rows": rows}

from app_client import _open_client

from dropout_service.app import create_app
from dropout_service.settings import Settings

with _open_client(create_app(Settings(data_dir=Path(sys.argv[1]), dispatcher=False))) as client:
    def post(**fields):
        return client.post("/dropout/forward", json={"rate": 0.5, "seed": 1, "variant": "rows", **fields}).json()

    ones = [[[1.0] * 8] * 4] * 3
    for count in (1, 2):
        mask = post(x=ones, shared_axes=count, return_mask="bool")["mask"]
        assert [len(mask), len(mask[0]), len(mask[0][0])] == [3, 4 if count == 1 else 1, 1]
    assert "less than or equal to 2" in post(x=ones, shared_axes=3)["detail"]
    assert "a parameter of `rows`" in post(x=ones, shared_axes=1, variant="locked")["detail"]
    assert client.get("/dropout/variants").json()["items"][-1]["name"] == "rows"
    operation = client.get("/openapi.json").json()["paths"]["/dropout/forward"]["post"]
    assert "shared_axes" in operation["description"]
    assert "rows" in operation["requestBody"]["content"]["application/json"]["examples"]
"""


def test_a_new_line_of_the_table_is_all_that_a_new_variant_needs(tmp_path: Path):
    support = Path(app_client.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", NEW_VARIANT, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(support), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
