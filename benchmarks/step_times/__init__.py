"""A training step's time from rates: its schedule, the units of a prior, rates measured here, machines elsewhere."""
