"""Model types, a file per family. A new family is a file here that defines MODEL_TYPES."""
