// SPDX-License-Identifier: Apache-2.0
// One cell of the prediction array: shifts the key element by the query code and accumulates.
//
// Why: term = +-k8 * 2^exp, or +-1.5 * k8 * 2^exp, the DLZS replacement of a product. The shift
// goes right, against the largest exponent, and what falls out is dropped: scores only rank. A
// negative sign is applied as ones' complement of the term; the missing +1 is the same for all keys
// of a row. 3 * k8 comes from outside, since a column's cells share it: a second shifted term and
// its addition in every cell would be a quarter more area.
// Not done here: saturation; the sum of D_MAX terms fits SC_W bits.
// Latency: acc is the sum including the term of the last enabled cycle. Throughput: a term a cycle.
// Source: SOFA, MICRO 2024, DLZS; formats in docs/architecture.md 5.2.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_cell #(
    // Fraction bits of a term, 0..8.
    parameter SC_FRAC = 2,
    // 1: the code's `next` bit makes 2^exp 1.5 * 2^exp.
    parameter TWO_TERM = 0,
    // Bits of a code. Derived: leave at its default.
    parameter CODE_W = 5 + TWO_TERM,
    // Bits of the score, 8 + SC_FRAC + log2 of the largest number of terms.
    parameter SC_W = 17
) (
    input  wire              clk,

    // Take this cycle's operands; otherwise acc stays.
    input  wire              en,
    // The term starts a new sum.
    input  wire              first,
    input  wire [7:0]        k8,
    // 3 * k8; not used without TWO_TERM
    input  wire [9:0]        k8x3,
    // {[next,] sign, exp[3:0]}; exp 0: zero; next only where exp is 14 or less
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

    // Places below twice the number: its fraction bits, and 15 that the largest shift drops
    localparam LOW = SC_FRAC + 14;
    // Bits of a term
    localparam T_W = SC_FRAC + 9;

    // The term of a code. Twice the number is shifted by 16 - exp, so that 1.5 is one more whole
    // bit. The sign is applied before the shift, which keeps a complement.
    function automatic [SC_W-1:0] term;
        input [9:0]      twice;
        input [4:0]      by;
        reg   [LOW+9:0]  wide;
        begin
            wide = {twice ^ {10{by[4]}}, {LOW{by[4]}}};
            wide = $signed(wide) >>> ~by[3:0];
            term = {{(SC_W - T_W){wide[LOW+9]}}, wide[LOW+9:15]} & {SC_W{|by[3:0]}};
        end
    endfunction

    wire [9:0] k8x2  = {k8[7], k8, 1'b0};
    // Both have the same sign.
    wire [9:0] chosen = {k8x3[9], code[CODE_W-1] ? k8x3[8:0] : k8x2[8:0]};
    wire [9:0] twice = TWO_TERM != 0 ? chosen : k8x2;

    reg [SC_W-1:0] acc_reg;

    assign acc = acc_reg;

    always @(posedge clk) begin
        if (en) begin
            acc_reg <= (first ? {SC_W{1'b0}} : acc_reg) + term(twice, code[4:0]);
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    localparam F_W = 11 + SC_FRAC;
    // The definition: twice or three times the number, shifted right against the largest exponent
    wire signed [F_W-1:0] f_k8   = {{(F_W - 8){k8[7]}}, k8};
    wire                  f_next = TWO_TERM != 0 && code[CODE_W-1];
    wire signed [F_W-1:0] f_x    = (f_next ? f_k8 + f_k8 + f_k8 : f_k8 + f_k8) <<< SC_FRAC;
    wire signed [F_W-1:0] f_cut  = f_x >>> (5'd16 - code[3:0]);
    wire signed [F_W-1:0] f_term = code[3:0] == 4'd0 ? {F_W{1'b0}} : (code[4] ? ~f_cut : f_cut);
    wire signed [SC_W-1:0] f_wide = f_term;

    always @* begin
        // The column's triple, and no exponent 15 with a next bit
        assume (k8x3 == {{2{k8[7]}}, k8} + {{2{k8[7]}}, k8} + {{2{k8[7]}}, k8});
        assume (!f_next || code[3:0] != 4'd15);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        if (started) begin
            // 1. The sum takes the term of each enabled cycle, from nothing where it is the first.
            if ($past(en)) begin
                assert (acc == ($past(first) ? {SC_W{1'b0}} : $past(acc)) + $past(f_wide));
            end else begin
                // 2. Else it stays.
                assert (acc == $past(acc));
            end
        end
        // 3. A term has 8 + SC_FRAC bits and a sign, so that 2^(SC_W - 9 - SC_FRAC) of them fit.
        assert (f_term[F_W-1:8+SC_FRAC] == {(F_W - 8 - SC_FRAC){f_term[F_W-1]}});

        cover (started && $past(en && !first && code[4] && code[3:0] == 4'd14) && acc != 0);
        cover (started && $past(f_next == TWO_TERM && en && f_term < -200));
        cover (f_term == -1 && code[3:0] == 4'd1);
    end
`endif

endmodule

`resetall
