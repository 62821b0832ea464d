// SPDX-License-Identifier: Apache-2.0
// Written by scripts/filelists.py: change the Verilog or that script, not this file.
// Top module sofa_seq, Verilog-2005. Paths begin at the folder of this list: read it
// with -F, or with -f from here.
+incdir+../include
sofa_seq_timeout.v
sofa_seq_chain.v
../common/sofa_mult17x32.v
sofa_seq_chunks.v
sofa_seq_check.v
sofa_seq_parts.v
../common/sofa_sync_fifo.v
../common/sofa_times_digit.v
sofa_seq_blocks.v
sofa_seq_tiles.v
../common/sofa_ram_1r1w.v
sofa_seq_turns.v
sofa_seq_walk.v
sofa_seq_keys.v
sofa_seq_codes.v
sofa_seq.v
