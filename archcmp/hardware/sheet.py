"""What a sheet holds. Its JSON Schema, for editors, is written by `python -m archcmp.hardware.sheet >
archcmp/hardware/sheets/schema.json`."""

from __future__ import annotations

import json
import math
from typing import Annotated

from pydantic import Field, model_validator

from archcmp.errors import UsageError
from archcmp.results.timings import Rates
from archcmp.spec.schema.base import Part, Text, fault

PerSecond = Annotated[float, Field(ge=1e9, le=1e18)]
Size = Annotated[float, Field(ge=1e8, le=1e15)]
RATE_OF = {"bfloat16": "bf16_flops_per_s", "float16": "fp16_flops_per_s", "float32": "fp32_flops_per_s"}
"""dtype of a model -> the figure that bounds its matmuls."""


class Figures(Part, use_attribute_docstrings=True):
    """What one source says of a device, in plain units: 989.4e12 for 989.4 TFLOP/s, 80.0e9 for 80 GB. Rates
    are of dense matrices, without structured sparsity, which often doubles the printed figure."""

    source: Text
    """Where the figures are published, a URL."""
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")]
    """The month in which the figures were taken from there: 2026-11."""
    bf16_flops_per_s: PerSecond | None = None
    """Dense bfloat16 FLOP/s, accumulated in float32."""
    fp16_flops_per_s: PerSecond | None = None
    """Dense float16 FLOP/s, accumulated in float32."""
    fp8_flops_per_s: PerSecond | None = None
    """Dense 8-bit float FLOP/s, accumulated in float32."""
    int8_ops_per_s: PerSecond | None = None
    """Dense 8-bit integer operations/s."""
    fp32_flops_per_s: PerSecond | None = None
    """float32 FLOP/s, without TF32."""
    memory_bytes: Size | None = None
    """Memory of one device. Vendors' GB count as 1e9 bytes; drivers may report up to 7 % more."""
    bandwidth_bytes_per_s: PerSecond | None = None
    """Bytes/s between this memory and the device."""
    link_bytes_per_s: PerSecond | None = None
    """Bytes/s to other devices, one way, all links together. Vendors mostly print both ways: twice that."""


QUANTITIES = tuple(name for name in Figures.model_fields if name not in ("source", "date"))
"""What a sheet may say of a device."""


class Hardware(Part, use_attribute_docstrings=True):
    """A device by what is published of it. A figure that nobody published with certainty is left out."""

    name: Text
    """The device's name, as tables show it."""
    note: Text | None = None
    """What a reader must know of the figures."""
    figures: Annotated[tuple[Figures, ...], Field(min_length=1, strict=False)]
    """The figures, grouped by their source."""

    @model_validator(mode="after")
    def _each_once(self) -> Hardware:
        for quantity in QUANTITIES:
            given = [i for i, each in enumerate(self.figures) if getattr(each, quantity) is not None]
            if len(given) > 1:
                raise fault(("figures", given[1], quantity), "is given by two sources", "Keep one of them")
        return self

    def origin(self, quantity: str) -> Figures | None:
        """The figures that hold one of QUANTITIES, with their source."""
        return next((each for each in self.figures if getattr(each, quantity) is not None), None)

    def value(self, quantity: str) -> float | None:
        """One of QUANTITIES; None where the sheet does not have it."""
        origin = self.origin(quantity)
        return None if origin is None else float(getattr(origin, quantity))

    def needed(self, quantity: str) -> float:
        """One of QUANTITIES. Raises UsageError where the sheet does not have it."""
        value = self.value(quantity)
        if value is None:
            raise UsageError(f"the sheet of {self.name} has no {quantity}")
        return value

    def rates(self, dtype: str, quantity: str | None = None) -> Rates:
        """The rates that bound a model in `dtype`, or in numbers whose rate is the `quantity`. A rate that
        the sheet does not have is infinite: it bounds nothing. Raises UsageError where the sheet has no
        bandwidth."""
        matmul = self.value(quantity or RATE_OF[dtype])
        return Rates(matmul or math.inf, self.needed("bandwidth_bytes_per_s"))

    @property
    def ridge(self) -> float | None:
        """FLOPs per byte in bfloat16 (or float16) above which computing takes longer than moving."""
        rate = self.value("bf16_flops_per_s") or self.value("fp16_flops_per_s")
        bandwidth = self.value("bandwidth_bytes_per_s")
        return None if rate is None or bandwidth is None else rate / bandwidth


def schema_text() -> str:
    """The JSON Schema as it stands in sheets/schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Hardware.model_json_schema()
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
