// SPDX-License-Identifier: Apache-2.0
// One multiplier of the projection array with its accumulator and the copy of a finished sum.
//
// Why: a lane of one token. The sum is exact; the copy lets the next pass start while the sums of
// the last one are drained. Products stay two rows with a bias (sofa_mult_rows): a sum starts from
// minus the biases of all its products.
// Not done here: rounding (sofa_kvgen_drain), any control.
// Latency: product one cycle, sum one, copy one. Throughput: one product a cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_mac #(
    // Bits of the sum, 33..64: 32 + log2 of the largest number of products.
    parameter ACC_W = 42
) (
    input  wire              clk,

    input  wire [15:0]       w,
    // Digits of x (sofa_mult_digits)
    input  wire [15:0]       x_d,
    input  wire [15:0]       x_m,
    // What a sum starts from
    input  wire [ACC_W-1:16] job_start,
    // Multiply w and x, a sum starts with this product; add the product; copy the sum
    input  wire              mul_en,
    input  wire              mul_first,
    input  wire              acc_en,
    input  wire              copy_en,

    output wire [ACC_W-1:0]  sum
);

    generate
        if (ACC_W < 33 || ACC_W > 64) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_mac_needs_ACC_W_33_to_64 stop ();
        end
    endgenerate

    reg              first_reg;
    reg  [31:0]      s_reg, c_reg;
    reg  [ACC_W-1:0] acc_reg;
    reg  [ACC_W-1:0] sum_reg;

    wire [31:0]      s, c;
    wire [ACC_W-1:0] from = first_reg ? {job_start, 16'd0} : acc_reg;

    assign sum = sum_reg;

    sofa_mult_rows #(
        .A_W    (16),
        .DIGITS (8)
    ) mult_inst (
        .a (w),
        .d (x_d),
        .m (x_m),
        .s (s),
        .c (c)
    );

    always @(posedge clk) begin
        if (mul_en) begin
            first_reg <= mul_first;
            s_reg     <= s;
            c_reg     <= c;
        end
        if (acc_en) begin
            acc_reg <= from + {{(ACC_W - 32){1'b0}}, s_reg} + {{(ACC_W - 32){1'b0}}, c_reg};
        end
        if (copy_en) begin
            sum_reg <= acc_reg;
        end
    end

endmodule

`resetall
