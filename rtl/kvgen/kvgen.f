// SPDX-License-Identifier: Apache-2.0
// Written by scripts/filelists.py: change the Verilog or that script, not this file.
// Top module sofa_kvgen, Verilog-2005. Paths begin at the folder of this list: read it
// with -F, or with -f from here.
sofa_kvgen_front.v
../common/sofa_skid_buffer.v
../common/sofa_ram_1r1w.v
sofa_kvgen_valid.v
sofa_kvgen_wload.v
../common/sofa_sync_fifo.v
sofa_kvgen_address.v
sofa_kvgen_load.v
../common/sofa_mult_digits.v
../common/sofa_mult_rows.v
sofa_kvgen_mac.v
sofa_kvgen_array.v
sofa_kvgen_requant.v
../rope/sofa_rope.v
sofa_kvgen_drain.v
sofa_kvgen_order.v
sofa_kvgen_out.v
sofa_kvgen_make.v
sofa_kvgen_wb.v
sofa_kvgen_land.v
sofa_kvgen.v
