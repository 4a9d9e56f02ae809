"""Which number format this processor multiplies fastest."""

import torch


def has_fast_bfloat16() -> bool:
    """Whether this processor's products and convolutions in bfloat16 are oneDNN's own."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def computes_in_bfloat16(device: str) -> bool:
    """Whether what is only used, not trained, is to compute in bfloat16 on a `cuda` or `cpu`: where that is fast."""
    return device == "cuda" or has_fast_bfloat16()


def fast_dtype() -> torch.dtype:
    """bfloat16 where the processor has instructions for it (AVX-512 BF16 or AMX), float32 elsewhere."""
    has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") or has.get("amx_tile") else torch.float32
