// SPDX-License-Identifier: Apache-2.0
// Walks the selected slots of a tile and asks memory for their vectors.
//
// Why: K and V of a tile are gathered by the same walk at different times, so fetch_kv has two.
// Buffer slot s takes the vector of tile slot slots[s], which is at base + slots[s] * inc; only set
// bits of the mask cost a cycle.
// Not done here: credits and the order of tiles (fetch_kv).
// Latency: four cycles from load to the first request (mask; first set bit; product; sum).
// Throughput: one selected slot every cycle; from the last one at the third register to the
// next load one cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module kv_walker #(
    // Slots of a buffer, a power of two, 8..64.
    parameter SLOTS = 64,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Bits of a tile slot, clog2(SLOTS)..6.
    parameter TILE_W = 6,
    // Bits of a buffer slot. Derived: leave at its default.
    parameter SLOT_W = $clog2(SLOTS)
) (
    input  wire                    clk,
    input  wire                    rst,

    // Tile; load only when ready. An empty mask asks for nothing.
    output wire                    ready,
    input  wire                    load,
    input  wire [ADDR_W-1:0]       load_base,
    input  wire [31:0]             load_inc,
    input  wire [SLOTS-1:0]        load_mask,
    input  wire [SLOTS*TILE_W-1:0] load_slots,
    input  wire [1:0]              load_buf,

    // Requests, with the buffer slot; last: of its tile
    output wire                    req_valid,
    input  wire                    req_ready,
    output wire [ADDR_W-1:0]       req_addr,
    output wire [SLOT_W-1:0]       req_slot,
    output wire [1:0]              req_buf,
    output wire                    req_last
);

    generate
        if (TILE_W < SLOT_W || TILE_W > 6) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_kv_walker_needs_TILE_W_clog2_SLOTS_to_6 stop ();
        end
    endgenerate

    localparam PROD_W = 32 + TILE_W;

    // Buffer slots not yet looked at.
    reg [SLOTS-1:0]        mask_reg, mask_next;
    reg                    some_reg, some_next;
    reg [SLOTS*TILE_W-1:0] slots_reg, slots_next;
    reg [ADDR_W-1:0]       base_reg, base_next;
    reg [31:0]             inc_reg, inc_next;
    reg [1:0]              buf_reg, buf_next;
    // First set bit
    reg                    a_valid_reg, a_valid_next;
    reg [SLOT_W-1:0]       a_slot_reg, a_slot_next;
    reg [TILE_W-1:0]       a_tile_reg, a_tile_next;
    reg                    a_last_reg, a_last_next;
    // Product
    reg                    b_valid_reg, b_valid_next;
    reg [SLOT_W-1:0]       b_slot_reg, b_slot_next;
    reg                    b_last_reg, b_last_next;
    reg [PROD_W-1:0]       b_prod_reg, b_prod_next;
    // Sum
    reg                    req_valid_reg, req_valid_next;
    reg [ADDR_W-1:0]       req_addr_reg, req_addr_next;
    reg [SLOT_W-1:0]       req_slot_reg, req_slot_next;
    reg [1:0]              req_buf_reg, req_buf_next;
    reg                    req_last_reg, req_last_next;

    wire [SLOT_W-1:0] first;
    wire [TILE_W-1:0] first_tile = slots_reg[first*TILE_W +: TILE_W];
    wire [SLOTS-1:0]  rest = mask_reg & (mask_reg - 1'b1);

    wire req_en = !req_valid_reg || req_ready;
    wire b_en   = !b_valid_reg || req_en;
    wire a_en   = !a_valid_reg || b_en;

    // Base and increment are in use until the last slot has passed the product register.
    assign ready     = !some_reg && !a_valid_reg && !b_valid_reg;
    assign req_valid = req_valid_reg;
    assign req_addr  = req_addr_reg;
    assign req_slot  = req_slot_reg;
    assign req_buf   = req_buf_reg;
    assign req_last  = req_last_reg;

    find_first #(
        .WIDTH (SLOTS)
    ) first_inst (
        .mask  (mask_reg),
        .index (first)
    );

    wire [PROD_W-1:0] prod = {{TILE_W{1'b0}}, inc_reg} * {32'd0, a_tile_reg};
    // Addresses wrap at 2^ADDR_W.
    wire [ADDR_W-1:0] offset;
    generate
        if (PROD_W < ADDR_W) begin : g_offset
            assign offset = {{(ADDR_W - PROD_W){1'b0}}, b_prod_reg};
        end else if (PROD_W == ADDR_W) begin : g_offset
            assign offset = b_prod_reg;
        end else begin : g_offset
            wire unused_prod = &{1'b0, b_prod_reg[PROD_W-1:ADDR_W]};
            assign offset = b_prod_reg[ADDR_W-1:0];
        end
    endgenerate

    always @* begin
        mask_next      = mask_reg;
        some_next      = some_reg;
        slots_next     = slots_reg;
        base_next      = base_reg;
        inc_next       = inc_reg;
        buf_next       = buf_reg;
        a_valid_next   = a_valid_reg;
        a_slot_next    = a_slot_reg;
        a_tile_next    = a_tile_reg;
        a_last_next    = a_last_reg;
        b_valid_next   = b_valid_reg;
        b_slot_next    = b_slot_reg;
        b_last_next    = b_last_reg;
        b_prod_next    = b_prod_reg;
        req_valid_next = req_valid_reg;
        req_addr_next  = req_addr_reg;
        req_slot_next  = req_slot_reg;
        req_buf_next   = req_buf_reg;
        req_last_next  = req_last_reg;

        if (req_en) begin
            req_valid_next = b_valid_reg;
            if (b_valid_reg) begin
                req_addr_next = base_reg + offset;
                req_slot_next = b_slot_reg;
                req_buf_next  = buf_reg;
                req_last_next = b_last_reg;
            end
        end
        if (b_en) begin
            b_valid_next = a_valid_reg;
            if (a_valid_reg) begin
                b_slot_next = a_slot_reg;
                b_last_next = a_last_reg;
                b_prod_next = prod;
            end
        end
        if (a_en) begin
            a_valid_next = some_reg;
            if (some_reg) begin
                a_slot_next = first;
                a_tile_next = first_tile;
                a_last_next = rest == {SLOTS{1'b0}};
                mask_next   = rest;
                some_next   = rest != {SLOTS{1'b0}};
            end
        end
        if (load) begin
            mask_next  = load_mask;
            some_next  = load_mask != {SLOTS{1'b0}};
            slots_next = load_slots;
            base_next  = load_base;
            inc_next   = load_inc;
            buf_next   = load_buf;
        end
    end

    always @(posedge clk) begin
        mask_reg      <= mask_next;
        some_reg      <= some_next;
        slots_reg     <= slots_next;
        base_reg      <= base_next;
        inc_reg       <= inc_next;
        buf_reg       <= buf_next;
        a_valid_reg   <= a_valid_next;
        a_slot_reg    <= a_slot_next;
        a_tile_reg    <= a_tile_next;
        a_last_reg    <= a_last_next;
        b_valid_reg   <= b_valid_next;
        b_slot_reg    <= b_slot_next;
        b_last_reg    <= b_last_next;
        b_prod_reg    <= b_prod_next;
        req_valid_reg <= req_valid_next;
        req_addr_reg  <= req_addr_next;
        req_slot_reg  <= req_slot_next;
        req_buf_reg   <= req_buf_next;
        req_last_reg  <= req_last_next;

        if (rst) begin
            some_reg      <= 1'b0;
            a_valid_reg   <= 1'b0;
            b_valid_reg   <= 1'b0;
            req_valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
