// SPDX-License-Identifier: Apache-2.0
// K and V of the keys that rows selected: read from memory, or made; to the units in order.
//
//   item -> front --+--> keys that exist -> fetch -------------------------> landing --> units
//             | bitmap \                                                       ^
//             |         +--> tokens -> load (X, RoPE rows) -> array -> drain -> order -> out
//             weights -------------------------------^                                 +--> memory
//
// Why: between fetch and SU-FA, so that neither knows where a vector comes from. A key gets its
// place in the landing buffer when it is issued and waits for no other; the buffer restores order.
// A made vector is written to memory at the same time and read from there when it is wanted
// again. Without cfg_generate all keys are read, and the projection rests.
// Nothing waits in a circle: a group of tokens starts when it is full or when the front does not
// move on (no place, no key, a key that memory does not have yet), a token has its place before it
// is queued, and write-back needs only memory.
// Not done here: selection (rass), reading of existing vectors (fetch).
// The n-th KV head of a job is counted from rst, or from a cycle without cfg_generate.
// Latency: see the modules; an item to its request to fetch 2 cycles, the last beat of a vector to
// the units 3. Throughput: an item a cycle (with look-ups in two) and a beat a cycle to the units;
// n tokens in P*max(H, pairs*n) cycles, P = ceil(2d/ROWS) passes, pairs: of a pass, at most ROWS/2.
// n = KG_TOK; 2*KG_TOK in a packed job, in which the outputs of a token fill at most half of the
// lanes: 4*d <= ROWS and 2*H <= H_MAX.
// Source: H. Wang et al., "SOFA", MICRO 2024 (on-demand KV); docs/architecture.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen #(
    // Lanes of the array, rows of a block, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 64,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Largest number of keys, a power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Blocks in residence, a power of two, 2..8.
    parameter PLACES = 4,
    // Keys of the landing buffer, a power of two, 4..64; its beats, a power of two,
    // 8*D_MAX/BUS_BYTES..4096.
    parameter LAND = 16,
    parameter LAND_BEATS = 128,
    // Bits of an element of the mean of V, 4..16.
    parameter VM_W = 8,
    // Largest model dimension, a power of two, 64..4096.
    parameter H_MAX = 1024,
    // Columns of the array, one token each, in a packed job two: 1, 2 or 4; 1 where
    // ROWS < BUS_BYTES.
    parameter KG_TOK = 2,
    // Words of the weight memory, 64..65536; a job needs P*H of them.
    parameter WGT_WORDS = 4608,
    // Derived: leave at their defaults.
    parameter PLACE_W = $clog2(PLACES),
    parameter LAND_W = $clog2(LAND)
) (
    input  wire                   clk,
    input  wire                   rst,

    // Job, static. Strides are in bytes. cfg_mean: ends of blocks have a mean vector
    input  wire                   cfg_generate,
    input  wire                   cfg_mean,
    input  wire [8:0]             cfg_d,
    input  wire [12:0]            cfg_h,
    input  wire [1:0]             cfg_rope,
    input  wire [16:0]            cfg_keys,
    input  wire [31:0]            cfg_k_stride,
    input  wire [31:0]            cfg_v_stride,
    input  wire [47:0]            cfg_x_base,
    input  wire [31:0]            cfg_x_stride,
    input  wire [47:0]            cfg_w_base,
    input  wire [31:0]            cfg_w_hstride,
    input  wire [47:0]            cfg_rt_base,
    input  wire [31:0]            cfg_rt_stride,
    input  wire [47:0]            cfg_vb_base,
    input  wire [31:0]            cfg_vb_hstride,
    input  wire                   cfg_vb_load,

    // Item: 0 key, with the rows that take it, 1 end of a block, 2 KV head begins, 3 it ends.
    // Bases are the addresses of key 0; p_maddr: mean vector, or with cfg_generate mean row of X;
    // shifts of the projection come with the begin
    input  wire                   p_valid,
    output wire                   p_ready,
    input  wire [1:0]             p_kind,
    input  wire [16:0]            p_key,
    input  wire [47:0]            p_kbase,
    input  wire [47:0]            p_vbase,
    input  wire [PLACES*ROWS-1:0] p_mask,
    input  wire [PLACE_W-1:0]     p_place,
    input  wire [7:0]             p_rows,
    input  wire [47:0]            p_maddr,
    input  wire [47:0]            p_oaddr,
    input  wire [5:0]             p_shift_k,
    input  wire [5:0]             p_shift_v,

    // To fetch: K and V of a key into a place, or one vector at u_vbase itself as its V
    output wire                   u_valid,
    input  wire                   u_ready,
    output wire [LAND_W-1:0]      u_land,
    output wire                   u_mean,
    output wire [16:0]            u_key,
    output wire [47:0]            u_kbase,
    output wire [47:0]            u_vbase,

    // Beats from fetch, K or V in a cycle
    input  wire                   k_wr_valid,
    input  wire [LAND_W-1:0]      k_wr_land,
    input  wire [7:0]             k_wr_beat,
    input  wire                   k_wr_last,
    input  wire                   v_wr_valid,
    input  wire [LAND_W-1:0]      v_wr_land,
    input  wire [7:0]             v_wr_beat,
    input  wire                   v_wr_last,
    input  wire [8*BUS_BYTES-1:0] kv_wr_data,

    // Reads of X, W, RT, VB: commands, and their beats in order
    output wire                   x_c_valid,
    input  wire                   x_c_ready,
    output wire [47:0]            x_c_addr,
    output wire [15:0]            x_c_beats,
    input  wire                   x_d_valid,
    output wire                   x_d_ready,
    input  wire [8*BUS_BYTES-1:0] x_d_data,

    // To the units: c beats of K, c of V; at an end c of the mean. Mask and end with the first
    output wire                   kv_valid,
    input  wire                   kv_ready,
    output wire                   kv_first,
    output wire [8*BUS_BYTES-1:0] kv_data,
    output wire [PLACES*ROWS-1:0] kv_mask,
    output wire                   kv_end,
    output wire [PLACE_W-1:0]     kv_end_place,
    output wire [7:0]             kv_end_rows,
    output wire [47:0]            kv_end_addr,

    // Write-back, single beats; done: the oldest one was answered
    output wire                   wb_valid,
    input  wire                   wb_ready,
    output wire [47:0]            wb_addr,
    output wire [8*BUS_BYTES-1:0] wb_data,
    output wire [BUS_BYTES-1:0]   wb_strb,
    input  wire                   wb_done,

    // Pulse: vectors and bitmap of a KV head are in memory. Nothing queued, nothing unanswered
    output wire                   kv_done,
    output wire                   idle,

    // Events: a weight word was used; the array waits for the drain; it has no group although a
    // token is queued; a key is made, read
    output wire                   ev_busy,
    output wire                   ev_stall,
    output wire                   ev_starve,
    output wire                   ev_gen,
    output wire                   ev_reused
);

    generate
        if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))
                || BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || D_MAX < BUS_BYTES || D_MAX < 16 || PLACES < 2 || PLACES > 8
                || PLACES != (1 << $clog2(PLACES)) || (KG_TOK > 1 && ROWS < BUS_BYTES))
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam BEAT_BITS = 8 * BUS_BYTES;
    localparam MASK_W = PLACES * ROWS;
    localparam WGT_W = $clog2(WGT_WORDS);
    localparam KEY_W = $clog2(KEYS_MAX);

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
    wire                 look_valid, look_ready, look_done, look_claimed, look_written;
    wire [16:0]          look_key;
    wire                 mark_valid, mark_ready;
    wire [KEY_W-1:0]      mark_key;
    wire                 l_room, l_put, l_end;
    wire [LAND_W-1:0]    l_index;
    wire [MASK_W-1:0]    l_mask;
    wire [PLACE_W-1:0]   l_place;
    wire [7:0]           l_rows;
    wire [ADDR_W-1:0]    l_oaddr;
    wire                 f_valid, f_ready, f_mean;
    wire [16:0]          f_key;
    wire [ADDR_W-1:0]    f_kbase, f_vbase, u_kbase_n, u_vbase_n;
    wire                 t_valid, t_ready, t_mean, t_more;
    wire [ADDR_W-1:0]    t_at, t_kbase, t_vbase;
    wire                 made_empty, wb_empty, front_rest, land_empty;
    wire [5:0]           shift_k, shift_v;

    assign idle      = front_rest && land_empty && made_empty && wb_empty && !u_valid;
    assign ev_reused = f_valid && !f_mean;

    sofa_kvgen_front #(
        .MASK_W  (MASK_W),
        .PLACE_W (PLACE_W),
        .ADDR_W  (ADDR_W)
    ) front_inst (
        .clk            (clk),
        .rst            (rst),
        .cfg_generate   (cfg_generate),
        .cfg_mean       (cfg_mean),
        .cfg_vb_load    (cfg_vb_load),
        .cfg_w_base     (cfg_w_base[ADDR_W-1:0]),
        .cfg_w_hstride  (cfg_w_hstride),
        .cfg_vb_base    (cfg_vb_base[ADDR_W-1:0]),
        .cfg_vb_hstride (cfg_vb_hstride),
        .p_valid        (p_valid),
        .p_ready        (p_ready),
        .p_kind         (p_kind),
        .p_key          (p_key),
        .p_kbase        (p_kbase[ADDR_W-1:0]),
        .p_vbase        (p_vbase[ADDR_W-1:0]),
        .p_mask         (p_mask),
        .p_place        (p_place),
        .p_rows         (p_rows),
        .p_maddr        (p_maddr[ADDR_W-1:0]),
        .p_oaddr        (p_oaddr[ADDR_W-1:0]),
        .p_shift_k      (p_shift_k),
        .p_shift_v      (p_shift_v),
        .l_room         (l_room),
        .l_put          (l_put),
        .l_end          (l_end),
        .l_mask         (l_mask),
        .l_place        (l_place),
        .l_rows         (l_rows),
        .l_oaddr        (l_oaddr),
        .u_valid        (f_valid),
        .u_ready        (f_ready),
        .u_mean         (f_mean),
        .u_key          (f_key),
        .u_kbase        (f_kbase),
        .u_vbase        (f_vbase),
        .t_valid        (t_valid),
        .t_ready        (t_ready),
        .t_mean         (t_mean),
        .t_at           (t_at),
        .t_kbase        (t_kbase),
        .t_vbase        (t_vbase),
        .t_more         (t_more),
        .shift_k        (shift_k),
        .shift_v        (shift_v),
        .w_start        (w_start),
        .w_addr         (w_addr),
        .w_busy         (w_busy),
        .vb_clear       (vb_clear),
        .vb_load        (vb_load),
        .vb_save        (vb_save),
        .vb_addr        (vb_addr),
        .vb_busy        (vb_busy),
        .look_valid     (look_valid),
        .look_ready     (look_ready),
        .look_key       (look_key),
        .look_done      (look_done),
        .look_claimed   (look_claimed),
        .look_written   (look_written),
        .tokens_done    (made_empty),
        .wb_done        (wb_empty),
        .kv_done        (kv_done),
        .rest           (front_rest)
    );

    sofa_skid_buffer #(
        .WIDTH (LAND_W + 18 + 2 * ADDR_W)
    ) request_inst (
        .clk     (clk),
        .rst     (rst),
        .s_valid (f_valid),
        .s_ready (f_ready),
        .s_data  ({l_index, f_mean, f_key, f_kbase, f_vbase}),
        .m_valid (u_valid),
        .m_ready (u_ready),
        .m_data  ({u_land, u_mean, u_key, u_kbase_n, u_vbase_n})
    );

    sofa_kvgen_valid #(
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
        .look_ready   (look_ready),
        .look_key     (look_key),
        .look_done    (look_done),
        .look_claimed (look_claimed),
        .look_written (look_written),
        .mark_valid   (mark_valid),
        .mark_ready   (mark_ready),
        .mark_key     ({{(17 - KEY_W){1'b0}}, mark_key})
    );

    sofa_kvgen_wload #(
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
    wire [ADDR_W-1:0] c_addr = vb_c_valid ? vb_c_addr : w_c_valid ? w_c_addr : l_c_addr;
    wire [ADDR_W-1:0] m_addr, end_addr;

    assign x_c_valid = vb_c_valid || w_c_valid || l_c_valid;
    assign x_c_beats = vb_c_valid ? vb_c_beats : w_c_valid ? w_c_beats : l_c_beats;
    assign x_d_ready = w_busy || !vb_busy || vb_d_ready;

    // Beats are those of rows. A phase begins long before its first beat comes.
    reg               rows_reg;

    always @(posedge clk) begin
        rows_reg <= !w_busy && !vb_busy;
    end

    generate
        if (ADDR_W == 48) begin : g_addr
            assign x_c_addr    = c_addr;
            assign wb_addr     = m_addr;
            assign u_kbase     = u_kbase_n;
            assign u_vbase     = u_vbase_n;
            assign kv_end_addr = end_addr;
        end else begin : g_addr
            wire unused_high = &{1'b0, cfg_x_base[47:ADDR_W], cfg_w_base[47:ADDR_W],
                                 cfg_rt_base[47:ADDR_W], cfg_vb_base[47:ADDR_W],
                                 p_kbase[47:ADDR_W], p_vbase[47:ADDR_W], p_maddr[47:ADDR_W],
                                 p_oaddr[47:ADDR_W]};
            assign x_c_addr    = {{(48 - ADDR_W){1'b0}}, c_addr};
            assign wb_addr     = {{(48 - ADDR_W){1'b0}}, m_addr};
            assign u_kbase     = {{(48 - ADDR_W){1'b0}}, u_kbase_n};
            assign u_vbase     = {{(48 - ADDR_W){1'b0}}, u_vbase_n};
            assign kv_end_addr = {{(48 - ADDR_W){1'b0}}, end_addr};
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Made vectors
    // -----------------------------------------------------------------------------------------
    wire                 m_valid, m_ready, m_v, m_last;
    wire [LAND_W-1:0]    m_land;
    wire [7:0]           m_beat;
    wire [BEAT_BITS-1:0] m_data;
    wire                 a_valid, a_ready, a_mark;
    wire [ADDR_W-1:0]    a_addr;
    wire [BEAT_BITS-1:0] a_data;
    wire [BUS_BYTES-1:0] a_strb;
    wire [KEY_W-1:0]     a_key;

    sofa_kvgen_make #(
        .ROWS      (ROWS),
        .D_MAX     (D_MAX),
        .BUS_BYTES (BUS_BYTES),
        .ADDR_W    (ADDR_W),
        .KEYS_MAX  (KEYS_MAX),
        .LAND_W    (LAND_W),
        .VM_W      (VM_W),
        .H_MAX     (H_MAX),
        .KG_TOK    (KG_TOK),
        .WGT_WORDS (WGT_WORDS)
    ) make_inst (
        .clk           (clk),
        .rst           (rst),
        .cfg_d         (cfg_d),
        .cfg_h         (cfg_h),
        .cfg_rope      (cfg_rope),
        .cfg_shift_k   (shift_k),
        .cfg_shift_v   (shift_v),
        .cfg_k_stride  (cfg_k_stride),
        .cfg_v_stride  (cfg_v_stride),
        .cfg_x_base    (cfg_x_base[ADDR_W-1:0]),
        .cfg_x_stride  (cfg_x_stride),
        .cfg_rt_base   (cfg_rt_base[ADDR_W-1:0]),
        .cfg_rt_stride (cfg_rt_stride),
        .t_valid       (t_valid),
        .t_ready       (t_ready),
        .t_mean        (t_mean),
        .t_at          (t_at),
        .t_land        (l_index),
        .t_kbase       (t_kbase),
        .t_vbase       (t_vbase),
        .t_more        (t_more),
        .w_wr_valid    (w_wr_valid),
        .w_wr_addr     (w_wr_addr),
        .w_wr_data     (w_wr_data),
        .c_valid       (l_c_valid),
        .c_ready       (x_c_ready),
        .c_addr        (l_c_addr),
        .c_beats       (l_c_beats),
        .d_valid       (x_d_valid && rows_reg),
        .d_data        (x_d_data),
        .l_valid       (m_valid),
        .l_ready       (m_ready),
        .l_v           (m_v),
        .l_land        (m_land),
        .l_beat        (m_beat),
        .l_last        (m_last),
        .l_data        (m_data),
        .wb_valid      (a_valid),
        .wb_ready      (a_ready),
        .wb_addr       (a_addr),
        .wb_data       (a_data),
        .wb_strb       (a_strb),
        .wb_mark       (a_mark),
        .wb_key        (a_key),
        .empty         (made_empty),
        .ev_busy       (ev_busy),
        .ev_stall      (ev_stall),
        .ev_starve     (ev_starve),
        .ev_gen        (ev_gen)
    );

    sofa_kvgen_wb #(
        .BUS_BYTES (BUS_BYTES),
        .ADDR_W    (ADDR_W),
        .KEY_W     (KEY_W)
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
    // Landing buffer
    // -----------------------------------------------------------------------------------------
    sofa_kvgen_land #(
        .W          (BUS_BYTES / 2),
        .D_MAX      (D_MAX),
        .LAND       (LAND),
        .LAND_BEATS (LAND_BEATS),
        .MASK_W     (MASK_W),
        .PLACE_W    (PLACE_W),
        .ADDR_W     (ADDR_W)
    ) land_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_d        (cfg_d),
        .cfg_mean     (cfg_mean),
        .room         (l_room),
        .index        (l_index),
        .put          (l_put),
        .put_end      (l_end),
        .put_mask     (l_mask),
        .put_place    (l_place),
        .put_rows     (l_rows),
        .put_addr     (l_oaddr),
        .k_wr_valid   (k_wr_valid),
        .k_wr_land    (k_wr_land),
        .k_wr_beat    (k_wr_beat),
        .k_wr_last    (k_wr_last),
        .v_wr_valid   (v_wr_valid),
        .v_wr_land    (v_wr_land),
        .v_wr_beat    (v_wr_beat),
        .v_wr_last    (v_wr_last),
        .kv_wr_data   (kv_wr_data),
        .m_valid      (m_valid),
        .m_ready      (m_ready),
        .m_v          (m_v),
        .m_land       (m_land),
        .m_beat       (m_beat),
        .m_last       (m_last),
        .m_data       (m_data),
        .kv_valid     (kv_valid),
        .kv_ready     (kv_ready),
        .kv_first     (kv_first),
        .kv_data      (kv_data),
        .kv_mask      (kv_mask),
        .kv_end       (kv_end),
        .kv_end_place (kv_end_place),
        .kv_end_rows  (kv_end_rows),
        .kv_end_addr  (end_addr),
        .empty        (land_empty)
    );

endmodule

`resetall
