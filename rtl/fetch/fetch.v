// SPDX-License-Identifier: Apache-2.0
// Makes every read of the machine: Q, K8, K and V into the rings of the stages, and four streams.
//
// Why: the one place which knows where operands lie and which order of reads keeps the stages fed
// (fetch_arb). Seven clients make requests, axi_read carries them out; a request is made only
// when its ring has a free buffer, or its FIFO a free word, so data never waits.
// Not done here: address arithmetic of blocks and heads (seq), reordering of elements (the rings).
// Latency: 3 (Q, K8, streams) or 6 (K) cycles from command to ARVALID; from RVALID 1 to the
// write port, 2 from the last beat to the commit, 3 to d_valid of a stream.
// Throughput: one burst and one beat every cycle.
// Write ports share one data register: q_wr_data, k8_wr_data, k_wr_data and v_wr_data are the same.
// Halt: no AR starts and data is dropped; leave it only by rst, once idle is high.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module fetch #(
    // Query rows in parallel, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Largest head dimension, a power of two, 16..256.
    parameter D_MAX = 64,
    // Slots of a tile, a power of two, 8..64.
    parameter BC_MAX = 32,
    // Slots of a K or V buffer, a power of two, max(BUS_BYTES/2, 8)..BC_MAX.
    parameter KV_SLOTS = 16,
    // Bytes of a bus word, a power of two, 8..64, at most D_MAX.
    parameter BUS_BYTES = 16,
    // AXI address bits, 32..48.
    parameter ADDR_W = 40,
    // Buffers of the K8 ring, 2..4.
    parameter K8_BUFS = 2,
    // Buffers of the K ring and of the V ring, 2..4.
    parameter KV_BUFS = 2,
    // Vectors of each ring that can be outstanding, a power of two, 4..256. Worth the memory's
    // latency in vectors; the default keeps the bus full at 100 cycles even with single beats.
    parameter OUTSTANDING = 128,
    // Words of the FIFO of a stream, a power of two, 4..256: what it can have on its way. W carries
    // weight codes, R rows of the RoPE table, X what KVGEN reads, D job descriptors.
    parameter W_DEPTH = 128,
    parameter R_DEPTH = 64,
    parameter X_DEPTH = 128,
    parameter D_DEPTH = 8,
    // Bits of ports. Derived: leave at their defaults.
    parameter ROW_W = $clog2(ROWS),
    parameter SLOT_W = $clog2(BC_MAX),
    parameter KSLOT_W = $clog2(KV_SLOTS)
) (
    input  wire                       clk,
    input  wire                       rst,

    // Job, static
    input  wire [8:0]                 cfg_d,
    input  wire                       cfg_dense,
    // K8 vectors are exactly one beat, and blocks have no Q
    input  wire                       cfg_predict,
    input  wire [31:0]                cfg_q_stride,

    // Command: Q of a block
    input  wire                       qc_valid,
    output wire                       qc_ready,
    input  wire [47:0]                qc_addr,
    input  wire [7:0]                 qc_rows,

    // Command: K8 of a tile
    input  wire                       tc_valid,
    output wire                       tc_ready,
    input  wire [47:0]                tc_k8addr,
    input  wire [31:0]                tc_k8inc,
    input  wire [`TD_W-1:0]           tc_td,

    // Q ring
    output wire                       q_wr_valid,
    output wire                       q_wr_buf,
    output wire [ROW_W-1:0]           q_wr_row,
    output wire [7:0]                 q_wr_beat,
    output wire [8*BUS_BYTES-1:0]     q_wr_data,
    output wire                       q_commit,
    input  wire                       q_release_dlzs,
    input  wire                       q_release_sufa,

    // K8 ring
    output wire                       k8_wr_valid,
    output wire [1:0]                 k8_wr_buf,
    output wire [SLOT_W-1:0]          k8_wr_slot,
    output wire [7:0]                 k8_wr_beat,
    output wire [8*BUS_BYTES-1:0]     k8_wr_data,
    output wire                       k8_t_valid,
    input  wire                       k8_t_ready,
    output wire [`TD_W-1:0]           k8_t_td,
    input  wire                       k8_release,

    // Tile to gather: slot u_slots[s] into buffer slot s for every s in u_mask
    input  wire                       u_valid,
    output wire                       u_ready,
    input  wire [`TD_W-1:0]           u_td,
    input  wire [KV_SLOTS*SLOT_W-1:0] u_slots,
    input  wire [KV_SLOTS-1:0]        u_mask,
    input  wire [7:0]                 u_nsteps,

    // K ring
    output wire                       k_wr_valid,
    output wire [1:0]                 k_wr_buf,
    output wire [KSLOT_W-1:0]         k_wr_slot,
    output wire [7:0]                 k_wr_beat,
    output wire [8*BUS_BYTES-1:0]     k_wr_data,
    output wire                       k_t_valid,
    input  wire                       k_t_ready,
    output wire [`TD_W-1:0]           k_t_td,
    output wire [7:0]                 k_t_nsteps,
    input  wire                       k_release,

    // V ring
    output wire                       v_wr_valid,
    output wire [1:0]                 v_wr_buf,
    output wire [KSLOT_W-1:0]         v_wr_slot,
    output wire [7:0]                 v_wr_beat,
    output wire [8*BUS_BYTES-1:0]     v_wr_data,
    output wire                       v_t_valid,
    input  wire                       v_t_ready,
    input  wire                       v_release,

    // Stream W: c_beats words from c_addr (a multiple of BUS_BYTES), in order
    input  wire                       w_c_valid,
    output wire                       w_c_ready,
    input  wire [47:0]                w_c_addr,
    input  wire [15:0]                w_c_beats,
    output wire                       w_d_valid,
    input  wire                       w_d_ready,
    output wire [8*BUS_BYTES-1:0]     w_d_data,

    // Stream R: c_beats words from c_addr (a multiple of BUS_BYTES), in order
    input  wire                       r_c_valid,
    output wire                       r_c_ready,
    input  wire [47:0]                r_c_addr,
    input  wire [15:0]                r_c_beats,
    output wire                       r_d_valid,
    input  wire                       r_d_ready,
    output wire [8*BUS_BYTES-1:0]     r_d_data,

    // Stream X: c_beats words from c_addr (a multiple of BUS_BYTES), in order
    input  wire                       x_c_valid,
    output wire                       x_c_ready,
    input  wire [47:0]                x_c_addr,
    input  wire [15:0]                x_c_beats,
    output wire                       x_d_valid,
    input  wire                       x_d_ready,
    output wire [8*BUS_BYTES-1:0]     x_d_data,

    // Stream D: c_beats words from c_addr (a multiple of BUS_BYTES), in order
    input  wire                       d_c_valid,
    output wire                       d_c_ready,
    input  wire [47:0]                d_c_addr,
    input  wire [15:0]                d_c_beats,
    output wire                       d_d_valid,
    input  wire                       d_d_ready,
    output wire [8*BUS_BYTES-1:0]     d_d_data,

    // Control; err_stream: 0 Q, 1 K8, 2 K, 3 V, 4 W, 5 R, 6 X, 7 D
    input  wire                       halt,
    output wire                       idle,
    // Fault of a beat. err_protocol: nobody asked for it, or its RLAST is wrong; else see err_resp
    output wire                       err_valid,
    output wire                       err_protocol,
    output wire [2:0]                 err_stream,
    output wire [1:0]                 err_resp,
    // What the memory has to do, bit 0: take AR, 1: send data. It did some of it in this cycle
    output wire [1:0]                 bus_wait,
    output wire                       bus_move,

    // Events: a beat was delivered, bit = ID; a command waits for a free buffer of a ring
    output wire [7:0]                 ev_beat,
    output wire                       ev_stall,

    // AXI4 read channels
    output wire [2:0]                 m_axi_arid,
    output wire [ADDR_W-1:0]          m_axi_araddr,
    output wire [7:0]                 m_axi_arlen,
    output wire [2:0]                 m_axi_arsize,
    output wire [1:0]                 m_axi_arburst,
    output wire                       m_axi_arvalid,
    input  wire                       m_axi_arready,
    input  wire [2:0]                 m_axi_rid,
    input  wire [8*BUS_BYTES-1:0]     m_axi_rdata,
    input  wire [1:0]                 m_axi_rresp,
    input  wire                       m_axi_rlast,
    input  wire                       m_axi_rvalid,
    output wire                       m_axi_rready
);

    generate
        if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || D_MAX < 16
                || D_MAX > 256 || D_MAX < BUS_BYTES || D_MAX != (1 << $clog2(D_MAX))
                || BC_MAX < 8 || BC_MAX < BUS_BYTES || BC_MAX > 64
                || BC_MAX != (1 << $clog2(BC_MAX)) || 2 * KV_SLOTS < BUS_BYTES || ADDR_W < 32
                || ADDR_W > 48 || ROW_W != $clog2(ROWS) || SLOT_W != $clog2(BC_MAX)
                || KSLOT_W != $clog2(KV_SLOTS)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_fetch_needs_the_ranges_of_docs_architecture_md_section_2 stop ();
        end
        if (ADDR_W < 48) begin : g_unused
            wire unused_addr = &{1'b0, qc_addr[47:ADDR_W], tc_k8addr[47:ADDR_W],
                                 w_c_addr[47:ADDR_W], r_c_addr[47:ADDR_W], x_c_addr[47:ADDR_W],
                                 d_c_addr[47:ADDR_W]};
        end
    endgenerate

    localparam LANE_W = $clog2(BUS_BYTES);
    localparam [31:0] ROUND = BUS_BYTES - 1;
    // What a request remembers: {last of its tile or block, buffer, row or slot}.
    localparam META_W = 10;

    // Beats of a vector of 16-bit (wide) and of 8-bit (narrow) elements.
    wire [9:0] wide_beats   = ({cfg_d, 1'b0} + ROUND[9:0]) >> LANE_W;
    wire [9:0] narrow_beats = ({1'b0, cfg_d} + ROUND[9:0]) >> LANE_W;
    wire [7:0] k8_beats     = cfg_predict ? 8'd1 : narrow_beats[7:0];
    wire       unused_beats = &{1'b0, wide_beats[9:8], narrow_beats[9:8]};

    // -----------------------------------------------------------------------------------------
    // Clients
    // -----------------------------------------------------------------------------------------
    wire [7:0]          req_valid;
    wire [7:0]          req_ready;
    wire [8*ADDR_W-1:0] req_addr;
    wire [3:0]          req_last;
    wire [6:0]          q_row;
    wire                q_buf;
    wire [6:0]          k8_slot;
    wire [1:0]          k8_buf;
    wire [KSLOT_W-1:0]  k_slot;
    wire [1:0]          k_buf;
    wire [KSLOT_W-1:0]  v_slot;
    wire [1:0]          v_buf;
    wire                v_first;
    // The last beat of a block or tile is at its write port.
    wire [3:0]          done;
    wire [2:0]          stall;

    fetch_q #(
        .ADDR_W (ADDR_W)
    ) q_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_stride   (cfg_q_stride),
        .qc_valid     (qc_valid),
        .qc_ready     (qc_ready),
        .qc_addr      (qc_addr[ADDR_W-1:0]),
        .qc_rows      (qc_rows),
        .release_dlzs (q_release_dlzs),
        .release_sufa (q_release_sufa),
        .req_valid    (req_valid[0]),
        .req_ready    (req_ready[0]),
        .req_addr     (req_addr[0*ADDR_W +: ADDR_W]),
        .req_row      (q_row),
        .req_buf      (q_buf),
        .req_last     (req_last[0]),
        .ev_stall     (stall[0])
    );

    fetch_k8 #(
        .ADDR_W  (ADDR_W),
        .K8_BUFS (K8_BUFS)
    ) k8_inst (
        .clk        (clk),
        .rst        (rst),
        .cfg_dense  (cfg_dense),
        .tc_valid   (tc_valid),
        .tc_ready   (tc_ready),
        .tc_addr    (tc_k8addr[ADDR_W-1:0]),
        .tc_inc     (tc_k8inc),
        .tc_td      (tc_td),
        .req_valid  (req_valid[1]),
        .req_ready  (req_ready[1]),
        .req_addr   (req_addr[1*ADDR_W +: ADDR_W]),
        .req_slot   (k8_slot),
        .req_buf    (k8_buf),
        .req_last   (req_last[1]),
        .done       (done[1]),
        .k8_t_valid (k8_t_valid),
        .k8_t_ready (k8_t_ready),
        .k8_t_td    (k8_t_td),
        .k8_release (k8_release),
        .ev_stall   (stall[1])
    );

    fetch_kv #(
        .BC_MAX   (BC_MAX),
        .KV_SLOTS (KV_SLOTS),
        .ADDR_W   (ADDR_W),
        .KV_BUFS  (KV_BUFS)
    ) kv_inst (
        .clk         (clk),
        .rst         (rst),
        .u_valid     (u_valid),
        .u_ready     (u_ready),
        .u_td        (u_td),
        .u_slots     (u_slots),
        .u_mask      (u_mask),
        .u_nsteps    (u_nsteps),
        .k_req_valid (req_valid[2]),
        .k_req_ready (req_ready[2]),
        .k_req_addr  (req_addr[2*ADDR_W +: ADDR_W]),
        .k_req_slot  (k_slot),
        .k_req_buf   (k_buf),
        .k_req_last  (req_last[2]),
        .v_req_valid (req_valid[3]),
        .v_req_ready (req_ready[3]),
        .v_req_addr  (req_addr[3*ADDR_W +: ADDR_W]),
        .v_req_slot  (v_slot),
        .v_req_buf   (v_buf),
        .v_req_last  (req_last[3]),
        .v_first     (v_first),
        .k_done      (done[2]),
        .v_done      (done[3]),
        .k_t_valid   (k_t_valid),
        .k_t_ready   (k_t_ready),
        .k_t_td      (k_t_td),
        .k_t_nsteps  (k_t_nsteps),
        .k_release   (k_release),
        .v_t_valid   (v_t_valid),
        .v_t_ready   (v_t_ready),
        .v_release   (v_release),
        .ev_stall    (stall[2])
    );

    // -----------------------------------------------------------------------------------------
    // Streams
    // -----------------------------------------------------------------------------------------
    // Data of all clients, from the read master
    wire [7:0]             wr_valid;
    wire [META_W-1:0]      wr_meta;
    wire [7:0]             wr_beat;
    wire                   wr_end;
    wire [8*BUS_BYTES-1:0] wr_data;

    fetch_stream #(
        .ADDR_W    (ADDR_W),
        .BUS_BYTES (BUS_BYTES),
        .DEPTH     (W_DEPTH)
    ) w_inst (
        .clk       (clk),
        .rst       (rst),
        .c_valid   (w_c_valid),
        .c_ready   (w_c_ready),
        .c_addr    (w_c_addr[ADDR_W-1:0]),
        .c_beats   (w_c_beats),
        .req_valid (req_valid[4]),
        .req_ready (req_ready[4]),
        .req_addr  (req_addr[4*ADDR_W +: ADDR_W]),
        .wr_valid  (wr_valid[4]),
        .wr_data   (wr_data),
        .d_valid   (w_d_valid),
        .d_ready   (w_d_ready),
        .d_data    (w_d_data)
    );

    fetch_stream #(
        .ADDR_W    (ADDR_W),
        .BUS_BYTES (BUS_BYTES),
        .DEPTH     (R_DEPTH)
    ) r_inst (
        .clk       (clk),
        .rst       (rst),
        .c_valid   (r_c_valid),
        .c_ready   (r_c_ready),
        .c_addr    (r_c_addr[ADDR_W-1:0]),
        .c_beats   (r_c_beats),
        .req_valid (req_valid[5]),
        .req_ready (req_ready[5]),
        .req_addr  (req_addr[5*ADDR_W +: ADDR_W]),
        .wr_valid  (wr_valid[5]),
        .wr_data   (wr_data),
        .d_valid   (r_d_valid),
        .d_ready   (r_d_ready),
        .d_data    (r_d_data)
    );

    fetch_stream #(
        .ADDR_W    (ADDR_W),
        .BUS_BYTES (BUS_BYTES),
        .DEPTH     (X_DEPTH)
    ) x_inst (
        .clk       (clk),
        .rst       (rst),
        .c_valid   (x_c_valid),
        .c_ready   (x_c_ready),
        .c_addr    (x_c_addr[ADDR_W-1:0]),
        .c_beats   (x_c_beats),
        .req_valid (req_valid[6]),
        .req_ready (req_ready[6]),
        .req_addr  (req_addr[6*ADDR_W +: ADDR_W]),
        .wr_valid  (wr_valid[6]),
        .wr_data   (wr_data),
        .d_valid   (x_d_valid),
        .d_ready   (x_d_ready),
        .d_data    (x_d_data)
    );

    fetch_stream #(
        .ADDR_W    (ADDR_W),
        .BUS_BYTES (BUS_BYTES),
        .DEPTH     (D_DEPTH)
    ) d_inst (
        .clk       (clk),
        .rst       (rst),
        .c_valid   (d_c_valid),
        .c_ready   (d_c_ready),
        .c_addr    (d_c_addr[ADDR_W-1:0]),
        .c_beats   (d_c_beats),
        .req_valid (req_valid[7]),
        .req_ready (req_ready[7]),
        .req_addr  (req_addr[7*ADDR_W +: ADDR_W]),
        .wr_valid  (wr_valid[7]),
        .wr_data   (wr_data),
        .d_valid   (d_d_valid),
        .d_ready   (d_d_ready),
        .d_data    (d_d_data)
    );

    // -----------------------------------------------------------------------------------------
    // Q is urgent when more blocks' first K8 tiles were taken than blocks' Q requests finished.
    // -----------------------------------------------------------------------------------------
    reg signed [7:0] lag_reg, lag_next;

    wire k8_block = tc_valid && tc_ready && tc_td[`TD_FIRST] && !cfg_predict;
    wire q_block  = req_valid[0] && req_ready[0] && req_last[0];

    always @* begin
        lag_next = lag_reg;
        if (k8_block && !q_block) begin
            lag_next = lag_reg + 8'sd1;
        end else if (q_block && !k8_block) begin
            lag_next = lag_reg - 8'sd1;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Read master
    // -----------------------------------------------------------------------------------------
    wire [6:0]             k_slot_7 = {{(7 - KSLOT_W){1'b0}}, k_slot};
    wire                   unused_meta = &{1'b0, wr_meta[6:0]};
    wire [6:0]             v_slot_7 = {{(7 - KSLOT_W){1'b0}}, v_slot};

    axi_read #(
        .ADDR_W      (ADDR_W),
        .BUS_BYTES   (BUS_BYTES),
        .OUTSTANDING (OUTSTANDING),
        .META_W      (META_W)
    ) read_inst (
        .clk           (clk),
        .rst           (rst),
        .cfg_beats     ({{2{wide_beats[7:0]}}, k8_beats, wide_beats[7:0]}),
        .req_valid     (req_valid),
        .req_ready     (req_ready),
        .req_addr      (req_addr),
        .req_meta      ({req_last[3], v_buf, v_slot_7, req_last[2], k_buf, k_slot_7,
                         req_last[1], k8_buf, k8_slot, req_last[0], 1'b0, q_buf, q_row}),
        .q_urgent      (lag_reg > 8'sd0),
        .v_first       (v_first),
        .wr_valid      (wr_valid),
        .wr_meta       (wr_meta),
        .wr_beat       (wr_beat),
        .wr_end        (wr_end),
        .wr_data       (wr_data),
        .halt          (halt),
        .idle          (idle),
        .err_valid     (err_valid),
        .err_protocol  (err_protocol),
        .err_stream    (err_stream),
        .err_resp      (err_resp),
        .bus_wait      (bus_wait),
        .bus_move      (bus_move),
        .m_axi_arid    (m_axi_arid),
        .m_axi_araddr  (m_axi_araddr),
        .m_axi_arlen   (m_axi_arlen),
        .m_axi_arsize  (m_axi_arsize),
        .m_axi_arburst (m_axi_arburst),
        .m_axi_arvalid (m_axi_arvalid),
        .m_axi_arready (m_axi_arready),
        .m_axi_rid     (m_axi_rid),
        .m_axi_rdata   (m_axi_rdata),
        .m_axi_rresp   (m_axi_rresp),
        .m_axi_rlast   (m_axi_rlast),
        .m_axi_rvalid  (m_axi_rvalid),
        .m_axi_rready  (m_axi_rready)
    );

    // -----------------------------------------------------------------------------------------
    // Write ports
    // -----------------------------------------------------------------------------------------
    reg q_commit_reg;

    assign done = wr_valid[3:0] & {4{wr_end && wr_meta[9]}};

    assign q_wr_valid = wr_valid[0];
    assign q_wr_buf   = wr_meta[7];
    assign q_wr_row   = wr_meta[ROW_W-1:0];
    assign q_wr_beat  = wr_beat;
    assign q_wr_data  = wr_data;
    assign q_commit   = q_commit_reg;

    assign k8_wr_valid = wr_valid[1];
    assign k8_wr_buf   = wr_meta[8:7];
    assign k8_wr_slot  = wr_meta[SLOT_W-1:0];
    assign k8_wr_beat  = wr_beat;
    assign k8_wr_data  = wr_data;

    assign k_wr_valid = wr_valid[2];
    assign k_wr_buf   = wr_meta[8:7];
    assign k_wr_slot  = wr_meta[KSLOT_W-1:0];
    assign k_wr_beat  = wr_beat;
    assign k_wr_data  = wr_data;

    assign v_wr_valid = wr_valid[3];
    assign v_wr_buf   = wr_meta[8:7];
    assign v_wr_slot  = wr_meta[KSLOT_W-1:0];
    assign v_wr_beat  = wr_beat;
    assign v_wr_data  = wr_data;

    assign ev_beat  = wr_valid;
    assign ev_stall = stall != 3'd0;

    always @(posedge clk) begin
        q_commit_reg <= done[0];
        lag_reg      <= lag_next;

        if (rst) begin
            q_commit_reg <= 1'b0;
            lag_reg      <= 8'sd0;
        end
    end

endmodule

`resetall
