// SPDX-License-Identifier: Apache-2.0
// Dot product of vectors that come W elements a beat.
//
// Why: q . k of a pair takes ceil(d/W) beats; the next pair may follow in the next cycle.
// Operands are registered, multiplied, summed by a tree with a register after every second level,
// and added to the sum of the beats before.
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
    // Bits of a product of two 16-bit numbers, and of the sum of W of them.
    localparam P_W = 32;
    localparam T_W = P_W + LEVELS;

    // Bit j: stage j holds a beat: 0 operands, 1 products, 2.. levels of the tree.
    reg  [TREE+1:0]  valid_reg, first_reg;
    reg  [W*16-1:0]  q_reg, k_reg;
    reg  [S_W-1:0]   acc_reg;
    wire [W*P_W-1:0] prods;
    wire [T_W-1:0]   total;
    wire [S_W-1:0]   old = first_reg[TREE+1] ? {S_W{1'b0}} : acc_reg;

    genvar i, l, n;
    generate
        for (i = 0; i < W; i = i + 1) begin : g_mult
            wire [15:0] k = k_reg[i*16 +: 16];
            wire [32:0] p;
            wire        unused_p = &{1'b0, p[32]};

            sofa_mult16 mult_inst (
                .clk (clk),
                .en  (valid_reg[0]),
                .a   (q_reg[i*16 +: 16]),
                .b   ({k[15], k}),
                .p   (p)
            );

            assign prods[i*P_W +: P_W] = p[31:0];
        end

        // Level l adds neighbours: W >> (l+1) sums of P_W + l + 1 bits.
        for (l = 0; l < LEVELS; l = l + 1) begin : g_level
            localparam N = W >> (l + 1);
            localparam IN_W = P_W + l;
            localparam OUT_W = IN_W + 1;
            wire [2*N*IN_W-1:0] in;
            wire [N*OUT_W-1:0]  sum;
            wire [N*OUT_W-1:0]  out;

            if (l == 0) begin : g_in
                assign in = prods;
            end else begin : g_in
                assign in = g_level[l-1].out;
            end
            for (n = 0; n < N; n = n + 1) begin : g_add
                wire [IN_W-1:0] a = in[2*n*IN_W +: IN_W];
                wire [IN_W-1:0] b = in[(2*n+1)*IN_W +: IN_W];
                assign sum[n*OUT_W +: OUT_W] = {a[IN_W-1], a} + {b[IN_W-1], b};
            end
            if (l % 2 == 1 || l == LEVELS - 1) begin : g_out
                reg [N*OUT_W-1:0] sum_reg;
                always @(posedge clk) begin
                    if (valid_reg[1+l/2]) begin
                        sum_reg <= sum;
                    end
                end
                assign out = sum_reg;
            end else begin : g_out
                assign out = sum;
            end
        end
    endgenerate

    assign total = g_level[LEVELS-1].out;
    assign s = acc_reg;

    always @(posedge clk) begin
        valid_reg <= {valid_reg[TREE:0], in_valid};
        first_reg <= {first_reg[TREE:0], in_first};
        if (in_valid) begin
            q_reg <= in_q;
            k_reg <= in_k;
        end
        if (valid_reg[TREE+1]) begin
            acc_reg <= old + {{(S_W - T_W + 1){total[T_W-1]}}, total[T_W-2:0]};
        end
        if (rst) begin
            valid_reg <= {(TREE + 2){1'b0}};
        end
    end

endmodule

`resetall
