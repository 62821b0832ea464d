// SPDX-License-Identifier: Apache-2.0
// Tile descriptor layout (docs/architecture.md section 6): bit ranges for td[`TD_x].
`ifndef SOFA_TD_VH
`define SOFA_TD_VH
`define TD_N       7:0
`define TD_ROWS    15:8
`define TD_FIRST   16
`define TD_LAST    17
`define TD_CAUSAL  18
`define TD_REL     36:19
`define TD_KSTEP   53:37
`define TD_KADDR   101:54
`define TD_VADDR   149:102
`define TD_KINC    181:150
`define TD_VINC    213:182
`define TD_OADDR   261:214
`define TD_K0      278:262
`define TD_KVNEW   279
`define TD_KVLAST  280
`define TD_W       281
`endif
