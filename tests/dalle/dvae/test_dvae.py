"""The architecture: names and sizes as released, gradients, what one-hot codes and gathered columns have in common."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dalle import dvae as dvae_module
from dalle.dvae.bf16 import BF16DVAE, halve
from dalle.dvae.bound import RelaxedBound
from dalle.dvae.files import join, load, save
from dalle.dvae.logit_laplace import map_pixels
from dalle.dvae.network import DVAE, Decoder, DVAEConfig, Encoder
from dalle.dvae.options import RelaxationOptions
from dalle.dvae.relaxation import relax

CONFIG = DVAEConfig(vocab_size=96, encoder_n_hid=16, decoder_n_hid=8, n_init=12, n_blk_per_group=2)
RELEASED = json.loads(Path(__file__).with_name("released_state_dict.json").read_text())
"""Every tensor of the released networks, in order, and its shape."""


@pytest.fixture(scope="module")
def dvae() -> DVAE:
    torch.manual_seed(0)
    return DVAE(CONFIG)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Smooth, as pictures are: [2, 3, 32, 48] uint8."""
    coarse = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    return (F.interpolate(coarse, scale_factor=8, mode="bilinear") * 255).to(torch.uint8)


@pytest.mark.parametrize(
    ("decoder", "tensors", "parameters"), [(False, 74, 53_786_240), (True, 76, 43_829_766)], ids=["encoder", "decoder"]
)
def test_names_and_sizes_are_as_released(decoder: bool, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        network = Decoder() if decoder else Encoder()
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    released = RELEASED["decoder" if decoder else "encoder"]
    assert list(released.items()) == list(shapes.items())
    assert (tensors, parameters) == (len(shapes), sum(p.numel() for p in network.parameters()))


def test_the_branches_gain_is_one_over_the_layers_squared() -> None:
    with torch.device("meta"):
        gains = {module.post_gain for module in DVAE(DVAEConfig()).modules() if hasattr(module, "post_gain")}
    assert gains == {1 / 64}


def test_shapes(dvae: DVAE, images: torch.Tensor) -> None:
    codes = dvae.encode(images)
    assert codes.shape == (2, 4, 6)
    assert codes.dtype == torch.int64
    again = dvae.decode(codes)
    assert again.shape == images.shape
    assert again.dtype == torch.float32
    assert 0 <= float(again.min()) <= float(again.max()) <= 1


def test_bytes_and_shares_of_one_are_the_same_picture(dvae: DVAE, images: torch.Tensor) -> None:
    assert torch.equal(dvae.encode(images), dvae.encode(images.float() / 255))


def test_gathered_columns_are_one_hot_products(dvae: DVAE) -> None:
    codes = torch.randint(0, 96, (2, 4, 6))
    one_hot = F.one_hot(codes, 96).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(dvae.decoder.from_codes(codes), dvae.decoder(one_hot))


def test_gradients_reach_every_parameter(dvae: DVAE, images: torch.Tensor) -> None:
    loss, _, _ = RelaxedBound(dvae, RelaxationOptions())(map_pixels(images), 4000, [(0,), (1,)])
    dvae.zero_grad()
    loss.backward()
    assert not [name for name, p in dvae.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.slow
def test_one_batch_can_be_learnt_by_heart(images: torch.Tensor) -> None:
    """In 250 steps the reconstruction comes within a tenth of the range, through hard codes."""
    torch.manual_seed(0)
    dvae = DVAE(DVAEConfig(vocab_size=64, encoder_n_hid=16, decoder_n_hid=16, n_init=16, n_blk_per_group=1))
    optimiser = torch.optim.Adam(dvae.parameters(), 1e-3)
    bound = RelaxedBound(dvae, RelaxationOptions(beta=0, tau=0.1, tau_steps=125))
    pixels = map_pixels(images)
    for step in range(250):
        loss, _, _ = bound(pixels, step, [(step, 0), (step, 1)])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float((dvae.decode(dvae.encode(images)) - images / 255).abs().mean()) < 0.1


def test_relaxed_codes_are_what_plain_steps_give() -> None:
    """The oracle: log-softmax, entropy and softmax one after the other, with the same noise, and autograd's gradient."""
    logits = torch.randn(2, 50, 3, 5).requires_grad_()
    z, kl = relax(logits, 0.7, [(1,), (2,)])
    ln_q = logits.log_softmax(1)
    expected_kl = (ln_q.exp() * ln_q).sum(1) + torch.log(torch.tensor(50.0))
    uniform = [np.random.Generator(np.random.SFC64((seed,))).random((3, 5, 50), np.float32) for seed in (1, 2)]
    gumbel = -torch.log(-torch.log(torch.from_numpy(np.stack(uniform)).permute(0, 3, 1, 2)))
    expected_z = ((logits + gumbel) / 0.7).softmax(1)
    torch.testing.assert_close(z, expected_z)
    torch.testing.assert_close(kl, expected_kl)
    weight = torch.randn_like(z)
    (grad,) = torch.autograd.grad((z * weight).sum() + (kl**2).sum(), logits, retain_graph=True)
    (expected,) = torch.autograd.grad((expected_z * weight).sum() + (expected_kl**2).sum(), logits)
    torch.testing.assert_close(grad, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("batch", "vocab_size", "height", "width"), [(1, 2, 1, 1), (2, 50, 3, 5), (3, 700, 4, 8)])
def test_the_backward_pass_leaves_relaxed_codes_alone(
    dtype: torch.dtype, batch: int, vocab_size: int, height: int, width: int
) -> None:
    """z belongs to the caller, who may look at it after the step; a second backward pass gives the same gradient."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, vocab_size, height, width, generator=generator).to(dtype).requires_grad_()
    z, kl = relax(logits, 0.7, [(seed,) for seed in range(batch)])
    before, loss = z.detach().clone(), (z.float() ** 2).sum() + kl.sum()
    (once,) = torch.autograd.grad(loss, logits, retain_graph=True)
    assert torch.equal(before, z)
    (twice,) = torch.autograd.grad(loss, logits)
    assert torch.equal(once, twice)


def test_relaxed_codes_are_drawn_from_the_encoders_distribution() -> None:
    """The largest weight falls on each code as often as q says."""
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).view(1, 4, 1, 1).expand(1, 4, 200, 200)
    z, _ = relax(logits.contiguous(), 0.1, [(3,)])
    shares = z.argmax(1).flatten().bincount(minlength=4) / 40_000
    torch.testing.assert_close(shares, logits[0, :, 0, 0].softmax(0), atol=0.01, rtol=0)
    torch.testing.assert_close(z.sum(1), torch.ones(1, 200, 200))


def test_a_pictures_noise_does_not_depend_on_the_batch() -> None:
    logits = torch.randn(3, 20, 4, 4)
    together, _ = relax(logits, 0.5, [(7,), (8,), (9,)])
    alone, _ = relax(logits[1:2], 0.5, [(8,)])
    assert torch.equal(together[1:2], alone)


def test_bfloat16_is_close(images: torch.Tensor) -> None:
    """Most codes are the same, the others are worth next to as much, and pictures differ by less than a grey level."""
    torch.manual_seed(0)
    dvae = DVAE(DVAEConfig(vocab_size=512, encoder_n_hid=32, decoder_n_hid=32, n_init=32))
    fast = BF16DVAE(dvae)
    codes, expected = fast.encode(images), dvae.encode(images)
    assert float((codes == expected).float().mean()) > 0.9
    with torch.no_grad():
        logits = dvae.encoder(map_pixels(images))
    lost = logits.amax(1) - logits.gather(1, codes[:, None])[:, 0]
    assert float(lost.max()) < 0.02 * float(logits.std())
    assert float((fast.decode(expected) - dvae.decode(expected)).abs().max()) < 1 / 255


def test_bfloat16_decides_in_the_float32_layer() -> None:
    """Codes are those of the float32 output layer on the features as they are, close calls included."""
    torch.manual_seed(0)
    dvae = DVAE(DVAEConfig(vocab_size=2048, encoder_n_hid=16, decoder_n_hid=8, n_init=8, n_blk_per_group=1))
    fast = BF16DVAE(dvae)
    if not fast._packed:
        pytest.skip("this processor has no bfloat16 convolutions")
    features = torch.rand(1, 128, 32, 32).bfloat16().contiguous(memory_format=torch.channels_last)
    layer = dvae.encoder.blocks.get_submodule("output.conv")
    with torch.inference_mode():
        assert torch.equal(layer(features.float()).argmax(1), fast._encoder._output(features))


def test_batches_do_not_change_codes(dvae: DVAE, images: torch.Tensor) -> None:
    fast = BF16DVAE(dvae)
    alone = torch.cat([fast.encode(images[:1]), fast.encode(images[1:])])
    assert torch.equal(alone, fast.encode(images))
    assert torch.equal(alone, fast.encode(images)), "nothing is left over from the call before"


def test_threads_do_not_change_codes(dvae: DVAE) -> None:
    """Two threads of one worker process encode side by side, as on Flink, and neither sees the other's numbers."""
    fast = BF16DVAE(dvae)
    pictures = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(5)).mul(255).byte()

    def encode(picture: torch.Tensor) -> torch.Tensor:
        torch.set_num_threads(1)
        return torch.cat([fast.encode(picture[None]) for _ in range(4)])

    expected = [encode(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as threads:
        assert all(torch.equal(*pair) for pair in zip(expected, threads.map(encode, pictures), strict=True))


def test_halving_is_max_pooling() -> None:
    x = torch.randn(2, 5, 6, 8).contiguous(memory_format=torch.channels_last)
    assert torch.equal(F.max_pool2d(x, 2), halve(x))


def test_weights_come_back_from_disk(dvae: DVAE, tmp_path: Path) -> None:
    save(dvae, tmp_path / "dvae.safetensors")
    again = load(tmp_path / "dvae.safetensors")
    assert dvae.config == again.config
    for name, value in dvae.state_dict().items():
        assert torch.equal(value.half().float(), again.state_dict()[name])
    save(again, tmp_path / "again.safetensors")
    assert again.fingerprint() == load(tmp_path / "again.safetensors").fingerprint() != dvae.fingerprint()


def test_errors_are_sentences(dvae: DVAE, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"codes go from 0 to 96, expected 0 to 95"):
        dvae.decode(torch.tensor([[[0, 96]]]))
    with pytest.raises(ValueError, match=r"shape \[1, 3, 12, 8\], expected \[B, 3, H, W\], H and W multiples of 8"):
        dvae.encode(torch.zeros(1, 3, 12, 8))
    with pytest.raises(ValueError, match="encoder_n_hid is 30, expected"):
        DVAEConfig(encoder_n_hid=30)
    with pytest.raises(ValueError, match="the encoder has 96 codes and 2 blocks a group, the decoder 97 and 2"):
        join(dvae.encoder, Decoder(n_hid=8, n_init=8, vocab_size=97))
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="has no config in its metadata"):
        load(tmp_path / "x.safetensors")
    save(dvae, tmp_path / "dvae.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "dvae.safetensors").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cut.safetensors: is not a dVAE that dalle.dvae.save wrote"):
        load(tmp_path / "cut.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", {"config": "{}"})
    with pytest.raises(ValueError, match=r"x.safetensors: is not a dVAE that dalle.dvae.save wrote"):
        load(tmp_path / "x.safetensors")
    assert ["cut.safetensors", "dvae.safetensors", "x.safetensors"] == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.skipif(not dvae_module.BUILTIN.exists(), reason="the shipped weights are not trained yet")
def test_the_shipped_dvae_is_small_and_shows_what_it_encodes() -> None:
    """At most 16 MB, 8,192 codes; a smooth picture comes back within 20 dB."""
    assert dvae_module.BUILTIN.stat().st_size <= 16e6
    dvae = load()
    assert dvae.config.vocab_size == 8192
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    image = F.interpolate(coarse, size=(256, 256), mode="bilinear", align_corners=True)
    codes = dvae.encode(image)
    assert codes.shape == (1, 32, 32)
    assert float((dvae.decode(codes) - image).square().mean()) < 0.01
