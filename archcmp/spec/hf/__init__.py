"""Specs from Hugging Face configurations, and configurations from specs. No torch, no transformers."""

from archcmp.spec.hf.convert import Imported, import_config, import_hf, known_model_types, to_config

__all__ = ["Imported", "import_config", "import_hf", "known_model_types", "to_config"]
