"""Shards, or folders of pictures, to batches of a training, each example at a position that can be worked out."""
