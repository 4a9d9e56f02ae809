"""The page on which a person checks what dedup decided, and says otherwise.

`pairs` chooses what is on it, `page` writes it. What a browser gets lies in `page/`, beside what all pages share
(`dalle/pages`): `page.html` is what is seen, `marks.js` what a person said, `counts.js` what would go, `histogram.js`
the threshold, `page.js` keys and buttons.
"""

from pipelines.copies.review.page import PAGE, Reviewed, write_page

__all__ = ["PAGE", "Reviewed", "write_page"]
