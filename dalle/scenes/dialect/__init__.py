"""A simple dialect of the drawn pictures: one to three things, said so plainly that a small model can learn it.

    made = compose_simple(seed=7, side=192)
    picture = draw(made.scene)                    # [192, 192, 3] uint8 RGB
    captions = write_simple(made, 4)              # "a large red star above a blue boat on sand"
    read_caption(captions[0]).things              # (("star", "red"), ("boat", "blue"))

16 kinds in 8 colours and 2 sizes, 4 relations, 6 backgrounds (`words`). What a caption says is all that is in the
picture, so that one can tell whether a picture was drawn rightly. `held_out` are the combinations that the zero-shot
trial never shows.
"""

from dalle.scenes.dialect.composing import DialectScene, HeldOut, compose_simple
from dalle.scenes.dialect.reading import Said, read_caption, unknown_words
from dalle.scenes.dialect.writing import write_simple

__all__ = ["DialectScene", "HeldOut", "Said", "compose_simple", "read_caption", "unknown_words", "write_simple"]
