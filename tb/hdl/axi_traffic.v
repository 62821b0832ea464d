// SPDX-License-Identifier: Apache-2.0
// AXI4 master which reads and writes runs of equal bursts; exercises the memory model.
//
// Why: gives the memory model a clocked master which can keep both directions busy every cycle,
// and, with `manual` high, hands all master signals to the test bench so that it can break rules.
// Not done here: any checking of the data except the sum and the taps.
// Latency: one cycle from start to the first request. Throughput: one beat a cycle a direction.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module axi_traffic #(
    // Bits of the data bus, a power of two from 32.
    parameter DATA_W = 64,
    // Bits of an address.
    parameter ADDR_W = 40,
    // Bits of an ID.
    parameter ID_W = 2
) (
    input  wire                clk,
    input  wire                rst,

    // Control. Pulse *_start; *_done is high when all bursts were answered.
    input  wire                rd_start,
    input  wire                wr_start,
    // Bursts of a run, beats of a burst less one, address of the first burst.
    input  wire [15:0]         bursts,
    input  wire [7:0]          len,
    input  wire [ADDR_W-1:0]   rd_base,
    input  wire [ADDR_W-1:0]   wr_base,
    // IDs are the burst number ANDed with this.
    input  wire [ID_W-1:0]     id_mask,
    // 0: RREADY and BREADY always high. 1: random, registered. 2: random and only while the
    // valid of the memory is high, a path from valid to ready within the cycle.
    input  wire [1:0]          ready_mode,
    // Random strobes instead of all ones.
    input  wire                random_strb,
    // Write data starts at once, write addresses this many cycles later.
    input  wire [7:0]          aw_delay,
    output wire                rd_done,
    output wire                wr_done,
    // Sum of all beats read.
    output wire [DATA_W-1:0]   rd_sum,

    // Read beats taken, for a monitor
    output wire                tap_r_valid,
    output wire [ID_W-1:0]     tap_r_id,
    output wire [DATA_W-1:0]   tap_r_data,
    output wire [1:0]          tap_r_resp,
    output wire                tap_r_last,
    // Write beats taken
    output wire                tap_w_valid,
    output wire [DATA_W-1:0]   tap_w_data,
    output wire [DATA_W/8-1:0] tap_w_strb,

    // Master signals in manual mode
    input  wire                manual,
    input  wire [ID_W-1:0]     t_arid,
    input  wire [ADDR_W-1:0]   t_araddr,
    input  wire [7:0]          t_arlen,
    input  wire [2:0]          t_arsize,
    input  wire [1:0]          t_arburst,
    input  wire                t_arvalid,
    input  wire                t_rready,
    input  wire [ID_W-1:0]     t_awid,
    input  wire [ADDR_W-1:0]   t_awaddr,
    input  wire [7:0]          t_awlen,
    input  wire [2:0]          t_awsize,
    input  wire [1:0]          t_awburst,
    input  wire                t_awvalid,
    input  wire [DATA_W-1:0]   t_wdata,
    input  wire [DATA_W/8-1:0] t_wstrb,
    input  wire                t_wlast,
    input  wire                t_wvalid,
    input  wire                t_bready,

    // AXI4
    output wire [ID_W-1:0]     m_axi_arid,
    output wire [ADDR_W-1:0]   m_axi_araddr,
    output wire [7:0]          m_axi_arlen,
    output wire [2:0]          m_axi_arsize,
    output wire [1:0]          m_axi_arburst,
    output wire                m_axi_arvalid,
    input  wire                m_axi_arready,
    input  wire [ID_W-1:0]     m_axi_rid,
    input  wire [DATA_W-1:0]   m_axi_rdata,
    input  wire [1:0]          m_axi_rresp,
    input  wire                m_axi_rlast,
    input  wire                m_axi_rvalid,
    output wire                m_axi_rready,
    output wire [ID_W-1:0]     m_axi_awid,
    output wire [ADDR_W-1:0]   m_axi_awaddr,
    output wire [7:0]          m_axi_awlen,
    output wire [2:0]          m_axi_awsize,
    output wire [1:0]          m_axi_awburst,
    output wire                m_axi_awvalid,
    input  wire                m_axi_awready,
    output wire [DATA_W-1:0]   m_axi_wdata,
    output wire [DATA_W/8-1:0] m_axi_wstrb,
    output wire                m_axi_wlast,
    output wire                m_axi_wvalid,
    input  wire                m_axi_wready,
    input  wire [ID_W-1:0]     m_axi_bid,
    input  wire [1:0]          m_axi_bresp,
    input  wire                m_axi_bvalid,
    output wire                m_axi_bready
);

    localparam STRB_W = DATA_W / 8;
    localparam SIZE = $clog2(STRB_W);
    // Written words repeat a 32-bit value which steps by this odd constant.
    localparam [31:0] STEP = 32'h9e3779b9;

    reg [15:0]       ar_left_reg, r_left_reg, aw_left_reg, w_left_reg, b_left_reg;
    reg [ADDR_W-1:0] ar_addr_reg, aw_addr_reg;
    reg [ID_W-1:0]   ar_count_reg, aw_count_reg;
    reg [7:0]        w_beat_reg, aw_wait_reg;
    reg [31:0]       w_word_reg;
    reg [31:0]       lfsr_reg;
    reg [DATA_W-1:0] sum_reg;

    wire [ADDR_W-1:0] burst_bytes = {{(ADDR_W-9){1'b0}}, {1'b0, len} + 9'd1} << SIZE;
    wire              ready_reg_value = (ready_mode == 2'd0) || lfsr_reg[0];
    wire              r_ready = ready_reg_value && (ready_mode != 2'd2 || m_axi_rvalid);
    wire              b_ready = ready_reg_value && (ready_mode != 2'd2 || m_axi_bvalid);
    wire              r_take = m_axi_rvalid && m_axi_rready;
    wire              b_take = m_axi_bvalid && m_axi_bready;
    wire              w_last = w_beat_reg == len;
    wire [STRB_W-1:0] strb = random_strb ? {(STRB_W/4){w_word_reg[31:28]}} : {STRB_W{1'b1}};

    assign rd_done = r_left_reg == 16'd0;
    assign wr_done = b_left_reg == 16'd0;
    assign rd_sum = sum_reg;

    assign tap_r_valid = r_take;
    assign tap_r_id = m_axi_rid;
    assign tap_r_data = m_axi_rdata;
    assign tap_r_resp = m_axi_rresp;
    assign tap_r_last = m_axi_rlast;
    assign tap_w_valid = m_axi_wvalid && m_axi_wready;
    assign tap_w_data = m_axi_wdata;
    assign tap_w_strb = m_axi_wstrb;

    assign m_axi_arid    = manual ? t_arid : (ar_count_reg & id_mask);
    assign m_axi_araddr  = manual ? t_araddr : ar_addr_reg;
    assign m_axi_arlen   = manual ? t_arlen : len;
    assign m_axi_arsize  = manual ? t_arsize : SIZE[2:0];
    assign m_axi_arburst = manual ? t_arburst : 2'b01;
    assign m_axi_arvalid = manual ? t_arvalid : (ar_left_reg != 16'd0);
    assign m_axi_rready  = manual ? t_rready : r_ready;
    assign m_axi_awid    = manual ? t_awid : (aw_count_reg & id_mask);
    assign m_axi_awaddr  = manual ? t_awaddr : aw_addr_reg;
    assign m_axi_awlen   = manual ? t_awlen : len;
    assign m_axi_awsize  = manual ? t_awsize : SIZE[2:0];
    assign m_axi_awburst = manual ? t_awburst : 2'b01;
    assign m_axi_awvalid = manual ? t_awvalid : (aw_left_reg != 16'd0 && aw_wait_reg == 8'd0);
    assign m_axi_wdata   = manual ? t_wdata : {(DATA_W/32){w_word_reg}};
    assign m_axi_wstrb   = manual ? t_wstrb : strb;
    assign m_axi_wlast   = manual ? t_wlast : w_last;
    assign m_axi_wvalid  = manual ? t_wvalid : (w_left_reg != 16'd0);
    assign m_axi_bready  = manual ? t_bready : b_ready;

    always @(posedge clk) begin
        lfsr_reg <= {lfsr_reg[30:0], lfsr_reg[31] ^ lfsr_reg[21] ^ lfsr_reg[1] ^ lfsr_reg[0]};

        if (rd_start) begin
            ar_left_reg <= bursts;
            r_left_reg <= bursts;
            ar_addr_reg <= rd_base;
            ar_count_reg <= {ID_W{1'b0}};
            sum_reg <= {DATA_W{1'b0}};
        end else begin
            if (m_axi_arvalid && m_axi_arready && !manual) begin
                ar_left_reg <= ar_left_reg - 16'd1;
                ar_addr_reg <= ar_addr_reg + burst_bytes;
                ar_count_reg <= ar_count_reg + 1'b1;
            end
            if (r_take && !manual) begin
                sum_reg <= sum_reg + m_axi_rdata;
                r_left_reg <= r_left_reg - {15'd0, m_axi_rlast};
            end
        end

        if (wr_start) begin
            aw_left_reg <= bursts;
            w_left_reg <= bursts;
            b_left_reg <= bursts;
            aw_addr_reg <= wr_base;
            aw_count_reg <= {ID_W{1'b0}};
            aw_wait_reg <= aw_delay;
            w_beat_reg <= 8'd0;
        end else begin
            if (aw_wait_reg != 8'd0) begin
                aw_wait_reg <= aw_wait_reg - 8'd1;
            end
            if (m_axi_awvalid && m_axi_awready && !manual) begin
                aw_left_reg <= aw_left_reg - 16'd1;
                aw_addr_reg <= aw_addr_reg + burst_bytes;
                aw_count_reg <= aw_count_reg + 1'b1;
                aw_wait_reg <= aw_delay;
            end
            if (m_axi_wvalid && m_axi_wready && !manual) begin
                w_word_reg <= w_word_reg + STEP;
                w_beat_reg <= w_last ? 8'd0 : w_beat_reg + 8'd1;
                w_left_reg <= w_left_reg - {15'd0, w_last};
            end
            if (b_take && !manual) begin
                b_left_reg <= b_left_reg - 16'd1;
            end
        end

        if (rst) begin
            ar_left_reg <= 16'd0;
            r_left_reg <= 16'd0;
            aw_left_reg <= 16'd0;
            w_left_reg <= 16'd0;
            b_left_reg <= 16'd0;
            aw_wait_reg <= 8'd0;
            w_word_reg <= STEP;
            lfsr_reg <= 32'h1badcafe;
        end
    end

    wire unused = &{1'b0, m_axi_bid, m_axi_bresp};

endmodule

`resetall
