"""What every part of a spec is made of: strict, frozen records, bounded numbers, one-line text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

MAX_DIM = 2**24
MAX_LAYERS = 1_000
Dim = Annotated[int, Field(gt=0, le=MAX_DIM)]
Length = Annotated[int, Field(gt=0, le=2**31)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]


def fault(path: tuple[str | int, ...], problem: str, hint: str = "") -> PydanticCustomError:
    """The error that a rule over several keys is broken. `path`, relative to the part, is the key to mend."""
    return PydanticCustomError("fault", "{problem}", {"path": path, "problem": problem, "hint": hint})


def divisors(number: int) -> str:
    """The divisors of a number as the end of a message: '1, 2, 4 or 8 do'."""
    found = [str(n) for n in range(1, min(number, 4096) + 1) if number % n == 0]
    return f"{', '.join(found[:-1])} or {found[-1]} do" if len(found) > 1 else f"only {found[0]} does"


def check_projections(width: int, n_heads: str, head_dim: str) -> None:
    """Raises a fault where heads, whose options have these names, make a mixer's projections too wide."""
    if width > MAX_DIM:
        problem = f"{n_heads} x {head_dim} makes projections {width:,} wide; at most {MAX_DIM:,} are allowed"
        raise fault((n_heads,), problem)


class Part(BaseModel):
    """Base of everything in a spec: immutable, strictly typed, no unknown keys."""

    model_config = ConfigDict(
        defer_build=True,
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
    )

    ROLE: ClassVar[str] = ""
    """The role of its box in a drawing: mixer, ffn, norm, position, gate, choice. A part inside of another
    one without a role is no box of its own."""
    NAMES: ClassVar[dict[str, str]] = {}
    """How a drawing writes its label or kind, {"MLA": "Multi-head latent attention"}, or a value of an
    option, {"top2_sum": "sum of the best two"}."""
    FORMS: ClassVar[dict[str, str]] = {}
    """How a drawing writes an option: "{} KV heads"; "" for one that it leaves out, by default the option's
    name and the value. After a "|" stands what is written where the option is off, by default "no" and the
    form: "tied weights|untied". Of a part, "{}" is its name; without it the form is what stands in
    the part's box."""


def kind_of(part: type[BaseModel]) -> str | None:
    """The `kind` that a spec writes for a choice; None for a part without a kind."""
    field = part.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field else None


@dataclass(frozen=True)
class Slot:
    """Makes a union of parts the choices of a slot, told apart by `kind`. With `shorthand` the bare kind may
    be written: `residual: pre_norm` is short for `residual: {kind: pre_norm}`.

    The union is the only list of the choices: `Residual = Annotated[PreNorm | PostNorm, Slot()]`."""

    shorthand: bool = False

    def __get_pydantic_core_schema__(self, union: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = Annotated[union, Field(discriminator="kind")]
        if not self.shorthand:
            return handler.generate_schema(choices)
        names = Literal[tuple(kind_of(part) for part in get_args(union))]  # type: ignore[valid-type]
        expand = BeforeValidator(_expand_kind, json_schema_input_type=names | union)
        return handler.generate_schema(Annotated[choices, expand])


def _expand_kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value
