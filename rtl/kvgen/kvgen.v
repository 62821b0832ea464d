// SPDX-License-Identifier: Apache-2.0
// On-demand projection: makes K and V of the keys that some row selected for the first time.
//
//   phase -> front --+--> keys that exist -> fetch -> ring write ports --------------+--> SU-FA
//             | bitmap \                                                             |
//             |         +--> tokens -> load (X, RoPE rows) -> array -> drain -> order -> out
//             weights -------------------------------^                               +--> memory
//
// Why: between fetch and SU-FA, so that neither knows where a vector comes from. A phase of SU-FA
// has vectors of both kinds in its ring buffers; its commit waits for both. A made vector is
// written to memory at the same time and read from there by later phases.
// Without cfg_generate the stage is wires.
// Not done here: selection and phases (rass), reading existing vectors (fetch).
// The n-th KV head of a job is counted from rst, or from a cycle without cfg_generate.
// Latency: see the modules. Throughput: n tokens in P*max(H, pairs*n) cycles, P = ceil(2d/ROWS)
// passes, pairs: of a pass, at most ROWS/2. n = KG_TOK; 2*KG_TOK in a packed job, in which
// the outputs of a token fill at most half of the lanes: 4*d <= ROWS and 2*H <= H_MAX.
// Source: H. Wang et al., "SOFA", MICRO 2024 (on-demand KV); docs/architecture.md 10.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module kvgen #(
    // Lanes of the array, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 64,
    // Slots of a tile, a power of two, KV_SLOTS..64.
    parameter BC_MAX = 32,
    // Slots of a ring buffer, a power of two, max(BUS_BYTES/2, 8)..BC_MAX.
    parameter KV_SLOTS = 16,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Largest number of keys, a power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Largest model dimension, a power of two, 64..4096.
    parameter H_MAX = 1024,
    // Columns of the array, one token each, in a packed job two: 1, 2 or 4; 1 where
    // ROWS < BUS_BYTES.
    parameter KG_TOK = 2,
    // Words of the weight memory, 64..65536; a job needs P*H of them.
    parameter WGT_WORDS = 4608,
    // Buffers of the K ring and of the V ring, 2..4.
    parameter KV_BUFS = 2,
    // Derived: leave at their defaults.
    parameter SLOT_W = $clog2(BC_MAX),
    parameter KSLOT_W = $clog2(KV_SLOTS)
) (
    input  wire                       clk,
    input  wire                       rst,

    // Job, static. Strides are in bytes
    input  wire                       cfg_generate,
    input  wire [8:0]                 cfg_d,
    input  wire [12:0]                cfg_h,
    input  wire [1:0]                 cfg_rope,
    input  wire [16:0]                cfg_keys,
    input  wire [5:0]                 cfg_kg_shift_k,
    input  wire [5:0]                 cfg_kg_shift_v,
    input  wire [47:0]                cfg_x_base,
    input  wire [31:0]                cfg_x_stride,
    input  wire [47:0]                cfg_w_base,
    input  wire [31:0]                cfg_w_hstride,
    input  wire [47:0]                cfg_rt_base,
    input  wire [31:0]                cfg_rt_stride,
    input  wire [47:0]                cfg_vb_base,
    input  wire [31:0]                cfg_vb_hstride,
    input  wire                       cfg_vb_load,

    // Phase: used buffer slots, and the tile slot in each of them
    input  wire                       p_valid,
    output wire                       p_ready,
    input  wire [`TD_W-1:0]           p_td,
    input  wire [KV_SLOTS*SLOT_W-1:0] p_slots,
    input  wire [KV_SLOTS-1:0]        p_mask,
    input  wire [7:0]                 p_nsteps,

    // The phase to fetch, with the slots that are read from memory
    output wire                       u_valid,
    input  wire                       u_ready,
    output wire [`TD_W-1:0]           u_td,
    output wire [KV_SLOTS*SLOT_W-1:0] u_slots,
    output wire [KV_SLOTS-1:0]        u_mask,
    output wire [7:0]                 u_nsteps,

    // Reads of X, W, RT, VB: commands, and their beats in order
    output wire                       x_c_valid,
    input  wire                       x_c_ready,
    output wire [47:0]                x_c_addr,
    output wire [15:0]                x_c_beats,
    input  wire                       x_d_valid,
    output wire                       x_d_ready,
    input  wire [8*BUS_BYTES-1:0]     x_d_data,

    // What fetch reads: K ring, V ring
    input  wire                       f_k_wr_valid,
    input  wire [1:0]                 f_k_wr_buf,
    input  wire [KSLOT_W-1:0]         f_k_wr_slot,
    input  wire [7:0]                 f_k_wr_beat,
    input  wire [8*BUS_BYTES-1:0]     f_k_wr_data,
    input  wire                       f_k_t_valid,
    output wire                       f_k_t_ready,
    input  wire [`TD_W-1:0]           f_k_t_td,
    input  wire [7:0]                 f_k_t_nsteps,
    input  wire                       f_v_wr_valid,
    input  wire [1:0]                 f_v_wr_buf,
    input  wire [KSLOT_W-1:0]         f_v_wr_slot,
    input  wire [7:0]                 f_v_wr_beat,
    input  wire [8*BUS_BYTES-1:0]     f_v_wr_data,
    input  wire                       f_v_t_valid,
    output wire                       f_v_t_ready,

    // Rings of SU-FA
    output wire                       k_wr_valid,
    output wire [1:0]                 k_wr_buf,
    output wire [KSLOT_W-1:0]         k_wr_slot,
    output wire [7:0]                 k_wr_beat,
    output wire [8*BUS_BYTES-1:0]     k_wr_data,
    output wire                       k_t_valid,
    input  wire                       k_t_ready,
    output wire [`TD_W-1:0]           k_t_td,
    output wire [7:0]                 k_t_nsteps,
    input  wire                       k_release,
    output wire                       v_wr_valid,
    output wire [1:0]                 v_wr_buf,
    output wire [KSLOT_W-1:0]         v_wr_slot,
    output wire [7:0]                 v_wr_beat,
    output wire [8*BUS_BYTES-1:0]     v_wr_data,
    output wire                       v_t_valid,
    input  wire                       v_t_ready,
    input  wire                       v_release,

    // Write-back, single beats; done: the oldest one was answered
    output wire                       wb_valid,
    input  wire                       wb_ready,
    output wire [47:0]                wb_addr,
    output wire [8*BUS_BYTES-1:0]     wb_data,
    output wire [BUS_BYTES-1:0]       wb_strb,
    input  wire                       wb_done,

    // Pulse: vectors and bitmap of a KV head are in memory. Nothing queued, nothing unanswered
    output wire                       kv_done,
    output wire                       idle,

    // Events: a weight word was used; the array waits for the drain; it has no group although a
    // token is queued; a token is finished
    output wire                       ev_busy,
    output wire                       ev_stall,
    output wire                       ev_starve,
    output wire                       ev_gen
);

    generate
        if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))
                || BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || 2 * KV_SLOTS < BUS_BYTES || D_MAX < BUS_BYTES || D_MAX < 16
                || (KG_TOK > 1 && ROWS < BUS_BYTES)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_kvgen_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam BEAT_BITS = 8 * BUS_BYTES;
    localparam ACC_W = 32 + $clog2(H_MAX);
    localparam ELEM_W = $clog2(H_MAX);
    localparam PAIR_W = $clog2(D_MAX) - 1;
    // Tokens of a group at most. No d is small enough for a packed job on fewer than 32 lanes.
    localparam PLACES = ROWS >= 32 ? 2 * KG_TOK : KG_TOK;
    localparam TOK_W = PLACES == 1 ? 1 : $clog2(PLACES);
    localparam WGT_W = $clog2(WGT_WORDS);
    // Tokens from the queue to the last beat: two groups of X rows, one in the sums, one or two as
    // vectors, and some in the queue. In a packed job the rows of the second group are read while
    // vectors leave.
    localparam TOKENS = 4 * KG_TOK + 4;
    localparam LEVEL_W = $clog2(TOKENS + 1);
    localparam [31:0] ROWS_I = ROWS;
    localparam [31:0] H_MAX_I = H_MAX;

    wire rope_on = cfg_rope != 2'd0;
    wire packed_job = PLACES != KG_TOK && {cfg_d, 2'd0} <= ROWS_I[10:0]
                      && {cfg_h, 1'b0} <= H_MAX_I[13:0];

    // -----------------------------------------------------------------------------------------
    // Front, bitmap, weights
    // -----------------------------------------------------------------------------------------
    wire                 w_start, w_busy, w_c_valid, w_wr_valid;
    wire [ADDR_W-1:0]    w_addr, w_c_addr;
    wire [15:0]          w_c_beats;
    wire [WGT_W-1:0]     w_wr_addr;
    wire [ROWS*16-1:0]   w_wr_data;
    wire                 vb_clear, vb_load, vb_save, vb_busy, vb_c_valid, vb_d_ready;
    wire [ADDR_W-1:0]    vb_addr, vb_c_addr;
    wire [15:0]          vb_c_beats;
    wire                 vb_m_valid, vb_m_ready;
    wire [ADDR_W-1:0]    vb_m_addr;
    wire [BEAT_BITS-1:0] vb_m_data;
    wire                 look_valid, look_done, look_claimed, look_written;
    wire [16:0]          look_key;
    wire                 mark_valid, mark_ready;
    wire [16:0]          mark_key;
    wire                 t_valid, t_more, t_key_ready, t_place_ready;
    wire [16:0]          t_key;
    wire [1:0]           t_buf;
    wire [KSLOT_W-1:0]   t_slot;
    wire [ADDR_W-1:0]    t_kaddr, t_vaddr;
    wire                 put;
    wire [6:0]           put_count;
    wire                 out_empty, wb_empty, front_rest;

    assign u_td     = p_td;
    assign u_slots  = p_slots;
    assign u_nsteps = p_nsteps;
    assign idle     = front_rest && out_empty && wb_empty;

    kvgen_front #(
        .BC_MAX   (BC_MAX),
        .KV_SLOTS (KV_SLOTS),
        .KV_BUFS  (KV_BUFS),
        .ADDR_W   (ADDR_W)
    ) front_inst (
        .clk            (clk),
        .rst            (rst),
        .cfg_generate   (cfg_generate),
        .cfg_vb_load    (cfg_vb_load),
        .cfg_w_base     (cfg_w_base[ADDR_W-1:0]),
        .cfg_w_hstride  (cfg_w_hstride),
        .cfg_vb_base    (cfg_vb_base[ADDR_W-1:0]),
        .cfg_vb_hstride (cfg_vb_hstride),
        .p_valid        (p_valid),
        .p_ready        (p_ready),
        .p_td           (p_td),
        .p_slots        (p_slots),
        .p_mask         (p_mask),
        .u_valid        (u_valid),
        .u_ready        (u_ready),
        .u_mask         (u_mask),
        .k_release      (k_release),
        .v_release      (v_release),
        .w_start        (w_start),
        .w_addr         (w_addr),
        .w_busy         (w_busy),
        .vb_clear       (vb_clear),
        .vb_load        (vb_load),
        .vb_save        (vb_save),
        .vb_addr        (vb_addr),
        .vb_busy        (vb_busy),
        .look_valid     (look_valid),
        .look_key       (look_key),
        .look_done      (look_done),
        .look_claimed   (look_claimed),
        .look_written   (look_written),
        .t_valid        (t_valid),
        .t_ready        (t_key_ready && t_place_ready),
        .t_key          (t_key),
        .t_buf          (t_buf),
        .t_slot         (t_slot),
        .t_kaddr        (t_kaddr),
        .t_vaddr        (t_vaddr),
        .t_more         (t_more),
        .put            (put),
        .put_count      (put_count),
        .tokens_done    (out_empty),
        .wb_done        (wb_empty),
        .kv_done        (kv_done),
        .rest           (front_rest)
    );

    kvgen_valid #(
        .KEYS_MAX  (KEYS_MAX),
        .BUS_BYTES (BUS_BYTES),
        .ADDR_W    (ADDR_W)
    ) valid_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_keys     (cfg_keys),
        .clear        (vb_clear),
        .load         (vb_load),
        .save         (vb_save),
        .addr         (vb_addr),
        .busy         (vb_busy),
        .c_valid      (vb_c_valid),
        .c_ready      (x_c_ready),
        .c_addr       (vb_c_addr),
        .c_beats      (vb_c_beats),
        .d_valid      (x_d_valid),
        .d_ready      (vb_d_ready),
        .d_data       (x_d_data),
        .m_valid      (vb_m_valid),
        .m_ready      (vb_m_ready),
        .m_addr       (vb_m_addr),
        .m_data       (vb_m_data),
        .look_valid   (look_valid),
        .look_key     (look_key),
        .look_done    (look_done),
        .look_claimed (look_claimed),
        .look_written (look_written),
        .mark_valid   (mark_valid),
        .mark_ready   (mark_ready),
        .mark_key     (mark_key)
    );

    kvgen_wload #(
        .ROWS      (ROWS),
        .BUS_BYTES (BUS_BYTES),
        .WGT_WORDS (WGT_WORDS),
        .ADDR_W    (ADDR_W)
    ) wload_inst (
        .clk     (clk),
        .rst     (rst),
        .cfg_d   (cfg_d),
        .cfg_h   (cfg_h),
        .start   (w_start),
        .addr    (w_addr),
        .busy    (w_busy),
        .c_valid (w_c_valid),
        .c_ready (x_c_ready),
        .c_addr  (w_c_addr),
        .c_beats (w_c_beats),
        .d_valid (x_d_valid && w_busy),
        .d_data  (x_d_data),
        .w_valid (w_wr_valid),
        .w_addr  (w_wr_addr),
        .w_data  (w_wr_data)
    );

    // -----------------------------------------------------------------------------------------
    // Reads: bitmap, then weights, then rows of tokens; never two of them at a time
    // -----------------------------------------------------------------------------------------
    wire              l_c_valid;
    wire [ADDR_W-1:0] l_c_addr;
    wire [15:0]       l_c_beats;
    wire [47:0]       wide_wb_addr;
    wire [ADDR_W-1:0] c_addr = vb_c_valid ? vb_c_addr : w_c_valid ? w_c_addr : l_c_addr;
    wire [ADDR_W-1:0] m_addr;

    assign x_c_valid = vb_c_valid || w_c_valid || l_c_valid;
    assign x_c_beats = vb_c_valid ? vb_c_beats : w_c_valid ? w_c_beats : l_c_beats;
    assign x_d_ready = w_busy || !vb_busy || vb_d_ready;
    assign wb_addr   = wide_wb_addr;

    generate
        if (ADDR_W == 48) begin : g_addr
            assign x_c_addr     = c_addr;
            assign wide_wb_addr = m_addr;
        end else begin : g_addr
            wire unused_base = &{1'b0, cfg_x_base[47:ADDR_W], cfg_w_base[47:ADDR_W],
                                 cfg_rt_base[47:ADDR_W], cfg_vb_base[47:ADDR_W]};
            assign x_c_addr     = {{(48 - ADDR_W){1'b0}}, c_addr};
            assign wide_wb_addr = {{(48 - ADDR_W){1'b0}}, m_addr};
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Tokens: rows, array, drain
    // -----------------------------------------------------------------------------------------
    wire                         q_valid, q_ready;
    wire [16:0]                  q_key;
    wire [LEVEL_W-1:0]           unused_q_level;
    wire                         g_valid, g_take, g_free;
    wire [1:0]                   g_num, g_free_num;
    wire [3:0]                   g_n;
    wire                         x_en;
    wire [1:0]                   x_num;
    wire [ELEM_W-1:0]            x_elem;
    wire [PLACES*16-1:0]         x_data;
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

    assign ev_starve = array_rest && load_waiting;

    sync_fifo #(
        .WIDTH (17),
        .DEPTH (TOKENS)
    ) key_queue_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid && t_place_ready),
        .s_ready (t_key_ready),
        .s_data  (t_key),
        .m_valid (q_valid),
        .m_ready (q_ready),
        .m_data  (q_key),
        .level   (unused_q_level)
    );

    kvgen_load #(
        .KG_TOK    (KG_TOK),
        .PLACES    (PLACES),
        .BUS_BYTES (BUS_BYTES),
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
        .cfg_x_base    (cfg_x_base[ADDR_W-1:0]),
        .cfg_x_stride  (cfg_x_stride),
        .cfg_rt_base   (cfg_rt_base[ADDR_W-1:0]),
        .cfg_rt_stride (cfg_rt_stride),
        .t_valid       (q_valid),
        .t_ready       (q_ready),
        .t_key         (q_key),
        .t_more        (t_more),
        .c_valid       (l_c_valid),
        .c_ready       (x_c_ready),
        .c_addr        (l_c_addr),
        .c_beats       (l_c_beats),
        .d_valid       (x_d_valid && !w_busy && !vb_busy),
        .d_data        (x_d_data),
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

    kvgen_array #(
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

    kvgen_drain #(
        .ROWS   (ROWS),
        .KG_TOK (KG_TOK),
        .D_MAX  (D_MAX),
        .ACC_W  (ACC_W)
    ) drain_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_d        (cfg_d),
        .cfg_rope_on  (rope_on),
        .cfg_shift_k  (cfg_kg_shift_k),
        .cfg_shift_v  (cfg_kg_shift_v),
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
    wire                 gk_valid, gv_valid, gk_done, gv_done;
    wire [1:0]           g_buf;
    wire [KSLOT_W-1:0]   g_slot;
    wire [7:0]           g_beat;
    wire [BEAT_BITS-1:0] g_data;
    wire                 a_valid, a_ready, a_mark;
    wire [ADDR_W-1:0]    a_addr;
    wire [BEAT_BITS-1:0] a_data;
    wire [BUS_BYTES-1:0] a_strb;
    wire [16:0]          a_key;

    kvgen_order #(
        .PLACES    (PLACES),
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

    kvgen_out #(
        .BUS_BYTES (BUS_BYTES),
        .ADDR_W    (ADDR_W),
        .KSLOT_W   (KSLOT_W),
        .TOKENS    (TOKENS)
    ) out_inst (
        .clk      (clk),
        .rst      (rst),
        .cfg_d    (cfg_d),
        .t_valid  (t_valid && t_key_ready),
        .t_ready  (t_place_ready),
        .t_key    (t_key),
        .t_buf    (t_buf),
        .t_slot   (t_slot),
        .t_kaddr  (t_kaddr),
        .t_vaddr  (t_vaddr),
        .s_valid  (b_valid),
        .s_ready  (b_ready),
        .s_v      (b_v),
        .s_last   (b_last),
        .s_data   (b_data),
        .k_busy   (f_k_wr_valid),
        .k_valid  (gk_valid),
        .v_busy   (f_v_wr_valid),
        .v_valid  (gv_valid),
        .wr_buf   (g_buf),
        .wr_slot  (g_slot),
        .wr_beat  (g_beat),
        .wr_data  (g_data),
        .k_done   (gk_done),
        .v_done   (gv_done),
        .wb_valid (a_valid),
        .wb_ready (a_ready),
        .wb_addr  (a_addr),
        .wb_data  (a_data),
        .wb_strb  (a_strb),
        .wb_mark  (a_mark),
        .wb_key   (a_key),
        .empty    (out_empty)
    );

    kvgen_wb #(
        .BUS_BYTES (BUS_BYTES),
        .ADDR_W    (ADDR_W)
    ) wb_inst (
        .clk        (clk),
        .rst        (rst),
        .a_valid    (a_valid),
        .a_ready    (a_ready),
        .a_addr     (a_addr),
        .a_data     (a_data),
        .a_strb     (a_strb),
        .a_mark     (a_mark),
        .a_key      (a_key),
        .b_valid    (vb_m_valid),
        .b_ready    (vb_m_ready),
        .b_addr     (vb_m_addr),
        .b_data     (vb_m_data),
        .wb_valid   (wb_valid),
        .wb_ready   (wb_ready),
        .wb_addr    (m_addr),
        .wb_data    (wb_data),
        .wb_strb    (wb_strb),
        .wb_done    (wb_done),
        .mark_valid (mark_valid),
        .mark_ready (mark_ready),
        .mark_key   (mark_key),
        .empty      (wb_empty)
    );

    // -----------------------------------------------------------------------------------------
    // Rings: fetch's beats first, commits when both kinds of vectors are there
    // -----------------------------------------------------------------------------------------
    assign k_wr_valid = f_k_wr_valid || gk_valid;
    assign k_wr_buf   = f_k_wr_valid ? f_k_wr_buf : g_buf;
    assign k_wr_slot  = f_k_wr_valid ? f_k_wr_slot : g_slot;
    assign k_wr_beat  = f_k_wr_valid ? f_k_wr_beat : g_beat;
    assign k_wr_data  = f_k_wr_valid ? f_k_wr_data : g_data;
    assign k_t_td     = f_k_t_td;
    assign k_t_nsteps = f_k_t_nsteps;
    assign v_wr_valid = f_v_wr_valid || gv_valid;
    assign v_wr_buf   = f_v_wr_valid ? f_v_wr_buf : g_buf;
    assign v_wr_slot  = f_v_wr_valid ? f_v_wr_slot : g_slot;
    assign v_wr_beat  = f_v_wr_valid ? f_v_wr_beat : g_beat;
    assign v_wr_data  = f_v_wr_valid ? f_v_wr_data : g_data;
    assign ev_gen     = gv_done;

    kvgen_commit #(
        .PHASES (KV_BUFS)
    ) k_commit_inst (
        .clk       (clk),
        .rst       (rst),
        .enable    (cfg_generate),
        .put       (put),
        .put_count (put_count),
        .done      (gk_done),
        .s_valid   (f_k_t_valid),
        .s_ready   (f_k_t_ready),
        .m_valid   (k_t_valid),
        .m_ready   (k_t_ready)
    );

    kvgen_commit #(
        .PHASES (KV_BUFS)
    ) v_commit_inst (
        .clk       (clk),
        .rst       (rst),
        .enable    (cfg_generate),
        .put       (put),
        .put_count (put_count),
        .done      (gv_done),
        .s_valid   (f_v_t_valid),
        .s_ready   (f_v_t_ready),
        .m_valid   (v_t_valid),
        .m_ready   (v_t_ready)
    );

endmodule

`resetall
