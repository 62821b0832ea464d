// SPDX-License-Identifier: Apache-2.0
// Makes every read of the machine: Q, K8, K and V into the stores of the stages, and four streams.
//
// Why: the one place which knows which order of reads keeps the stages fed (sofa_fetch_arb). Seven
// clients make requests, sofa_axi_read carries them out; a request is made only when its data has
// room: a place of Q, a buffer of K8, a word of a FIFO; a key brings its landing place along.
// Places of Q: as many as blocks of the job's vectors fit into STORE_BEATS, at most PLACES; block i
// of a job has place i modulo that number.
// Not done here: address arithmetic of blocks and heads (seq), landing places (kvgen), order of
// elements (the stores).
// Latency: 3 (Q, K8, streams) or 5 (K) cycles from command to ARVALID; from RVALID 1 to the
// write port, 2 from the last beat to the commit, 3 to d_valid of a stream.
// Throughput: one burst and one beat every cycle; a key every 2 cycles.
// Write ports share one data register: q_wr_data, k8_wr_data and kv_wr_data are the same.
// Errors: see err_valid. Halt: no AR starts and data is dropped; leave it only by rst, once idle is
// high.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_fetch #(
    // Query rows in parallel, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Largest head dimension, a power of two, 16..256.
    parameter D_MAX = 64,
    // Slots of a tile, a power of two, 8..64.
    parameter BC_MAX = 32,
    // Bytes of a bus word, a power of two, 8..64, at most D_MAX.
    parameter BUS_BYTES = 16,
    // AXI address bits, 32..48.
    parameter ADDR_W = 40,
    // Buffers of the K8 ring, 2..4.
    parameter K8_BUFS = 2,
    // Most blocks in residence, a power of two, 2..8.
    parameter PLACES = 4,
    // Beats of Q in residence, at least two blocks of the largest head dimension.
    parameter STORE_BEATS = 4 * ROWS * D_MAX / BUS_BYTES,
    // Landing places of keys, a power of two, 4..64.
    parameter LAND = 16,
    // Vectors of each of Q, K8, K and V that can be outstanding, a power of two, 4..256. Worth the
    // memory's latency in vectors; the default keeps the bus full at 100 cycles even with single
    // beats.
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
    parameter PLACE_W = $clog2(PLACES),
    parameter LAND_W = $clog2(LAND)
) (
    input  wire                       clk,
    input  wire                       rst,

    // Job, static
    input  wire [8:0]                 cfg_d,
    // K8 vectors are exactly one beat, and blocks have no Q
    input  wire                       cfg_predict,
    input  wire [31:0]                cfg_q_stride,
    input  wire [31:0]                cfg_q_hstride,
    // Heads of a block
    input  wire [7:0]                 cfg_q_heads,
    input  wire [31:0]                cfg_k_stride,
    input  wire [31:0]                cfg_v_stride,
    // The job is over, all places are free: the next block has place 0
    input  wire                       job_done,

    // Command: Q of a block, 1..ROWS rows
    input  wire                       qc_valid,
    output wire                       qc_ready,
    input  wire [47:0]                qc_addr,
    input  wire [7:0]                 qc_rows,

    // Scales of the blocks, in their order, before or after their commands
    input  wire                       qs_valid,
    output wire                       qs_ready,
    input  wire [15:0]                qs_scale_m,
    input  wire [5:0]                 qs_scale_shift,

    // Command: K8 of a tile, slot b of tc_n (1..BC_MAX) at tc_addr + b * tc_inc
    input  wire                       tc_valid,
    output wire                       tc_ready,
    input  wire [47:0]                tc_addr,
    input  wire [31:0]                tc_inc,
    input  wire [7:0]                 tc_n,

    // Q: beats; a block is complete; a consumer frees the oldest block's place
    output wire                       q_wr_valid,
    output wire [PLACE_W-1:0]         q_wr_place,
    output wire [ROW_W-1:0]           q_wr_row,
    output wire [7:0]                 q_wr_beat,
    output wire [8*BUS_BYTES-1:0]     q_wr_data,
    output wire                       q_commit,
    output wire [PLACE_W-1:0]         q_commit_place,
    output wire [15:0]                q_commit_scale_m,
    output wire [5:0]                 q_commit_scale_shift,
    input  wire                       q_release_dlzs,
    input  wire                       q_release_sufa,

    // K8 ring: beats; the next tile is complete; the oldest tile's buffer is free
    output wire                       k8_wr_valid,
    output wire [1:0]                 k8_wr_buf,
    output wire [SLOT_W-1:0]          k8_wr_slot,
    output wire [7:0]                 k8_wr_beat,
    output wire [8*BUS_BYTES-1:0]     k8_wr_data,
    output wire                       k8_commit,
    input  wire                       k8_release,

    // Key to read into a free landing place, with the addresses of key 0; u_mean: only the vector
    // at u_vbase, as V
    input  wire                       u_valid,
    output wire                       u_ready,
    input  wire [LAND_W-1:0]          u_land,
    input  wire                       u_mean,
    input  wire [16:0]                u_key,
    input  wire [47:0]                u_kbase,
    input  wire [47:0]                u_vbase,

    // Landing buffer; last: beat of the vector. K and V of a key in any order
    output wire                       k_wr_valid,
    output wire [LAND_W-1:0]          k_wr_land,
    output wire [7:0]                 k_wr_beat,
    output wire                       k_wr_last,
    output wire                       v_wr_valid,
    output wire [LAND_W-1:0]          v_wr_land,
    output wire [7:0]                 v_wr_beat,
    output wire                       v_wr_last,
    output wire [8*BUS_BYTES-1:0]     kv_wr_data,

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

    // Events: a beat was delivered, bit = ID; a command waits for a place or buffer
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
                || BC_MAX != (1 << $clog2(BC_MAX)) || ADDR_W < 32 || ADDR_W > 48
                || PLACES < 2 || PLACES > 8 || PLACES != (1 << $clog2(PLACES))
                || STORE_BEATS < 4 * ROWS * D_MAX / BUS_BYTES
                || LAND < 4 || LAND > 64 || LAND != (1 << $clog2(LAND))
                || ROW_W != $clog2(ROWS) || SLOT_W != $clog2(BC_MAX)
                || PLACE_W != $clog2(PLACES) || LAND_W != $clog2(LAND)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_fetch_needs_the_ranges_of_its_parameters stop ();
        end
        if (ADDR_W < 48) begin : g_unused
            wire unused_addr = &{1'b0, qc_addr[47:ADDR_W], tc_addr[47:ADDR_W], u_kbase[47:ADDR_W],
                                 u_vbase[47:ADDR_W], w_c_addr[47:ADDR_W], r_c_addr[47:ADDR_W],
                                 x_c_addr[47:ADDR_W], d_c_addr[47:ADDR_W]};
        end
    endgenerate

    localparam LANE_W = $clog2(BUS_BYTES);
    localparam [31:0] ROUND = BUS_BYTES - 1;
    // What a request remembers: whether it is the last of its block or tile, or the landing place.
    localparam META_W = LAND_W;

    // Beats of a vector of 16-bit (wide) and of 8-bit (narrow) elements.
    wire [9:0] wide_beats   = ({cfg_d, 1'b0} + ROUND[9:0]) >> LANE_W;
    wire [9:0] narrow_beats = ({1'b0, cfg_d} + ROUND[9:0]) >> LANE_W;
    wire [7:0] k8_beats     = cfg_predict ? 8'd1 : narrow_beats[7:0];
    wire       unused_beats = &{1'b0, wide_beats[9:8], narrow_beats[9:8]};

    // -----------------------------------------------------------------------------------------
    // Places of the job: more than n if n + 1 blocks fit
    // -----------------------------------------------------------------------------------------
    wire [7:1] fits;
    reg  [2:0] last_place_reg, last_place_next;

    genvar p;
    generate
        for (p = 1; p < 8; p = p + 1) begin : g_fits
            localparam [31:0] MOST = STORE_BEATS / (ROWS * (p + 1));
            localparam [9:0]  LIMIT = MOST > 1023 ? 10'd1023 : MOST[9:0];

            assign fits[p] = p < PLACES && wide_beats <= LIMIT;
        end
    endgenerate

    always @* begin
        last_place_next = {2'd0, fits[1]} + {2'd0, fits[2]} + {2'd0, fits[3]} + {2'd0, fits[4]}
                          + {2'd0, fits[5]} + {2'd0, fits[6]} + {2'd0, fits[7]};
    end

    always @(posedge clk) begin
        last_place_reg <= last_place_next;
    end

    // -----------------------------------------------------------------------------------------
    // Clients
    // -----------------------------------------------------------------------------------------
    wire [7:0]          req_valid;
    wire [7:0]          req_ready;
    wire [8*ADDR_W-1:0] req_addr;
    wire                q_last;
    wire                q_none;
    wire                k8_last;
    wire                k8_none;
    wire                k8_asked;
    wire                k8_ample;
    wire                kv_valid;
    wire                kv_v;
    wire [LAND_W-1:0]   kv_land;
    wire [ADDR_W-1:0]   kv_addr;
    wire [1:0]          stall;

    // Data of all clients, from the read master.
    wire [7:0]             wr_valid;
    wire [META_W-1:0]      wr_meta;
    wire [7:0]             wr_beat;
    wire                   wr_end;
    wire [8*BUS_BYTES-1:0] wr_data;
    // The last beat of a vector, of a block or tile, is at its write port.
    wire [1:0]             end_beat = wr_valid[1:0] & {2{wr_end}};
    wire [1:0]             done = end_beat & {2{wr_meta[0]}};

    wire [2:0] commit_place;
    wire [2:0] q_place;
    wire [6:0] q_row;
    wire [6:0] k8_slot;

    sofa_fetch_q #(
        .ADDR_W (ADDR_W),
        .PLACES (PLACES)
    ) q_inst (
        .clk                (clk),
        .rst                (rst),
        .cfg_stride         (cfg_q_stride),
        .cfg_hstride        (cfg_q_hstride),
        .cfg_heads          (cfg_q_heads),
        .last_place         (last_place_reg),
        .job_done           (job_done),
        .qc_valid           (qc_valid),
        .qc_ready           (qc_ready),
        .qc_addr            (qc_addr[ADDR_W-1:0]),
        .qc_rows            (qc_rows),
        .qs_valid           (qs_valid),
        .qs_ready           (qs_ready),
        .qs_scale_m         (qs_scale_m),
        .qs_scale_shift     (qs_scale_shift),
        .release_dlzs       (q_release_dlzs),
        .release_sufa       (q_release_sufa),
        .req_valid          (req_valid[0]),
        .req_ready          (req_ready[0]),
        .req_addr           (req_addr[0*ADDR_W +: ADDR_W]),
        .req_last           (q_last),
        .wr_end             (end_beat[0]),
        .done               (done[0]),
        .wr_place           (q_place),
        .wr_row             (q_row),
        .commit             (q_commit),
        .commit_place       (commit_place),
        .commit_scale_m     (q_commit_scale_m),
        .commit_scale_shift (q_commit_scale_shift),
        .none               (q_none),
        .ev_stall           (stall[0])
    );

    sofa_fetch_k8 #(
        .ADDR_W  (ADDR_W),
        .K8_BUFS (K8_BUFS)
    ) k8_inst (
        .clk       (clk),
        .rst       (rst),
        .tc_valid  (tc_valid),
        .tc_ready  (tc_ready),
        .tc_addr   (tc_addr[ADDR_W-1:0]),
        .tc_inc    (tc_inc),
        .tc_n      (tc_n),
        .req_valid (req_valid[1]),
        .req_ready (req_ready[1]),
        .req_addr  (req_addr[1*ADDR_W +: ADDR_W]),
        .req_last  (k8_last),
        .wr_end    (end_beat[1]),
        .done      (done[1]),
        .wr_buf    (k8_wr_buf),
        .wr_slot   (k8_slot),
        .commit    (k8_commit),
        .free      (k8_release),
        .none      (k8_none),
        .asked     (k8_asked),
        .ample     (k8_ample),
        .ev_stall  (stall[1])
    );

    sofa_fetch_kv #(
        .ADDR_W (ADDR_W),
        .LAND_W (LAND_W)
    ) kv_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_k_stride (cfg_k_stride),
        .cfg_v_stride (cfg_v_stride),
        .u_valid      (u_valid),
        .u_ready      (u_ready),
        .u_land       (u_land),
        .u_mean       (u_mean),
        .u_key        (u_key),
        .u_kbase      (u_kbase[ADDR_W-1:0]),
        .u_vbase      (u_vbase[ADDR_W-1:0]),
        .req_valid    (kv_valid),
        .req_ready    (kv_v ? req_ready[3] : req_ready[2]),
        .req_v        (kv_v),
        .req_land     (kv_land),
        .req_addr     (kv_addr)
    );

    assign req_valid[2] = kv_valid && !kv_v;
    assign req_valid[3] = kv_valid && kv_v;
    assign req_addr[2*ADDR_W +: 2*ADDR_W] = {kv_addr, kv_addr};

    // -----------------------------------------------------------------------------------------
    // Streams
    // -----------------------------------------------------------------------------------------
    sofa_fetch_stream #(
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

    sofa_fetch_stream #(
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

    sofa_fetch_stream #(
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

    sofa_fetch_stream #(
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
    // Read master. Prediction that has blocks but no tile waits for K8. If a tile is there, or on
    // its way, but no block, it waits for Q; with a second tile, the next is far from being needed.
    // -----------------------------------------------------------------------------------------
    reg               q_later_reg, k8_later_reg;

    always @(posedge clk) begin
        q_later_reg  <= k8_none && !q_none;
        k8_later_reg <= k8_ample || (k8_asked && q_none);

        if (rst) begin
            q_later_reg  <= 1'b0;
            k8_later_reg <= 1'b0;
        end
    end

    localparam [META_W-2:0] NO_META = 0;

    sofa_axi_read #(
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
        .req_meta      ({kv_land, kv_land, NO_META, k8_last, NO_META, q_last}),
        .q_later       (q_later_reg),
        .k8_later      (k8_later_reg),
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
    wire unused_bits = &{1'b0, commit_place, q_place, q_row, k8_slot};

    assign q_wr_valid     = wr_valid[0];
    assign q_wr_place     = q_place[PLACE_W-1:0];
    assign q_wr_row       = q_row[ROW_W-1:0];
    assign q_wr_beat      = wr_beat;
    assign q_wr_data      = wr_data;
    assign q_commit_place = commit_place[PLACE_W-1:0];

    assign k8_wr_valid = wr_valid[1];
    assign k8_wr_slot  = k8_slot[SLOT_W-1:0];
    assign k8_wr_beat  = wr_beat;
    assign k8_wr_data  = wr_data;

    assign k_wr_valid = wr_valid[2];
    assign k_wr_land  = wr_meta;
    assign k_wr_beat  = wr_beat;
    assign k_wr_last  = wr_end;

    assign v_wr_valid = wr_valid[3];
    assign v_wr_land  = wr_meta;
    assign v_wr_beat  = wr_beat;
    assign v_wr_last  = wr_end;

    assign kv_wr_data = wr_data;

    assign ev_beat  = wr_valid;
    assign ev_stall = stall != 2'd0;

endmodule

`resetall
