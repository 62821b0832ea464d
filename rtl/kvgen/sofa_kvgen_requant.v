// SPDX-License-Identifier: Apache-2.0
// Rounds an exact sum to 16 bits: y = sat16((acc + half) >>> shift), half = 2^(shift-1) or 0.
//
// Why: each of the two lanes of a drained pair needs it, with the shift of K or of V.
// Not done here: choice of the shift, valid bits (they travel outside).
// Latency: two cycles (sum; shift and saturation). Throughput: one sum a cycle.
// Source: docs/architecture.md 10.2.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_requant #(
    // Bits of a sum, 33..45.
    parameter ACC_W = 42
) (
    input  wire             clk,

    input  wire [ACC_W-1:0] acc,
    // 0..40
    input  wire [5:0]       shift,
    output wire [15:0]      y
);

    generate
        if (ACC_W < 33 || ACC_W > 45) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_requant_needs_ACC_W_33_to_45 stop ();
        end
    endgenerate

    // Holds a sum, or the largest half (2^39), with a spare bit for their sum.
    localparam W = 46;

    reg [W-1:0] sum_reg;
    reg [5:0]   shift_reg;
    reg [15:0]  y_reg;

    // unreached toggle: a shift is 40 at most
    wire [W-1:0] half = {{(W - 1){1'b0}}, 1'b1} << shift;
    wire [W-1:0] value = $signed(sum_reg) >>> shift_reg;
    wire         over = value[W-1:15] != {(W - 15){value[W-1]}};

    assign y = y_reg;

    always @(posedge clk) begin
        sum_reg   <= {{(W - ACC_W){acc[ACC_W-1]}}, acc} + {1'b0, half[W-1:1]};
        shift_reg <= shift;
        y_reg     <= over ? {value[W-1], {15{!value[W-1]}}} : value[15:0];
    end

    // A shift of 0 has no half.
    wire unused = half[0];

endmodule

`resetall
