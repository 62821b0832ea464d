// SPDX-License-Identifier: Apache-2.0
// SADS stage: which keys of a tile each row takes, and the share of its softmax that it keeps.
//
// Why: puts the three ways of selecting behind one set of ports; cfg_* say which, static for a job.
//     sum    sofa_sads_sum.v: by the share of a key in the row's predicted softmax; no score waits.
//     sort   sofa_sads_sort.v: the cfg_quota best of a tile within a radius (SORT = 1 only).
//     dense  all that a row sees. No scores come: the sum walks over tiles of zeros, whose keys all
//            lie at the peak, and a key at the peak is kept whatever the threshold.
// A turn (t_turn, sofa_turn.vh) comes for each tile and block, at the latest when its words begin.
// Words of scores (s_*) come in the order of the turns, ceil(n/4) of a tile; slots behind n and
// rows behind the block's may have any value, also an unknown one. Words of masks (m_*) leave in
// the same order, as many, with their turn beside them; their bits are 0 there. A turn that only
// counts has no masks. After a block's final turn SHARE words of f leave; f is 1 but for a sum with
// cfg_blend. f never waits for masks of later turns, and must be taken without waiting for those.
// Not done here: predicted scores (dlzs), the union of the rows' keys (rass). cfg_dense and
// cfg_sort may change only while the stage is empty.
// Latency, cycles. Sum, dense: sofa_sads_sum.v; a word of scores to its masks 3. Sort:
// sofa_sads_sort.v. ev_pairs comes 2 cycles after the word that it counts.
// Throughput: sum and dense a word a cycle, a tile every max(ceil(n/4), SHARE) cycles; sort a tile
// every P*(ceil(n/12) + 6) + 3 cycles, P = ceil(min(quota, n)/4) or fewer.
// Errors: none are found; cfg_sort without SORT is taken as sum.
// Source: SOFA (MICRO 2024), SADS; docs/second.md, Selection; docs/sads.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_turn.vh"

