"""Where text and codes of a head stand while its attention is computed, and the views that products take of them.

Shapes: L = S + N - 1 positions, S of them of the text, N codes of which the last is not read; C heads of any examples,
of size d; G blocks of Q codes, windows of M codes (see `windows`); R = F + S + G Q rows, where F rows of zeros stand
before a text that is shorter than the first window reaches back.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dalle.prior.windows import Windows


@dataclass(frozen=True)
class Layout:
    """Where text and codes stand."""

    text: int
    """S."""
    windows: Windows

    @property
    def front(self) -> int:
        """F."""
        return max(0, self.windows.before - self.text)

    @property
    def start(self) -> int:
        """F + S, where the codes begin."""
        return self.front + self.text

    @property
    def rows(self) -> int:
        """R."""
        return self.start + self.windows.padded

    def arrange(self, heads: Tensor) -> Tensor:
        """[..., L, h, d] to [..., h, R, d], a copy."""
        heads = heads.transpose(-3, -2)
        length, size = heads.shape[-2:]
        rows = heads.new_empty(*heads.shape[:-2], self.rows, size)
        rows[..., : self.front, :] = 0
        rows[..., self.front + length :, :] = 0
        rows[..., self.front : self.start, :] = heads[..., : self.text, :]
        for ours, theirs in self._in_order(rows, heads):
            ours.copy_(theirs)
        return rows

    def restore(self, rows: Tensor, heads: Tensor) -> None:
        """Write [..., h, R, d] to where it comes from, [..., L, h, d]."""
        heads = heads.transpose(-3, -2)
        heads[..., : self.text, :] = rows[..., self.front : self.start, :]
        for ours, theirs in self._in_order(rows, heads):
            theirs.copy_(ours)

    def _in_order(self, rows: Tensor, heads: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Parts of the codes of [..., h, R, d] as they stand here, and the same of [..., h, L, d] in raster order."""
        side = self.windows.side
        ours, theirs = rows[..., self.start : self.start + side * side, :], heads[..., self.text :, :]
        if not self.windows.by_column:
            return [(ours[..., :-1, :], theirs)]
        ours, whole = ours.unflatten(-2, (side, side)).transpose(-3, -2), side * (side - 1)
        lines = [(ours[..., :-1, :, :], theirs[..., :whole, :].unflatten(-2, (side - 1, side)))] if side > 1 else []
        return [*lines, (ours[..., -1, :-1, :], theirs[..., whole:, :])]

    def of_text(self, rows: Tensor) -> Tensor:
        """[C, R, d] to [C, S, d], a view."""
        return rows[:, self.front : self.start]

    def of_codes(self, rows: Tensor) -> Tensor:
        """[C, R, d] to [C, G Q, d], a view."""
        return rows[:, self.start :]

    def blocks_of(self, codes: Tensor) -> Tensor:
        """[C, G Q, d] to [C G, Q, d]."""
        return codes.reshape(-1, self.windows.queries, codes.shape[-1])

    def of_blocks(self, rows: Tensor) -> Tensor:
        """[C, R, d] to [C G, Q, d]: what looks."""
        return self.blocks_of(self.of_codes(rows))

    def of_windows(self, rows: Tensor) -> Tensor:
        """[C, R, d] to [C G, M, d]: what each block looks at; of one head a view."""
        first = self.start - self.windows.before
        windows = rows[:, first:].unfold(1, self.windows.window, self.windows.queries)  # [C, G, d, M]
        return windows.transpose(2, 3).flatten(0, 1)

    def add_windows(self, rows: Tensor, windows: Tensor) -> None:
        """Add [C G, M, d] to the rows of [C, R, d] that `of_windows` takes them from."""
        step, first = self.windows.queries, self.start - self.windows.before
        windows = windows.unflatten(0, (-1, self.windows.blocks))
        partial = self.windows.window % step
        for offset in range(partial, self.windows.window, step):  # rows that lie a block apart do not overlap
            some = rows[:, first + offset : first + offset + self.windows.padded].unflatten(1, (-1, step))
            some += windows[:, :, offset : offset + step]
        if partial:
            some = rows[:, first:].unfold(1, partial, step)[:, : self.windows.blocks]
            some.transpose(2, 3).add_(windows[:, :, :partial])

    def of_scores(self, scores: Tensor) -> Tensor:
        """Scores of text and windows, [C, G Q, S + M], to those of the windows, [C G, Q, M], a view."""
        return scores[..., self.text :].view(-1, self.windows.queries, self.windows.window)
