"""The JSON Schema of spec files, for editors: `python -m archcmp.spec.yaml.json_schema > specs/schema.json`.

A file's `sizes` hold parts of a model and its blocks may extend others, so nothing is required there
and an option may be null, which removes it; what is left over is checked when a spec is loaded.
"""

from __future__ import annotations

import json
from typing import Any

from archcmp.spec.schema.model import ModelSpec

_DRAFT = "https://json-schema.org/draft/2020-12/schema"

_LEFT_OUT = ("required", "discriminator", "title", "default")


def _partial(schema: Any) -> Any:
    """The same schema with nothing required, `oneOf` loosened, and null allowed for every option."""
    if isinstance(schema, list):
        return [_partial(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    loose = {key: _partial(value) for key, value in schema.items() if key not in _LEFT_OUT}
    if "oneOf" in loose:
        loose["anyOf"] = loose.pop("oneOf")
    for key in ("properties", "patternProperties"):
        if isinstance(properties := loose.get(key), dict):
            loose[key] = {name: _or_null(option) for name, option in properties.items()}
    return loose


def _or_null(option: dict[str, Any]) -> dict[str, Any]:
    if option.get("type") == "null" or {"type": "null"} in option.get("anyOf", []):
        return option
    return {"anyOf": [option, {"type": "null"}]}


def file_schema() -> dict[str, Any]:
    """What a spec file may hold: a model, its sizes, and blocks that extend each other."""
    model = _partial(ModelSpec.model_json_schema(mode="validation"))
    definitions = model.pop("$defs")
    model["properties"].pop("size")
    definitions["Block"]["properties"]["extends"] = {
        "type": "string",
        "description": "A block to start from.",
    }
    definitions["ModelPart"] = model
    files = {
        "default_size": {"type": "string", "description": "The size that the family's bare name means."},
        "sizes": {
            "type": "object",
            "description": "What each published size changes.",
            "additionalProperties": {"anyOf": [{"$ref": "#/$defs/ModelPart"}, {"type": "null"}]},
        },
    }
    return {
        "$schema": _DRAFT,
        "title": "archcmp spec",
        "description": "An LLM architecture: one model, or a family with its sizes.",
        "type": "object",
        "additionalProperties": False,
        "properties": model["properties"] | files,
        "$defs": definitions,
    }


def file_schema_text() -> str:
    """The schema as it stands in specs/schema.json."""
    return json.dumps(file_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(file_schema_text(), end="")
