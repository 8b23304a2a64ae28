"""The JSON Schema of spec files, for editors: `python -m archcmp.spec.yaml.json_schema > specs/schema.json`.

A file's `sizes` hold parts of a model, and the file and its blocks may extend others. So nothing is required
there, and an option may be null, which removes it; what is left over is checked when a spec is loaded.

A validator names the key that is wrong: it does not say that a mapping is none of several schemas. So null is
a further type of an option, and what a slot holds is chosen by its `kind` (if, then).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from archcmp.spec import reflect
from archcmp.spec.schema.base import Part
from archcmp.spec.schema.model import ModelSpec

_DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def _ref(*path: str) -> Schema:
    return {"$ref": "/".join(("#/$defs", *path))}


def _words(docstring: str | None) -> str:
    return " ".join((docstring or "").split())


# ---- options ----------------------------------------------------------------------------------------


def _or_null(schema: Schema) -> Schema:
    """The same schema with null allowed, as one more type or value where it can be one."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if len(options) == 1:
        return _or_null(options[0])
    if options:
        return {"anyOf": [*options, {"type": "null"}]}
    if "const" in schema:
        return {"enum": [schema["const"], None]}
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def _option(option: reflect.Option, leaf: Schema) -> Schema:
    """What may be written for an option; `leaf` is pydantic's schema of it."""
    described = {"description": _words(option.meaning)}
    kinds = reflect.kinds(option.owner, option.name)
    if kinds and reflect.has_shorthand(option.owner, option.name):
        shorthand = [{"enum": [*kinds, None]}, {"type": "object"}]
        return described | {"anyOf": shorthand} | _ref(_slot_name(kinds))
    if kinds:
        return described | {"type": ["object", "null"]} | _ref(_slot_name(kinds))
    if option.parts and not reflect.is_container(option.owner, option.name):
        return described | _ref(option.parts[0].__name__)
    plain = {key: value for key, value in leaf.items() if key not in ("title", "default", "description")}
    return described | _or_null(plain)


# ---- slots ------------------------------------------------------------------------------------------


def _slot_name(kinds: Mapping[str, type[Part]]) -> str:
    return "Or".join(part.__name__ for part in kinds.values())


def _slot(kinds: Mapping[str, type[Part]], definitions: Mapping[str, Schema]) -> Schema:
    """The options of a mapping's kind; those of every kind where it has none, as a block that extends another
    may leave it out."""
    chosen = [
        {"if": _mapping_with({"kind": {"const": kind}}), "then": _ref(part.__name__)}
        for kind, part in kinds.items()
    ]
    meanings = [_words(part.__doc__) for part in kinds.values()]
    choice = {"description": "Which of them it is.", "enum": [*kinds, None], "enumDescriptions": meanings}
    without = {"type": "object", "not": {"required": ["kind"]}}
    partial = {"properties": _of_any(list(kinds.values()), definitions), "additionalProperties": False}
    return {"properties": {"kind": choice}, "allOf": [*chosen, {"if": without, "then": partial}]}


def _of_any(parts: Sequence[type[Part]], definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """The options of all the parts; one that several have is what it is in any of them."""
    found: dict[str, dict[str, Schema]] = {}
    for part in parts:
        for name, schema in definitions[part.__name__]["properties"].items():
            rules = json.dumps(schema | {"description": ""})
            found.setdefault(name, {}).setdefault(rules, _ref(part.__name__, "properties", name))
    alone = {name: list(refs.values()) for name, refs in found.items() if name != "kind"}
    return {name: refs[0] if len(refs) == 1 else {"anyOf": refs} for name, refs in alone.items()}


def _mapping_with(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


# ---- the file ---------------------------------------------------------------------------------------


def _classes(owner: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A class of the schema and all the parts below it, also those in lists and mappings."""
    yield owner
    for name in owner.model_fields:
        for part in reflect.parts(owner, name):
            yield from _classes(part)


def _definitions() -> dict[str, Schema]:
    """A definition for each class of the schema and for each slot."""
    whole = ModelSpec.model_json_schema(mode="validation")
    pydantics = whole["$defs"] | {ModelSpec.__name__: whole}
    classes = list(dict.fromkeys(_classes(ModelSpec)))
    found: dict[str, Schema] = {}
    for owner in classes:
        leaves = pydantics[owner.__name__]["properties"]
        options = [reflect.Option((name,), owner, info) for name, info in owner.model_fields.items()]
        found[owner.__name__] = {
            "description": _words(owner.__doc__),
            "type": ["object", "null"],
            "properties": {option.name: _option(option, leaves[option.name]) for option in options},
            "additionalProperties": False,
        }
    slots = [
        kinds for owner in classes for name in owner.model_fields if (kinds := reflect.kinds(owner, name))
    ]
    return dict(sorted((found | {_slot_name(kinds): _slot(kinds, found) for kinds in slots}).items()))


def file_schema() -> Schema:
    """What a spec file may hold: a model, the spec that it extends, its sizes, and blocks that extend each
    other."""
    definitions = _definitions()
    model = definitions[ModelSpec.__name__]
    model["properties"].pop("size")
    block = {"type": ["string", "null"], "description": "A block to start from."}
    definitions["Block"]["properties"]["extends"] = block
    extends = block | {"description": "The spec to start from: olmo2:13b, or a path from this file."}
    default_size = {"type": "string", "description": "The size that the family's bare name means."}
    sizes = {
        "type": "object",
        "description": "What each published size changes.",
        "additionalProperties": _ref(ModelSpec.__name__),
    }
    return {
        "$schema": _DRAFT,
        "title": "archcmp spec",
        "description": "An LLM architecture: one model, or a family with its sizes.",
        "type": "object",
        "additionalProperties": False,
        "properties": {"extends": extends}
        | model["properties"]
        | {"default_size": default_size, "sizes": sizes},
        "$defs": definitions,
    }


def file_schema_text() -> str:
    """The schema as it stands in specs/schema.json."""
    return json.dumps(file_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(file_schema_text(), end="")
