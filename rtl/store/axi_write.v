// SPDX-License-Identifier: Apache-2.0
// AXI4 write master for vectors of equal length.
//
// Why: one burst per vector (two across a 4 KiB boundary) with many outstanding keeps W full
// although memory answers late. Data is pulled, one read a beat, from a memory that answers
// one cycle after rd_en.
// Not done here: byte alignment, reordering (one ID), recovery from an error other than by rst.
// Latency: one cycle from s_valid to AWVALID, three to WVALID.
// Throughput: one burst and one beat every cycle, OUTSTANDING bursts unanswered.
// Halt: no AW starts; beats owed to bursts which have started go out without strobes. Leave it
// only by rst, once idle is high.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module axi_write #(
    // AXI address bits, 13..48.
    parameter ADDR_W = 40,
    // Bytes of a bus word, a power of two, 8..64.
    parameter BUS_BYTES = 64,
    // Bursts which can be unanswered, 2..256.
    parameter OUTSTANDING = 32
) (
    input  wire                   clk,
    input  wire                   rst,

    // Beats of a vector, and the strobes of its last one; static while not idle
    input  wire [7:0]             cfg_beats,
    input  wire [BUS_BYTES-1:0]   cfg_last_strb,

    // Vector to write; s_last: of its block
    input  wire                   s_valid,
    output wire                   s_ready,
    input  wire [ADDR_W-1:0]      s_addr,
    input  wire                   s_last,

    // Data: beats in order, rd_data one cycle after rd_en and held. rd_last: the beat asked for is
    // the last one of its vector.
    output wire                   rd_en,
    input  wire                   rd_last,
    input  wire [8*BUS_BYTES-1:0] rd_data,

    // Control
    input  wire                   halt,
    output wire                   idle,
    output wire                   err_valid,
    output wire [1:0]             err_resp,
    // Every burst of a block was answered OK
    output wire                   blk_done,

    // Events: a beat was taken; memory keeps W or AW waiting
    output wire                   ev_beat,
    output wire                   ev_stall,

    // AXI4 write channels
    output wire [1:0]             m_axi_awid,
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
    input  wire [1:0]             m_axi_bid,
    input  wire [1:0]             m_axi_bresp,
    input  wire                   m_axi_bvalid,
    output wire                   m_axi_bready
);

    generate
        if (OUTSTANDING < 2 || OUTSTANDING > 256) begin : g_illegal
            // No such module exists: elaboration stops here and names this instance.
            illegal_parameter_axi_write_needs_OUTSTANDING_2_to_256 stop ();
        end
    endgenerate

    localparam SIZE = $clog2(BUS_BYTES);
    localparam LEVEL_W = $clog2(OUTSTANDING + 1);

    // -----------------------------------------------------------------------------------------
    // AW
    // -----------------------------------------------------------------------------------------
    wire       start;
    wire [7:0] start_len;
    wire       start_end;
    wire       room;
    wire       unused_tag;

    burst_split #(
        .ADDR_W    (ADDR_W),
        .BUS_BYTES (BUS_BYTES),
        .TAG_W     (1)
    ) split_inst (
        .clk       (clk),
        .rst       (rst),
        .hold      (halt || !room),
        .s_valid   (s_valid),
        .s_ready   (s_ready),
        .s_addr    (s_addr),
        .s_beats   (cfg_beats),
        .s_tag     (1'b0),
        .m_valid   (m_axi_awvalid),
        .m_ready   (m_axi_awready),
        .m_addr    (m_axi_awaddr),
        .m_len     (m_axi_awlen),
        .m_tag     (unused_tag),
        .start     (start),
        .start_len (start_len),
        .start_end (start_end)
    );

    assign m_axi_awid    = 2'd0;
    assign m_axi_awsize  = SIZE[2:0];
    assign m_axi_awburst = 2'b01;
    assign m_axi_bready  = 1'b1;

    // -----------------------------------------------------------------------------------------
    // Bursts which owe data, and bursts which are not answered (they limit the former, too)
    // -----------------------------------------------------------------------------------------
    wire               owe_valid;
    wire               owe_pop;
    wire [7:0]         owe_len;
    wire               open_valid;
    wire               open_last;
    wire               unused_owe_ready;
    wire [LEVEL_W-1:0] unused_owe_level;
    wire [LEVEL_W-1:0] unused_open_level;

    sync_fifo #(
        .WIDTH (8),
        .DEPTH (OUTSTANDING)
    ) owe_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (start),
        .s_ready (unused_owe_ready),
        .s_data  (start_len),
        .m_valid (owe_valid),
        .m_ready (owe_pop),
        .m_data  (owe_len),
        .level   (unused_owe_level)
    );

    sync_fifo #(
        .WIDTH (1),
        .DEPTH (OUTSTANDING)
    ) open_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (start),
        .s_ready (room),
        .s_data  (s_last && start_end),
        .m_valid (open_valid),
        .m_ready (m_axi_bvalid),
        .m_data  (open_last),
        .level   (unused_open_level)
    );

    assign idle = !open_valid;

    // -----------------------------------------------------------------------------------------
    // W: ask for a beat; have it in the memory's output register; offer it
    // -----------------------------------------------------------------------------------------
    reg [7:0]             beat_reg, beat_next;
    reg                   have_valid_reg, have_valid_next;
    reg                   have_last_reg, have_last_next;
    reg                   have_part_reg, have_part_next;
    reg                   w_valid_reg, w_valid_next;
    reg                   w_last_reg, w_last_next;
    reg [BUS_BYTES-1:0]   w_strb_reg, w_strb_next;
    reg [8*BUS_BYTES-1:0] w_data_reg;

    wire w_en     = !w_valid_reg || m_axi_wready;
    wire have_en  = !have_valid_reg || w_en;
    wire burst_end = beat_reg == owe_len;
    wire w_load   = w_en && have_valid_reg;

    wire [BUS_BYTES-1:0]   strb = halt ? {BUS_BYTES{1'b0}}
                                       : have_part_reg ? cfg_last_strb : {BUS_BYTES{1'b1}};
    wire [8*BUS_BYTES-1:0] data;

    // Bytes without a strobe are old contents of the buffer: they do not leave the chip.
    genvar i;
    generate
        for (i = 0; i < BUS_BYTES; i = i + 1) begin : g_byte
            assign data[8*i +: 8] = strb[i] ? rd_data[8*i +: 8] : 8'd0;
        end
    endgenerate

    assign rd_en   = owe_valid && have_en;
    assign owe_pop = rd_en && burst_end;

    assign m_axi_wvalid = w_valid_reg;
    assign m_axi_wlast  = w_last_reg;
    assign m_axi_wstrb  = w_strb_reg;
    assign m_axi_wdata  = w_data_reg;

    assign ev_beat  = w_valid_reg && m_axi_wready;
    assign ev_stall = w_valid_reg ? !m_axi_wready : s_valid && !start && !halt;

    always @* begin
        beat_next       = beat_reg;
        have_valid_next = have_valid_reg;
        have_last_next  = have_last_reg;
        have_part_next  = have_part_reg;
        w_valid_next    = w_valid_reg;
        w_last_next     = w_last_reg;
        w_strb_next     = w_strb_reg;

        if (w_en) begin
            w_valid_next = have_valid_reg;
        end
        if (w_load) begin
            w_last_next = have_last_reg;
            w_strb_next = strb;
        end
        if (have_en) begin
            have_valid_next = rd_en;
        end
        if (rd_en) begin
            have_last_next = burst_end;
            have_part_next = rd_last;
            beat_next      = burst_end ? 8'd0 : beat_reg + 8'd1;
        end
    end

    // -----------------------------------------------------------------------------------------
    // B
    // -----------------------------------------------------------------------------------------
    reg       err_valid_reg, err_valid_next;
    reg [1:0] err_resp_reg, err_resp_next;
    // An error was reported; nothing is reported after it.
    reg       err_seen_reg, err_seen_next;
    reg       blk_done_reg, blk_done_next;

    wire unused_bid = &{1'b0, m_axi_bid};

    assign err_valid = err_valid_reg;
    assign err_resp  = err_resp_reg;
    assign blk_done  = blk_done_reg;

    always @* begin
        err_valid_next = 1'b0;
        err_resp_next  = err_resp_reg;
        err_seen_next  = err_seen_reg;
        blk_done_next  = 1'b0;

        if (m_axi_bvalid && !err_seen_reg) begin
            if (m_axi_bresp[1]) begin
                err_valid_next = 1'b1;
                err_resp_next  = m_axi_bresp;
                err_seen_next  = 1'b1;
            end else begin
                blk_done_next = open_last && !halt;
            end
        end
    end

    always @(posedge clk) begin
        beat_reg       <= beat_next;
        have_valid_reg <= have_valid_next;
        have_last_reg  <= have_last_next;
        have_part_reg  <= have_part_next;
        w_valid_reg    <= w_valid_next;
        w_last_reg     <= w_last_next;
        w_strb_reg     <= w_strb_next;
        err_valid_reg  <= err_valid_next;
        err_resp_reg   <= err_resp_next;
        err_seen_reg   <= err_seen_next;
        blk_done_reg   <= blk_done_next;
        if (w_load) begin
            w_data_reg <= data;
        end

        if (rst) begin
            beat_reg       <= 8'd0;
            have_valid_reg <= 1'b0;
            w_valid_reg    <= 1'b0;
            err_valid_reg  <= 1'b0;
            err_seen_reg   <= 1'b0;
            blk_done_reg   <= 1'b0;
        end
    end

endmodule

`resetall
