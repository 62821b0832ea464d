// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding: rotates PAIRS pairs of 16-bit numbers by table angles a cycle.
//
//   s_x, s_cs ->[ ]-> 4 products a pair ->[ ]-> 2 sums, round, saturate ->[ ]-> m_y
//
// Why: keys from a projection need their position before they are compared with queries; both the
// key prediction and the generation of K use this unit.
// y0 = sat16((x0*c - x1*s + 8192) >>> 14), y1 = sat16((x0*s + x1*c + 8192) >>> 14), c and s signed
// Q2.14. With s_bypass the pair passes as it is, at the same latency.
// Not done here: the table, the order of the pairs, valid bits (they travel outside).
// Latency: three cycles in which en is high; low en freezes everything. Throughput: PAIRS pairs a
// cycle.
// Source: docs/architecture.md 10.2, docs/rope.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_rope #(
    // Pairs in parallel, 1..64.
    parameter PAIRS = 1
) (
    input  wire                clk,
    // Everything advances; low freezes all three registers.
    input  wire                en,

    // Pair p: {x1, x0} at p*32, 16 bits each, and {s, c} at p*32
    input  wire [PAIRS*32-1:0] s_x,
    input  wire [PAIRS*32-1:0] s_cs,
    input  wire                s_bypass,

    // Pair p: {y1, y0}
    output wire [PAIRS*32-1:0] m_y
);

    generate
        if (PAIRS < 1 || PAIRS > 64) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_rope_needs_PAIRS_1_to_64 stop ();
        end
    endgenerate

    reg bypass1_reg, bypass2_reg;

    always @(posedge clk) begin
        if (en) begin
            bypass1_reg <= s_bypass;
            bypass2_reg <= bypass1_reg;
        end
    end

    genvar p;
    generate
        for (p = 0; p < PAIRS; p = p + 1) begin : g_pair
            reg signed [15:0] x0_reg, x1_reg, c_reg, s_reg;
            reg signed [31:0] x0c_reg, x1s_reg, x0s_reg, x1c_reg;
            reg        [31:0] x_reg;
            reg        [31:0] y_reg;

            // Two products of 2^30 need 32 bits and a sign, also with the half that rounds.
            wire signed [32:0] sum0 = {x0c_reg[31], x0c_reg} - {x1s_reg[31], x1s_reg} + 33'sd8192;
            wire signed [32:0] sum1 = {x0s_reg[31], x0s_reg} + {x1c_reg[31], x1c_reg} + 33'sd8192;
            // Shifted by 14, a sum that fits 16 bits has its bits 32..29 equal.
            wire               over0 = sum0[32:29] != {4{sum0[32]}};
            wire               over1 = sum1[32:29] != {4{sum1[32]}};
            wire        [15:0] y0 = over0 ? {sum0[32], {15{!sum0[32]}}} : sum0[29:14];
            wire        [15:0] y1 = over1 ? {sum1[32], {15{!sum1[32]}}} : sum1[29:14];
            // The bits that the shift drops.
            wire               unused_low = &{1'b0, sum0[13:0], sum1[13:0]};

            assign m_y[p*32 +: 32] = y_reg;

            always @(posedge clk) begin
                if (en) begin
                    x0_reg  <= s_x[p*32 +: 16];
                    x1_reg  <= s_x[p*32 + 16 +: 16];
                    c_reg   <= s_cs[p*32 +: 16];
                    s_reg   <= s_cs[p*32 + 16 +: 16];
                    x0c_reg <= x0_reg * c_reg;
                    x1s_reg <= x1_reg * s_reg;
                    x0s_reg <= x0_reg * s_reg;
                    x1c_reg <= x1_reg * c_reg;
                    x_reg   <= {x1_reg, x0_reg};
                    y_reg   <= bypass2_reg ? x_reg : {y1, y0};
                end
            end
        end
    endgenerate

endmodule

`resetall
