// SPDX-License-Identifier: Apache-2.0
// The projection: from tokens to the beats of their K and V, for the landing buffer and for memory.
//
//   tokens -> load (X, RoPE rows) -> array -> drain -> order -> out --> landing buffer
//                                      ^ weights                 \---> write-back
//
// Why: a token is a key that does not exist yet, or a mean row of X, of which only V counts; both
// go the same way, in groups, and leave in the order in which they came.
// Not done here: which keys (sofa_kvgen_front), reading the weights (sofa_kvgen_wload), answers of
// memory (sofa_kvgen_wb).
// Latency, throughput: see the modules.
// Source: docs/architecture.md 10.1, 10.7.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_make #(
    // Lanes of the array, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 64,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Largest number of keys, a power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Bits of the number of a landing place, 2..6.
    parameter LAND_W = 4,
    // Bits of an element of the mean of V, 4..16.
    parameter VM_W = 8,
    // Largest model dimension, a power of two, 64..4096.
    parameter H_MAX = 1024,
    // Columns of the array, 1, 2 or 4; 1 where ROWS < BUS_BYTES.
    parameter KG_TOK = 2,
    // Words of the weight memory, 64..65536.
    parameter WGT_WORDS = 4608,
    // Derived: leave at their defaults.
    parameter KEY_W = $clog2(KEYS_MAX),
    parameter WGT_W = $clog2(WGT_WORDS)
) (
    input  wire                   clk,
    input  wire                   rst,

    input  wire [8:0]             cfg_d,
    input  wire [12:0]            cfg_h,
    input  wire [1:0]             cfg_rope,
    input  wire [5:0]             cfg_shift_k,
    input  wire [5:0]             cfg_shift_v,
    input  wire [31:0]            cfg_k_stride,
    input  wire [31:0]            cfg_v_stride,
    input  wire [ADDR_W-1:0]      cfg_x_base,
    input  wire [31:0]            cfg_x_stride,
    input  wire [ADDR_W-1:0]      cfg_rt_base,
    input  wire [31:0]            cfg_rt_stride,

    // Token: key, or with t_mean address of its row of X; its place of the landing buffer; bases
    // of the KV head. t_more: another one may follow soon
    input  wire                   t_valid,
    output wire                   t_ready,
    input  wire                   t_mean,
    input  wire [ADDR_W-1:0]      t_at,
    input  wire [LAND_W-1:0]      t_land,
    input  wire [ADDR_W-1:0]      t_kbase,
    input  wire [ADDR_W-1:0]      t_vbase,
    input  wire                   t_more,

    // Weights; not while a token is under way
    input  wire                   w_wr_valid,
    input  wire [WGT_W-1:0]       w_wr_addr,
    input  wire [ROWS*16-1:0]     w_wr_data,

    // Reads of rows of X and of the table
    output wire                   c_valid,
    input  wire                   c_ready,
    output wire [ADDR_W-1:0]      c_addr,
    output wire [15:0]            c_beats,
    input  wire                   d_valid,
    input  wire [8*BUS_BYTES-1:0] d_data,

    // Beats to the landing buffer
    output wire                   l_valid,
    input  wire                   l_ready,
    output wire                   l_v,
    output wire [LAND_W-1:0]      l_land,
    output wire [7:0]             l_beat,
    output wire                   l_last,
    output wire [8*BUS_BYTES-1:0] l_data,

    // Write-back; mark: last beat of both vectors of the key
    output wire                   wb_valid,
    input  wire                   wb_ready,
    output wire [ADDR_W-1:0]      wb_addr,
    output wire [8*BUS_BYTES-1:0] wb_data,
    output wire [BUS_BYTES-1:0]   wb_strb,
    output wire                   wb_mark,
    output wire [KEY_W-1:0]       wb_key,

    // No token is under way
    output wire                   empty,

    // Events: see sofa_kvgen
    output wire                   ev_busy,
    output wire                   ev_stall,
    output wire                   ev_starve,
    output wire                   ev_gen
);

    generate
        if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))
                || BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || D_MAX < BUS_BYTES || D_MAX < 16 || (KG_TOK > 1 && ROWS < BUS_BYTES))
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_make_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam BEAT_BITS = 8 * BUS_BYTES;
    localparam ACC_W = 32 + $clog2(H_MAX);
    localparam ELEM_W = $clog2(H_MAX);
    localparam PAIR_W = $clog2(D_MAX) - 1;
    // Tokens of a group at most. No d is small enough for a packed job on fewer than 32 lanes.
    localparam GROUP = ROWS >= 32 ? 2 * KG_TOK : KG_TOK;
    localparam TOK_W = GROUP == 1 ? 1 : $clog2(GROUP);
    // Tokens from the queue to the last beat: two groups of X rows, one in the sums, one or two as
    // vectors, and some in the queue. In a packed job the rows of the second group are read while
    // vectors leave.
    localparam TOKENS = 4 * KG_TOK + 4;
    localparam LEVEL_W = $clog2(TOKENS + 1);
    localparam [31:0] ROWS_I = ROWS;
    localparam [31:0] H_MAX_I = H_MAX;

    wire rope_on = cfg_rope != 2'd0;
    wire packed_job = GROUP != KG_TOK && {cfg_d, 2'd0} <= ROWS_I[10:0]
                      && {cfg_h, 1'b0} <= H_MAX_I[13:0];

    // -----------------------------------------------------------------------------------------
    // Tokens: rows, array, drain
    // -----------------------------------------------------------------------------------------
    wire                         t_key_ready, t_place_ready;
    wire                         q_valid, q_ready, q_mean;
    wire [ADDR_W-1:0]            q_at;
    wire [LEVEL_W-1:0]           unused_q_level;
    wire                         g_valid, g_take, g_free;
    wire [1:0]                   g_num, g_free_num;
    wire [3:0]                   g_n;
    wire                         x_en;
    wire [1:0]                   x_num;
    wire [ELEM_W-1:0]            x_elem;
    wire [GROUP*16-1:0]         x_data;
    wire                         s_valid, s_done, s_last;
    wire [1:0]                   s_num;
    wire [3:0]                   s_n;
    wire [KG_TOK*ROWS*ACC_W-1:0] s_sums;
    wire                         rt_en;
    wire [1:0]                   rt_num;
    wire [TOK_W-1:0]             rt_tok;
    wire [PAIR_W-1:0]            rt_pair;
    wire [31:0]                  rt_data;
    wire                         o_room, o_begin, o_valid, o_num, o_v, o_last, o_group_last;
    wire [TOK_W-1:0]             o_tok;
    wire [PAIR_W-1:0]            o_pair;
    wire [31:0]                  o_y;
    wire                         array_rest, load_waiting;

    assign t_ready   = t_key_ready && t_place_ready;
    assign ev_starve = array_rest && load_waiting;

    sofa_sync_fifo #(
        .WIDTH (1 + ADDR_W),
        .DEPTH (TOKENS)
    ) key_queue_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid && t_place_ready),
        .s_ready (t_key_ready),
        .s_data  ({t_mean, t_at}),
        .m_valid (q_valid),
        .m_ready (q_ready),
        .m_data  ({q_mean, q_at}),
        .level   (unused_q_level)
    );

    sofa_kvgen_load #(
        .KG_TOK    (KG_TOK),
        .PLACES    (GROUP),
        .BUS_BYTES (BUS_BYTES),
        .KEYS_MAX  (KEYS_MAX),
        .H_MAX     (H_MAX),
        .D_MAX     (D_MAX),
        .ADDR_W    (ADDR_W)
    ) load_inst (
        .clk           (clk),
        .rst           (rst),
        .cfg_d         (cfg_d),
        .cfg_h         (cfg_h),
        .cfg_packed    (packed_job),
        .cfg_rope_on   (rope_on),
        .cfg_x_base    (cfg_x_base),
        .cfg_x_stride  (cfg_x_stride),
        .cfg_rt_base   (cfg_rt_base),
        .cfg_rt_stride (cfg_rt_stride),
        .t_valid       (q_valid),
        .t_ready       (q_ready),
        .t_mean        (q_mean),
        .t_at          (q_at),
        .t_more        (t_more),
        .c_valid       (c_valid),
        .c_ready       (c_ready),
        .c_addr        (c_addr),
        .c_beats       (c_beats),
        .d_valid       (d_valid),
        .d_data        (d_data),
        .g_valid       (g_valid),
        .g_take        (g_take),
        .g_num         (g_num),
        .g_n           (g_n),
        .g_free        (g_free),
        .g_free_num    (g_free_num),
        .x_en          (x_en),
        .x_num         (x_num),
        .x_elem        (x_elem),
        .x_data        (x_data),
        .rt_en         (rt_en),
        .rt_num        (rt_num),
        .rt_tok        (rt_tok),
        .rt_pair       (rt_pair),
        .rt_data       (rt_data),
        .waiting       (load_waiting)
    );

    sofa_kvgen_array #(
        .ROWS      (ROWS),
        .KG_TOK    (KG_TOK),
        .H_MAX     (H_MAX),
        .WGT_WORDS (WGT_WORDS)
    ) array_inst (
        .clk        (clk),
        .rst        (rst),
        .cfg_d      (cfg_d),
        .cfg_h      (cfg_h),
        .cfg_packed (packed_job),
        .w_wr_valid (w_wr_valid),
        .w_wr_addr  (w_wr_addr),
        .w_wr_data  (w_wr_data),
        .g_valid    (g_valid),
        .g_take     (g_take),
        .g_num      (g_num),
        .g_n        (g_n),
        .g_free     (g_free),
        .g_free_num (g_free_num),
        .x_en       (x_en),
        .x_num      (x_num),
        .x_elem     (x_elem),
        .x_data     (x_data),
        .s_valid    (s_valid),
        .s_done     (s_done),
        .s_num      (s_num),
        .s_n        (s_n),
        .s_last     (s_last),
        .s_sums     (s_sums),
        .rest       (array_rest),
        .ev_busy    (ev_busy),
        .ev_stall   (ev_stall)
    );

    sofa_kvgen_drain #(
        .ROWS   (ROWS),
        .KG_TOK (KG_TOK),
        .D_MAX  (D_MAX),
        .ACC_W  (ACC_W)
    ) drain_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_d        (cfg_d),
        .cfg_rope_on  (rope_on),
        .cfg_shift_k  (cfg_shift_k),
        .cfg_shift_v  (cfg_shift_v),
        .s_valid      (s_valid),
        .s_done       (s_done),
        .s_num        (s_num),
        .s_n          (s_n),
        .s_last       (s_last),
        .s_sums       (s_sums),
        .rt_en        (rt_en),
        .rt_num       (rt_num),
        .rt_tok       (rt_tok),
        .rt_pair      (rt_pair),
        .rt_data      (rt_data),
        .m_room       (o_room),
        .m_begin      (o_begin),
        .m_valid      (o_valid),
        .m_num        (o_num),
        .m_tok        (o_tok),
        .m_v          (o_v),
        .m_pair       (o_pair),
        .m_last       (o_last),
        .m_group_last (o_group_last),
        .m_y          (o_y)
    );

    // -----------------------------------------------------------------------------------------
    // Vectors: natural order, places
    // -----------------------------------------------------------------------------------------
    wire                 b_valid, b_ready, b_v, b_last;
    wire [BEAT_BITS-1:0] b_data;

    sofa_kvgen_order #(
        .PLACES    (GROUP),
        .D_MAX     (D_MAX),
        .BUS_BYTES (BUS_BYTES)
    ) order_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_d        (cfg_d),
        .cfg_split    (cfg_rope[1]),
        .s_room       (o_room),
        .s_begin      (o_begin),
        .s_valid      (o_valid),
        .s_num        (o_num),
        .s_tok        (o_tok),
        .s_v          (o_v),
        .s_pair       (o_pair),
        .s_last       (o_last),
        .s_group_last (o_group_last),
        .s_y          (o_y),
        .m_valid      (b_valid),
        .m_ready      (b_ready),
        .m_v          (b_v),
        .m_last       (b_last),
        .m_data       (b_data)
    );

    sofa_kvgen_out #(
        .BUS_BYTES (BUS_BYTES),
        .ADDR_W    (ADDR_W),
        .KEY_W     (KEY_W),
        .LAND_W    (LAND_W),
        .VM_W      (VM_W),
        .TOKENS    (TOKENS)
    ) out_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_d        (cfg_d),
        .cfg_k_stride (cfg_k_stride),
        .cfg_v_stride (cfg_v_stride),
        .t_valid      (t_valid && t_key_ready),
        .t_ready      (t_place_ready),
        .t_mean       (t_mean),
        .t_key        (t_at[KEY_W-1:0]),
        .t_land       (t_land),
        .t_kbase      (t_kbase),
        .t_vbase      (t_vbase),
        .s_valid      (b_valid),
        .s_ready      (b_ready),
        .s_v          (b_v),
        .s_last       (b_last),
        .s_data       (b_data),
        .l_valid      (l_valid),
        .l_ready      (l_ready),
        .l_v          (l_v),
        .l_land       (l_land),
        .l_beat       (l_beat),
        .l_last       (l_last),
        .l_data       (l_data),
        .done         (ev_gen),
        .wb_valid     (wb_valid),
        .wb_ready     (wb_ready),
        .wb_addr      (wb_addr),
        .wb_data      (wb_data),
        .wb_strb      (wb_strb),
        .wb_mark      (wb_mark),
        .wb_key       (wb_key),
        .empty        (empty)
    );

endmodule

`resetall
