// SPDX-License-Identifier: Apache-2.0
// Signals of a read-only and of a write-only AXI4 port without IDs; exercises the memory model.
//
// Why: the memory model must serve ports which lack a direction, IDs, size and burst type. The
// test bench is both sides; there is no logic, only pins, and latency and throughput are its own.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module axi_pins #(
    // Bits of the data bus.
    parameter DATA_W = 1024,
    // Bits of a packed word, for the speed of the stream monitor.
    parameter WORD_W = 30720
) (
    input  wire                clk,
    input  wire                rst,

    // Read-only port
    input  wire [31:0]         rd_araddr,
    input  wire [7:0]          rd_arlen,
    input  wire                rd_arvalid,
    input  wire                rd_arready,
    input  wire [DATA_W-1:0]   rd_rdata,
    input  wire [1:0]          rd_rresp,
    input  wire                rd_rlast,
    input  wire                rd_rvalid,
    input  wire                rd_rready,

    // Write-only port
    input  wire [31:0]         wr_awaddr,
    input  wire [7:0]          wr_awlen,
    input  wire                wr_awvalid,
    input  wire                wr_awready,
    input  wire [DATA_W-1:0]   wr_wdata,
    input  wire [DATA_W/8-1:0] wr_wstrb,
    input  wire                wr_wlast,
    input  wire                wr_wvalid,
    input  wire                wr_wready,
    input  wire [1:0]          wr_bresp,
    input  wire                wr_bvalid,
    input  wire                wr_bready,

    // Wide tap
    input  wire                tap_valid,
    input  wire [WORD_W-1:0]   tap_data
);

    // Apart from the wide data, so that a clock edge does not evaluate all of it.
    wire unused_clk = &{1'b0, clk, rst};
    wire unused = &{1'b0, rd_araddr, rd_arlen, rd_arvalid, rd_arready, rd_rdata,
                    rd_rresp, rd_rlast, rd_rvalid, rd_rready, wr_awaddr, wr_awlen, wr_awvalid,
                    wr_awready, wr_wdata, wr_wstrb, wr_wlast, wr_wvalid, wr_wready, wr_bresp,
                    wr_bvalid, wr_bready, tap_valid, tap_data};

endmodule

`resetall
