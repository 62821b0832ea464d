// SPDX-License-Identifier: Apache-2.0
// 16-to-4 bitonic selection core of one query row.
//
// Why: each word brings 12 scores; together with the 4 best so far they give the new 4 best, in
// order. Three sorters of 4 and two merges form the feed-forward part, a third merge closes the
// loop over the running 4 best.
// A key is {valid, score in offset binary, inverted slot}: one unsigned comparison orders valid
// before invalid, then higher score first, then lower slot first. No two valid keys are equal, so
// the result is unique. Until the loop the slot is the lane number of the word; s3 adds s3_base.
// Not done here: masking decisions (in_mask), clipping, the enables of the stages, which are
// shared by all rows and come from sads.v.
// Latency: 4 cycles from in_scores to best. Throughput: 1 word per cycle.
// Source: SOFA (MICRO 2024), section on SADS: 12 new values plus the 4 best so far.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_core #(
    // Bits of a signed score, at least 2.
    parameter SC_W = 18,
    // Bits of a slot number, 3..8.
    parameter SLOT_W = 6
) (
    input  wire                 clk,

    // Word of 12 scores, used where in_mask is set (s1_en: the word is there)
    input  wire [12*SC_W-1:0]   in_scores,
    input  wire [11:0]          in_mask,

    // Stage enables: one word moves from stage to stage
    input  wire                 s1_en,
    input  wire                 s2_en,
    input  wire                 s3_en,
    // Slot of lane 0 of the word entering s3
    input  wire [SLOT_W-1:0]    s3_base,
    input  wire                 s4_en,
    // The word entering the loop is the first of its pass: forget the running 4 best
    input  wire                 s4_first,

    // Best score of the word entering the loop, offset binary; 0 where no lane was valid
    output wire [SC_W-1:0]      word_max,

    // Running 4 best, entry 0 in the low bits; scores in offset binary
    output wire [3:0]           best_valid,
    output wire [4*SC_W-1:0]    best_score,
    output wire [4*SLOT_W-1:0]  best_slot
);

    localparam KEY_W = 1 + SC_W + SLOT_W;
    localparam KEY4_W = 4 * KEY_W;

    // Sort a bitonic sequence of four: two levels of compare and exchange.
    function [KEY4_W-1:0] bitonic4;
        input [KEY_W-1:0] a;
        input [KEY_W-1:0] b;
        input [KEY_W-1:0] c;
        input [KEY_W-1:0] d;
        reg [KEY_W-1:0] ac_hi, ac_lo, bd_hi, bd_lo;
        reg [KEY_W-1:0] k0, k1, k2, k3;
        begin
            {ac_hi, ac_lo} = (a > c) ? {a, c} : {c, a};
            {bd_hi, bd_lo} = (b > d) ? {b, d} : {d, b};
            {k0, k1} = (ac_hi > bd_hi) ? {ac_hi, bd_hi} : {bd_hi, ac_hi};
            {k2, k3} = (ac_lo > bd_lo) ? {ac_lo, bd_lo} : {bd_lo, ac_lo};
            bitonic4 = {k3, k2, k1, k0};
        end
    endfunction

    // Sort any four, best first.
    function [KEY4_W-1:0] sort4;
        input [KEY_W-1:0] a;
        input [KEY_W-1:0] b;
        input [KEY_W-1:0] c;
        input [KEY_W-1:0] d;
        reg [KEY_W-1:0] ab_hi, ab_lo, cd_hi, cd_lo;
        begin
            {ab_hi, ab_lo} = (a > b) ? {a, b} : {b, a};
            {cd_hi, cd_lo} = (c > d) ? {c, d} : {d, c};
            // Descending, then ascending: bitonic.
            sort4 = bitonic4(ab_hi, ab_lo, cd_lo, cd_hi);
        end
    endfunction

    // Best four of two lists of four, each best first: a half cleaner leaves them bitonic.
    function [KEY4_W-1:0] merge4;
        input [KEY_W-1:0] a0;
        input [KEY_W-1:0] a1;
        input [KEY_W-1:0] a2;
        input [KEY_W-1:0] a3;
        input [KEY_W-1:0] b0;
        input [KEY_W-1:0] b1;
        input [KEY_W-1:0] b2;
        input [KEY_W-1:0] b3;
        begin
            merge4 = bitonic4((a0 > b3) ? a0 : b3, (a1 > b2) ? a1 : b2,
                              (a2 > b1) ? a2 : b1, (a3 > b0) ? a3 : b0);
        end
    endfunction

    // Keys of the 12 lanes. The rest of an invalid key is 0: whatever a masked lane carries, also
    // an undefined value, stays out of the comparisons.
    wire [KEY_W-1:0] key [0:11];
    genvar j;
    generate
        for (j = 0; j < 12; j = j + 1) begin : g_key
            localparam [31:0] LANE = j;
            localparam [SLOT_W-1:0] LANE_INV = ~LANE[SLOT_W-1:0];
            wire [SC_W-1:0] score = in_scores[j*SC_W +: SC_W];
            assign key[j] = in_mask[j] ? {1'b1, ~score[SC_W-1], score[SC_W-2:0], LANE_INV}
                                       : {1'b0, {SC_W{1'b0}}, LANE_INV};
        end
    endgenerate

    // s1: three sorted lists. s2: best of the first two, and the third. s3: best of the word.
    reg [KEY4_W-1:0] s1a_reg, s1b_reg, s1c_reg, s2a_reg, s2c_reg, s3_reg, best_reg;

    // Entry i of each list, as its own net
    wire [KEY_W-1:0] s1a [0:3];
    wire [KEY_W-1:0] s1b [0:3];
    wire [KEY_W-1:0] s2a [0:3];
    wire [KEY_W-1:0] s2c [0:3];
    wire [KEY_W-1:0] s3 [0:3];
    wire [KEY_W-1:0] best [0:3];
    wire [KEY_W-1:0] run [0:3];
    generate
        for (j = 0; j < 4; j = j + 1) begin : g_entry
            assign s1a[j] = s1a_reg[j*KEY_W +: KEY_W];
            assign s1b[j] = s1b_reg[j*KEY_W +: KEY_W];
            assign s2a[j] = s2a_reg[j*KEY_W +: KEY_W];
            assign s2c[j] = s2c_reg[j*KEY_W +: KEY_W];
            assign s3[j] = s3_reg[j*KEY_W +: KEY_W];
            assign best[j] = best_reg[j*KEY_W +: KEY_W];
            // At the first word of a pass nothing has been seen yet.
            assign run[j] = s4_first ? {KEY_W{1'b0}} : best[j];

            assign best_valid[j] = best[j][KEY_W-1];
            assign best_score[j*SC_W +: SC_W] = best[j][SLOT_W +: SC_W];
            assign best_slot[j*SLOT_W +: SLOT_W] = ~best[j][SLOT_W-1:0];
        end
    endgenerate

    assign word_max = s3[0][SLOT_W +: SC_W];

    // From lanes to slots. With inverted numbers the sum base + lane is a difference.
    function [KEY4_W-1:0] to_slots;
        input [KEY4_W-1:0] list;
        input [SLOT_W-1:0] base;
        integer i;
        begin
            to_slots = list;
            for (i = 0; i < 4; i = i + 1) begin
                to_slots[i*KEY_W +: SLOT_W] = list[i*KEY_W +: SLOT_W] - base;
            end
        end
    endfunction

    always @(posedge clk) begin
        if (s1_en) begin
            s1a_reg <= sort4(key[0], key[1], key[2], key[3]);
            s1b_reg <= sort4(key[4], key[5], key[6], key[7]);
            s1c_reg <= sort4(key[8], key[9], key[10], key[11]);
        end
        if (s2_en) begin
            s2a_reg <= merge4(s1a[0], s1a[1], s1a[2], s1a[3], s1b[0], s1b[1], s1b[2], s1b[3]);
            s2c_reg <= s1c_reg;
        end
        if (s3_en) begin
            s3_reg <= to_slots(merge4(s2a[0], s2a[1], s2a[2], s2a[3],
                                      s2c[0], s2c[1], s2c[2], s2c[3]), s3_base);
        end
        if (s4_en) begin
            best_reg <= merge4(s3[0], s3[1], s3[2], s3[3], run[0], run[1], run[2], run[3]);
        end
    end

endmodule

`resetall
