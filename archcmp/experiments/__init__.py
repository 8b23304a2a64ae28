"""Experiments: what one cell of each kind measures, and the one runner that measures and keeps cells."""
