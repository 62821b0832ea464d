// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding: rotates PAIRS pairs of 16-bit numbers by table angles a cycle.
//
//   s_x, digits of s_cs ->[ ]-> 4 products as rows, 2 sums of 3 rows a pair ->[ ]-> one adder each,
//                               saturate ->[ ]-> m_y
//
// Why: keys from a projection need their position before they are compared with queries; both the
// key prediction and the generation of K use this unit.
// y0 = sat16((x0*c - x1*s + 8192) >>> 14), y1 = sat16((x0*s + x1*c + 8192) >>> 14), c and s signed
// Q2.14. With s_bypass the pair passes as it is, at the same latency: as turned by c = 1, s = 0.
// Both sums are differences of two products (y1 of x0*s and x1*-c), so the biases of their rows
// cancel; the half that rounds is in the first one. Rows are inverted to be subtracted, and a carry
// row has an empty lowest bit for the one that is missing then.
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

    // Digits of c and s: 1 and 0 where the pair passes.
    localparam [15:0] ONE = 16'h4000;
    // Bits of a sum: two products of 2^30 need 32 and a sign, also with the half that rounds.
    localparam SUM_W = 33;

    genvar p, k;
    generate
        for (p = 0; p < PAIRS; p = p + 1) begin : g_pair
            wire [15:0] c_d, c_m, s_d, s_m;
            reg  [15:0] x0_reg, x1_reg;
            reg  [15:0] c_d_reg, c_m_reg, s_d_reg, s_m_reg;
            reg  [31:0] y_reg;
            wire [31:0] y;

            sofa_mult_digits #(
                .B_W (16)
            ) c_digits_inst (
                .b (s_cs[p*32 +: 16]),
                .d (c_d),
                .m (c_m)
            );

            sofa_mult_digits #(
                .B_W (16)
            ) s_digits_inst (
                .b (s_cs[p*32 + 16 +: 16]),
                .d (s_d),
                .m (s_m)
            );

            for (k = 0; k < 2; k = k + 1) begin : g_sum
                // Rows of x0*c and x1*s; of x0*s and x1*-c
                wire [31:0]      s0, c0, s1, c1;
                wire [SUM_W-1:0] in_0 = {1'b0, s0};
                wire [SUM_W-1:0] in_1 = {1'b0, c0};
                wire [SUM_W-1:0] in_2 = {1'b1, ~s1};
                reg  [SUM_W-1:0] row_0_reg, row_1_reg, row_2_reg;
                wire [SUM_W-1:0] sums = row_0_reg ^ row_1_reg ^ row_2_reg;
                wire [SUM_W-1:0] carries = ((row_0_reg & row_1_reg)
                                            | (row_2_reg & (row_0_reg | row_1_reg)));
                wire [SUM_W-1:0] sum = sums + {carries[SUM_W-2:0], 1'b1};
                // Shifted by 14, a sum that fits 16 bits has its bits 32..29 equal.
                wire             over = sum[32:29] != {4{sum[32]}};
                // The bits that the shift drops, the carries that leave
                wire             unused = &{1'b0, sum[13:0], carries[SUM_W-1]};

                assign y[k*16 +: 16] = over ? {sum[32], {15{!sum[32]}}} : sum[29:14];

                sofa_mult_rows #(
                    .A_W    (16),
                    .DIGITS (8),
                    .HALF   (1)
                ) mult0_inst (
                    .a (x0_reg),
                    .d (k == 0 ? c_d_reg : s_d_reg),
                    .m (k == 0 ? c_m_reg : s_m_reg),
                    .s (s0),
                    .c (c0)
                );

                sofa_mult_rows #(
                    .A_W    (16),
                    .DIGITS (8)
                ) mult1_inst (
                    .a (x1_reg),
                    .d (k == 0 ? s_d_reg : c_d_reg),
                    .m (k == 0 ? s_m_reg : ~c_m_reg),
                    .s (s1),
                    .c (c1)
                );

                always @(posedge clk) begin
                    if (en) begin
                        row_0_reg <= in_0 ^ in_1 ^ in_2;
                        row_1_reg <= {(in_0[SUM_W-2:0] & in_1[SUM_W-2:0])
                                      | (in_2[SUM_W-2:0] & (in_0[SUM_W-2:0] | in_1[SUM_W-2:0])),
                                      1'b1};
                        row_2_reg <= {1'b1, ~c1};
                    end
                end
            end

            assign m_y[p*32 +: 32] = y_reg;

            always @(posedge clk) begin
                if (en) begin
                    x0_reg  <= s_x[p*32 +: 16];
                    x1_reg  <= s_x[p*32 + 16 +: 16];
                    c_d_reg <= s_bypass ? ONE : c_d;
                    c_m_reg <= s_bypass ? 16'd0 : c_m;
                    s_d_reg <= s_bypass ? 16'd0 : s_d;
                    s_m_reg <= s_bypass ? 16'd0 : s_m;
                    y_reg   <= y;
                end
            end
        end
    endgenerate

endmodule

`resetall
