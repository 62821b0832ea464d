// SPDX-License-Identifier: Apache-2.0
// Tables of 2**f (docs/architecture.md section 5.4). Written by scripts/regmap.py:
// change models/spec/exp2.py. Entry i, of 64, covers f = i/64 .. (i+1)/64:
//   base[i]  = `SOFA_EXP2_BASE[16*i +: 16]    2**f in 1.15
//   slope[i] = `SOFA_EXP2_SLOPE[10*i +: 10]   rise over the entry
// Use them to set a localparam of the same width; a macro itself has no bit select.
`ifndef SOFA_EXP2_VH
`define SOFA_EXP2_VH
`define SOFA_EXP2_BASE_W 16
`define SOFA_EXP2_SLOPE_W 10
`define SOFA_EXP2_BASE 1024'hfd3efa83f7d0f525f281efe4ed4feac0e839e5b9e33fe0ccde61dbfbd99dd745d4f3d2a8d063ce24cbecc9b9c78dc567c347c12cbf17bd08baffb8fbb6fdb504b311b124af3bad58ab7aa9a1a7cda5fea435a270a0b09ef59d3f9b8d99e09837969494f4935a91c490328ea48d1b8b968a158898871f85aa843a82cd81648000
`define SOFA_EXP2_SLOPE 640'hb06bbaceaba929da568fa1e809ea739ae6597a579464b9123f8e2328b2268821a8560f826047f9f97d1ed7a1e3779d8751cf729c4701bb6d9b16b5a968da066d966458d621846017c5e1755c16d5a564
`endif
