// SPDX-License-Identifier: Apache-2.0
// Written by scripts/filelists.py: change the Verilog or that script, not this file.
// Top module sofa_fetch, Verilog-2005. Paths begin at the folder of this list: read it
// with -F, or with -f from here.
sofa_ring_credit.v
../common/sofa_sync_fifo.v
sofa_fetch_q.v
sofa_fetch_k8.v
../common/sofa_skid_buffer.v
../common/sofa_mult17x32.v
sofa_fetch_kv.v
../common/sofa_ram_1r1w.v
sofa_fetch_stream.v
sofa_fetch_arb.v
../common/sofa_burst_split.v
../common/sofa_owed_count.v
sofa_axi_read_track.v
sofa_axi_read.v
sofa_fetch.v
