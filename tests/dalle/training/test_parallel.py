"""Work on several threads is the work of one: same bits, same modes, errors come through, torch's threads stay."""

from __future__ import annotations

import threading

import pytest
import torch

from dalle.prior import windowed
from dalle.prior.attention import attend
from dalle.prior.masks import Kind
from dalle.training.parallel import for_each

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_piece_is_done_once_on_one_thread(threads: int) -> None:
    """Without gradients or autocast, whatever surrounds it; afterwards torch has as many threads as before."""
    done = torch.zeros(40, dtype=torch.int64)
    modes = set()
    weight = torch.ones(3, requires_grad=True)

    def work(piece: int) -> None:
        done[piece] += 1
        modes.add(((weight @ weight).requires_grad, (weight.detach() @ weight.detach()).dtype, torch.get_num_threads()))

    with torch.autocast("cpu", torch.bfloat16):
        for_each(work, range(40), CPU)
    assert (done == 1).all()
    assert {(False, torch.float32, 1)} == modes
    assert threads == torch.get_num_threads()
    fresh = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [threads] == fresh


def test_what_goes_wrong_is_raised(threads: int) -> None:
    def work(piece: int) -> None:
        if piece == 7:
            raise ValueError("the seventh")

    with pytest.raises(ValueError, match="the seventh"):
        for_each(work, range(20), CPU)
    assert threads == torch.get_num_threads()


@pytest.mark.parametrize("kind", ["row", "column", "convolution"])
def test_bits_do_not_depend_on_threads(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each head is computed by one thread, of however many."""
    monkeypatch.setattr(windowed, "SCORES", 1)
    before, outcomes = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        heads = torch.randn(2, 20 + 81, 3, 4, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
        mixed = attend(heads, kind, text_length=20, side=9)
        mixed.square().sum().backward()
        outcomes.append((mixed, heads.grad))
    torch.set_num_threads(before)
    for mixed, gradient in outcomes[1:]:
        assert torch.equal(outcomes[0][0], mixed)
        assert torch.equal(outcomes[0][1], gradient)


def test_without_a_gradient(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In inference mode, whose tensors no other mode may change."""
    monkeypatch.setattr(windowed, "SCORES", 1)
    heads = torch.randn(2, 5 + 16, 3, 2, 8)
    expected = attend(heads, "row", text_length=5, side=4)
    with torch.inference_mode():
        assert torch.equal(expected, attend(heads.clone(), "row", text_length=5, side=4))
