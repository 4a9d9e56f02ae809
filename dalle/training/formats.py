"""The paper's number formats of 16 bits for what is kept and sent: 1-6-9 and 0-6-10 (Ramesh et al. 2021, App. D.5).

No processor computes in them. Numbers are rounded to them, kept and sent as words of 16 bits, and computed with in
single precision, which holds all of theirs.

A word is sign, exponent and fraction from its highest bit down, as IEEE 754 has it: exponent 0 is for subnormal
numbers, the highest for infinity (fraction 0) and what is no number. From the paper's "slightly less than 16" follows
the bias of 1-6-9, 59: its largest number is (2 - 2^-9) 2^3. The bias of 0-6-10 is not in the paper; ours is 60, so that
its largest, (2 - 2^-10) 2^2, is the next power of two above the 5 at which second moments are clipped.

    >>> words = ONE_SIX_NINE.encode(torch.tensor([1.0, -0.1, 20.0]))
    >>> words.dtype, ONE_SIX_NINE.decode(words)
    (torch.int16, tensor([ 1.0000, -0.1000,     inf]))
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SINGLE_BIAS, _SINGLE_FRACTION = 127, 23
"""Of single precision."""
_EXPONENT_BITS = 6
_TOP = (1 << _EXPONENT_BITS) - 1
"""The exponent of infinity and of what is no number."""
_SIGN = 1 << 15


@dataclass(frozen=True, kw_only=True)
class SmallFloat:
    """A format of 16 bits, 6 of them of the exponent."""

    fraction: int
    """Bits of the fraction: 9, with a sign before the exponent, or 10 without."""
    bias: int
    """Exponents are kept with so much added."""

    @property
    def signed(self) -> bool:
        """Whether there are numbers below 0."""
        return self.fraction + _EXPONENT_BITS < 16

    @property
    def largest(self) -> float:
        """The largest number."""
        return (2 - 2.0**-self.fraction) * 2.0 ** (_TOP - 1 - self.bias)

    @property
    def smallest_normal(self) -> float:
        """The smallest number with all bits of the fraction."""
        return 2.0 ** (1 - self.bias)

    @property
    def smallest(self) -> float:
        """The smallest number above 0."""
        return 2.0 ** (1 - self.bias - self.fraction)

    def encode(self, values: Tensor) -> Tensor:
        """Words of numbers, each rounded to the nearest of the format, of two equally near to the even one.

        Args:
            values: float32 of any shape. Beyond the largest by half a step or more they become infinity; what is no
                number stays none, and so becomes what is below 0 where there is no sign.

        Returns:
            int16 of the same shape.
        """
        bits = values.detach().float().contiguous().view(torch.int32)
        magnitude = bits & 0x7FFFFFFF
        least = 1 - self.bias
        exponent = ((magnitude >> _SINGLE_FRACTION) - _SINGLE_BIAS).clamp_(min=least)
        # numbers of one exponent are multiples of a step, 2^(exponent - fraction): so many, exactly, then rounded
        steps_in_one = ((_SINGLE_BIAS + self.fraction) - exponent << _SINGLE_FRACTION).view(torch.float32)
        steps = (magnitude.view(torch.float32) * steps_in_one).round_()
        is_number = magnitude <= 0x7F800000
        steps = torch.where(magnitude < 0x7F800000, steps, 0.0).to(torch.int32)
        # the leading bit of a normal number adds one to the exponent, and so does a carry
        words = ((exponent - least) << self.fraction) + steps
        words = torch.where(is_number, words.clamp_(max=_TOP << self.fraction), _TOP << self.fraction | 1)
        if self.signed:
            words = torch.where(bits < 0, words | _SIGN, words)
        else:
            words = torch.where((bits < 0) & (magnitude > 0), _TOP << self.fraction | 1, words)
        return words.to(torch.int16)

    def decode(self, words: Tensor) -> Tensor:
        """The numbers of words, int16, as float32 of the same shape; exact."""
        whole = words.to(torch.int32) & 0xFFFF
        exponent = (whole >> self.fraction) & _TOP
        fraction = whole & ((1 << self.fraction) - 1)
        bits = (exponent + (_SINGLE_BIAS - self.bias)) << _SINGLE_FRACTION
        bits = torch.where(exponent == _TOP, 0xFF << _SINGLE_FRACTION, bits)
        values = (bits | fraction << (_SINGLE_FRACTION - self.fraction)).view(torch.float32)
        values = torch.where(exponent == 0, fraction * self.smallest, values)
        return torch.where(whole >= _SIGN, -values, values) if self.signed else values

    def round(self, values: Tensor) -> Tensor:
        """float32 to the nearest number of the format, still as float32."""
        return self.decode(self.encode(values))

    def clamp(self, values: Tensor) -> Tensor:
        """Numbers with infinities replaced by the largest number of their sign, as after an all-reduce (App. E.2)."""
        return torch.where(values.isinf(), values.sign() * self.largest, values)


ONE_SIX_NINE = SmallFloat(fraction=9, bias=59)
"""Signed, to 15.984375: first moments, error buffers, and the factors of PowerSGD."""
ZERO_SIX_TEN = SmallFloat(fraction=10, bias=60)
"""From 0 to 7.99609375: second moments, which are clipped at 5."""
