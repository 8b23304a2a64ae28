"""Model types, a file per family. A file here with MODEL_TYPES is all that a new family needs."""
