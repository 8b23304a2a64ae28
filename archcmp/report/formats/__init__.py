"""File formats of tables and documents: a module per format, found by listing this folder.

A file format has a SUFFIX and either `render(title, tables, notes)` or, where it is made from the document
itself, `render_document(doc)`. A module without a SUFFIX, or whose name begins with '_', is no format."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType


@functools.cache
def listed() -> dict[str, ModuleType]:
    """The module of each suffix. The first call loads all modules and the libraries that they use."""
    names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {module.SUFFIX: module for module in modules if hasattr(module, "SUFFIX")}