module sofa_sads #(
    // Query rows of a block, power of two, 4..128.
    parameter ROWS = 128,
    // Keys predicted at a time, the smallest tile of a job; power of two, 4..BC_MAX.
    parameter COLS = 32,
    // Largest head dimension, power of two, 16..256.
    parameter D_MAX = 128,
    // Largest tile, slots, power of two, 8..64.
    parameter BC_MAX = 64,
    // Bytes of the bus, power of two, 8..64, at most 2*ROWS: gives rows of a unit of SU-FA.
    parameter BUS_BYTES = 64,
    // Largest number of keys, power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Fraction bits of a prediction term, 0..8.
    parameter SC_FRAC = 2,
    // Blocks in residence, power of two, 2..8.
    parameter PLACES = 8,
    // 1: sort cores and score buffer exist. 0: sum and dense only.
    parameter SORT = 1,
    // Fraction bits of the sums of weights, 6..16.
    parameter SUM_FRAC = 12,
    // Bits of a level, a score in octaves, 8..12.
    parameter LEVEL_W = 10,
    // Fraction bits: logarithms 0..6, ratios 4..12, f 4..12.
    parameter LOG_FRAC = 4,
    parameter RATIO_FRAC = 8,
    parameter F_FRAC = 8,
    // Bits of a score, of a place; words of f of a block. Derived: leave at their defaults.
    parameter SC_W = 8 + SC_FRAC + $clog2(D_MAX),
    parameter PLACE_W = $clog2(PLACES),
    parameter SHARE = BUS_BYTES < 16 ? 4 : BUS_BYTES / 4
) (
    input  wire                               clk,
    input  wire                               rst,

    // Static during a job
    input  wire                               cfg_dense,
    input  wire                               cfg_sort,
    input  wire                               cfg_blend,
    input  wire [7:0]                         cfg_quota,

    // Turns
    input  wire                               t_valid,
    output wire                               t_ready,
    input  wire [`SOFA_TURN_W-1:0]            t_turn,

    // Words of scores: slot 4*w + j of row r in word w at index r*4 + j
    input  wire                               s_valid,
    output wire                               s_ready,
    input  wire                               s_last,
    input  wire [ROWS*4*SC_W-1:0]             s_scores,

    // Words of masks: slot 4*w + j of row r in word w at bit j*ROWS + r
    output wire                               m_valid,
    input  wire                               m_ready,
    output wire                               m_first,
    output wire                               m_last,
    output wire [4*ROWS-1:0]                  m_mask,
    output wire [`SOFA_TURN_W-1:0]            m_turn,

    // Shares: word w has rows w*ROWS/SHARE on, the lowest first
    output wire                               f_valid,
    input  wire                               f_ready,
    output wire [$clog2(SHARE)-1:0]           f_word,
    output wire                               f_last,
    output wire [PLACE_W-1:0]                 f_place,
    output wire [(ROWS/SHARE)*(F_FRAC+1)-1:0] f_data,

    // Events: a word is taken, or a tile sorted; waits for m; pairs in a word of masks that passed
    output wire                               ev_busy,
    output wire                               ev_stall,
    output wire [9:0]                         ev_pairs
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_ROWS_needs_power_of_two_4_to_128 stop ();
        end else if (BC_MAX < 8 || BC_MAX > 64 || BC_MAX != (1 << $clog2(BC_MAX))) begin : g_illegal
            illegal_parameter_BC_MAX_needs_power_of_two_8_to_64 stop ();
        end else if (COLS < 4 || COLS > BC_MAX || COLS != (1 << $clog2(COLS))) begin : g_illegal
            illegal_parameter_COLS_needs_power_of_two_4_to_BC_MAX stop ();
        end else if (D_MAX < 16 || D_MAX > 256 || D_MAX != (1 << $clog2(D_MAX))) begin : g_illegal
            illegal_parameter_D_MAX_needs_power_of_two_16_to_256 stop ();
        end else if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES > 2 * ROWS
                || BUS_BYTES != (1 << $clog2(BUS_BYTES))) begin : g_illegal
            illegal_parameter_BUS_BYTES_needs_power_of_two_8_to_64_and_2_ROWS stop ();
        end else if (KEYS_MAX < 64 || KEYS_MAX > 65536
                || KEYS_MAX != (1 << $clog2(KEYS_MAX))) begin : g_illegal
            illegal_parameter_KEYS_MAX_needs_power_of_two_64_to_65536 stop ();
        end else if (SC_FRAC < 0 || SC_FRAC > 8) begin : g_illegal
            illegal_parameter_SC_FRAC_needs_0_to_8 stop ();
        end else if (PLACES < 2 || PLACES > 8 || PLACES != (1 << $clog2(PLACES))) begin : g_illegal
            illegal_parameter_PLACES_needs_power_of_two_2_to_8 stop ();
        end else if (SORT < 0 || SORT > 1) begin : g_illegal
            illegal_parameter_SORT_needs_0_or_1 stop ();
        end else if (SUM_FRAC < 6 || SUM_FRAC > 16) begin : g_illegal
            illegal_parameter_SUM_FRAC_needs_6_to_16 stop ();
        end else if (LEVEL_W < 8 || LEVEL_W > 12) begin : g_illegal
            illegal_parameter_LEVEL_W_needs_8_to_12 stop ();
        end else if (LOG_FRAC < 0 || LOG_FRAC > 6) begin : g_illegal
            illegal_parameter_LOG_FRAC_needs_0_to_6 stop ();
        end else if (RATIO_FRAC < 4 || RATIO_FRAC > 12) begin : g_illegal
            illegal_parameter_RATIO_FRAC_needs_4_to_12 stop ();
        end else if (F_FRAC < 4 || F_FRAC > 12) begin : g_illegal
            illegal_parameter_F_FRAC_needs_4_to_12 stop ();
        end else if (SC_W != 8 + SC_FRAC + $clog2(D_MAX) || PLACE_W != $clog2(PLACES)
                || SHARE != (BUS_BYTES < 16 ? 4 : BUS_BYTES / 4)) begin : g_illegal
            illegal_parameter_SC_W_PLACE_W_and_SHARE_are_derived stop ();
        end
    endgenerate

    localparam RATIO_W = RATIO_FRAC + $clog2(KEYS_MAX) - $clog2(COLS) + 1;
    localparam TAU_W   = 7 + LOG_FRAC;
    localparam STEP_W  = $clog2(SHARE);
    localparam GROUPS  = ROWS / SHARE;
    // Bits of the number of a tile's last word of four slots
    localparam WORD_W  = $clog2(BC_MAX / 4);
    // Turns that wait with their masks: two in use, one ahead, one whose masks leave
    localparam TURNS   = 4;

    wire mode_sort = SORT != 0 && cfg_sort;

    // ---- Turns ---------------------------------------------------------------------------------
    // Each way has a queue of the fields that it needs; here the whole turn waits for its masks.
    wire [7:0]         t_n      = t_turn[`SOFA_TURN_N];
    wire [2:0]         t_place  = t_turn[`SOFA_TURN_PLACE];
    wire [31:0]        t_ratio  = t_turn[`SOFA_TURN_RATIO];
    wire [15:0]        t_tau    = t_turn[`SOFA_TURN_TAU];
    wire [31:0]        t_radius = t_turn[`SOFA_TURN_RADIUS];
    // Bits beyond the widths of these parameters
    wire               unused_fields = &{1'b0, t_place, t_ratio, t_tau, t_radius};
    wire               turns_ready;
    wire               zeros_ready;
    wire               sum_t_ready;
    wire               sort_t_ready;
    wire               way_ready = mode_sort ? sort_t_ready : sum_t_ready && zeros_ready;
    wire               t_take = t_valid && t_ready;
    wire               m_take = m_valid && m_ready;
    wire               unused_turn;
    wire [2:0]         unused_turns;

    assign t_ready = turns_ready && way_ready;

    sofa_sync_fifo #(
        .WIDTH(`SOFA_TURN_W),
        .DEPTH(TURNS)
    ) turn_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_take && !t_turn[`SOFA_TURN_COUNT]),
        .s_ready (turns_ready),
        .s_data  (t_turn),
        .m_valid (unused_turn),
        .m_ready (m_take && m_last),
        .m_data  (m_turn),
        .level   (unused_turns)
    );

    // ---- Dense: tiles of zeros -----------------------------------------------------------------
    // The number of the last word of each tile whose words have not all been taken: as many as the
    // sum's queue and its current one.
    wire [7:0]        behind = t_n - 8'd1;
    wire              zeros_valid;
    wire [WORD_W-1:0] zeros_last;
    reg  [WORD_W-1:0] zeros_word_reg;
    wire              sum_s_ready;
    wire              zeros_end  = zeros_word_reg == zeros_last;
    wire              zeros_take = cfg_dense && zeros_valid && sum_s_ready;
    wire [1:0]        unused_zeros;
    wire              unused_behind = &{1'b0, behind[7:WORD_W+2], behind[1:0]};

    sofa_sync_fifo #(
        .WIDTH(WORD_W),
        .DEPTH(3)
    ) zeros_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_take && cfg_dense),
        .s_ready (zeros_ready),
        .s_data  (behind[WORD_W+1:2]),
        .m_valid (zeros_valid),
        .m_ready (zeros_take && zeros_end),
        .m_data  (zeros_last),
        .level   (unused_zeros)
    );

    always @(posedge clk) begin
        if (zeros_take) begin
            zeros_word_reg <= zeros_end ? {WORD_W{1'b0}} : zeros_word_reg + 1'b1;
        end

        if (rst) begin
            zeros_word_reg <= {WORD_W{1'b0}};
        end
    end

    // ---- By the row's sum ----------------------------------------------------------------------
    localparam [ROWS*4*SC_W-1:0] ZEROS = 0;

    wire                           sum_m_valid;
    wire                           sum_m_first;
    wire                           sum_m_last;
    wire [4*ROWS-1:0]              sum_m_mask;
    wire                           sum_f_valid;
    wire                           sum_f_last;
    wire [STEP_W-1:0]              sum_f_word;
    wire [PLACE_W-1:0]             sum_f_place;
    wire [GROUPS*(F_FRAC+1)-1:0]   sum_f_data;
    wire                           sum_busy;
    wire                           sum_stall;
    wire                           unused_m_user;
    wire                           unused_f_user;

    sofa_sads_sum #(
        .ROWS       (ROWS),
        .SC_W       (SC_W),
        .SUM_FRAC   (SUM_FRAC),
        .LEVEL_W    (LEVEL_W),
        .LOG_FRAC   (LOG_FRAC),
        .RATIO_FRAC (RATIO_FRAC),
        .F_FRAC     (F_FRAC),
        .KEYS_MAX   (KEYS_MAX),
        .BC_MAX     (BC_MAX),
        .BC_MIN     (COLS),
        .PLACES     (PLACES),
        .SHARE      (SHARE),
        .USER_W     (1)
    ) sum_inst (
        .clk      (clk),
        .rst      (rst),
        .t_valid  (t_take && !mode_sort),
        .t_ready  (sum_t_ready),
        .t_place  (t_place[PLACE_W-1:0]),
        .t_start  (t_turn[`SOFA_TURN_START]),
        .t_count  (t_turn[`SOFA_TURN_COUNT]),
        .t_final  (t_turn[`SOFA_TURN_FINAL]),
        .t_n      (t_n),
        .t_rows   (t_turn[`SOFA_TURN_ROWS]),
        .t_causal (t_turn[`SOFA_TURN_CAUSAL]),
        .t_rel    (t_turn[`SOFA_TURN_REL]),
        .t_kstep  (t_turn[`SOFA_TURN_MSTEP]),
        .t_window (t_turn[`SOFA_TURN_WINDOW]),
        .t_exact  (t_turn[`SOFA_TURN_EXACT]),
        .t_ratio  (t_ratio[RATIO_W-1:0]),
        .t_tau    (t_tau[TAU_W-1:0]),
        .t_octave (t_turn[`SOFA_TURN_OCTAVE]),
        .t_user   (1'b0),
        .s_valid  (cfg_dense ? zeros_valid : s_valid && !mode_sort),
        .s_ready  (sum_s_ready),
        .s_last   (cfg_dense ? zeros_end : s_last),
        .s_scores (cfg_dense ? ZEROS : s_scores),
        .m_valid  (sum_m_valid),
        .m_ready  (m_ready && !mode_sort),
        .m_first  (sum_m_first),
        .m_last   (sum_m_last),
        .m_mask   (sum_m_mask),
        .m_user   (unused_m_user),
        .f_valid  (sum_f_valid),
        .f_ready  (f_ready && !mode_sort),
        .f_last   (sum_f_last),
        .f_word   (sum_f_word),
        .f_place  (sum_f_place),
        .f_data   (sum_f_data),
        .f_user   (unused_f_user),
        .ev_busy  (sum_busy),
        .ev_stall (sum_stall)
    );

    // ---- By sorting ----------------------------------------------------------------------------
    wire               sort_s_ready;
    wire               sort_m_valid;
    wire               sort_m_first;
    wire               sort_m_last;
    wire [4*ROWS-1:0]  sort_m_mask;
    wire               sort_f_valid;
    wire               sort_f_last;
    wire [STEP_W-1:0]  sort_f_word;
    wire [PLACE_W-1:0] sort_f_place;
    wire               sort_busy;
    wire               sort_stall;

    generate
        if (SORT != 0) begin : g_sort
            sofa_sads_sort #(
                .ROWS   (ROWS),
                .BC_MAX (BC_MAX),
                .SC_W   (SC_W),
                .PLACES (PLACES),
                .SHARE  (SHARE)
            ) sort_inst (
                .clk       (clk),
                .rst       (rst),
                .cfg_quota (cfg_quota),
                .t_valid   (t_take && mode_sort),
                .t_ready   (sort_t_ready),
                .t_place   (t_place[PLACE_W-1:0]),
                .t_start   (t_turn[`SOFA_TURN_START]),
                .t_final   (t_turn[`SOFA_TURN_FINAL]),
                .t_n       (t_n),
                .t_rows    (t_turn[`SOFA_TURN_ROWS]),
                .t_causal  (t_turn[`SOFA_TURN_CAUSAL]),
                .t_rel     (t_turn[`SOFA_TURN_REL]),
                .t_kstep   (t_turn[`SOFA_TURN_MSTEP]),
                .t_window  (t_turn[`SOFA_TURN_WINDOW]),
                .t_radius  (t_radius[SC_W-1:0]),
                .s_valid   (s_valid && mode_sort),
                .s_ready   (sort_s_ready),
                .s_last    (s_last),
                .s_scores  (s_scores),
                .m_valid   (sort_m_valid),
                .m_ready   (m_ready && mode_sort),
                .m_first   (sort_m_first),
                .m_last    (sort_m_last),
                .m_mask    (sort_m_mask),
                .f_valid   (sort_f_valid),
                .f_ready   (f_ready && mode_sort),
                .f_last    (sort_f_last),
                .f_word    (sort_f_word),
                .f_place   (sort_f_place),
                .ev_busy   (sort_busy),
                .ev_stall  (sort_stall)
            );
        end else begin : g_none
            wire unused_quota = &{1'b0, cfg_quota};
            assign sort_t_ready = 1'b0;
            assign sort_s_ready = 1'b0;
            assign sort_m_valid = 1'b0;
            assign sort_m_first = 1'b0;
            assign sort_m_last  = 1'b0;
            assign sort_m_mask  = {4*ROWS{1'b0}};
            assign sort_f_valid = 1'b0;
            assign sort_f_last  = 1'b0;
            assign sort_f_word  = {STEP_W{1'b0}};
            assign sort_f_place = {PLACE_W{1'b0}};
            assign sort_busy    = 1'b0;
            assign sort_stall   = 1'b0;
        end
    endgenerate

    // ---- Outputs -------------------------------------------------------------------------------
    localparam [F_FRAC:0] WHOLE = {1'b1, {F_FRAC{1'b0}}};

    assign s_ready = mode_sort ? sort_s_ready : sum_s_ready && !cfg_dense;

    assign m_valid = mode_sort ? sort_m_valid : sum_m_valid;
    assign m_first = mode_sort ? sort_m_first : sum_m_first;
    assign m_last  = mode_sort ? sort_m_last  : sum_m_last;
    assign m_mask  = mode_sort ? sort_m_mask  : sum_m_mask;

    assign f_valid = mode_sort ? sort_f_valid : sum_f_valid;
    assign f_last  = mode_sort ? sort_f_last  : sum_f_last;
    assign f_word  = mode_sort ? sort_f_word  : sum_f_word;
    assign f_place = mode_sort ? sort_f_place : sum_f_place;
    assign f_data  = (mode_sort || cfg_dense || !cfg_blend) ? {GROUPS{WHOLE}} : sum_f_data;

    assign ev_busy  = mode_sort ? sort_busy : sum_busy;
    assign ev_stall = mode_sort ? sort_stall : sum_stall;

    sofa_sads_pairs #(
        .BITS(4 * ROWS)
    ) pairs_inst (
        .clk   (clk),
        .rst   (rst),
        .en    (m_take),
        .bits  (m_mask),
        .pairs (ev_pairs)
    );

endmodule

`resetall
