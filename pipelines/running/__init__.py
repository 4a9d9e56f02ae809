"""Around every job: its command, flags, output folder, units, progress and report."""
