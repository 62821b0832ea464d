// SPDX-License-Identifier: Apache-2.0
// DLZS stage: predicts the scores of ROWS queries against the keys of a tile by shift and add; in a
// predict job, the keys themselves.
//
// Why: the estimate decides which keys the exact attention computes; powers of two in place of
// Q make it cheap enough to do for every pair (DLZS phase 1.2, A = pow2(Q) * K8^T). The same array
// makes the keys that it needs from the tokens (phase 1.1, K^ = X8 * pow2(Wk)): then a column is a
// token, a row is an output dimension, and the row operand comes from the stream of weight codes.
// A tile serves all blocks of a part, one turn each; the codes of the blocks stay in their places.
//
// A turn (tn_*) goes to t_* at once, ahead of its words, and waits for its tile and, if it is its
// block's first, for the block's Q. Tiles are used in the order of k8_commit, blocks begin in the
// order of q_commit, which comes with the last beat of a block or later.
// Words (s_*): word w of a turn has slots 4*w .. 4*w+3 of all rows; ceil(n/4) words. Scores of
// slots from n on and of rows from the turn's rows on are undefined.
// Dense: a turn goes to t_* when the Q of its block has come, and gives no words; no tiles come.
// Predict job: a turn is a part of H of a chunk for a group of N tokens, START and FINAL its first
// and last part; one tile each; neither t_* nor s_* are used.
// Not done here: causal masking and selection (sads).
// Latency: tn taken to t_valid 1 cycle; to the first word, when array is idle and tile and Q are
// there, d + 4; q_commit to the first read 2, k8_commit 1. q_release_dlzs, k8_release: one cycle
// after the last read.
// Throughput: a pass of COLS slots every d cycles, ceil(n/COLS) passes a turn, without gaps between
// passes and turns as long as the input is there. Dense: a turn a cycle. Predict job: an element of
// X8 a cycle while codes and parts are there, without gaps between parts, chunks and groups as long
// as sofa_dlzs_khat empties a chunk in the time of the next.
// Words of scores wait in a register, which cuts the path from the accumulators through the
// multiplexer of their groups to the receiver. A word that waits for it freezes the array: the
// enable of the stage depends on s_ready, which must come from near a register; no output depends
// on it.
// Errors: none are found. A place from PLACES on or beyond the store, or n = 0, gives wrong scores.
// Source: SOFA, MICRO 2024, DLZS; docs/dlzs.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_turn.vh"

