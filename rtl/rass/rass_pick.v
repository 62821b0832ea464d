// SPDX-License-Identifier: Apache-2.0
// ID buffers of the schedule: keys that wait, by how many rows share them, and their order.
//
// Why: keys that many rows share go first. Sorting is not needed for that: an ID buffer per level
// of sharing is a bit for every key, and the next key is the lowest one in the highest buffer
// that is not empty. A walk works on a copy of the buffer it is in, so that keys which the walk
// passes over stay where they are for the next one.
// Not done here: which keys leave (rass_walk.v).
// Latency: start to the first key 3 cycles, scan to the first key 2 cycles. Throughput: a key
// every cycle, also from one buffer to the next.
// Source: SOFA (MICRO 2024), RASS; docs/architecture.md section 10.3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module rass_pick #(
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 32,
    // Levels of sharing, 2..17; the last one is shared most.
    parameter LEVELS = 17,
    // Bits of a tile slot. Derived: leave at its default.
    parameter SLOT_W = $clog2(BC_MAX)
) (
    input  wire              clk,
    input  wire              rst,

    // All ID buffers empty
    input  wire              clear,

    // One key enters (edit_set) the buffer of its level, or leaves
    input  wire              edit_en,
    input  wire              edit_set,
    input  wire [4:0]        edit_level,
    input  wire [SLOT_W-1:0] edit_key,

    // Walk over scan_keys in order of slots, or over the buffers, highest first; end of a walk
    input  wire              scan,
    input  wire [BC_MAX-1:0] scan_keys,
    input  wire              start,
    input  wire              stop,

    // Next key; it is the last one
    output wire              key_valid,
    output wire [SLOT_W-1:0] key,
    output wire              key_last
);

    generate
        if (BC_MAX < 8 || BC_MAX > 64 || (1 << SLOT_W) != BC_MAX
                || LEVELS < 2 || LEVELS > 17) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_rass_pick_needs_BC_MAX_power_of_2_8_64_LEVELS_2_17 stop ();
        end
    endgenerate

    localparam [BC_MAX-1:0] ONE = {{(BC_MAX-1){1'b0}}, 1'b1};

    // Keys of the present buffer and buffers below it that the walk has not come to
    reg [BC_MAX-1:0] keys_reg;
    reg [LEVELS-1:0] left_reg;
    reg              valid_reg;
    reg [SLOT_W-1:0] key_reg;
    reg              last_reg;

    assign key_valid = valid_reg;
    assign key = key_reg;
    assign key_last = last_reg;

    // ---- ID buffers ---------------------------------------------------------------------------
    wire [BC_MAX-1:0] edit_bit = ONE << edit_key;
    wire [LEVELS-1:0] filled;
    // The highest buffer that is left
    wire [LEVELS-1:0] top;

    genvar l;
    generate
        for (l = 0; l < LEVELS; l = l + 1) begin : g_level
            localparam [31:0] LEVEL = l;
            reg [BC_MAX-1:0] id_reg;
            // Buffer of the highest level left, among this level and those below
            wire [BC_MAX-1:0] chosen;

            assign filled[l] = |id_reg;
            if (l == LEVELS - 1) begin : g_top
                assign top[l] = left_reg[l];
            end else begin : g_top
                assign top[l] = left_reg[l] && left_reg[LEVELS-1:l+1] == {(LEVELS-1-l){1'b0}};
            end
            if (l == 0) begin : g_chosen
                assign chosen = id_reg & {BC_MAX{top[l]}};
            end else begin : g_chosen
                assign chosen = g_level[l-1].chosen | (id_reg & {BC_MAX{top[l]}});
            end

            always @(posedge clk) begin
                if (edit_en && !edit_set) begin
                    id_reg <= id_reg & ~edit_bit;
                end
                if (edit_en && edit_set && edit_level == LEVEL[4:0]) begin
                    id_reg <= id_reg | edit_bit;
                end
                if (clear) begin
                    id_reg <= {BC_MAX{1'b0}};
                end
            end
        end
    endgenerate

    // ---- Walk ---------------------------------------------------------------------------------
    wire [SLOT_W-1:0] lowest;
    find_first #(
        .WIDTH(BC_MAX)
    ) find (
        .mask(keys_reg),
        .index(lowest)
    );

    // Without the lowest key
    wire [BC_MAX-1:0] rest = keys_reg & (keys_reg - ONE);
    wire buffer_last = rest == {BC_MAX{1'b0}};

    always @(posedge clk) begin
        valid_reg <= keys_reg != {BC_MAX{1'b0}};
        key_reg <= lowest;
        last_reg <= buffer_last && left_reg == {LEVELS{1'b0}};

        if (buffer_last) begin
            keys_reg <= g_level[LEVELS-1].chosen;
            left_reg <= left_reg & ~top;
        end else begin
            keys_reg <= rest;
        end

        if (scan) begin
            keys_reg <= scan_keys;
        end
        if (start) begin
            left_reg <= filled;
        end
        if (stop || rst) begin
            keys_reg <= {BC_MAX{1'b0}};
            left_reg <= {LEVELS{1'b0}};
            valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
