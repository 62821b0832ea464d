// SPDX-License-Identifier: Apache-2.0
// Asks memory for the 8-bit key vectors of a tile and passes the tile on when they have arrived.
//
// Why: the prediction reads every visible key, so this stream has no selection: slot b is at
// k8addr + b * k8inc. The requests of a tile start while the data of the one before still
// arrives, as far as the ring has room.
// Not done here: anything with the data (axi_read delivers it to the write port).
// Dense mode: nothing is read; a tile takes its turn in the ring and is passed on at once.
// Latency: one cycle from the command to the first request; one from the last beat at the write
// port to k8_t_valid. Throughput: one slot every cycle, one idle cycle between tiles.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module fetch_k8 #(
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Buffers of the K8 ring, 2..4.
    parameter K8_BUFS = 2
) (
    input  wire              clk,
    input  wire              rst,

    input  wire              cfg_dense,

    // Command: one tile
    input  wire              tc_valid,
    output wire              tc_ready,
    input  wire [ADDR_W-1:0] tc_addr,
    input  wire [31:0]       tc_inc,
    input  wire [`TD_W-1:0]  tc_td,

    // Requests; last: of its tile
    output wire              req_valid,
    input  wire              req_ready,
    output wire [ADDR_W-1:0] req_addr,
    output wire [6:0]        req_slot,
    output wire [1:0]        req_buf,
    output wire              req_last,

    // The last beat of a tile has been written
    input  wire              done,

    // Tile with all its data in the ring, and the release of its buffer
    output wire              k8_t_valid,
    input  wire              k8_t_ready,
    output wire [`TD_W-1:0]  k8_t_td,
    input  wire              k8_release,

    // A command waits for a free buffer
    output wire              ev_stall
);

    generate
        if (K8_BUFS < 2 || K8_BUFS > 4) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_fetch_k8_needs_K8_BUFS_2_to_4 stop ();
        end
    endgenerate

    reg              req_valid_reg, req_valid_next;
    reg [ADDR_W-1:0] addr_reg, addr_next;
    reg [31:0]       inc_reg, inc_next;
    reg [6:0]        slot_reg, slot_next;
    reg [7:0]        left_reg, left_next;
    reg [1:0]        buf_reg, buf_next;

    wire       avail;
    wire       put_ready;
    wire [1:0] index;

    wire take = tc_valid && tc_ready;

    // A tile which owns a buffer always finds room in commit_inst.
    assign tc_ready = !req_valid_reg && avail && put_ready;
    assign ev_stall = tc_valid && !req_valid_reg && !avail;

    assign req_valid = req_valid_reg;
    assign req_addr  = addr_reg;
    assign req_slot  = slot_reg;
    assign req_buf   = buf_reg;
    assign req_last  = left_reg == 8'd1;

    ring_credit #(
        .BUFS (K8_BUFS)
    ) credit_inst (
        .clk   (clk),
        .rst   (rst),
        .avail (avail),
        .index (index),
        .take  (take),
        .free  (k8_release)
    );

    tile_commit #(
        .WIDTH (`TD_W),
        .DEPTH (K8_BUFS)
    ) commit_inst (
        .clk       (clk),
        .rst       (rst),
        .put       (take),
        .put_ready (put_ready),
        .put_empty (cfg_dense),
        .put_data  (tc_td),
        .done      (done),
        .t_valid   (k8_t_valid),
        .t_ready   (k8_t_ready),
        .t_data    (k8_t_td)
    );

    always @* begin
        req_valid_next = req_valid_reg;
        addr_next      = addr_reg;
        inc_next       = inc_reg;
        slot_next      = slot_reg;
        left_next      = left_reg;
        buf_next       = buf_reg;

        if (take) begin
            req_valid_next = !cfg_dense;
            addr_next      = tc_addr;
            inc_next       = tc_inc;
            slot_next      = 7'd0;
            left_next      = tc_td[`TD_N];
            buf_next       = index;
        end else if (req_valid_reg && req_ready) begin
            req_valid_next = !req_last;
            addr_next      = addr_reg + {{(ADDR_W - 32){1'b0}}, inc_reg};
            slot_next      = slot_reg + 7'd1;
            left_next      = left_reg - 8'd1;
        end
    end

    always @(posedge clk) begin
        req_valid_reg <= req_valid_next;
        addr_reg      <= addr_next;
        inc_reg       <= inc_next;
        slot_reg      <= slot_next;
        left_reg      <= left_next;
        buf_reg       <= buf_next;

        if (rst) begin
            req_valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
