"""The page on which a person checks what dedup decided, and says otherwise.

`pairs` chooses what is on it, `thumbnails` makes its pictures small enough, `page` writes it. What a browser gets lies
in `page/`: `page.html` is the frame, `marks.js` what a person said, `counts.js` what would go, `histogram.js` the
threshold, `list.js` the pairs in sight, `page.js` keys and buttons.
"""

from pipelines.copies.review.page import PAGE, Reviewed, write_page

__all__ = ["PAGE", "Reviewed", "write_page"]
