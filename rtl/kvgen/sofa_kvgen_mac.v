// SPDX-License-Identifier: Apache-2.0
// One multiplier of the projection array with its accumulator and the copy of a finished sum.
//
// Why: a lane of one token. The sum is exact; the copy lets the next pass start while the sums of
// the last one are drained.
// Not done here: rounding (sofa_kvgen_drain), any control.
// Latency: product one cycle, sum one, copy one. Throughput: one product a cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_mac #(
    // Bits of the sum, 33..64: 32 + log2 of the largest number of products.
    parameter ACC_W = 42
) (
    input  wire             clk,

    input  wire [15:0]      w,
    input  wire [15:0]      x,
    // Multiply w and x; add the product; add it to nothing; copy the sum
    input  wire             mul_en,
    input  wire             acc_en,
    input  wire             acc_first,
    input  wire             copy_en,

    output wire [ACC_W-1:0] sum
);

    generate
        if (ACC_W < 33 || ACC_W > 64) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_mac_needs_ACC_W_33_to_64 stop ();
        end
    endgenerate

    reg [31:0]      prod_reg;
    reg [ACC_W-1:0] acc_reg;
    reg [ACC_W-1:0] sum_reg;

    wire [31:0]      prod = $signed(w) * $signed(x);
    wire [ACC_W-1:0] from = acc_first ? {ACC_W{1'b0}} : acc_reg;

    assign sum = sum_reg;

    always @(posedge clk) begin
        if (mul_en) begin
            prod_reg <= prod;
        end
        if (acc_en) begin
            acc_reg <= from + {{(ACC_W - 32){prod_reg[31]}}, prod_reg};
        end
        if (copy_en) begin
            sum_reg <= acc_reg;
        end
    end

endmodule

`resetall
