// SPDX-License-Identifier: Apache-2.0
// DLZS stage: predicts the scores of ROWS queries against the keys of a tile by shift and add; in a
// predict job, the keys themselves.
//
// Why: the estimate decides which keys the exact attention computes; powers of two in place of
// Q make it cheap enough to do for every pair (DLZS phase 1.2, A = pow2(Q) * K8^T). The same array
// makes the keys that it needs from the tokens (phase 1.1, K^ = X8 * pow2(Wk)): then a column is a
// token, a row is an output dimension, and the row operand comes from the stream of weight codes.
// Not done here: causal masking and selection (sads). Scores of slots at or past the tile's n and
// of rows at or past its rows are undefined.
// Latency: d + 3 cycles from the tile's transfer at k8_t to its first word, when the array is idle
// and Q is there. Throughput: a pass of COLS slots every d cycles, ceil(n/COLS) passes a tile,
// without gaps between passes, tiles and blocks as long as the input is there. Dense: a tile a
// cycle. Predict job: an element of X8 a cycle while codes and parts are there, without gaps
// between parts, chunks and groups as long as dlzs_khat empties a chunk in the time of the next.
// A waiting word (m_valid without m_ready) freezes the array: the enable of the stage depends on
// m_ready, which must therefore come from near a register; no output depends on it.
// Source: SOFA, MICRO 2024, DLZS; docs/dlzs.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module dlzs #(
    // Query rows, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 4,
    // Columns: keys predicted together, a power of two, 4..BC_MAX.
    parameter COLS = 4,
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 16,
    // Slots of a tile, a power of two, BUS_BYTES..64.
    parameter BC_MAX = 16,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 8,
    // Fraction bits of a term, 0..8.
    parameter SC_FRAC = 3,
    // 1: cells add the bit after the leading one (snap rule 2).
    parameter TWO_TERM = 0,
    // Buffers of the K8 ring, 2..4.
    parameter K8_BUFS = 2,
    // Pairs of outputs that a predict job turns into keys in a cycle, a power of two, 1..ROWS/2;
    // more than D_MAX/2 are as good as D_MAX/2.
    parameter ROPE_PAIRS = 1,
    // Bits of ports. Derived: leave at their defaults.
    parameter SC_W = 8 + SC_FRAC + $clog2(D_MAX),
    parameter ROW_W = $clog2(ROWS),
    parameter SLOT_W = $clog2(BC_MAX)
) (
    input  wire                    clk,
    input  wire                    rst,

    // Configuration, static during a job
    input  wire [8:0]              cfg_d,
    input  wire                    cfg_dense,
    input  wire [1:0]              cfg_snap,
    // Of predict jobs
    input  wire                    cfg_predict,
    input  wire [1:0]              cfg_rope,
    input  wire [3:0]              cfg_kp_exp,
    input  wire [15:0]             cfg_kp_bias,
    input  wire [3:0]              cfg_kp_shift,
    input  wire [31:0]             cfg_k8_stride,
    input  wire [31:0]             cfg_k8_hstride,
    input  wire [31:0]             cfg_rt_stride,

    // Q ring, two buffers
    input  wire                    q_wr_valid,
    input  wire                    q_wr_buf,
    input  wire [ROW_W-1:0]        q_wr_row,
    input  wire [7:0]              q_wr_beat,
    input  wire [8*BUS_BYTES-1:0]  q_wr_data,
    input  wire                    q_commit,
    output wire                    q_release,

    // K8 ring, K8_BUFS buffers
    input  wire                    k8_wr_valid,
    input  wire [1:0]              k8_wr_buf,
    input  wire [SLOT_W-1:0]       k8_wr_slot,
    input  wire [7:0]              k8_wr_beat,
    input  wire [8*BUS_BYTES-1:0]  k8_wr_data,
    input  wire                    k8_t_valid,
    output wire                    k8_t_ready,
    input  wire [`TD_W-1:0]        k8_t_td,
    output wire                    k8_release,

    // Predict job: weight codes, one stream of whole beats for each chunk of a group
    input  wire                    w_d_valid,
    output wire                    w_d_ready,
    input  wire [8*BUS_BYTES-1:0]  w_d_data,

    // Predict job: commands and beats of the RoPE table
    output wire                    r_c_valid,
    input  wire                    r_c_ready,
    output wire [47:0]             r_c_addr,
    output wire [15:0]             r_c_beats,
    input  wire                    r_d_valid,
    output wire                    r_d_ready,
    input  wire [8*BUS_BYTES-1:0]  r_d_data,

    // Score words: pass by pass, 12 columns a word
    output wire                    m_valid,
    input  wire                    m_ready,
    output wire                    m_first,
    output wire                    m_last,
    output wire [`TD_W-1:0]        m_td,
    output wire [ROWS*12*SC_W-1:0] m_scores,

    // Predict job: single-beat writes of keys, a pulse for each answer; a pulse at kp_done when all
    // of a chunk of a group are answered
    output wire                    x_valid,
    input  wire                    x_ready,
    output wire [47:0]             x_addr,
    output wire [8*BUS_BYTES-1:0]  x_data,
    output wire [BUS_BYTES-1:0]    x_strb,
    input  wire                    x_done,
    output wire                    kp_done,

    // Events: an element (dense: a tile) enters the array; a word waits
    output wire                    ev_busy,
    output wire                    ev_stall
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << ROW_W)
                || BC_MAX < BUS_BYTES || BC_MAX > 64 || BC_MAX != (1 << SLOT_W)
                || COLS < 4 || COLS > BC_MAX || COLS != (1 << $clog2(COLS))
                || D_MAX < 16 || D_MAX < BUS_BYTES || D_MAX > 256
                || D_MAX != (1 << $clog2(D_MAX)) || K8_BUFS < 2 || K8_BUFS > 4
                || ROPE_PAIRS < 1 || ROPE_PAIRS > ROWS / 2
                || ROPE_PAIRS != (1 << $clog2(ROPE_PAIRS))
                || SC_W != 8 + SC_FRAC + $clog2(D_MAX)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_dlzs_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam CODE_W = 5 + TWO_TERM;
    localparam K8BUF_W = $clog2(K8_BUFS);
    localparam [31:0] LAST_K8BUF = K8_BUFS - 1;

    generate
        if (K8BUF_W < 2) begin : g_unused_buf
            wire unused_buf = k8_wr_buf[1];
        end
    endgenerate
    localparam ELEM_W = $clog2(D_MAX);
    localparam BASE_W = SLOT_W + 1;
    localparam [BASE_W-1:0] COLS_STEP = COLS[BASE_W-1:0];

    // -----------------------------------------------------------------------------------------
    // Tiles and query blocks at hand
    // -----------------------------------------------------------------------------------------
    wire              t_valid;
    wire [`TD_W-1:0]  t_td;
    wire              tile_done;

    skid_buffer #(
        .WIDTH (`TD_W)
    ) td_inst (
        .clk     (clk),
        .rst     (rst),
        .s_valid (k8_t_valid),
        .s_ready (k8_t_ready),
        .s_data  (k8_t_td),
        .m_valid (t_valid),
        .m_ready (tile_done),
        .m_data  (t_td)
    );

    // Committed query blocks; the commit is delayed as the codes' write is.
    reg        commit_reg;
    reg  [1:0] blocks_reg, blocks_next;
    reg        q_buf_reg, q_buf_next;
    reg  [1:0] k8_buf_reg, k8_buf_next;
    reg        q_release_reg, q_release_next;
    reg        k8_release_reg, k8_release_next;

    // -----------------------------------------------------------------------------------------
    // Read sequence: element by element, pass by pass, tile by tile
    // -----------------------------------------------------------------------------------------
    reg  [ELEM_W-1:0] elem_reg, elem_next;
    // First slot of the pass.
    reg  [BASE_W-1:0] base_reg, base_next;

    wire              dense = cfg_dense && !cfg_predict;
    wire              word_valid, khat_ready;
    // Of a predict job: a code word is there.
    wire              w_valid;
    // A sum runs over a tile's elements, or over those of all parts of a chunk.
    wire              sum_first = !cfg_predict || t_td[`TD_FIRST];
    wire              sum_last = !cfg_predict || t_td[`TD_LAST];

    wire [17:0]       rel = t_td[`TD_REL];
    wire [8:0]        elem_end = (cfg_predict ? rel[8:0] : cfg_d) - 9'd1;
    wire              elem_first = elem_reg == {ELEM_W{1'b0}};
    wire              elem_last = elem_reg == elem_end[ELEM_W-1:0];
    wire              chunk_start = elem_first && t_td[`TD_FIRST];

    // Everything from the read to the accumulators moves together.
    wire              p_advance = !word_valid || khat_ready;
    wire              advance = cfg_predict ? p_advance : !m_valid || m_ready;
    wire              work = t_valid && (cfg_predict ? w_valid : blocks_reg != 2'd0);
    // The code stream must see nothing of m_ready.
    wire              p_read = cfg_predict && p_advance && work;
    wire              read = advance && work && !dense;
    wire              pass_first = base_reg == {BASE_W{1'b0}};
    wire [BASE_W-1:0] base_step = base_reg + COLS_STEP;
    wire [7:0]        n = t_td[`TD_N];
    wire              pass_last = base_step >= n[BASE_W-1:0];

    assign tile_done = advance && work && (dense || (elem_last && pass_last));

    always @* begin
        elem_next       = elem_reg;
        base_next       = base_reg;
        q_buf_next      = q_buf_reg;
        k8_buf_next     = k8_buf_reg;
        q_release_next  = tile_done && t_td[`TD_LAST] && !cfg_predict;
        k8_release_next = tile_done;

        if (read) begin
            elem_next = elem_reg + 1'b1;
            if (elem_last) begin
                elem_next = {ELEM_W{1'b0}};
                base_next = pass_last ? {BASE_W{1'b0}} : base_step;
            end
        end
        if (k8_release_next) begin
            k8_buf_next = k8_buf_reg == LAST_K8BUF[1:0] ? 2'd0 : k8_buf_reg + 2'd1;
        end
        if (q_release_next) begin
            q_buf_next = !q_buf_reg;
        end

        blocks_next = blocks_reg + {1'b0, commit_reg} - {1'b0, q_release_next};
    end

    // -----------------------------------------------------------------------------------------
    // Operands
    // -----------------------------------------------------------------------------------------
    wire [ROWS*CODE_W-1:0] q_code, w_code;
    reg  [ROWS*CODE_W-1:0] w_code_reg;
    wire [ROWS*CODE_W-1:0] code = cfg_predict ? w_code_reg : q_code;
    wire [BC_MAX*8-1:0]    k8_banks;
    wire [COLS*8-1:0]      k8;
    // Rotation that brings slot `base` of the element read to column 0.
    wire [SLOT_W-1:0]      elem_bank;
    reg  [SLOT_W-1:0]      rotate_reg;

    generate
        if (ELEM_W < SLOT_W) begin : g_elem_bank
            assign elem_bank = {{(SLOT_W - ELEM_W){1'b0}}, elem_reg};
        end else begin : g_elem_bank
            assign elem_bank = elem_reg[SLOT_W-1:0];
        end
    endgenerate

    dlzs_codes #(
        .ROWS     (ROWS),
        .QE       (BUS_BYTES / 2),
        .D_MAX    (D_MAX),
        .TWO_TERM (TWO_TERM)
    ) codes_inst (
        .clk      (clk),
        .rst      (rst),
        .cfg_snap (cfg_snap),
        .wr_valid (q_wr_valid),
        .wr_buf   (q_wr_buf),
        .wr_row   (q_wr_row),
        .wr_beat  (q_wr_beat),
        .wr_data  (q_wr_data),
        .rd_en    (read),
        .rd_buf   (q_buf_reg),
        .rd_elem  (elem_reg),
        .rd_code  (q_code)
    );

    dlzs_wcodes #(
        .ROWS      (ROWS),
        .BUS_BYTES (BUS_BYTES),
        .TWO_TERM  (TWO_TERM)
    ) wcodes_inst (
        .clk        (clk),
        .rst        (rst),
        .cfg_kp_exp (cfg_kp_exp),
        .s_valid    (w_d_valid),
        .s_ready    (w_d_ready),
        .s_data     (w_d_data),
        .m_valid    (w_valid),
        .m_ready    (p_read),
        .m_code     (w_code)
    );

    corner_buffer #(
        .LANES  (BC_MAX),
        .ELEMS  (D_MAX),
        .WIDTH  (8),
        .BEAT   (BUS_BYTES),
        .BUFS   (K8_BUFS),
        .ROTATE (0)
    ) k8_inst (
        .clk      (clk),
        .wr_valid (k8_wr_valid),
        .wr_buf   (k8_wr_buf[K8BUF_W-1:0]),
        .wr_lane  (k8_wr_slot),
        .wr_beat  (k8_wr_beat),
        .wr_data  (k8_wr_data),
        .rd_en    (read),
        .rd_buf   (k8_buf_reg[K8BUF_W-1:0]),
        .rd_elem  (elem_reg),
        .rd_data  (k8_banks)
    );

    lane_rotate #(
        .LANES (BC_MAX),
        .OUT   (COLS),
        .WIDTH (8)
    ) k8_rotate_inst (
        .amount   (rotate_reg),
        .in_data  (k8_banks),
        .out_data (k8)
    );

    // -----------------------------------------------------------------------------------------
    // Array
    // -----------------------------------------------------------------------------------------
    reg              valid_reg, first_reg, last_reg, tile_first_reg, tile_last_reg;
    // A dense tile's empty word.
    reg              dense_reg;
    reg  [`TD_W-1:0] td_reg;
    wire             tile_start, word_first, word_last;

    dlzs_array #(
        .ROWS     (ROWS),
        .COLS     (COLS),
        .SC_FRAC  (SC_FRAC),
        .TWO_TERM (TWO_TERM),
        .SC_W     (SC_W)
    ) array_inst (
        .clk           (clk),
        .rst           (rst),
        .en            (advance),
        .in_valid      (valid_reg),
        .in_first      (first_reg),
        .in_last       (last_reg),
        .in_tile_first (tile_first_reg),
        .in_tile_last  (tile_last_reg),
        .in_code       (code),
        .in_k8         (k8),
        .tile_start    (tile_start),
        .word_valid    (word_valid),
        .word_first    (word_first),
        .word_last     (word_last),
        .word_scores   (m_scores)
    );

    assign m_valid = (word_valid && !cfg_predict) || dense_reg;
    assign m_first = word_first || dense_reg;
    assign m_last  = word_last || dense_reg;
    assign m_td    = td_reg;

    // The descriptor is taken over while the tile still is at t_td: the last group starts it at
    // most 2 + 5 cycles after its first read, and a tile is read for at least 8 cycles. The words
    // of the tile before have all left by then.
    wire dense_done = tile_done && dense;
    wire take_td = tile_start || dense_done;

    // -----------------------------------------------------------------------------------------
    // Predict job: words to keys
    // -----------------------------------------------------------------------------------------
    dlzs_khat #(
        .ROWS      (ROWS),
        .COLS      (COLS),
        .D_MAX     (D_MAX),
        .BUS_BYTES (BUS_BYTES),
        .SC_W      (SC_W),
        .PAIRS     (ROPE_PAIRS > D_MAX / 2 ? D_MAX / 2 : ROPE_PAIRS)
    ) khat_inst (
        .clk            (clk),
        .rst            (rst),
        .cfg_d          (cfg_d),
        .cfg_rope       (cfg_rope),
        .cfg_kp_bias    (cfg_kp_bias),
        .cfg_kp_shift   (cfg_kp_shift),
        .cfg_k8_stride  (cfg_k8_stride),
        .cfg_k8_hstride (cfg_k8_hstride),
        .cfg_rt_stride  (cfg_rt_stride),
        .t_valid        (p_read && chunk_start),
        .t_td           (t_td),
        .s_valid        (word_valid && cfg_predict),
        .s_ready        (khat_ready),
        .s_scores       (m_scores),
        .r_c_valid      (r_c_valid),
        .r_c_ready      (r_c_ready),
        .r_c_addr       (r_c_addr),
        .r_c_beats      (r_c_beats),
        .r_d_valid      (r_d_valid),
        .r_d_ready      (r_d_ready),
        .r_d_data       (r_d_data),
        .x_valid        (x_valid),
        .x_ready        (x_ready),
        .x_addr         (x_addr),
        .x_data         (x_data),
        .x_strb         (x_strb),
        .x_done         (x_done),
        .kp_done        (kp_done)
    );

    // -----------------------------------------------------------------------------------------
    reg ev_busy_reg, ev_stall_reg;

    assign q_release  = q_release_reg;
    assign k8_release = k8_release_reg;
    assign ev_busy    = ev_busy_reg;
    assign ev_stall   = ev_stall_reg;

    always @(posedge clk) begin
        commit_reg     <= q_commit;
        blocks_reg     <= blocks_next;
        q_buf_reg      <= q_buf_next;
        k8_buf_reg     <= k8_buf_next;
        q_release_reg  <= q_release_next;
        k8_release_reg <= k8_release_next;
        elem_reg       <= elem_next;
        base_reg       <= base_next;
        ev_busy_reg    <= advance && work;
        ev_stall_reg   <= !advance;

        if (advance) begin
            valid_reg      <= read;
            first_reg      <= elem_first && sum_first;
            last_reg       <= elem_last && sum_last;
            tile_first_reg <= pass_first;
            tile_last_reg  <= pass_last;
            dense_reg      <= dense_done;
        end
        if (read) begin
            rotate_reg <= elem_bank + base_reg[SLOT_W-1:0];
            w_code_reg <= w_code;
        end
        if (take_td) begin
            td_reg <= t_td;
        end

        if (rst) begin
            commit_reg     <= 1'b0;
            blocks_reg     <= 2'd0;
            q_buf_reg      <= 1'b0;
            k8_buf_reg     <= 2'd0;
            q_release_reg  <= 1'b0;
            k8_release_reg <= 1'b0;
            elem_reg       <= {ELEM_W{1'b0}};
            base_reg       <= {BASE_W{1'b0}};
            ev_busy_reg    <= 1'b0;
            ev_stall_reg   <= 1'b0;
            valid_reg      <= 1'b0;
            dense_reg      <= 1'b0;
        end
    end

    wire unused = &{1'b0, n, elem_end, rel};

endmodule

`resetall
