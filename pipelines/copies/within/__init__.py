"""Copies inside a dataset: which of its pictures are the same one again, byte for byte or edited.

All pictures against all would cost the square of their number. So they are spread over cells (`cells`: k-means on
their vectors), each to the two cells nearest to it, so that of most pairs across a border both still meet somewhere;
each cell is searched alone (`searching`). Exact copies meet in buckets of their files' hashes in the same way. What
is linked anywhere is one group (`groups`), of which the largest picture stays. Between these steps everything lies
on disk, in files sorted by cell (`runs`), so that memory does not grow with the dataset.
"""
