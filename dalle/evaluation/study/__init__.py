"""A study by people, as the paper's: two models' pictures of a caption side by side, five votes, the majority.

`asking` takes captions that two generations have in common, `asked` draws which stand on which page, which side is
whose and what checks a worker, `page` writes the pages and their key, `answers` reads what workers sent back, `tally`
counts it, `binomial` says how sure a share is, `counting` is how it is shown. `dalle.study` is the command.
"""

from dalle.evaluation.study.asked import Contestant, Study, StudyOptions
from dalle.evaluation.study.page import KEY, write_study
from dalle.evaluation.study.tally import Tally, TallyOptions, tally

__all__ = ["KEY", "Contestant", "Study", "StudyOptions", "Tally", "TallyOptions", "tally", "write_study"]
