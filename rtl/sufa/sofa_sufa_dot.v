// SPDX-License-Identifier: Apache-2.0
// Dot product of vectors that come W elements a beat.
//
// Why: q . k of a pair takes ceil(d/W) beats; the next pair may follow in the next cycle.
// Operands are registered, multiplied, summed, and added to the sum of the beats before. Products
// and sums stay rows (sofa_mult_rows, sofa_add_rows) until two of them are left.
// Not done here: rounding; leaving elements out (the user feeds zeros).
// Latency: from in_valid of the last beat to s 3 + ceil(clog2(W)/2) cycles. s holds until the sum
// of the next beat. Throughput: one beat a cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_dot #(
    // Elements of a beat, power of two, 4..32.
    parameter W = 8,
    // Bits of the sum, 32 + clog2(W)..48.
    parameter S_W = 40
) (
    input  wire            clk,
    input  wire            rst,

    // A beat, the first of its pair
    input  wire            in_valid,
    input  wire            in_first,
    input  wire [W*16-1:0] in_q,
    input  wire [W*16-1:0] in_k,

    output wire [S_W-1:0]  s
);

    generate
        if (W < 4 || W > 32 || W != (1 << $clog2(W)) || S_W < 32 + $clog2(W)
                || S_W > 48) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_dot_needs_W_4_32_S_W_32_plus_clog2_W_to_48 stop ();
        end
    endgenerate

    localparam LEVELS = $clog2(W);
    localparam TREE = (LEVELS + 1) / 2;
    // Bits of a product's rows, and of the sum of W products.
    localparam P_W = 32;
    localparam T_W = P_W + LEVELS;
    // W times the bias of a product (sofa_mult_rows).
    localparam [47:0] BIAS = 48'h5555_0000 << LEVELS;
    localparam PAD_W = S_W > T_W ? S_W - T_W : 0;

    // Rows that are left in front of stage 2 + stages of the pipeline: five levels of full adders
    // fit between two registers.
    function integer rows_at;
        input integer stages;
        integer k;
        begin
            rows_at = 2 * W;
            for (k = 0; k < 5 * stages; k = k + 1) begin
                rows_at = rows_at - rows_at / 3;
            end
        end
    endfunction

    // Bit j: stage j holds a beat: 0 operands, 1 products, 2.. sums of products, the last of them
    // the whole one.
    reg  [TREE+1:0]  valid_reg, first_reg;
    // Digits of Q (sofa_mult_digits).
    reg  [W*16-1:0]  q_d_reg, q_m_reg, k_reg;
    wire [W*16-1:0]  q_d, q_m;
    reg  [T_W-1:0]   total_reg;
    reg  [S_W-1:0]   acc_reg;
    wire [2*W*T_W-1:0] prods;
    wire [S_W-1:0]   old = first_reg[TREE+1] ? {S_W{1'b0}} : acc_reg;

    genvar i, l;
    generate
        for (i = 0; i < W; i = i + 1) begin : g_mult
            wire [P_W-1:0] s_row, c_row;
            reg  [P_W-1:0] s_reg, c_reg;

            sofa_mult_digits #(
                .B_W (16)
            ) digits_inst (
                .b (in_q[i*16 +: 16]),
                .d (q_d[i*16 +: 16]),
                .m (q_m[i*16 +: 16])
            );

            sofa_mult_rows #(
                .A_W    (16),
                .DIGITS (8)
            ) mult_inst (
                .a (k_reg[i*16 +: 16]),
                .d (q_d_reg[i*16 +: 16]),
                .m (q_m_reg[i*16 +: 16]),
                .s (s_row),
                .c (c_row)
            );

            always @(posedge clk) begin
                if (valid_reg[0]) begin
                    s_reg <= s_row;
                    c_reg <= c_row;
                end
            end

            assign prods[i*T_W +: T_W] = {{LEVELS{1'b0}}, s_reg};
            assign prods[(W+i)*T_W +: T_W] = {{LEVELS{1'b0}}, c_reg};
        end

        // Stages 2.. but the last one.
        for (l = 0; l < TREE - 1; l = l + 1) begin : g_stage
            localparam N = rows_at(l);
            localparam M = rows_at(l + 1);
            wire [N*T_W-1:0] in;
            wire [M*T_W-1:0] out;
            reg  [M*T_W-1:0] rows_reg;

            if (l == 0) begin : g_in
                assign in = prods;
            end else begin : g_in
                assign in = g_stage[l-1].rows_reg;
            end

            sofa_add_rows #(
                .IN  (N),
                .W   (T_W),
                .OUT (M)
            ) add_inst (
                .rows (in),
                .sums (out)
            );

            always @(posedge clk) begin
                if (valid_reg[1+l]) begin
                    rows_reg <= out;
                end
            end
        end
    endgenerate

    localparam REST = rows_at(TREE - 1);
    wire [REST*T_W-1:0] rest;
    wire [T_W-1:0]      rest_s, rest_c;

    generate
        if (TREE == 1) begin : g_rest
            assign rest = prods;
        end else begin : g_rest
            assign rest = g_stage[TREE-2].rows_reg;
        end
    endgenerate

    generate
        if (REST > 2) begin : g_last
            sofa_add_rows #(
                .IN  (REST),
                .W   (T_W),
                .OUT (2)
            ) add_inst (
                .rows (rest),
                .sums ({rest_c, rest_s})
            );
        end else begin : g_last
            assign {rest_c, rest_s} = rest;
        end
    endgenerate

    assign s = acc_reg;

    always @(posedge clk) begin
        valid_reg <= {valid_reg[TREE:0], in_valid};
        first_reg <= {first_reg[TREE:0], in_first};
        if (in_valid) begin
            q_d_reg <= q_d;
            q_m_reg <= q_m;
            k_reg   <= in_k;
        end
        if (valid_reg[TREE]) begin
            total_reg <= rest_s + rest_c;
        end
        if (valid_reg[TREE+1]) begin
            acc_reg <= old + {{PAD_W{1'b0}}, total_reg} - BIAS[S_W-1:0];
        end
        if (rst) begin
            valid_reg <= {(TREE + 2){1'b0}};
        end
    end

endmodule

`resetall
