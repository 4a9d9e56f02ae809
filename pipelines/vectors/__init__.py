"""Below the stages: products of many vectors, pairs of like ones, groups of linked ones."""
