// SPDX-License-Identifier: Apache-2.0
// AXI4 read master with eight clients, which are its eight IDs.
//
// Why: memory answers after about a hundred cycles with one beat a cycle, so many short bursts
// must be outstanding. Clients 0..3 ask for vectors of a fixed number of beats; what such a client
// wants to know when the data comes (meta) waits in one memory for all four and meets the
// data in the output register, whatever order the IDs return in. Clients 4..7 ask for single
// beats, which they know by their order.
// Not done here: back-pressure on data (RREADY is always high: clients reserve the room before they
// ask), merging of vectors into longer bursts, recovery from an error other than by rst.
// Latency: two cycles from a request to ARVALID, one from RVALID to wr_valid.
// Throughput: one burst and one beat every cycle, OUTSTANDING requests of each of clients 0..3; the
// others limit themselves, to at most 256 each.
// Halt: no AR starts, arriving data is dropped; leave it only by rst, once idle is high.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module axi_read #(
    // AXI address bits, 13..48.
    parameter ADDR_W = 40,
    // Bytes of a bus word, a power of two, 8..64.
    parameter BUS_BYTES = 64,
    // Requests of one of clients 0..3 that can be outstanding, a power of two, 4..256.
    parameter OUTSTANDING = 128,
    // Bits of meta, at least 1.
    parameter META_W = 10
) (
    input  wire                   clk,
    input  wire                   rst,

    // Beats of a vector of clients 0..3, 1..4096/BUS_BYTES; static while anything is outstanding
    input  wire [4*8-1:0]         cfg_beats,

    // Requests of the clients: bit, or slice, 0 Q, 1 K8, 2 K, 3 V, 4 W, 5 R, 6 X, 7 D
    input  wire [7:0]             req_valid,
    output wire [7:0]             req_ready,
    input  wire [8*ADDR_W-1:0]    req_addr,
    input  wire [4*META_W-1:0]    req_meta,
    // See fetch_arb
    input  wire                   q_urgent,
    input  wire                   v_first,

    // Data: one client's bit of wr_valid per beat, the rest is shared; meta, beat and end only
    // mean something to clients 0..3
    output wire [7:0]             wr_valid,
    output wire [META_W-1:0]      wr_meta,
    output wire [7:0]             wr_beat,
    output wire                   wr_end,
    output wire [8*BUS_BYTES-1:0] wr_data,

    // Control
    input  wire                   halt,
    output wire                   idle,
    output wire                   err_valid,
    output wire [2:0]             err_stream,
    output wire [1:0]             err_resp,

    // AXI4 read channels
    output wire [2:0]             m_axi_arid,
    output wire [ADDR_W-1:0]      m_axi_araddr,
    output wire [7:0]             m_axi_arlen,
    output wire [2:0]             m_axi_arsize,
    output wire [1:0]             m_axi_arburst,
    output wire                   m_axi_arvalid,
    input  wire                   m_axi_arready,
    input  wire [2:0]             m_axi_rid,
    input  wire [8*BUS_BYTES-1:0] m_axi_rdata,
    input  wire [1:0]             m_axi_rresp,
    input  wire                   m_axi_rlast,
    input  wire                   m_axi_rvalid,
    output wire                   m_axi_rready
);

    generate
        if (OUTSTANDING < 4 || OUTSTANDING > 256 || OUTSTANDING != (1 << $clog2(OUTSTANDING))
                || META_W < 1) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_axi_read_needs_OUTSTANDING_power_of_two_4_to_256 stop ();
        end
    endgenerate

    localparam PTR_W = $clog2(OUTSTANDING);
    localparam SIZE = $clog2(BUS_BYTES);
    // Bursts on their way: 4 * 256 vectors, which may take two each, and 4 * 256 single beats.
    localparam COUNT_W = 12;

    // -----------------------------------------------------------------------------------------
    // Choice of a request
    // -----------------------------------------------------------------------------------------
    wire [3:0]         full;
    wire [7:0]         grant;
    wire               pick_ready;
    wire [4*PTR_W-1:0] wr_ptr;
    wire [4*PTR_W-1:0] rd_ptr;
    wire [4*8-1:0]     beat;
    wire [3:0]         beat_last;

    wire [2:0]        pick_id   = {grant[7:4] != 4'd0,
                                   grant[2] || grant[3] || grant[6] || grant[7],
                                   grant[1] || grant[3] || grant[5] || grant[7]};
    wire              pick      = grant != 8'd0;
    wire [ADDR_W-1:0] pick_addr = req_addr[pick_id*ADDR_W +: ADDR_W];
    wire [META_W-1:0] pick_meta = req_meta[pick_id[1:0]*META_W +: META_W];
    wire [PTR_W-1:0]  pick_ptr  = wr_ptr[pick_id[1:0]*PTR_W +: PTR_W];

    assign req_ready = grant & {8{pick_ready}};

    fetch_arb arb_inst (
        .clk      (clk),
        .rst      (rst),
        .req      (req_valid & {4'hf, ~full}),
        .grant    (grant),
        .take     (pick && pick_ready),
        .q_urgent (q_urgent),
        .v_first  (v_first)
    );

    // -----------------------------------------------------------------------------------------
    // AR: the skid buffer keeps ARREADY out of the clients' ready
    // -----------------------------------------------------------------------------------------
    wire              ask_valid;
    wire              ask_ready;
    wire [2:0]        ask_id;
    wire [ADDR_W-1:0] ask_addr;
    wire              start;

    skid_buffer #(
        .WIDTH (3 + ADDR_W)
    ) skid_inst (
        .clk     (clk),
        .rst     (rst),
        .s_valid (pick),
        .s_ready (pick_ready),
        .s_data  ({pick_id, pick_addr}),
        .m_valid (ask_valid),
        .m_ready (ask_ready),
        .m_data  ({ask_id, ask_addr})
    );

    wire [7:0] ask_beats = ask_id[2] ? 8'd1 : cfg_beats[ask_id[1:0]*8 +: 8];
    wire [7:0] unused_start_len;
    wire       unused_start_end;

    burst_split #(
        .ADDR_W    (ADDR_W),
        .BUS_BYTES (BUS_BYTES),
        .TAG_W     (3)
    ) split_inst (
        .clk       (clk),
        .rst       (rst),
        .hold      (halt),
        .s_valid   (ask_valid),
        .s_ready   (ask_ready),
        .s_addr    (ask_addr),
        .s_beats   (ask_beats),
        .s_tag     (ask_id),
        .m_valid   (m_axi_arvalid),
        .m_ready   (m_axi_arready),
        .m_addr    (m_axi_araddr),
        .m_len     (m_axi_arlen),
        .m_tag     (m_axi_arid),
        .start     (start),
        .start_len (unused_start_len),
        .start_end (unused_start_end)
    );

    assign m_axi_arsize  = SIZE[2:0];
    assign m_axi_arburst = 2'b01;
    assign m_axi_rready  = 1'b1;

    // -----------------------------------------------------------------------------------------
    // Outstanding vectors
    // -----------------------------------------------------------------------------------------
    genvar c;
    generate
        for (c = 0; c < 4; c = c + 1) begin : g_client
            localparam [2:0] ID = c;

            axi_read_track #(
                .OUTSTANDING (OUTSTANDING)
            ) track_inst (
                .clk        (clk),
                .rst        (rst),
                .beats      (cfg_beats[c*8 +: 8]),
                .push       (grant[c] && pick_ready),
                .full       (full[c]),
                .wr_ptr     (wr_ptr[c*PTR_W +: PTR_W]),
                .beat_valid (m_axi_rvalid && m_axi_rid == ID),
                .rd_ptr     (rd_ptr[c*PTR_W +: PTR_W]),
                .beat       (beat[c*8 +: 8]),
                .last       (beat_last[c])
            );
        end
    endgenerate

    ram_1r1w #(
        .WIDTH (META_W),
        .DEPTH (4 * OUTSTANDING)
    ) meta_inst (
        .clk     (clk),
        .wr_en   (pick && pick_ready && !pick_id[2]),
        .wr_addr ({pick_id[1:0], pick_ptr}),
        .wr_data (pick_meta),
        .rd_en   (m_axi_rvalid && !m_axi_rid[2]),
        .rd_addr ({m_axi_rid[1:0], rd_ptr[m_axi_rid[1:0]*PTR_W +: PTR_W]}),
        .rd_data (wr_meta)
    );

    // -----------------------------------------------------------------------------------------
    // Data out, errors, idle
    // -----------------------------------------------------------------------------------------
    reg [7:0]             wr_valid_reg, wr_valid_next;
    reg [7:0]             wr_beat_reg, wr_beat_next;
    reg                   wr_end_reg, wr_end_next;
    reg [8*BUS_BYTES-1:0] wr_data_reg;
    reg                   err_valid_reg, err_valid_next;
    reg [2:0]             err_stream_reg, err_stream_next;
    reg [1:0]             err_resp_reg, err_resp_next;
    // An error was reported; further ones are not.
    reg                   err_seen_reg, err_seen_next;
    // Bursts started and not yet answered.
    reg [COUNT_W-1:0]     count_reg, count_next;
    reg                   idle_reg, idle_next;

    wire finish = m_axi_rvalid && m_axi_rlast;

    assign wr_valid   = wr_valid_reg;
    assign wr_beat    = wr_beat_reg;
    assign wr_end     = wr_end_reg;
    assign wr_data    = wr_data_reg;
    assign err_valid  = err_valid_reg;
    assign err_stream = err_stream_reg;
    assign err_resp   = err_resp_reg;
    assign idle       = idle_reg;

    // Selected outside the clocked block: Icarus cannot select in an always block.
    wire [7:0] beat_now = beat[m_axi_rid[1:0]*8 +: 8];
    wire       last_now = beat_last[m_axi_rid[1:0]];

    always @* begin
        wr_valid_next   = 8'd0;
        wr_beat_next    = wr_beat_reg;
        wr_end_next     = wr_end_reg;
        err_valid_next  = 1'b0;
        err_stream_next = err_stream_reg;
        err_resp_next   = err_resp_reg;
        err_seen_next   = err_seen_reg;
        count_next      = count_reg;

        if (m_axi_rvalid) begin
            wr_valid_next = halt ? 8'd0 : 8'd1 << m_axi_rid;
            wr_beat_next  = beat_now;
            wr_end_next   = last_now;
            if (m_axi_rresp[1] && !err_seen_reg) begin
                err_valid_next  = 1'b1;
                err_stream_next = m_axi_rid;
                err_resp_next   = m_axi_rresp;
                err_seen_next   = 1'b1;
            end
        end
        if (start && !finish) begin
            count_next = count_reg + 1'b1;
        end else if (finish && !start) begin
            count_next = count_reg - 1'b1;
        end
        idle_next = count_next == {COUNT_W{1'b0}};
    end

    always @(posedge clk) begin
        wr_valid_reg   <= wr_valid_next;
        wr_beat_reg    <= wr_beat_next;
        wr_end_reg     <= wr_end_next;
        err_valid_reg  <= err_valid_next;
        err_stream_reg <= err_stream_next;
        err_resp_reg   <= err_resp_next;
        err_seen_reg   <= err_seen_next;
        count_reg      <= count_next;
        idle_reg       <= idle_next;
        if (m_axi_rvalid) begin
            wr_data_reg <= m_axi_rdata;
        end

        if (rst) begin
            wr_valid_reg  <= 8'd0;
            err_valid_reg <= 1'b0;
            err_seen_reg  <= 1'b0;
            count_reg     <= {COUNT_W{1'b0}};
            idle_reg      <= 1'b1;
        end
    end

endmodule

`resetall
