// SPDX-License-Identifier: Apache-2.0

/*
 * sofa_core: registers, sequencer and the stages fetch, dlzs, sads, sufa, store, wired as
 * docs/architecture.md shows, with taps between the stages.
 *
 * The taps are outputs for verification: every value that a stage hands on, in the cycle when it
 * does so. Leave them open (sofa_top does) and synthesis removes them.
 *
 * Source: H. Wang et al., "SOFA", MICRO 2024, and docs/architecture.md.
 */

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_regs.vh"
`include "sofa_td.vh"

module sofa_core #(
    // Query rows in parallel, power of two BUS_BYTES/2..128
    parameter ROWS = 16,
    // DLZS columns (keys predicted in parallel), power of two 4..BC_MAX
    parameter COLS = 8,
    // Largest head dimension, power of two 16..256, at least BUS_BYTES
    parameter D_MAX = 64,
    // Largest tile and K/V buffer slots, power of two, BUS_BYTES..64
    parameter BC_MAX = 32,
    // AXI data bytes, power of two 8..64
    parameter BUS_BYTES = 16,
    // Largest number of keys and of query rows, power of two 64..65536
    parameter KEYS_MAX = 4096,
    // AXI address bits, 32..48
    parameter ADDR_W = 40,
    // Fraction bits of a DLZS term, 0..8
    parameter SC_FRAC = 3,
    // 1: DLZS cells add the bit after the leading one of Q
    parameter TWO_TERM = 0,
    // Rows that share one exp unit, power of two, divides ROWS
    parameter EXP_ROWS = ROWS < 16 ? ROWS : 16,
    // Rows that share one divider, power of two, divides ROWS
    parameter DIV_ROWS = ROWS < 32 ? ROWS : 32,
    // K8 tile buffers in the ring, 2..4
    parameter K8_BUFS = 2,
    // K tile and V tile buffers in the rings, 2..4
    parameter KV_BUFS = 2,
    // 1: all taps work; 0: those that need registers of their own are constant
    parameter TAPS = 1,
    // Derived: slot index bits
    parameter SLOT_W = $clog2(BC_MAX),
    // Derived: score bits
    parameter SC_W = 8 + SC_FRAC + $clog2(D_MAX),
    // Derived: sum of weights bits
    parameter L_W = 16 + $clog2(KEYS_MAX),
    // Fixed: log2-domain score bits
    parameter Z_W = 26,
    // Derived: exp units
    parameter NEXP = ROWS / EXP_ROWS
) (
    input  wire                         clk,
    input  wire                         rst,

    /*
     * Interrupt, level
     */
    output wire                         irq,

    /*
     * AXI4-Lite slave: registers (docs/registers.md)
     */
    input  wire [11:0]                  s_axil_awaddr,
    input  wire [2:0]                   s_axil_awprot,
    input  wire                         s_axil_awvalid,
    output wire                         s_axil_awready,
    input  wire [31:0]                  s_axil_wdata,
    input  wire [3:0]                   s_axil_wstrb,
    input  wire                         s_axil_wvalid,
    output wire                         s_axil_wready,
    output wire [1:0]                   s_axil_bresp,
    output wire                         s_axil_bvalid,
    input  wire                         s_axil_bready,
    input  wire [11:0]                  s_axil_araddr,
    input  wire [2:0]                   s_axil_arprot,
    input  wire                         s_axil_arvalid,
    output wire                         s_axil_arready,
    output wire [31:0]                  s_axil_rdata,
    output wire [1:0]                   s_axil_rresp,
    output wire                         s_axil_rvalid,
    input  wire                         s_axil_rready,

    /*
     * AXI4 master
     */
    output wire [1:0]                   m_axi_awid,
    output wire [ADDR_W-1:0]            m_axi_awaddr,
    output wire [7:0]                   m_axi_awlen,
    output wire [2:0]                   m_axi_awsize,
    output wire [1:0]                   m_axi_awburst,
    output wire                         m_axi_awvalid,
    input  wire                         m_axi_awready,
    output wire [BUS_BYTES*8-1:0]       m_axi_wdata,
    output wire [BUS_BYTES-1:0]         m_axi_wstrb,
    output wire                         m_axi_wlast,
    output wire                         m_axi_wvalid,
    input  wire                         m_axi_wready,
    input  wire [1:0]                   m_axi_bid,
    input  wire [1:0]                   m_axi_bresp,
    input  wire                         m_axi_bvalid,
    output wire                         m_axi_bready,
    output wire [1:0]                   m_axi_arid,
    output wire [ADDR_W-1:0]            m_axi_araddr,
    output wire [7:0]                   m_axi_arlen,
    output wire [2:0]                   m_axi_arsize,
    output wire [1:0]                   m_axi_arburst,
    output wire                         m_axi_arvalid,
    input  wire                         m_axi_arready,
    input  wire [1:0]                   m_axi_rid,
    input  wire [BUS_BYTES*8-1:0]       m_axi_rdata,
    input  wire [1:0]                   m_axi_rresp,
    input  wire                         m_axi_rlast,
    input  wire                         m_axi_rvalid,
    output wire                         m_axi_rready,

    /*
     * Tap: score word leaving dlzs
     */
    output wire                         tap_s_valid,
    output wire                         tap_s_first,
    output wire                         tap_s_last,
    output wire [`TD_W-1:0]             tap_s_td,
    output wire [ROWS*12*SC_W-1:0]      tap_s_scores,

    /*
     * Tap: list word leaving sads
     */
    output wire                         tap_l_valid,
    output wire [1:0]                   tap_l_buf,
    output wire [3:0]                   tap_l_word,
    output wire [ROWS*4*(SLOT_W+1)-1:0] tap_l_data,

    /*
     * Tap: tile leaving sads
     */
    output wire                         tap_t_valid,
    output wire [`TD_W-1:0]             tap_t_td,
    output wire [BC_MAX-1:0]            tap_t_union,
    output wire [7:0]                   tap_t_nsteps,
    output wire [15:0]                  tap_t_nsel,

    /*
     * Tap: a row's pair step leaving an exp unit of sufa
     */
    output wire [NEXP-1:0]              tap_e_valid,
    output wire [NEXP*8-1:0]            tap_e_row,
    output wire [NEXP*Z_W-1:0]          tap_e_za,
    output wire [NEXP*Z_W-1:0]          tap_e_zb,
    output wire [NEXP*16-1:0]           tap_e_pa,
    output wire [NEXP*16-1:0]           tap_e_pb,
    output wire [NEXP-1:0]              tap_e_va,
    output wire [NEXP-1:0]              tap_e_vb,
    output wire [NEXP*17-1:0]           tap_e_m,
    output wire [NEXP*6-1:0]            tap_e_dm,

    /*
     * Tap: flush of a block in sufa
     */
    output wire                         tap_o_valid,
    output wire [7:0]                   tap_o_elem,
    output wire [ROWS*16-1:0]           tap_o_data,
    output wire [ROWS*L_W-1:0]          tap_o_sum,
    output wire [ROWS*16-1:0]           tap_o_rcp
);

// Smallest tile at run time
localparam BC_MIN = COLS < 4 ? 4 : COLS;

// csr to seq: job and control
wire [31:0] job_mode, job_d, job_rows, job_keys, job_heads, job_kv_heads, job_offset, job_bc;
wire [31:0] job_quota, job_radius, job_scale_m, job_scale_shift;
wire [5*48-1:0] job_base;
wire [5*32-1:0] job_stride, job_hstride;
wire start, soft_reset, busy, done, err_valid;
wire [7:0] err_code, err_info;
// seq to fetch: commands
wire qc_valid, qc_ready, tc_valid, tc_ready;
wire [47:0] qc_addr, tc_k8addr;
wire [7:0] qc_rows;
wire [31:0] tc_k8inc;
wire [`TD_W-1:0] tc_td;
// seq and the bus masters
wire blk_done, halt, stage_clear, rd_idle, wr_idle, rd_err_valid, wr_err_valid;
wire [1:0] rd_err_stream, rd_err_resp, wr_err_resp;
// fetch to dlzs and sufa: Q ring
wire q_wr_valid, q_wr_buf, q_commit, q_release_dlzs, q_release_sufa;
wire [$clog2(ROWS)-1:0] q_wr_row;
wire [7:0] q_wr_beat;
wire [BUS_BYTES*8-1:0] q_wr_data;
// fetch to dlzs: K8 ring
wire k8_wr_valid, k8_t_valid, k8_t_ready, k8_release;
wire [1:0] k8_wr_buf;
wire [SLOT_W-1:0] k8_wr_slot;
wire [7:0] k8_wr_beat;
wire [BUS_BYTES*8-1:0] k8_wr_data;
wire [`TD_W-1:0] k8_t_td;
// dlzs to sads: score words
wire s_valid, s_ready, s_first, s_last;
wire [`TD_W-1:0] s_td;
wire [ROWS*12*SC_W-1:0] s_scores;
// sads to sufa: list ring
wire l_wr_valid, l_release;
wire [1:0] l_wr_buf;
wire [3:0] l_wr_word;
wire [ROWS*4*(SLOT_W+1)-1:0] l_wr_data;
// sads to fetch: union of the tile
wire u_valid, u_ready;
wire [`TD_W-1:0] u_td;
wire [BC_MAX-1:0] u_union;
wire [7:0] u_nsteps;
wire [15:0] u_nsel;
// fetch to sufa: K ring and V ring
wire k_wr_valid, k_t_valid, k_t_ready, k_release, v_wr_valid, v_t_valid, v_t_ready, v_release;
wire [1:0] k_wr_buf, v_wr_buf;
wire [SLOT_W-1:0] k_wr_slot, v_wr_slot;
wire [7:0] k_wr_beat, k_t_nsteps, v_wr_beat;
wire [BUS_BYTES*8-1:0] k_wr_data, v_wr_data;
wire [`TD_W-1:0] k_t_td;
// sufa to store: output elements
wire o_valid, o_ready, o_last;
wire [7:0] o_elem, o_rows;
wire [ROWS*16-1:0] o_data;
wire [47:0] o_addr;
// events
wire ev_block, ev_tile, ev_beat_q, ev_beat_k8, ev_beat_k, ev_beat_v, ev_fetch_stall, ev_dlzs_busy;
wire ev_dlzs_stall, ev_sads_busy, ev_sads_stall, ev_sufa_busy, ev_sufa_stall, ev_sufa_starve;
wire ev_beat_o, ev_store_stall;
wire [7:0] ev_maxupd;

