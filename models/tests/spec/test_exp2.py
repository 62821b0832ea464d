# SPDX-License-Identifier: Apache-2.0
"""Tables of the base-2 exponential and their Verilog header."""

import re

import numpy as np
import pytest

from models.spec import exp2
from scripts import regmap


def test_header_carries_the_tables():
    text = regmap.exp2_header()
    base, slope = exp2.fit()
    for name, table, width in (("BASE", base, 16), ("SLOPE", slope, 10)):
        bits, digits = re.search(rf"`define SOFA_EXP2_{name} (\d+)'h([0-9a-f]+)\n", text).groups()
        word = int(digits, 16)
        assert int(bits) == 64 * width == 4 * len(digits)
        assert [word >> (width * i) & ((1 << width) - 1) for i in range(64)] == table.tolist()
    assert base.min() == 32768 and base.max() < 65536
    assert 0 < slope.min() and slope.max() < 1024


def test_mantissa():
    f = np.arange(1024)
    got = exp2.mantissa(f)
    assert got[0] == 32768 and got.max() <= 65535
    assert (np.diff(got) > 0).all()
    assert np.abs(got - 2.0 ** (f / 1024 + 15)).max() < 1.25


@pytest.mark.parametrize("z_frac", [6, 8, 12])
def test_mantissa_with_other_fractions(z_frac):
    f = np.arange(1 << z_frac)
    got = exp2.mantissa(f, z_frac)
    assert np.abs(got - 2.0 ** (f / 2**z_frac + 15)).max() < 1.5
