// SPDX-License-Identifier: Apache-2.0
// Shares of the next phase: phases still needed, most keys of a row, most keys put off.
//
// Why: a phase lasts as long as its longest list, so no row shall have more than its part of the
// keys it still needs. The largest count of all rows is found bit by bit from the top, which is
// the order in which a divider wants it.
// Rules: phases = ceil(waiting / KV_SLOTS); cap = ceil(largest count / phases), made even, since
// SU-FA takes keys in pairs;
// limit = (phases - 1) * KV_SLOTS.
// Latency: start to busy low clog2(BC_MAX) + 2 cycles, in which counts must not change; waiting is
// taken at start. cap and limit stay until the next start.
// Throughput: one at a time.
// Source: docs/architecture.md section 10.3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module rass_cap #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 16,
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 32,
    // Key slots of a buffer, power of two, 4..BC_MAX/2.
    parameter KV_SLOTS = 16,
    // Bits of a count of keys of a tile, of a buffer. Derived: leave at their defaults.
    parameter CNT_W = $clog2(BC_MAX) + 1,
    parameter KCNT_W = $clog2(KV_SLOTS) + 1
) (
    input  wire                  clk,
    input  wire                  rst,

    input  wire                  start,
    output wire                  busy,

    // Keys that wait, and how many of them each row needs
    input  wire [CNT_W-1:0]      waiting,
    input  wire [ROWS*CNT_W-1:0] counts,

    output wire [KCNT_W-1:0]     cap,
    output wire [CNT_W-1:0]      limit
);

    generate
        if (ROWS < 4 || ROWS > 128 || (1 << $clog2(ROWS)) != ROWS
                || BC_MAX < 8 || BC_MAX > 64 || (1 << $clog2(BC_MAX)) != BC_MAX
                || KV_SLOTS < 4 || KV_SLOTS > BC_MAX / 2 || (1 << $clog2(KV_SLOTS)) != KV_SLOTS
                || CNT_W != $clog2(BC_MAX) + 1 || KCNT_W != $clog2(KV_SLOTS) + 1) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_rass_cap_needs_powers_of_2_KV_SLOTS_4_to_half_of_BC_MAX stop ();
        end
    endgenerate

    localparam SHIFT = $clog2(KV_SLOTS);
    // Bits of a number of phases
    localparam PH_W = CNT_W - SHIFT;
    localparam [31:0] SLOTS_LESS_1 = KV_SLOTS - 1;
    localparam [31:0] TOP_BIT = CNT_W - 1;
    localparam BIT_W = $clog2(CNT_W);

    wire [CNT_W-1:0] rounded = waiting + SLOTS_LESS_1[CNT_W-1:0];
    wire             unused_rounded = &{1'b0, rounded[SHIFT-1:0]};

    reg              run_reg;
    reg [PH_W-1:0]   phases_reg;
    reg [BIT_W-1:0]  bit_reg;
    // Rows whose count may still be the largest
    reg [ROWS-1:0]   race_reg;
    // Quotient; remainder, which is less than the number of phases
    reg [CNT_W-1:0]  quot_reg;
    reg [PH_W-1:0]   rem_reg;

    wire [ROWS-1:0]  ones;
    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            wire [CNT_W-1:0] count = counts[r*CNT_W +: CNT_W];
            assign ones[r] = race_reg[r] && count[bit_reg];
        end
    endgenerate

    wire [PH_W-1:0] phases_less_1 = phases_reg - 1'b1;
    wire           any = |ones;
    wire [PH_W:0]  dividend = {rem_reg, any};
    wire           fits = dividend >= {1'b0, phases_reg};
    wire [PH_W:0]  reduced = dividend - {1'b0, phases_reg};
    wire           unused_reduced = reduced[PH_W];

    // No row needs more than `waiting` keys, so the quotient, rounded up, is at most KV_SLOTS, and
    // KV_SLOTS is even.
    wire [KCNT_W-1:0] share = quot_reg[KCNT_W-1:0] + {{(KCNT_W-1){1'b0}}, rem_reg != {PH_W{1'b0}}};
    assign cap = share + {{(KCNT_W-1){1'b0}}, share[0]};
    assign limit = {phases_less_1, {SHIFT{1'b0}}};
    assign busy = start || run_reg;
    wire unused_quot = &{1'b0, quot_reg[CNT_W-1:KCNT_W]};

    always @(posedge clk) begin
        if (run_reg) begin
            bit_reg <= bit_reg - 1'b1;
            race_reg <= any ? ones : race_reg;
            quot_reg <= {quot_reg[CNT_W-2:0], fits};
            rem_reg <= fits ? reduced[PH_W-1:0] : dividend[PH_W-1:0];
            run_reg <= bit_reg != {BIT_W{1'b0}};
        end
        if (start) begin
            run_reg <= 1'b1;
            phases_reg <= rounded[CNT_W-1:SHIFT];
            bit_reg <= TOP_BIT[BIT_W-1:0];
            race_reg <= {ROWS{1'b1}};
            quot_reg <= {CNT_W{1'b0}};
            rem_reg <= {PH_W{1'b0}};
        end
        if (rst) begin
            run_reg <= 1'b0;
        end
    end

endmodule

`resetall
