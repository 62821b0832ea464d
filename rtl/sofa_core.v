// SPDX-License-Identifier: Apache-2.0

/*
 * sofa_core: registers, sequencer and the stages fetch, dlzs, sads, rass, kvgen, sufa, store, wired
 * as docs/architecture.md shows, with taps between the stages.
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
    // Largest head dimension, power of two max(16, BUS_BYTES)..256
    parameter D_MAX = 64,
    // Largest tile, power of two, BUS_BYTES..64
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
    // Rows that share one exp unit, power of two 2..ROWS
    parameter EXP_ROWS = ROWS < 16 ? ROWS : 16,
    // Rows that share one divider, power of two EXP_ROWS..ROWS
    parameter DIV_ROWS = ROWS < 32 ? ROWS : 32,
    // K8 tile buffers in the ring, 2..4
    parameter K8_BUFS = 2,
    // K and V buffers in the rings, 2..4
    parameter KV_BUFS = 2,
    // Key slots of a K or V buffer, power of two, max(BUS_BYTES/2, 8)..BC_MAX
    parameter KV_SLOTS = BC_MAX,
    // Largest model dimension, power of two 64..4096
    parameter H_MAX = 1024,
    // Tokens that KVGEN projects in parallel: 1, 2, 4; 1 where ROWS < BUS_BYTES
    parameter KG_TOK = 1,
    // KVGEN weight memory, words of ROWS x 16 bits, 64..65536
    parameter WGT_WORDS = 4608,
    // Pairs that the K^ path rotates in a cycle, power of two 1..ROWS/2
    parameter ROPE_PAIRS = 1,
    // 1: all taps work; 0: those that need registers of their own are constant
    parameter TAPS = 1,
    // Derived: slot index bits, of a tile and of a buffer
    parameter SLOT_W = $clog2(BC_MAX),
    parameter KSLOT_W = $clog2(KV_SLOTS),
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
    output wire [2:0]                   m_axi_awid,
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
    input  wire [2:0]                   m_axi_bid,
    input  wire [1:0]                   m_axi_bresp,
    input  wire                         m_axi_bvalid,
    output wire                         m_axi_bready,
    output wire [2:0]                   m_axi_arid,
    output wire [ADDR_W-1:0]            m_axi_araddr,
    output wire [7:0]                   m_axi_arlen,
    output wire [2:0]                   m_axi_arsize,
    output wire [1:0]                   m_axi_arburst,
    output wire                         m_axi_arvalid,
    input  wire                         m_axi_arready,
    input  wire [2:0]                   m_axi_rid,
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
     * Tap: list word of a phase leaving rass
     */
    output wire                         tap_pl_valid,
    output wire [1:0]                   tap_pl_buf,
    output wire [3:0]                   tap_pl_word,
    output wire [ROWS*4*(KSLOT_W+1)-1:0] tap_pl_data,

    /*
     * Tap: phase leaving rass
     */
    output wire                         tap_p_valid,
    output wire [`TD_W-1:0]             tap_p_td,
    output wire [KV_SLOTS*SLOT_W-1:0]   tap_p_slots,
    output wire [KV_SLOTS-1:0]          tap_p_mask,
    output wire [7:0]                   tap_p_nsteps,

    /*
     * Tap: phase leaving kvgen for the gather; mask: keys read from memory
     */
    output wire                         tap_g_valid,
    output wire [KV_SLOTS-1:0]          tap_g_mask,

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
// List buffers behind sads: those of rass, or those of sufa where rass is only wires
localparam LIST_BUFS = KV_SLOTS == BC_MAX ? 4 : 2;

// csr to seq: job and control
wire [31:0] job_mode, job_d, job_rows, job_keys, job_heads, job_kv_heads, job_offset, job_bc;
wire [31:0] job_quota, job_radius, job_scale_m, job_scale_shift, job_model_dim, job_kp_exp;
wire [31:0] job_kp_bias, job_kp_shift, job_kg_shift_k, job_kg_shift_v;
wire [47:0] job_next;
wire [`SOFA_BUFFER_NUM*48-1:0] job_base;
wire [`SOFA_BUFFER_NUM*32-1:0] job_stride, job_hstride;
wire start, start_chain, soft_reset, busy, done, job_done, err_valid;
wire [7:0] err_code, err_info;
wire [1:0] err_lost;
wire [31:0] timeout;
// seq to csr: a word of a descriptor
wire d_wr_valid;
wire [5:0] d_wr_word;
wire [31:0] d_wr_data;
// seq to fetch: commands
wire qc_valid, qc_ready, tc_valid, tc_ready;
wire [47:0] qc_addr, tc_k8addr;
wire [7:0] qc_rows;
wire [31:0] tc_k8inc;
wire [`TD_W-1:0] tc_td;
// seq and the bus masters
wire blk_done, kp_done, kv_done, halt, stage_clear, rd_idle, wr_idle, rd_err_valid, wr_err_valid;
wire rd_err_protocol, wr_err_protocol, rd_move, wr_move;
wire [2:0] rd_err_stream, wr_err_id, wr_wait;
wire [1:0] rd_err_resp, wr_err_resp, rd_wait;
// streams of fetch: w codes for dlzs, r RoPE rows for dlzs, x for kvgen, d descriptors for seq
wire w_c_valid, w_c_ready, w_d_valid, w_d_ready, r_c_valid, r_c_ready, r_d_valid, r_d_ready;
wire x_c_valid, x_c_ready, x_d_valid, x_d_ready, d_c_valid, d_c_ready, d_d_valid, d_d_ready;
wire [47:0] w_c_addr, r_c_addr, x_c_addr, d_c_addr;
wire [15:0] w_c_beats, r_c_beats, x_c_beats, d_c_beats;
wire [BUS_BYTES*8-1:0] w_d_data, r_d_data, x_d_data, d_d_data;
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
// dlzs to sads: score words; dlzs to store: predicted keys
wire s_valid, s_ready, s_first, s_last;
wire [`TD_W-1:0] s_td;
wire [ROWS*12*SC_W-1:0] s_scores;
wire kp_valid, kp_ready;
wire [47:0] kp_addr;
wire [BUS_BYTES*8-1:0] kp_data;
wire [BUS_BYTES-1:0] kp_strb;
// sads to rass: lists and tile
wire sl_wr_valid, sl_release;
wire [1:0] sl_wr_buf;
wire [3:0] sl_wr_word;
wire [ROWS*4*(SLOT_W+1)-1:0] sl_wr_data;
wire t_valid, t_ready;
wire [`TD_W-1:0] t_td;
wire [BC_MAX-1:0] t_union;
wire [7:0] t_nsteps;
wire [15:0] t_nsel;
// rass to sufa: list ring; rass to kvgen: phase
wire l_wr_valid, l_release;
wire [1:0] l_wr_buf;
wire [3:0] l_wr_word;
wire [ROWS*4*(KSLOT_W+1)-1:0] l_wr_data;
wire p_valid, p_ready;
wire [`TD_W-1:0] p_td;
wire [KV_SLOTS*SLOT_W-1:0] p_slots;
wire [KV_SLOTS-1:0] p_mask;
wire [7:0] p_nsteps;
// kvgen to fetch: gather order
wire u_valid, u_ready;
wire [`TD_W-1:0] u_td;
wire [KV_SLOTS*SLOT_W-1:0] u_slots;
wire [KV_SLOTS-1:0] u_mask;
wire [7:0] u_nsteps;
// fetch to kvgen: what it gathered
wire fk_wr_valid, fk_t_valid, fk_t_ready, fv_wr_valid, fv_t_valid, fv_t_ready;
wire [1:0] fk_wr_buf, fv_wr_buf;
wire [KSLOT_W-1:0] fk_wr_slot, fv_wr_slot;
wire [7:0] fk_wr_beat, fk_t_nsteps, fv_wr_beat;
wire [BUS_BYTES*8-1:0] fk_wr_data, fv_wr_data;
wire [`TD_W-1:0] fk_t_td;
// kvgen to sufa: K ring and V ring; kvgen to store: generated vectors
wire k_wr_valid, k_t_valid, k_t_ready, k_release, v_wr_valid, v_t_valid, v_t_ready, v_release;
wire [1:0] k_wr_buf, v_wr_buf;
wire [KSLOT_W-1:0] k_wr_slot, v_wr_slot;
wire [7:0] k_wr_beat, k_t_nsteps, v_wr_beat;
wire [BUS_BYTES*8-1:0] k_wr_data, v_wr_data;
wire [`TD_W-1:0] k_t_td;
wire wb_valid, wb_ready, unused_kvgen_idle;
wire [47:0] wb_addr;
wire [BUS_BYTES*8-1:0] wb_data;
wire [BUS_BYTES-1:0] wb_strb;
// single-beat writes: predicted keys in a predict job, else generated vectors
wire sx_ready, sx_done;
// sufa to store: output elements
wire o_valid, o_ready, o_last;
wire [7:0] o_elem, o_rows;
wire [ROWS*16-1:0] o_data;
wire [47:0] o_addr;
// events
wire [7:0] ev_beat, ev_maxupd;
wire ev_block, ev_tile, ev_fetch_stall, ev_dlzs_busy, ev_dlzs_stall, ev_sads_busy, ev_sads_stall;
wire ev_rass_busy, ev_rass_stall, ev_kvgen_busy, ev_kvgen_stall, ev_kvgen_starve, ev_gen;
wire ev_sufa_busy, ev_sufa_stall, ev_sufa_starve, ev_beat_o, ev_beat_wb, ev_store_stall;

