// SPDX-License-Identifier: Apache-2.0
// Gathers K and V of the keys which a tile's rows selected.
//
// Why: only selected vectors are read (on-demand K, V), each once per tile. K and V have rings,
// credits and walkers of their own, so K of the next tile neither waits for V's data nor
// for a V buffer; V's walks wait in a queue of KV_BUFS tiles.
// An order tells for each buffer slot whether it is filled and from which slot of the tile, so
// that a buffer may be smaller than a tile and be filled in phases, each a tile of its own here.
// Not done here: the choice of the vectors (sads, rass), anything with the data (axi_read delivers
// it to the write ports), reuse of vectors between tiles or blocks.
// A tile with an empty mask reads nothing but takes, and commits, one buffer of each ring.
// Latency: four cycles from u_valid to the first K request; one from the last beat at a write
// port to that ring's commit. Throughput: one selected slot every cycle, three idle cycles between
// tiles.
// Source: H. Wang et al., "SOFA", MICRO 2024 (on-demand K,V; here out of a cache in memory).

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module fetch_kv #(
    // Slots of a tile, a power of two, 8..64.
    parameter BC_MAX = 64,
    // Slots of a K or V buffer, a power of two, 8..BC_MAX.
    parameter KV_SLOTS = 64,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Buffers of the K ring and of the V ring, 2..4.
    parameter KV_BUFS = 2,
    // Bits of a slot of a tile, and of a buffer. Derived: leave at their defaults.
    parameter SLOT_W = $clog2(BC_MAX),
    parameter KSLOT_W = $clog2(KV_SLOTS)
) (
    input  wire                       clk,
    input  wire                       rst,

    // Tile to gather: slot u_slots[s] into buffer slot s for every s in u_mask
    input  wire                       u_valid,
    output wire                       u_ready,
    input  wire [`TD_W-1:0]           u_td,
    input  wire [KV_SLOTS*SLOT_W-1:0] u_slots,
    input  wire [KV_SLOTS-1:0]        u_mask,
    input  wire [7:0]                 u_nsteps,

    // Requests for K and V; last: of its tile. v_first: V's tile is older than K's.
    output wire                       k_req_valid,
    input  wire                       k_req_ready,
    output wire [ADDR_W-1:0]          k_req_addr,
    output wire [KSLOT_W-1:0]         k_req_slot,
    output wire [1:0]                 k_req_buf,
    output wire                       k_req_last,
    output wire                       v_req_valid,
    input  wire                       v_req_ready,
    output wire [ADDR_W-1:0]          v_req_addr,
    output wire [KSLOT_W-1:0]         v_req_slot,
    output wire [1:0]                 v_req_buf,
    output wire                       v_req_last,
    output wire                       v_first,

    // The last beat of a tile has been written
    input  wire                       k_done,
    input  wire                       v_done,

    // Tiles with all their data in the ring, and the release of their buffers
    output wire                       k_t_valid,
    input  wire                       k_t_ready,
    output wire [`TD_W-1:0]           k_t_td,
    output wire [7:0]                 k_t_nsteps,
    input  wire                       k_release,
    output wire                       v_t_valid,
    input  wire                       v_t_ready,
    input  wire                       v_release,

    // A tile waits for a free buffer
    output wire                       ev_stall
);

    generate
        if (KV_BUFS < 2 || KV_BUFS > 4 || KV_SLOTS < 8 || KV_SLOTS > BC_MAX
                || KV_SLOTS != (1 << $clog2(KV_SLOTS))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_fetch_kv_needs_KV_BUFS_2_to_4_KV_SLOTS_8_to_BC_MAX stop ();
        end
    endgenerate

    localparam LEVEL_W = $clog2(KV_BUFS + 1);

    // Addresses have 48 bits in the descriptor.
    wire [47:0]       k_addr = u_td[`TD_KADDR];
    wire [47:0]       v_addr = u_td[`TD_VADDR];
    wire [ADDR_W-1:0] k_base = k_addr[ADDR_W-1:0];
    wire [ADDR_W-1:0] v_base = v_addr[ADDR_W-1:0];

    generate
        if (ADDR_W < 48) begin : g_unused
            wire unused_addr = &{1'b0, k_addr[47:ADDR_W], v_addr[47:ADDR_W]};
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // K: takes tiles at u
    // -----------------------------------------------------------------------------------------
    wire       k_walk_ready;
    wire       k_avail;
    wire       k_put_ready;
    wire [1:0] k_index;
    wire       v_queue_ready;

    wire take = u_valid && u_ready;

    assign u_ready = k_walk_ready && k_avail && k_put_ready && v_queue_ready;

    ring_credit #(
        .BUFS (KV_BUFS)
    ) k_credit_inst (
        .clk   (clk),
        .rst   (rst),
        .avail (k_avail),
        .index (k_index),
        .take  (take),
        .free  (k_release)
    );

    kv_walker #(
        .SLOTS  (KV_SLOTS),
        .ADDR_W (ADDR_W),
        .TILE_W (SLOT_W)
    ) k_walk_inst (
        .clk        (clk),
        .rst        (rst),
        .ready      (k_walk_ready),
        .load       (take),
        .load_base  (k_base),
        .load_inc   (u_td[`TD_KINC]),
        .load_mask  (u_mask),
        .load_slots (u_slots),
        .load_buf   (k_index),
        .req_valid  (k_req_valid),
        .req_ready  (k_req_ready),
        .req_addr   (k_req_addr),
        .req_slot   (k_req_slot),
        .req_buf    (k_req_buf),
        .req_last   (k_req_last)
    );

    tile_commit #(
        .WIDTH (`TD_W + 8),
        .DEPTH (KV_BUFS)
    ) k_commit_inst (
        .clk       (clk),
        .rst       (rst),
        .put       (take),
        .put_ready (k_put_ready),
        .put_empty (u_mask == {KV_SLOTS{1'b0}}),
        .put_data  ({u_nsteps, u_td}),
        .done      (k_done),
        .t_valid   (k_t_valid),
        .t_ready   (k_t_ready),
        .t_data    ({k_t_nsteps, k_t_td})
    );

    // -----------------------------------------------------------------------------------------
    // V: the same walk, later
    // -----------------------------------------------------------------------------------------
    wire                       v_walk_ready;
    wire                       v_avail;
    wire                       v_put_ready;
    wire [1:0]                 v_index;
    wire                       v_tile_valid;
    wire [ADDR_W-1:0]          v_tile_base;
    wire [31:0]                v_tile_inc;
    wire [KV_SLOTS-1:0]        v_tile_mask;
    wire [KV_SLOTS*SLOT_W-1:0] v_tile_slots;
    wire                       unused_v_data;
    wire [LEVEL_W-1:0]         unused_v_level;

    wire v_free = v_walk_ready && v_avail && v_put_ready;
    wire v_take = v_tile_valid && v_free;

    // K's tile is the newest, so a tile waiting behind V's is K's at the earliest.
    assign v_first  = v_tile_valid;
    assign ev_stall = (u_valid && k_walk_ready && !k_avail)
                      || (v_tile_valid && v_walk_ready && !v_avail);

    sync_fifo #(
        .WIDTH (KV_SLOTS + KV_SLOTS * SLOT_W + 32 + ADDR_W),
        .DEPTH (KV_BUFS)
    ) v_queue_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (take),
        .s_ready (v_queue_ready),
        .s_data  ({u_mask, u_slots, u_td[`TD_VINC], v_base}),
        .m_valid (v_tile_valid),
        .m_ready (v_free),
        .m_data  ({v_tile_mask, v_tile_slots, v_tile_inc, v_tile_base}),
        .level   (unused_v_level)
    );

    ring_credit #(
        .BUFS (KV_BUFS)
    ) v_credit_inst (
        .clk   (clk),
        .rst   (rst),
        .avail (v_avail),
        .index (v_index),
        .take  (v_take),
        .free  (v_release)
    );

    kv_walker #(
        .SLOTS  (KV_SLOTS),
        .ADDR_W (ADDR_W),
        .TILE_W (SLOT_W)
    ) v_walk_inst (
        .clk        (clk),
        .rst        (rst),
        .ready      (v_walk_ready),
        .load       (v_take),
        .load_base  (v_tile_base),
        .load_inc   (v_tile_inc),
        .load_mask  (v_tile_mask),
        .load_slots (v_tile_slots),
        .load_buf   (v_index),
        .req_valid  (v_req_valid),
        .req_ready  (v_req_ready),
        .req_addr   (v_req_addr),
        .req_slot   (v_req_slot),
        .req_buf    (v_req_buf),
        .req_last   (v_req_last)
    );

    tile_commit #(
        .WIDTH (1),
        .DEPTH (KV_BUFS)
    ) v_commit_inst (
        .clk       (clk),
        .rst       (rst),
        .put       (v_take),
        .put_ready (v_put_ready),
        .put_empty (v_tile_mask == {KV_SLOTS{1'b0}}),
        .put_data  (1'b0),
        .done      (v_done),
        .t_valid   (v_t_valid),
        .t_ready   (v_t_ready),
        .t_data    (unused_v_data)
    );

endmodule

`resetall
