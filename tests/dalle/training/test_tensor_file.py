"""A file written tensor by tensor is the one that safetensors makes in memory, byte for byte."""

from __future__ import annotations

import io
import string

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from dalle.training.tensor_file import _NAMES, write_tensors

names = st.text(st.sampled_from([*string.ascii_letters, *'/._0é"\\\n']), min_size=1, max_size=8)
shapes = st.lists(st.integers(0, 4), max_size=3)
kinds = st.sampled_from(list(_NAMES))


@given(
    st.dictionaries(names, st.tuples(shapes, kinds, st.booleans()), max_size=6),
    st.dictionaries(names, names, max_size=1),
)
def test_the_bytes_are_those_of_the_library(
    of: dict[str, tuple[list[int], torch.dtype, bool]], metadata: dict[str, str]
) -> None:
    """Of any kinds and shapes, transposed too."""
    rng, tensors = torch.Generator().manual_seed(0), {}
    for name, (shape, kind, transposed) in of.items():
        value = torch.randint(0, 2, shape, generator=rng).to(kind)
        tensors[name] = value.transpose(0, -1) if transposed and shape else value
    file = io.BytesIO()
    write_tensors(file, tensors, metadata)
    whole = {name: value.contiguous().clone() for name, value in tensors.items()}
    assert safetensors.torch.save(whole, metadata or None) == file.getvalue()
    read = safetensors.torch.load(file.getvalue())
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], value) and read[name].dtype == value.dtype for name, value in tensors.items())


def test_other_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="complex64"):
        write_tensors(io.BytesIO(), {"x": torch.zeros(1, dtype=torch.complex64)}, {})
