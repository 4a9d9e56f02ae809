"""What the models are; importing this package loads neither torch nor Beam."""
