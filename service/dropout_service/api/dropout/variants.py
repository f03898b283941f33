"""Models of the parameters of each variant, built from the table of variants.

The models of ``schemas`` hold what all variants share. A variant adds its own parameters with their bounds, so a
request is checked by the model of the variant that it names. A new variant in the table needs nothing here.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, cast

from pydantic import BaseModel, Field, RootModel, create_model

from dropout_service.api.arrays.base import MAX_DIMENSIONS
from dropout_service.api.arrays.schemas import Numbers
from dropout_service.api.dropout.schemas import BackwardRequest, DropoutParameters
from dropout_service.api.http.validation_errors import summary, validated
from dropout_service.errors import FieldError, InvalidInputError
from dropout_service.kernels.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_service.kernels.variants import Parameter, Variant

__all__ = ["documented", "own_parameters", "validated_parameters", "variant_of"]

ModelT = TypeVar("ModelT", bound=DropoutParameters)

_MAX_QUOTED: Final = 40
_X_OF_BACKWARD: Final = "The input of the forward pass, for the gradient with regard to the rate."

_TYPES: Final[Mapping[str, Any]] = {
    "number": float,
    "integer": int,
    "axis": int,
    "boolean": bool,
    "text": str,
    "shape": Annotated[list[Annotated[int, Field(ge=0)] | None], Field(max_length=MAX_DIMENSIONS, fail_fast=True)],
}
_OWNERS: Final[Mapping[str, list[str]]] = {
    own.name: [variant.name for variant in VARIANTS.values() if own.name in {one.name for one in variant.parameters}]
    for owner in VARIANTS.values()
    for own in owner.parameters
}
"""The variants that have a parameter, by its name."""


def validated_parameters(model: type[ModelT], values: Mapping[str, Any]) -> ModelT:
    """Validate the parameters of a request by those that its variant has.

    Parameters
    ----------
    model
        One of the models of ``schemas``: what every variant shares.
    values
        What the request holds; ``variant`` among it names the variant.

    Raises
    ------
    InvalidInputError
        With a pointer for each fault: an unknown variant, a parameter of another variant, a value out of bounds.
    """
    name = values.get("variant", "standard")
    if not isinstance(name, str) or name not in VARIANTS:
        close = get_close_matches(str(name)[:_MAX_QUOTED], VARIANTS, n=1)
        hint = f"did you mean `{close[0]}`? " if close else ""
        told = repr(name)[:_MAX_QUOTED]
        raise InvalidInputError.at("/variant", f"there is no variant {told}; {hint}there are {', '.join(VARIANTS)}")
    variant = VARIANTS[name]
    own = [one.name for one in variant.parameters]
    foreign = [field for field in values if field in _OWNERS and field not in own]
    if foreign:
        takes = f"which takes {_listed(own)}" if own else "which takes no parameters of its own"
        faults = [
            FieldError(f"/{field}", f"a parameter of {_listed(_OWNERS[field])}, not of `{name}`, {takes}")
            for field in foreign
        ]
        raise InvalidInputError(summary(faults), errors=faults)
    return validated(_model_of(model, name), values)


def variant_of(parameters: DropoutParameters) -> Variant:
    """Return the variant that validated parameters name."""
    return VARIANTS[parameters.variant]


def own_parameters(parameters: DropoutParameters) -> dict[str, Any]:
    """Return the variant's own parameters, the defaults filled in."""
    return {one.name: getattr(parameters, one.name) for one in variant_of(parameters).parameters}


def documented(model: type[ModelT]) -> type[BaseModel]:
    """Return the model that describes a request, for the OpenAPI document: one of those of each variant.

    Parameters
    ----------
    model
        One of the models of ``schemas``.
    """
    each = reduce(or_, (cast("Any", _documented(model, variant)) for variant in VARIANTS.values()))
    create = cast("Any", create_model)  # as in `_created`
    return create(model.__name__, __base__=RootModel[each], __doc__=model.__doc__, __module__=__name__)


def _documented(model: type[ModelT], variant: Variant) -> type[ModelT]:
    about = f"{variant.title}: {variant.drops}."
    default: dict[str, Any] = {"default": variant.name} if variant.name == "standard" else {}
    fields: dict[str, Any] = {"variant": (Literal[variant.name], Field(description=about, **default))}
    for one in variant.parameters:
        kind, _ = _field(one)
        fields[one.name] = (kind, Field(default=one.default, description=f"{_described(one)}.", **_bounds(one)))
    if variant.needs_x and issubclass(model, BackwardRequest):
        fields["x"] = (Numbers, Field(description=_X_OF_BACKWARD))
    suffix = "".join(part.capitalize() for part in variant.name.split("_"))
    return _created(model, fields, f"{model.__name__}{suffix}")


@cache
def _model_of(model: type[ModelT], name: str) -> type[ModelT]:
    variant = VARIANTS[name]
    fields = {one.name: _field(one) for one in variant.parameters}
    if variant.needs_x and issubclass(model, BackwardRequest):
        fields["x"] = (Numbers, Field(default=None, description=_X_OF_BACKWARD))
    return _created(model, fields, f"{model.__name__}_{name}")


def _created(model: type[ModelT], fields: Mapping[str, Any], name: str) -> type[ModelT]:
    create = cast("Any", create_model)  # its overloads know no fields whose names are data
    return create(name, __base__=model, __doc__=model.__doc__, __module__=__name__, **fields)


def _field(parameter: Parameter) -> tuple[Any, Any]:
    kind = _TYPES[parameter.kind]
    whole = kind | None if parameter.default is None else kind
    return (whole, Field(default=parameter.default, **_bounds(parameter)))


def _bounds(parameter: Parameter) -> dict[str, Any]:
    bounds: dict[str, Any] = {
        "gt" if parameter.exclusive_minimum else "ge": parameter.minimum,
        "lt" if parameter.exclusive_maximum else "le": parameter.maximum,
    }
    if parameter.kind == "number":
        bounds["allow_inf_nan"] = False
    return bounds


def _described(parameter: Parameter) -> str:
    default = "" if parameter.default is None else f"; default {str(parameter.default).lower()}"
    return f"{parameter.description}{f' ({parameter.range})' if parameter.range else ''}{default}"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
