"""What every part of a spec is made of: strict, frozen records, bounded numbers, one-line text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

MAX_DIM = 2**24
Dim = Annotated[int, Field(gt=0, le=MAX_DIM)]
Length = Annotated[int, Field(gt=0, le=2**31)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]


def fault(path: tuple[str | int, ...], problem: str, hint: str = "") -> PydanticCustomError:
    """A rule that spans several keys is broken; `path`, relative to the model, is the key to mend."""
    return PydanticCustomError("fault", "{problem}", {"path": path, "problem": problem, "hint": hint})


def expand_kind(value: Any) -> Any:
    """`residual: pre_norm` is short for `residual: {kind: pre_norm}`."""
    return {"kind": value} if isinstance(value, str) else value


class Part(BaseModel):
    """Base of everything in a spec: immutable, strictly typed, no unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
