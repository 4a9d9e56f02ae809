"""The transformer over text and image tokens: what it sees, what it learns, and what its training says."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from dalle.prior.config import PriorConfig
from dalle.prior.linear import Linear
from dalle.prior.losses import weighted
from dalle.prior.masks import Kind, dense_mask, kinds_of
from dalle.prior.network import Prior, attention_entropy
from dalle.prior.options import PRESETS
from dalle.prior.resblock import Layer, Recompute
from dalle.training.ranks import alone
from dalle.training.steps import OptimizerOptions, OptimizerStep, Precision, precision_on

CONFIG = PriorConfig(vocab_size=20, image_vocab_size=30, text_length=6, codes=16, layers=2, heads=2, head_size=8)
TEXT, CODES = CONFIG.text_length, CONFIG.codes


@pytest.fixture
def prior() -> Prior:
    torch.manual_seed(0)
    return Prior(CONFIG)


def some_tokens(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts of 1, 2, ... tokens and their padding; codes."""
    rng = torch.Generator().manual_seed(1)
    text = torch.randint(0, 20, (batch, TEXT), generator=rng)
    position, length = torch.arange(TEXT), torch.arange(1, batch + 1)[:, None]
    return torch.where(position < length, text, 20 + position), torch.randint(0, 30, (batch, CODES), generator=rng)


def test_shapes(prior: Prior) -> None:
    """Logits of every token; the defaults are the paper's sizes."""
    text, codes = prior(*some_tokens())
    assert ((3, TEXT, 20), (3, CODES, 30)) == (tuple(text.shape), tuple(codes.shape))
    full = PriorConfig()
    assert (3968, 32, 16_384, 8_192, 256, 1_024) == (
        full.width, full.side, full.vocab_size, full.image_vocab_size, full.text_length, full.codes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("full", 12_092_178_432), ("large", 5_549_064_192), ("medium", 2_831_155_200), ("base", 301_989_888),
        ("small", 37_748_736), ("tiny", 196_608),
    ],
)  # fmt: skip
def test_weights_of_each_size(name: str, weights: int) -> None:
    """Of the matrices of all blocks, counted where they take no memory; the paper's are its 12, 5.5 and 2.8 billion."""
    size = PRESETS[name][1].size
    config = PriorConfig(layers=size.layers, heads=size.heads, head_size=size.head_size)
    with torch.device("meta"):
        network = Prior(config)
    matrices = [value for value in network.layers.parameters() if value.ndim == 2]
    assert weights == sum(value.numel() for value in matrices) == config.block_weights
    assert 4 * config.layers == len(matrices)
    assert kinds_of(config.layers) == tuple(layer.kind for layer in network.layers)


KINDS: tuple[Kind, ...] = ("row", "column", "convolution", "dense")


@pytest.mark.parametrize("kind", [*KINDS, None])
@pytest.mark.parametrize("changed", range(0, TEXT + CODES, 3))
def test_a_token_changes_nothing_before_it(kind: Kind | None, changed: int) -> None:
    """Logits up to and at the changed token stay, bit for bit; of the later ones those do not that may see it.

    In one layer that is whom its plan lets see it; through the paper's layers of three kinds everyone after it.
    """
    torch.manual_seed(0)
    layers = 3 if kind is None else 1
    prior = Prior(dataclasses.replace(CONFIG, layers=layers), kinds=None if kind is None else (kind,))
    text, codes = some_tokens(1)
    before = torch.cat([logits.sum(2)[0] for logits in prior(text, codes)])
    if changed < TEXT:
        text[0, changed] = (text[0, changed] + 1) % 20
    else:
        codes[0, changed - TEXT] = (codes[0, changed - TEXT] + 1) % 30
    after = torch.cat([logits.sum(2)[0] for logits in prior(text, codes)])
    # the token is read one position after that which predicts it
    expected = dense_mask(kind or "dense", text_length=TEXT, side=CONFIG.side)[:-1, changed + 1]
    assert torch.equal(expected, before != after)


def test_gradients_reach_every_weight() -> None:
    """Of layers of all kinds; but for the biases of keys, which shift all scores of a softmax alike."""
    torch.manual_seed(0)
    prior = Prior(dataclasses.replace(CONFIG, layers=3))
    text_tokens, image_codes = some_tokens()
    weighted(*prior.losses(text_tokens, image_codes)).backward()
    read = {  # rows that stand for tokens: of others nothing can be learnt from this batch
        "embeddings.text.weight": text_tokens.unique(), "embeddings.code.weight": image_codes[:, :-1].unique(),
    }  # fmt: skip
    for name, value in prior.named_parameters():
        assert value.grad is not None, name
        gradient = value.grad[read[name]] if name in read else value.grad
        if name.endswith("query_key_value.bias"):
            query, key, others = gradient.chunk(3)
            assert key.abs().max() < 1e-6
            gradient = torch.stack([query, others])
        assert (gradient != 0).all(), name


