// SPDX-License-Identifier: Apache-2.0
// One cell of the prediction array: shifts the key element by the query code and accumulates.
//
// Why: term = +-k8 * 2^exp, the DLZS replacement of a product. The shift goes right, against the
// largest exponent, and what falls out is dropped: scores only rank. A negative sign is applied
// as ones' complement of the term; the missing +1 is the same for all keys of a row.
// Not done here: saturation; the sum of D_MAX terms fits SC_W bits.
// Latency: acc is the sum including the term of the last enabled cycle. Throughput: a term a cycle.
// Source: SOFA, MICRO 2024, DLZS; formats in docs/architecture.md 5.2.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_cell #(
    // Fraction bits of a term, 0..8.
    parameter SC_FRAC = 3,
    // 1: add a second term for the code's `next` bit.
    parameter TWO_TERM = 0,
    // Bits of a code. Derived: leave at its default.
    parameter CODE_W = 5 + TWO_TERM,
    // Bits of the score, 8 + SC_FRAC + log2 of the largest number of terms.
    parameter SC_W = 18
) (
    input  wire              clk,

    // Take this cycle's operands; otherwise acc stays.
    input  wire              en,
    // The term starts a new sum.
    input  wire              first,
    input  wire [7:0]        k8,
    // {[next,] sign, exp[3:0]}; exp 0: zero
    input  wire [CODE_W-1:0] code,

    output wire [SC_W-1:0]   acc
);

    generate
        if (SC_FRAC < 0 || SC_FRAC > 8 || TWO_TERM < 0 || TWO_TERM > 1 || CODE_W != 5 + TWO_TERM
                || SC_W <= 8 + SC_FRAC) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_dlzs_cell_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    // A term with the places that the largest shift drops
    localparam WIDE_W = SC_W + 15;

    // The sum with the term of a code. The sign is applied before the shift, which keeps a
    // complement.
    function automatic [SC_W-1:0] plus;
        input [SC_W-1:0]   sum;
        input [7:0]        element;
        input [CODE_W-1:0] by;
        reg   [WIDE_W-1:0] wide;
        reg   [SC_W-1:0]   one;
        reg                both;
        begin
            wide = {{(WIDE_W - 8){element[7]}}, element} << SC_FRAC;
            wide = (wide ^ {WIDE_W{by[4]}}) >> ~by[3:0];
            one  = wide[SC_W-1:0] & {SC_W{|by[3:0]}};
            plus = sum + one;
            if (TWO_TERM != 0) begin
                // ~(a + b) = ~a + ~b + 1: with two complemented terms one is missing.
                both = by[CODE_W-1] && |by[3:0];
                plus = plus + ({one[SC_W-1], one[SC_W-1:1]} & {SC_W{both}})
                    + {{(SC_W - 1){1'b0}}, both && by[4]};
            end
        end
    endfunction

    reg [SC_W-1:0] acc_reg;

    assign acc = acc_reg;

    always @(posedge clk) begin
        if (en) begin
            acc_reg <= plus(first ? {SC_W{1'b0}} : acc_reg, k8, code);
        end
    end

endmodule

`resetall
