// SPDX-License-Identifier: Apache-2.0
// Decides key by key which ones enter a phase, and keeps the counts of all rows.
//
// Why: rows work in lockstep, so a phase lasts as long as its longest list. A key is put off while
// some row that needs it has had its share (cap) of the phase. That many keys are put off at most
// (limit) that the phases left can take them.
// Census: before the first phase every key of the tile passes once; rows count what they need.
// Rule: accepted iff no row that needs the key has cap keys, or `limit` keys were put off.
// Not done here: the order of the keys (rass_pick.v), cap and limit (rass_cap.v).
// Latency: the decision is combinational, the loop is one OR over the rows. Throughput: a key a
// cycle.
// Source: SOFA (MICRO 2024), RASS; docs/architecture.md section 10.3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module rass_walk #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 16,
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 32,
    // Key slots of a buffer, power of two, 4..BC_MAX/2.
    parameter KV_SLOTS = 16,
    // Bits of a count of keys of a tile, of a buffer, of rows. Derived: leave at their defaults.
    parameter CNT_W = $clog2(BC_MAX) + 1,
    parameter KCNT_W = $clog2(KV_SLOTS) + 1,
    parameter POP_W = $clog2(ROWS) + 1
) (
    input  wire                  clk,

    // A new tile; a new phase (with a new tile as well)
    input  wire                  new_tile,
    input  wire                  new_phase,

    // A key, the last one of the walk; census or phase; the rows that need it
    input  wire                  key_valid,
    input  wire                  key_last,
    input  wire                  census,
    input  wire [ROWS-1:0]       column,

    // Shares of the phase
    input  wire [KCNT_W-1:0]     cap,
    input  wire [CNT_W-1:0]      limit,

    // The key enters the phase; the walk ends with it; number of rows that need it
    output wire                  accept,
    output wire                  done,
    output wire [POP_W-1:0]      ones,

    // Keys that wait, and how many of them each row needs
    output wire [CNT_W-1:0]      waiting,
    output wire [ROWS*CNT_W-1:0] counts,

    // Buffer slot of the next key that enters; most keys of the phase that a row has
    output wire [KCNT_W-2:0]     slot,
    output wire [KCNT_W-1:0]     longest
);

    generate
        if (ROWS < 4 || ROWS > 128 || (1 << $clog2(ROWS)) != ROWS
                || BC_MAX < 8 || BC_MAX > 64 || (1 << $clog2(BC_MAX)) != BC_MAX
                || KV_SLOTS < 4 || KV_SLOTS > BC_MAX / 2 || (1 << $clog2(KV_SLOTS)) != KV_SLOTS
                || CNT_W != $clog2(BC_MAX) + 1 || KCNT_W != $clog2(KV_SLOTS) + 1
                || POP_W != $clog2(ROWS) + 1) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_rass_walk_needs_powers_of_2_KV_SLOTS_4_to_half_of_BC_MAX stop ();
        end
    endgenerate

    localparam [31:0] LAST_SLOT = KV_SLOTS - 1;

    reg [CNT_W-1:0]  waiting_reg;
    reg [CNT_W-1:0]  put_off_reg;
    reg [KCNT_W-2:0] slot_reg;
    reg [KCNT_W-1:0] longest_reg;

    // ---- Rows ---------------------------------------------------------------------------------
    wire [ROWS-1:0] full;
    // Row has as many keys of the phase as the longest one
    wire [ROWS-1:0] leads;

    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            // Keys of the tile that the row still needs, keys of the phase that it has
            reg [CNT_W-1:0]  need_reg;
            reg [KCNT_W-1:0] have_reg;
            reg              full_reg;
            wire [KCNT_W-1:0] have_1 = have_reg + 1'b1;

            assign full[r] = full_reg;
            assign leads[r] = have_reg == longest_reg;
            assign counts[r*CNT_W +: CNT_W] = need_reg;

            always @(posedge clk) begin
                if (key_valid && census && column[r]) begin
                    need_reg <= need_reg + 1'b1;
                end
                if (accept && column[r]) begin
                    need_reg <= need_reg - 1'b1;
                    have_reg <= have_1;
                    full_reg <= full_reg || have_1 == cap;
                end
                if (new_tile) begin
                    need_reg <= {CNT_W{1'b0}};
                end
                if (new_phase) begin
                    have_reg <= {KCNT_W{1'b0}};
                    full_reg <= 1'b0;
                end
            end
        end
    endgenerate

    // ---- Decision -----------------------------------------------------------------------------
    generate
        if (ROWS <= 64) begin : g_ones
            wire [6:0] sum;
            wire       unused_sum = &{1'b0, sum};
            popcount #(
                .WIDTH(ROWS)
            ) all (
                .bits(column),
                .count(sum)
            );
            assign ones = sum[POP_W-1:0];
        end else begin : g_ones
            wire [6:0] low, high;
            popcount #(
                .WIDTH(ROWS / 2)
            ) low_half (
                .bits(column[ROWS/2-1:0]),
                .count(low)
            );
            popcount #(
                .WIDTH(ROWS / 2)
            ) high_half (
                .bits(column[ROWS-1:ROWS/2]),
                .count(high)
            );
            assign ones = {1'b0, low} + {1'b0, high};
        end
    endgenerate

    wire phase_key = key_valid && !census;
    wire barred = (column & full) != {ROWS{1'b0}};
    assign accept = phase_key && (!barred || put_off_reg == limit);
    assign done = key_valid && (key_last || (accept && slot_reg == LAST_SLOT[KCNT_W-2:0]));
    assign waiting = waiting_reg;
    assign slot = slot_reg;
    assign longest = longest_reg;

    always @(posedge clk) begin
        if (key_valid && census) begin
            waiting_reg <= waiting_reg + 1'b1;
        end
        if (phase_key && !accept) begin
            put_off_reg <= put_off_reg + 1'b1;
        end
        if (accept) begin
            waiting_reg <= waiting_reg - 1'b1;
            slot_reg <= slot_reg + 1'b1;
            if ((column & leads) != {ROWS{1'b0}}) begin
                longest_reg <= longest_reg + 1'b1;
            end
        end
        if (new_tile) begin
            waiting_reg <= {CNT_W{1'b0}};
        end
        if (new_phase) begin
            put_off_reg <= {CNT_W{1'b0}};
            slot_reg <= {(KCNT_W-1){1'b0}};
            longest_reg <= {KCNT_W{1'b0}};
        end
    end

endmodule

`resetall
