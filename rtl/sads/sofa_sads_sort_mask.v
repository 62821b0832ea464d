// SPDX-License-Identifier: Apache-2.0
// Which rows may use which of the 12 slots of a word; walks the words of a tile, pass after pass.
//
// Why: row r may use slot b iff b < n, r < rows and (not causal or rel + b*kstep <= r) and
// (window = 0 or rel + b*kstep + window > r). The last two conditions hold for the rows from a
// lowest one upwards and below a highest one, so a slot needs two numbers, which are decoded to
// thermometers over the rows once for all rows. Word w has the slots 12*w .. 12*w + 11.
// Not done here: what a row has taken already (sofa_sads_sort_row.v).
// Latency: step in cycle c gives allow in cycle c+1. Throughput: a word a cycle.
// Widths: a position is signed and holds rel, 71 steps and window.
// Source: docs/architecture.md section 4.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_sort_mask #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 128,
    // Bits of a slot number, 3..6.
    parameter SLOT_W = 6
) (
    input  wire               clk,

    // Take the numbers of a tile and go to its first word
    input  wire               load,
    input  wire [7:0]         load_n,
    input  wire [7:0]         load_rows,
    input  wire               load_causal,
    input  wire [24:0]        load_rel,
    input  wire [23:0]        load_kstep,
    input  wire [23:0]        load_window,

    // Issue the current word and go to the next one; wrap: the next one is the first again
    input  wire               step,
    input  wire               wrap,
    // Slot of lane 0 of the current word
    output wire [SLOT_W-1:0]  base,

    // Rows allowed for the word issued one cycle ago, lane j of row r at bit j*ROWS + r
    output wire [12*ROWS-1:0] allow
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_ROWS_needs_power_of_two_4_to_128 stop ();
        end else if (SLOT_W < 3 || SLOT_W > 6) begin : g_illegal
            illegal_parameter_SLOT_W_needs_3_to_6 stop ();
        end
    endgenerate

    localparam [31:0] STEP = 12;
    localparam [31:0] ROWS_32 = ROWS;
    localparam POS_W = 32;
    // Slot number with room for lanes behind the last slot
    localparam S_W = SLOT_W + 2;

    // unreached toggle: a tile has 64 keys at most
    reg [7:0]              n_reg;
    reg                    causal_reg;
    // unreached toggle: row 0 is always there
    reg [ROWS-1:0]         row_mask_reg;
    reg signed [24:0]      rel_reg;
    reg                    bound_reg;
    reg [23:0]             window_reg;
    reg [SLOT_W-1:0]       base_reg;
    reg signed [POS_W-1:0] pos_reg;
    // End of the window
    reg signed [POS_W-1:0] top_reg;

    // Multiples of kstep for the lanes and for the step from word to word
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
                        multiple_reg <= {{POS_W-24{1'b0}}, load_kstep}
                                      * {{POS_W-4{1'b0}}, FACTOR};
                    end
                end
            end
        end
    endgenerate

    // A slot's lowest allowed row, ROWS: none; the first one that is past its window
    generate
        for (j = 0; j < 12; j = j + 1) begin : g_lane
            localparam [S_W-1:0] LANE = j;
            wire [S_W-1:0] slot = {2'b00, base_reg} + LANE;
            wire           exists = {{8{1'b0}}, slot} < {{S_W{1'b0}}, n_reg};
            wire signed [POS_W-1:0] pos = pos_reg + $signed(multiple[j]);
            wire           behind = pos < 0;
            wire           beyond = pos > $signed(ROWS_32);
            wire [7:0]     lowest = !exists                 ? ROWS_32[7:0]
                                  : (!causal_reg || behind) ? 8'd0
                                  : beyond                  ? ROWS_32[7:0]
                                  :                           pos[7:0];
            wire signed [POS_W-1:0] over = top_reg + $signed(multiple[j]);
            wire [7:0]     past   = (!bound_reg || over > $signed(ROWS_32)) ? ROWS_32[7:0]
                                  : over < 0                                ? 8'd0
                                  :                                           over[7:0];
            reg [7:0]      lowest_reg;
            reg [7:0]      past_reg;

            assign allow[j*ROWS +: ROWS] = ({ROWS{1'b1}} << lowest_reg)
                                           & ~({ROWS{1'b1}} << past_reg) & row_mask_reg;

            always @(posedge clk) begin
                if (step) begin
                    lowest_reg <= lowest;
                    past_reg   <= past;
                end
            end
        end
    endgenerate

    assign base = base_reg;

    always @(posedge clk) begin
        if (step) begin
            base_reg <= base_reg + STEP[SLOT_W-1:0];
            pos_reg  <= pos_reg + $signed(multiple[12]);
            top_reg  <= top_reg + $signed(multiple[12]);
            if (wrap) begin
                base_reg <= {SLOT_W{1'b0}};
                pos_reg  <= {{POS_W-25{rel_reg[24]}}, rel_reg};
                top_reg  <= {{POS_W-25{rel_reg[24]}}, rel_reg} + {{POS_W-24{1'b0}}, window_reg};
            end
        end
        if (load) begin
            n_reg        <= load_n;
            causal_reg   <= load_causal;
            rel_reg      <= load_rel;
            bound_reg    <= load_window != 24'd0;
            window_reg   <= load_window;
            row_mask_reg <= ~({ROWS{1'b1}} << load_rows);
            base_reg     <= {SLOT_W{1'b0}};
            pos_reg      <= {{POS_W-25{load_rel[24]}}, load_rel};
            top_reg      <= {{POS_W-25{load_rel[24]}}, load_rel}
                            + {{POS_W-24{1'b0}}, load_window};
        end
    end

endmodule

`resetall
