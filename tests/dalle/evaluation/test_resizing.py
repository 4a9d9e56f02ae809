"""What Inception sees of a picture is what it sees in each tool."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from dalle.evaluation.resizing import RESIZE

SHAPES = [(299, 299), (64, 48), (256, 256), (480, 640), (1, 5), (333, 1)]


def picture(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3)).astype(np.uint8)


def batch(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", RESIZE)
def test_shape_and_range(name: str, shape: tuple[int, int]) -> None:
    found = RESIZE[name](picture(shape))
    assert ((3, 299, 299), np.float32) == (found.shape, found.dtype)
    assert -1 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_fidelitys(shape: tuple[int, int]) -> None:
    """To the last bit; and TensorFlow's emulation by a grid is within the 1e-3 of 255 that it is known for."""
    peer = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow", reason="pip install torch-fidelity")
    pixels = picture(shape)
    resized = peer.interpolate_bilinear_2d_like_tensorflow1x(batch(pixels), (299, 299), align_corners=False)
    expected = ((resized - 128) / 128)[0].numpy()
    assert np.array_equal(expected, RESIZE["torch-fidelity"](pixels))
    assert np.abs(expected - RESIZE["legacy-tf"](pixels)).max() < 1e-3 * max(1, max(shape) / 299)


@pytest.mark.parametrize("shape", SHAPES)
def test_clean_fids(shape: tuple[int, int]) -> None:
    """Its mode clean; what it calls legacy_pytorch is pytorch-fid's."""
    peer = pytest.importorskip("cleanfid.resize", reason="pip install clean-fid")
    pixels = picture(shape)
    clean = (peer.build_resizer("clean")(pixels) - 128) / 128
    assert np.array_equal(clean.transpose(2, 0, 1), RESIZE["clean-fid"](pixels))
    legacy = 2 * peer.build_resizer("legacy_pytorch")(pixels) / 255 - 1
    assert np.allclose(legacy.transpose(2, 0, 1), RESIZE["pytorch-fid"](pixels), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_dm_gans(shape: tuple[int, int]) -> None:
    """Resized by Pillow, then again by torch, then through torchvision's `transform_input`: some -0.03 to 0.43."""
    pixels = picture(shape)
    prepare = transforms.Compose([transforms.Resize((299, 299)), transforms.ToTensor()])
    x = prepare(Image.fromarray(pixels))[None]
    x = torch.nn.functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=True)
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, init_weights=False, transform_input=True)
    expected = network._transform_input(x)[0].numpy()
    found = RESIZE["dm-gan"](pixels)
    assert np.allclose(expected, found, atol=1e-6)
    assert -0.2 < found.min() < found.max() < 0.5


def test_a_flat_picture_stays_flat() -> None:
    """And where its grey goes in each form."""
    grey = np.full((20, 30, 3), 128, np.uint8)
    for name, value in (
        ("pytorch-fid", 2 * 128 / 255 - 1),
        ("torch-fidelity", 0),
        ("clean-fid", 0),
        ("legacy-tf", 0),
        ("imresize", 0),
        ("imresize-slim", 128 / 127.5 - 1),
    ):
        assert np.allclose(value, RESIZE[name](grey), atol=1e-5), name
