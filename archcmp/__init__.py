"""archcmp: a laboratory for LLM architectures. Importing it loads neither torch nor any other layer.

spec   = archcmp.load_spec("olmo2:13b")
model  = archcmp.build_model(spec, device="meta")
counts = archcmp.count(spec, batch_size=1, seq_len=2048)
doc    = archcmp.compare(["olmo2", "llama3"], measure=None)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archcmp.analysis import count as count
    from archcmp.model.build import build_block as build_block
    from archcmp.model.build import build_model as build_model
    from archcmp.model.hf import load_hf_weights as load_hf_weights
    from archcmp.pipeline import compare as compare
    from archcmp.spec.hf import import_hf as import_hf
    from archcmp.spec.yaml.load import load_spec as load_spec

__version__ = "0.1.0"

_HOMES = {
    "build_block": "archcmp.model.build",
    "build_model": "archcmp.model.build",
    "compare": "archcmp.pipeline",
    "count": "archcmp.analysis",
    "import_hf": "archcmp.spec.hf",
    "load_hf_weights": "archcmp.model.hf",
    "load_spec": "archcmp.spec.yaml.load",
}
__all__ = ["build_block", "build_model", "compare", "count", "import_hf", "load_hf_weights", "load_spec"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'archcmp' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
