// SPDX-License-Identifier: Apache-2.0
// Turn descriptor: a tile as it is worked on for one block; bit ranges for turn[`SOFA_TURN_x].
// Fields: docs/architecture.md section 6.
`ifndef SOFA_TURN_VH
`define SOFA_TURN_VH
// slots of the tile, rows of the block
`define SOFA_TURN_N         7:0
`define SOFA_TURN_ROWS      15:8
// row r may use slot b iff r < rows and (not causal or rel + b*mstep <= r), rel signed
`define SOFA_TURN_CAUSAL    16
`define SOFA_TURN_REL       41:17
`define SOFA_TURN_MSTEP     393:370
// and rel + b*mstep + window > r, window 0: no such bound
`define SOFA_TURN_WINDOW    417:394
// keys between slots, key of slot 0
`define SOFA_TURN_KSTEP     58:42
`define SOFA_TURN_K0        75:59
// place of the block
`define SOFA_TURN_PLACE     78:76
// first, last turn of the block; tile is counted only
`define SOFA_TURN_START     79
`define SOFA_TURN_FINAL     80
`define SOFA_TURN_COUNT     81
// last block of the part that works on the tile
`define SOFA_TURN_TILE_LAST 82
// first turn of the first block, last turn of the last block, of a KV head
`define SOFA_TURN_KVNEW     83
`define SOFA_TURN_KVLAST    84
// of the selection
`define SOFA_TURN_EXACT     92:85
`define SOFA_TURN_RATIO     124:93
`define SOFA_TURN_TAU       140:125
`define SOFA_TURN_OCTAVE    145:141
`define SOFA_TURN_RADIUS    177:146
// addresses: K, V of key 0 of the KV head; mean of the block; O of its row 0
`define SOFA_TURN_KBASE     225:178
`define SOFA_TURN_VBASE     273:226
`define SOFA_TURN_MADDR     321:274
`define SOFA_TURN_OADDR     369:322
// shifts of the projection of the KV head
`define SOFA_TURN_KG_SHIFT_K 423:418
`define SOFA_TURN_KG_SHIFT_V 429:424
`define SOFA_TURN_W         430
`endif
