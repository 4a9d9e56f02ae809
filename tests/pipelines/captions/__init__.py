"""Captions: which characters are seen, what is a word."""
