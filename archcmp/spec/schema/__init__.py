"""The vocabulary: every design choice archcmp knows, as typed, frozen data. A file per slot.

A slot (`residual`, `norm`, `mixer`, `ffn`, `rope.scaling`, `qk_norm`) holds one choice, told apart by
its `kind`. Class docstrings are what users read about a choice: its equation, and who uses it.
Sizes are in elements and tokens.
"""

from archcmp.spec.schema.attention import (
    AllHeadsQKNorm,
    Attention,
    EachHeadQKNorm,
    PerHeadQKNorm,
    QKNorm,
    QueryTemperature,
)
from archcmp.spec.schema.base import MAX_DIM, Part, fault
from archcmp.spec.schema.deltanet import GatedDeltaNet
from archcmp.spec.schema.ffn import FFN, GLU, MLP, ExpertGroups, MoE, Router
from archcmp.spec.schema.mla import MLA
from archcmp.spec.schema.model import Block, Embedding, Mixer, ModelSpec, Output, Published, Run
from archcmp.spec.schema.norms import LayerNorm, Norm, RMSNorm
from archcmp.spec.schema.residual import Parallel, PostNorm, PreNorm, ReorderedNorm, Residual, SandwichNorm
from archcmp.spec.schema.rope import LinearScaling, Llama3Scaling, Rope, YarnScaling

__all__ = [
    "FFN",
    "GLU",
    "MAX_DIM",
    "MLA",
    "MLP",
    "AllHeadsQKNorm",
    "Attention",
    "Block",
    "EachHeadQKNorm",
    "Embedding",
    "ExpertGroups",
    "GatedDeltaNet",
    "LayerNorm",
    "LinearScaling",
    "Llama3Scaling",
    "Mixer",
    "MoE",
    "ModelSpec",
    "Norm",
    "Output",
    "Parallel",
    "Part",
    "PerHeadQKNorm",
    "PostNorm",
    "PreNorm",
    "Published",
    "QKNorm",
    "QueryTemperature",
    "RMSNorm",
    "ReorderedNorm",
    "Residual",
    "Rope",
    "Router",
    "Run",
    "SandwichNorm",
    "YarnScaling",
    "fault",
]
