// SPDX-License-Identifier: Apache-2.0
// Makes every write of the machine: the output rows of finished blocks, and single beats of x.
//
// Why: takes a block at SU-FA's pace, one element of all rows a cycle, into one corner
// buffer and writes it out row by row at the bus's pace, so SU-FA can go on with the next
// block at once. The stages which make K8, K and V write theirs through the x port, beat by beat.
// Not done here: a second buffer; a block which comes while the one before is still being read out
// waits (ROWS * beats cycles, less than a block's compute time).
// Latency: from the last element, or a beat of x, to AWVALID 2 cycles, to WVALID 4.
// Throughput: one element of all rows in, one bus word out every cycle; axi_write shares the bus.
// Halt: no AW starts, owed beats go out without strobes, no blk_done, no x_done; leave it only by
// rst, once idle is high.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module store #(
    // Query rows in parallel, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 64,
    // Bytes of a bus word, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // AXI address bits, 32..48.
    parameter ADDR_W = 40,
    // Bursts of O which can be unanswered, 2..256. The default hides 100 cycles with rows of four
    // beats.
    parameter OUTSTANDING = 32,
    // Beats of x which can be unanswered, 2..256.
    parameter X_OUTSTANDING = 128
) (
    input  wire                   clk,
    input  wire                   rst,

    // Job, static
    input  wire [8:0]             cfg_d,
    input  wire [31:0]            cfg_o_stride,

    // Block: element o_elem of all rows, in order; o_addr and o_rows stay for the whole block
    input  wire                   o_valid,
    output wire                   o_ready,
    input  wire [7:0]             o_elem,
    input  wire [ROWS*16-1:0]     o_data,
    input  wire                   o_last,
    input  wire [47:0]            o_addr,
    input  wire [7:0]             o_rows,

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
        if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || D_MAX < 16
                || D_MAX > 256 || D_MAX < BUS_BYTES || D_MAX != (1 << $clog2(D_MAX))
                || ADDR_W < 32 || ADDR_W > 48) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_store_needs_the_ranges_of_docs_architecture_md_section_2 stop ();
        end
        if (ADDR_W < 48) begin : g_unused_addr
            wire unused_addr = &{1'b0, o_addr[47:ADDR_W], x_addr[47:ADDR_W]};
        end
        if (D_MAX < 256) begin : g_unused_elem
            wire unused_elem = &{1'b0, o_elem[7:ELEM_W]};
        end
    endgenerate

    localparam BEAT = BUS_BYTES / 2;
    localparam ROW_W = $clog2(ROWS);
    localparam ELEM_W = $clog2(D_MAX);
    localparam LANE_W = $clog2(BUS_BYTES);
    localparam BEAT_W = ELEM_W - LANE_W + 1;

    // Number of the last byte of a row; in it, of the last beat and of that beat's last byte.
    wire [9:0]           last_byte = {cfg_d, 1'b0} - 10'd1;
    wire [7:0]           last_beat;
    wire [LANE_W-1:0]    last_lane = last_byte[LANE_W-1:0];
    wire [BUS_BYTES-1:0] last_strb = ~({{(BUS_BYTES - 1){1'b1}}, 1'b0} << last_lane);

    assign last_beat = {{(LANE_W - 2){1'b0}}, last_byte[9:LANE_W]};

    // The buffer holds a block of which not every beat has been read out.
    reg              full_reg, full_next;
    // Next row to ask for.
    reg              row_valid_reg, row_valid_next;
    reg [ADDR_W-1:0] addr_reg, addr_next;
    reg [7:0]        left_reg, left_next;
    // Next beat to read.
    reg [7:0]        rd_left_reg, rd_left_next;
    reg [ROW_W-1:0]  rd_row_reg, rd_row_next;
    reg [7:0]        rd_beat_reg, rd_beat_next;

    wire                   take = o_valid && !full_reg;
    wire                   row_ready;
    wire                   row_last = left_reg == 8'd1;
    wire                   rd_en;
    wire                   rd_last = rd_beat_reg == last_beat;
    wire [8*BUS_BYTES-1:0] rd_data;

    assign o_ready = !full_reg;

    out_buffer #(
        .ROWS  (ROWS),
        .D_MAX (D_MAX),
        .BEAT  (BEAT)
    ) buffer_inst (
        .clk     (clk),
        .wr_en   (take),
        .wr_elem (o_elem[ELEM_W-1:0]),
        .wr_data (o_data),
        .rd_en   (rd_en),
        .rd_row  (rd_row_reg),
        .rd_beat (rd_beat_reg[BEAT_W-1:0]),
        .rd_data (rd_data)
    );

    axi_write #(
        .ADDR_W        (ADDR_W),
        .BUS_BYTES     (BUS_BYTES),
        .OUTSTANDING   (OUTSTANDING),
        .X_OUTSTANDING (X_OUTSTANDING)
    ) write_inst (
        .clk           (clk),
        .rst           (rst),
        .cfg_beats     (last_beat + 8'd1),
        .cfg_last_strb (last_strb),
        .s_valid       (row_valid_reg),
        .s_ready       (row_ready),
        .s_addr        (addr_reg),
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

    always @* begin
        full_next      = full_reg;
        row_valid_next = row_valid_reg;
        addr_next      = addr_reg;
        left_next      = left_reg;
        rd_left_next   = rd_left_reg;
        rd_row_next    = rd_row_reg;
        rd_beat_next   = rd_beat_reg;

        if (row_valid_reg && row_ready) begin
            row_valid_next = !row_last;
            addr_next      = addr_reg + {{(ADDR_W - 32){1'b0}}, cfg_o_stride};
            left_next      = left_reg - 8'd1;
        end
        if (rd_en) begin
            rd_beat_next = rd_last ? 8'd0 : rd_beat_reg + 8'd1;
            if (rd_last) begin
                rd_row_next  = rd_row_reg + 1'b1;
                rd_left_next = rd_left_reg - 8'd1;
                full_next    = rd_left_reg != 8'd1;
            end
        end
        if (take && o_last) begin
            full_next      = 1'b1;
            row_valid_next = 1'b1;
            addr_next      = o_addr[ADDR_W-1:0];
            left_next      = o_rows;
            rd_left_next   = o_rows;
            rd_row_next    = {ROW_W{1'b0}};
            rd_beat_next   = 8'd0;
        end
    end

    always @(posedge clk) begin
        full_reg      <= full_next;
        row_valid_reg <= row_valid_next;
        addr_reg      <= addr_next;
        left_reg      <= left_next;
        rd_left_reg   <= rd_left_next;
        rd_row_reg    <= rd_row_next;
        rd_beat_reg   <= rd_beat_next;

        if (rst) begin
            full_reg      <= 1'b0;
            row_valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
