"""What a command's exit code promises, of the pipelines and of the trainings."""

OK = 0
"""All that was asked for is done; a dataset or a model has its manifest where it was to go."""
FAILED = 1
"""It could not be done; what was finished before is safe."""
USAGE = 2
"""The user's mistake; nothing was written."""
NOTHING_KEPT = 3
"""All is done and the manifest is there, but no row was kept."""
INTERRUPTED = 130
"""Ended by Ctrl-C (SIGINT); the same command goes on."""
TERMINATED = 143
"""Ended by SIGTERM; the same command goes on. Of any other signal the code is 128 and its number."""


def stopped_by(signal_number: int) -> int:
    """The exit code of a command that a signal ended, as shells have it."""
    return 128 + signal_number
