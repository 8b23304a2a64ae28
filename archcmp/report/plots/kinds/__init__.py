"""A module per kind of plot, found by listing this folder."""
