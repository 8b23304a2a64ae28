"""How a model computes: ModelSpec -> nn.Module. All architecture maths is in this package.

Shapes: B batch, T new tokens, S keys (past and new), H query heads, G key/value heads, D head_dim,
C d_model, V vocab_size.
"""
