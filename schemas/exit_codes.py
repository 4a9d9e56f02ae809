"""What a command's exit code promises, of the pipelines and of the trainings."""

OK = 0
"""All that was asked for is done."""
FAILED = 1
"""It could not be done; what was finished before is safe."""
USAGE = 2
"""The user's mistake; nothing was written."""
STOPPED = 130
"""Ended by Ctrl-C or SIGTERM; the same command goes on."""
