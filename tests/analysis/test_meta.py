"""Shapes on the meta device: the same as torch finds, without what torch loads to find them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from archcmp.analysis.decompose import decompose
from archcmp.analysis.flops import trace
from archcmp.analysis.meta import ShapesOnly, broadcast
from archcmp.analysis.passes import DECODE, FORWARD
from archcmp.model.build import build_model
from archcmp.spec.schema.model import ModelSpec
from archcmp.spec.yaml.load import load_spec
from tests.designs import DESIGNS
from tests.known import FAMILIES, OF_A_KIND


class Compared(ShapesOnly):
    """Asks torch, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        ours = super().__torch_dispatch__(func, types, args, kwargs)
        theirs = func(*args, **(kwargs or {}))
        assert _described(ours) == _described(theirs), func
        return ours


def _described(result: Any) -> Any:
    if isinstance(result, Tensor):
        return tuple(result.shape), result.dtype, result.device
    return [_described(item) for item in result] if isinstance(result, (list, tuple)) else type(result)


EVERY_KIND = {family: DESIGNS[family] for family in OF_A_KIND if family in DESIGNS}


@pytest.mark.parametrize("spec", EVERY_KIND.values(), ids=EVERY_KIND)
def test_every_operator_returns_the_shape_and_dtype_that_torch_finds(spec: ModelSpec) -> None:
    with Compared(), torch.no_grad():
        model = build_model(spec, "meta", torch.bfloat16)
        tokens = torch.zeros(2, 40, dtype=torch.int64, device="meta")
        cache = model.new_cache(2, 41)
        model(tokens, cache)
        model(tokens[:, :1], cache)


def test_broadcasting_is_torchs() -> None:
    shapes = ((), (3, 1, 5), (4, 1), (1,))
    assert broadcast(*shapes) == torch.broadcast_shapes(*shapes)
    with pytest.raises(RuntimeError):
        broadcast((2,), (3,))


OF_A_MIXER = {
    block.mixer.kind: family
    for family in reversed(FAMILIES)
    for block in load_spec(family).blocks.values()
    if block.mixer
}.values()
"""One family with each kind of mixer."""


def test_counting_loads_neither_torchs_compiler_nor_an_algebra_system() -> None:
    code = (
        "import sys, archcmp\n"
        "for family in sys.argv[1:]: archcmp.count(family)\n"
        "print({'torch._dynamo', 'sympy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, *OF_A_MIXER]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("set()\n", "")


@pytest.mark.parametrize("reference", ["gemma3:270m", "llama4", "gpt-oss", "qwen3-next"])
def test_counting_runs_as_many_operators_at_any_length(reference: str) -> None:
    """Windows and chunks are cut into pieces where attention is computed, not where it is counted."""

    class Counted(ShapesOnly):
        n = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            Counted.n += 1
            return super().__torch_dispatch__(func, types, args, kwargs)

    def operators(length: int) -> int:
        Counted.n = 0
        with Counted(), torch.no_grad():
            model(torch.zeros(1, length, dtype=torch.int64, device="meta"))
        return Counted.n

    with ShapesOnly():
        model = build_model(load_spec(reference), "meta", torch.bfloat16)
    assert operators(20_000) == operators(4_194_304)


def test_work_in_windows_grows_evenly_up_to_millions_of_tokens() -> None:
    part = next(p for p in decompose(load_spec("gemma3:270m"), torch.bfloat16) if p.block == "local")
    short, middle, long = (trace(part, 1, 2**n, FORWARD).flops["mixer"] for n in (20, 21, 22))
    assert long - middle == 2 * (middle - short) > 0
    assert trace(part, 1, 2**22, DECODE) == trace(part, 1, 2**20, DECODE)
