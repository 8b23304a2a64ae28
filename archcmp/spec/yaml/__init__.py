"""Spec files: YAML text -> a tree that knows its lines -> a ModelSpec, and back."""
