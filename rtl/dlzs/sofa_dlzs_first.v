// SPDX-License-Identifier: Apache-2.0
// Elements of the first four columns, and three times each, out of the banks of K8.
//
// Why: all groups of columns but the first have a register in front of the three times that the
// terms of 1.5 need. Here it follows a memory's access and the choice of the slot in one cycle: the
// slot is chosen in one step by a one-hot number, and the two are synthesised together, apart from
// what may take longer.
// Not done here: the other columns (sofa_lane_rotate); the registers (sofa_dlzs_array.v).
// Latency: combinational. Throughput: a row of banks every cycle.
// Widths: elements 8 bits, three times them 10 bits, signed.
// Source: SOFA, MICRO 2024, DLZS; docs/architecture.md 5.2.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_first #(
    // Banks, a power of two, 4..64.
    parameter LANES = 8
) (
    input  wire [LANES*8-1:0] banks,
    // Bank of column 0, one-hot; column j has the j-th behind it, bank 0 behind the last
    input  wire [LANES-1:0]   hot,

    output wire [31:0]        k8,
    output wire [39:0]        k8x3
);

    generate
        if (LANES < 4 || LANES > 64 || LANES != (1 << $clog2(LANES))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_LANES_needs_power_of_two_4_to_64 stop ();
        end
    endgenerate

    // In halves, so that the tree is as low as it can be
    function automatic [7:0] pick;
        input [LANES*8-1:0] from;
        input [LANES-1:0]   chosen;
        reg   [LANES*8-1:0] left;
        integer i;
        begin
            for (i = 0; i < LANES; i = i + 1) begin
                left[i*8 +: 8] = from[i*8 +: 8] & {8{chosen[i]}};
            end
            for (i = LANES / 2; i > 0; i = i / 2) begin
                left = left | (left >> (i * 8));
            end
            pick = left[7:0];
        end
    endfunction

    genvar j;
    generate
        for (j = 0; j < 4; j = j + 1) begin : g_column
            wire [2*LANES-1:0] twice = {hot, hot} << j;
            wire [7:0] x = pick(banks, twice[LANES +: LANES]);
            // The upper half is added with either carry at the same time as the lower one.
            wire [4:0] low = {1'b0, x[3:0]} + {1'b0, x[2:0], 1'b0};
            wire [5:0] high = {{2{x[7]}}, x[7:4]} + {x[7], x[7:3]};
            wire [5:0] high_more = {{2{x[7]}}, x[7:4]} + {x[7], x[7:3]} + 6'd1;
            wire       unused_twice = &{1'b0, twice[LANES-1:0]};

            assign k8[j*8 +: 8] = x;
            assign k8x3[j*10 +: 10] = {low[4] ? high_more : high, low[3:0]};
        end
    endgenerate

endmodule

`resetall
