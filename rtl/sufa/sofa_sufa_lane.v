// SPDX-License-Identifier: Apache-2.0
// One lane of the output side of a SU-FA unit: o = (o >>> dm) + ((p*v + 128) >>> 8), and the flush.
//
// Why: shifter, multiplier and adder serve pairs and flush alike. A pair shifts o while it
// multiplies v. The flush first shifts and rounds o to o', then multiplies it as if it were v: the
// product with R' is kept in `fin`, the product of the mean of V with 1 - f, which comes in the
// next cycle from the same memory, is added to it, rounded and saturated.
// The stages are numbered by the cycles after the read of o: 1 o present, 2 o shifted, and so on.
// Not done here: memories, the order of the stages (sofa_sufa_sv.v).
// Source: docs/second.md, formal path.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_lane #(
    // Bits of an output sum, 26..48.
    parameter O_W = 36
) (
    input  wire           clk,

    // o present: shift it by sh, or start from 0
    input  wire           sh_en,
    input  wire           sh_zero,
    input  wire [5:0]     sh,
    input  wire [O_W-1:0] o_rd,
    // Factor of the next product: v, or the shifted o rounded to 16 bits
    input  wire           v_en,
    input  wire           fin_en,
    input  wire [15:0]    v,
    // Product with p, given as digits (sofa_mult_digits)
    input  wire           mul_en,
    input  wire [17:0]    p_d,
    input  wire [17:0]    p_m,
    // One cycle before the sum: it is one of the flush, of the first product, of the second one
    input  wire           fin_a,
    input  wire           fin_b,
    output wire [O_W-1:0] o_new,
    // Two cycles after fin_b
    output wire [15:0]    out,

    // o' one cycle after fin_en
    output wire [15:0]    tap_o
);

    generate
        if (O_W < 26 || O_W > 48) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_lane_needs_O_W_26_48 stop ();
        end
    endgenerate

    // Weights carry 15 fraction bits, output sums 7: 8 bits are rounded away. The sum is made
    // with them, one addition for both.
    localparam SUM_W = O_W + 8;
    localparam [7:0] HALF_STEP = 8'd128;
    // out = sum / 2^15, rounded.
    localparam [33:0] HALF_FIN = 34'd16384;
    // Bits of a product's rows, and minus their bias (sofa_mult_rows).
    localparam P_W = 34;
    localparam [SUM_W-1:0] MINUS_BIAS = -{{(SUM_W - P_W){1'b0}}, {9{2'b01}}, 16'd0};

    reg  [O_W-1:0]   o_sh_reg;
    reg  [15:0]      x_reg;
    reg  [P_W-1:0]   s_reg, c_reg;
    reg  [33:0]      fin_reg;

    wire [P_W-1:0]   s_row, c_row;
    // Kind of the sum, a register in each lane: one of three is set.
    reg              pair_reg, fin_a_reg, fin_b_reg;
    wire [SUM_W-1:0] base = ({SUM_W{pair_reg}} & {o_sh_reg, HALF_STEP})
                            | ({SUM_W{fin_a_reg}} & {{(SUM_W - 34){1'b0}}, HALF_FIN})
                            | ({SUM_W{fin_b_reg}} & {{(SUM_W - 34){fin_reg[33]}}, fin_reg});
    // The product as two rows without bias, modulo 2^SUM_W; o is late and comes after them.
    wire [SUM_W-1:0] prod_s, prod_c;
    wire [SUM_W-1:0] sum = base + prod_s + prod_c;

    sofa_add_rows #(
        .IN  (3),
        .W   (SUM_W),
        .OUT (2)
    ) prod_inst (
        .rows ({{{(SUM_W - P_W){1'b0}}, s_reg}, {{(SUM_W - P_W){1'b0}}, c_reg}, MINUS_BIAS}),
        .sums ({prod_c, prod_s})
    );

    // (o + 1) / 2 is o / 2 plus the bit shifted out, saturated to 16 bits. What would be rounded
    // up beyond the largest number is not rounded.
    function automatic [15:0] half_sat;
        input [O_W-1:0] acc;
        reg             up;
        begin
            up       = acc[0] && (acc[16] || !(&acc[15:1]));
            half_sat = (&acc[O_W-1:16] || !(|acc[O_W-1:16]))
                ? acc[16:1] + {15'd0, up} : {acc[O_W-1], {15{!acc[O_W-1]}}};
        end
    endfunction

    function automatic [15:0] out_sat;
        input [33:15] total;
        begin
            out_sat = (&total[33:30] || !(|total[33:30])) ? total[30:15]
                                                          : {total[33], {15{!total[33]}}};
        end
    endfunction

    assign o_new = sum[SUM_W-1:8];
    assign out   = out_sat(fin_reg[33:15]);
    assign tap_o = x_reg;

    sofa_mult_rows #(
        .A_W    (16),
        .DIGITS (9)
    ) mult_inst (
        .a (x_reg),
        .d (p_d),
        .m (p_m),
        .s (s_row),
        .c (c_row)
    );

    always @(posedge clk) begin
        if (sh_en) begin
            if (sh_zero) begin
                o_sh_reg <= {O_W{1'b0}};
            end else begin
                o_sh_reg <= $signed(o_rd) >>> sh;
            end
        end
        if (fin_en) begin
            x_reg <= half_sat(o_sh_reg);
        end else if (v_en) begin
            x_reg <= v;
        end
        if (mul_en) begin
            s_reg <= s_row;
            c_reg <= c_row;
        end
        pair_reg  <= !fin_a && !fin_b;
        fin_a_reg <= fin_a;
        fin_b_reg <= fin_b;
        if (fin_a_reg || fin_b_reg) begin
            fin_reg <= sum[33:0];
        end
    end

endmodule

`resetall
