// SPDX-License-Identifier: Apache-2.0
// One query row of the SADS stage: selection core, row maximum, clipping, taken slots.
//
// Why: everything a row needs for itself. What is the same for all rows (masks of the slots,
// stage enables, threshold of the quota) comes from outside.
// The row maximum is kept over the tiles of a block. An entry below maximum - radius is clipped:
// it keeps its place but is invalid. The bitmap of taken slots keeps what was selected out of the
// further passes over the same tile. A clipped entry is found and clipped again in each further
// pass, because the maximum of a tile is complete after the first pass.
// Not done here: counting, quota, early end (sads.v).
// Latency: from a word of scores to out_valid 5 cycles (core 4, clipping 1). Throughput: 1 word
// per cycle within a pass.
// Source: SOFA (MICRO 2024), section on SADS: clipping unit, Max - r.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sads_row #(
    // Bits of a signed score, at least 2.
    parameter SC_W = 18,
    // Slots of a tile, power of two, 8..256.
    parameter BC_MAX = 64,
    // Columns of the prediction array, power of two, 4..BC_MAX.
    parameter COLS = 32,
    // Score words of a full tile. Derived: leave at its default.
    parameter WORDS = (BC_MAX / COLS) * ((COLS + 11) / 12),
    // Bits of a slot number. Derived: leave at its default.
    parameter SLOT_W = $clog2(BC_MAX)
) (
    input  wire                 clk,

    // Start of a tile; of a block (forget the row maximum)
    input  wire                 tile_clear,
    input  wire                 block_clear,

    // Masks: slots of the word this row may use; one-hot number of the word (0: ignore the bitmap)
    input  wire                 s0_en,
    input  wire [11:0]          s0_allow,
    input  wire [WORDS-1:0]     s0_word,

    // Scores and stage enables, see sads_core.v
    input  wire [12*SC_W-1:0]   s1_scores,
    input  wire                 s1_en,
    input  wire                 s2_en,
    input  wire                 s3_en,
    input  wire [SLOT_W-1:0]    s3_base,
    input  wire                 s4_en,
    input  wire                 s4_first,

    // End of a pass: clip the 4 best; entries that the quota leaves room for
    input  wire                 s5_en,
    input  wire [3:0]           s5_room,
    input  wire [SC_W-1:0]      cfg_radius,

    // Selected entries of the pass, stable until the first word of the next pass leaves s4
    output wire [3:0]           out_valid,
    output wire [4*SLOT_W-1:0]  out_slot,
    // Slots selected in this tile
    output wire [BC_MAX-1:0]    out_taken
);

    localparam NGRP = (COLS + 11) / 12;

    reg [11:0] mask_reg;
    reg [BC_MAX-1:0] taken_reg;
    reg [SC_W-1:0] max_reg;
    reg [3:0] valid_reg;

    wire [SC_W-1:0] word_max;
    wire [3:0] best_valid;
    wire [4*SC_W-1:0] best_score;
    wire [4*SLOT_W-1:0] best_slot;

    // Taken slots of the current word, lane by lane
    wire [11:0] word_taken [0:WORDS-1];
    wire [11:0] word_taken_or [0:WORDS-1];
    genvar i, j;
    generate
        for (i = 0; i < WORDS; i = i + 1) begin : g_word
            for (j = 0; j < 12; j = j + 1) begin : g_lane
                if ((i % NGRP) * 12 + j < COLS) begin : g_used
                    assign word_taken[i][j] = taken_reg[(i / NGRP) * COLS + (i % NGRP) * 12 + j];
                end else begin : g_none
                    assign word_taken[i][j] = 1'b0;
                end
            end
            if (i == 0) begin : g_first
                assign word_taken_or[i] = word_taken[i] & {12{s0_word[i]}};
            end else begin : g_next
                assign word_taken_or[i] = word_taken_or[i-1] | (word_taken[i] & {12{s0_word[i]}});
            end
        end
    endgenerate

    sads_core #(
        .SC_W(SC_W),
        .SLOT_W(SLOT_W)
    ) core (
        .clk(clk),
        .in_scores(s1_scores),
        .in_mask(mask_reg),
        .s1_en(s1_en),
        .s2_en(s2_en),
        .s3_en(s3_en),
        .s3_base(s3_base),
        .s4_en(s4_en),
        .s4_first(s4_first),
        .word_max(word_max),
        .best_valid(best_valid),
        .best_score(best_score),
        .best_slot(best_slot)
    );

    // In offset binary 0 is the lowest score, so the threshold saturates there.
    wire [SC_W:0] difference = {1'b0, max_reg} - {1'b0, cfg_radius};
    wire [SC_W-1:0] threshold = difference[SC_W] ? {SC_W{1'b0}} : difference[SC_W-1:0];
    wire [3:0] keep;
    wire [BC_MAX-1:0] keep_slots [0:3];
    generate
        for (i = 0; i < 4; i = i + 1) begin : g_keep
            wire [SLOT_W-1:0] slot = best_slot[i*SLOT_W +: SLOT_W];
            assign keep[i] = s5_room[i] && best_valid[i] &&
                             best_score[i*SC_W +: SC_W] >= threshold;
            assign keep_slots[i] = {{BC_MAX-1{1'b0}}, keep[i]} << slot;
        end
    endgenerate

    assign out_valid = valid_reg;
    assign out_slot = best_slot;
    assign out_taken = taken_reg;

    always @(posedge clk) begin
        if (s0_en) begin
            mask_reg <= s0_allow & ~word_taken_or[WORDS-1];
        end
        if (s4_en && word_max > max_reg) begin
            max_reg <= word_max;
        end
        if (s5_en) begin
            valid_reg <= keep;
            taken_reg <= taken_reg | keep_slots[0] | keep_slots[1] | keep_slots[2] | keep_slots[3];
        end
        if (tile_clear) begin
            taken_reg <= {BC_MAX{1'b0}};
        end
        if (block_clear) begin
            max_reg <= {SC_W{1'b0}};
        end
    end

endmodule

`resetall
