// SPDX-License-Identifier: Apache-2.0
// Written by scripts/filelists.py: change the Verilog or that script, not this file.
// Top module sofa_store, Verilog-2005. Paths begin at the folder of this list: read it
// with -F, or with -f from here.
../common/sofa_ram_1r1w.v
../common/sofa_sync_fifo.v
../common/sofa_burst_split.v
../common/sofa_owed_count.v
sofa_axi_write.v
sofa_store.v
