// SPDX-License-Identifier: Apache-2.0
// Makes every write of the machine: rows of O, and single beats of x.
//
// Why: rows of O come beat by beat in the order of memory; they wait here, WORDS beats, while the
// bus is busy. A row is announced to sofa_axi_write when its last beat is here, so that a burst
// which has started never lacks data. The stages which make K8, K and V write theirs through the x
// port, beat by beat.
// Not done here: order of rows, their addresses.
// Latency: from the last beat of a row, or a beat of x, to AWVALID 2 cycles, to WVALID 4.
// Throughput: one beat in, one bus word out every cycle; sofa_axi_write shares the bus.
// Halt: no AW starts, owed beats go out without strobes, no blk_done, no x_done; leave it only by
// rst, once idle is high.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_store #(
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 64,
    // Bytes of a bus word, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // AXI address bits, 32..48.
    parameter ADDR_W = 40,
    // Beats of O that can wait: two rows of D_MAX or more, a power of two, 8..256.
    parameter WORDS = 8 * D_MAX / BUS_BYTES < 16 ? 16 : 8 * D_MAX / BUS_BYTES,
    // Bursts of O which can be unanswered, 2..256. The default hides 128 cycles with rows of two
    // beats.
    parameter OUTSTANDING = 64,
    // Beats of x which can be unanswered, 2..256.
    parameter X_OUTSTANDING = 128
) (
    input  wire                   clk,
    input  wire                   rst,

    // Job, static
    input  wire [8:0]             cfg_d,

    // Rows of O: beats in order, ceil(2*cfg_d/BUS_BYTES) a row; address with the first, a multiple
    // of BUS_BYTES; last of the row, of the block. Bytes beyond cfg_d elements are not written
    input  wire                   o_valid,
    output wire                   o_ready,
    input  wire [8*BUS_BYTES-1:0] o_data,
    input  wire                   o_first,
    input  wire [47:0]            o_addr,
    input  wire                   o_last,
    input  wire                   o_block_last,

    // x: single beats, x_addr a multiple of BUS_BYTES; x_done: one was answered OK, in order
    input  wire                   x_valid,
    output wire                   x_ready,
    input  wire [47:0]            x_addr,
    input  wire [8*BUS_BYTES-1:0] x_data,
    input  wire [BUS_BYTES-1:0]   x_strb,
    output wire                   x_done,

    // Control
    input  wire                   halt,
    output wire                   idle,
    // Fault of an answer, err_id: 0 O, 1 x. err_protocol: nobody waits for it; else see err_resp
    output wire                   err_valid,
    output wire                   err_protocol,
    output wire [2:0]             err_id,
    output wire [1:0]             err_resp,
    // What the memory has to do, bit 0: take AW, 1: take W, 2: answer. It did some of it in this
    // cycle
    output wire [2:0]             bus_wait,
    output wire                   bus_move,
    output wire                   blk_done,

    // Events: a beat of O, or of x, was taken; memory keeps W or AW waiting
    output wire                   ev_beat,
    output wire                   ev_beat_x,
    output wire                   ev_stall,

    // AXI4 write channels
    output wire [2:0]             m_axi_awid,
    output wire [ADDR_W-1:0]      m_axi_awaddr,
    output wire [7:0]             m_axi_awlen,
    output wire [2:0]             m_axi_awsize,
    output wire [1:0]             m_axi_awburst,
    output wire                   m_axi_awvalid,
    input  wire                   m_axi_awready,
    output wire [8*BUS_BYTES-1:0] m_axi_wdata,
    output wire [BUS_BYTES-1:0]   m_axi_wstrb,
    output wire                   m_axi_wlast,
    output wire                   m_axi_wvalid,
    input  wire                   m_axi_wready,
    input  wire [2:0]             m_axi_bid,
    input  wire [1:0]             m_axi_bresp,
    input  wire                   m_axi_bvalid,
    output wire                   m_axi_bready
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES)) || D_MAX < 16
                || D_MAX > 256 || D_MAX < BUS_BYTES || D_MAX != (1 << $clog2(D_MAX))
                || ADDR_W < 32 || ADDR_W > 48 || WORDS < 8 || WORDS > 256
                || WORDS < 4 * D_MAX / BUS_BYTES || WORDS != (1 << $clog2(WORDS))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_store_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam LANE_W = $clog2(BUS_BYTES);
    localparam WORD_W = $clog2(WORDS);
    // Rows that wait for their burst: enough that short ones follow each other without a gap.
    localparam ROWS_WAIT = 8;

    // Number of the last byte of a row; in it, of the last beat and of that beat's last byte.
    wire [9:0]           last_byte = {cfg_d, 1'b0} - 10'd1;
    wire [7:0]           last_beat;
    wire [LANE_W-1:0]    last_lane = last_byte[LANE_W-1:0];
    wire [BUS_BYTES-1:0] last_strb = ~({{(BUS_BYTES - 1){1'b1}}, 1'b0} << last_lane);

    assign last_beat = {{(LANE_W - 2){1'b0}}, last_byte[9:LANE_W]};

    // -----------------------------------------------------------------------------------------
    // Beats that wait
    // -----------------------------------------------------------------------------------------
    reg  [WORD_W-1:0]      wr_ptr_reg, rd_ptr_reg;
    reg  [WORD_W:0]        level_reg, level_next;
    reg                    room_reg;
    reg  [7:0]             rd_beat_reg;
    wire                   take = o_valid && o_ready;
    wire                   rows_ready;
    wire                   rd_en;
    wire                   rd_last = rd_beat_reg == last_beat;
    wire [8*BUS_BYTES-1:0] rd_data;

    assign o_ready = room_reg && rows_ready;

    always @* begin
        level_next = level_reg;
        if (take && !rd_en) begin
            level_next = level_reg + 1'b1;
        end else if (rd_en && !take) begin
            level_next = level_reg - 1'b1;
        end
    end

    sofa_ram_1r1w #(
        .WIDTH  (8 * BUS_BYTES),
        .DEPTH  (WORDS),
        .ADDR_W (WORD_W)
    ) ram_inst (
        .clk     (clk),
        .wr_en   (take),
        .wr_addr (wr_ptr_reg),
        .wr_data (o_data),
        .rd_en   (rd_en),
        .rd_addr (rd_ptr_reg),
        .rd_data (rd_data)
    );

    // -----------------------------------------------------------------------------------------
    // Rows whose beats are all here
    // -----------------------------------------------------------------------------------------
    reg  [47:0]       addr_reg;
    wire [47:0]       addr = o_first ? o_addr : addr_reg;
    wire              row_valid, row_ready, row_last;
    wire [ADDR_W-1:0] row_addr;
    wire [$clog2(ROWS_WAIT+1)-1:0] unused_rows;

    generate
        if (ADDR_W < 48) begin : g_unused_addr
            wire unused_addr = &{1'b0, addr[47:ADDR_W], x_addr[47:ADDR_W]};
        end
    endgenerate

    sofa_sync_fifo #(
        .WIDTH (ADDR_W + 1),
        .DEPTH (ROWS_WAIT)
    ) rows_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (take && o_last),
        .s_ready (rows_ready),
        .s_data  ({o_block_last, addr[ADDR_W-1:0]}),
        .m_valid (row_valid),
        .m_ready (row_ready),
        .m_data  ({row_last, row_addr}),
        .level   (unused_rows)
    );

    always @(posedge clk) begin
        level_reg <= level_next;
        room_reg  <= !level_next[WORD_W];
        if (take) begin
            wr_ptr_reg <= wr_ptr_reg + 1'b1;
            addr_reg   <= addr;
        end
        if (rd_en) begin
            rd_ptr_reg  <= rd_ptr_reg + 1'b1;
            rd_beat_reg <= rd_last ? 8'd0 : rd_beat_reg + 8'd1;
        end
        if (rst) begin
            level_reg   <= {(WORD_W + 1){1'b0}};
            room_reg    <= 1'b0;
            wr_ptr_reg  <= {WORD_W{1'b0}};
            rd_ptr_reg  <= {WORD_W{1'b0}};
            rd_beat_reg <= 8'd0;
        end
    end

    sofa_axi_write #(
        .ADDR_W        (ADDR_W),
        .BUS_BYTES     (BUS_BYTES),
        .OUTSTANDING   (OUTSTANDING),
        .X_OUTSTANDING (X_OUTSTANDING)
    ) write_inst (
        .clk           (clk),
        .rst           (rst),
        .cfg_beats     (last_beat + 8'd1),
        .cfg_last_strb (last_strb),
        .s_valid       (row_valid),
        .s_ready       (row_ready),
        .s_addr        (row_addr),
        .s_last        (row_last),
        .rd_en         (rd_en),
        .rd_last       (rd_last),
        .rd_data       (rd_data),
        .x_valid       (x_valid),
        .x_ready       (x_ready),
        .x_addr        (x_addr[ADDR_W-1:0]),
        .x_data        (x_data),
        .x_strb        (x_strb),
        .halt          (halt),
        .idle          (idle),
        .err_valid     (err_valid),
        .err_protocol  (err_protocol),
        .err_id        (err_id),
        .err_resp      (err_resp),
        .bus_wait      (bus_wait),
        .bus_move      (bus_move),
        .blk_done      (blk_done),
        .x_done        (x_done),
        .ev_beat       (ev_beat),
        .ev_beat_x     (ev_beat_x),
        .ev_stall      (ev_stall),
        .m_axi_awid    (m_axi_awid),
        .m_axi_awaddr  (m_axi_awaddr),
        .m_axi_awlen   (m_axi_awlen),
        .m_axi_awsize  (m_axi_awsize),
        .m_axi_awburst (m_axi_awburst),
        .m_axi_awvalid (m_axi_awvalid),
        .m_axi_awready (m_axi_awready),
        .m_axi_wdata   (m_axi_wdata),
        .m_axi_wstrb   (m_axi_wstrb),
        .m_axi_wlast   (m_axi_wlast),
        .m_axi_wvalid  (m_axi_wvalid),
        .m_axi_wready  (m_axi_wready),
        .m_axi_bid     (m_axi_bid),
        .m_axi_bresp   (m_axi_bresp),
        .m_axi_bvalid  (m_axi_bvalid),
        .m_axi_bready  (m_axi_bready)
    );

endmodule

`resetall