module sofa_dlzs #(
    // Query rows, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 4,
    // Columns: keys predicted together, a power of two, 4..min(BC_MAX, 32).
    parameter COLS = 4,
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 16,
    // Slots of a tile, a power of two, BUS_BYTES..64.
    parameter BC_MAX = 16,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 8,
    // Most blocks in residence, a power of two, 2..8.
    parameter PLACES = 4,
    // Beats of Q in residence: two blocks of D_MAX at least, ROWS*256 at most.
    parameter STORE_BEATS = 32,
    // Fraction bits of a term, 0..8.
    parameter SC_FRAC = 2,
    // 1: cells add the bit after the leading one (snap rule 2).
    parameter TWO_TERM = 0,
    // Buffers of the K8 ring, 2..4.
    parameter K8_BUFS = 2,
    // Pairs of outputs that a predict job turns into keys in a cycle, a power of two, 1..ROWS/2;
    // more than D_MAX/2 are as good as D_MAX/2.
    parameter ROPE_PAIRS = 1,
    // Bits of ports. Derived: leave at their defaults.
    parameter SC_W = 8 + SC_FRAC + $clog2(D_MAX),
    parameter ROW_W = $clog2(ROWS),
    parameter SLOT_W = $clog2(BC_MAX),
    parameter PLACE_W = $clog2(PLACES)
) (
    input  wire                     clk,
    input  wire                     rst,

    // Configuration, static during a job
    input  wire [8:0]               cfg_d,
    input  wire                     cfg_dense,
    input  wire [1:0]               cfg_snap,
    // Of predict jobs
    input  wire                     cfg_predict,
    input  wire [1:0]               cfg_rope,
    input  wire [31:0]              cfg_k8_stride,
    input  wire [31:0]              cfg_k8_hstride,
    input  wire [31:0]              cfg_rt_stride,

    // Turns
    input  wire                     tn_valid,
    output wire                     tn_ready,
    input  wire [`SOFA_TURN_W-1:0]  tn_turn,

    // Q of resident blocks; pulses: all of the next block has come; it is no longer needed
    input  wire                     q_wr_valid,
    input  wire [PLACE_W-1:0]       q_wr_place,
    input  wire [ROW_W-1:0]         q_wr_row,
    input  wire [7:0]               q_wr_beat,
    input  wire [8*BUS_BYTES-1:0]   q_wr_data,
    input  wire                     q_commit,
    output wire                     q_release_dlzs,

    // K8 ring, K8_BUFS buffers; pulses: the next tile has come, the oldest is no longer needed
    input  wire                     k8_wr_valid,
    input  wire [1:0]               k8_wr_buf,
    input  wire [SLOT_W-1:0]        k8_wr_slot,
    input  wire [7:0]               k8_wr_beat,
    input  wire [8*BUS_BYTES-1:0]   k8_wr_data,
    input  wire                     k8_commit,
    output wire                     k8_release,

    // Predict job: weight codes, a header and words for each chunk of a group, in whole beats
    input  wire                     w_d_valid,
    output wire                     w_d_ready,
    input  wire [8*BUS_BYTES-1:0]   w_d_data,

    // Predict job: commands and beats of the RoPE table
    output wire                     r_c_valid,
    input  wire                     r_c_ready,
    output wire [47:0]              r_c_addr,
    output wire [15:0]              r_c_beats,
    input  wire                     r_d_valid,
    output wire                     r_d_ready,
    input  wire [8*BUS_BYTES-1:0]   r_d_data,

    // Turns, ahead of their words
    output wire                     t_valid,
    input  wire                     t_ready,
    output wire [`SOFA_TURN_W-1:0]  t_turn,

    // Words of scores: slot 4*w + j of row r in word w at index r*4 + j
    output wire                     s_valid,
    input  wire                     s_ready,
    output wire                     s_last,
    output wire [ROWS*4*SC_W-1:0]   s_scores,

    // Predict job: single-beat writes of keys, a pulse for each answer; a pulse at kp_done when all
    // of a chunk of a group are answered
    output wire                     x_valid,
    input  wire                     x_ready,
    output wire [47:0]              x_addr,
    output wire [8*BUS_BYTES-1:0]   x_data,
    output wire [BUS_BYTES-1:0]     x_strb,
    input  wire                     x_done,
    output wire                     kp_done,

    // Events: an element enters the array (dense: a turn leaves); a word waits
    output wire                     ev_busy,
    output wire                     ev_stall
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES)))
        begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_BUS_BYTES_needs_power_of_two_8_to_64 stop ();
        end else if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)))
        begin : g_illegal
            illegal_parameter_ROWS_needs_power_of_two_half_BUS_BYTES_to_128 stop ();
        end else if (BC_MAX < BUS_BYTES || BC_MAX > 64 || BC_MAX != (1 << $clog2(BC_MAX)))
        begin : g_illegal
            illegal_parameter_BC_MAX_needs_power_of_two_BUS_BYTES_to_64 stop ();
        end else if (COLS < 4 || COLS > 32 || COLS > BC_MAX || COLS != (1 << $clog2(COLS)))
        begin : g_illegal
            illegal_parameter_COLS_needs_power_of_two_4_to_32_and_BC_MAX stop ();
        end else if (D_MAX < 16 || D_MAX < BUS_BYTES || D_MAX > 256
                || D_MAX != (1 << $clog2(D_MAX))) begin : g_illegal
            illegal_parameter_D_MAX_needs_power_of_two_16_and_BUS_BYTES_to_256 stop ();
        end else if (PLACES < 2 || PLACES > 8 || PLACES != (1 << $clog2(PLACES)))
        begin : g_illegal
            illegal_parameter_PLACES_needs_power_of_two_2_to_8 stop ();
        end else if (STORE_BEATS / ROWS < 4 * D_MAX / BUS_BYTES || STORE_BEATS / ROWS > 256)
        begin : g_illegal
            illegal_parameter_STORE_BEATS_needs_two_blocks_of_D_MAX_to_256_beats_a_row stop ();
        end else if (K8_BUFS < 2 || K8_BUFS > 4) begin : g_illegal
            illegal_parameter_K8_BUFS_needs_2_to_4 stop ();
        end else if (ROPE_PAIRS < 1 || ROPE_PAIRS > ROWS / 2
                || ROPE_PAIRS != (1 << $clog2(ROPE_PAIRS))) begin : g_illegal
            illegal_parameter_ROPE_PAIRS_needs_power_of_two_1_to_half_ROWS stop ();
        end else if (SC_W != 8 + SC_FRAC + $clog2(D_MAX) || ROW_W != $clog2(ROWS)
                || SLOT_W != $clog2(BC_MAX) || PLACE_W != $clog2(PLACES)) begin : g_illegal
            illegal_parameter_SC_W_ROW_W_SLOT_W_and_PLACE_W_are_derived stop ();
        end
    endgenerate

    localparam QE        = BUS_BYTES / 2;
    localparam CODE_W    = 5 + TWO_TERM;
    localparam ENTRIES   = ROWS < 8 ? 1 : ROWS / 8;
    localparam ROW_BEATS = STORE_BEATS / ROWS;
    localparam BEAT_W    = $clog2(ROW_BEATS);
    localparam K8BUF_W   = $clog2(K8_BUFS);
    localparam ELEM_W    = $clog2(D_MAX);
    localparam BASE_W    = SLOT_W + 1;
    localparam GROUP_W   = COLS > 4 ? $clog2(COLS) - 2 : 1;
    localparam [BASE_W-1:0] COLS_STEP = COLS[BASE_W-1:0];
    localparam [31:0] LAST_K8BUF = K8_BUFS - 1;
    localparam [31:0] LAST_GROUP = COLS / 4 - 1;
    localparam [BC_MAX-1:0] FIRST_BANK = 1;

    generate
        if (K8BUF_W < 2) begin : g_unused_buf
            wire unused_buf = k8_wr_buf[1];
        end
    endgenerate

    wire dense = cfg_dense && !cfg_predict;

    // ---- Turns: one way to sads, whole; one to the array, what it needs ------------------------
    localparam OWN_W = BEAT_W + 3 + 8 + 8 + 9 + 6 + 48 + 48;

    wire              tf_ready, own_ready;
    wire              tf_valid;
    wire              tf_take = t_valid && t_ready;
    wire [1:0]        unused_tf_level;
    wire [2:0]        unused_own_level;

    // Beats of a vector of Q, and the first one of the turn's place
    localparam [31:0] ROUND_UP = QE - 1;
    wire [8:0]        d_round = cfg_d + ROUND_UP[8:0];
    wire [8:0]        q_beats = d_round >> $clog2(QE);
    wire [2:0]        tn_place = tn_turn[`SOFA_TURN_PLACE];
    wire [9:0]        tn_base = {7'd0, tn_place} * {3'd0, q_beats[6:0]};
    wire [24:0]       tn_rel = tn_turn[`SOFA_TURN_REL];
    wire [16:0]       tn_kstep = tn_turn[`SOFA_TURN_KSTEP];

    assign tn_ready = tf_ready && own_ready;

    sofa_sync_fifo #(
        .WIDTH (`SOFA_TURN_W),
        .DEPTH (2)
    ) turn_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (tn_valid && own_ready && !cfg_predict),
        .s_ready (tf_ready),
        .s_data  (tn_turn),
        .m_valid (tf_valid),
        .m_ready (tf_take),
        .m_data  (t_turn),
        .level   (unused_tf_level)
    );

    wire              turn_valid, turn_done;
    wire [BEAT_W-1:0] turn_base;
    wire              turn_start, turn_final, turn_tile_last;
    wire [7:0]        turn_n, turn_rows;
    wire [8:0]        turn_elems;
    wire [5:0]        turn_part;
    wire [47:0]       turn_kbase, turn_vbase;

    // Turns for which sads may be ahead of the array.
    sofa_sync_fifo #(
        .WIDTH (OWN_W),
        .DEPTH (4)
    ) own_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (tn_valid && tf_ready && !dense),
        .s_ready (own_ready),
        .s_data  ({tn_base[BEAT_W-1:0], tn_turn[`SOFA_TURN_START], tn_turn[`SOFA_TURN_FINAL],
                   tn_turn[`SOFA_TURN_TILE_LAST], tn_turn[`SOFA_TURN_N], tn_turn[`SOFA_TURN_ROWS],
                   tn_rel[8:0], tn_kstep[5:0], tn_turn[`SOFA_TURN_KBASE],
                   tn_turn[`SOFA_TURN_VBASE]}),
        .m_valid (turn_valid),
        .m_ready (turn_done),
        .m_data  ({turn_base, turn_start, turn_final, turn_tile_last, turn_n, turn_rows,
                   turn_elems, turn_part, turn_kbase, turn_vbase}),
        .level   (unused_own_level)
    );

    // ---- Blocks and tiles at hand --------------------------------------------------------------
    // Commits of Q are delayed as the codes' write is.
    reg        commit_reg;
    // Blocks that have come and not begun, tiles, and whether there is one. That it has begun, that
    // it was released shows in their number a cycle later
    reg  [3:0] blocks_reg;
    reg        block_reg, begun_reg;
    reg  [2:0] tiles_reg;
    reg        tile_reg;
    reg  [1:0] k8_buf_reg, k8_buf_next;
    reg        q_release_reg, q_release_next;
    reg        k8_release_reg, k8_release_next;

    wire [3:0] blocks      = blocks_reg + {3'd0, commit_reg} - {3'd0, begun_reg};
    wire [2:0] tiles       = tiles_reg + {2'd0, k8_commit} - {2'd0, k8_release_reg};

    assign t_valid = tf_valid && (!dense || !t_turn[`SOFA_TURN_START] || block_reg);

    // ---- Read sequence: element by element, pass by pass, turn by turn -------------------------
    reg  [ELEM_W-1:0] elem_reg, elem_next;
    // It is the first
    reg               elem_first_reg;
    // First slot of the pass
    reg  [BASE_W-1:0] base_reg, base_next;

    wire              word_valid, word_last, khat_ready;
    wire [ROWS*4*SC_W-1:0] word_scores;
    // Word that is offered, and whether the next one can follow
    reg               s_valid_reg, s_last_reg;
    reg  [ROWS*4*SC_W-1:0] s_scores_reg;
    wire              s_free = !s_valid_reg || s_ready;
    wire              s_take = word_valid && !cfg_predict && s_free;
    // Of a predict job: a code word is there.
    wire              w_valid;
    // Bias and shift of each 8 rows of the chunk
    wire [20*ENTRIES-1:0] w_numbers;
    // A sum runs over a pass, or over the elements of all parts of a chunk.
    wire              sum_first = !cfg_predict || turn_start;
    wire              sum_last = !cfg_predict || turn_final;

    wire [8:0]        elem_end = (cfg_predict ? turn_elems : cfg_d) - 9'd1;
    wire              elem_last = elem_reg == elem_end[ELEM_W-1:0];

    // Everything from the read to the accumulators moves together.
    wire              p_advance = !word_valid || khat_ready;
    wire              advance = cfg_predict ? p_advance : !word_valid || s_free;
    wire              work = turn_valid && tile_reg
        && (cfg_predict ? w_valid : !turn_start || block_reg);
    // The code stream must see nothing of s_ready, and need not see blocks.
    wire              p_read = cfg_predict && p_advance && turn_valid && tile_reg && w_valid;
    wire              read = advance && work;
    wire [BASE_W-1:0] base_step = base_reg + COLS_STEP;
    wire              pass_last = base_step >= turn_n[BASE_W-1:0];
    // The last group of the turn that holds a slot below n
    wire [7:0]        n_end = turn_n - 8'd1;
    wire [GROUP_W-1:0] group;

    generate
        if (COLS == 4) begin : g_last_group
            assign group = 1'b0;
        end else begin : g_last_group
            assign group = pass_last && !cfg_predict ? n_end[GROUP_W+1:2]
                                                     : LAST_GROUP[GROUP_W-1:0];
        end
    endgenerate

    assign turn_done = read && elem_last && pass_last;

    wire block_begins = (turn_done && turn_start && !cfg_predict)
        || (tf_take && dense && t_turn[`SOFA_TURN_START]);

    always @* begin
        elem_next       = elem_reg;
        base_next       = base_reg;
        k8_buf_next     = k8_buf_reg;
        q_release_next  = (turn_done && turn_final && !cfg_predict)
            || (tf_take && dense && t_turn[`SOFA_TURN_FINAL]);
        k8_release_next = turn_done && turn_tile_last;

        if (read) begin
            elem_next = elem_reg + 1'b1;
            if (elem_last) begin
                elem_next = {ELEM_W{1'b0}};
                base_next = pass_last ? {BASE_W{1'b0}} : base_step;
            end
        end
        if (k8_release_next) begin
            k8_buf_next = k8_buf_reg == LAST_K8BUF[1:0] ? 2'd0 : k8_buf_reg + 2'd1;
        end

    end

    // ---- Operands ------------------------------------------------------------------------------
    wire [ROWS*CODE_W-1:0] q_code, w_code;
    reg  [ROWS*CODE_W-1:0] w_code_reg;
    wire [ROWS*CODE_W-1:0] code = cfg_predict ? w_code_reg : q_code;
    wire [BC_MAX*8-1:0]    k8_banks;
    wire [COLS*8-1:0]      k8, k8_rotated;
    // Rotation that brings slot `base` of the element read to column 0, and the same one-hot
    wire [SLOT_W-1:0]      elem_bank;
    wire [SLOT_W-1:0]      rotate = elem_bank + base_reg[SLOT_W-1:0];
    reg  [SLOT_W-1:0]      rotate_reg;
    reg  [BC_MAX-1:0]      rotate_hot_reg;

    generate
        if (ELEM_W < SLOT_W) begin : g_elem_bank
            assign elem_bank = {{(SLOT_W - ELEM_W){1'b0}}, elem_reg};
        end else begin : g_elem_bank
            assign elem_bank = elem_reg[SLOT_W-1:0];
        end
    endgenerate

    sofa_dlzs_codes #(
        .ROWS     (ROWS),
        .QE       (QE),
        .D_MAX    (D_MAX),
        .PLACES   (PLACES),
        .BEATS    (ROW_BEATS),
        .TWO_TERM (TWO_TERM)
    ) codes_inst (
        .clk       (clk),
        .rst       (rst),
        .cfg_snap  (cfg_snap),
        .cfg_beats (q_beats[6:0]),
        .wr_valid  (q_wr_valid),
        .wr_place  (q_wr_place),
        .wr_row    (q_wr_row),
        .wr_beat   (q_wr_beat),
        .wr_data   (q_wr_data),
        .rd_en     (read && !cfg_predict),
        .rd_base   (turn_base),
        .rd_elem   (elem_reg),
        .rd_code   (q_code)
    );

    sofa_dlzs_wcodes #(
        .ROWS      (ROWS),
        .BUS_BYTES (BUS_BYTES),
        .TWO_TERM  (TWO_TERM)
    ) wcodes_inst (
        .clk       (clk),
        .rst       (rst),
        .s_valid   (w_d_valid),
        .s_ready   (w_d_ready),
        .s_data    (w_d_data),
        .m_valid   (w_valid),
        .m_ready   (p_read),
        .m_last    (elem_last && turn_final),
        .m_code    (w_code),
        .m_numbers (w_numbers)
    );

    sofa_corner_buffer #(
        .LANES  (BC_MAX),
        .ELEMS  (D_MAX),
        .WIDTH  (8),
        .BEAT   (BUS_BYTES),
        .BUFS   (K8_BUFS),
        .ROTATE (0)
    ) k8_inst (
        .clk      (clk),
        .wr_valid (k8_wr_valid),
        .wr_buf   (k8_wr_buf[K8BUF_W-1:0]),
        .wr_lane  (k8_wr_slot),
        .wr_beat  (k8_wr_beat),
        .wr_data  (k8_wr_data),
        .rd_en    (read),
        .rd_buf   (k8_buf_reg[K8BUF_W-1:0]),
        .rd_elem  (elem_reg),
        .rd_data  (k8_banks)
    );

    sofa_lane_rotate #(
        .LANES (BC_MAX),
        .OUT   (COLS),
        .WIDTH (8)
    ) k8_rotate_inst (
        .amount   (rotate_reg),
        .in_data  (k8_banks),
        .out_data (k8_rotated)
    );

    wire [39:0] k8x3;

    sofa_dlzs_first #(
        .LANES (BC_MAX)
    ) first_inst (
        .banks (k8_banks),
        .hot   (rotate_hot_reg),
        .k8    (k8[31:0]),
        .k8x3  (k8x3)
    );

    wire unused_rotated = &{1'b0, k8_rotated[31:0]};

    generate
        if (COLS > 4) begin : g_columns
            assign k8[COLS*8-1:32] = k8_rotated[COLS*8-1:32];
        end
    endgenerate

    // ---- Array ---------------------------------------------------------------------------------
    reg               valid_reg, first_reg, last_reg, turn_last_reg;
    reg [GROUP_W-1:0] group_reg;

    sofa_dlzs_array #(
        .ROWS     (ROWS),
        .COLS     (COLS),
        .SC_FRAC  (SC_FRAC),
        .TWO_TERM (TWO_TERM),
        .SC_W     (SC_W)
    ) array_inst (
        .clk          (clk),
        .rst          (rst),
        .en           (advance),
        .in_valid     (valid_reg),
        .in_first     (first_reg),
        .in_last      (last_reg),
        .in_turn_last (turn_last_reg),
        .in_group     (group_reg),
        .in_code      (code),
        .in_k8        (k8),
        .in_k8x3      (k8x3),
        .word_valid   (word_valid),
        .word_last    (word_last),
        .word_scores  (word_scores)
    );

    assign s_valid  = s_valid_reg;
    assign s_last   = s_last_reg;
    assign s_scores = s_scores_reg;

    always @(posedge clk) begin
        if (s_free) begin
            s_valid_reg <= s_take;
        end
        if (s_take) begin
            s_last_reg   <= word_last;
            s_scores_reg <= word_scores;
        end

        if (rst) begin
            s_valid_reg <= 1'b0;
        end
    end

    // ---- Predict job: words to keys ------------------------------------------------------------
    sofa_dlzs_khat #(
        .ROWS      (ROWS),
        .COLS      (COLS),
        .D_MAX     (D_MAX),
        .BUS_BYTES (BUS_BYTES),
        .SC_W      (SC_W),
        .PAIRS     (ROPE_PAIRS > D_MAX / 2 ? D_MAX / 2 : ROPE_PAIRS)
    ) khat_inst (
        .clk            (clk),
        .rst            (rst),
        .cfg_d          (cfg_d),
        .cfg_rope       (cfg_rope),
        .cfg_k8_stride  (cfg_k8_stride),
        .cfg_k8_hstride (cfg_k8_hstride),
        .cfg_rt_stride  (cfg_rt_stride),
        .t_valid        (p_read && elem_first_reg && turn_start),
        .t_n            (turn_n),
        .t_rows         (turn_rows),
        .t_part         (turn_part),
        .t_kbase        (turn_kbase),
        .t_vbase        (turn_vbase),
        .t_numbers      (w_numbers),
        .s_valid        (word_valid && cfg_predict),
        .s_ready        (khat_ready),
        .s_scores       (word_scores),
        .r_c_valid      (r_c_valid),
        .r_c_ready      (r_c_ready),
        .r_c_addr       (r_c_addr),
        .r_c_beats      (r_c_beats),
        .r_d_valid      (r_d_valid),
        .r_d_ready      (r_d_ready),
        .r_d_data       (r_d_data),
        .x_valid        (x_valid),
        .x_ready        (x_ready),
        .x_addr         (x_addr),
        .x_data         (x_data),
        .x_strb         (x_strb),
        .x_done         (x_done),
        .kp_done        (kp_done)
    );

    // --------------------------------------------------------------------------------------------
    reg ev_busy_reg, ev_stall_reg;

    assign q_release_dlzs = q_release_reg;
    assign k8_release     = k8_release_reg;
    assign ev_busy        = ev_busy_reg;
    assign ev_stall       = ev_stall_reg;

    always @(posedge clk) begin
        commit_reg     <= q_commit;
        // A block counts until its first turn is over.
        blocks_reg     <= blocks;
        block_reg      <= block_begins ? blocks > 4'd1 : blocks != 4'd0;
        begun_reg      <= block_begins;
        tiles_reg      <= tiles;
        tile_reg       <= k8_release_next ? tiles > 3'd1 : tiles != 3'd0;
        k8_buf_reg     <= k8_buf_next;
        q_release_reg  <= q_release_next;
        k8_release_reg <= k8_release_next;
        elem_reg       <= elem_next;
        base_reg       <= base_next;
        ev_busy_reg    <= read || (dense && tf_take);
        ev_stall_reg   <= !advance;

        if (advance) begin
            valid_reg     <= read;
            first_reg     <= elem_first_reg && sum_first;
            last_reg      <= elem_last && sum_last;
            turn_last_reg <= pass_last;
            group_reg     <= group;
        end
        if (read) begin
            elem_first_reg <= elem_last;
            rotate_reg     <= rotate;
            rotate_hot_reg <= FIRST_BANK << rotate;
            w_code_reg     <= w_code;
        end

        if (rst) begin
            commit_reg     <= 1'b0;
            blocks_reg     <= 4'd0;
            block_reg      <= 1'b0;
            begun_reg      <= 1'b0;
            tiles_reg      <= 3'd0;
            tile_reg       <= 1'b0;
            k8_buf_reg     <= 2'd0;
            q_release_reg  <= 1'b0;
            k8_release_reg <= 1'b0;
            elem_reg       <= {ELEM_W{1'b0}};
            elem_first_reg <= 1'b1;
            base_reg       <= {BASE_W{1'b0}};
            ev_busy_reg    <= 1'b0;
            ev_stall_reg   <= 1'b0;
            valid_reg      <= 1'b0;
        end
    end

    wire unused = &{1'b0, turn_n, elem_end, n_end, tn_base, tn_rel, tn_kstep, q_beats};

endmodule

`resetall
