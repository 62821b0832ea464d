// SPDX-License-Identifier: Apache-2.0
// Written by scripts/filelists.py: change the Verilog or that script, not this file.
// Top module sofa_sufa, Verilog-2005. Paths begin at the folder of this list: read it
// with -F, or with -f from here.
+incdir+../include
../common/sofa_skid_buffer.v
sofa_sufa_kv.v
../common/sofa_ram_1r1w.v
sofa_sufa_keys.v
../common/sofa_find_first.v
sofa_sufa_issue.v
../common/sofa_mult_digits.v
../common/sofa_mult_rows.v
../common/sofa_add_rows.v
sofa_sufa_dot.v
sofa_sufa_exp.v
sofa_sufa_lane.v
sofa_sufa_sv.v
../common/sofa_sync_fifo.v
sofa_sufa_div.v
sofa_sufa_flush.v
sofa_sufa_unit.v
sofa_sufa_merge.v
../common/sofa_popcount.v
sofa_sufa.v
