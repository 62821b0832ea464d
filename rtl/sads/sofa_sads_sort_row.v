// SPDX-License-Identifier: Apache-2.0
// One query row of the selection by sorting: core, row maximum, clipping, taken slots.
//
// Why: everything a row needs for itself. What is the same for all rows (masks of the slots, stage
// enables, room of the quota, radius) comes from outside.
// An entry of the four best below maximum - radius is clipped: it keeps its place but is not taken.
// The bitmap of taken slots keeps what was taken out of the further passes over the same tile, and
// is the result. A clipped entry is found and clipped again in each further pass, because the
// maximum of a tile is complete after the first.
// The bitmap of the tile before leaves from a second register, four slots a step.
// Not done here: the memory of the maxima of other blocks, quota, end of the passes
// (sofa_sads_sort.v).
// Latency: from a word of scores to the taken slots 6 cycles (core 5, clipping 1).
// Throughput: a word a cycle within a pass.
// Source: SOFA (MICRO 2024), section on SADS: clipping unit, Max - r.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_sort_row #(
    // Bits of a signed score, 4..32.
    parameter SC_W = 17,
    // Slots of a tile, power of two, 8..64.
    parameter BC_MAX = 64,
    // Score words of a full tile, bits of a slot number. Derived: leave at their defaults.
    parameter WORDS = (BC_MAX + 11) / 12,
    parameter SLOT_W = $clog2(BC_MAX)
) (
    input  wire               clk,

    // Start of a tile: nothing is taken; its block's maximum, offset binary, 0: none
    input  wire               clear,
    input  wire               max_load,
    input  wire [SC_W-1:0]    max_in,
    output wire [SC_W-1:0]    max_out,

    // Scores of a word; its slots that this row may use; its number, one-hot
    input  wire               s0_en,
    input  wire [12*SC_W-1:0] s0_scores,
    input  wire [11:0]        s0_allow,
    input  wire [WORDS-1:0]   s0_word,

    // Stage enables, see sofa_sads_core.v
    input  wire               s1_en,
    input  wire               s2_en,
    input  wire               s3_en,
    input  wire [SLOT_W-1:0]  s3_base,
    input  wire               s4_en,
    input  wire               s4_first,

    // End of a pass: clip the four best; entries that the quota leaves room for
    input  wire               s5_en,
    input  wire [3:0]         s5_room,
    input  wire [SC_W-1:0]    radius,
    // All four were taken, in the cycle after
    output wire               full,

    // The taken slots go to the output; its next four slots
    input  wire               out_load,
    input  wire               out_step,
    output wire [3:0]         out_mask
);

    generate
        if (SC_W < 4 || SC_W > 32) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_SC_W_needs_4_to_32 stop ();
        end else if (BC_MAX < 8 || BC_MAX > 64 || BC_MAX != (1 << $clog2(BC_MAX))) begin : g_illegal
            illegal_parameter_BC_MAX_needs_power_of_two_8_to_64 stop ();
        end else if (WORDS != (BC_MAX + 11) / 12 || SLOT_W != $clog2(BC_MAX)) begin : g_illegal
            illegal_parameter_WORDS_and_SLOT_W_are_derived stop ();
        end
    endgenerate

    reg [11:0]       mask_reg;
    reg [BC_MAX-1:0] taken_reg;
    reg [BC_MAX-1:0] out_reg;
    reg [SC_W-1:0]   max_reg;
    reg              full_reg;

    wire [SC_W-1:0]     word_max;
    wire [3:0]          best_valid;
    wire [4*SC_W-1:0]   best_score;
    wire [4*SLOT_W-1:0] best_slot;

    // Taken slots of the word of a number, one-hot, lane by lane
    function automatic [11:0] word_of;
        input [BC_MAX-1:0] taken;
        input [WORDS-1:0]  word;
        reg   [12*WORDS-1:0] padded;
        integer i;
        begin
            padded = {{12*WORDS-BC_MAX{1'b0}}, taken};
            word_of = 12'd0;
            for (i = 0; i < WORDS; i = i + 1) begin
                word_of = word_of | (padded[i*12 +: 12] & {12{word[i]}});
            end
        end
    endfunction

    sofa_sads_core #(
        .SC_W   (SC_W),
        .SLOT_W (SLOT_W)
    ) core_inst (
        .clk        (clk),
        .s0_en      (s0_en),
        .in_scores  (s0_scores),
        .in_mask    (mask_reg),
        .s1_en      (s1_en),
        .s2_en      (s2_en),
        .s3_en      (s3_en),
        .s3_base    (s3_base),
        .s4_en      (s4_en),
        .s4_first   (s4_first),
        .word_max   (word_max),
        .best_valid (best_valid),
        .best_score (best_score),
        .best_slot  (best_slot)
    );

    // {the fourth entry is taken, slots of all that are}. An entry is, where score + radius is not
    // below the maximum: two rows of the sum less the maximum, and the carry of their addition.
    function automatic [BC_MAX:0] pick;
        input [3:0]          valid;
        input [4*SC_W-1:0]   score;
        input [4*SLOT_W-1:0] slot;
        input [SC_W-1:0]     highest;
        input [SC_W-1:0]     below;
        reg   [SC_W:0]       s, r, m, row, carry;
        reg   [SC_W+2:0]     sum;
        reg                  take;
        integer i;
        begin
            pick = {BC_MAX+1{1'b0}};
            r = {1'b0, below};
            m = ~{1'b0, highest};
            for (i = 0; i < 4; i = i + 1) begin
                s     = {1'b0, score[i*SC_W +: SC_W]};
                row   = s ^ r ^ m;
                carry = (s & r) | (m & (s | r));
                sum   = {1'b0, row, 1'b1} + {carry, 1'b0, 1'b1};
                take  = valid[i] && sum[SC_W+2];
                pick = {take, pick[BC_MAX-1:0]
                              | ({{BC_MAX-1{1'b0}}, take} << slot[i*SLOT_W +: SLOT_W])};
            end
        end
    endfunction

    assign max_out  = max_reg;
    assign full     = full_reg;
    assign out_mask = out_reg[3:0];

    always @(posedge clk) begin
        if (s0_en) begin
            mask_reg <= s0_allow & ~word_of(taken_reg, s0_word);
        end
        if (s4_en && word_max > max_reg) begin
            max_reg <= word_max;
        end
        if (max_load) begin
            max_reg <= max_in;
        end
        if (s5_en) begin
            {full_reg, taken_reg} <= {1'b0, taken_reg}
                | pick(s5_room & best_valid, best_score, best_slot, max_reg, radius);
        end
        if (clear) begin
            taken_reg <= {BC_MAX{1'b0}};
        end
        if (out_load) begin
            out_reg <= taken_reg;
        end else if (out_step) begin
            out_reg <= {4'd0, out_reg[BC_MAX-1:4]};
        end
    end

endmodule

`resetall
