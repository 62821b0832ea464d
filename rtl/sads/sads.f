// SPDX-License-Identifier: Apache-2.0
// Written by scripts/filelists.py: change the Verilog or that script, not this file.
// Top module sofa_sads, Verilog-2005. Paths begin at the folder of this list: read it
// with -F, or with -f from here.
+incdir+../include
../common/sofa_sync_fifo.v
sofa_sads_sum_ctl.v
../common/sofa_ram_1r1w.v
../common/sofa_mult_digits.v
../common/sofa_add_rows.v
sofa_sads_sum_limit.v
sofa_sads_sum_div.v
sofa_sads_sum_mask.v
sofa_sads_sum_row.v
sofa_sads_sum.v
sofa_sads_sort_mask.v
sofa_sads_core.v
sofa_sads_sort_row.v
sofa_sads_sort.v
../common/sofa_popcount.v
sofa_sads_pairs.v
sofa_sads.v
