"""Drawn pictures with captions: scenes of things with colours, sizes and places on textured backgrounds.

    scene = compose(seed=7)
    picture = draw(scene)             # [H, W, 3] uint8 RGB
    captions = describe(scene, 5)     # five ways to say what is in it, all of them true

They are the sample web that a fresh install collects, and training pictures that need nobody's leave. A seed
decides everything, byte for byte. To add a kind of thing, add a function and a row in `figures`, `living` or
`made`; to add a background, in `outdoors` or `surfaces`: composition and captions take them from there.
`draw_flat` draws the same as in a picture book; `dialect` is a simple way to say and draw one to three things.
"""

from dalle.scenes.captions import describe
from dalle.scenes.flat import draw_flat
from dalle.scenes.layout import Scene, Thing, compose
from dalle.scenes.painting import draw

__all__ = ["Scene", "Thing", "compose", "describe", "draw", "draw_flat"]
