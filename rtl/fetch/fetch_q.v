// SPDX-License-Identifier: Apache-2.0
// Asks memory for the Q vectors of a block of query rows.
//
// Why: two consumers (prediction and formal compute) hold a copy of the same ring, so a buffer is
// free only when both have released it.
// Not done here: anything with the data (axi_read delivers it to the write port).
// Latency: one cycle from the command to the first request.
// Throughput: one row every cycle, one idle cycle between blocks.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module fetch_q #(
    // Address bits, 32..48.
    parameter ADDR_W = 40
) (
    input  wire              clk,
    input  wire              rst,

    // Bytes between the vectors of neighbouring rows
    input  wire [31:0]       cfg_stride,

    // Command: one block
    input  wire              qc_valid,
    output wire              qc_ready,
    input  wire [ADDR_W-1:0] qc_addr,
    input  wire [7:0]        qc_rows,

    // The consumers have freed a buffer
    input  wire              release_dlzs,
    input  wire              release_sufa,

    // Requests; last: of its block
    output wire              req_valid,
    input  wire              req_ready,
    output wire [ADDR_W-1:0] req_addr,
    output wire [6:0]        req_row,
    output wire              req_buf,
    output wire              req_last,

    // A command waits for a free buffer
    output wire              ev_stall
);

    reg              req_valid_reg, req_valid_next;
    reg [ADDR_W-1:0] addr_reg, addr_next;
    reg [6:0]        row_reg, row_next;
    reg [7:0]        left_reg, left_next;
    reg              buf_reg, buf_next;

    wire       avail_dlzs, avail_sufa;
    wire [1:0] index;
    wire [1:0] unused_index;
    wire       unused_index_bit = index[1];

    wire avail = avail_dlzs && avail_sufa;
    wire take  = qc_valid && qc_ready;

    assign qc_ready = !req_valid_reg && avail;
    assign ev_stall = qc_valid && !req_valid_reg && !avail;

    assign req_valid = req_valid_reg;
    assign req_addr  = addr_reg;
    assign req_row   = row_reg;
    assign req_buf   = buf_reg;
    assign req_last  = left_reg == 8'd1;

    ring_credit #(
        .BUFS (2)
    ) credit_dlzs_inst (
        .clk   (clk),
        .rst   (rst),
        .avail (avail_dlzs),
        .index (index),
        .take  (take),
        .free  (release_dlzs)
    );

    ring_credit #(
        .BUFS (2)
    ) credit_sufa_inst (
        .clk   (clk),
        .rst   (rst),
        .avail (avail_sufa),
        .index (unused_index),
        .take  (take),
        .free  (release_sufa)
    );

    always @* begin
        req_valid_next = req_valid_reg;
        addr_next      = addr_reg;
        row_next       = row_reg;
        left_next      = left_reg;
        buf_next       = buf_reg;

        if (take) begin
            req_valid_next = 1'b1;
            addr_next      = qc_addr;
            row_next       = 7'd0;
            left_next      = qc_rows;
            buf_next       = index[0];
        end else if (req_valid_reg && req_ready) begin
            req_valid_next = !req_last;
            addr_next      = addr_reg + {{(ADDR_W - 32){1'b0}}, cfg_stride};
            row_next       = row_reg + 7'd1;
            left_next      = left_reg - 8'd1;
        end
    end

    always @(posedge clk) begin
        req_valid_reg <= req_valid_next;
        addr_reg      <= addr_next;
        row_reg       <= row_next;
        left_reg      <= left_next;
        buf_reg       <= buf_next;

        if (rst) begin
            req_valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
