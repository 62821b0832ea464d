// SPDX-License-Identifier: Apache-2.0
// Which rows may use which of the 12 slots of a score word; walks the words of a tile.
//
// Why: a row may use slot b iff b < n, row < rows and (not causal or rel + b*kstep <= row). The
// rows allowed by the last condition are those from a lowest one upwards, so a slot needs one
// number, which is decoded to a thermometer over the rows once for all rows.
// Sparse: word w starts at slot (w/NGRP)*COLS + (w%NGRP)*12 and has the lanes below COLS of its
// group. Dense: word w has the slots 4w..4w+3 in lanes 0..3.
// Not done here: what a row has taken already (sads_row.v).
// Latency: step in cycle c gives allow in cycle c+1. Throughput: 1 word per cycle.
// Source: docs/architecture.md section 4.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sads_mask #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 128,
    // Columns of the prediction array, power of two, 4..BC_MAX.
    parameter COLS = 32,
    // Bits of a slot number, 3..6.
    parameter SLOT_W = 6
) (
    input  wire                clk,
    input  wire                cfg_dense,

    // Take the numbers of a tile and go to its first word
    input  wire                load,
    input  wire [7:0]          load_n,
    input  wire [7:0]          load_rows,
    input  wire                load_causal,
    input  wire [17:0]         load_rel,
    input  wire [16:0]         load_kstep,

    // Issue the current word and go to the next one; wrap: the next one is the first again
    input  wire                step,
    input  wire                wrap,
    // Slot of lane 0 of the current word
    output wire [SLOT_W-1:0]   base,

    // Rows allowed for the word issued one cycle ago, lane j of row r at bit j*ROWS + r
    output wire [12*ROWS-1:0]  allow
);

    localparam NGRP = (COLS + 11) / 12;
    localparam GRP_W = (NGRP > 1) ? $clog2(NGRP) : 1;
    localparam [31:0] LAST_GRP = NGRP - 1;
    // Lanes in use in the last group of a pass
    localparam LAST_LANES = COLS - 12 * (NGRP - 1);
    // Slots from word to word: within a pass, from its last group to the next pass, dense
    localparam [31:0] GROUP_STEP = 12;
    localparam [31:0] PASS_STEP = LAST_LANES;
    localparam [31:0] DENSE_STEP = 4;
    localparam [31:0] ROWS_32 = ROWS;
    // Position of a slot relative to row 0, signed: rel plus up to 75 steps
    localparam POS_W = 26;
    // Slot number with room for lanes behind the last slot
    localparam S_W = SLOT_W + 2;

    reg [7:0] n_reg;
    reg causal_reg;
    reg [ROWS-1:0] row_mask_reg;
    reg signed [17:0] rel_reg;
    reg [GRP_W-1:0] group_reg;
    reg [SLOT_W-1:0] base_reg;
    reg signed [POS_W-1:0] pos_reg;

    wire last_group = group_reg == LAST_GRP[GRP_W-1:0];

    // Multiples of kstep for the lanes and for the steps from word to word
    wire [POS_W-1:0] multiple [0:12];
    genvar j;
    generate
        for (j = 0; j <= 12; j = j + 1) begin : g_multiple
            localparam [3:0] FACTOR = j;
            if (j == 0) begin : g_zero
                assign multiple[j] = {POS_W{1'b0}};
            end else begin : g_reg
                reg [POS_W-1:0] multiple_reg;
                assign multiple[j] = multiple_reg;
                always @(posedge clk) begin
                    if (load) begin
                        multiple_reg <= {{POS_W-17{1'b0}}, load_kstep}
                                        * {{POS_W-4{1'b0}}, FACTOR};
                    end
                end
            end
        end
    endgenerate

    // A slot's lowest allowed row, ROWS: none
    generate
        for (j = 0; j < 12; j = j + 1) begin : g_lane
            localparam [S_W-1:0] LANE = j;
            wire [S_W-1:0] slot = {2'b00, base_reg} + LANE;
            wire used = cfg_dense ? (j < 4) : (j < LAST_LANES || !last_group);
            wire exists = used && {{8{1'b0}}, slot} < {{S_W{1'b0}}, n_reg};
            wire signed [POS_W-1:0] pos = pos_reg + $signed(multiple[j]);
            wire behind = pos < 0;
            wire beyond = pos > $signed(ROWS_32[POS_W-1:0]);
            wire [7:0] lowest = !exists                 ? ROWS_32[7:0]
                              : (!causal_reg || behind) ? 8'd0
                              : beyond                  ? ROWS_32[7:0]
                              :                           pos[7:0];
            reg [7:0] lowest_reg;
            always @(posedge clk) begin
                if (step) begin
                    lowest_reg <= lowest;
                end
            end
            assign allow[j*ROWS +: ROWS] = ({ROWS{1'b1}} << lowest_reg) & row_mask_reg;
        end
    endgenerate

    assign base = base_reg;

    // Slots from this word to the next one
    wire [SLOT_W-1:0] slot_step = cfg_dense  ? DENSE_STEP[SLOT_W-1:0]
                                : last_group ? PASS_STEP[SLOT_W-1:0]
                                :              GROUP_STEP[SLOT_W-1:0];
    wire [POS_W-1:0] pos_step = cfg_dense  ? multiple[4]
                              : last_group ? multiple[LAST_LANES]
                              :              multiple[12];

    always @(posedge clk) begin
        if (step) begin
            group_reg <= last_group ? {GRP_W{1'b0}} : group_reg + 1'b1;
            base_reg <= base_reg + slot_step;
            pos_reg <= pos_reg + $signed(pos_step);
            if (wrap) begin
                group_reg <= {GRP_W{1'b0}};
                base_reg <= {SLOT_W{1'b0}};
                pos_reg <= {{POS_W-18{rel_reg[17]}}, rel_reg};
            end
        end
        if (load) begin
            n_reg <= load_n;
            causal_reg <= load_causal;
            rel_reg <= load_rel;
            row_mask_reg <= ~({ROWS{1'b1}} << load_rows);
            group_reg <= {GRP_W{1'b0}};
            base_reg <= {SLOT_W{1'b0}};
            pos_reg <= {{POS_W-18{load_rel[17]}}, load_rel};
        end
    end

endmodule

`resetall
