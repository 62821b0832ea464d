// SPDX-License-Identifier: Apache-2.0
// RASS stage: runs a tile in phases when its keys do not fit the slots of a K or V buffer.
//
// Why: buffer slots are the fan-in of SU-FA's key multiplexers, so few of them save area. A tile's
// union then enters in phases of up to KV_SLOTS keys, every key once: keys that many rows share
// first, and keys that would overload a row left for a later phase. To SU-FA a phase is what a
// tile is otherwise. KV_SLOTS = BC_MAX: a tile is one phase, and this stage is wires.
// Not done here: loading the keys (kvgen, fetch); choosing them (sads).
// Cycles from a tile to the next where nothing waits (KV_SLOTS < BC_MAX); U keys in the union, N of
// them left at the start of a phase, V of those looked at (V <= N), c the phase's longest list:
//   ceil(nsteps/2) + U + clog2(BC_MAX) + 5
//   + per phase V + 2*nsteps + ceil(c/4) + 8, all but the last at least V + clog2(BC_MAX) + 6.
// A tile without keys: 4. With KV_SLOTS = BC_MAX all is combinational.
// Latency: a phase is offered in the cycle after its part of this sum.
// Source: SOFA (MICRO 2024), RASS; docs/architecture.md sections 10.3 and 10.6.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module rass #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 16,
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 32,
    // Key slots of a K or V buffer, power of two, 4..BC_MAX.
    parameter KV_SLOTS = 16,
    // List buffers that sads fills: 2..4 here, or the 4 of sufa where KV_SLOTS = BC_MAX.
    parameter LIST_BUFS = KV_SLOTS == BC_MAX ? 4 : 2,
    // Bits of a tile slot, of a buffer slot. Derived: leave at their defaults.
    parameter SLOT_W = $clog2(BC_MAX),
    parameter KSLOT_W = $clog2(KV_SLOTS)
) (
    input  wire                          clk,
    input  wire                          rst,

    // List words of sads to a ring of LIST_BUFS buffers, entry i of row r at index r*4 + i:
    // {valid, tile slot}
    input  wire                          s_l_wr_valid,
    input  wire [1:0]                    s_l_wr_buf,
    input  wire [3:0]                    s_l_wr_word,
    input  wire [ROWS*4*(SLOT_W+1)-1:0]  s_l_wr_data,
    output wire                          s_l_release,

    // Tile, whose list words are complete
    input  wire                          s_valid,
    output wire                          s_ready,
    input  wire [`TD_W-1:0]              s_td,
    input  wire [BC_MAX-1:0]             s_union,
    input  wire [7:0]                    s_nsteps,

    // List words to the ring of 4 list buffers of sufa, {valid, buffer slot}
    output wire                          l_wr_valid,
    output wire [1:0]                    l_wr_buf,
    output wire [3:0]                    l_wr_word,
    output wire [ROWS*4*(KSLOT_W+1)-1:0] l_wr_data,
    input  wire                          l_release,

    // Phase, whose list words are complete: tile slot of every buffer slot in the mask
    output wire                          p_valid,
    input  wire                          p_ready,
    output wire [`TD_W-1:0]              p_td,
    output wire [KV_SLOTS*SLOT_W-1:0]    p_slots,
    output wire [KV_SLOTS-1:0]           p_mask,
    output wire [7:0]                    p_nsteps,

    // Events
    output wire                          ev_busy,
    output wire                          ev_stall
);

    generate
        if (ROWS < 4 || ROWS > 128 || (1 << $clog2(ROWS)) != ROWS
                || BC_MAX < 8 || BC_MAX > 64 || (1 << SLOT_W) != BC_MAX
                || KV_SLOTS < 4 || KV_SLOTS > BC_MAX || (1 << KSLOT_W) != KV_SLOTS
                || LIST_BUFS < 2 || LIST_BUFS > 4
                || (KV_SLOTS == BC_MAX && LIST_BUFS != 4)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_rass_needs_KV_SLOTS_power_of_2_4_to_BC_MAX_LIST_BUFS_2_to_4 stop ();
        end
    endgenerate

    genvar s;
    generate
        if (KV_SLOTS == BC_MAX) begin : g_wires
            assign s_l_release = l_release;
            assign s_ready = p_ready;
            assign l_wr_valid = s_l_wr_valid;
            assign l_wr_buf = s_l_wr_buf;
            assign l_wr_word = s_l_wr_word;
            assign l_wr_data = s_l_wr_data;
            assign p_valid = s_valid;
            assign p_td = s_td;
            assign p_mask = s_union;
            assign p_nsteps = s_nsteps;
            for (s = 0; s < KV_SLOTS; s = s + 1) begin : g_slot
                localparam [31:0] SLOT = s;
                assign p_slots[s*SLOT_W +: SLOT_W] = SLOT[SLOT_W-1:0];
            end

            assign ev_busy = s_valid && s_ready;
            assign ev_stall = s_valid && !s_ready;
            wire unused_clk = &{1'b0, clk, rst};
        end else begin : g_sched
            rass_sched #(
                .ROWS(ROWS),
                .BC_MAX(BC_MAX),
                .KV_SLOTS(KV_SLOTS),
                .LIST_BUFS(LIST_BUFS)
            ) sched (
                .clk(clk),
                .rst(rst),
                .s_l_wr_valid(s_l_wr_valid),
                .s_l_wr_buf(s_l_wr_buf),
                .s_l_wr_word(s_l_wr_word),
                .s_l_wr_data(s_l_wr_data),
                .s_l_release(s_l_release),
                .s_valid(s_valid),
                .s_ready(s_ready),
                .s_td(s_td),
                .s_union(s_union),
                .s_nsteps(s_nsteps),
                .l_wr_valid(l_wr_valid),
                .l_wr_buf(l_wr_buf),
                .l_wr_word(l_wr_word),
                .l_wr_data(l_wr_data),
                .l_release(l_release),
                .p_valid(p_valid),
                .p_ready(p_ready),
                .p_td(p_td),
                .p_slots(p_slots),
                .p_mask(p_mask),
                .p_nsteps(p_nsteps),
                .ev_busy(ev_busy),
                .ev_stall(ev_stall)
            );
        end
    endgenerate

endmodule

`resetall
