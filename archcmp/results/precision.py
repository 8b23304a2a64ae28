"""Formats of fewer bits than the dtype, in which engines serve weights and KV caches. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from archcmp.errors import UsageError, did_you_mean

EXPERTS = ":experts"
"""Ends the format of weights where it is that of experts alone."""

SMALLEST = 128
"""A matrix with fewer inputs or outputs stays in the dtype: a gate per head, a convolution."""


@dataclass(frozen=True)
class Format:
    """`name`: elements of `bits` each, and `scale_bits`, a scale and perhaps a zero point, for every block of
    a matrix, of so many rows and columns; None is all of them. `words` say in a table where scales are.
    `rate` is the figure of a sheet of hardware that bounds matmuls of such weights, where devices multiply
    them as they are."""

    name: str
    bits: int
    block: tuple[int | None, int | None]
    scale_bits: int
    words: str
    source: str
    rate: str | None = None

    def nbytes(self, rows: int, columns: int) -> int:
        """Bytes of a matrix with its scales. Blocks at the edges may be smaller."""
        blocks = math.prod(
            -(-n // (each or n or 1)) for n, each in zip((rows, columns), self.block, strict=True)
        )
        return -(-rows * columns * self.bits // 8) - (-blocks * self.scale_bits // 8)


WEIGHTS = {
    "int8": Format(
        "int8",
        8,
        (1, None),
        32,
        "a float32 scale per output, counted",
        "https://arxiv.org/abs/2208.07339",
        "int8_ops_per_s",
    ),
    "int4": Format(
        "int4",
        4,
        (1, 128),
        16 + 4,
        "in groups of 128 inputs, float16 scales and 4-bit zero points counted",
        "https://arxiv.org/abs/2306.00978",
    ),
    "fp8": Format(
        "fp8",
        8,
        (128, 128),
        32,
        "in blocks of 128 x 128, float32 scales counted",
        "https://github.com/deepseek-ai/DeepSeek-V3/blob/main/README_WEIGHTS.md",
        "fp8_flops_per_s",
    ),
    "mxfp4": Format(
        "mxfp4",
        4,
        (1, 32),
        8,
        "in blocks of 32 inputs, 8-bit scales counted",
        "https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf",
    ),
}
"""Rows are outputs, columns are inputs. The sources are LLM.int8(), AWQ, the checkpoint of DeepSeek V3, and
the OCP MX specification, which gpt-oss follows."""

KV = {
    "fp8": Format(
        "fp8",
        8,
        (None, None),
        0,
        "a byte per element; engines keep the scale of a layer elsewhere",
        "https://docs.vllm.ai/en/latest/features/quantization/quantized_kvcache/",
    ),
    "int8": Format(
        "int8",
        8,
        (1, None),
        32,
        "a float32 scale per token and head, counted",
        "https://github.com/vllm-project/vllm/pull/38378",
    ),
}
"""Rows are tokens of a head, columns its elements; a latent is one head."""


@dataclass(frozen=True)
class Precision:
    """The formats of weights and of the KV cache; None is the dtype. The format of weights is that of the
    matrices in blocks, routers excepted, or, where it ends with ':experts', of experts alone."""

    weights: str | None = None
    kv: str | None = None

    @property
    def lowered(self) -> bool:
        """Whether anything is stored otherwise than in the dtype."""
        return self.weights is not None or self.kv is not None

    @property
    def experts_only(self) -> bool:
        return self.weights is not None and self.weights.endswith(EXPERTS)

    @property
    def weight_format(self) -> Format | None:
        """None where it is the dtype, or a format of another version of archcmp."""
        return WEIGHTS.get((self.weights or "").removesuffix(EXPERTS))

    @property
    def kv_format(self) -> Format | None:
        """None where it is the dtype, or a format of another version of archcmp."""
        return KV.get(self.kv or "")

    def check(self) -> None:
        """Raises UsageError for a format that there is not, with the nearest that is."""
        formats = [*WEIGHTS, *(name + EXPERTS for name in WEIGHTS)]
        _check("weights", self.weights, formats)
        _check("a KV cache", self.kv, list(KV))

    def words(self) -> list[str]:
        """'weights int4', 'KV cache fp8', of what is not in the dtype."""
        parts: Mapping[str, str | None] = {"weights": self.weights, "KV cache": self.kv}
        return [f"{part} {name}" for part, name in parts.items() if name is not None]


IN_DTYPE = Precision()
"""Everything in the dtype."""


def _check(part: str, name: str | None, formats: list[str]) -> None:
    if name is not None and name not in formats:
        raise UsageError(f"no format of {part} '{name!s:.40}'. {did_you_mean(str(name), formats)}")
