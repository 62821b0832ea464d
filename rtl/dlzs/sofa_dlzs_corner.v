// SPDX-License-Identifier: Apache-2.0
// Corner-turning memory of LANES lanes: written in beats of LANES elements of one lane, read as one
// element of all lanes.
//
// Why: as sofa_corner_buffer, lane b's element e lies in bank (b + e) mod LANES, so that a beat
// writes and a read reads every bank once. Here the elements of a lane are numbered through,
// whatever the user keeps in them, and their number need not be a power of two: blocks of any size
// lie side by side.
// Not done here: allocation, guard against reading what is being written, clearing.
// Latency: one cycle from rd_en to rd_data, clog2(LANES) multiplexers behind the banks' registers.
// rd_data holds while rd_en is low. Written data is readable in the next cycle.
// Throughput: one beat and one read every cycle.
// Errors: none are found; a beat from BEATS on is not allowed.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_corner #(
    // Lanes, and elements of a beat, a power of two, 2..64.
    parameter LANES = 4,
    // Beats of a lane, 2..256.
    parameter BEATS = 8,
    // Bits of an element, at least 1.
    parameter WIDTH = 5,
    // Bits of ports. Derived: leave at their defaults.
    parameter LANE_W = $clog2(LANES),
    parameter BEAT_W = $clog2(BEATS)
) (
    input  wire                   clk,

    // Elements LANES*wr_beat .. +LANES-1 of lane -wr_amount
    input  wire                   wr_valid,
    input  wire [LANE_W-1:0]      wr_amount,
    input  wire [BEAT_W-1:0]      wr_beat,
    input  wire [LANES*WIDTH-1:0] wr_data,

    // Element LANES*rd_beat + rd_offset of all lanes
    input  wire                   rd_en,
    input  wire [BEAT_W-1:0]      rd_beat,
    input  wire [LANE_W-1:0]      rd_offset,
    output wire [LANES*WIDTH-1:0] rd_data
);

    generate
        if (LANES < 2 || LANES > 64 || LANES != (1 << $clog2(LANES))) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_LANES_needs_power_of_two_2_to_64 stop ();
        end else if (BEATS < 2 || BEATS > 256) begin : g_illegal
            illegal_parameter_BEATS_needs_2_to_256 stop ();
        end else if (WIDTH < 1) begin : g_illegal
            illegal_parameter_WIDTH_needs_1_up stop ();
        end else if (LANE_W != $clog2(LANES) || BEAT_W != $clog2(BEATS)) begin : g_illegal
            illegal_parameter_LANE_W_and_BEAT_W_are_derived stop ();
        end
    endgenerate

    localparam DEPTH  = BEATS * LANES;
    localparam ADDR_W = $clog2(DEPTH);

    wire [LANES*WIDTH-1:0] wr_rotated;
    wire [LANES*WIDTH-1:0] bank_data;
    reg  [LANE_W-1:0]      offset_reg;

    sofa_lane_rotate #(
        .LANES (LANES),
        .WIDTH (WIDTH)
    ) wr_rotate_inst (
        .amount   (wr_amount),
        .in_data  (wr_data),
        .out_data (wr_rotated)
    );

    genvar k;
    generate
        for (k = 0; k < LANES; k = k + 1) begin : g_bank
            localparam [LANE_W-1:0] K = k;
            // Which of the beat's elements falls into this bank
            wire [LANE_W-1:0] offset = K + wr_amount;

            sofa_ram_1r1w #(
                .WIDTH  (WIDTH),
                .DEPTH  (DEPTH),
                .ADDR_W (ADDR_W)
            ) ram_inst (
                .clk     (clk),
                .wr_en   (wr_valid),
                .wr_addr ({wr_beat, offset}),
                .wr_data (wr_rotated[k*WIDTH +: WIDTH]),
                .rd_en   (rd_en),
                .rd_addr ({rd_beat, rd_offset}),
                .rd_data (bank_data[k*WIDTH +: WIDTH])
            );
        end
    endgenerate

    sofa_lane_rotate #(
        .LANES (LANES),
        .WIDTH (WIDTH)
    ) rd_rotate_inst (
        .amount   (offset_reg),
        .in_data  (bank_data),
        .out_data (rd_data)
    );

    always @(posedge clk) begin
        if (rd_en) begin
            offset_reg <= rd_offset;
        end
    end

endmodule

`resetall
