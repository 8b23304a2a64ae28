"""The vocabulary: every design choice archcmp knows, as typed, frozen data. A file per slot.

A slot (`residual`, `norm`, `mixer`, `ffn`, `rope.scaling`, `qk_norm`) holds one choice; `kind` says which.
Class docstrings and option docstrings are what users read about a choice: its equation, and who uses it.
Sizes are in elements and tokens.
"""
