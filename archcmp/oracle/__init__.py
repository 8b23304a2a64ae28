"""An independent check of the maths: the same model in `transformers`."""
