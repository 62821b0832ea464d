// SPDX-License-Identifier: Apache-2.0
// Corner buffer of the output: written as element e of all rows, read as a bus word of one row.
//
// Why: SU-FA finishes a block element by element, memory wants rows. Rows form groups of BEAT;
// element e of row r lies in bank (e + r) mod BEAT of its group at address {e / BEAT, r mod BEAT}.
// So both ports touch every bank once. All groups use the same bank and address at a write,
// therefore bank b of all groups is one memory with a wide word.
// Not done here: no full/empty state (store has it); elements never written are undefined.
// Latency: one cycle from rd_en to rd_data, the group multiplexer and the rotator lie behind the
// memories' output registers. rd_data holds while rd_en is low.
// Throughput: one element of all rows in and one bus word out every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module out_buffer #(
    // Rows, a power of two, BEAT..128.
    parameter ROWS = 16,
    // Elements of a row, a power of two, 2*BEAT..256.
    parameter D_MAX = 64,
    // Elements of a bus word, a power of two, 4..32.
    parameter BEAT = 8,
    // Bits of ports. Derived: leave at their defaults.
    parameter ROW_W = $clog2(ROWS),
    parameter ELEM_W = $clog2(D_MAX),
    parameter BEAT_W = $clog2(D_MAX / BEAT)
) (
    input  wire               clk,

    // Element wr_elem of all rows
    input  wire               wr_en,
    input  wire [ELEM_W-1:0]  wr_elem,
    input  wire [ROWS*16-1:0] wr_data,

    // Elements BEAT*rd_beat .. +BEAT-1 of row rd_row
    input  wire               rd_en,
    input  wire [ROW_W-1:0]   rd_row,
    input  wire [BEAT_W-1:0]  rd_beat,
    output wire [BEAT*16-1:0] rd_data
);

    generate
        if (BEAT < 4 || BEAT > 32 || BEAT != (1 << $clog2(BEAT)) || ROWS < BEAT || ROWS > 128
                || ROWS != (1 << $clog2(ROWS)) || D_MAX < 2 * BEAT || D_MAX > 256
                || D_MAX != (1 << $clog2(D_MAX))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_out_buffer_needs_powers_of_two_BEAT_4_to_32_ROWS_BEAT_to_128 stop ();
        end
    endgenerate

    localparam GROUPS = ROWS / BEAT;
    localparam LANE_W = $clog2(BEAT);
    localparam BANK_W = GROUPS * 16;

    // Row of the latest read: lane within the group, and group.
    reg  [ROW_W-1:0]       row_reg;

    wire [BEAT*BANK_W-1:0] lanes;
    wire [BEAT*BANK_W-1:0] wr_banks;
    wire [BEAT*16-1:0]     rd_banks;
    wire [LANE_W-1:0]      wr_amount = -wr_elem[LANE_W-1:0];

    always @(posedge clk) begin
        if (rd_en) begin
            row_reg <= rd_row;
        end
    end

    // Lane j holds row j of every group.
    genvar b, g;
    generate
        for (b = 0; b < BEAT; b = b + 1) begin : g_lane
            for (g = 0; g < GROUPS; g = g + 1) begin : g_group
                assign lanes[(b*GROUPS + g)*16 +: 16] = wr_data[(g*BEAT + b)*16 +: 16];
            end
        end
    endgenerate

    lane_rotate #(
        .LANES (BEAT),
        .WIDTH (BANK_W)
    ) wr_rotate_inst (
        .amount   (wr_amount),
        .in_data  (lanes),
        .out_data (wr_banks)
    );

    generate
        for (b = 0; b < BEAT; b = b + 1) begin : g_bank
            localparam [LANE_W-1:0] B = b;
            wire [LANE_W-1:0] lane = B - wr_elem[LANE_W-1:0];
            wire [BANK_W-1:0] word;

            ram_1r1w #(
                .WIDTH (BANK_W),
                .DEPTH (D_MAX)
            ) ram_inst (
                .clk     (clk),
                .wr_en   (wr_en),
                .wr_addr ({wr_elem[ELEM_W-1:LANE_W], lane}),
                .wr_data (wr_banks[b*BANK_W +: BANK_W]),
                .rd_en   (rd_en),
                .rd_addr ({rd_beat, rd_row[LANE_W-1:0]}),
                .rd_data (word)
            );

            if (GROUPS == 1) begin : g_pick
                assign rd_banks[b*16 +: 16] = word;
            end else begin : g_pick
                assign rd_banks[b*16 +: 16] = word[row_reg[ROW_W-1:LANE_W]*16 +: 16];
            end
        end
    endgenerate

    lane_rotate #(
        .LANES (BEAT),
        .WIDTH (16)
    ) rd_rotate_inst (
        .amount   (row_reg[LANE_W-1:0]),
        .in_data  (rd_banks),
        .out_data (rd_data)
    );

endmodule

`resetall
