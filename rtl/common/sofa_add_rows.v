// SPDX-License-Identifier: Apache-2.0
// Sum of IN numbers as OUT numbers.
//
// Why: a long sum needs one addition with carries, at its end; before, three rows become two by
// full adders. Between registers no more rows are put together than the path has room for.
// Here the first number is the whole sum and the others are 0. In a chip sofa_add_tree stands in
// the place of this module: other rows, same sum.
// Latency: combinational.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_add_rows #(
    // Numbers, 3..64, and bits of each; numbers out, 2..IN - 1.
    parameter IN = 4,
    parameter W = 32,
    parameter OUT = 2
) (
    // Numbers without a sign, whose sum has W bits
    input  wire [IN*W-1:0]  rows,
    output wire [OUT*W-1:0] sums
);

    generate
        if (IN < 3 || IN > 64 || OUT < 2 || OUT >= IN || W < 2) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_add_rows_needs_IN_3_64_OUT_2_to_IN_less_1_W_2 stop ();
        end
    endgenerate

    integer       i;
    reg   [W-1:0] total;

    always @* begin
        total = {W{1'b0}};
        for (i = 0; i < IN; i = i + 1) begin
            total = total + rows[i*W +: W];
        end
    end

    assign sums = {{((OUT - 1) * W){1'b0}}, total};

`ifdef FORMAL
    integer       f_i;
    reg   [W-1:0] f_in, f_out;

    always @* begin
        f_in  = {W{1'b0}};
        f_out = {W{1'b0}};
        for (f_i = 0; f_i < IN; f_i = f_i + 1) begin
            f_in = f_in + rows[f_i*W +: W];
        end
        for (f_i = 0; f_i < OUT; f_i = f_i + 1) begin
            f_out = f_out + sums[f_i*W +: W];
        end
        // 1. The numbers out have the sum of those in.
        assert (f_in == f_out);

        cover (f_out == {W{1'b1}} && rows[W-1] && rows[2*W-1]);
    end
`endif

endmodule

`resetall
