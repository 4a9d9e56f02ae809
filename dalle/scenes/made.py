"""What people made, as it is in pictures: a house, a boat, a cup, a kite."""

import numpy as np

from dalle.scenes.outlines import Layer, Shape, at, box, ellipse, layer, mirrored, smooth


def _house(rng: np.random.Generator) -> list[Layer]:
    eaves, door = rng.uniform(-0.35, -0.1), rng.uniform(-0.45, 0.15)
    window = 0.32 if door < -0.15 else -0.42
    return [
        layer("deep", box(0.3, -0.9, 0.5, eaves)),
        layer("body", box(-0.72, eaves, 0.72, 0.8)),
        layer("deep", at((0, -0.98), (0.95, eaves), (-0.95, eaves))),
        layer("wood", box(door, 0.25, door + 0.3, 0.8)),
        layer("glass", box(window - 0.16, 0.1, window + 0.16, 0.42)),
    ]


def _boat(rng: np.random.Generator) -> list[Layer]:
    bow, sail = rng.uniform(0.85, 1.0), rng.uniform(0.5, 0.7)
    return [
        layer("wood", box(-0.04, -0.95, 0.04, 0.4)),
        layer(
            "cream",
            at((0.08, -0.9), (sail, 0.22), (0.08, 0.22)),
            at((-0.08, -0.7), (-0.08, 0.22), (-sail, 0.22)),
        ),
        layer("body", at((-0.95, 0.32), (bow, 0.32), (0.55, 0.85), (-0.6, 0.85))),
    ]


def _car(rng: np.random.Generator) -> list[Layer]:
    roof, back = rng.uniform(-0.55, -0.4), rng.uniform(-0.75, -0.5)
    wheels = [(x, 0.36) for x in (-0.52, 0.52)]
    return [
        layer("body", at((back, -0.02), (-0.42, roof), (0.25, roof), (0.55, -0.02))),
        layer(
            "body",
            smooth(at((-0.95, 0), (-0.3, -0.08), (0.6, -0.05), (0.97, 0.12), (0.95, 0.36), (-0.95, 0.36))),
        ),
        layer("glass", at((back + 0.18, -0.06), (-0.36, roof + 0.1), (-0.1, roof + 0.1), (-0.1, -0.06))),
        layer("glass", at((0, -0.06), (0, roof + 0.1), (0.2, roof + 0.1), (0.4, -0.06))),
        layer("ink", *(ellipse(x, y, 0.23, 0.23) for x, y in wheels)),
        layer("cream", *(ellipse(x, y, 0.1, 0.1) for x, y in wheels)),
    ]


def _rocket(rng: np.random.Generator) -> list[Layer]:
    w = rng.uniform(0.28, 0.36)
    hull = smooth(mirrored((0.0, -1.0), (w * 0.7, -0.6), (w, 0), (w * 0.8, 0.6)))
    return [
        layer("core", at((-0.2, 0.55), (0.2, 0.55), (0, 1.0))),
        layer("deep", *(at((s * w * 0.8, 0.05), (s * 0.68, 0.75), (s * w * 0.6, 0.6)) for s in (-1, 1))),
        layer("body", hull),
        layer("cream", ellipse(0, -0.3, 0.18, 0.18)),
        layer("glass", ellipse(0, -0.3, 0.12, 0.12)),
    ]


def _cup(rng: np.random.Generator) -> list[Layer]:
    foot = rng.uniform(0.38, 0.58)
    handle = np.concatenate([ellipse(0.62, 0.05, 0.36, 0.4, -90, 90), ellipse(0.62, 0.05, 0.22, 0.26, -90, 90)[::-1]])
    return [
        layer("deep", handle),
        layer(
            "body",
            at((-0.72, -0.55), (0.72, -0.55), (foot, 0.72), (-foot, 0.72)),
            ellipse(0, 0.72, foot, 0.13),
        ),
        layer("cream", ellipse(0, -0.55, 0.72, 0.17)),
        layer("deep", ellipse(0, -0.53, 0.6, 0.11)),
    ]