wire [`SOFA_CNT_NUM*`SOFA_CNT_INC_W-1:0] ev_inc;

wire stage_rst = rst || stage_clear;
wire cfg_dense = job_mode[`SOFA_MODE_DENSE_LSB];
wire [1:0] cfg_snap = job_mode[`SOFA_MODE_SNAP_LSB +: 2];

// what each counter grows by, 16 bits each; the entry of CYCLES is not looked at
wire u_taken = u_valid && u_ready;
wire [6:0] u_count;
assign ev_inc[`SOFA_CNT_CYCLES*16 +: 16] = 16'd0;
assign ev_inc[`SOFA_CNT_DLZS_BUSY*16 +: 16] = {15'd0, ev_dlzs_busy};
assign ev_inc[`SOFA_CNT_DLZS_STALL*16 +: 16] = {15'd0, ev_dlzs_stall};
assign ev_inc[`SOFA_CNT_SADS_BUSY*16 +: 16] = {15'd0, ev_sads_busy};
assign ev_inc[`SOFA_CNT_SADS_STALL*16 +: 16] = {15'd0, ev_sads_stall};
assign ev_inc[`SOFA_CNT_SUFA_BUSY*16 +: 16] = {15'd0, ev_sufa_busy};
assign ev_inc[`SOFA_CNT_SUFA_STALL*16 +: 16] = {15'd0, ev_sufa_stall};
assign ev_inc[`SOFA_CNT_SUFA_STARVE*16 +: 16] = {15'd0, ev_sufa_starve};
assign ev_inc[`SOFA_CNT_FETCH_STALL*16 +: 16] = {15'd0, ev_fetch_stall};
assign ev_inc[`SOFA_CNT_STORE_STALL*16 +: 16] = {15'd0, ev_store_stall};
assign ev_inc[`SOFA_CNT_TILES*16 +: 16] = {15'd0, ev_tile};
assign ev_inc[`SOFA_CNT_BLOCKS*16 +: 16] = {15'd0, ev_block};
assign ev_inc[`SOFA_CNT_SELECTED*16 +: 16] = u_taken ? u_nsel : 16'd0;
assign ev_inc[`SOFA_CNT_UNION*16 +: 16] = {9'd0, u_taken ? u_count : 7'd0};
assign ev_inc[`SOFA_CNT_STEPS*16 +: 16] = {8'd0, u_taken ? u_nsteps : 8'd0};
assign ev_inc[`SOFA_CNT_MAX_UPDATES*16 +: 16] = {8'd0, ev_maxupd};
assign ev_inc[`SOFA_CNT_BEATS_Q*16 +: 16] = {15'd0, ev_beat_q};
assign ev_inc[`SOFA_CNT_BEATS_K8*16 +: 16] = {15'd0, ev_beat_k8};
assign ev_inc[`SOFA_CNT_BEATS_K*16 +: 16] = {15'd0, ev_beat_k};
assign ev_inc[`SOFA_CNT_BEATS_V*16 +: 16] = {15'd0, ev_beat_v};
assign ev_inc[`SOFA_CNT_BEATS_O*16 +: 16] = {15'd0, ev_beat_o};

popcount #(
    .WIDTH(BC_MAX)
) union_count_inst (
    .bits(u_union),
    .count(u_count)
);

// taps
assign tap_s_valid = s_valid && s_ready;
assign tap_s_first = s_first;
assign tap_s_last = s_last;
assign tap_s_td = s_td;
assign tap_s_scores = s_scores;
assign tap_l_valid = l_wr_valid;
assign tap_l_buf = l_wr_buf;
assign tap_l_word = l_wr_word;
assign tap_l_data = l_wr_data;
assign tap_t_valid = u_valid && u_ready;
assign tap_t_td = u_td;
assign tap_t_union = u_union;
assign tap_t_nsteps = u_nsteps;
assign tap_t_nsel = u_nsel;

csr #(
    .ROWS(ROWS),
    .COLS(COLS),
    .D_MAX(D_MAX),
    .BC_MAX(BC_MAX),
    .BUS_BYTES(BUS_BYTES),
    .KEYS_MAX(KEYS_MAX),
    .ADDR_W(ADDR_W),
    .SC_FRAC(SC_FRAC),
    .TWO_TERM(TWO_TERM),
    .SC_W(SC_W)
) csr_inst (
    .clk(clk),
    .rst(rst),
    .irq(irq),
    .s_axil_awaddr(s_axil_awaddr),
    .s_axil_awprot(s_axil_awprot),
    .s_axil_awvalid(s_axil_awvalid),
    .s_axil_awready(s_axil_awready),
    .s_axil_wdata(s_axil_wdata),
    .s_axil_wstrb(s_axil_wstrb),
    .s_axil_wvalid(s_axil_wvalid),
    .s_axil_wready(s_axil_wready),
    .s_axil_bresp(s_axil_bresp),
    .s_axil_bvalid(s_axil_bvalid),
    .s_axil_bready(s_axil_bready),
    .s_axil_araddr(s_axil_araddr),
    .s_axil_arprot(s_axil_arprot),
    .s_axil_arvalid(s_axil_arvalid),
    .s_axil_arready(s_axil_arready),
    .s_axil_rdata(s_axil_rdata),
    .s_axil_rresp(s_axil_rresp),
    .s_axil_rvalid(s_axil_rvalid),
    .s_axil_rready(s_axil_rready),
    .start(start),
    .soft_reset(soft_reset),
    .busy(busy),
    .done(done),
    .err_valid(err_valid),
    .err_code(err_code),
    .err_info(err_info),
    .job_mode(job_mode),
    .job_d(job_d),
    .job_rows(job_rows),
    .job_keys(job_keys),
    .job_heads(job_heads),
    .job_kv_heads(job_kv_heads),
    .job_offset(job_offset),
    .job_bc(job_bc),
    .job_quota(job_quota),
    .job_radius(job_radius),
    .job_scale_m(job_scale_m),
    .job_scale_shift(job_scale_shift),
    .job_base(job_base),
    .job_stride(job_stride),
    .job_hstride(job_hstride),
    .ev_inc(ev_inc)
);

seq #(
    .ROWS(ROWS),
    .D_MAX(D_MAX),
    .BC_MAX(BC_MAX),
    .BC_MIN(BC_MIN),
    .BUS_BYTES(BUS_BYTES),
    .KEYS_MAX(KEYS_MAX),
    .ADDR_W(ADDR_W),
    .SC_W(SC_W),
    .TWO_TERM(TWO_TERM)
) seq_inst (
    .clk(clk),
    .rst(rst),
    .start(start),
    .soft_reset(soft_reset),
    .busy(busy),
    .done(done),
    .err_valid(err_valid),
    .err_code(err_code),
    .err_info(err_info),
    .job_mode(job_mode),
    .job_d(job_d),
    .job_rows(job_rows),
    .job_keys(job_keys),
    .job_heads(job_heads),
    .job_kv_heads(job_kv_heads),
    .job_offset(job_offset),
    .job_bc(job_bc),
    .job_quota(job_quota),
    .job_radius(job_radius),
    .job_scale_m(job_scale_m),
    .job_scale_shift(job_scale_shift),
    .job_base(job_base),
    .job_stride(job_stride),
    .job_hstride(job_hstride),
    .qc_valid(qc_valid),
    .qc_ready(qc_ready),
    .qc_addr(qc_addr),
    .qc_rows(qc_rows),
    .tc_valid(tc_valid),
    .tc_ready(tc_ready),
    .tc_k8addr(tc_k8addr),
    .tc_k8inc(tc_k8inc),
    .tc_td(tc_td),
    .blk_done(blk_done),
    .halt(halt),
    .stage_rst(stage_clear),
    .rd_idle(rd_idle),
    .wr_idle(wr_idle),
    .rd_err_valid(rd_err_valid),
    .rd_err_stream(rd_err_stream),
    .rd_err_resp(rd_err_resp),
    .wr_err_valid(wr_err_valid),
    .wr_err_resp(wr_err_resp),
    .ev_block(ev_block),
    .ev_tile(ev_tile)
);

fetch #(
    .ROWS(ROWS),
    .D_MAX(D_MAX),
    .BC_MAX(BC_MAX),
    .BUS_BYTES(BUS_BYTES),
    .ADDR_W(ADDR_W),
    .K8_BUFS(K8_BUFS),
    .KV_BUFS(KV_BUFS)
) fetch_inst (
    .clk(clk),
    .rst(stage_rst),
    .cfg_d(job_d[8:0]),
    .cfg_dense(cfg_dense),
    .cfg_q_stride(job_stride[0*32 +: 32]),
    .qc_valid(qc_valid),
    .qc_ready(qc_ready),
    .qc_addr(qc_addr),
    .qc_rows(qc_rows),
    .tc_valid(tc_valid),
    .tc_ready(tc_ready),
    .tc_k8addr(tc_k8addr),
    .tc_k8inc(tc_k8inc),
    .tc_td(tc_td),
    .q_wr_valid(q_wr_valid),
    .q_wr_buf(q_wr_buf),
    .q_wr_row(q_wr_row),
    .q_wr_beat(q_wr_beat),
    .q_wr_data(q_wr_data),
    .q_commit(q_commit),
    .q_release_dlzs(q_release_dlzs),
    .q_release_sufa(q_release_sufa),
    .k8_wr_valid(k8_wr_valid),
    .k8_wr_buf(k8_wr_buf),
    .k8_wr_slot(k8_wr_slot),
    .k8_wr_beat(k8_wr_beat),
    .k8_wr_data(k8_wr_data),
    .k8_t_valid(k8_t_valid),
    .k8_t_ready(k8_t_ready),
    .k8_t_td(k8_t_td),
    .k8_release(k8_release),
    .u_valid(u_valid),
    .u_ready(u_ready),
    .u_td(u_td),
    .u_union(u_union),
    .u_nsteps(u_nsteps),
    .k_wr_valid(k_wr_valid),
    .k_wr_buf(k_wr_buf),
    .k_wr_slot(k_wr_slot),
    .k_wr_beat(k_wr_beat),
    .k_wr_data(k_wr_data),
    .k_t_valid(k_t_valid),
    .k_t_ready(k_t_ready),
    .k_t_td(k_t_td),
    .k_t_nsteps(k_t_nsteps),
    .k_release(k_release),
    .v_wr_valid(v_wr_valid),
    .v_wr_buf(v_wr_buf),
    .v_wr_slot(v_wr_slot),
    .v_wr_beat(v_wr_beat),
    .v_wr_data(v_wr_data),
    .v_t_valid(v_t_valid),
    .v_t_ready(v_t_ready),
    .v_release(v_release),
    .halt(halt),
    .idle(rd_idle),
    .err_valid(rd_err_valid),
    .err_stream(rd_err_stream),
    .err_resp(rd_err_resp),
    .ev_beat_q(ev_beat_q),
    .ev_beat_k8(ev_beat_k8),
    .ev_beat_k(ev_beat_k),
    .ev_beat_v(ev_beat_v),
    .ev_stall(ev_fetch_stall),
    .m_axi_arid(m_axi_arid),
    .m_axi_araddr(m_axi_araddr),
    .m_axi_arlen(m_axi_arlen),
    .m_axi_arsize(m_axi_arsize),
    .m_axi_arburst(m_axi_arburst),
    .m_axi_arvalid(m_axi_arvalid),
    .m_axi_arready(m_axi_arready),
    .m_axi_rid(m_axi_rid),
    .m_axi_rdata(m_axi_rdata),
    .m_axi_rresp(m_axi_rresp),
    .m_axi_rlast(m_axi_rlast),
    .m_axi_rvalid(m_axi_rvalid),
    .m_axi_rready(m_axi_rready)
);

dlzs #(
    .ROWS(ROWS),
    .COLS(COLS),
    .D_MAX(D_MAX),
    .BC_MAX(BC_MAX),
    .BUS_BYTES(BUS_BYTES),
    .SC_FRAC(SC_FRAC),
    .TWO_TERM(TWO_TERM),
    .K8_BUFS(K8_BUFS)
) dlzs_inst (
    .clk(clk),
    .rst(stage_rst),
    .cfg_d(job_d[8:0]),
    .cfg_dense(cfg_dense),
    .cfg_snap(cfg_snap),
    .q_wr_valid(q_wr_valid),
    .q_wr_buf(q_wr_buf),
    .q_wr_row(q_wr_row),
    .q_wr_beat(q_wr_beat),
    .q_wr_data(q_wr_data),
    .q_commit(q_commit),
    .q_release(q_release_dlzs),
    .k8_wr_valid(k8_wr_valid),
    .k8_wr_buf(k8_wr_buf),
    .k8_wr_slot(k8_wr_slot),
    .k8_wr_beat(k8_wr_beat),
    .k8_wr_data(k8_wr_data),
    .k8_t_valid(k8_t_valid),
    .k8_t_ready(k8_t_ready),
    .k8_t_td(k8_t_td),
    .k8_release(k8_release),
    .m_valid(s_valid),
    .m_ready(s_ready),
    .m_first(s_first),
    .m_last(s_last),
    .m_td(s_td),
    .m_scores(s_scores),
    .ev_busy(ev_dlzs_busy),
    .ev_stall(ev_dlzs_stall)
);

sads #(
    .ROWS(ROWS),
    .COLS(COLS),
    .BC_MAX(BC_MAX),
    .SC_W(SC_W)
) sads_inst (
    .clk(clk),
    .rst(stage_rst),
    .cfg_dense(cfg_dense),
    .cfg_quota(job_quota[7:0]),
    .cfg_radius(job_radius[SC_W-1:0]),
    .s_valid(s_valid),
    .s_ready(s_ready),
    .s_first(s_first),
    .s_last(s_last),
    .s_td(s_td),
    .s_scores(s_scores),
    .l_wr_valid(l_wr_valid),
    .l_wr_buf(l_wr_buf),
    .l_wr_word(l_wr_word),
    .l_wr_data(l_wr_data),
    .l_release(l_release),
    .m_valid(u_valid),
    .m_ready(u_ready),
    .m_td(u_td),
    .m_union(u_union),
    .m_nsteps(u_nsteps),
    .m_nsel(u_nsel),
    .ev_busy(ev_sads_busy),
    .ev_stall(ev_sads_stall)
);

sufa #(
    .ROWS(ROWS),
    .D_MAX(D_MAX),
    .BC_MAX(BC_MAX),
    .BUS_BYTES(BUS_BYTES),
    .KEYS_MAX(KEYS_MAX),
    .EXP_ROWS(EXP_ROWS),
    .DIV_ROWS(DIV_ROWS),
    .KV_BUFS(KV_BUFS),
    .TAPS(TAPS)
) sufa_inst (
    .clk(clk),
    .rst(stage_rst),
    .cfg_d(job_d[8:0]),
    .cfg_scale_m(job_scale_m[15:0]),
    .cfg_scale_shift(job_scale_shift[5:0]),
    .q_wr_valid(q_wr_valid),
    .q_wr_buf(q_wr_buf),
    .q_wr_row(q_wr_row),
    .q_wr_beat(q_wr_beat),
    .q_wr_data(q_wr_data),
    .q_commit(q_commit),
    .q_release(q_release_sufa),
    .l_wr_valid(l_wr_valid),
    .l_wr_buf(l_wr_buf),
    .l_wr_word(l_wr_word),
    .l_wr_data(l_wr_data),
    .l_release(l_release),
    .k_wr_valid(k_wr_valid),
    .k_wr_buf(k_wr_buf),
    .k_wr_slot(k_wr_slot),
    .k_wr_beat(k_wr_beat),
    .k_wr_data(k_wr_data),
    .k_t_valid(k_t_valid),
    .k_t_ready(k_t_ready),
    .k_t_td(k_t_td),
    .k_t_nsteps(k_t_nsteps),
    .k_release(k_release),
    .v_wr_valid(v_wr_valid),
    .v_wr_buf(v_wr_buf),
    .v_wr_slot(v_wr_slot),
    .v_wr_beat(v_wr_beat),
    .v_wr_data(v_wr_data),
    .v_t_valid(v_t_valid),
    .v_t_ready(v_t_ready),
    .v_release(v_release),
    .o_valid(o_valid),
    .o_ready(o_ready),
    .o_elem(o_elem),
    .o_data(o_data),
    .o_last(o_last),
    .o_addr(o_addr),
    .o_rows(o_rows),
    .ev_busy(ev_sufa_busy),
    .ev_stall(ev_sufa_stall),
    .ev_starve(ev_sufa_starve),
    .ev_maxupd(ev_maxupd),
    .tap_e_valid(tap_e_valid),
    .tap_e_row(tap_e_row),
    .tap_e_za(tap_e_za),
    .tap_e_zb(tap_e_zb),
    .tap_e_pa(tap_e_pa),
    .tap_e_pb(tap_e_pb),
    .tap_e_va(tap_e_va),
    .tap_e_vb(tap_e_vb),
    .tap_e_m(tap_e_m),
    .tap_e_dm(tap_e_dm),
    .tap_o_valid(tap_o_valid),
    .tap_o_elem(tap_o_elem),
    .tap_o(tap_o_data),
    .tap_l(tap_o_sum),
    .tap_r(tap_o_rcp)
);

store #(
    .ROWS(ROWS),
    .D_MAX(D_MAX),
    .BUS_BYTES(BUS_BYTES),
    .ADDR_W(ADDR_W)
) store_inst (
    .clk(clk),
    .rst(stage_rst),
    .cfg_d(job_d[8:0]),
    .cfg_o_stride(job_stride[4*32 +: 32]),
    .o_valid(o_valid),
    .o_ready(o_ready),
    .o_elem(o_elem),
    .o_data(o_data),
    .o_last(o_last),
    .o_addr(o_addr),
    .o_rows(o_rows),
    .halt(halt),
    .idle(wr_idle),
    .err_valid(wr_err_valid),
    .err_resp(wr_err_resp),
    .blk_done(blk_done),
    .ev_beat(ev_beat_o),
    .ev_stall(ev_store_stall),
    .m_axi_awid(m_axi_awid),
    .m_axi_awaddr(m_axi_awaddr),
    .m_axi_awlen(m_axi_awlen),
    .m_axi_awsize(m_axi_awsize),
    .m_axi_awburst(m_axi_awburst),
    .m_axi_awvalid(m_axi_awvalid),
    .m_axi_awready(m_axi_awready),
    .m_axi_wdata(m_axi_wdata),
    .m_axi_wstrb(m_axi_wstrb),
    .m_axi_wlast(m_axi_wlast),
    .m_axi_wvalid(m_axi_wvalid),
    .m_axi_wready(m_axi_wready),
    .m_axi_bid(m_axi_bid),
    .m_axi_bresp(m_axi_bresp),
    .m_axi_bvalid(m_axi_bvalid),
    .m_axi_bready(m_axi_bready)
);

endmodule

`resetall
