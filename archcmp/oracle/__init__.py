"""The independent word on our maths: the same model in `transformers`."""
