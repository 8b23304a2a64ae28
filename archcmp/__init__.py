"""archcmp: a laboratory for LLM architectures. Importing it loads neither torch nor any other layer.

spec   = archcmp.load_spec("olmo2:13b")
model  = archcmp.build_model(spec, device="meta")
counts = archcmp.count(spec, batch_size=1, seq_len=2048)
doc    = archcmp.compare(["olmo2", "llama3"], measure=None)
"""

from importlib import import_module as _import_module

TYPE_CHECKING = False
"""Type checkers take it for True. Importing it from `typing` would delay the handling of Ctrl-C."""

if TYPE_CHECKING:
    from archcmp.analysis import count as count
    from archcmp.analysis.match import match as match
    from archcmp.api import Results as Results
    from archcmp.api import ablate as ablate
    from archcmp.api import bench as bench
    from archcmp.api import compare as compare
    from archcmp.api import draw as draw
    from archcmp.api import fit as fit
    from archcmp.api import list_specs as list_specs
    from archcmp.api import race as race
    from archcmp.api import read as read
    from archcmp.api import run as run
    from archcmp.api import stability as stability
    from archcmp.errors import ArchcmpError as ArchcmpError
    from archcmp.errors import ConfigError as ConfigError
    from archcmp.errors import CountingError as CountingError
    from archcmp.errors import MeasureError as MeasureError
    from archcmp.errors import SpecError as SpecError
    from archcmp.errors import UsageError as UsageError
    from archcmp.errors import WeightsError as WeightsError
    from archcmp.model.build import build_block as build_block
    from archcmp.model.build import build_model as build_model
    from archcmp.model.hf import load_hf_weights as load_hf_weights
    from archcmp.spec.hf import import_hf as import_hf
    from archcmp.spec.schema.model import ModelSpec as ModelSpec
    from archcmp.spec.yaml.load import load_spec as load_spec

__version__ = "0.1.0"

_HOMES = {
    "archcmp.analysis": ["count"],
    "archcmp.analysis.match": ["match"],
    "archcmp.api": [
        *(
            "Results",
            "ablate",
            "bench",
            "compare",
            "draw",
            "fit",
            "list_specs",
            "race",
            "read",
            "run",
            "stability",
        ),
    ],
    "archcmp.errors": [
        *("ArchcmpError", "ConfigError", "CountingError", "MeasureError"),
        *("SpecError", "UsageError", "WeightsError"),
    ],
    "archcmp.model.build": ["build_block", "build_model"],
    "archcmp.model.hf": ["load_hf_weights"],
    "archcmp.spec.hf": ["import_hf"],
    "archcmp.spec.schema.model": ["ModelSpec"],
    "archcmp.spec.yaml.load": ["load_spec"],
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  one table holds the names


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'archcmp' has no attribute '{name}'")
    return getattr(_import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
