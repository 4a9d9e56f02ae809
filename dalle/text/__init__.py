"""Captions as text tokens. Importing it loads neither torch nor Beam."""
