// SPDX-License-Identifier: Apache-2.0
// Written by scripts/filelists.py: change the Verilog or that script, not this file.
// Top module sofa_dlzs, Verilog-2005. Paths begin at the folder of this list: read it
// with -F, or with -f from here.
+incdir+../include
../common/sofa_sync_fifo.v
sofa_dlzs_encode.v
../common/sofa_lane_rotate.v
../common/sofa_ram_1r1w.v
sofa_dlzs_corner.v
sofa_dlzs_codes.v
sofa_dlzs_wcodes.v
../common/sofa_corner_buffer.v
sofa_dlzs_first.v
sofa_dlzs_cell.v
sofa_dlzs_array.v
../common/sofa_mult_digits.v
../common/sofa_mult_rows.v
../rope/sofa_rope.v
sofa_dlzs_rope_rows.v
../common/sofa_find_first.v
../common/sofa_skid_buffer.v
sofa_dlzs_kwrite.v
sofa_dlzs_khat.v
sofa_dlzs.v
