// SPDX-License-Identifier: Apache-2.0
// Walks of an attention job: from a legal job to the commands of Q and K8 and the turn descriptors.
//
// Why: three walks at their own pace. sofa_seq_blocks reads the table entry of each block's head
// and sends the Q command; sofa_seq_tiles sends the K8 command of each turn; sofa_seq_turns gives
// each turn for each block. Turns wait for both others, neither of them for a turn but by the room
// of the queues, which hold more than the receivers take ahead: so Q and K8 run ahead.
// Not done here: predict jobs, the check of the job.
// Source: docs/architecture.md section 4.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_regs.vh"
`include "sofa_turn.vh"

module sofa_seq_walk #(
    // Query rows of a block, power of two, 4..128.
    parameter ROWS = 128,
    // Smallest tile, power of two, 4..64.
    parameter BC_MIN = 32,
    // Data bus bytes, power of two, 8..64.
    parameter BUS_BYTES = 64,
    // Largest number of keys, power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Bits of a predicted score, 8..32.
    parameter SC_W = 17,
    // Most blocks in residence, power of two, 2..8.
    parameter PLACES = 8,
    // Fraction bits of a logarithm, 0..6; of the ratio, 4..12.
    parameter LOG_FRAC = 4,
    parameter RATIO_FRAC = 8
) (
    input  wire         clk,
    input  wire         rst,

    // start is a pulse; active until the last command and descriptor have been taken
    input  wire         start,
    output wire         active,
    output wire         ev_block,

    // Job, legal and stable while active; buffer i is `SOFA_BUF_* = i. Query heads of a KV head,
    // blocks in residence, heads of a part at most
    input  wire [`SOFA_MODE_WIDTH-1:0] job_mode,
    input  wire [16:0]  job_rows,
    input  wire [16:0]  job_keys,
    input  wire [10:0]  job_kv_heads,
    input  wire [16:0]  job_offset,
    input  wire [7:0]   job_bc,
    input  wire [3:0]   job_band,
    input  wire [7:0]   job_fall,
    // Newest keys that a row sees, 0: all; first keys, which it sees as well
    input  wire [16:0]  job_window,
    input  wire [6:0]   job_sinks,
    input  wire [`SOFA_BUFFER_NUM*48-1:0] job_base,
    input  wire [`SOFA_BUFFER_NUM*32-1:0] job_stride,
    input  wire [`SOFA_BUFFER_NUM*32-1:0] job_hstride,
    input  wire [15:0]  job_group,
    input  wire [3:0]   job_places,
    input  wire [3:0]   job_together,
    // Of a job whose heads share blocks: rows of a block; bytes from KV head to KV head
    input  wire [7:0]   job_share_rows,
    input  wire [38:0]  job_share_q,
    input  wire [38:0]  job_share_o,
    input  wire [38:0]  job_share_ht,

    // Stream of table entries; an entry that is not legal, number of its head modulo 256
    output wire         d_c_valid,
    input  wire         d_c_ready,
    output wire [47:0]  d_c_addr,
    output wire [15:0]  d_c_beats,
    input  wire         d_d_valid,
    output wire         d_d_ready,
    input  wire [BUS_BYTES*8-1:0] d_d_data,
    output wire         bad,
    output wire [7:0]   bad_head,

    // Q command, K8 command, turn descriptor
    output wire         qc_valid,
    input  wire         qc_ready,
    output wire [47:0]  qc_addr,
    output wire [7:0]   qc_rows,

    // Scales of the next block
    output wire         qs_valid,
    input  wire         qs_ready,
    output wire [15:0]  qs_scale_m,
    output wire [5:0]   qs_scale_shift,
    output wire         tc_valid,
    input  wire         tc_ready,
    output wire [47:0]  tc_addr,
    output wire [31:0]  tc_inc,
    output wire [7:0]   tc_n,
    output wire         tn_valid,
    input  wire         tn_ready,
    output wire [`SOFA_TURN_W-1:0] tn_turn
);

    // Bits of a turn of sofa_seq_tiles
    localparam E_W = 114;

    wire        b_valid, b_ready;
    wire [15:0] b_tau;
    wire [4:0]  b_octave;
    wire [31:0] b_radius;
    wire [11:0] b_shifts;
    wire        e_valid, e_ready, e_out_valid, e_out_ready;
    wire [E_W-1:0] e_data, e_out_data;
    wire [3:0]  unused_level;
    wire        tiles_active, blocks_active;
    wire        dense = job_mode[`SOFA_MODE_DENSE_LSB];
    wire        sum = !dense && !job_mode[`SOFA_MODE_SORT_LSB];
    wire        generating = job_mode[`SOFA_MODE_GENERATE_LSB];

    // Heads that share blocks are walked as one head, whose rows are those of all of them.
    wire        share = job_mode[`SOFA_MODE_SHARE_LSB];
    wire [16:0] walk_rows = share ? {9'd0, job_share_rows} : job_rows;
    wire [15:0] walk_group = share ? 16'd1 : job_group;
    wire [3:0]  walk_together = share ? 4'd1 : job_together;
    wire [7:0]  heads = share ? job_group[7:0] : 8'd1;

    assign active = tiles_active || blocks_active || e_out_valid;

    sofa_seq_blocks #(
        .ROWS      (ROWS),
        .BUS_BYTES (BUS_BYTES),
        .SC_W      (SC_W),
        .LOG_FRAC  (LOG_FRAC)
    ) blocks_inst (
        .clk            (clk),
        .rst            (rst),
        .start          (start),
        .active         (blocks_active),
        .ev_block       (ev_block),
        .job_causal     (job_mode[`SOFA_MODE_CAUSAL_LSB]),
        .job_rows       (walk_rows),
        .job_keys       (job_keys),
        .job_kv_heads   (job_kv_heads),
        .job_group      (walk_group),
        .job_offset     (job_offset),
        .job_band       (job_band),
        .job_together   (walk_together),
        .job_fall       (job_fall),
        .job_window     (job_window),
        .job_sinks      (job_sinks),
        .job_q_base     (job_base[`SOFA_BUF_Q*48 +: 48]),
        .job_q_stride   (job_stride[`SOFA_BUF_Q*32 +: 32]),
        .job_q_hstride  (share ? job_share_q : {7'd0, job_hstride[`SOFA_BUF_Q*32 +: 32]}),
        .job_ht_base    (job_base[`SOFA_BUF_HT*48 +: 48]),
        .job_ht_hstride (share ? job_share_ht : {7'd0, job_hstride[`SOFA_BUF_HT*32 +: 32]}),
        .job_generate   (generating),
        .job_heads      (heads),
        .job_share      (share),
        .job_tokens     (job_rows[7:0]),
        .d_c_valid      (d_c_valid),
        .d_c_ready      (d_c_ready),
        .d_c_addr       (d_c_addr),
        .d_c_beats      (d_c_beats),
        .d_d_valid      (d_d_valid),
        .d_d_ready      (d_d_ready),
        .d_d_data       (d_d_data),
        .bad            (bad),
        .bad_head       (bad_head),
        .b_valid        (b_valid),
        .b_ready        (b_ready),
        .b_tau          (b_tau),
        .b_octave       (b_octave),
        .b_radius       (b_radius),
        .b_shifts       (b_shifts),
        .qc_valid       (qc_valid),
        .qc_ready       (qc_ready),
        .qc_addr        (qc_addr),
        .qc_rows        (qc_rows),
        .qs_valid       (qs_valid),
        .qs_ready       (qs_ready),
        .qs_scale_m     (qs_scale_m),
        .qs_scale_shift (qs_scale_shift)
    );

    sofa_seq_tiles #(
        .ROWS       (ROWS),
        .KEYS_MAX   (KEYS_MAX),
        .BC_MIN     (BC_MIN),
        .RATIO_FRAC (RATIO_FRAC)
    ) tiles_inst (
        .clk          (clk),
        .rst          (rst),
        .start        (start),
        .active       (tiles_active),
        .job_sum      (sum),
        .job_dense    (dense),
        .job_causal   (job_mode[`SOFA_MODE_CAUSAL_LSB]),
        .job_contig   (job_mode[`SOFA_MODE_CONTIGUOUS_LSB]),
        .job_rows     (walk_rows),
        .job_keys     (job_keys),
        .job_kv_heads (job_kv_heads),
        .job_group    (walk_group),
        .job_offset   (job_offset),
        .job_bc       (job_bc),
        .job_window   (job_window),
        .job_sinks    (job_sinks),
        .job_band     (job_band),
        .job_together (walk_together),
        .job_share    (share),
        .job_tokens   (job_rows[7:0]),
        .job_base     (job_base[`SOFA_BUF_K8*48 +: 48]),
        .job_stride   (job_stride[`SOFA_BUF_K8*32 +: 32]),
        .job_hstride  (job_hstride[`SOFA_BUF_K8*32 +: 32]),
        .tc_valid     (tc_valid),
        .tc_ready     (tc_ready),
        .tc_addr      (tc_addr),
        .tc_inc       (tc_inc),
        .tc_n         (tc_n),
        .e_valid      (e_valid),
        .e_ready      (e_ready),
        .e_data       (e_data)
    );

    // Turns whose K8 is commanded: more than the tiles that fetch takes ahead
    sofa_sync_fifo #(
        .WIDTH (E_W),
        .DEPTH (8)
    ) turns_fifo_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (e_valid),
        .s_ready (e_ready),
        .s_data  (e_data),
        .m_valid (e_out_valid),
        .m_ready (e_out_ready),
        .m_data  (e_out_data),
        .level   (unused_level)
    );

    sofa_seq_turns #(
        .ROWS   (ROWS),
        .PLACES (PLACES)
    ) turns_inst (
        .clk           (clk),
        .rst           (rst),
        .start         (start),
        .job_sum       (sum),
        .job_causal    (job_mode[`SOFA_MODE_CAUSAL_LSB]),
        .job_offset    (job_offset),
        .job_window    (job_window),
        .job_places    (job_places),
        .job_k_base    (job_base[`SOFA_BUF_K*48 +: 48]),
        .job_k_hstride (job_hstride[`SOFA_BUF_K*32 +: 32]),
        .job_v_base    (job_base[`SOFA_BUF_V*48 +: 48]),
        .job_v_hstride (job_hstride[`SOFA_BUF_V*32 +: 32]),
        .job_o_base    (job_base[`SOFA_BUF_O*48 +: 48]),
        .job_o_stride  (job_stride[`SOFA_BUF_O*32 +: 32]),
        .job_o_hstride (share ? job_share_o : {7'd0, job_hstride[`SOFA_BUF_O*32 +: 32]}),
        .job_heads     (heads),
        .job_share     (share),
        .job_tokens    (job_rows[7:0]),
        .job_m_base    (job_base[`SOFA_BUF_VM*48 +: 48]),
        .job_m_stride  (job_stride[`SOFA_BUF_VM*32 +: 32]),
        .job_m_hstride (generating ? 32'd0 : job_hstride[`SOFA_BUF_VM*32 +: 32]),
        .b_valid       (b_valid),
        .b_ready       (b_ready),
        .b_tau         (b_tau),
        .b_octave      (b_octave),
        .b_radius      (b_radius),
        .b_shifts      (b_shifts),
        .e_valid       (e_out_valid),
        .e_ready       (e_out_ready),
        .e_data        (e_out_data),
        .tn_valid      (tn_valid),
        .tn_ready      (tn_ready),
        .tn_turn       (tn_turn)
    );

    wire unused = &{1'b0, job_mode, job_base, job_stride, job_hstride};

endmodule

`resetall
