"""What is planted in the sample web, how often, and how a pipeline should end each of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trouble:
    """One kind of link in the sample web."""

    name: str
    count: int
    caught_as: tuple[str, ...] = ()
    """Reasons in the ledger that are right; none means that the row is to be kept, with the right pixels."""
    handled_by: str = "ingest"
    """What catches it: `ingest`, or the command that does."""


GOOD = "good"
VALIDATION = 40
"""Pictures of the sample's own validation set; they are not on the web, only copies of some are."""

TROUBLES = (
    Trouble(GOOD, 520),
    # links
    Trouble("dead link", 16, ("http-404",)),
    Trouble("gone for good", 6, ("http-410",)),
    Trouble("forbidden", 6, ("http-403",)),
    Trouble("server error", 6, ("http-5xx",)),
    Trouble("too many requests", 4, ("rate-limited",)),
    Trouble("unknown host", 4, ("dns",)),
    Trouble("nobody listens", 4, ("refused",)),
    Trouble("private address", 5, ("forbidden-address",)),
    Trouble("local file", 2, ("bad-url",)),
    Trouble("redirect loop", 4, ("redirects",)),
    Trouble("slow response", 4, ("timeout",)),
    Trouble("endless response", 4, ("timeout",)),
    Trouble("cut connection", 4, ("reset",)),
    Trouble("too large", 2, ("too-large",)),
    Trouble("empty response", 4, ("empty",)),
    # files
    Trouble("web page instead of a picture", 8, ("not-an-image",)),
    Trouble("SVG", 3, ("not-an-image",)),
    Trouble("broken file", 6, ("not-an-image", "corrupt", "truncated")),
    Trouble("truncated file", 8, ("truncated",)),
    Trouble("pixel bomb", 3, ("too-many-pixels",)),
    Trouble("extreme aspect", 10, ("aspect-ratio",)),
    # captions
    Trouble("caption too short", 12, ("too-short",)),
    Trouble("no caption", 6, ("no-caption",)),
    Trouble("caption in another language", 16, ("not-english",)),
    Trouble("boilerplate caption", 14, ("boilerplate",)),
    # pixels: to be kept, and to look as they should
    Trouble("EXIF-turned", 8),
    Trouble("CMYK", 6),
    Trouble("16-bit", 5),
    Trouble("grey", 8),
    Trouble("transparent", 6),
    # consent
    Trouble("X-Robots-Tag opt-out", 4, ("opted-out",)),
    Trouble("robots.txt", 4, ("robots-txt",)),
    # copies
    Trouble("exact copy of another link", 12, ("exact-copy",), "dedup --within"),
    Trouble("edited copy of another link", 24, ("near-copy",), "dedup --within"),
    Trouble("exact copy of a validation picture", 10, ("copy-of-validation",), "dedup"),
    Trouble("edited copy of a validation picture", 50, ("copy-of-validation",), "dedup"),
)

SHORT_CAPTIONS = ("a boat", "Image", "red ball", "boats", "fish", "my cat", "x y z", "sunset!", "big tree", "Home")

FOREIGN_CAPTIONS = (
    "Ein rotes Boot schwimmt neben einem kleinen Fisch auf dem Wasser",
    "Eine große gelbe Sonne steht über dem Haus mit dem blauen Dach",
    "un petit bateau vert devant une maison au bord de la mer",
    "Deux étoiles rouges brillent au-dessus de la colline enneigée",
    "una casa pequeña con un árbol grande en un día soleado",
    "Tres globos de colores vuelan sobre el campo de flores",
    "una barca azzurra galleggia vicino alla riva del lago",
    "Um gato preto dorme em cima da mesa de madeira",
    "een kleine rode auto staat voor een groot wit huis",
    "Mały niebieski ptak siedzi na gałęzi drzewa w ogrodzie",
    "На зелёной траве лежит большой красный мяч",
    "在蓝色的天空下有一只黄色的小船",
    "青い空の下に赤い家と大きな木があります",
    "Küçük kırmızı bir tekne gölün üzerinde yüzüyor",
    "en liten gul båt ligger vid stranden bredvid huset",
    "dua ikan kecil berenang di bawah perahu merah",
)

BOILERPLATE_CAPTIONS = (
    "photographed on 3 May 2011",
    "taken 2011-05-03",
    "Photo taken on March 14, 2009",
    "click to enlarge",
    "Click here to enlarge the picture",
    "stock photo",
    "Stock photo - image number 20394412",
    "IMG_4894.JPG copy 2",
    "DSC_0071 and DSC_0072",
    "https://photos.example/gallery/2011/picture_17.jpg",
    "profile photo of the user",
    "embedded image permalink",
    "picture captured on 12/08/2014 at 14:33",
    "image 001 of 250",
)
