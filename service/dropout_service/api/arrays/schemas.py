"""How the OpenAPI document describes an array in JSON.

Arrays are ``Any`` to Pydantic: ``arrays.json`` checks them, many times faster than an element-wise schema would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from dropout_service.api.arrays.json import EncodedArray

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["Bools", "Numbers"]

_NUMBER: Final = {
    "anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}],
}


@dataclass(frozen=True, slots=True, eq=False)  # hashed by identity: it holds a dict
class _ArraySchema:
    """Describes an array whose elements ``arrays.json`` checks."""

    leaf: dict[str, Any]
    description: str

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # A recursive schema would be exact; generators of clients and forms cope with a list of anything.
        nested = {"type": "array", "items": {}, "description": "Nested lists, one level for each axis."}
        # By its name in the document, so that generators of clients make one type of it.
        encoded = {"$ref": f"#/components/schemas/{EncodedArray.__name__}"}
        return {"anyOf": [nested, self.leaf, encoded], "description": self.description}


Numbers = Annotated[Any, _ArraySchema(_NUMBER, "Nested lists of numbers, or an encoded array.")]
Bools = Annotated[
    Any, _ArraySchema({"type": "boolean"}, "Nested lists of booleans (true = kept), or an encoded array.")
]
