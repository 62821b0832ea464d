// SPDX-License-Identifier: Apache-2.0
// Written by scripts/filelists.py: change the Verilog or that script, not this file.
// Top module sofa_rope, Verilog-2005. Paths begin at the folder of this list: read it
// with -F, or with -f from here.
../common/sofa_mult_digits.v
../common/sofa_mult_rows.v
sofa_rope.v