def step_of(prior: Prior, precision: Precision) -> OptimizerStep:
    return OptimizerStep(prior, OptimizerOptions(precision=precision), alone(), blocks=prior.resblocks())


PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16", "float16_scaled")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("recompute", ["selective", "blocks"])
def test_recomputation_changes_no_gradient(recompute: Recompute, precision: Precision) -> None:
    """Less is kept, the same comes out, bit for bit; of layers of all kinds, and in two parts of a batch."""
    gradients = []
    for way in ("none", recompute):
        torch.manual_seed(0)
        prior = Prior(dataclasses.replace(CONFIG, layers=4), recompute=way, kinds=KINDS)
        step = step_of(prior, precision)
        for part in range(2):
            with step.autocast():
                loss = weighted(*prior.losses(*(tokens[part : part + 2] for tokens in some_tokens(4))))
            step.backward(loss)
        gradients.append([value.grad for value in prior.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert ours.isfinite().all()
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("recompute", "products"), [("none", 0), ("selective", 0), ("blocks", 2)])
def test_what_is_recomputed(recompute: Recompute, products: int) -> None:
    """Of a layer's four products none, or of each block the first: the second makes nothing that is needed."""
    torch.manual_seed(0)
    prior = Prior(CONFIG, recompute=recompute)
    assert isinstance(prior.layers[0], Layer)
    x = torch.randn(2, TEXT + CODES, CONFIG.width, requires_grad=True)
    counted: Counter[str] = Counter()

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, operator: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
            counted[operator.overloadpacket.__name__] += 1
            return operator(*arguments, **(named or {}))

    made = prior.layers[0](x).sum()
    with Count():
        made.backward()
    assert 8 + products == counted["mm"] + counted["addmm"]  # two of each product's gradient
    assert {"none": 0, "selective": 1, "blocks": 1}[recompute] == counted["gelu"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_formats_of_the_branches(precision: Precision) -> None:
    """Products in the short format, the stream, its gradient and those of gains and biases in 32 bits."""
    torch.manual_seed(0)
    prior = Prior(CONFIG)
    step, dtype = step_of(prior, precision), precision_on(torch.device("cpu"), precision)
    seen, streams = [], list[torch.Tensor]()
    for block in prior.resblocks().values():
        block.inner.output.register_full_backward_hook(
            lambda _, of_input, of_output: seen.append((*of_input, *of_output))
        )
        block.register_full_backward_hook(lambda _, of_input, of_output: streams.extend((*of_input, *of_output)))
    with step.autocast():
        loss = weighted(*prior.losses(*some_tokens()))
    step.backward(loss)
    assert {dtype} == {value.dtype for values in seen for value in values}
    assert {torch.float32} == {value.dtype for value in (*streams, *(each.grad for each in prior.parameters()))}


def test_a_biass_gradient_does_not_overflow_in_a_sum() -> None:
    """Of numbers that float16 holds, where it would not hold their sum."""
    layer, x = Linear(3, 2), torch.zeros(100, 3)
    with torch.autocast("cpu", torch.float16):
        made = layer(x)
    made.backward(torch.full((100, 2), 2.0**15, dtype=torch.float16))
    assert [100 * 2.0**15] * 2 == layer.bias.grad.tolist()
    with torch.autocast("cpu", torch.float16):
        torch.testing.assert_close(made, nn.functional.linear(x, layer.weight, layer.bias))


def test_what_stays_in_32_bits() -> None:
    """Under autocast too: the stream, logits and the products that make them, and the gradients of all weights."""
    torch.manual_seed(0)
    prior, tokens = Prior(CONFIG), some_tokens()
    with torch.autocast("cpu", torch.bfloat16):
        features = prior.transform(prior.embed(*tokens))
        logits = prior(*tokens)
        text, codes = prior.losses(*tokens)
    weighted(text, codes).backward()
    assert {torch.float32} == {value.dtype for value in (features, *logits, text, codes)}
    assert {torch.float32} == {value.grad.dtype for value in prior.parameters()}
    of_text, of_codes = features.split((TEXT, CODES), 1)
    assert torch.equal(logits[0], prior.to_text(of_text))
    assert torch.equal(logits[1], prior.to_codes(of_codes))


def test_a_dense_one_is_gpt_2() -> None:
    """The features of Hugging Face's network with the same weights; both read the same embeddings."""
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, layers=3, head_size=16, heads=3)
    ours = Prior(config, kinds=("dense",) * 3)
    for value in ours.parameters():
        nn.init.normal_(value, std=0.2)
    length = TEXT + CODES
    sizes = {"n_positions": length, "n_embd": config.width, "n_layer": config.layers, "n_head": config.heads}
    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    theirs = GPT2Model(GPT2Config(vocab_size=1, activation_function="gelu", **sizes, **none)).eval()
    state = {"wte.weight": torch.zeros(1, config.width), "wpe.weight": torch.zeros(length, config.width)}
    names = {
        "attention.norm": "ln_1", "attention.inner.query_key_value": "attn.c_attn", "attention.inner.output": "attn.c_proj",
        "mlp.norm": "ln_2", "mlp.inner.expand": "mlp.c_fc", "mlp.inner.output": "mlp.c_proj",
    }  # fmt: skip
    for name, value in ours.state_dict().items():
        if name.startswith("norm."):
            state[f"ln_f.{name.removeprefix('norm.')}"] = value
        elif name.startswith("layers."):
            _, layer, rest = name.split(".", 2)
            part, _, which = rest.rpartition(".")
            state[f"h.{layer}.{names[part]}.{which}"] = value.t() if value.ndim == 2 else value
    theirs.load_state_dict(state)
    with torch.no_grad():
        embedded = ours.embed(*some_tokens())
        features = theirs(inputs_embeds=embedded).last_hidden_state
        torch.testing.assert_close(ours.transform(embedded), features, rtol=0, atol=1e-4)
    assert features.std() > 0.1


def test_attention_entropy_by_kind(prior: Prior) -> None:
    """Of fresh weights, whose scores are all about 0: the logarithms of how many positions a code sees."""
    entropies = attention_entropy(prior, *some_tokens())
    assert ["row", "convolution"] == [*entropies]
    for kind, entropy in entropies.items():
        seen = dense_mask(kind, text_length=TEXT, side=CONFIG.side)[TEXT + 1 : -1].sum(1)
        assert float(seen.double().log().mean()) == pytest.approx(entropy, abs=0.01)


def test_losses_are_cross_entropies_of_the_logits(prior: Prior) -> None:
    """Of text tokens without their padding, and of all codes; fresh weights only guess; the paper's weights of both."""
    text_tokens, image_codes = some_tokens()
    text, codes = prior.losses(text_tokens, image_codes)
    text_logits, code_logits = prior(text_tokens, image_codes)
    real = text_tokens < 20
    torch.testing.assert_close(text, F.cross_entropy(text_logits[real], text_tokens[real]))
    torch.testing.assert_close(codes, F.cross_entropy(code_logits.flatten(0, 1), image_codes.flatten()))
    assert (math.log(20), math.log(30)) == (
        pytest.approx(float(text.detach()), abs=0.1),
        pytest.approx(float(codes.detach()), abs=0.1),
    )
    assert 2.75 == float(weighted(torch.tensor(1.0), torch.tensor(3.0)))
    nothing = torch.arange(20, 20 + TEXT).expand(3, TEXT)
    assert 0 == float(prior.losses(nothing, image_codes)[0].detach())


@pytest.mark.parametrize("batch", [1, 3])
def test_one_batch_can_be_learnt_by_heart(batch: int) -> None:
    """Below 0.1 nats, by layers of all kinds; but for the first token of three texts, which is anybody's guess."""
    torch.manual_seed(0)
    prior, tokens = Prior(dataclasses.replace(CONFIG, layers=3)), some_tokens(batch)
    optimiser = torch.optim.Adam(prior.parameters(), 2e-2)
    for _ in range(80):
        optimiser.zero_grad()
        weighted(*prior.losses(*tokens)).backward()
        optimiser.step()
    text, codes = prior.losses(*tokens)
    assert float(codes.detach()) < 0.1
    assert float(text.detach()) < (0.1 if batch == 1 else math.log(3))


def test_other_sizes_are_refused(prior: Prior) -> None:
    text, codes = some_tokens()
    with pytest.raises(ValueError, match="text and codes have 6 and 15 positions, the network 6 and 16"):
        prior(text, codes[:, :-1])
    with pytest.raises(ValueError, match="codes is 15, expected a square number"):
        PriorConfig(codes=15)
    with pytest.raises(ValueError, match="heads is 0, expected 1 to 1,048,576"):
        PriorConfig(heads=0)


def test_kinds_are_one_for_each_layer() -> None:
    with pytest.raises(ValueError, match="1 kinds were given, expected one for each of 2 layers"):
        Prior(CONFIG, kinds=("row",))