def _bottle(rng: np.random.Generator) -> list[Layer]:
    w, shoulder = rng.uniform(0.32, 0.45), rng.uniform(-0.3, -0.1)
    glass = mirrored((0.12, -0.85), (0.14, -0.5), (w, shoulder), (w, 0.92), (w * 0.9, 0.98))
    return [
        layer("wood", box(-0.13, -1.0, 0.13, -0.8)),
        layer("body", glass),
        layer("cream", box(-w, 0.15, w, 0.6)),
    ]


def _ice_cream(rng: np.random.Generator) -> list[Layer]:
    w = rng.uniform(0.42, 0.52)
    return [
        layer("wood", at((-w, -0.1), (w, -0.1), (0, 1))),
        layer("body", ellipse(0, -0.42, w * 1.1, 0.55), ellipse(0, -0.1, w * 1.2, 0.15)),
    ]


def _kite(rng: np.random.Generator) -> list[Layer]:
    waist, w = rng.uniform(-0.5, -0.35), rng.uniform(0.45, 0.58)
    tail = [
        at(
            (x, y),
            (x - 0.14, y - 0.09),
            (x - 0.14, y + 0.09),
            (x, y),
            (x + 0.14, y - 0.09),
            (x + 0.14, y + 0.09),
        )
        for x, y in ((0.07, 0.5), (-0.05, 0.72), (0.05, 0.92))
    ]
    return [
        layer(
            "ink",
            at(
                (-0.015, 0.2),
                (0.015, 0.2),
                (0.08, 0.5),
                (-0.04, 0.72),
                (0.06, 0.95),
                (-0.07, 0.72),
                (0.05, 0.5),
            ),
        ),
        layer("body", at((0, -1), (w, waist), (0, 0.35), (-w, waist))),
        layer(
            "deep",
            at((0, -1), (0.025, waist), (0, 0.35), (-0.025, waist)),
            at((-w, waist), (0, waist - 0.03), (w, waist), (0, waist + 0.03)),
        ),
        layer("deep", *(tail)),
    ]


def _balloon(rng: np.random.Generator) -> list[Layer]:
    w, sway = rng.uniform(0.5, 0.62), rng.uniform(-0.15, 0.15)
    string = smooth(at((0, 0.3), (sway, 0.65), (0, 0.98), (sway + 0.03, 0.65)))
    skin = mirrored((0.0, -1.0), (w * 0.8, -0.75), (w, -0.35), (w * 0.55, 0.08), (0.05, 0.32))
    return [
        layer("ink", string),
        layer("body", smooth(skin), at((0, 0.22), (0.1, 0.42), (-0.1, 0.42))),
    ]


def _umbrella(rng: np.random.Generator) -> list[Layer]:
    high = rng.uniform(0.75, 0.95)
    hem = [ellipse(x, 0.0, 0.3166, 0.12, 0, -180) for x in (0.6333, 0.0, -0.6333)]
    canopy = np.concatenate([ellipse(0, 0.0, 0.95, high, 180, 360), *hem])
    hook = np.concatenate([ellipse(-0.13, 0.8, 0.17, 0.18, 0, 180), ellipse(-0.13, 0.8, 0.1, 0.1, 0, 180)[::-1]])
    rib = at((0, -high), (0.33, 0), (0.29, 0), (0, -high * 0.9), (-0.29, 0), (-0.33, 0))
    return [
        layer("wood", box(-0.035, -1, 0.035, 0.82), hook),
        layer("body", canopy),
        layer("deep", rib),
    ]


def _hat(rng: np.random.Generator) -> list[Layer]:
    top, w = rng.uniform(-0.8, -0.5), rng.uniform(0.45, 0.58)
    return [
        layer("body", ellipse(0, 0.5, 0.98, 0.22)),
        layer("body", at((-w * 0.9, top), (w * 0.9, top), (w, 0.48), (-w, 0.48)), ellipse(0, top, w * 0.9, 0.1)),
        layer("ink", at((-w, 0.2), (w, 0.2), (w, 0.46), (-w, 0.46))),
    ]


