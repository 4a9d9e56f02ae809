"""Copies inside a dataset: which of its pictures are the same one again, byte for byte or edited.

All pictures against all would cost the square of their number. So they are spread over cells (`cells`: k-means on
their vectors), each to the two cells nearest to it, so that of most pairs across a border both still meet somewhere;
each cell is searched alone (`greater`). Exact copies meet in buckets of their files' hashes in the same way
(`searching`). From the greatest picture to the least, each that is like none that stays already stays (`stars`), after
as many `rounds` of search as that takes; or, with single linkage, what is linked anywhere is one group (`groups`), of
which the largest picture stays. Between these steps everything lies on disk, in files sorted by cell (`runs`), so that
memory does not grow with the dataset.
"""
