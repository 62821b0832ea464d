// SPDX-License-Identifier: Apache-2.0
// 16-to-4 selection core of one query row.
//
// Why: each word brings 12 scores; together with the 4 best so far they give the new 4 best, in
// order. Three sorters of 4 and two merges form the feed-forward part, a third merge closes the
// loop over the running 4 best. All compare every pair at once and put a key where its rank says,
// which is one comparison deep where a network of exchanges is two or three.
// A key is {valid, score in offset binary, slot}: one unsigned comparison orders valid before
// invalid, then higher score first. Words come in the order of their slots, so of two lists that
// meet one has the lower slots, which go first where scores are equal: slots are carried, not
// compared. Until the loop the slot is the lane number of the list, then of the word; s3 adds
// s3_base.
// Not done here: masking decisions (in_mask), clipping, the enables of the stages, which are
// shared by all rows and come from sads.v.
// Latency: 5 cycles from in_scores to best, 4 from in_mask. Throughput: 1 word per cycle.
// Source: SOFA (MICRO 2024), section on SADS: 12 new values plus the 4 best so far.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_core #(
    // Bits of a signed score, at least 2.
    parameter SC_W = 17,
    // Bits of a slot number, 3..8.
    parameter SLOT_W = 6
) (
    input  wire                 clk,

    // Stage enables: one word moves from stage to stage
    // Word of 12 scores
    input  wire                 s0_en,
    input  wire [12*SC_W-1:0]   in_scores,
    // Lanes whose score is used
    input  wire                 s1_en,
    input  wire [11:0]          in_mask,
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

    // A key, its part that is compared, four keys.
    localparam KEY_W = 1 + SC_W + SLOT_W;
    localparam RANK_W = 1 + SC_W;
    localparam KEY4_W = 4 * KEY_W;
    localparam [SLOT_W-1:0] FOUR = 4;
    localparam [31:0] EIGHT_I = 8;
    localparam [SLOT_W-1:0] EIGHT = EIGHT_I[SLOT_W-1:0];

    // Bit 4*x + y: the score of lane x is above that of lane y, y < x. Made while the word comes,
    // from a memory: what is masked is not known yet.
    function automatic [15:0] compare4;
        input [4*SC_W-1:0] scores;
        integer            x, y;
        begin
            compare4 = 16'd0;
            for (x = 0; x < 4; x = x + 1) begin
                for (y = 0; y < x; y = y + 1) begin
                    compare4[4*x + y] = {!scores[x*SC_W + SC_W-1], scores[x*SC_W +: SC_W-1]}
                                        > {!scores[y*SC_W + SC_W-1], scores[y*SC_W +: SC_W-1]};
                end
            end
        end
    endfunction

    // Four lanes, best first: the place of a key is the number of better ones. Valid decides beside
    // the comparisons (above): whatever a masked lane carries, also an undefined value, stays out
    // of the result, where its score is 0.
    function automatic [KEY4_W-1:0] sort4;
        input [3:0]        valid;
        input [4*SC_W-1:0] scores;
        input [15:0]       above;
        reg [KEY4_W-1:0]   list;
        reg [3:0]          better;
        reg [15:0]         wins;
        reg [1:0]          rank;
        integer            x, y;
        begin
            list = {KEY4_W{1'b0}};
            wins = 16'd0;
            for (x = 0; x < 4; x = x + 1) begin
                list[x*KEY_W +: KEY_W] = {valid[x], {!scores[x*SC_W + SC_W-1],
                                                     scores[x*SC_W +: SC_W-1]} & {SC_W{valid[x]}},
                                          x[SLOT_W-1:0]};
                for (y = 0; y < x; y = y + 1) begin
                    wins[4*x + y] = valid[x] && (!valid[y] || above[4*x + y]);
                end
            end
            sort4 = {KEY4_W{1'b0}};
            for (x = 0; x < 4; x = x + 1) begin
                for (y = 0; y < 4; y = y + 1) begin
                    // one comparison of a pair, whichever of the two asks
                    better[y] = (y < x) ? !wins[4*x + y] : wins[4*y + x];
                end
                rank = {1'b0, better[0]} + {1'b0, better[1]} + {1'b0, better[2]}
                       + {1'b0, better[3]};
                for (y = 0; y < 4; y = y + 1) begin
                    sort4[y*KEY_W +: KEY_W] = sort4[y*KEY_W +: KEY_W]
                        | (list[x*KEY_W +: KEY_W] & {KEY_W{rank == y[1:0]}});
                end
            end
        end
    endfunction

    // Best four of two lists of four, each best first; with only_b the second list. All slots of
    // the first list are lower, so that equal scores are in its favour. Entry x of one list is at
    // place k where exactly k - x entries of the other are better, and since lists are in order two
    // comparisons tell.
    function automatic [KEY4_W-1:0] merge4;
        input [KEY4_W-1:0] a;
        input [KEY4_W-1:0] b;
        input              only_b;
        reg [15:0]  a_wins;
        reg         from_a, from_b;
        integer     x, y, k;
        begin
            a_wins = 16'd0;
            for (x = 0; x < 4; x = x + 1) begin
                for (y = 0; y < 4 - x; y = y + 1) begin
                    a_wins[4*x + y] = !only_b
                        && a[x*KEY_W + SLOT_W +: RANK_W] >= b[y*KEY_W + SLOT_W +: RANK_W];
                end
            end
            merge4 = {KEY4_W{1'b0}};
            for (k = 0; k < 4; k = k + 1) begin
                for (x = 0; x <= k; x = x + 1) begin
                    y = k - x;
                    from_a = a_wins[4*x + y];
                    from_b = !a_wins[4*y + x];
                    if (y > 0) begin
                        from_a = from_a && !a_wins[4*x + y - 1];
                        from_b = from_b && a_wins[4*(y - 1) + x];
                    end
                    merge4[k*KEY_W +: KEY_W] = merge4[k*KEY_W +: KEY_W]
                        | (a[x*KEY_W +: KEY_W] & {KEY_W{from_a}})
                        | (b[x*KEY_W +: KEY_W] & {KEY_W{from_b}});
                end
            end
        end
    endfunction

    // s0: scores, comparisons within each four. s1: three sorted lists. s2: best of the first two,
    // and the third. s3: best of the word.
    reg [12*SC_W-1:0] s0_scores_reg;
    reg [3*16-1:0]    s0_above_reg;
    reg [KEY4_W-1:0] s1a_reg, s1b_reg, s1c_reg, s2a_reg, s2c_reg, s3_reg, best_reg;

    genvar j;
    generate
        for (j = 0; j < 4; j = j + 1) begin : g_entry
            assign best_valid[j] = best_reg[(j+1)*KEY_W-1];
            assign best_score[j*SC_W +: SC_W] = best_reg[j*KEY_W + SLOT_W +: SC_W];
            assign best_slot[j*SLOT_W +: SLOT_W] = best_reg[j*KEY_W +: SLOT_W];
        end
    endgenerate

    assign word_max = s3_reg[SLOT_W +: SC_W];

    // From lanes to slots, or to lanes of the word.
    function automatic [KEY4_W-1:0] to_slots;
        input [KEY4_W-1:0] list;
        input [SLOT_W-1:0] base;
        integer i;
        begin
            to_slots = list;
            for (i = 0; i < 4; i = i + 1) begin
                to_slots[i*KEY_W +: SLOT_W] = list[i*KEY_W +: SLOT_W] + base;
            end
        end
    endfunction

    // Every comparison stands where its stage is enabled, so that a core at rest costs a simulation
    // nothing.
    always @(posedge clk) begin
        if (s0_en) begin
            s0_scores_reg <= in_scores;
            s0_above_reg  <= {compare4(in_scores[8*SC_W +: 4*SC_W]),
                              compare4(in_scores[4*SC_W +: 4*SC_W]),
                              compare4(in_scores[0*SC_W +: 4*SC_W])};
        end
        if (s1_en) begin
            s1a_reg <= sort4(in_mask[3:0], s0_scores_reg[0*SC_W +: 4*SC_W], s0_above_reg[15:0]);
            s1b_reg <= sort4(in_mask[7:4], s0_scores_reg[4*SC_W +: 4*SC_W], s0_above_reg[31:16]);
            s1c_reg <= sort4(in_mask[11:8], s0_scores_reg[8*SC_W +: 4*SC_W], s0_above_reg[47:32]);
        end
        if (s2_en) begin
            s2a_reg <= merge4(s1a_reg, to_slots(s1b_reg, FOUR), 1'b0);
            s2c_reg <= s1c_reg;
        end
        if (s3_en) begin
            s3_reg <= to_slots(merge4(s2a_reg, to_slots(s2c_reg, EIGHT), 1'b0), s3_base);
        end
        if (s4_en) begin
            // At the first word of a pass nothing has been seen yet.
            best_reg <= merge4(best_reg, s3_reg, s4_first);
        end
    end

`ifdef FORMAL
    localparam KEY8_W = 8 * KEY_W;
    reg started = 1'b0;
    // Stages s0..s4 hold something.
    reg [4:0] f_there = 5'd0;

    // Keys that order by all of their bits: the lower of two slots is the better one.
    function automatic [KEY8_W-1:0] f_ordered;
        input [KEY8_W-1:0] keys;
        integer x;
        begin
            f_ordered = keys;
            for (x = 0; x < 8; x = x + 1) begin
                f_ordered[x*KEY_W +: SLOT_W] = ~keys[x*KEY_W +: SLOT_W];
            end
        end
    endfunction

    // The reference. A list is the sort of a set of at most eight different keys when its valid
    // entries come first, each better than the next; each is in the set; and each valid key of the
    // set is in the list, or four better ones are. What is not valid has the score 0.
    function automatic f_sorts;
        input [KEY4_W-1:0] keys;
        input [KEY8_W-1:0] key_set;
        integer x, y;
        reg     found;
        reg [KEY8_W-1:0] list, set;
        begin
            list = f_ordered({{KEY4_W{1'b0}}, keys});
            set  = f_ordered(key_set);
            f_sorts = 1'b1;
            for (x = 0; x < 3; x = x + 1) begin
                f_sorts = f_sorts && (!list[(x+2)*KEY_W-1]
                                      || list[x*KEY_W +: KEY_W] > list[(x+1)*KEY_W +: KEY_W]);
            end
            for (x = 0; x < 4; x = x + 1) begin
                found = list[x*KEY_W + SLOT_W +: RANK_W] == 0;
                for (y = 0; y < 8; y = y + 1) begin
                    found = found || (list[(x+1)*KEY_W-1]
                                      && list[x*KEY_W +: KEY_W] == set[y*KEY_W +: KEY_W]);
                end
                f_sorts = f_sorts && found;
            end
            for (y = 0; y < 8; y = y + 1) begin
                found = !set[(y+1)*KEY_W-1] || list[3*KEY_W +: KEY_W] > set[y*KEY_W +: KEY_W];
                for (x = 0; x < 4; x = x + 1) begin
                    found = found || list[x*KEY_W +: KEY_W] == set[y*KEY_W +: KEY_W];
                end
                f_sorts = f_sorts && found;
            end
        end
    endfunction

    // All valid slots of the first list are below those of the second.
    function automatic f_below;
        input [KEY4_W-1:0] a;
        input [KEY4_W-1:0] b;
        integer x, y;
        begin
            f_below = 1'b1;
            for (x = 0; x < 4; x = x + 1) begin
                for (y = 0; y < 4; y = y + 1) begin
                    f_below = f_below && (!a[(x+1)*KEY_W-1] || !b[(y+1)*KEY_W-1]
                                          || a[x*KEY_W +: SLOT_W] < b[y*KEY_W +: SLOT_W]);
                end
            end
        end
    endfunction

    // Lanes of the valid keys of a list are from..to.
    function automatic f_lanes;
        input [KEY4_W-1:0] list;
        input [SLOT_W-1:0] from;
        input [SLOT_W-1:0] to;
        integer x;
        reg [SLOT_W-1:0] lane;
        begin
            f_lanes = 1'b1;
            for (x = 0; x < 4; x = x + 1) begin
                lane = list[x*KEY_W +: SLOT_W];
                f_lanes = f_lanes && (!list[(x+1)*KEY_W-1] || (lane >= from && lane <= to));
            end
        end
    endfunction

    // Keys of the word in s0, with their slots within their four; comparisons as they must be
    wire [12*KEY_W-1:0] f_in;
    wire [3*16-1:0]     f_above;
    genvar f_y;
    generate
        for (j = 0; j < 12; j = j + 1) begin : f_lane
            localparam [SLOT_W-1:0] LANE = j % 4;
            wire signed [SC_W-1:0] score = s0_scores_reg[j*SC_W +: SC_W];
            assign f_in[j*KEY_W +: KEY_W] = {in_mask[j], ~score[SC_W-1], score[SC_W-2:0], LANE};
            for (f_y = 0; f_y < 4; f_y = f_y + 1) begin : f_other
                wire signed [SC_W-1:0] other = s0_scores_reg[(j/4*4 + f_y)*SC_W +: SC_W];
                assign f_above[4*j + f_y] = f_y < j % 4 && score > other;
            end
        end
    endgenerate

    wire [KEY4_W-1:0] f_s1b = to_slots(s1b_reg, FOUR);
    wire [KEY4_W-1:0] f_s2c = to_slots(s2c_reg, EIGHT);
    wire [KEY8_W-1:0] f_word = {to_slots(f_s2c, s3_base), to_slots(s2a_reg, s3_base)};
    wire [KEY8_W-1:0] f_loop = {s4_first ? {KEY4_W{1'b0}} : best_reg, s3_reg};

    always @* begin
        // A stage takes what the one before has; no valid lane has a slot beyond the last one;
        // words of a pass come in the order of their slots.
        assume (!s1_en || f_there[0]);
        assume (!s2_en || f_there[1]);
        assume (!s3_en || (f_there[2] && f_lanes(s2a_reg, 0, ~s3_base)
                           && f_lanes(f_s2c, 0, ~s3_base)));
        assume (!s4_en || f_there[3]);
        assume (!s4_en || s4_first || (f_there[4] && f_below(best_reg, s3_reg)));
    end

    always @(posedge clk) begin
        started <= 1'b1;
        f_there <= f_there | {s4_en, s3_en, s2_en, s1_en, s0_en};

        if (started) begin
            // 1. Each group of four lanes is sorted, of the scores that were taken.
            assert (s0_scores_reg == $past(s0_en ? in_scores : s0_scores_reg));
            if ($past(s1_en)) begin
                assert (f_sorts(s1a_reg, $past(f_in[0 +: KEY4_W])));
                assert (f_sorts(s1b_reg, $past(f_in[KEY4_W +: KEY4_W])));
                assert (f_sorts(s1c_reg, $past(f_in[2*KEY4_W +: KEY4_W])));
            end
            // 2. The four best of the first eight lanes; the others go along.
            if ($past(s2_en)) begin
                assert (f_sorts(s2a_reg, $past({f_s1b, s1a_reg})));
                assert (s2c_reg == $past(s1c_reg));
            end
            // 3. The four best of the word, with their slots for lanes.
            if ($past(s3_en)) begin
                assert (f_sorts(s3_reg, $past(f_word)));
            end
            // 4. The running four best are those of the word and those before; of the first word,
            //    its own.
            if ($past(s4_en)) begin
                assert (f_sorts(best_reg, $past(f_loop)));
            end
            // 5. Without its enable a stage keeps what it has.
            assert ($past(s1_en) || {s1c_reg, s1b_reg, s1a_reg} == $past({s1c_reg, s1b_reg,
                                                                          s1a_reg}));
            assert ($past(s2_en) || {s2c_reg, s2a_reg} == $past({s2c_reg, s2a_reg}));
            assert ($past(s3_en) || s3_reg == $past(s3_reg));
            assert ($past(s4_en) || best_reg == $past(best_reg));
        end
        // 6. What the sorts rely on: comparisons are right, lists are in order, and of different
        //    lanes.
        if (f_there[0]) begin
            assert (s0_above_reg == f_above);
        end
        if (f_there[1]) begin
            assert (f_sorts(s1a_reg, s1a_reg) && f_sorts(s1b_reg, s1b_reg)
                    && f_sorts(s1c_reg, s1c_reg));
            assert (f_lanes(s1a_reg, 0, 3) && f_lanes(s1b_reg, 0, 3) && f_lanes(s1c_reg, 0, 3));
        end
        if (f_there[2]) begin
            assert (f_sorts(s2a_reg, s2a_reg) && f_sorts(s2c_reg, s2c_reg));
            assert (f_lanes(s2a_reg, 0, 7) && f_lanes(s2c_reg, 0, 3));
        end
        if (f_there[3]) begin
            assert (f_sorts(s3_reg, s3_reg));
        end
        if (f_there[4]) begin
            assert (f_sorts(best_reg, best_reg));
        end

        cover (f_there[4] && best_valid == 4'b0111);
        cover (f_there[4] && best_valid == 4'hf && best_slot[0 +: SLOT_W] == 11
               && best_slot[SLOT_W +: SLOT_W] == 5
               && best_score[0 +: SC_W] == best_score[3*SC_W +: SC_W] + 3);
        cover (started && $past(s4_en && !s4_first) && best_valid[1]
               && best_reg[0 +: KEY_W] == $past(best_reg[0 +: KEY_W])
               && best_reg[KEY_W +: KEY_W] == $past(s3_reg[0 +: KEY_W]));
    end
`endif

endmodule

`resetall
