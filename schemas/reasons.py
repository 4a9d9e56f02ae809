"""Why a row is not kept: every word that may stand in the ledger's `reason`, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.pairs import FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, REFUSED

UNEXPECTED = "unexpected"
"""The reason for whatever a row's own data raise."""

STATUS_OF_STAGE = {
    "read": FAILED_TO_DOWNLOAD,
    "caption": REFUSED,
    "fetch": FAILED_TO_DOWNLOAD,
    "decode": FAILED_TO_RESIZE,
    "image": REFUSED,
}
"""What img2dataset's users read in `status`, by the stage that gave the row up; in the order of the journey."""


@dataclass(frozen=True)
class Reason:
    """One way not to be kept."""

    stage: str
    meaning: str
    advice: str = ""
    """What a user can do about it."""
    transient: bool = False
    """Whether the same link may well work later: these are retried, and `--incremental_mode retry` asks again."""
    anywhere: bool = False
    """Whether every stage may give a row up for it; `stage` is then where it is likeliest."""

    @property
    def status(self) -> str:
        """The ledger's `status` of a row given up for this reason."""
        return STATUS_OF_STAGE[self.stage]

    @property
    def stages(self) -> tuple[str, ...]:
        """Where rows may be given up for it."""
        return tuple(STATUS_OF_STAGE) if self.anywhere else (self.stage,)


REASONS = {
    "bad-row": Reason(
        "read",
        "the line of the list could not be parsed",
        "the ledger's error_message says the line and what is wrong with it",
    ),
    "no-url": Reason("read", "the row has no address"),
    "no-caption": Reason(
        "caption",
        "the row has no caption",
        "name the captions' column with --caption_col, or keep rows without one with --filters none",
    ),
    "too-short": Reason(
        "caption", "the caption has too few words or characters", "--min_words and --min_characters set the least"
    ),
    "boilerplate": Reason("caption", 'mainly dates, file names, "stock photo" and the like'),
    "not-english": Reason(
        "caption",
        "the caption is in another language",
        "--language any keeps other languages; --language_model names the judge",
    ),
    "other-language": Reason("caption", "the caption is not in the language that was asked for"),
    "bad-url": Reason("fetch", "the address is not an http or https address"),
    "forbidden-address": Reason(
        "fetch",
        "a private, loopback, link-local or metadata address",
        "links into your own network are allowed by name with --allow_private_hosts",
    ),
    "dns": Reason(
        "fetch",
        "the host's name has no address",
        "names decay; if most fail, run a caching name server on this machine; --incremental_mode retry asks again",
        transient=True,
    ),
    "refused": Reason("fetch", "nobody listens there", "--incremental_mode retry asks again later", transient=True),
    "timeout": Reason(
        "fetch",
        "the deadline passed before the picture was whole",
        "raise --timeout or --retries, lower --thread_count if your line is full; --incremental_mode retry asks again",
        transient=True,
    ),
    "tls": Reason(
        "fetch",
        "no secure connection, or a certificate that does not hold",
        "mostly certificates that ran out; they are not ignored, since anybody could answer then",
    ),
    "reset": Reason(
        "fetch",
        "the connection broke before the answer was whole",
        "--incremental_mode retry asks again later",
        transient=True,
    ),
    "redirects": Reason("fetch", "too many redirects, or one that leads nowhere"),
    "http-403": Reason(
        "fetch",
        "the server refuses to give it",
        "hosts that refuse crawlers; a name they know can be sent with --user_agent_token",
    ),
    "http-404": Reason("fetch", "the server no longer has it", "link rot; nothing brings these back"),
    "http-410": Reason("fetch", "the server says it is gone for good"),
    "http-4xx": Reason("fetch", "the server finds fault with the request"),
    "http-5xx": Reason("fetch", "the server failed", "--incremental_mode retry asks again later", transient=True),
    "rate-limited": Reason(
        "fetch",
        "the server wants fewer requests",
        "lower --max_connections_per_host, then --incremental_mode retry",
        transient=True,
    ),
    "bad-response": Reason("fetch", "the answer is not HTTP that can be understood"),
    "opted-out": Reason(
        "fetch",
        "the answer's X-Robots-Tag asks not to use it",
        "their owners' wish; --disallowed_header_directives says which words count",
    ),
    "robots-txt": Reason(
        "fetch", "the site's robots.txt does not allow it", "the sites' wish; --ignore_robots does not ask"
    ),
    "empty": Reason("fetch", "the answer has no bytes"),
    "too-large": Reason("fetch", "more bytes than the cap", "--max_bytes sets the cap"),
    "hash-mismatch": Reason(
        "fetch",
        "the bytes have another sum than the list says",
        "the picture was changed since the list was made; without --verify_hash it is taken as it is now",
    ),
    "not-found": Reason("fetch", "the local file is not there", "check the pictures' folder"),
    "unreadable": Reason("fetch", "the local file cannot be read"),
    "not-an-image": Reason("decode", "the bytes are no picture of a known format"),
    "truncated": Reason("decode", "the picture ends too early"),
    "corrupt": Reason("decode", "the picture's data contradict themselves"),
    "unsupported": Reason("decode", "a kind of picture that is not read, or that readers show differently"),
    "too-many-pixels": Reason(
        "decode", "more pixels than the cap; refused before it is decoded", "--max_pixels sets the cap"
    ),
    "decoder-crashed": Reason(
        "decode",
        "the decoder ends at it, at a second attempt as well",
        "damaged or hostile files; others are not touched",
    ),
    "decoder-memory": Reason(
        "decode",
        "it would take more memory than a picture may",
        "a picture may take 7.5 bytes for each of --max_pixels, but no less than 256 MB",
    ),
    "decoder-time": Reason("decode", "it takes more processor time than a picture may"),
    "too-small": Reason("image", "the short side is too short"),
    "too-big": Reason("image", "more pixels than wanted"),
    "aspect-ratio": Reason(
        "image", "a square crop would cut off most of the picture", "--max_aspect_ratio sets the limit"
    ),
    "too-long": Reason(
        "image",
        "resized it would have a longer side than its format can have, or more pixels than the cap",
        "--max_aspect_ratio refuses such shapes sooner; --resize_mode keep_ratio_largest or center_crop can store them",
    ),
    UNEXPECTED: Reason(
        "decode",
        "something that was not foreseen; the ledger's error_message says what",
        "please report it, with the row's line of the ledger",
        anywhere=True,
    ),
}


@dataclass(frozen=True)
class NotKept:
    """What the ledger says of a row that is not kept."""

    reason: str
    message: str | None = None
    """A sentence with what was found, for the ledger's `error_message`."""
    stage: str | None = None
    """Where, if the reason's own stage does not say it."""

    def __post_init__(self) -> None:
        """A word that is not in the table is a mistake of the programmer's."""
        assert self.reason in REASONS, self.reason
        assert self.stage is None or self.stage in REASONS[self.reason].stages, (self.reason, self.stage)

    def columns(self) -> dict[str, str | None]:
        """The four ledger columns that tell a row's fate."""
        stage = self.stage or REASONS[self.reason].stage
        return {
            "status": STATUS_OF_STAGE[stage],
            "stage": stage,
            "reason": self.reason,
            "error_message": self.message,
        }
