"""Weights of Hugging Face checkpoints -> our modules."""

from archcmp.model.hf.load import load_hf_weights

__all__ = ["load_hf_weights"]
