"""Weights of the Inception networks from a file or an address: the right ones by their sha256, nothing executed.

Numbers of two papers can be compared only if the very same weights made them, so a file is taken if its sha256 is one
of those below, or if the user names it with --weights_sha256; every output then says which weights it is of. Which form
of the network they are of is told by the number of their classes.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dalle.dvae.download import download_bytes
from dalle.evaluation.inception import FEATURES, FORMS, Form, Inception, convolutions, folded
from dalle.training.model_file import fault_of_numbers
from schemas.regular_file import check_regular

KNOWN: Mapping[str, str] = MappingProxyType(
    {
        # pytorch-fid's file; torch-fidelity's weights-inception-2015-12-05-6726825d.pth has the same bytes
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2": "pt_inception-2015-12-05-6726825d.pth",
        # torchvision's, as it is today and as it was when DM-GAN's code was written
        "0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef": "inception_v3_google-0cc3c7bd.pth",
        "1a9a5a14f40645a370184bd54f4e8e631351e71399112b43ad0294a79da290c8": "inception_v3_google-1a9a5a14.pth",
    }
)
"""What files are called that everybody uses, by their sha256."""

ADDRESSES: Mapping[str, str] = MappingProxyType(
    {
        "tf": "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        "torchvision": "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        "birds": "https://github.com/hanzhanggit/StackGAN-inception-model, its variables named as torchvision's",
    }
)
"""Where weights of each form are to be had."""

_LARGEST = 1 << 30
_SHOWN = 60
_FAULTS = (RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError, IndexError, OSError)
_PARTS = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a file of weights holds."""

    form: Form
    sha256: str
    """Of the file."""
    network: Inception
    """Ready for use, in single precision."""
    classes: Tensor
    """[C, 2048] float32: of the last layer."""
    bias: Tensor
    """[C] float32."""

    @property
    def name(self) -> str:
        """What the file is called if everybody knows it, or else the beginning of its sha256."""
        return KNOWN.get(self.sha256, f"sha256 {self.sha256[:16]}…")


def load_weights(path: str, allowed: Sequence[str] = ()) -> Weights:
    """The weights of a file, or of an http(s) address: a state dict that torch.save wrote, or safetensors.

    Args:
        path: where it is.
        allowed: sha256 of files that are taken beside those of `KNOWN`.

    Raises:
        ValueError: if it cannot be had, is another file, or holds anything else than the weights of a form.
        OSError: if it is not there.
    """
    data = _read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 not in KNOWN and sha256 not in {each.lower() for each in allowed}:
        known = ", ".join(f"{each[:12]}… ({name})" for each, name in KNOWN.items())
        raise ValueError(
            f"{path}: its sha256 is {sha256}, expected one of {known}; if these are the weights you "
            f"want, say --weights_sha256 {sha256}, and every output will name them"
        )
    try:
        tensors = _state_dict(data)
        form, network = _checked(tensors)
    except _FAULTS as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: is no state dict of an Inception v3 ({reason}); nothing in it was executed"
        ) from None
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path}: holds other things than tensors, so it was not read and nothing in it was executed; expected a "
            "state dict"
        ) from None
    if fault := fault_of_numbers({name: value for name, value in tensors.items() if value.is_floating_point()}):
        raise ValueError(f"{path}: {fault}; get the file anew")
    network.load_state_dict(folded(tensors, network))
    return Weights(
        form=form,
        sha256=sha256,
        network=network.eval().requires_grad_(False),
        classes=tensors["fc.weight"].float(),
        bias=tensors["fc.bias"].float(),
    )


def missing(form: str, what: str) -> str:
    """That weights of a form were not given, for an error."""
    return (
        f"{what} needs the weights of Inception v3 ({form}), and --weights names none; download {ADDRESSES[form]} and "
        "give its path, or say --features builtin for a distance that is no FID"
    )


def _read(path: str) -> bytes:
    if path.startswith(("http://", "https://")):
        return download_bytes(path)
    check_regular(path)
    if (size := Path(path).stat().st_size) > _LARGEST:
        raise ValueError(f"{path}: has {size:,} bytes, expected at most {_LARGEST:,}")
    return Path(path).read_bytes()


def _state_dict(data: bytes) -> dict[str, Tensor]:
    if data[8:9] == b"{":
        try:
            return safetensors.torch.load(data)
        except safetensors.SafetensorError as error:
            raise ValueError(f"SafetensorError: {error}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of protocols; what is wrong is said in a sentence
        value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(value, dict) or not all(isinstance(each, Tensor) for each in value.values()):
        raise ValueError(f"it holds a {type(value).__name__} of other things than tensors")
    for name, tensor in value.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or not (tensor.is_floating_point() or str(name).endswith("num_batches_tracked")):
            raise ValueError(
                f"its weights {str(name)[:_SHOWN]} are no floating point numbers, but {tensor.dtype}, {tensor.layout}"
            )
    return dict(value)


def _checked(tensors: Mapping[str, Tensor]) -> tuple[Form, Inception]:
    """The form that the weights are of, and a network of it.

    Raises:
        ValueError: naming the first tensor that is missing or has another shape.
    """
    classes = _shape(tensors, "fc.weight")[:1]
    form = next((form for form in FORMS.values() if classes and classes[0] in form.classes), None)
    if form is None:
        raise ValueError(f"its last layer has {classes[0] if classes else 0} classes, expected 1008, 1000, 51 or 50")
    with torch.device("meta"):
        network = Inception(form)
    for name, convolution in convolutions(network).items():
        kernel = tuple(convolution.conv.weight.shape)
        for part in _PARTS:
            expected = kernel if part == "conv.weight" else kernel[:1]
            if (found := _shape(tensors, f"{name}.{part}")) != expected:
                raise ValueError(f"its weights {name}.{part} are {list(found)}, expected {list(expected)}")
    for name, expected in (("fc.weight", (*classes, FEATURES)), ("fc.bias", classes)):
        if (found := _shape(tensors, name)) != expected:
            raise ValueError(f"its weights {name} are {list(found)}, expected {list(expected)}")
    return form, network.to_empty(device="cpu")


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in tensors:
        raise ValueError(f"it has no weights {name}")
    return tuple(tensors[name].shape)
