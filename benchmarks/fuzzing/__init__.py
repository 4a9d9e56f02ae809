"""What `benchmarks/fuzz.py` draws: one generator a kind of input, each a function of a seed and a number.

A kind (`kinds.Kind`) has seeds, which are small and right, and what is done to them when they were damaged, which is
what the project does to such input from outside. Another kind is another file here, and a line in `kinds.KINDS`.
"""
