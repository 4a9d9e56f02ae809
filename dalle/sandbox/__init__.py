"""Functions of untrusted bytes, in processes of their own: a crash, a hang or too much memory costs one item.

    with Session(function, Limits(memory=1 << 30, seconds=30)) as session:
        for name, data in files:
            for name_, answer in session.push(name, data):
                ...  # of files that were pushed before, some at a time
        for name_, answer in session.flush():
            ...

A process that works so has one child, the *nursery*, which does nothing but fork: first a worker, then another whenever
one has died. It has imported everything, has no threads, and so can be forked at any time, in some milliseconds. The
worker gets items in batches through shared memory, and is at one batch while the next is gathered. When it dies, the
item whose turn it was is tried once more, alone in a new worker, before anything is said of it, and its neighbours are
done again: so an answer is the same whatever it was batched with.

Nursery and worker end when the process they work for is gone, however it ended: both read from a socket that it alone
holds the other end of. They hold no file of it, ignore Ctrl-C, which is its own to answer, and say nothing.
"""

from dalle.sandbox.limits import Limits
from dalle.sandbox.nursery import fork_ahead
from dalle.sandbox.session import Answer, Session, WorkersDie, one_by_one

__all__ = ["Answer", "Limits", "Session", "WorkersDie", "fork_ahead", "one_by_one"]
