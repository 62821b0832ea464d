// SPDX-License-Identifier: Apache-2.0
// Collects the keys of a phase and hands the complete phase on, under the tile's descriptor.
//
// Why: the next phase is chosen while the loader of keys still holds the one before.
// Not done here: the choice (rass_walk.v); the lists (rass_split.v).
// Latency: emit to p_valid one cycle. Throughput: a phase every other cycle at most.
// Source: SOFA (MICRO 2024), RASS; docs/architecture.md section 10.3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module rass_issue #(
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 32,
    // Key slots of a buffer, power of two, 4..BC_MAX/2.
    parameter KV_SLOTS = 16,
    // Bits of a tile slot, of a buffer slot. Derived: leave at their defaults.
    parameter SLOT_W = $clog2(BC_MAX),
    parameter KSLOT_W = $clog2(KV_SLOTS)
) (
    input  wire                       clk,
    input  wire                       rst,

    // Tile
    input  wire                       take,
    input  wire [`TD_W-1:0]           s_td,

    // No key in the phase; a key gets a buffer slot
    input  wire                       new_phase,
    input  wire                       key_en,
    input  wire [SLOT_W-1:0]          key,
    input  wire [KSLOT_W-1:0]         key_slot,

    // The phase is complete: whether it is the tile's first, last; its pair steps
    output wire                       emit_ok,
    input  wire                       emit,
    input  wire                       first,
    input  wire                       last,
    input  wire [7:0]                 nsteps,

    // Phase
    output wire                       p_valid,
    input  wire                       p_ready,
    output wire [`TD_W-1:0]           p_td,
    output wire [KV_SLOTS*SLOT_W-1:0] p_slots,
    output wire [KV_SLOTS-1:0]        p_mask,
    output wire [7:0]                 p_nsteps
);

    generate
        if (BC_MAX < 8 || BC_MAX > 64 || (1 << SLOT_W) != BC_MAX
                || KV_SLOTS < 4 || KV_SLOTS > BC_MAX / 2 || (1 << KSLOT_W) != KV_SLOTS
                ) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_rass_issue_needs_powers_of_2_KV_SLOTS_4_to_half_of_BC_MAX stop ();
        end
    endgenerate

    reg [`TD_W-1:0]           td_reg;
    reg [KV_SLOTS*SLOT_W-1:0] slots_reg;
    reg [KV_SLOTS-1:0]        mask_reg;
    reg                       p_valid_reg;
    reg [`TD_W-1:0]           p_td_reg;
    reg [KV_SLOTS*SLOT_W-1:0] p_slots_reg;
    reg [KV_SLOTS-1:0]        p_mask_reg;
    reg [7:0]                 p_nsteps_reg;

    assign emit_ok = !p_valid_reg || p_ready;
    assign p_valid = p_valid_reg;
    assign p_td = p_td_reg;
    assign p_slots = p_slots_reg;
    assign p_mask = p_mask_reg;
    assign p_nsteps = p_nsteps_reg;

    genvar s;
    generate
        for (s = 0; s < KV_SLOTS; s = s + 1) begin : g_slot
            localparam [31:0] SLOT = s;
            always @(posedge clk) begin
                if (key_en && key_slot == SLOT[KSLOT_W-1:0]) begin
                    slots_reg[s*SLOT_W +: SLOT_W] <= key;
                    mask_reg[s] <= 1'b1;
                end
                if (new_phase) begin
                    slots_reg[s*SLOT_W +: SLOT_W] <= {SLOT_W{1'b0}};
                    mask_reg[s] <= 1'b0;
                end
            end
        end
    endgenerate

    always @(posedge clk) begin
        if (take) begin
            td_reg <= s_td;
        end

        p_valid_reg <= emit || (p_valid_reg && !p_ready);
        if (emit) begin
            p_td_reg <= td_reg;
            p_td_reg[`TD_FIRST] <= td_reg[`TD_FIRST] && first;
            p_td_reg[`TD_KVNEW] <= td_reg[`TD_KVNEW] && first;
            p_td_reg[`TD_LAST] <= td_reg[`TD_LAST] && last;
            p_td_reg[`TD_KVLAST] <= td_reg[`TD_KVLAST] && last;
            p_slots_reg <= slots_reg;
            p_mask_reg <= mask_reg;
            p_nsteps_reg <= nsteps;
        end

        if (rst) begin
            p_valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
