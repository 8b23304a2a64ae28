"""What a model is: YAML to a typed, frozen ModelSpec. Nothing here imports torch."""
