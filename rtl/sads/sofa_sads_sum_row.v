// SPDX-License-Identifier: Apache-2.0
// One query row of the selection by the row's sum: levels, kept keys, peak R, sums P and T.
//
// Why: everything a row needs for itself. A word brings four scores. The level of a score is its
// whole octaves, saturated to LEVEL_W bits: a key that far from 0 takes all of the softmax, or
// nothing of it, and all that follows is that much narrower. A key is kept when its level reaches
// the tile's limit. The peak, the sum of the weights 2^(SUM_FRAC - (R - level)) of the visible keys
// and that of the kept ones follow word by word. The peak is settled two stages before the sums, so
// that neither loop is longer than one comparison or one shift and addition. The octave has a
// register in each row, since a net from one to the shifters of all rows would lengthen their path.
// The rows of a group form a chain: each has a second copy of its state (limit, R, P, T). A swap
// puts the copies of the row behind into use and keeps what was in use; a shift passes the copies
// on to the row in front. So states are exchanged serially while words are worked on. The stages
// have their own shifts and swaps, each a cycle after that of the stage in front.
// Not done here: which keys are visible, limits, f, when to shift and swap (sofa_sads_sum.v).
// Latency: s2_keep is there two cycles after s0_en; the sums hold a word five cycles after it.
// Throughput: one word a cycle.
// Widths: scores SC_W bits signed; levels, limit and peak LEVEL_W bits signed; sums SUM_W bits,
// SUM_FRAC fraction bits.
// Source: our decision; docs/second.md, Selection.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_sum_row #(
    // Bits of a signed score, 8..32.
    parameter SC_W = 17,
    // Bits of a signed level, 8..SC_W.
    parameter LEVEL_W = 10,
    // Fraction bits of the sums, 6..16.
    parameter SUM_FRAC = 12,
    // Bits of a sum, SUM_FRAC + 7 .. SUM_FRAC + 17.
    parameter SUM_W = 25
) (
    input  wire                clk,

    // log2 of the score units of an octave, for the words that come after it
    input  wire                octave_en,
    input  wire [4:0]          octave,

    // s0: a word comes, lane j in bits [j*SC_W +: SC_W]
    input  wire                s0_en,
    input  wire [3:0]          s0_visible,
    input  wire [4*SC_W-1:0]   s0_scores,

    // s1: the highest of its levels
    input  wire                s1_en,

    // s2: peak; its levels are compared with the limit; count: nothing of it counts as kept
    input  wire                s2_en,
    input  wire                s2_count,
    output wire [3:0]          s2_keep,
    input  wire                s2_shift,
    input  wire                s2_swap,
    input  wire [LEVEL_W-1:0]  limit_in,
    output wire [LEVEL_W-1:0]  limit_out,
    input  wire [LEVEL_W-1:0]  peak_in,
    output wire [LEVEL_W-1:0]  peak_out,

    // s3: weights; final: nothing is added to P
    input  wire                s3_en,
    input  wire                s3_final,

    // s4: sums
    input  wire                s4_en,
    input  wire                s4_shift,
    input  wire                s4_swap,
    input  wire [SUM_W-1:0]    total_in,
    input  wire [SUM_W-1:0]    kept_in,
    output wire [SUM_W-1:0]    total_out,
    output wire [SUM_W-1:0]    kept_out
);

    generate
        if (SC_W < 8 || SC_W > 32) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_SC_W_needs_8_to_32 stop ();
        end else if (LEVEL_W < 8 || LEVEL_W > SC_W) begin : g_illegal
            illegal_parameter_LEVEL_W_needs_8_to_SC_W stop ();
        end else if (SUM_FRAC < 6 || SUM_FRAC > 16) begin : g_illegal
            illegal_parameter_SUM_FRAC_needs_6_to_16 stop ();
        end else if (SUM_W < SUM_FRAC + 7 || SUM_W > SUM_FRAC + 17) begin : g_illegal
            illegal_parameter_SUM_W_needs_SUM_FRAC_plus_7_to_plus_17 stop ();
        end
    endgenerate

    // Octaves below a peak, from 0 on; all that add nothing are FAR
    localparam FAR_W = $clog2(SUM_FRAC + 2);
    localparam [31:0] FAR = SUM_FRAC + 1;
    // Octaves that a peak rises, all ones: so many that nothing is left of a sum
    localparam RISE_W = $clog2(SUM_W + 1);
    // Weight of a key; of four
    localparam WEIGHT_W = SUM_FRAC + 1;
    localparam FOUR_W = SUM_FRAC + 3;
    localparam [LEVEL_W-1:0] LOWEST = {1'b1, {LEVEL_W-1{1'b0}}};
    localparam [WEIGHT_W-1:0] WEIGHT_ONE = {1'b1, {SUM_FRAC{1'b0}}};

    function automatic [LEVEL_W-1:0] higher;
        input signed [LEVEL_W-1:0] a;
        input signed [LEVEL_W-1:0] b;
        begin
            higher = (a > b) ? a : b;
        end
    endfunction

    // A distance that is not negative, FAR at most
    function automatic [FAR_W-1:0] near;
        input [LEVEL_W-1:0] distance;
        begin
            near = (distance > FAR[LEVEL_W-1:0]) ? FAR[FAR_W-1:0] : distance[FAR_W-1:0];
        end
    endfunction

    genvar j;

    // ---- s0: levels ----------------------------------------------------------------------------
    function automatic [4*LEVEL_W-1:0] levels;
        input [4*SC_W-1:0] scores;
        input [4:0]        log2;
        reg signed [SC_W-1:0] score;
        reg fits;
        integer i;
        begin
            for (i = 0; i < 4; i = i + 1) begin
                score = scores[i*SC_W +: SC_W];
                score = score >>> log2;
                fits  = &score[SC_W-1:LEVEL_W-1] || !(|score[SC_W-1:LEVEL_W-1]);
                levels[i*LEVEL_W +: LEVEL_W] =
                    fits ? score[LEVEL_W-1:0] : {score[SC_W-1], {LEVEL_W-1{!score[SC_W-1]}}};
            end
        end
    endfunction

    reg [4:0]           octave_reg;
    reg [4*LEVEL_W-1:0] s1_level_reg;
    reg [3:0]           s1_seen_reg;

    // ---- s1: highest level of the word; that of an invisible key is the lowest ------------------
    function automatic [LEVEL_W-1:0] seen;
        input [LEVEL_W-1:0] level;
        input               visible;
        begin
            seen = visible ? level : LOWEST;
        end
    endfunction

    wire [LEVEL_W-1:0] top0 = seen(s1_level_reg[0*LEVEL_W +: LEVEL_W], s1_seen_reg[0]);
    wire [LEVEL_W-1:0] top1 = seen(s1_level_reg[1*LEVEL_W +: LEVEL_W], s1_seen_reg[1]);
    wire [LEVEL_W-1:0] top2 = seen(s1_level_reg[2*LEVEL_W +: LEVEL_W], s1_seen_reg[2]);
    wire [LEVEL_W-1:0] top3 = seen(s1_level_reg[3*LEVEL_W +: LEVEL_W], s1_seen_reg[3]);

    reg [4*LEVEL_W-1:0] s2_level_reg;
    reg [LEVEL_W-1:0]   s2_top_reg;
    reg [3:0]           s2_seen_reg;

    // ---- s2: kept keys -------------------------------------------------------------------------
    reg signed [LEVEL_W-1:0] limit_reg;
    reg [LEVEL_W-1:0]        limit_copy_reg;

    generate
        for (j = 0; j < 4; j = j + 1) begin : g_keep
            wire signed [LEVEL_W-1:0] level = s2_level_reg[j*LEVEL_W +: LEVEL_W];
            assign s2_keep[j] = s2_seen_reg[j] && level >= limit_reg;
        end
    endgenerate

    assign limit_out = limit_copy_reg;

    // ---- s2: peak; distances of the keys from the highest of the word, of that from the peak ----
    reg [LEVEL_W-1:0] peak_reg;
    reg [LEVEL_W-1:0] peak_copy_reg;

    wire [LEVEL_W-1:0] peak_new = s2_en ? higher(s2_top_reg, peak_reg) : peak_reg;

    // Octaves from the peak up to the highest of the word, 0 where it is not above
    function automatic [RISE_W-1:0] rise;
        input [LEVEL_W-1:0] top;
        input [LEVEL_W-1:0] peak;
        reg   [LEVEL_W:0]   above;
        begin
            above = {top[LEVEL_W-1], top} - {peak[LEVEL_W-1], peak};
            rise  = above[LEVEL_W]           ? {RISE_W{1'b0}}
                  : |above[LEVEL_W-1:RISE_W] ? {RISE_W{1'b1}}
                  :                            above[RISE_W-1:0];
        end
    endfunction

    // Distance from the peak down to the highest of the word, 0 where it is not below
    function automatic [FAR_W-1:0] base;
        input [LEVEL_W-1:0] top;
        input [LEVEL_W-1:0] peak;
        begin
            // A difference below 2^LEVEL_W
            base = (higher(top, peak) == top) ? {FAR_W{1'b0}} : near(peak - top);
        end
    endfunction

    // Distances of the keys from the highest of the word: no visible one is above, so a difference
    // fits; what comes of an invisible one is not used.
    function automatic [4*FAR_W-1:0] fars;
        input [LEVEL_W-1:0]   top;
        input [4*LEVEL_W-1:0] level;
        integer i;
        begin
            for (i = 0; i < 4; i = i + 1) begin
                fars[i*FAR_W +: FAR_W] = near(top - level[i*LEVEL_W +: LEVEL_W]);
            end
        end
    endfunction

    assign peak_out = peak_copy_reg;

    reg [RISE_W-1:0]  s3_rise_reg;
    reg [FAR_W-1:0]   s3_base_reg;
    reg [4*FAR_W-1:0] s3_far_reg;
    reg [3:0]         s3_seen_reg;
    reg [3:0]         s3_keep_reg;

    // ---- s3: weights ---------------------------------------------------------------------------
    function automatic [4*WEIGHT_W-1:0] weights;
        input [FAR_W-1:0]   from;
        input [4*FAR_W-1:0] far;
        reg   [FAR_W:0]     distance;
        integer i;
        begin
            for (i = 0; i < 4; i = i + 1) begin
                distance = {1'b0, from} + {1'b0, far[i*FAR_W +: FAR_W]};
                weights[i*WEIGHT_W +: WEIGHT_W] = WEIGHT_ONE >> distance;
            end
        end
    endfunction

    function automatic [FOUR_W-1:0] sum4;
        input [4*WEIGHT_W-1:0] weight;
        input [3:0]            taken;
        begin
            sum4 = ({2'b00, weight[0*WEIGHT_W +: WEIGHT_W] & {WEIGHT_W{taken[0]}}}
                    + {2'b00, weight[1*WEIGHT_W +: WEIGHT_W] & {WEIGHT_W{taken[1]}}})
                 + ({2'b00, weight[2*WEIGHT_W +: WEIGHT_W] & {WEIGHT_W{taken[2]}}}
                    + {2'b00, weight[3*WEIGHT_W +: WEIGHT_W] & {WEIGHT_W{taken[3]}}});
        end
    endfunction

    reg [RISE_W-1:0] s4_rise_reg;
    reg [FOUR_W-1:0] s4_total_reg;
    reg [FOUR_W-1:0] s4_kept_reg;

    // ---- s4: sums ------------------------------------------------------------------------------
    reg [SUM_W-1:0] total_reg;
    reg [SUM_W-1:0] total_copy_reg;
    reg [SUM_W-1:0] kept_reg;
    reg [SUM_W-1:0] kept_copy_reg;

    wire [SUM_W-1:0] total_new = s4_en
        ? (total_reg >> s4_rise_reg) + {{SUM_W-FOUR_W{1'b0}}, s4_total_reg} : total_reg;
    wire [SUM_W-1:0] kept_new = s4_en
        ? (kept_reg >> s4_rise_reg) + {{SUM_W-FOUR_W{1'b0}}, s4_kept_reg} : kept_reg;

    assign total_out = total_copy_reg;
    assign kept_out  = kept_copy_reg;

    always @(posedge clk) begin
        if (octave_en) begin
            octave_reg <= octave;
        end
        if (s0_en) begin
            s1_level_reg <= levels(s0_scores, octave_reg);
            s1_seen_reg  <= s0_visible;
        end
        if (s1_en) begin
            s2_level_reg <= s1_level_reg;
            s2_top_reg   <= higher(higher(top0, top1), higher(top2, top3));
            s2_seen_reg  <= s1_seen_reg;
        end
        if (s2_en) begin
            s3_rise_reg <= rise(s2_top_reg, peak_reg);
            s3_base_reg <= base(s2_top_reg, peak_reg);
            s3_far_reg  <= fars(s2_top_reg, s2_level_reg);
            s3_seen_reg <= s2_seen_reg;
            s3_keep_reg <= s2_keep & {4{!s2_count}};
        end
        if (s3_en) begin
            s4_rise_reg  <= s3_rise_reg;
            s4_total_reg <= sum4(weights(s3_base_reg, s3_far_reg),
                                 s3_seen_reg & {4{!s3_final}});
            s4_kept_reg  <= sum4(weights(s3_base_reg, s3_far_reg), s3_keep_reg);
        end

        if (s2_en) begin
            peak_reg <= peak_new;
        end
        if (s2_shift) begin
            limit_copy_reg <= limit_in;
            peak_copy_reg  <= peak_in;
        end
        if (s2_swap) begin
            limit_reg     <= limit_in;
            peak_reg      <= peak_in;
            peak_copy_reg <= peak_new;
        end

        if (s4_en) begin
            total_reg <= total_new;
            kept_reg  <= kept_new;
        end
        if (s4_shift) begin
            total_copy_reg <= total_in;
            kept_copy_reg  <= kept_in;
        end
        if (s4_swap) begin
            total_reg      <= total_in;
            kept_reg       <= kept_in;
            total_copy_reg <= total_new;
            kept_copy_reg  <= kept_new;
        end
    end

endmodule

`resetall
