// SPDX-License-Identifier: Apache-2.0
// Digits -2..2 in base 4 of a number, the factor of sofa_mult_rows that chooses the rows.
//
// Why: all multipliers with a common factor share its digits, and a register for the digits in the
// place of one for the number takes their making out of the multiplier's path.
// Bits 2i + 1, 2i of d are the amount of digit i; the same bits of m are both 1 where it is
// negative (one register in a chip: they are equal).
// Latency: combinational. Source: Booth's recoding in base 4.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_mult_digits #(
    // Bits of the number, even, 4..32; 1: it has a sign.
    parameter B_W = 16,
    parameter B_SIGNED = 1,
    // Derived: leave at its default.
    parameter DIGITS = B_SIGNED != 0 ? B_W / 2 : B_W / 2 + 1
) (
    input  wire [B_W-1:0]      b,
    output wire [2*DIGITS-1:0] d,
    output wire [2*DIGITS-1:0] m
);

    generate
        if (B_W < 4 || B_W > 32 || B_W % 2 != 0) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_mult_digits_needs_B_W_even_4_to_32 stop ();
        end
    endgenerate

    localparam D_W = 2 * DIGITS;
    localparam [D_W-1:0] EVEN = {DIGITS{2'b01}};

    wire           sign = B_SIGNED != 0 && b[B_W-1];
    // At bit 2i the three bits that make digit i: x2*-2 + x1 + x0.
    wire [D_W+1:0] ext = {{(D_W + 1 - B_W){sign}}, b, 1'b0};
    wire [D_W-1:0] x2 = ext[D_W+1:2];
    wire [D_W-1:0] x1 = ext[D_W:1];
    wire [D_W-1:0] x0 = ext[D_W-1:0];
    wire [D_W-1:0] one = (x1 ^ x0) & EVEN;
    wire [D_W-1:0] two = ((x2 & ~x1 & ~x0) | (~x2 & x1 & x0)) & EVEN;
    wire [D_W-1:0] minus = x2 & ~(x1 & x0) & EVEN;

    assign d = one | (two << 1);
    assign m = minus | (minus << 1);

`ifdef FORMAL
    integer    i;
    reg [39:0] f_sum;
    wire       f_sign = B_SIGNED != 0 && b[B_W-1];

    always @* begin
        f_sum = 40'd0;
        for (i = 0; i < DIGITS; i = i + 1) begin
            f_sum = m[2*i] ? f_sum - ({38'd0, d[2*i +: 2]} << (2 * i))
                           : f_sum + ({38'd0, d[2*i +: 2]} << (2 * i));
            // 1. A digit's amount is at most 2.
            assert (d[2*i +: 2] != 2'd3);
            // 2. The two bits of its sign are equal.
            assert (m[2*i] == m[2*i+1]);
        end
        // 3. The digits in base 4 are the number.
        assert (f_sum == {{(40 - B_W){f_sign}}, b});

        cover (m[2*DIGITS-1 -: 4] != 0 && d[1:0] == 2'd2);
        cover (b == {1'b1, {(B_W - 1){1'b0}}});
    end
`endif

endmodule

`resetall
