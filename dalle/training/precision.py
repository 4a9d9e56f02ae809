"""Which number format this processor multiplies fastest."""

import torch


def fast_dtype() -> torch.dtype:
    """bfloat16 where the processor has instructions for it (AVX-512 BF16 or AMX), float32 elsewhere."""
    has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") or has.get("amx_tile") else torch.float32
