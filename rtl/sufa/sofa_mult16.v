// SPDX-License-Identifier: Apache-2.0
// Product of a signed 16-bit and a signed 17-bit number.
//
// Why: all multipliers of a SU-FA unit are this one; a technology's or a hand-made multiplier
// replaces this file. The 17th bit lets the second factor be unsigned (weight, reciprocal).
// Latency: 1 cycle. Throughput: one product a cycle. p holds its value while en is low.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_mult16 (
    input  wire        clk,
    input  wire        en,
    input  wire [15:0] a,
    input  wire [16:0] b,
    output wire [32:0] p
);

    reg [32:0] p_reg;

    assign p = p_reg;

    always @(posedge clk) begin
        if (en) begin
            p_reg <= $signed(a) * $signed(b);
        end
    end

endmodule

`resetall
