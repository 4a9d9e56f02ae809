"""How good pictures are, in numbers."""
