// SPDX-License-Identifier: Apache-2.0
// Sum of IN numbers as OUT numbers, made of full adders: stands in the place of sofa_add_rows in a
// chip.
//
//   rows -> levels of adders, three rows into two each -> sums
//
// Why: the same as sofa_add_rows, whose comments hold here.
// Latency: combinational. Source: Wallace's tree.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_add_tree #(
    // Numbers, 3..64, and bits of each; numbers out, 2..IN - 1. After each level but the last three
    // rows are two; the last one stops at OUT.
    parameter IN = 4,
    parameter W = 32,
    parameter OUT = 2
) (
    input  wire [IN*W-1:0]  rows,
    output wire [OUT*W-1:0] sums
);

    generate
        if (IN < 3 || IN > 64 || OUT < 2 || OUT >= IN || W < 2) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_add_tree_needs_IN_3_64_OUT_2_to_IN_less_1_W_2 stop ();
        end
    endgenerate

    // Rows that are left after a number of levels.
    function integer rows_after;
        input integer levels;
        integer k;
        begin
            rows_after = IN;
            for (k = 0; k < levels; k = k + 1) begin
                rows_after = rows_after - rows_after / 3;
            end
            if (rows_after < OUT) begin
                rows_after = OUT;
            end
        end
    endfunction

    function integer levels_of;
        input integer start;
        integer n;
        begin
            levels_of = 0;
            for (n = start; n > OUT; n = n - n / 3) begin
                levels_of = levels_of + 1;
            end
        end
    endfunction

    localparam LEVELS = levels_of(IN);

    genvar l, g;
    generate
        for (l = 0; l < LEVELS; l = l + 1) begin : g_level
            localparam N = rows_after(l);
            localparam M = rows_after(l + 1);
            localparam ADDERS = N - M;
            wire [N*W-1:0] in;
            wire [M*W-1:0] out;

            if (l == 0) begin : g_in
                assign in = rows;
            end else begin : g_in
                assign in = g_level[l-1].out;
            end
            for (g = 0; g < ADDERS; g = g + 1) begin : g_add
                wire [W-1:0] x = in[3*g*W +: W];
                wire [W-1:0] y = in[(3*g+1)*W +: W];
                wire [W-1:0] z = in[(3*g+2)*W +: W];
                assign out[2*g*W +: W] = x ^ y ^ z;
                // The sum of all rows has W bits, so that no carry leaves.
                assign out[(2*g+1)*W +: W] = ((x & y) | (z & (x | y))) << 1;
            end
            for (g = 2 * ADDERS; g < M; g = g + 1) begin : g_pass
                assign out[g*W +: W] = in[(g+ADDERS)*W +: W];
            end
        end
    endgenerate

    assign sums = g_level[LEVELS-1].out;

`ifdef FORMAL
    // At these sizes the solver sees the whole sum; at all of them property 1, from which that
    // follows.
    localparam F_WHOLE = IN * W <= 36;

    integer       f_i;
    reg   [W-1:0] f_in, f_out;

    generate
        for (l = 0; l < LEVELS; l = l + 1) begin : f_level
            localparam N = rows_after(l);
            localparam M = rows_after(l + 1);
            for (g = 0; g < M; g = g + 1) begin : f_row
                always @* begin
                    // 1. Two rows out of an adder have the sum of the three rows in; the other
                    //    rows pass.
                    if (g >= 2 * (N - M)) begin
                        assert (g_level[l].out[g*W +: W] == g_level[l].in[(g+N-M)*W +: W]);
                    end else if (g % 2 == 0) begin
                        assert (g_level[l].out[g*W +: W] + g_level[l].out[(g+1)*W +: W]
                                == g_level[l].in[(g/2*3)*W +: W] + g_level[l].in[(g/2*3+1)*W +: W]
                                   + g_level[l].in[(g/2*3+2)*W +: W]);
                    end
                end
            end
        end
    endgenerate

    always @* begin
        f_in  = {W{1'b0}};
        f_out = {W{1'b0}};
        for (f_i = 0; f_i < IN; f_i = f_i + 1) begin
            f_in = f_in + rows[f_i*W +: W];
        end
        for (f_i = 0; f_i < OUT; f_i = f_i + 1) begin
            f_out = f_out + sums[f_i*W +: W];
        end
        // 2. The numbers out have the sum of those in: what sofa_add_rows makes.
        assert (!F_WHOLE || f_in == f_out);

        cover (f_out == {W{1'b1}} && rows[W-1] && rows[2*W-1]);
    end
`endif

endmodule

`resetall
