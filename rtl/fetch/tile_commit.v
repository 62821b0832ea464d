// SPDX-License-Identifier: Apache-2.0
// Passes tiles on, in order, when their data has been written.
//
// Why: several tiles are on their way at a time, and a tile for which nothing is read must not
// overtake the data of the tile before it.
// Not done here: credits (a tile is put here only when it owns a buffer).
// Latency: one cycle from put, or from done, to t_valid. Throughput: one tile every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module tile_commit #(
    // Bits that go with a tile, at least 1.
    parameter WIDTH = 1,
    // Tiles that can be put here before the first is passed on, 2..8.
    parameter DEPTH = 2
) (
    input  wire             clk,
    input  wire             rst,

    // A tile whose requests begin; empty: it has none
    input  wire             put,
    output wire             put_ready,
    input  wire             put_empty,
    input  wire [WIDTH-1:0] put_data,

    // The last beat of the oldest tile that is not empty has been written
    input  wire             done,

    // Tile with all its data in the buffer
    output wire             t_valid,
    input  wire             t_ready,
    output wire [WIDTH-1:0] t_data
);

    generate
        if (WIDTH < 1 || DEPTH < 2 || DEPTH > 8) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_tile_commit_needs_WIDTH_1_up_DEPTH_2_to_8 stop ();
        end
    endgenerate

    localparam LEVEL_W = $clog2(DEPTH + 1);

    wire               head_valid;
    wire               head_empty;
    wire [LEVEL_W-1:0] unused_level;

    // Tiles complete and not passed on.
    reg [3:0] count_reg, count_next;
    reg       some_reg;

    assign t_valid = head_valid && (head_empty || some_reg);

    wire leave = t_valid && t_ready && !head_empty;

    sync_fifo #(
        .WIDTH (WIDTH + 1),
        .DEPTH (DEPTH)
    ) fifo_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (put),
        .s_ready (put_ready),
        .s_data  ({put_empty, put_data}),
        .m_valid (head_valid),
        .m_ready (t_valid && t_ready),
        .m_data  ({head_empty, t_data}),
        .level   (unused_level)
    );

    always @* begin
        count_next = count_reg;
        if (done && !leave) begin
            count_next = count_reg + 4'd1;
        end else if (leave && !done) begin
            count_next = count_reg - 4'd1;
        end
    end

    always @(posedge clk) begin
        count_reg <= count_next;
        some_reg  <= count_next != 4'd0;

        if (rst) begin
            count_reg <= 4'd0;
            some_reg  <= 1'b0;
        end
    end

endmodule

`resetall
