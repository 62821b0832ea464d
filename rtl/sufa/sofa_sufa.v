// SPDX-License-Identifier: Apache-2.0
// SU-FA: softmax(Q K^T) V of the resident rows, one key at a time for all units.
//
// Why: row r of a block is row floor(r/U) of unit r mod U (sofa_sufa_unit), so the rows of a key
// spread over all units; a place holds a block: its Q, its scales, its f, its sums. Its life:
//   1. q_wr_*: beats of Q; q_commit: Q is complete, and its scales.
//   2. kv_*: keys with the rows that want them (bit place*ROWS + r), c beats of K, c of V.
//   3. f_*: kept shares of its rows, SHARE words; any time before or beside the keys.
//   4. kv_* with kv_end: rows 1..ROWS, address of O, and c beats of the mean of V.
//   5. o_*: rows in order, c beats each; q_release: the place is free. Blocks in order of ends.
// A first beat waits until every unit that wants it has room, keys until Q of their blocks is
// committed, ends for Q and f of their block (sofa_sufa_kv). f_* never waits. sofa_sufa_merge puts
// the beats of the units in order; a slow receiver holds up the flush only.
// Between kv_end and q_release no key may want a row of that place.
// Not done here: choosing keys, the address of a key, the write to memory.
// Latency: a key's last beat to its first read of K 7 cycles; the rest: docs/sufa.md.
// Throughput: a beat of the broadcast a cycle; each unit a beat of a pair a cycle; a beat of the
// output a cycle.
// Source: SOFA (MICRO 2024), SU-FA; docs/second.md, formal path; the organisation is ours.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa #(
    // Rows of a block, power of two, BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Largest head dimension, power of two, max(16, BUS_BYTES)..256.
    parameter D_MAX = 64,
    // Bytes of a bus word, power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Largest number of keys, power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Most blocks in residence, power of two, 2..8; beats of Q, and of sums, 2*ROWS*D_MAX/W..65536.
    parameter PLACES = 4,
    parameter STORE_BEATS = 256,
    // Keys in the queue of a unit, 2..64.
    parameter FIFO = 16,
    // Fraction bits of f, 4..12.
    parameter F_FRAC = 8,
    // 1: drive all taps. 0: those that need registers of their own are 0.
    parameter TAPS = 1,
    // Derived: leave at their defaults.
    parameter W = BUS_BYTES / 2,
    parameter U = 2 * ROWS / W,
    parameter ROWS_U = W / 2,
    parameter SHARE = ROWS_U > 4 ? ROWS_U : 4,
    parameter PLACE_W = $clog2(PLACES),
    parameter IDX_W = PLACE_W + $clog2(ROWS_U),
    parameter C_W = $clog2(D_MAX / W + 1),
    parameter L_W = 16 + $clog2(KEYS_MAX),
    parameter COUNT_W = $clog2(U + 1)
) (
    input  wire                    clk,
    input  wire                    rst,

    // Job, static: head dimension, a multiple of 8, 8..D_MAX; bytes from row to row of O
    input  wire [8:0]              cfg_d,
    input  wire [31:0]             cfg_o_stride,
    input  wire [31:0]             cfg_o_hstride,
    input  wire [7:0]              cfg_heads,

    // Beats of Q, 16 bits an element; elements beyond d are taken as 0
    input  wire                    q_wr_valid,
    input  wire [PLACE_W-1:0]      q_wr_place,
    input  wire [$clog2(ROWS)-1:0] q_wr_row,
    input  wire [7:0]              q_wr_beat,
    input  wire [8*BUS_BYTES-1:0]  q_wr_data,
    // Q of a block is complete; scales of its scores
    input  wire                    q_commit,
    input  wire [PLACE_W-1:0]      q_commit_place,
    input  wire [15:0]             q_commit_scale_m,
    input  wire [5:0]              q_commit_scale_shift,
    // The oldest block has left its place
    output wire                    q_release,

    // f of the rows of a block, 0..2^F_FRAC: word n has those of rows n*ROWS/SHARE and up
    input  wire                    f_valid,
    output wire                    f_ready,
    input  wire [$clog2(SHARE)-1:0] f_word,
    input  wire                    f_last,
    input  wire [PLACE_W-1:0]      f_place,
    input  wire [ROWS/SHARE*(F_FRAC+1)-1:0] f_data,

    // Keys and ends of blocks; all but kv_data belongs to the first beat
    input  wire                    kv_valid,
    output wire                    kv_ready,
    input  wire                    kv_first,
    input  wire [W*16-1:0]         kv_data,
    input  wire [PLACES*ROWS-1:0]  kv_mask,
    input  wire                    kv_end,
    input  wire [PLACE_W-1:0]      kv_end_place,
    input  wire [7:0]              kv_end_rows,
    input  wire [47:0]             kv_end_addr,

    // Rows of O; elements beyond d are undefined
    output wire                    o_valid,
    input  wire                    o_ready,
    output wire [W*16-1:0]         o_data,
    output wire                    o_first,
    output wire [47:0]             o_addr,
    output wire                    o_last,
    output wire                    o_block_last,

    // Events: units with a pair; in the flush; with a row that waits; with nothing. m rose
    output wire [COUNT_W-1:0]      ev_busy,
    output wire [COUNT_W-1:0]      ev_flush,
    output wire [COUNT_W-1:0]      ev_stall,
    output wire [COUNT_W-1:0]      ev_starve,
    output wire [COUNT_W-1:0]      ev_maxupd,

    // Taps of the units, unit 0 in the low bits: a pair
    output wire [U-1:0]            tap_e_valid,
    output wire [U*IDX_W-1:0]      tap_e_row,
    output wire [U*26-1:0]         tap_e_z,
    output wire [U*16-1:0]         tap_e_p,
    output wire [U*17-1:0]         tap_e_m,
    output wire [U*6-1:0]          tap_e_dm,
    output wire [U*L_W-1:0]        tap_e_l,

    // Taps: l of a row of the flush; o' of a beat, with R' of its row
    output wire [U-1:0]            tap_l_valid,
    output wire [U*IDX_W-1:0]      tap_l_row,
    output wire [U*L_W-1:0]        tap_l,
    output wire [U-1:0]            tap_o_valid,
    output wire [U*IDX_W-1:0]      tap_o_row,
    output wire [U*C_W-1:0]        tap_o_beat,
    output wire [U*W*16-1:0]       tap_o,
    output wire [U*16-1:0]         tap_r
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES)) || ROWS < W
                || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || D_MAX < 16 || D_MAX < BUS_BYTES
                || D_MAX > 256 || D_MAX != (1 << $clog2(D_MAX)) || KEYS_MAX < 64
                || KEYS_MAX > 65536 || KEYS_MAX != (1 << $clog2(KEYS_MAX)) || PLACES < 2
                || PLACES > 8 || PLACES != (1 << $clog2(PLACES))
                || STORE_BEATS < 2 * ROWS * (D_MAX / W) || STORE_BEATS > 65536 || FIFO < 2
                || FIFO > 64 || F_FRAC < 4 || F_FRAC > 12 || W != BUS_BYTES / 2
                || U != 2 * ROWS / W || ROWS_U != W / 2
                || SHARE != (ROWS_U > 4 ? ROWS_U : 4) || PLACE_W != $clog2(PLACES)
                || IDX_W != PLACE_W + $clog2(ROWS_U) || C_W != $clog2(D_MAX / W + 1)
                || L_W != 16 + $clog2(KEYS_MAX) || COUNT_W != $clog2(U + 1)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam ROW_W = $clog2(ROWS_U);
    localparam U_W = $clog2(U);
    localparam RCOUNT_W = ROW_W + 1;
    localparam ALL_U = PLACES * ROWS_U;
    localparam WORDS = STORE_BEATS / U;
    // Beats of a unit that can wait for their turn: two vectors.
    localparam CREDITS = 2 * (D_MAX / W);
    // f: rows of a word, words for one row of all units.
    localparam GROUP = ROWS / SHARE;
    localparam SPLIT = U / GROUP;
    localparam FW_W = $clog2(SHARE);
    localparam SPLIT_W = $clog2(SPLIT);

    genvar i;

    // -----------------------------------------------------------------------------------------
    // Static values; registers in front of the units
    // -----------------------------------------------------------------------------------------
    reg  [C_W-1:0]            cfg_c_reg;
    wire [8:0]                d_up = cfg_d + W[8:0] - 9'd1;
    wire                      unused_d = &{1'b0, d_up};

    reg                       q_valid_reg, t_valid_reg;
    reg  [PLACE_W-1:0]        q_place_reg, t_place_reg;
    reg  [$clog2(ROWS)-1:0]   q_row_reg;
    reg  [C_W-1:0]            q_beat_reg;
    reg  [W*16-1:0]           q_data_reg;
    reg  [15:0]               t_scale_m_reg;
    reg  [5:0]                t_scale_shift_reg;
    wire                      unused_beat = &{1'b0, q_wr_beat};

    reg                       f_valid_reg, f_last_reg;
    reg  [FW_W-1:0]           f_word_reg;
    reg  [PLACE_W-1:0]        f_place_reg;
    reg  [GROUP*(F_FRAC+1)-1:0] f_data_reg;

    assign f_ready = 1'b1;

    always @(posedge clk) begin
        cfg_c_reg   <= d_up[$clog2(W) +: C_W];
        q_valid_reg <= q_wr_valid;
        t_valid_reg <= q_commit;
        f_valid_reg <= f_valid;
        if (q_wr_valid) begin
            q_place_reg <= q_wr_place;
            q_row_reg   <= q_wr_row;
            q_beat_reg  <= q_wr_beat[C_W-1:0];
            q_data_reg  <= q_wr_data;
        end
        if (q_commit) begin
            t_place_reg       <= q_commit_place;
            t_scale_m_reg     <= q_commit_scale_m;
            t_scale_shift_reg <= q_commit_scale_shift;
        end
        if (f_valid) begin
            f_word_reg  <= f_word;
            f_last_reg  <= f_last;
            f_place_reg <= f_place;
            f_data_reg  <= f_data;
        end
        if (rst) begin
            q_valid_reg <= 1'b0;
            t_valid_reg <= 1'b0;
            f_valid_reg <= 1'b0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Places whose block has Q, f
    // -----------------------------------------------------------------------------------------
    reg  [PLACES-1:0]         has_q_reg, has_f_reg;
    wire                      end_valid, end_ready;
    wire [PLACE_W-1:0]        end_place;
    wire [7:0]                end_rows;
    wire [47:0]               end_addr;

    always @(posedge clk) begin
        if (t_valid_reg) begin
            has_q_reg[t_place_reg] <= 1'b1;
        end
        if (f_valid_reg && f_last_reg) begin
            has_f_reg[f_place_reg] <= 1'b1;
        end
        if (end_valid) begin
            has_q_reg[end_place] <= 1'b0;
            has_f_reg[end_place] <= 1'b0;
        end
        if (rst) begin
            has_q_reg <= {PLACES{1'b0}};
            has_f_reg <= {PLACES{1'b0}};
        end
    end

    // -----------------------------------------------------------------------------------------
    // Broadcast
    // -----------------------------------------------------------------------------------------
    wire [U-1:0]          u_ready, u_some;
    wire                  u_valid, u_end;
    wire [W*16-1:0]       u_data;
    wire [PLACES*ROWS-1:0] u_mask;
    wire [PLACE_W-1:0]    u_end_place;
    wire [U*RCOUNT_W-1:0] u_end_rows;

    sofa_sufa_kv #(
        .W      (W),
        .ROWS   (ROWS),
        .PLACES (PLACES)
    ) kv_inst (
        .clk          (clk),
        .rst          (rst),
        .kv_valid     (kv_valid),
        .kv_ready     (kv_ready),
        .kv_first     (kv_first),
        .kv_data      (kv_data),
        .kv_mask      (kv_mask),
        .kv_end       (kv_end),
        .kv_end_place (kv_end_place),
        .kv_end_rows  (kv_end_rows),
        .kv_end_addr  (kv_end_addr),
        .has_q        (has_q_reg),
        .has_f        (has_f_reg),
        .u_ready      (u_ready),
        .u_valid      (u_valid),
        .u_data       (u_data),
        .u_some       (u_some),
        .u_mask       (u_mask),
        .u_end        (u_end),
        .u_end_place  (u_end_place),
        .u_end_rows   (u_end_rows),
        .end_valid    (end_valid),
        .end_ready    (end_ready),
        .end_place    (end_place),
        .end_rows     (end_rows),
        .end_addr     (end_addr)
    );

    // -----------------------------------------------------------------------------------------
    // Units
    // -----------------------------------------------------------------------------------------
    wire [U-1:0]      beat_valid, beat_last, beat_credit;
    wire [U*W*16-1:0] beat_data;
    wire [U-1:0]      busy, flush, stall, starve, maxupd;

    generate
        for (i = 0; i < U; i = i + 1) begin : g_unit
            localparam [U_W-1:0] INDEX = i;
            localparam F_AT = i % GROUP * (F_FRAC + 1);
            wire               unused_q_done;
            wire [PLACE_W-1:0] unused_q_done_place, unused_place;
            wire [ROW_W-1:0]   unused_row;
            wire [C_W-1:0]     unused_beat_number;
            wire               f_mine;

            if (SPLIT == 1) begin : g_word
                assign f_mine = 1'b1;
            end else begin : g_word
                localparam [31:0] PART = i / GROUP;
                assign f_mine = f_word_reg[SPLIT_W-1:0] == PART[SPLIT_W-1:0];
            end

            sofa_sufa_unit #(
                .W        (W),
                .ROWS_U   (ROWS_U),
                .PLACES_Q (PLACES),
                .PLACES_O (PLACES),
                .D_MAX    (D_MAX),
                .Q_WORDS  (WORDS),
                .O_WORDS  (WORDS),
                .KEYS_MAX (KEYS_MAX),
                .FIFO     (FIFO),
                .F_FRAC   (F_FRAC),
                .CREDITS  (CREDITS),
                .TAPS     (TAPS)
            ) unit_inst (
                .clk              (clk),
                .rst              (rst),
                .cfg_d            (cfg_d),
                .t_wr_valid       (t_valid_reg),
                .t_wr_place       (t_place_reg),
                .t_wr_q_place     (t_place_reg),
                .t_wr_scale_m     (t_scale_m_reg),
                .t_wr_scale_shift (t_scale_shift_reg),
                .q_wr_valid       (q_valid_reg && q_row_reg[U_W-1:0] == INDEX),
                .q_wr_place       (q_place_reg),
                .q_wr_row         (q_row_reg[U_W +: ROW_W]),
                .q_wr_beat        (q_beat_reg),
                .q_wr_data        (q_data_reg),
                .f_wr_valid       (f_valid_reg && f_mine),
                .f_wr_place       (f_place_reg),
                .f_wr_row         (f_word_reg[SPLIT_W +: ROW_W]),
                .f_wr_data        (f_data_reg[F_AT +: F_FRAC+1]),
                .kv_valid         (u_valid),
                .kv_ready         (u_ready[i]),
                .kv_data          (u_data),
                .kv_some          (u_some[i]),
                .kv_mask          (u_mask[i*ALL_U +: ALL_U]),
                .kv_end           (u_end),
                .kv_end_place     (u_end_place),
                .kv_end_rows      (u_end_rows[i*RCOUNT_W +: RCOUNT_W]),
                .q_done_valid     (unused_q_done),
                .q_done_place     (unused_q_done_place),
                .o_valid          (beat_valid[i]),
                .o_data           (beat_data[i*W*16 +: W*16]),
                .o_place          (unused_place),
                .o_row            (unused_row),
                .o_beat           (unused_beat_number),
                .o_last           (beat_last[i]),
                .o_credit         (beat_credit[i]),
                .ev_busy          (busy[i]),
                .ev_flush         (flush[i]),
                .ev_stall         (stall[i]),
                .ev_starve        (starve[i]),
                .ev_maxupd        (maxupd[i]),
                .tap_e_valid      (tap_e_valid[i]),
                .tap_e_row        (tap_e_row[i*IDX_W +: IDX_W]),
                .tap_e_z          (tap_e_z[i*26 +: 26]),
                .tap_e_p          (tap_e_p[i*16 +: 16]),
                .tap_e_m          (tap_e_m[i*17 +: 17]),
                .tap_e_dm         (tap_e_dm[i*6 +: 6]),
                .tap_e_l          (tap_e_l[i*L_W +: L_W]),
                .tap_l_valid      (tap_l_valid[i]),
                .tap_l_row        (tap_l_row[i*IDX_W +: IDX_W]),
                .tap_l            (tap_l[i*L_W +: L_W]),
                .tap_o_valid      (tap_o_valid[i]),
                .tap_o_row        (tap_o_row[i*IDX_W +: IDX_W]),
                .tap_o_beat       (tap_o_beat[i*C_W +: C_W]),
                .tap_o            (tap_o[i*W*16 +: W*16]),
                .tap_r            (tap_r[i*16 +: 16])
            );
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Output
    // -----------------------------------------------------------------------------------------
    sofa_sufa_merge #(
        .W     (W),
        .U     (U),
        .ENDS  (PLACES),
        .WORDS (CREDITS),
        .C_W   (C_W)
    ) merge_inst (
        .clk           (clk),
        .rst           (rst),
        .cfg_c         (cfg_c_reg),
        .cfg_o_stride  (cfg_o_stride),
        .cfg_o_hstride (cfg_o_hstride),
        .cfg_heads     (cfg_heads),
        .end_valid     (end_valid),
        .end_ready     (end_ready),
        .end_rows      (end_rows),
        .end_addr      (end_addr),
        .u_valid       (beat_valid),
        .u_data        (beat_data),
        .u_credit      (beat_credit),
        .o_valid       (o_valid),
        .o_ready       (o_ready),
        .o_data        (o_data),
        .o_first       (o_first),
        .o_addr        (o_addr),
        .o_last        (o_last),
        .o_block_last  (o_block_last)
    );

    // -----------------------------------------------------------------------------------------
    // Blocks that end: released when every unit that has rows of them sent its last beat
    // -----------------------------------------------------------------------------------------
    reg                release_reg;
    wire               r_valid, unused_r_ready;
    wire [7:0]         r_rows;
    wire [PLACE_W:0]   unused_r_level;
    wire [U-1:0]       flushed;
    wire               r_pop = r_valid && &flushed;

    assign q_release = release_reg;

    // A place has one block, so there is room for all ends.
    sofa_sync_fifo #(
        .WIDTH (8),
        .DEPTH (PLACES)
    ) release_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (end_valid),
        .s_ready (unused_r_ready),
        .s_data  (end_rows),
        .m_valid (r_valid),
        .m_ready (r_pop),
        .m_data  (r_rows),
        .level   (unused_r_level)
    );

    generate
        for (i = 0; i < U; i = i + 1) begin : g_flushed
            localparam [7:0] INDEX = i;
            // Blocks whose last beat the unit sent and which are not released.
            reg  [PLACE_W:0] count_reg;
            wire             has_rows = r_rows > INDEX;
            wire             up = beat_valid[i] && beat_last[i];
            wire             down = r_pop && has_rows;

            assign flushed[i] = !has_rows || count_reg != {(PLACE_W + 1){1'b0}};

            always @(posedge clk) begin
                if (up && !down) begin
                    count_reg <= count_reg + 1'b1;
                end else if (down && !up) begin
                    count_reg <= count_reg - 1'b1;
                end
                if (rst) begin
                    count_reg <= {(PLACE_W + 1){1'b0}};
                end
            end
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Events
    // -----------------------------------------------------------------------------------------
    reg  [5*COUNT_W-1:0] ev_reg;
    wire [5*U-1:0]       events = {maxupd, starve, stall, flush, busy};

    assign {ev_maxupd, ev_starve, ev_stall, ev_flush, ev_busy} = ev_reg;

    generate
        for (i = 0; i < 5; i = i + 1) begin : g_event
            wire [6:0] count;
            wire       unused_count = &{1'b0, count};

            sofa_popcount #(
                .WIDTH (U)
            ) count_inst (
                .bits  (events[i*U +: U]),
                .count (count)
            );

            always @(posedge clk) begin
                ev_reg[i*COUNT_W +: COUNT_W] <= rst ? {COUNT_W{1'b0}} : count[COUNT_W-1:0];
            end
        end
    endgenerate

    always @(posedge clk) begin
        release_reg <= !rst && r_pop;
    end

endmodule

`resetall
