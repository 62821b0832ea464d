// SPDX-License-Identifier: Apache-2.0
// Product of a signed number and one that is given as digits, as two rows: s + c = a*b + BIAS, made
// of full adders: stands in the place of sofa_mult_rows in a chip.
//
//   a, d, m -> a row for each digit, digit * a -> sofa_add_tree -> s, c
//
// Why: the same as sofa_mult_rows, whose comments hold here. A row is digit*a with the sign bit
// inverted, which adds 2^A_W at its place: these are the BIAS. A negative row is the inverse of a
// positive one and 1 more, which stands in the empty bits of the next row; the one of the last row
// is added to its lowest bits, and the carry stands above the first row.
// Not done here: the digits (sofa_mult_digits), adding the two rows.
// Latency: combinational. Source: Booth's multiplier in base 4; Wallace's tree.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_mult_tree #(
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
            illegal_parameter_sofa_mult_tree_needs_A_W_4_32_DIGITS_3_17 stop ();
        end
    endgenerate

    localparam M_W = A_W + 1;
    localparam LAST = DIGITS - 1;
    // Row 0 is empty from bit M_W on: the last row has so many bits below that.
    localparam LOW = M_W > 2 * LAST ? M_W - 2 * LAST : 0;

    wire [M_W-1:0]      once = {a[A_W-1], a};
    wire [M_W-1:0]      twice = {a, 1'b0};
    wire [DIGITS-1:0]   minus;
    wire [DIGITS*M_W-1:0] part;
    // The last row with its 1 added to the lowest LOW bits, and the carry.
    wire [M_W-1:0]      last;
    wire                carry;
    // Rows for the tree, of digits 1, 2, ..., 0, last: what comes late goes in late.
    wire [DIGITS*R_W-1:0] rows;
    // Of the two equal bits of a digit one is used.
    wire                unused_m = &{1'b0, m};

    genvar i;
    generate
        if (LOW == 0) begin : g_last
            assign {carry, last} = {minus[LAST], part[LAST*M_W +: M_W]};
        end else begin : g_last
            wire [LOW:0] sum = {1'b0, part[LAST*M_W +: LOW]} + {{LOW{1'b0}}, minus[LAST]};
            assign {carry, last} = {sum[LOW], part[LAST*M_W + LOW +: M_W - LOW], sum[LOW-1:0]};
        end
        for (i = 0; i < DIGITS; i = i + 1) begin : g_row
            localparam AT = i == LAST ? LAST : (i == 0 ? LAST - 1 : i - 1);
            wire [M_W-1:0] chosen = ({M_W{d[2*i]}} & once) | ({M_W{d[2*i+1]}} & twice);
            wire [M_W-1:0] value;

            assign minus[i] = m[2*i];
            assign part[i*M_W +: M_W] = chosen ^ {M_W{minus[i]}};
            if (i == LAST) begin : g_value
                assign value = {!last[A_W], last[A_W-1:0]};
            end else begin : g_value
                assign value = {!part[i*M_W + A_W], part[i*M_W +: A_W]};
            end
            if (i == LAST) begin : g_place
                // Between this row and the 1 of the one before is a bit for the half.
                assign rows[AT*R_W +: R_W] =
                    ({{(R_W - M_W){1'b0}}, value} << (2 * i))
                    | ({{(R_W - 2){1'b0}}, HALF != 0, minus[i-1]} << (2 * i - 2));
            end else if (i == 0) begin : g_place
                assign rows[AT*R_W +: R_W] = {{(R_W - M_W){1'b0}}, value}
                    | ({{(R_W - 1){1'b0}}, carry} << (2 * LAST + LOW));
            end else begin : g_place
                assign rows[AT*R_W +: R_W] =
                    ({{(R_W - M_W){1'b0}}, value} << (2 * i))
                    | ({{(R_W - 1){1'b0}}, minus[i-1]} << (2 * i - 2));
            end
        end
    endgenerate

    sofa_add_tree #(
        .IN  (DIGITS),
        .W   (R_W),
        .OUT (2)
    ) tree_inst (
        .rows (rows),
        .sums ({c, s})
    );

`ifdef FORMAL
    // Bits of a digit's product with its bias
    localparam F_W = A_W + 2;
    // At these widths the solver sees the whole sum; at all of them properties 1 and 2, and those
    // of sofa_add_tree, from which it follows.
    localparam F_WHOLE = A_W * DIGITS <= 18;

    integer       f_i;
    reg [R_W-1:0] f_sum, f_row;

    generate
        for (i = 0; i < DIGITS; i = i + 1) begin : f_digit
            localparam AT = i == LAST ? LAST : (i == 0 ? LAST - 1 : i - 1);
            // The digit times a, with its bias 2^A_W
            wire [F_W-1:0] f_a = {{2{a[A_W-1]}}, a};
            wire [F_W-1:0] f_times = (f_a & {F_W{d[2*i]}}) + ((f_a << 1) & {F_W{d[2*i+1]}});
            wire [F_W-1:0] f_want = (m[2*i] ? -f_times : f_times) + {2'b01, {A_W{1'b0}}};
            wire [F_W-1:0] f_one = i == LAST ? {{(F_W - 1){1'b0}}, carry} << LOW
                                             : {{(F_W - 1){1'b0}}, minus[i]};
            wire [R_W-1:0] f_at = {{(R_W - M_W){1'b0}}, g_row[i].value} << (2 * i);

            always @* begin
                // 1. A digit's value, and the 1 which stands elsewhere, are its product and bias.
                assert ({1'b0, g_row[i].value} + f_one == f_want);
                // 2. A row of the tree is the value at its place and the 1 of another digit, the
                //    last one with the half.
                assert (rows[AT*R_W +: R_W]
                        == f_at + (i == LAST ? HALF << (2 * DIGITS - 3) : {R_W{1'b0}})
                                + (i == 0 ? {{(R_W - 1){1'b0}}, carry} << (2 * LAST + LOW)
                                          : {{(R_W - 1){1'b0}}, minus[i > 0 ? i - 1 : 0]}
                                            << (2 * i - 2)));
            end
        end
    endgenerate

    always @* begin
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
        // 3. The two rows are the product, all biases and the half: what sofa_mult_rows makes.
        assert (!F_WHOLE || s + c == f_sum);

        cover (a == {1'b1, {(A_W - 1){1'b0}}} && d[2*DIGITS-1] && m[2*DIGITS-1]);
        cover (&m && d == {DIGITS{2'b01}} && a != 0);
    end
`endif

endmodule

`resetall
