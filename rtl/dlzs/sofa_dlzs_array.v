// SPDX-License-Identifier: Apache-2.0
// Prediction array: ROWS x COLS cells, one element of all queries against all columns a cycle.
//
//   code, k8 ->[ ]-> group 0 cells --+
//               +->[ ]-> group 1 ----+-> word (one group of 4 columns a cycle)
//                    +->[ ]-> ...  --+
//
// Why: scores leave in words of 4 columns, the width of the stage behind. The column groups are
// skewed: group g works g cycles after group 0, so the groups finish one after the other and each
// is read straight from its accumulators in the one cycle before the next sum overwrites them. No
// copy of the ROWS*COLS accumulators exists, and the next pass follows without a bubble. When a
// word must wait, the array freezes as it stands (en low); nothing is lost.
// Not done here: an output register (sofa_dlzs.v; the words of a predict job need none).
// Latency: group g's word stands PASS + 1 + g enabled cycles after the cycle of in_first, for
// PASS terms. Throughput: one term in every cell a cycle.
// Errors: none are found. A pass needs at least COLS/4 terms.
// Source: SOFA, MICRO 2024, DLZS phase 1.2.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_array #(
    // Query rows, 1..128.
    parameter ROWS = 4,
    // Columns, a power of two, 4..32: the shortest pass has 8 terms, one for each group.
    parameter COLS = 4,
    // Fraction bits of a term, 0..8.
    parameter SC_FRAC = 2,
    // 1: the code's `next` bit makes 2^exp 1.5 * 2^exp.
    parameter TWO_TERM = 0,
    // Bits of a score, 8 + SC_FRAC + log2 of the largest number of terms.
    parameter SC_W = 14,
    // Derived: leave at their defaults.
    parameter CODE_W = 5 + TWO_TERM,
    parameter GROUP_W = COLS > 4 ? $clog2(COLS) - 2 : 1
) (
    input  wire                   clk,
    input  wire                   rst,

    // Everything advances; low freezes the array. Must be low while a word waits.
    input  wire                   en,

    // Operands: the same element of all rows and columns
    input  wire                   in_valid,
    // First, last term of a pass
    input  wire                   in_first,
    input  wire                   in_last,
    // With in_last: the pass is the last one of its turn; its last group that gives a word
    input  wire                   in_turn_last,
    input  wire [GROUP_W-1:0]     in_group,
    input  wire [ROWS*CODE_W-1:0] in_code,
    input  wire [COLS*8-1:0]      in_k8,
    // Three times the elements of the first four columns, signed; with TWO_TERM = 0 not used
    input  wire [39:0]            in_k8x3,

    // One group's scores; they leave at the next enabled edge
    output wire                   word_valid,
    output wire                   word_last,
    // Row r, column 4*group + j at slice 4*r + j. 0 while word_valid is low
    output wire [ROWS*4*SC_W-1:0] word_scores
);

    generate
        if (ROWS < 1 || ROWS > 128) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_ROWS_needs_1_to_128 stop ();
        end else if (COLS < 4 || COLS > 32 || COLS != (1 << $clog2(COLS))) begin : g_illegal
            illegal_parameter_COLS_needs_power_of_two_4_to_32 stop ();
        end else if (CODE_W != 5 + TWO_TERM
                || GROUP_W != (COLS > 4 ? $clog2(COLS) - 2 : 1)) begin : g_illegal
            illegal_parameter_CODE_W_and_GROUP_W_are_derived stop ();
        end
    endgenerate

    // Columns of a word
    localparam LANES = 4;
    localparam NGRP = COLS / LANES;

    wire [NGRP-1:0] ending;
    wire [NGRP-1:0] ending_last;

    genvar g, s, r, j;
    generate
        for (g = 0; g < NGRP; g = g + 1) begin : g_group
            localparam C0 = g * LANES;
            localparam [31:0] G = g;

            // Control of this group's operands
            wire               from_valid, from_first, from_last, from_turn_last;
            wire [GROUP_W-1:0] from_group;
            reg                valid_reg, first_reg, last_reg, turn_last_reg;
            reg  [GROUP_W-1:0] group_reg;
            // The sums are complete.
            reg                done_reg;

            if (g == 0) begin : g_from
                assign from_valid     = in_valid;
                assign from_first     = in_first;
                assign from_last      = in_last;
                assign from_turn_last = in_turn_last;
                assign from_group     = in_group;
                assign ending[g]      = valid_reg && last_reg;
            end else begin : g_from
                assign from_valid     = g_group[g-1].valid_reg;
                assign from_first     = g_group[g-1].first_reg;
                assign from_last      = g_group[g-1].last_reg;
                assign from_turn_last = g_group[g-1].turn_last_reg;
                assign from_group     = g_group[g-1].group_reg;
                assign ending[g]      = valid_reg && last_reg && group_reg >= G[GROUP_W-1:0];
            end

            assign ending_last[g] = ending[g] && turn_last_reg && group_reg == G[GROUP_W-1:0];

            always @(posedge clk) begin
                if (en) begin
                    valid_reg     <= from_valid;
                    first_reg     <= from_first;
                    last_reg      <= from_last;
                    turn_last_reg <= from_turn_last;
                    group_reg     <= from_group;
                    done_reg      <= ending[g];
                end

                if (rst) begin
                    valid_reg <= 1'b0;
                    done_reg  <= 1'b0;
                end
            end

            // Key operands: g + 1 registers for the columns of group g; with the last of them
            // three times the element, for the terms of 1.5
            for (s = 0; s <= g; s = s + 1) begin : g_k8
                wire [LANES*8-1:0] from_k8;
                wire               take;
                reg  [LANES*8-1:0] k8_reg;
                if (s == 0) begin : g_from
                    assign from_k8 = in_k8[C0*8 +: LANES*8];
                    assign take    = en && in_valid;
                end else begin : g_from
                    assign from_k8 = g_k8[s-1].k8_reg;
                    assign take    = en && g_group[s-1].valid_reg;
                end
                always @(posedge clk) begin
                    if (take) begin
                        k8_reg <= from_k8;
                    end
                end
            end

            wire [LANES*10-1:0] k8x3;
            if (TWO_TERM != 0) begin : g_k8x3
                for (j = 0; j < LANES; j = j + 1) begin : g_col
                    wire [9:0] sum;
                    reg  [9:0] k8x3_reg;
                    if (g == 0) begin : g_sum
                        assign sum = in_k8x3[j*10 +: 10];
                    end else begin : g_sum
                        wire [7:0] k8 = g_k8[g].from_k8[j*8 +: 8];
                        assign sum = {{2{k8[7]}}, k8} + {k8[7], k8, 1'b0};
                    end
                    always @(posedge clk) begin
                        if (g_k8[g].take) begin
                            k8x3_reg <= sum;
                        end
                    end
                    assign k8x3[j*10 +: 10] = k8x3_reg;
                end
            end else begin : g_k8x3
                wire unused_k8x3 = &{1'b0, in_k8x3};
                assign k8x3 = {LANES{10'd0}};
            end

            wire cell_en = en && valid_reg;

            for (r = 0; r < ROWS; r = r + 1) begin : g_row
                // Code operands: one chain for all groups
                reg  [CODE_W-1:0] code_reg;
                wire [CODE_W-1:0] from_code;
                if (g == 0) begin : g_from
                    assign from_code = in_code[r*CODE_W +: CODE_W];
                end else begin : g_from
                    assign from_code = g_group[g-1].g_row[r].code_reg;
                end

                always @(posedge clk) begin
                    if (en && from_valid) begin
                        code_reg <= from_code;
                    end
                end

                for (j = 0; j < LANES; j = j + 1) begin : g_col
                    wire [SC_W-1:0] acc;
                    // This group's score if it is the one that leaves, or that of a group before
                    wire [SC_W-1:0] score;

                    sofa_dlzs_cell #(
                        .SC_FRAC  (SC_FRAC),
                        .TWO_TERM (TWO_TERM),
                        .SC_W     (SC_W)
                    ) cell_inst (
                        .clk   (clk),
                        .en    (cell_en),
                        .first (first_reg),
                        .k8    (g_k8[g].k8_reg[j*8 +: 8]),
                        .k8x3  (k8x3[j*10 +: 10]),
                        .code  (code_reg),
                        .acc   (acc)
                    );

                    if (g == 0) begin : g_score
                        assign score = acc & {SC_W{done_reg}};
                    end else begin : g_score
                        assign score = g_group[g-1].g_row[r].g_col[j].score
                            | (acc & {SC_W{done_reg}});
                    end

                    if (g == NGRP - 1) begin : g_out
                        assign word_scores[(r*LANES+j)*SC_W +: SC_W] = score;
                    end
                end
            end
        end
    endgenerate

    // ---- Word flags ----------------------------------------------------------------------------
    reg word_valid_reg, word_last_reg;

    assign word_valid = word_valid_reg;
    assign word_last  = word_last_reg;

    always @(posedge clk) begin
        if (en) begin
            word_valid_reg <= |ending;
            word_last_reg  <= |ending_last;
        end

        if (rst) begin
            word_valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
