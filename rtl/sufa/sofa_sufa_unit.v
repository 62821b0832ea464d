// SPDX-License-Identifier: Apache-2.0
// Unit of SU-FA: softmax(Q K^T) V for its share of the resident rows, one key at a time.
//
// Why: rows stay, keys pass by. A unit owns W multipliers for Q.K, W for P.V, one exponential, Q
// and the sums of its rows; all units see the same beats of keys, and each takes the keys that its
// own rows want. A pair of row and key costs c = ceil(d/W) cycles whatever the other rows do.
// Row r of a block is row floor(r/U) of unit r mod U. A place holds a block; the places of Q and of
// the sums O are counted apart. A block goes through these steps:
//   1. t_wr_*: its place of O gets a place of Q and the scales. q_wr_*: beats of Q of its rows.
//   2. kv_*: keys with the rows that want them; each row starts anew with its first key.
//   3. f_wr_*: the kept share of each row. Then kv_* with kv_end: place, number of rows, mean of V.
//      The unit sends c beats for each row in row order; rows that used no key give 0.
// Steps 1 and 3 (f) may come while other places work. The place of Q is free after q_done, so that
// Q of a later block may come then, the place of O for t_wr and f_wr after the beat with o_last.
// Elements of Q beyond d in a last beat are taken as 0; those of the output are undefined.
// Beats of the output have no ready: the unit sends what the receiver gave room for, CREDITS beats
// after reset and one for each cycle of o_credit.
// Parts: sofa_sufa_keys (queue), sofa_sufa_issue (order), sofa_sufa_dot (Q.K), sofa_sufa_exp
// (weights), sofa_sufa_sv (P.V, sums), sofa_sufa_flush (end of blocks).
// Not done here: choosing keys, order of rows of several units (store), range checks of d.
// Latency, with T = ceil(clog2(W)/2): a key's last beat to the read of its K 5 cycles; the last
// read of K to the read of V 13 + T, to the write of o 16 + T. Throughput: docs/sufa.md.
// Source: SOFA (MICRO 2024), SU-FA; docs/second.md, formal path; the organisation is ours.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_unit #(
    // Elements of a beat, power of two, 4..32.
    parameter W = 8,
    // Rows of a block in the unit, power of two, 2..64.
    parameter ROWS_U = 4,
    // Blocks whose Q, whose sums the unit holds at most: 2..32; power of two, 2..16.
    parameter PLACES_Q = 4,
    parameter PLACES_O = 4,
    // Largest head dimension, power of two, max(16, W)..256.
    parameter D_MAX = 64,
    // Words of the memories of Q and of sums: at least ROWS_U*D_MAX/W, at most 16384.
    parameter Q_WORDS = 2 * ROWS_U * D_MAX / W,
    parameter O_WORDS = 2 * ROWS_U * D_MAX / W,
    // Largest number of keys, power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Keys in the queue, 2..64; beats of K, and of V, power of two, 2*D_MAX/W..1024.
    parameter FIFO = 16,
    parameter KV_WORDS = FIFO * D_MAX / W < 1024 ? 1 << $clog2(FIFO * D_MAX / W) : 1024,
    // Fraction bits of f, 4..12.
    parameter F_FRAC = 8,
    // Beats for which the receiver of the output has room after reset, D_MAX/W..255.
    parameter CREDITS = 16,
    // 1: drive all taps. 0: those that need registers of their own are 0.
    parameter TAPS = 1,
    // Derived: leave at their defaults.
    parameter C_W = $clog2(D_MAX / W + 1),
    parameter ALL = PLACES_O * ROWS_U,
    parameter ROW_W = $clog2(ROWS_U),
    parameter PQ_W = $clog2(PLACES_Q),
    parameter PO_W = $clog2(PLACES_O),
    parameter L_W = 16 + $clog2(KEYS_MAX),
    // Bits of a score in log2 units. Fixed.
    parameter Z_W = 26
) (
    input  wire              clk,
    input  wire              rst,

    // Head dimension, a multiple of 8, 8..D_MAX; static
    input  wire [8:0]        cfg_d,

    // A place of O: its place of Q, the scales of its scores
    input  wire              t_wr_valid,
    input  wire [PO_W-1:0]   t_wr_place,
    input  wire [PQ_W-1:0]   t_wr_q_place,
    input  wire [15:0]       t_wr_scale_m,
    input  wire [5:0]        t_wr_scale_shift,

    // A beat of Q, 16 bits an element
    input  wire              q_wr_valid,
    input  wire [PQ_W-1:0]   q_wr_place,
    input  wire [ROW_W-1:0]  q_wr_row,
    input  wire [C_W-1:0]    q_wr_beat,
    input  wire [W*16-1:0]   q_wr_data,

    // f of a row, 0..2^F_FRAC
    input  wire              f_wr_valid,
    input  wire [PO_W-1:0]   f_wr_place,
    input  wire [ROW_W-1:0]  f_wr_row,
    input  wire [F_FRAC:0]   f_wr_data,

    // Keys: c beats of K, then c of V; with the first beat bit {place, row} of kv_mask for each row
    // that wants the key. End of a block: kv_end, its place and number of rows in the unit, 0 to
    // ROWS_U, with the first of c beats of the mean of V, mean * 2^(16 - VM_W). kv_some: mask or
    // rows are not 0, otherwise the unit takes nothing. kv_ready: a whole key has room; looked at
    // with first beats of keys that the unit wants, all other beats are taken.
    input  wire              kv_valid,
    output wire              kv_ready,
    input  wire [W*16-1:0]   kv_data,
    input  wire              kv_some,
    input  wire [ALL-1:0]    kv_mask,
    input  wire              kv_end,
    input  wire [PO_W-1:0]   kv_end_place,
    input  wire [ROW_W:0]    kv_end_rows,

    // All pairs of a block, given by its place of O, have read their Q
    output wire              q_done_valid,
    output wire [PO_W-1:0]   q_done_place,

    // Output beats; the last of the block. Room for one more at the receiver
    output wire              o_valid,
    output wire [W*16-1:0]   o_data,
    output wire [PO_W-1:0]   o_place,
    output wire [ROW_W-1:0]  o_row,
    output wire [C_W-1:0]    o_beat,
    output wire              o_last,
    input  wire              o_credit,

    // Events: the cycle serves a pair; the flush; nothing although a row waits; nothing. m rose
    output wire              ev_busy,
    output wire              ev_flush,
    output wire              ev_stall,
    output wire              ev_starve,
    output wire              ev_maxupd,

    // Taps: a pair
    output wire                   tap_e_valid,
    output wire [PO_W+ROW_W-1:0]  tap_e_row,
    output wire [Z_W-1:0]         tap_e_z,
    output wire [15:0]            tap_e_p,
    output wire [16:0]            tap_e_m,
    output wire [5:0]             tap_e_dm,
    output wire [L_W-1:0]         tap_e_l,

    // Taps: l of a row of the flush; o' of a beat, with R' of its row
    output wire                   tap_l_valid,
    output wire [PO_W+ROW_W-1:0]  tap_l_row,
    output wire [L_W-1:0]         tap_l,
    output wire                   tap_o_valid,
    output wire [PO_W+ROW_W-1:0]  tap_o_row,
    output wire [C_W-1:0]         tap_o_beat,
    output wire [W*16-1:0]        tap_o,
    output wire [15:0]            tap_r
);

    localparam C_MAX = D_MAX / W;

    generate
        if (W < 4 || W > 32 || W != (1 << $clog2(W)) || ROWS_U < 2 || ROWS_U > 64
                || ROWS_U != (1 << $clog2(ROWS_U)) || PLACES_Q < 2 || PLACES_Q > 32 || PLACES_O < 2
                || PLACES_O > 16 || PLACES_O != (1 << $clog2(PLACES_O)) || ALL > 256 || D_MAX < 16
                || D_MAX < W || D_MAX > 256 || D_MAX != (1 << $clog2(D_MAX))
                || Q_WORDS < ROWS_U * C_MAX || Q_WORDS > 16384 || O_WORDS < ROWS_U * C_MAX
                || O_WORDS > 16384 || KEYS_MAX < 64 || KEYS_MAX > 65536
                || KEYS_MAX != (1 << $clog2(KEYS_MAX)) || FIFO < 2 || FIFO > 64
                || KV_WORDS < 2 * C_MAX || KV_WORDS > 1024 || KV_WORDS != (1 << $clog2(KV_WORDS))
                || F_FRAC < 4 || F_FRAC > 12 || CREDITS < C_MAX || CREDITS > 255
                || C_W != $clog2(C_MAX + 1) || ALL != PLACES_O * ROWS_U || ROW_W != $clog2(ROWS_U)
                || PQ_W != $clog2(PLACES_Q) || PO_W != $clog2(PLACES_O)
                || L_W != 16 + $clog2(KEYS_MAX) || Z_W != 26) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_unit_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam W_W = $clog2(W);
    localparam IDX_W = PO_W + ROW_W;
    localparam QA_W = $clog2(Q_WORDS);
    // The mean of a block takes as many words as one row of it.
    localparam MEAN_WORDS = O_WORDS / ROWS_U;
    localparam OA_W = $clog2(O_WORDS + MEAN_WORDS);
    localparam KA_W = $clog2(KV_WORDS);
    // Product of a row in all places and the beats of a vector, no narrower than an address of Q.
    localparam QB_W = PQ_W + ROW_W + C_W > QA_W ? PQ_W + ROW_W + C_W : QA_W;
    localparam S_W = 32 + $clog2(D_MAX);
    localparam SD_W = S_W - 8;
    // Output sum: 16 bits, GUARD 1, O_FRAC 7, and the sum over KEYS_MAX keys.
    localparam O_W = 24 + $clog2(KEYS_MAX);
    // Cycles from the last read of K to what sofa_sufa_exp takes, to the events of sofa_sufa_sv.
    localparam TREE = (W_W + 1) / 2;
    localparam EXP_AT = 4 + TREE;
    localparam FIN_AT = EXP_AT + 7;
    localparam SV_AT = EXP_AT + 8;

    genvar i;

    // -----------------------------------------------------------------------------------------
    // Static values
    // -----------------------------------------------------------------------------------------
    reg  [C_W-1:0]           cfg_c_reg;
    reg  [PLACES_O*PQ_W-1:0] q_places_reg;
    reg  [PLACES_O*16-1:0]   scale_m_reg;
    reg  [PLACES_O*6-1:0]    scale_shift_reg;
    wire [8:0]               d_up = cfg_d + W[8:0] - 9'd1;
    wire                     unused_d = &{1'b0, d_up};

    always @(posedge clk) begin
        cfg_c_reg <= d_up[W_W +: C_W];
        if (t_wr_valid) begin
            q_places_reg[t_wr_place*PQ_W +: PQ_W] <= t_wr_q_place;
            scale_m_reg[t_wr_place*16 +: 16]      <= t_wr_scale_m;
            scale_shift_reg[t_wr_place*6 +: 6]    <= t_wr_scale_shift;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Keys and their order
    // -----------------------------------------------------------------------------------------
    wire              key_valid, key_ready, key_end;
    wire [ALL-1:0]    key_mask;
    wire [IDX_W-1:0]  key_end_idx;
    wire              rd_en, rd_first, v_rd_en, v_release;
    wire [QA_W-1:0]   q_rd_addr;
    wire [KA_W-1:0]   k_rd_addr, v_rd_addr;
    wire [W*16-1:0]   k_rd_data, v_rd_data, q_rd_data;
    wire              d_pair, d_mean, d_fin, d_ask, d_some, d_vlast;
    wire [IDX_W-1:0]  d_idx;
    wire [KA_W-1:0]   d_vbase;
    wire [OA_W-1:0]   d_obase;
    wire              ask_req, ask_go, fin_req, fin_go;
    wire [IDX_W-1:0]  ask_idx;
    wire [ROW_W:0]    end_last = kv_end_rows - {{ROW_W{1'b0}}, 1'b1};
    wire              unused_end = &{1'b0, end_last[ROW_W]};

    sofa_sufa_keys #(
        .W        (W),
        .ROWS_U   (ROWS_U),
        .PLACES_O (PLACES_O),
        .FIFO     (FIFO),
        .KV_WORDS (KV_WORDS),
        .C_W      (C_W)
    ) keys_inst (
        .clk         (clk),
        .rst         (rst),
        .cfg_c       (cfg_c_reg),
        .kv_valid    (kv_valid),
        .kv_ready    (kv_ready),
        .kv_data     (kv_data),
        .kv_some     (kv_some),
        .kv_mask     (kv_mask),
        .kv_end      (kv_end),
        .kv_end_idx  ({kv_end_place, end_last[ROW_W-1:0]}),
        .m_valid     (key_valid),
        .m_ready     (key_ready),
        .m_mask      (key_mask),
        .m_end       (key_end),
        .m_end_idx   (key_end_idx),
        .k_rd_en     (rd_en),
        .k_rd_addr   (k_rd_addr),
        .k_rd_data   (k_rd_data),
        .v_rd_en     (v_rd_en),
        .v_rd_addr   (v_rd_addr),
        .v_rd_data   (v_rd_data),
        .release_key (v_release)
    );

    sofa_sufa_issue #(
        .ROWS_U    (ROWS_U),
        .PLACES_O  (PLACES_O),
        .QP_W      (PQ_W),
        .QA_W      (QA_W),
        .OA_W      (OA_W),
        .KA_W      (KA_W),
        .MEAN_BASE (O_WORDS),
        .C_W       (C_W)
    ) issue_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_c        (cfg_c_reg),
        .cfg_q_places (q_places_reg),
        .k_valid      (key_valid),
        .k_ready      (key_ready),
        .k_mask       (key_mask),
        .k_end        (key_end),
        .k_end_idx    (key_end_idx),
        .rd_en        (rd_en),
        .rd_first     (rd_first),
        .q_rd_addr    (q_rd_addr),
        .k_rd_addr    (k_rd_addr),
        .d_pair       (d_pair),
        .d_mean       (d_mean),
        .d_fin        (d_fin),
        .d_ask        (d_ask),
        .d_idx        (d_idx),
        .d_vbase      (d_vbase),
        .d_obase      (d_obase),
        .d_vlast      (d_vlast),
        .d_some       (d_some),
        .ask_req      (ask_req),
        .ask_idx      (ask_idx),
        .ask_go       (ask_go),
        .fin_req      (fin_req),
        .fin_go       (fin_go),
        .ev_busy      (ev_busy),
        .ev_flush     (ev_flush),
        .ev_stall     (ev_stall),
        .ev_starve    (ev_starve)
    );

    // -----------------------------------------------------------------------------------------
    // Operations on their way: stage j, at bit j-1, [(j-1)*IDX_W +: IDX_W], [(j-1)*OP_W +: OP_W],
    // is j cycles after the last read of the operation
    // -----------------------------------------------------------------------------------------
    localparam OP_W = KA_W + OA_W + 1;
    reg  [SV_AT*OP_W-1:0]   ops_reg;
    reg  [EXP_AT*IDX_W-1:0] idx_reg;
    reg  [SV_AT-1:0]        pair_reg, mean_reg;
    // From stage 2 on.
    reg  [SV_AT-1:1]        some_reg;
    reg  [FIN_AT-1:0]       fin_reg;
    reg  [EXP_AT-1:0]       ask_reg;

    wire             e_some = some_reg[EXP_AT-1];
    // A stage earlier, to read the scale.
    wire [PO_W-1:0]  e_place = idx_reg[(EXP_AT-1)*IDX_W-1 -: PO_W];
    wire             s_some = some_reg[SV_AT-1];
    wire             s_vlast;
    wire [KA_W-1:0]  s_vbase;
    wire [OA_W-1:0]  s_obase;

    assign q_done_valid = mean_reg[0];
    assign q_done_place = idx_reg[IDX_W-1 -: PO_W];
    assign {s_vbase, s_obase, s_vlast} = ops_reg[(SV_AT-1)*OP_W +: OP_W];

    always @(posedge clk) begin
        ops_reg  <= {ops_reg[(SV_AT-1)*OP_W-1:0], d_vbase, d_obase, d_vlast};
        idx_reg  <= {idx_reg[(EXP_AT-1)*IDX_W-1:0], d_idx};
        pair_reg <= {pair_reg[SV_AT-2:0], d_pair};
        mean_reg <= {mean_reg[SV_AT-2:0], d_mean};
        some_reg <= {some_reg[SV_AT-2:1], d_some};
        fin_reg  <= {fin_reg[FIN_AT-2:0], d_fin};
        ask_reg  <= {ask_reg[EXP_AT-2:0], d_ask};
        if (rst) begin
            pair_reg <= {SV_AT{1'b0}};
            mean_reg <= {SV_AT{1'b0}};
            fin_reg  <= {FIN_AT{1'b0}};
            ask_reg  <= {EXP_AT{1'b0}};
        end
    end

    // -----------------------------------------------------------------------------------------
    // Q and the dot product
    // -----------------------------------------------------------------------------------------
    reg              beat_reg, beat_first_reg;
    wire [W*16-1:0]  q_wr_kept;
    wire [QB_W-1:0]  q_wr_row_base = {{(QB_W - PQ_W - ROW_W){1'b0}}, q_wr_place, q_wr_row}
                                     * {{(QB_W - C_W){1'b0}}, cfg_c_reg};
    wire [QB_W-1:0]  q_wr_base = q_wr_row_base + {{(QB_W - C_W){1'b0}}, q_wr_beat};
    wire [S_W-1:0]   s;
    wire             unused_s = &{1'b0, s[7:0]};

    generate
        if (QB_W > QA_W) begin : g_q_addr
            wire unused_q_addr = &{1'b0, q_wr_base[QB_W-1:QA_W]};
        end
        if (W > 8) begin : g_q_tail
            // d is a multiple of 8, so the last beat may be short by whole groups of 8.
            wire           q_wr_tail = q_wr_beat + 1'b1 == cfg_c_reg
                                       && cfg_d[W_W-1:3] != {(W_W - 3){1'b0}};
            wire [W/8-1:0] past = {(W / 8){1'b1}} << cfg_d[W_W-1:3];
            for (i = 0; i < W / 8; i = i + 1) begin : g_group
                assign q_wr_kept[i*128 +: 128] = q_wr_tail && past[i] ? 128'd0
                                                                      : q_wr_data[i*128 +: 128];
            end
        end else begin : g_q_tail
            assign q_wr_kept = q_wr_data;
        end
    endgenerate

    always @(posedge clk) begin
        beat_reg       <= rd_en;
        beat_first_reg <= rd_first;
        if (rst) begin
            beat_reg <= 1'b0;
        end
    end

    sofa_ram_1r1w #(
        .WIDTH  (W * 16),
        .DEPTH  (Q_WORDS),
        .ADDR_W (QA_W)
    ) q_ram_inst (
        .clk     (clk),
        .wr_en   (q_wr_valid),
        .wr_addr (q_wr_base[QA_W-1:0]),
        .wr_data (q_wr_kept),
        .rd_en   (rd_en),
        .rd_addr (q_rd_addr),
        .rd_data (q_rd_data)
    );

    sofa_sufa_dot #(
        .W   (W),
        .S_W (S_W)
    ) dot_inst (
        .clk      (clk),
        .rst      (rst),
        .in_valid (beat_reg),
        .in_first (beat_first_reg),
        .in_q     (q_rd_data),
        .in_k     (k_rd_data),
        .s        (s)
    );

    // -----------------------------------------------------------------------------------------
    // Weights
    // -----------------------------------------------------------------------------------------
    wire [15:0]    p;
    wire [5:0]     dm;
    wire           ask_valid;
    wire [L_W-1:0] ask_l;

    sofa_sufa_exp #(
        .ALL  (ALL),
        .SD_W (SD_W),
        .L_W  (L_W),
        .TAPS (TAPS)
    ) exp_inst (
        .clk            (clk),
        .rst            (rst),
        .in_pair        (pair_reg[EXP_AT-1]),
        .in_mean        (mean_reg[EXP_AT-1]),
        .in_ask         (ask_reg[EXP_AT-1]),
        .in_idx         (idx_reg[(EXP_AT-1)*IDX_W +: IDX_W]),
        .in_some        (e_some),
        .in_sd          (s[S_W-1:8]),
        .in_scale_m     (scale_m_reg[e_place*16 +: 16]),
        .in_scale_shift (scale_shift_reg[e_place*6 +: 6]),
        .out_p          (p),
        .out_dm         (dm),
        .ask_valid      (ask_valid),
        .ask_l          (ask_l),
        .ev_upd         (ev_maxupd),
        .tap_valid      (tap_e_valid),
        .tap_idx        (tap_e_row),
        .tap_z          (tap_e_z),
        .tap_p          (tap_e_p),
        .tap_m          (tap_e_m),
        .tap_dm         (tap_e_dm),
        .tap_l          (tap_e_l)
    );

    // -----------------------------------------------------------------------------------------
    // Sums and flush
    // -----------------------------------------------------------------------------------------
    wire             fin_last, fin_zero;
    wire [IDX_W-1:0] fin_idx, o_idx;
    wire [OA_W-1:0]  fin_obase, fin_mbase;
    wire [4:0]       fin_shift;
    wire [15:0]      fin_r, fin_rest;

    assign {o_place, o_row} = o_idx;

    sofa_sufa_sv #(
        .W          (W),
        .O_WORDS    (O_WORDS),
        .MEAN_WORDS (MEAN_WORDS),
        .ALL        (ALL),
        .KV_WORDS   (KV_WORDS),
        .O_W        (O_W),
        .C_W        (C_W)
    ) sv_inst (
        .clk        (clk),
        .rst        (rst),
        .cfg_c      (cfg_c_reg),
        .pair_valid (pair_reg[SV_AT-1] || mean_reg[SV_AT-1]),
        .pair_vbase (s_vbase),
        .pair_obase (s_obase),
        .pair_new   (mean_reg[SV_AT-1] || !s_some),
        .pair_vlast (s_vlast),
        .pair_p     (p),
        .pair_dm    (dm),
        .v_rd_en    (v_rd_en),
        .v_rd_addr  (v_rd_addr),
        .v_rd_data  (v_rd_data),
        .v_release  (v_release),
        .fin_valid  (fin_reg[FIN_AT-1]),
        .fin_idx    (fin_idx),
        .fin_last   (fin_last),
        .fin_obase  (fin_obase),
        .fin_mbase  (fin_mbase),
        .fin_zero   (fin_zero),
        .fin_shift  (fin_shift),
        .fin_r      (fin_r),
        .fin_rest   (fin_rest),
        .o_valid    (o_valid),
        .o_data     (o_data),
        .o_idx      (o_idx),
        .o_beat     (o_beat),
        .o_last     (o_last),
        .tap_valid  (tap_o_valid),
        .tap_idx    (tap_o_row),
        .tap_beat   (tap_o_beat),
        .tap_o      (tap_o),
        .tap_r      (tap_r)
    );

    sofa_sufa_flush #(
        .ROWS_U    (ROWS_U),
        .PLACES_O  (PLACES_O),
        .OA_W      (OA_W),
        .MEAN_BASE (O_WORDS),
        .L_W       (L_W),
        .F_FRAC    (F_FRAC),
        .CREDITS   (CREDITS),
        .C_W       (C_W),
        .TAPS      (TAPS)
    ) flush_inst (
        .clk        (clk),
        .rst        (rst),
        .cfg_c      (cfg_c_reg),
        .f_wr_valid (f_wr_valid),
        .f_wr_idx   ({f_wr_place, f_wr_row}),
        .f_wr_data  (f_wr_data),
        .end_valid  (mean_reg[0]),
        .end_idx    (idx_reg[IDX_W-1:0]),
        .ask_req    (ask_req),
        .ask_idx    (ask_idx),
        .ask_go     (ask_go),
        .ask_some   (d_some),
        .ask_valid  (ask_valid),
        .ask_l      (ask_l),
        .fin_req    (fin_req),
        .fin_go     (fin_go),
        .fin_take   (fin_reg[FIN_AT-1]),
        .fin_idx    (fin_idx),
        .fin_last   (fin_last),
        .fin_obase  (fin_obase),
        .fin_mbase  (fin_mbase),
        .fin_zero   (fin_zero),
        .fin_shift  (fin_shift),
        .fin_r      (fin_r),
        .fin_rest   (fin_rest),
        .o_credit   (o_credit),
        .tap_valid  (tap_l_valid),
        .tap_idx    (tap_l_row),
        .tap_l      (tap_l)
    );

endmodule

`resetall
