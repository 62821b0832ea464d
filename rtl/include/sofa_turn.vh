// SPDX-License-Identifier: Apache-2.0
// Turn descriptor: a tile as it is worked on for one block; bit ranges for turn[`SOFA_TURN_x].
// Fields: docs/organisation.md, Turns.
`ifndef SOFA_TURN_VH
`define SOFA_TURN_VH
// slots of the tile, rows of the block
`define SOFA_TURN_N         7:0
`define SOFA_TURN_ROWS      15:8
// row r may use slot b iff r < rows and (not causal or rel + b*kstep <= r)
`define SOFA_TURN_CAUSAL    16
`define SOFA_TURN_REL       34:17
`define SOFA_TURN_KSTEP     51:35
// key of slot 0
`define SOFA_TURN_K0        68:52
// place of the block
`define SOFA_TURN_PLACE     71:69
// first, last turn of the block; tile is counted only
`define SOFA_TURN_START     72
`define SOFA_TURN_FINAL     73
`define SOFA_TURN_COUNT     74
// last block of the part that works on the tile
`define SOFA_TURN_TILE_LAST 75
// first turn of the first block, last turn of the last block, of a KV head
`define SOFA_TURN_KVNEW     76
`define SOFA_TURN_KVLAST    77
// of the selection
`define SOFA_TURN_EXACT     85:78
`define SOFA_TURN_RATIO     117:86
`define SOFA_TURN_TAU       133:118
`define SOFA_TURN_OCTAVE    138:134
`define SOFA_TURN_RADIUS    170:139
// addresses: K, V of key 0 of the KV head; mean of the block; O of its row 0
`define SOFA_TURN_KBASE     218:171
`define SOFA_TURN_VBASE     266:219
`define SOFA_TURN_MADDR     314:267
`define SOFA_TURN_OADDR     362:315
`define SOFA_TURN_W         363
`endif
