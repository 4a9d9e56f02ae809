"""Pictures: bytes to right pixels, and what is done to pixels. Importing it loads neither torch nor Beam."""