wire [`SOFA_CNT_NUM*`SOFA_CNT_INC_W-1:0] ev_inc;

wire stage_rst = rst || stage_clear;
wire cfg_dense = job_mode[`SOFA_MODE_DENSE_LSB];
wire [1:0] cfg_snap = job_mode[`SOFA_MODE_SNAP_LSB +: 2];
wire cfg_generate = job_mode[`SOFA_MODE_GENERATE_LSB];
// low between two jobs: the weights' heads are counted from 0 in every job
wire kvgen_on = cfg_generate && !job_done;
wire cfg_predict = job_mode[`SOFA_MODE_PREDICT_LSB];
wire [1:0] cfg_rope = job_mode[`SOFA_MODE_ROPE_LSB +: 2];

// what each counter grows by, 16 bits each; the entry of CYCLES is not looked at
wire t_taken = t_valid && t_ready;
wire p_taken = p_valid && p_ready;
wire u_taken = u_valid && u_ready;
wire [6:0] p_count, u_count;
assign ev_inc[`SOFA_CNT_CYCLES*16 +: 16] = 16'd0;
assign ev_inc[`SOFA_CNT_SUFA_FLUSH*16 +: 16] = 16'd0;
assign ev_inc[`SOFA_CNT_DLZS_BUSY*16 +: 16] = {15'd0, ev_dlzs_busy};
assign ev_inc[`SOFA_CNT_DLZS_STALL*16 +: 16] = {15'd0, ev_dlzs_stall};
assign ev_inc[`SOFA_CNT_SADS_BUSY*16 +: 16] = {15'd0, ev_sads_busy};
assign ev_inc[`SOFA_CNT_SADS_STALL*16 +: 16] = {15'd0, ev_sads_stall};
assign ev_inc[`SOFA_CNT_RASS_BUSY*16 +: 16] = {15'd0, ev_rass_busy};
assign ev_inc[`SOFA_CNT_RASS_STALL*16 +: 16] = {15'd0, ev_rass_stall};
assign ev_inc[`SOFA_CNT_KVGEN_BUSY*16 +: 16] = {15'd0, ev_kvgen_busy};
assign ev_inc[`SOFA_CNT_KVGEN_STALL*16 +: 16] = {15'd0, ev_kvgen_stall};
assign ev_inc[`SOFA_CNT_KVGEN_STARVE*16 +: 16] = {15'd0, ev_kvgen_starve};
assign ev_inc[`SOFA_CNT_SUFA_BUSY*16 +: 16] = {15'd0, ev_sufa_busy};
assign ev_inc[`SOFA_CNT_SUFA_STALL*16 +: 16] = {15'd0, ev_sufa_stall};
assign ev_inc[`SOFA_CNT_SUFA_STARVE*16 +: 16] = {15'd0, ev_sufa_starve};
assign ev_inc[`SOFA_CNT_FETCH_STALL*16 +: 16] = {15'd0, ev_fetch_stall};
assign ev_inc[`SOFA_CNT_STORE_STALL*16 +: 16] = {15'd0, ev_store_stall};
assign ev_inc[`SOFA_CNT_TILES*16 +: 16] = {15'd0, ev_tile};
assign ev_inc[`SOFA_CNT_BLOCKS*16 +: 16] = {15'd0, ev_block};
assign ev_inc[`SOFA_CNT_PHASES*16 +: 16] = {15'd0, p_taken};
assign ev_inc[`SOFA_CNT_PREDICT*16 +: 16] = {15'd0, cfg_predict};
assign ev_inc[`SOFA_CNT_SELECTED*16 +: 16] = t_taken ? t_nsel : 16'd0;
assign ev_inc[`SOFA_CNT_UNION*16 +: 16] = {9'd0, p_taken ? p_count : 7'd0};
assign ev_inc[`SOFA_CNT_STEPS*16 +: 16] = {8'd0, p_taken ? p_nsteps : 8'd0};
assign ev_inc[`SOFA_CNT_MAX_UPDATES*16 +: 16] = {8'd0, ev_maxupd};
assign ev_inc[`SOFA_CNT_GENERATED*16 +: 16] = {15'd0, ev_gen};
assign ev_inc[`SOFA_CNT_REUSED*16 +: 16] = {9'd0, u_taken ? u_count : 7'd0};
assign ev_inc[`SOFA_CNT_BEATS_Q*16 +: 16] = {15'd0, ev_beat[0]};
assign ev_inc[`SOFA_CNT_BEATS_K8*16 +: 16] = {15'd0, ev_beat[1]};
assign ev_inc[`SOFA_CNT_BEATS_K*16 +: 16] = {15'd0, ev_beat[2]};
assign ev_inc[`SOFA_CNT_BEATS_V*16 +: 16] = {15'd0, ev_beat[3]};
assign ev_inc[`SOFA_CNT_BEATS_W*16 +: 16] = {15'd0, ev_beat[4]};
assign ev_inc[`SOFA_CNT_BEATS_R*16 +: 16] = {15'd0, ev_beat[5]};
assign ev_inc[`SOFA_CNT_BEATS_X*16 +: 16] = {15'd0, ev_beat[6]};
assign ev_inc[`SOFA_CNT_BEATS_D*16 +: 16] = {15'd0, ev_beat[7]};
assign ev_inc[`SOFA_CNT_BEATS_O*16 +: 16] = {15'd0, ev_beat_o};
assign ev_inc[`SOFA_CNT_BEATS_WB*16 +: 16] = {15'd0, ev_beat_wb};

popcount #(
    .WIDTH(KV_SLOTS)
) union_count_inst (
    .bits(p_mask), .count(p_count)
);

popcount #(
    .WIDTH(KV_SLOTS)
) read_count_inst (
    .bits(u_mask), .count(u_count)
);

// taps
assign tap_s_valid = s_valid && s_ready;
assign tap_s_first = s_first;
assign tap_s_last = s_last;
assign tap_s_td = s_td;
assign tap_s_scores = s_scores;
assign tap_l_valid = sl_wr_valid;
assign tap_l_buf = sl_wr_buf;
assign tap_l_word = sl_wr_word;
assign tap_l_data = sl_wr_data;
assign tap_t_valid = t_taken;
assign tap_t_td = t_td;
assign tap_t_union = t_union;
assign tap_t_nsteps = t_nsteps;
assign tap_t_nsel = t_nsel;
assign tap_pl_valid = l_wr_valid;
assign tap_pl_buf = l_wr_buf;
assign tap_pl_word = l_wr_word;
assign tap_pl_data = l_wr_data;
assign tap_p_valid = p_taken;
assign tap_p_td = p_td;
assign tap_p_slots = p_slots;
assign tap_p_mask = p_mask;
assign tap_p_nsteps = p_nsteps;
assign tap_g_valid = u_taken;
assign tap_g_mask = u_mask;

csr #(
    .ROWS(ROWS), .COLS(COLS), .D_MAX(D_MAX), .BC_MAX(BC_MAX), .BUS_BYTES(BUS_BYTES),
    .KEYS_MAX(KEYS_MAX), .ADDR_W(ADDR_W), .SC_FRAC(SC_FRAC), .TWO_TERM(TWO_TERM), .SC_W(SC_W),
    .KV_SLOTS(KV_SLOTS), .H_MAX(H_MAX), .KG_TOK(KG_TOK), .WGT_WORDS(WGT_WORDS),
    .ROPE_PAIRS(ROPE_PAIRS)
) csr_inst (
    .clk(clk), .rst(rst), .irq(irq), .s_axil_awaddr(s_axil_awaddr), .s_axil_awprot(s_axil_awprot),
    .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(s_axil_awready), .s_axil_wdata(s_axil_wdata),
    .s_axil_wstrb(s_axil_wstrb), .s_axil_wvalid(s_axil_wvalid), .s_axil_wready(s_axil_wready),
    .s_axil_bresp(s_axil_bresp), .s_axil_bvalid(s_axil_bvalid), .s_axil_bready(s_axil_bready),
    .s_axil_araddr(s_axil_araddr), .s_axil_arprot(s_axil_arprot), .s_axil_arvalid(s_axil_arvalid),
    .s_axil_arready(s_axil_arready), .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp),
    .s_axil_rvalid(s_axil_rvalid), .s_axil_rready(s_axil_rready), .start(start),
    .start_chain(start_chain), .soft_reset(soft_reset), .busy(busy), .done(done),
    .job_done(job_done), .err_valid(err_valid), .err_code(err_code), .err_info(err_info),
    .err_lost(err_lost), .timeout(timeout),
    .d_wr_valid(d_wr_valid), .d_wr_word(d_wr_word), .d_wr_data(d_wr_data), .job_mode(job_mode),
    .job_d(job_d), .job_rows(job_rows), .job_keys(job_keys), .job_heads(job_heads),
    .job_kv_heads(job_kv_heads), .job_offset(job_offset), .job_bc(job_bc), .job_quota(job_quota),
    .job_radius(job_radius), .job_scale_m(job_scale_m), .job_scale_shift(job_scale_shift),
    .job_model_dim(job_model_dim), .job_kp_exp(job_kp_exp), .job_kp_bias(job_kp_bias),
    .job_kp_shift(job_kp_shift), .job_kg_shift_k(job_kg_shift_k), .job_kg_shift_v(job_kg_shift_v),
    .job_next(job_next), .job_base(job_base), .job_stride(job_stride), .job_hstride(job_hstride),
    .ev_inc(ev_inc)
);

seq #(
    .ROWS(ROWS), .COLS(COLS), .D_MAX(D_MAX), .BC_MAX(BC_MAX), .BC_MIN(BC_MIN),
    .BUS_BYTES(BUS_BYTES), .KEYS_MAX(KEYS_MAX), .ADDR_W(ADDR_W), .SC_W(SC_W), .TWO_TERM(TWO_TERM),
    .H_MAX(H_MAX), .WGT_WORDS(WGT_WORDS)
) seq_inst (
    .clk(clk), .rst(rst), .start(start), .start_chain(start_chain), .soft_reset(soft_reset),
    .busy(busy), .done(done), .job_done(job_done), .err_valid(err_valid), .err_code(err_code),
    .err_info(err_info), .err_lost(err_lost), .timeout(timeout),
    .d_wr_valid(d_wr_valid), .d_wr_word(d_wr_word), .d_wr_data(d_wr_data),
    .job_mode(job_mode), .job_d(job_d), .job_rows(job_rows), .job_keys(job_keys),
    .job_heads(job_heads), .job_kv_heads(job_kv_heads), .job_offset(job_offset), .job_bc(job_bc),
    .job_quota(job_quota), .job_radius(job_radius), .job_scale_m(job_scale_m),
    .job_scale_shift(job_scale_shift), .job_model_dim(job_model_dim), .job_kp_exp(job_kp_exp),
    .job_kp_bias(job_kp_bias), .job_kp_shift(job_kp_shift), .job_kg_shift_k(job_kg_shift_k),
    .job_kg_shift_v(job_kg_shift_v), .job_next(job_next), .job_base(job_base),
    .job_stride(job_stride), .job_hstride(job_hstride), .qc_valid(qc_valid), .qc_ready(qc_ready),
    .qc_addr(qc_addr), .qc_rows(qc_rows), .tc_valid(tc_valid), .tc_ready(tc_ready),
    .tc_k8addr(tc_k8addr), .tc_k8inc(tc_k8inc), .tc_td(tc_td), .w_c_valid(w_c_valid),
    .w_c_ready(w_c_ready), .w_c_addr(w_c_addr), .w_c_beats(w_c_beats), .d_c_valid(d_c_valid),
    .d_c_ready(d_c_ready), .d_c_addr(d_c_addr), .d_c_beats(d_c_beats), .d_d_valid(d_d_valid),
    .d_d_ready(d_d_ready), .d_d_data(d_d_data), .blk_done(blk_done), .kp_done(kp_done),
    .kv_done(kv_done), .halt(halt), .stage_rst(stage_clear), .rd_idle(rd_idle), .wr_idle(wr_idle),
    .rd_wait(rd_wait), .rd_move(rd_move), .wr_wait(wr_wait), .wr_move(wr_move),
    .rd_err_valid(rd_err_valid), .rd_err_protocol(rd_err_protocol), .rd_err_stream(rd_err_stream),
    .rd_err_resp(rd_err_resp), .wr_err_valid(wr_err_valid), .wr_err_protocol(wr_err_protocol),
    .wr_err_id(wr_err_id), .wr_err_resp(wr_err_resp),
    .ev_block(ev_block), .ev_tile(ev_tile)
);

fetch #(
    .ROWS(ROWS), .D_MAX(D_MAX), .BC_MAX(BC_MAX), .KV_SLOTS(KV_SLOTS), .BUS_BYTES(BUS_BYTES),
    .ADDR_W(ADDR_W), .K8_BUFS(K8_BUFS), .KV_BUFS(KV_BUFS)
) fetch_inst (
    .clk(clk), .rst(stage_rst), .cfg_d(job_d[8:0]), .cfg_dense(cfg_dense),
    .cfg_predict(cfg_predict), .cfg_q_stride(job_stride[`SOFA_BUF_Q*32 +: 32]),
    .qc_valid(qc_valid),
    .qc_ready(qc_ready), .qc_addr(qc_addr), .qc_rows(qc_rows), .tc_valid(tc_valid),
    .tc_ready(tc_ready), .tc_k8addr(tc_k8addr), .tc_k8inc(tc_k8inc), .tc_td(tc_td),
    .q_wr_valid(q_wr_valid), .q_wr_buf(q_wr_buf), .q_wr_row(q_wr_row), .q_wr_beat(q_wr_beat),
    .q_wr_data(q_wr_data), .q_commit(q_commit), .q_release_dlzs(q_release_dlzs),
    .q_release_sufa(q_release_sufa), .k8_wr_valid(k8_wr_valid), .k8_wr_buf(k8_wr_buf),
    .k8_wr_slot(k8_wr_slot), .k8_wr_beat(k8_wr_beat), .k8_wr_data(k8_wr_data),
    .k8_t_valid(k8_t_valid), .k8_t_ready(k8_t_ready), .k8_t_td(k8_t_td), .k8_release(k8_release),
    .u_valid(u_valid), .u_ready(u_ready), .u_td(u_td), .u_slots(u_slots), .u_mask(u_mask),
    .u_nsteps(u_nsteps), .k_wr_valid(fk_wr_valid), .k_wr_buf(fk_wr_buf), .k_wr_slot(fk_wr_slot),
    .k_wr_beat(fk_wr_beat), .k_wr_data(fk_wr_data), .k_t_valid(fk_t_valid), .k_t_ready(fk_t_ready),
    .k_t_td(fk_t_td), .k_t_nsteps(fk_t_nsteps), .k_release(k_release), .v_wr_valid(fv_wr_valid),
    .v_wr_buf(fv_wr_buf), .v_wr_slot(fv_wr_slot), .v_wr_beat(fv_wr_beat), .v_wr_data(fv_wr_data),
    .v_t_valid(fv_t_valid), .v_t_ready(fv_t_ready), .v_release(v_release), .w_c_valid(w_c_valid),
    .w_c_ready(w_c_ready), .w_c_addr(w_c_addr), .w_c_beats(w_c_beats), .w_d_valid(w_d_valid),
    .w_d_ready(w_d_ready), .w_d_data(w_d_data), .r_c_valid(r_c_valid), .r_c_ready(r_c_ready),
    .r_c_addr(r_c_addr), .r_c_beats(r_c_beats), .r_d_valid(r_d_valid), .r_d_ready(r_d_ready),
    .r_d_data(r_d_data), .x_c_valid(x_c_valid), .x_c_ready(x_c_ready), .x_c_addr(x_c_addr),
    .x_c_beats(x_c_beats), .x_d_valid(x_d_valid), .x_d_ready(x_d_ready), .x_d_data(x_d_data),
    .d_c_valid(d_c_valid), .d_c_ready(d_c_ready), .d_c_addr(d_c_addr), .d_c_beats(d_c_beats),
    .d_d_valid(d_d_valid), .d_d_ready(d_d_ready), .d_d_data(d_d_data), .halt(halt), .idle(rd_idle),
    .err_valid(rd_err_valid), .err_protocol(rd_err_protocol), .err_stream(rd_err_stream),
    .err_resp(rd_err_resp), .bus_wait(rd_wait), .bus_move(rd_move),
    .ev_beat(ev_beat), .ev_stall(ev_fetch_stall), .m_axi_arid(m_axi_arid),
    .m_axi_araddr(m_axi_araddr), .m_axi_arlen(m_axi_arlen), .m_axi_arsize(m_axi_arsize),
    .m_axi_arburst(m_axi_arburst), .m_axi_arvalid(m_axi_arvalid), .m_axi_arready(m_axi_arready),
    .m_axi_rid(m_axi_rid), .m_axi_rdata(m_axi_rdata), .m_axi_rresp(m_axi_rresp),
    .m_axi_rlast(m_axi_rlast), .m_axi_rvalid(m_axi_rvalid), .m_axi_rready(m_axi_rready)
);

dlzs #(
    .ROWS(ROWS), .COLS(COLS), .D_MAX(D_MAX), .BC_MAX(BC_MAX), .BUS_BYTES(BUS_BYTES),
    .SC_FRAC(SC_FRAC), .TWO_TERM(TWO_TERM), .K8_BUFS(K8_BUFS), .ROPE_PAIRS(ROPE_PAIRS)
) dlzs_inst (
    .clk(clk), .rst(stage_rst), .cfg_d(job_d[8:0]), .cfg_dense(cfg_dense), .cfg_snap(cfg_snap),
    .cfg_predict(cfg_predict), .cfg_rope(cfg_rope),
    .cfg_kp_exp(job_kp_exp[3:0]), .cfg_kp_bias(job_kp_bias[15:0]),
    .cfg_kp_shift(job_kp_shift[3:0]), .cfg_k8_stride(job_stride[`SOFA_BUF_K8*32 +: 32]),
    .cfg_k8_hstride(job_hstride[`SOFA_BUF_K8*32 +: 32]),
    .cfg_rt_stride(job_stride[`SOFA_BUF_RT*32 +: 32]),
    .q_wr_valid(q_wr_valid), .q_wr_buf(q_wr_buf), .q_wr_row(q_wr_row), .q_wr_beat(q_wr_beat),
    .q_wr_data(q_wr_data), .q_commit(q_commit), .q_release(q_release_dlzs),
    .k8_wr_valid(k8_wr_valid), .k8_wr_buf(k8_wr_buf), .k8_wr_slot(k8_wr_slot),
    .k8_wr_beat(k8_wr_beat), .k8_wr_data(k8_wr_data), .k8_t_valid(k8_t_valid),
    .k8_t_ready(k8_t_ready), .k8_t_td(k8_t_td), .k8_release(k8_release), .w_d_valid(w_d_valid),
    .w_d_ready(w_d_ready), .w_d_data(w_d_data), .r_c_valid(r_c_valid), .r_c_ready(r_c_ready),
    .r_c_addr(r_c_addr), .r_c_beats(r_c_beats), .r_d_valid(r_d_valid), .r_d_ready(r_d_ready),
    .r_d_data(r_d_data), .m_valid(s_valid), .m_ready(s_ready), .m_first(s_first), .m_last(s_last),
    .m_td(s_td), .m_scores(s_scores), .x_valid(kp_valid), .x_ready(kp_ready), .x_addr(kp_addr),
    .x_data(kp_data), .x_strb(kp_strb), .x_done(sx_done && cfg_predict), .kp_done(kp_done),
    .ev_busy(ev_dlzs_busy), .ev_stall(ev_dlzs_stall)
);

sads #(
    .ROWS(ROWS), .COLS(COLS), .BC_MAX(BC_MAX), .SC_W(SC_W), .LIST_BUFS(LIST_BUFS)
) sads_inst (
    .clk(clk), .rst(stage_rst), .cfg_dense(cfg_dense), .cfg_quota(job_quota[7:0]),
    .cfg_radius(job_radius[SC_W-1:0]), .s_valid(s_valid), .s_ready(s_ready), .s_first(s_first),
    .s_last(s_last), .s_td(s_td), .s_scores(s_scores), .l_wr_valid(sl_wr_valid),
    .l_wr_buf(sl_wr_buf), .l_wr_word(sl_wr_word), .l_wr_data(sl_wr_data), .l_release(sl_release),
    .m_valid(t_valid), .m_ready(t_ready), .m_td(t_td), .m_union(t_union), .m_nsteps(t_nsteps),
    .m_nsel(t_nsel), .ev_busy(ev_sads_busy), .ev_stall(ev_sads_stall)
);

rass #(
    .ROWS(ROWS), .BC_MAX(BC_MAX), .KV_SLOTS(KV_SLOTS), .LIST_BUFS(LIST_BUFS)
) rass_inst (
    .clk(clk), .rst(stage_rst), .s_l_wr_valid(sl_wr_valid), .s_l_wr_buf(sl_wr_buf),
    .s_l_wr_word(sl_wr_word), .s_l_wr_data(sl_wr_data), .s_l_release(sl_release),
    .s_valid(t_valid), .s_ready(t_ready), .s_td(t_td), .s_union(t_union), .s_nsteps(t_nsteps),
    .l_wr_valid(l_wr_valid), .l_wr_buf(l_wr_buf), .l_wr_word(l_wr_word), .l_wr_data(l_wr_data),
    .l_release(l_release), .p_valid(p_valid), .p_ready(p_ready), .p_td(p_td), .p_slots(p_slots),
    .p_mask(p_mask), .p_nsteps(p_nsteps), .ev_busy(ev_rass_busy), .ev_stall(ev_rass_stall)
);

kvgen #(
    .ROWS(ROWS), .D_MAX(D_MAX), .BC_MAX(BC_MAX), .KV_SLOTS(KV_SLOTS), .BUS_BYTES(BUS_BYTES),
    .KEYS_MAX(KEYS_MAX), .ADDR_W(ADDR_W), .H_MAX(H_MAX), .KG_TOK(KG_TOK), .WGT_WORDS(WGT_WORDS),
    .KV_BUFS(KV_BUFS)
) kvgen_inst (
    .clk(clk), .rst(stage_rst), .cfg_generate(kvgen_on), .cfg_d(job_d[8:0]),
    .cfg_h(job_model_dim[12:0]), .cfg_rope(cfg_rope), .cfg_keys(job_keys[16:0]),
    .cfg_kg_shift_k(job_kg_shift_k[5:0]), .cfg_kg_shift_v(job_kg_shift_v[5:0]),
    .cfg_x_base(job_base[`SOFA_BUF_X*48 +: 48]), .cfg_x_stride(job_stride[`SOFA_BUF_X*32 +: 32]),
    .cfg_w_base(job_base[`SOFA_BUF_W*48 +: 48]), .cfg_w_hstride(job_hstride[`SOFA_BUF_W*32 +: 32]),
    .cfg_rt_base(job_base[`SOFA_BUF_RT*48 +: 48]),
    .cfg_rt_stride(job_stride[`SOFA_BUF_RT*32 +: 32]),
    .cfg_vb_base(job_base[`SOFA_BUF_VB*48 +: 48]),
    .cfg_vb_hstride(job_hstride[`SOFA_BUF_VB*32 +: 32]),
    .cfg_vb_load(job_mode[`SOFA_MODE_VB_LOAD_LSB]), .p_valid(p_valid), .p_ready(p_ready),
    .p_td(p_td), .p_slots(p_slots), .p_mask(p_mask), .p_nsteps(p_nsteps), .u_valid(u_valid),
    .u_ready(u_ready), .u_td(u_td), .u_slots(u_slots), .u_mask(u_mask), .u_nsteps(u_nsteps),
    .x_c_valid(x_c_valid), .x_c_ready(x_c_ready), .x_c_addr(x_c_addr), .x_c_beats(x_c_beats),
    .x_d_valid(x_d_valid), .x_d_ready(x_d_ready), .x_d_data(x_d_data), .f_k_wr_valid(fk_wr_valid),
    .f_k_wr_buf(fk_wr_buf), .f_k_wr_slot(fk_wr_slot), .f_k_wr_beat(fk_wr_beat),
    .f_k_wr_data(fk_wr_data), .f_k_t_valid(fk_t_valid), .f_k_t_ready(fk_t_ready),
    .f_k_t_td(fk_t_td), .f_k_t_nsteps(fk_t_nsteps), .f_v_wr_valid(fv_wr_valid),
    .f_v_wr_buf(fv_wr_buf), .f_v_wr_slot(fv_wr_slot), .f_v_wr_beat(fv_wr_beat),
    .f_v_wr_data(fv_wr_data), .f_v_t_valid(fv_t_valid), .f_v_t_ready(fv_t_ready),
    .k_wr_valid(k_wr_valid), .k_wr_buf(k_wr_buf), .k_wr_slot(k_wr_slot), .k_wr_beat(k_wr_beat),
    .k_wr_data(k_wr_data), .k_t_valid(k_t_valid), .k_t_ready(k_t_ready), .k_t_td(k_t_td),
    .k_t_nsteps(k_t_nsteps), .k_release(k_release), .v_wr_valid(v_wr_valid), .v_wr_buf(v_wr_buf),
    .v_wr_slot(v_wr_slot), .v_wr_beat(v_wr_beat), .v_wr_data(v_wr_data), .v_t_valid(v_t_valid),
    .v_t_ready(v_t_ready), .v_release(v_release), .wb_valid(wb_valid), .wb_ready(wb_ready),
    .wb_addr(wb_addr), .wb_data(wb_data), .wb_strb(wb_strb), .wb_done(sx_done && cfg_generate),
    .kv_done(kv_done), .idle(unused_kvgen_idle), .ev_busy(ev_kvgen_busy),
    .ev_stall(ev_kvgen_stall), .ev_starve(ev_kvgen_starve), .ev_gen(ev_gen)
);

sufa #(
    .ROWS(ROWS), .D_MAX(D_MAX), .BC_MAX(KV_SLOTS), .BUS_BYTES(BUS_BYTES), .KEYS_MAX(KEYS_MAX),
    .EXP_ROWS(EXP_ROWS), .DIV_ROWS(DIV_ROWS), .KV_BUFS(KV_BUFS), .TAPS(TAPS)
) sufa_inst (
    .clk(clk), .rst(stage_rst), .cfg_d(job_d[8:0]), .cfg_scale_m(job_scale_m[15:0]),
    .cfg_scale_shift(job_scale_shift[5:0]), .q_wr_valid(q_wr_valid), .q_wr_buf(q_wr_buf),
    .q_wr_row(q_wr_row), .q_wr_beat(q_wr_beat), .q_wr_data(q_wr_data), .q_commit(q_commit),
    .q_release(q_release_sufa), .l_wr_valid(l_wr_valid), .l_wr_buf(l_wr_buf),
    .l_wr_word(l_wr_word), .l_wr_data(l_wr_data), .l_release(l_release), .k_wr_valid(k_wr_valid),
    .k_wr_buf(k_wr_buf), .k_wr_slot(k_wr_slot), .k_wr_beat(k_wr_beat), .k_wr_data(k_wr_data),
    .k_t_valid(k_t_valid), .k_t_ready(k_t_ready), .k_t_td(k_t_td), .k_t_nsteps(k_t_nsteps),
    .k_release(k_release), .v_wr_valid(v_wr_valid), .v_wr_buf(v_wr_buf), .v_wr_slot(v_wr_slot),
    .v_wr_beat(v_wr_beat), .v_wr_data(v_wr_data), .v_t_valid(v_t_valid), .v_t_ready(v_t_ready),
    .v_release(v_release), .o_valid(o_valid), .o_ready(o_ready), .o_elem(o_elem), .o_data(o_data),
    .o_last(o_last), .o_addr(o_addr), .o_rows(o_rows), .ev_busy(ev_sufa_busy),
    .ev_stall(ev_sufa_stall), .ev_starve(ev_sufa_starve), .ev_maxupd(ev_maxupd),
    .tap_e_valid(tap_e_valid), .tap_e_row(tap_e_row), .tap_e_za(tap_e_za), .tap_e_zb(tap_e_zb),
    .tap_e_pa(tap_e_pa), .tap_e_pb(tap_e_pb), .tap_e_va(tap_e_va), .tap_e_vb(tap_e_vb),
    .tap_e_m(tap_e_m), .tap_e_dm(tap_e_dm), .tap_o_valid(tap_o_valid), .tap_o_elem(tap_o_elem),
    .tap_o(tap_o_data), .tap_l(tap_o_sum), .tap_r(tap_o_rcp)
);

assign kp_ready = sx_ready && cfg_predict;
assign wb_ready = sx_ready && !cfg_predict;

store #(
    .ROWS(ROWS), .D_MAX(D_MAX), .BUS_BYTES(BUS_BYTES), .ADDR_W(ADDR_W)
) store_inst (
    .clk(clk), .rst(stage_rst), .cfg_d(job_d[8:0]), .cfg_o_stride(job_stride[`SOFA_BUF_O*32 +: 32]),
    .o_valid(o_valid), .o_ready(o_ready), .o_elem(o_elem), .o_data(o_data), .o_last(o_last),
    .o_addr(o_addr), .o_rows(o_rows), .x_valid(cfg_predict ? kp_valid : wb_valid),
    .x_ready(sx_ready), .x_addr(cfg_predict ? kp_addr : wb_addr),
    .x_data(cfg_predict ? kp_data : wb_data), .x_strb(cfg_predict ? kp_strb : wb_strb),
    .x_done(sx_done), .halt(halt), .idle(wr_idle), .err_valid(wr_err_valid),
    .err_protocol(wr_err_protocol), .err_id(wr_err_id), .err_resp(wr_err_resp),
    .bus_wait(wr_wait), .bus_move(wr_move),
    .blk_done(blk_done), .ev_beat(ev_beat_o), .ev_beat_x(ev_beat_wb),
    .ev_stall(ev_store_stall), .m_axi_awid(m_axi_awid), .m_axi_awaddr(m_axi_awaddr),
    .m_axi_awlen(m_axi_awlen), .m_axi_awsize(m_axi_awsize), .m_axi_awburst(m_axi_awburst),
    .m_axi_awvalid(m_axi_awvalid), .m_axi_awready(m_axi_awready), .m_axi_wdata(m_axi_wdata),
    .m_axi_wstrb(m_axi_wstrb), .m_axi_wlast(m_axi_wlast), .m_axi_wvalid(m_axi_wvalid),
    .m_axi_wready(m_axi_wready), .m_axi_bid(m_axi_bid), .m_axi_bresp(m_axi_bresp),
    .m_axi_bvalid(m_axi_bvalid), .m_axi_bready(m_axi_bready)
);

endmodule

`resetall
