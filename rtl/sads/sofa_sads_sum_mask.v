// SPDX-License-Identifier: Apache-2.0
// Which rows may use which of the four slots of a word; walks the words of a tile.
//
// Why: row r may use slot b iff b < n, r < rows and (not causal or rel + b*kstep <= r) and
// (window = 0 or rel + b*kstep + window > r). The last two conditions hold for the rows from a
// lowest one upwards and below a highest one, so each lane has two positions, which are decoded to
// thermometers once for all rows.
// The positions of a tile's first word are made while the tile in front of it is walked: next_* has
// to be stable for three cycles before that of swap.
// Latency: none from the registered position to visible. Throughput: one word a cycle.
// Widths: a position is signed and holds rel, BC_MAX - 1 steps and window; those of
// slots behind n wrap.
// Source: docs/architecture.md section 4.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_sum_mask #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 128,
    // Largest tile, slots, power of two, 8..64.
    parameter BC_MAX = 64
) (
    input  wire              clk,

    // Tile that comes after the current one
    input  wire [7:0]        next_n,
    input  wire [7:0]        next_rows,
    input  wire              next_causal,
    input  wire [24:0]       next_rel,
    input  wire [23:0]       next_kstep,
    input  wire [23:0]       next_window,
    // It becomes the current one, at its first word; go to the next word of the current one
    input  wire              swap,
    input  wire              step,

    // Rows that may use the slots of the current word, lane j of row r at bit j*ROWS + r
    output wire [4*ROWS-1:0] visible
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_ROWS_needs_power_of_two_4_to_128 stop ();
        end else if (BC_MAX < 8 || BC_MAX > 64 || BC_MAX != (1 << $clog2(BC_MAX))) begin : g_illegal
            illegal_parameter_BC_MAX_needs_power_of_two_8_to_64 stop ();
        end
    endgenerate

    localparam ROW_W = $clog2(ROWS);
    localparam POS_W = 26 + $clog2(BC_MAX);

    wire [POS_W-1:0] one   = {{POS_W-24{1'b0}}, next_kstep};
    wire [POS_W-1:0] start = {{POS_W-25{next_rel[24]}}, next_rel};

    // Positions of the first word of the next tile
    reg [POS_W-1:0] next1_reg;
    reg [POS_W-1:0] next2_reg;
    reg [POS_W-1:0] next3_reg;
    // The same of the ends of the window
    reg [POS_W-1:0] end0_reg;
    reg [POS_W-1:0] end1_reg;
    reg [POS_W-1:0] end2_reg;
    reg [POS_W-1:0] end3_reg;

    reg             causal_reg;
    reg             bound_reg;
    reg [ROWS-1:0]  rows_reg;
    // Slots from the current word on; may fall below zero behind the last word
    reg [7:0]       left_reg;
    reg [POS_W-1:0] step_reg;
    reg [POS_W-1:0] pos0_reg;
    reg [POS_W-1:0] pos1_reg;
    reg [POS_W-1:0] pos2_reg;
    reg [POS_W-1:0] pos3_reg;
    reg [POS_W-1:0] top0_reg;
    reg [POS_W-1:0] top1_reg;
    reg [POS_W-1:0] top2_reg;
    reg [POS_W-1:0] top3_reg;

    wire [4*POS_W-1:0] pos = {pos3_reg, pos2_reg, pos1_reg, pos0_reg};
    wire [4*POS_W-1:0] top = {top3_reg, top2_reg, top1_reg, top0_reg};

    genvar j;
    generate
        for (j = 0; j < 4; j = j + 1) begin : g_lane
            localparam [7:0] LANE = j;
            wire [POS_W-1:0] lane   = pos[j*POS_W +: POS_W];
            wire             behind = lane[POS_W-1] || !causal_reg;
            wire             beyond = |lane[POS_W-2:ROW_W];
            wire [ROW_W-1:0] lowest = lane[ROW_W-1:0] & {ROW_W{!behind}};
            wire             none   = left_reg <= LANE || (!behind && beyond);
            // Rows from the end of the window on; none of them where it lies behind the block
            wire [POS_W-1:0] over   = top[j*POS_W +: POS_W];
            wire [ROW_W-1:0] first  = over[ROW_W-1:0] & {ROW_W{!over[POS_W-1]}};
            wire             unbounded = !bound_reg || (!over[POS_W-1] && |over[POS_W-2:ROW_W]);
            wire [ROWS-1:0]  past   = ({ROWS{1'b1}} << first) & {ROWS{!unbounded}};
            assign visible[j*ROWS +: ROWS] = ({ROWS{1'b1}} << lowest) & ~past & rows_reg
                                             & {ROWS{!none}};
        end
    endgenerate

    always @(posedge clk) begin
        next1_reg <= start + one;
        next2_reg <= next1_reg + one;
        next3_reg <= next1_reg + {one[POS_W-2:0], 1'b0};
        end0_reg  <= start + {{POS_W-24{1'b0}}, next_window};
        end1_reg  <= next1_reg + {{POS_W-24{1'b0}}, next_window};
        end2_reg  <= next2_reg + {{POS_W-24{1'b0}}, next_window};
        end3_reg  <= next3_reg + {{POS_W-24{1'b0}}, next_window};

        if (step) begin
            left_reg <= left_reg - 8'd4;
            pos0_reg <= pos0_reg + step_reg;
            pos1_reg <= pos1_reg + step_reg;
            pos2_reg <= pos2_reg + step_reg;
            pos3_reg <= pos3_reg + step_reg;
            top0_reg <= top0_reg + step_reg;
            top1_reg <= top1_reg + step_reg;
            top2_reg <= top2_reg + step_reg;
            top3_reg <= top3_reg + step_reg;
        end
        if (swap) begin
            causal_reg <= next_causal;
            bound_reg  <= next_window != 24'd0;
            rows_reg   <= ~({ROWS{1'b1}} << next_rows);
            left_reg   <= next_n;
            step_reg   <= {one[POS_W-3:0], 2'b00};
            pos0_reg   <= start;
            pos1_reg   <= next1_reg;
            pos2_reg   <= next2_reg;
            pos3_reg   <= next3_reg;
            top0_reg   <= end0_reg;
            top1_reg   <= end1_reg;
            top2_reg   <= end2_reg;
            top3_reg   <= end3_reg;
        end
    end

endmodule

`resetall
