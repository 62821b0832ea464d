// SPDX-License-Identifier: Apache-2.0
// AXI4 read master with eight clients, which are its eight IDs.
//
// Why: memory answers after about a hundred cycles with one beat a cycle, so many short bursts
// must be outstanding. Clients 0..3 ask for vectors of a fixed number of beats; what such a client
// wants to know when the data comes (meta) waits in one memory for all four and meets the
// data in the output register, whatever order the IDs return in. Clients 4..7 ask for single
// beats, which they know by their order.
// What memory owes is counted for each ID, so a beat that nobody asked for is dropped before any
// client sees it; the place of RLAST is compared with where the burst ends.
// Not done here: back-pressure on data (RREADY is always high: clients reserve the room before they
// ask), merging of vectors into longer bursts, recovery from an error other than by rst.
// Latency: two cycles from a request to ARVALID, one from RVALID to wr_valid.
// Throughput: one burst and one beat every cycle, OUTSTANDING requests of each of clients 0..3; the
// others limit themselves, to at most 256 each.
// Halt: no AR starts, arriving data is dropped; leave it only by rst, once idle is high.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_axi_read #(
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
    // See sofa_fetch_arb
    input  wire                   q_later,
    input  wire                   k8_later,

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
    // Fault of a beat. err_protocol: nobody asked for it, or its RLAST is wrong; else see err_resp
    output wire                   err_valid,
    output wire                   err_protocol,
    output wire [2:0]             err_stream,
    output wire [1:0]             err_resp,

    // What the memory has to do, bit 0: take AR, 1: send data. It did some of it in this cycle
    output wire [1:0]             bus_wait,
    output wire                   bus_move,

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
            illegal_parameter_sofa_axi_read_needs_OUTSTANDING_power_of_two_4_to_256 stop ();
        end
    endgenerate

    localparam PTR_W = $clog2(OUTSTANDING);
    localparam SIZE = $clog2(BUS_BYTES);
    // Bits of a bus word's number within 4 KiB.
    localparam WORD_W = 12 - SIZE;

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

    sofa_fetch_arb arb_inst (
        .clk      (clk),
        .rst      (rst),
        .req      (req_valid & {4'hf, ~full}),
        .grant    (grant),
        .take     (pick && pick_ready),
        .q_later  (q_later),
        .k8_later (k8_later)
    );

    // -----------------------------------------------------------------------------------------
    // AR: the skid buffer keeps ARREADY out of the clients' ready
    // -----------------------------------------------------------------------------------------
    wire              ask_valid;
    wire              ask_ready;
    wire [2:0]        ask_id;
    wire [ADDR_W-1:0] ask_addr;

    sofa_skid_buffer #(
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
    wire       unused_start;
    wire [7:0] unused_start_len;
    wire       unused_start_end;

    sofa_burst_split #(
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
        .start     (unused_start),
        .start_len (unused_start_len),
        .start_end (unused_start_end)
    );

    assign m_axi_arsize  = SIZE[2:0];
    assign m_axi_arburst = 2'b01;
    assign m_axi_rready  = 1'b1;

    // -----------------------------------------------------------------------------------------
    // Beats that memory owes, by ID; a beat that is not owed goes no further than here
    // -----------------------------------------------------------------------------------------
    wire [7:0] owed;
    wire       ar_take = m_axi_arvalid && m_axi_arready;
    wire       beat_valid = m_axi_rvalid && owed[m_axi_rid];

    genvar c;
    generate
        for (c = 0; c < 8; c = c + 1) begin : g_owed
            localparam [2:0] ID = c;
            // 256 vectors of up to 255 beats; 256 single beats.
            localparam COUNT_W = c < 4 ? 16 : 9;

            sofa_owed_count #(
                .WIDTH (COUNT_W)
            ) owed_inst (
                .clk   (clk),
                .rst   (rst),
                .add   (ar_take && m_axi_arid == ID),
                .extra ({{(COUNT_W - 8){1'b0}}, m_axi_arlen}),
                .take  (beat_valid && m_axi_rid == ID),
                .some  (owed[c])
            );
        end
    endgenerate

    assign idle     = !m_axi_arvalid && owed == 8'd0;
    assign bus_wait = {owed != 8'd0, m_axi_arvalid};
    assign bus_move = ar_take || beat_valid;

    // -----------------------------------------------------------------------------------------
    // Outstanding vectors
    // -----------------------------------------------------------------------------------------
    generate
        for (c = 0; c < 4; c = c + 1) begin : g_client
            localparam [2:0] ID = c;

            sofa_axi_read_track #(
                .OUTSTANDING (OUTSTANDING)
            ) track_inst (
                .clk        (clk),
                .rst        (rst),
                .beats      (cfg_beats[c*8 +: 8]),
                .push       (grant[c] && pick_ready),
                .full       (full[c]),
                .wr_ptr     (wr_ptr[c*PTR_W +: PTR_W]),
                .beat_valid (beat_valid && m_axi_rid == ID),
                .rd_ptr     (rd_ptr[c*PTR_W +: PTR_W]),
                .beat       (beat[c*8 +: 8]),
                .last       (beat_last[c])
            );
        end
    endgenerate

    // What is written comes a cycle late: no beat of the vector can come sooner.
    reg                     meta_wr_reg;
    reg [PTR_W+1:0]         meta_addr_reg;
    reg [META_W+WORD_W-1:0] meta_data_reg;

    // A vector's burst ends at a page's last word, if it reaches one: beat number rd_cut.
    wire [WORD_W-1:0] pick_cut = ~pick_addr[11:SIZE];
    wire [WORD_W-1:0] rd_cut;

    sofa_ram_1r1w #(
        .WIDTH (META_W + WORD_W),
        .DEPTH (4 * OUTSTANDING)
    ) meta_inst (
        .clk     (clk),
        .wr_en   (meta_wr_reg),
        .wr_addr (meta_addr_reg),
        .wr_data (meta_data_reg),
        .rd_en   (beat_valid && !m_axi_rid[2]),
        .rd_addr ({m_axi_rid[1:0], rd_ptr[m_axi_rid[1:0]*PTR_W +: PTR_W]}),
        .rd_data ({rd_cut, wr_meta})
    );

    // -----------------------------------------------------------------------------------------
    // Data out, errors
    // -----------------------------------------------------------------------------------------
    reg [7:0]             wr_valid_reg, wr_valid_next;
    reg [7:0]             wr_beat_reg, wr_beat_next;
    reg                   wr_end_reg, wr_end_next;
    reg [8*BUS_BYTES-1:0] wr_data_reg;
    // Of the beat in the output register.
    reg [2:0]             id_reg;
    reg                   last_reg;
    reg                   err_valid_reg, err_valid_next;
    reg                   err_protocol_reg, err_protocol_next;
    reg [2:0]             err_stream_reg, err_stream_next;
    reg [1:0]             err_resp_reg, err_resp_next;

    assign wr_valid     = wr_valid_reg;
    assign wr_beat      = wr_beat_reg;
    assign wr_end       = wr_end_reg;
    assign wr_data      = wr_data_reg;
    assign err_valid    = err_valid_reg;
    assign err_protocol = err_protocol_reg;
    assign err_stream   = err_stream_reg;
    assign err_resp     = err_resp_reg;

    // Whether the burst of the beat in the output register ends with it.
    wire [9:0] cut      = {{(10 - WORD_W){1'b0}}, rd_cut};
    wire       last_due = id_reg[2] || wr_end_reg || cut == {2'b00, wr_beat_reg};

    // Selected outside the clocked block: Icarus cannot select in an always block.
    wire [7:0] beat_now = beat[m_axi_rid[1:0]*8 +: 8];
    wire       last_now = beat_last[m_axi_rid[1:0]];

    always @* begin
        wr_valid_next     = 8'd0;
        wr_beat_next      = wr_beat_reg;
        wr_end_next       = wr_end_reg;
        err_valid_next    = 1'b0;
        err_protocol_next = err_protocol_reg;
        err_stream_next   = err_stream_reg;
        err_resp_next     = err_resp_reg;

        if (beat_valid) begin
            wr_valid_next = halt ? 8'd0 : 8'd1 << m_axi_rid;
            wr_beat_next  = beat_now;
            wr_end_next   = last_now;
        end
        if (m_axi_rvalid && (!beat_valid || m_axi_rresp[1])) begin
            err_valid_next    = 1'b1;
            err_protocol_next = !beat_valid;
            err_stream_next   = m_axi_rid;
            err_resp_next     = m_axi_rresp;
        end
        // The place of RLAST is known a cycle later: this is the older beat.
        if (wr_valid_reg != 8'd0 && last_reg != last_due) begin
            err_valid_next    = 1'b1;
            err_protocol_next = 1'b1;
            err_stream_next   = id_reg;
        end
    end

    always @(posedge clk) begin
        wr_valid_reg     <= wr_valid_next;
        wr_beat_reg      <= wr_beat_next;
        wr_end_reg       <= wr_end_next;
        err_valid_reg    <= err_valid_next;
        err_protocol_reg <= err_protocol_next;
        err_stream_reg   <= err_stream_next;
        err_resp_reg     <= err_resp_next;
        meta_wr_reg      <= pick && pick_ready && !pick_id[2];
        meta_addr_reg    <= {pick_id[1:0], pick_ptr};
        meta_data_reg    <= {pick_cut, pick_meta};
        if (beat_valid) begin
            wr_data_reg <= m_axi_rdata;
            id_reg      <= m_axi_rid;
            last_reg    <= m_axi_rlast;
        end

        if (rst) begin
            wr_valid_reg  <= 8'd0;
            err_valid_reg <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // An arbitrary client, all of whose requests lie in an arbitrary window; beats it is owed
    (* anyconst *) wire [2:0]        f_id;
    (* anyconst *) wire [ADDR_W-1:0] f_first;
    (* anyconst *) wire [ADDR_W-1:0] f_last;
    reg  [15:0]       f_owed = 16'd0;
    wire [ADDR_W-1:0] f_addr = req_addr[f_id*ADDR_W +: ADDR_W];
    wire [7:0]        f_beats = f_id[2] ? 8'd1 : cfg_beats[f_id[1:0]*8 +: 8];
    wire              f_due = m_axi_rvalid && m_axi_rid == f_id;
    integer           f_c;

    axi_address_rules #(
        .ADDR_W    (ADDR_W),
        .BUS_BYTES (BUS_BYTES),
        .IDS       (8)
    ) rules_inst (
        .clk     (clk),
        .rst     (rst),
        .hold    (halt),
        .id      (m_axi_arid),
        .addr    (m_axi_araddr),
        .len     (m_axi_arlen),
        .size    (m_axi_arsize),
        .burst   (m_axi_arburst),
        .valid   (m_axi_arvalid),
        .ready   (m_axi_arready),
        .f_id    (f_id),
        .f_first (f_first),
        .f_last  (f_last)
    );

    always @* begin
        // Clients ask for whole bus words, all of them in the window.
        for (f_c = 0; f_c < 8; f_c = f_c + 1) begin
            assume (req_addr[f_c*ADDR_W +: SIZE] == 0);
        end
        assume (f_first <= f_last && f_last < {1'b1, {(ADDR_W - 1){1'b0}}});
        assume (!req_valid[f_id] || (f_addr >= f_first && f_addr <= f_last
                && {8'd0, f_beats} * BUS_BYTES - 1 <= f_last - f_addr));
        for (f_c = 0; f_c < 4; f_c = f_c + 1) begin
            assume (cfg_beats[f_c*8 +: 8] != 0 && cfg_beats[f_c*8 +: 8] <= 4096 / BUS_BYTES);
        end
    end

    always @(posedge clk) begin
        started <= 1'b1;
        f_owed  <= rst ? 16'd0 : f_owed + (ar_take && m_axi_arid == f_id ? m_axi_arlen + 16'd1 : 0)
                                 - (f_due && f_owed != 0);
        if (started) begin
            assume (cfg_beats == $past(cfg_beats));
            // Halt is left by a reset only.
            assume (halt || !$past(halt) || $past(rst));
        end

        if (started) begin
            // 1. A client gets exactly the beats it is owed, and none on halt.
            assert (owed[f_id] == (f_owed != 0));
            assert (wr_valid[f_id] == $past(f_due && f_owed != 0 && !halt && !rst));
            assert ((wr_valid & (wr_valid - 8'd1)) == 8'd0);
            // 2. It gets them as they came.
            assert (wr_valid == 0 || wr_data == $past(m_axi_rdata));
            // 3. A beat that nobody is owed, and a bad answer, are reported.
            if ($past(!rst && f_due && f_owed == 0)) begin
                assert (err_valid && err_protocol);
            end
            if ($past(!rst && m_axi_rvalid && m_axi_rresp[1])) begin
                assert (err_valid);
            end
            // 4. Idle is when nothing is offered or owed.
            assert (!idle || (!m_axi_arvalid && f_owed == 0));

            cover (wr_valid[2] && wr_end && wr_beat == 8'd2 && !err_valid && $past(!err_valid));
            cover (err_valid && err_protocol && f_owed != 0);
            cover (wr_valid[7] && f_id == 3'd7 && idle);
        end
    end
`endif

endmodule

`resetall
