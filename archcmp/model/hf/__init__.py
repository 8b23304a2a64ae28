"""Weights of Hugging Face checkpoints -> our modules."""

from archcmp.model.hf.load import check_hf_weights, load_hf_weights

__all__ = ["check_hf_weights", "load_hf_weights"]