def _crown(rng: np.random.Generator) -> list[Layer]:
    dip = rng.uniform(-0.15, 0.1)
    points = at((-0.8, 0.7), (-0.95, -0.5), (-0.45, dip), (0, -0.75), (0.45, dip), (0.95, -0.5), (0.8, 0.7))
    jewels = [ellipse(x, y, 0.1, 0.1) for x, y in ((-0.93, -0.55), (0, -0.8), (0.93, -0.55))]
    return [
        layer("body", points),
        layer("deep", box(-0.78, 0.45, 0.78, 0.7)),
        layer("pale", *(jewels)),
    ]


def _flag(rng: np.random.Generator) -> list[Layer]:
    x, wave = np.linspace(-0.65, 0.9, 14), rng.uniform(0.04, 0.12)
    dips = wave * np.sin((x + 0.65) * 4.2)
    cloth = np.concatenate([np.stack([x, dips - 0.85], axis=1), np.stack([x, dips + 0.2], axis=1)[::-1]])
    return [layer("body", cloth), layer("wood", box(-0.72, -0.98, -0.62, 0.98))]


def _envelope(rng: np.random.Generator) -> list[Layer]:
    high, tip = rng.uniform(0.52, 0.68), rng.uniform(0.0, 0.2)
    flap = at((-0.95, -high), (0, tip), (0.95, -high), (0.95, -high + 0.08), (0, tip + 0.1), (-0.95, -high + 0.08))
    return [layer("body", box(-0.95, -high, 0.95, high)), layer("deep", flap)]


def _clock(rng: np.random.Generator) -> list[Layer]:
    hour, minute = np.radians(rng.uniform(0, 360, 2))
    hands = [
        at(
            (-0.05 * np.sin(a), 0.05 * np.cos(a)),
            (0.05 * np.sin(a), -0.05 * np.cos(a)),
            (r * np.cos(a), r * np.sin(a)),
        )
        for a, r in ((hour, 0.42), (minute, 0.6))
    ]
    marks = [ellipse(0.62 * np.cos(a), 0.62 * np.sin(a), 0.04, 0.04) for a in np.radians(np.arange(12) * 30)]
    return [
        layer("body", ellipse(0, 0, 1, 1)),
        layer("cream", ellipse(0, 0, 0.74, 0.74)),
        layer("ink", *hands, *marks),
    ]


def _bell(rng: np.random.Generator) -> list[Layer]:
    w = rng.uniform(0.36, 0.48)
    skirt = smooth(mirrored((0.1, -0.85), (w, -0.5), (w * 1.2, 0.2), (0.82, 0.62), (0.8, 0.7)))
    return [
        layer("deep", ellipse(0, 0.72, 0.2, 0.22), ellipse(0, -0.85, 0.13, 0.13)),
        layer("body", skirt),
    ]


MADE: dict[str, Shape] = {
    "house": Shape(layers=_house, also=("cottage",), pose="stand"),
    "boat": Shape(layers=_boat, also=("sailing boat",), tilt=10, pose="float"),
    "car": Shape(layers=_car, tilt=8, pose="stand"),
    "rocket": Shape(layers=_rocket, tilt=25, pose="float"),
    "cup": Shape(layers=_cup, also=("mug",), pose="stand"),
    "bottle": Shape(layers=_bottle, tilt=12, pose="stand"),
    "ice cream": Shape(layers=_ice_cream, also=("ice cream cone",), tilt=20),
    "kite": Shape(layers=_kite, tilt=30, pose="float"),
    "balloon": Shape(layers=_balloon, tilt=12, pose="float"),
    "umbrella": Shape(layers=_umbrella, tilt=25, pose="stand"),
    "hat": Shape(layers=_hat, tilt=15),
    "crown": Shape(layers=_crown, tilt=12),
    "flag": Shape(layers=_flag, tilt=8, pose="stand"),
    "envelope": Shape(layers=_envelope, tilt=20),
    "clock": Shape(layers=_clock, tilt=8),
    "bell": Shape(layers=_bell, tilt=15),
}
"""Made things by name."""
