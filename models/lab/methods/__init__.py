# SPDX-License-Identifier: Apache-2.0
"""Ways to do attention, each a frozen dataclass of settings.

method      what all of them have in common; counts: operations and bytes
sofa        SOFA, the machine of docs/second.md; first: the first machine; machine: what both have
            in common; dense: exact attention, peaks for scales
rtl         jobs of Sofa(engine="rtl") on the compiled Verilog
rules       predictors and selection rules in any combination; twopass: SOFA with a second look at
            the scores of a tile
"""
