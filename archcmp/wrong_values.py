"""pydantic's complaints about one value in the words of a file: what is allowed, what stands there instead,
and what to write. Specs, sheets of devices and documents share them."""

from __future__ import annotations

import re

from pydantic_core import ErrorDetails

_BOUNDS = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}
MAPPING = "a mapping of options"
_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "model": MAPPING,
    "dict": "a mapping",
    "model_attributes": MAPPING,
    "tuple": "a list",
}


def wanted(error: ErrorDetails) -> str | None:
    """What kind of value is wanted where one of another kind stands."""
    return _WANTED.get(error["type"].removesuffix("_type").removesuffix("_parsing"))


def show(value: object) -> str:
    """A value as messages quote it: 'the text 'x'', '80', 'a list'."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = f"{value:,}" if isinstance(value, (int, float)) else str(value)
    return text[:40] + "..." * (len(text) > 40)


def _wrong_type(wanted: str, value: object) -> tuple[str, str]:
    problem = f"must be {wanted}, not {show(value)}"
    if isinstance(value, str) and "number" in wanted:
        if exponent := re.fullmatch(r"([-+]?\d+)([eE][-+]?\d+)", value):
            return problem, f"YAML wants {exponent[1]}.0{exponent[2]}"
        return problem, "Write it without quotes, in digits"
    if isinstance(value, str) and wanted == "true or false" and value in ("yes", "no", "on", "off"):
        return problem, f"Write {'true' if value in ('yes', 'on') else 'false'}"
    return problem, "Put it in quotes" if wanted == "text" else ""


def wrong_value(error: ErrorDetails) -> tuple[str, str]:
    """What is wrong with a value, whatever file it stands in, and the remedy."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return "is missing", ""
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}, not {show(value)}", ""
    if kind == "fault":
        return context["problem"], context["hint"]
    if kind in _BOUNDS:
        limits = {name: f"{int(n) if float(n).is_integer() else n:,}" for name, n in context.items()}
        bound = _BOUNDS[kind].format(**limits)
        return f"must be {bound}, not {show(value)}", ""
    if kind == "string_pattern_mismatch":
        return "must be one line of text without control characters", ""
    if kind in ("too_short", "string_too_short"):
        return "must not be empty", ""
    if kind == "finite_number":
        return f"must be a finite number, not {value}", ""
    of_a_kind = wanted(error)
    return _wrong_type(of_a_kind, value) if of_a_kind else (error["msg"], "")
