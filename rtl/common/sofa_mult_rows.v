// SPDX-License-Identifier: Apache-2.0
// Product of a signed number and one that is given as digits, as two rows: s + c = a*b + BIAS.
//
// Why: who adds products up needs no sum of the two rows before, and a register behind them cuts
// the path where it is short. BIAS makes the sum positive: rows are numbers without a sign, their
// sum has no carry beyond R_W bits, and the user subtracts all biases at once at the end.
//   BIAS = sum of 2^(A_W + 2*i) over the digits i: 0x5555 << 16 for 16 bits and 8 digits
// Here c is 0 and s made by `*`, which simulators and FPGAs do best. In a chip sofa_mult_tree
// stands in the place of this module: other rows, same sum.
// Not done here: the digits (sofa_mult_digits).
// Latency: combinational.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_mult_rows #(
    // Bits of a, 4..32; digits of b, 3..17.
    parameter A_W = 16,
    parameter DIGITS = 8,
    // 1: 2^(2*DIGITS - 3) more, which rounds where the lowest 2*DIGITS - 2 bits are dropped.
    parameter HALF = 0,
    // Derived: leave at its default.
    parameter R_W = A_W + 2 * DIGITS
) (
    input  wire [A_W-1:0]      a,
    // Digits of b (sofa_mult_digits)
    input  wire [2*DIGITS-1:0] d,
    input  wire [2*DIGITS-1:0] m,
    output wire [R_W-1:0]      s,
    output wire [R_W-1:0]      c
);

    generate
        if (A_W < 4 || A_W > 32 || DIGITS < 3 || DIGITS > 17 || HALF < 0 || HALF > 1)
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_mult_rows_needs_A_W_4_32_DIGITS_3_17 stop ();
        end
    endgenerate

    localparam [R_W-1:0] BIAS = {{DIGITS{2'b01}}, {A_W{1'b0}}};
    localparam [R_W-1:0] HALF_ONE = {{(R_W - 1){1'b0}}, 1'b1} << (2 * DIGITS - 3);

    wire signed [A_W-1:0]      a_signed = a;
    // The amounts, and those of negative digits twice less.
    wire signed [2*DIGITS+1:0] b = {2'b00, d} - {1'b0, d & m, 1'b0};
    wire signed [R_W-1:0]      product = a_signed * b;

    assign s = product + BIAS + (HALF != 0 ? HALF_ONE : {R_W{1'b0}});
    assign c = {R_W{1'b0}};

`ifdef FORMAL
    integer       f_i;
    reg [R_W-1:0] f_sum, f_row;

    always @* begin
        // Biases, the half, and each digit times a at its place
        f_sum = {{DIGITS{2'b01}}, {A_W{1'b0}}};
        f_sum = f_sum + (HALF << (2 * DIGITS - 3));
        for (f_i = 0; f_i < DIGITS; f_i = f_i + 1) begin
            // Digits are those of sofa_mult_digits.
            assume (d[2*f_i +: 2] != 2'd3 && m[2*f_i] == m[2*f_i+1]);
            f_row = {{(R_W - A_W){a[A_W-1]}}, a};
            f_row = (f_row & {R_W{d[2*f_i]}}) + ((f_row << 1) & {R_W{d[2*f_i+1]}});
            f_row = f_row << (2 * f_i);
            f_sum = m[2*f_i] ? f_sum - f_row : f_sum + f_row;
        end
        // 1. The two rows are the product, the bias and the half.
        assert (s + c == f_sum);

        cover (a == {1'b1, {(A_W - 1){1'b0}}} && d[2*DIGITS-1] && m[2*DIGITS-1]);
        cover (&m && d == {DIGITS{2'b01}} && a != 0);
    end
`endif

endmodule

`resetall
