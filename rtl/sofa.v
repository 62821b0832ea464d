// SPDX-License-Identifier: Apache-2.0
// SOFA: sparse attention from memory to memory; registers, sequencer and the stages fetch, dlzs,
// sads, rass, kvgen, sufa and store.
//
// Why: the one top module. Synthesis and simulation take it as it is; with SOFA_TAPS defined it has
// further outputs, every value that a stage hands to the next in the cycle when it does so.
// The bus master asks for normal, non-cacheable, bufferable memory (AxCACHE 0011), unprivileged and
// not secure (AxPROT 010).
// Errors: docs/registers.md. An illegal parameter stops the elaboration by its name.
// Source: H. Wang et al., "SOFA", MICRO 2024, and docs/architecture.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_regs.vh"
`include "sofa_turn.vh"

module sofa #(
    // Query rows of a block, power of two BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Columns of DLZS (keys predicted in parallel), power of two 4..min(BC_MAX, 32).
    parameter COLS = 8,
    // Largest head dimension, power of two max(16, BUS_BYTES)..256.
    parameter D_MAX = 64,
    // Largest tile, power of two BUS_BYTES..64.
    parameter BC_MAX = 32,
    // AXI data bytes, power of two 8..64.
    parameter BUS_BYTES = 16,
    // Largest number of keys and of query rows, power of two 64..65536.
    parameter KEYS_MAX = 4096,
    // AXI address bits, 32..48.
    parameter ADDR_W = 40,
    // Fraction bits of a DLZS term, 0..8.
    parameter SC_FRAC = 2,
    // 1: DLZS cells add the bit after the leading one of Q.
    parameter TWO_TERM = 0,
    // K8 tile buffers in the ring, 2..4.
    parameter K8_BUFS = 2,
    // Blocks in residence at most, power of two 2..8.
    parameter PLACES = 4,
    // Beats of Q, and of output sums, in residence: 2 to PLACES blocks of D_MAX, up
    // to 256*ROWS.
    parameter STORE_BEATS = 2 * ROWS * D_MAX / (BUS_BYTES / 2),
    // Keys in the landing buffer, power of two 4..64.
    parameter LAND = 16,
    // Beats of K and V in the landing buffer, power of two, two keys of D_MAX and more.
    parameter LAND_BEATS = LAND * D_MAX * 4 / BUS_BYTES,
    // Keys in the queue of a unit of SU-FA, 2..64.
    parameter FIFO = 16,
    // 1: SADS has sort cores and a score buffer.
    parameter SORT = 1,
    // Fraction bits of a row's sums in SADS, 6..16.
    parameter SUM_FRAC = 12,
    // Bits of a level in SADS, a score in octaves, 8..12.
    parameter LEVEL_W = 10,
    // Fraction bits of a threshold, 0..6.
    parameter LOG_FRAC = 4,
    // Fraction bits of (tiles of a band) / (tiles counted), 4..12.
    parameter RATIO_FRAC = 8,
    // Fraction bits of a row's kept share, 4..12.
    parameter F_FRAC = 8,
    // Bits of an element of the mean of V, 4..16.
    parameter VM_W = 8,
    // Largest model dimension, power of two 64..4096.
    parameter H_MAX = 1024,
    // Tokens that KVGEN projects in parallel: 1, 2, 4; 1 where ROWS < BUS_BYTES.
    parameter KG_TOK = 1,
    // KVGEN weight memory, words of ROWS x 16 bits, 64..65536.
    parameter WGT_WORDS = 4608,
    // Pairs that the K^ path rotates in a cycle, power of two 1..ROWS/2.
    parameter ROPE_PAIRS = 1,
    // Bits of ports. Derived: leave at their defaults.
    parameter SC_W = 8 + SC_FRAC + $clog2(D_MAX),
    parameter UNITS = 4 * ROWS / BUS_BYTES,
    parameter ALL = PLACES * ROWS,
    parameter PLACE_W = $clog2(PLACES),
    parameter IDX_W = PLACE_W + $clog2(BUS_BYTES / 4),
    parameter BEAT_W = $clog2(2 * D_MAX / BUS_BYTES + 1),
    parameter L_W = 16 + $clog2(KEYS_MAX),
    parameter SHARE = BUS_BYTES < 16 ? 4 : BUS_BYTES / 4
) (
    input  wire                              clk,
    // Synchronous, active high; at least 1 cycle
    input  wire                              rst,

    // Interrupt, level
    output wire                              irq,

    // AXI4-Lite slave: registers (docs/registers.md)
    input  wire [11:0]                       s_axil_awaddr,
    input  wire [2:0]                        s_axil_awprot,
    input  wire                              s_axil_awvalid,
    output wire                              s_axil_awready,
    input  wire [31:0]                       s_axil_wdata,
    input  wire [3:0]                        s_axil_wstrb,
    input  wire                              s_axil_wvalid,
    output wire                              s_axil_wready,
    output wire [1:0]                        s_axil_bresp,
    output wire                              s_axil_bvalid,
    input  wire                              s_axil_bready,
    input  wire [11:0]                       s_axil_araddr,
    input  wire [2:0]                        s_axil_arprot,
    input  wire                              s_axil_arvalid,
    output wire                              s_axil_arready,
    output wire [31:0]                       s_axil_rdata,
    output wire [1:0]                        s_axil_rresp,
    output wire                              s_axil_rvalid,
    input  wire                              s_axil_rready,

    // AXI4 master
    output wire [2:0]                        m_axi_awid,
    output wire [ADDR_W-1:0]                 m_axi_awaddr,
    output wire [7:0]                        m_axi_awlen,
    output wire [2:0]                        m_axi_awsize,
    output wire [1:0]                        m_axi_awburst,
    output wire                              m_axi_awlock,
    output wire [3:0]                        m_axi_awcache,
    output wire [2:0]                        m_axi_awprot,
    output wire [3:0]                        m_axi_awqos,
    output wire                              m_axi_awvalid,
    input  wire                              m_axi_awready,
    output wire [BUS_BYTES*8-1:0]            m_axi_wdata,
    output wire [BUS_BYTES-1:0]              m_axi_wstrb,
    output wire                              m_axi_wlast,
    output wire                              m_axi_wvalid,
    input  wire                              m_axi_wready,
    input  wire [2:0]                        m_axi_bid,
    input  wire [1:0]                        m_axi_bresp,
    input  wire                              m_axi_bvalid,
    output wire                              m_axi_bready,
    output wire [2:0]                        m_axi_arid,
    output wire [ADDR_W-1:0]                 m_axi_araddr,
    output wire [7:0]                        m_axi_arlen,
    output wire [2:0]                        m_axi_arsize,
    output wire [1:0]                        m_axi_arburst,
    output wire                              m_axi_arlock,
    output wire [3:0]                        m_axi_arcache,
    output wire [2:0]                        m_axi_arprot,
    output wire [3:0]                        m_axi_arqos,
    output wire                              m_axi_arvalid,
    input  wire                              m_axi_arready,
    input  wire [2:0]                        m_axi_rid,
    input  wire [BUS_BYTES*8-1:0]            m_axi_rdata,
    input  wire [1:0]                        m_axi_rresp,
    input  wire                              m_axi_rlast,
    input  wire                              m_axi_rvalid,
    output wire                              m_axi_rready
`ifdef SOFA_TAPS
    ,
    // Tap: a word of scores: slot 4*w + j of row r at index r*4 + j
    output wire                              tap_s_valid,
    output wire                              tap_s_last,
    output wire [ROWS*4*SC_W-1:0]            tap_s_scores,

    // Tap: a turn as SADS takes it
    output wire                              tap_t_valid,
    output wire [`SOFA_TURN_W-1:0]           tap_t_turn,

    // Tap: a word of masks: slot 4*w + j of row r at bit j*ROWS + r
    output wire                              tap_m_valid,
    output wire                              tap_m_last,
    output wire [`SOFA_TURN_W-1:0]           tap_m_turn,
    output wire [4*ROWS-1:0]                 tap_m_mask,

    // Tap: kept shares, rows word*ROWS/SHARE on
    output wire                              tap_f_valid,
    output wire [PLACE_W-1:0]                tap_f_place,
    output wire [$clog2(SHARE)-1:0]          tap_f_word,
    output wire [ROWS/SHARE*(F_FRAC+1)-1:0]  tap_f_data,

    // Tap: what RASS issues: 0 a key, 1 end of a block, 2, 3 begin, end of a KV head
    output wire                              tap_p_valid,
    output wire [1:0]                        tap_p_kind,
    output wire [16:0]                       tap_p_key,
    output wire [ALL-1:0]                    tap_p_mask,
    output wire [PLACE_W-1:0]                tap_p_place,

    // Tap: a key that is read
    output wire                              tap_u_valid,
    output wire                              tap_u_mean,
    output wire [16:0]                       tap_u_key,

    // Tap: a beat to the units
    output wire                              tap_kv_valid,
    output wire                              tap_kv_first,
    output wire                              tap_kv_end,
    output wire [ALL-1:0]                    tap_kv_mask,
    output wire [BUS_BYTES*8-1:0]            tap_kv_data,

    // Taps of the units: pairs, unit 0 in the low bits
    output wire [UNITS-1:0]                  tap_e_valid,
    output wire [UNITS*IDX_W-1:0]            tap_e_row,
    output wire [UNITS*26-1:0]               tap_e_z,
    output wire [UNITS*16-1:0]               tap_e_p,
    output wire [UNITS*17-1:0]               tap_e_m,
    output wire [UNITS*6-1:0]                tap_e_dm,
    output wire [UNITS*L_W-1:0]              tap_e_l,

    // Taps of the units: sums of rows of the flush
    output wire [UNITS-1:0]                  tap_l_valid,
    output wire [UNITS*IDX_W-1:0]            tap_l_row,
    output wire [UNITS*L_W-1:0]              tap_l_sum,

    // Taps of the units: beats of o' of the flush, reciprocals times f
    output wire [UNITS-1:0]                  tap_o_valid,
    output wire [UNITS*IDX_W-1:0]            tap_o_row,
    output wire [UNITS*BEAT_W-1:0]           tap_o_beat,
    output wire [UNITS*BUS_BYTES*8-1:0]      tap_o_data,
    output wire [UNITS*16-1:0]               tap_o_rcp
`endif
);

    assign m_axi_awlock  = 1'b0;
    assign m_axi_awcache = 4'b0011;
    assign m_axi_awprot  = 3'b010;
    assign m_axi_awqos   = 4'b0000;
    assign m_axi_arlock  = 1'b0;
    assign m_axi_arcache = 4'b0011;
    assign m_axi_arprot  = 3'b010;
    assign m_axi_arqos   = 4'b0000;

    // No such modules exist: elaboration stops at the first illegal parameter with a message that
    // names it. The stages are left out, so that their own messages do not hide this one.
    // models/config.py checks the same ranges in the same order.
    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES)))
        begin : g_illegal
            illegal_parameter_BUS_BYTES_needs_power_of_two_8_to_64 stop ();
        end else if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)))
        begin : g_illegal
            illegal_parameter_ROWS_needs_power_of_two_half_BUS_BYTES_to_128 stop ();
        end else if (BC_MAX < BUS_BYTES || BC_MAX > 64 || BC_MAX != (1 << $clog2(BC_MAX)))
        begin : g_illegal
            illegal_parameter_BC_MAX_needs_power_of_two_BUS_BYTES_to_64 stop ();
        end else if (COLS < 4 || COLS > BC_MAX || COLS > 32 || COLS != (1 << $clog2(COLS)))
        begin : g_illegal
            illegal_parameter_COLS_needs_power_of_two_4_to_BC_MAX_and_32 stop ();
        end else if (D_MAX < 16 || D_MAX < BUS_BYTES || D_MAX > 256
                || D_MAX != (1 << $clog2(D_MAX))) begin : g_illegal
            illegal_parameter_D_MAX_needs_power_of_two_16_to_256_and_at_least_BUS_BYTES stop ();
        end else if (KEYS_MAX < 64 || KEYS_MAX > 65536 || KEYS_MAX != (1 << $clog2(KEYS_MAX)))
        begin : g_illegal
            illegal_parameter_KEYS_MAX_needs_power_of_two_64_to_65536 stop ();
        end else if (ADDR_W < 32 || ADDR_W > 48) begin : g_illegal
            illegal_parameter_ADDR_W_needs_32_to_48 stop ();
        end else if (SC_FRAC < 0 || SC_FRAC > 8) begin : g_illegal
            illegal_parameter_SC_FRAC_needs_0_to_8 stop ();
        end else if (TWO_TERM != 0 && TWO_TERM != 1) begin : g_illegal
            illegal_parameter_TWO_TERM_needs_0_or_1 stop ();
        end else if (K8_BUFS < 2 || K8_BUFS > 4) begin : g_illegal
            illegal_parameter_K8_BUFS_needs_2_to_4 stop ();
        end else if (H_MAX < 64 || H_MAX > 4096 || H_MAX != (1 << $clog2(H_MAX))) begin : g_illegal
            illegal_parameter_H_MAX_needs_power_of_two_64_to_4096 stop ();
        end else if (KG_TOK < 1 || KG_TOK > 4 || (KG_TOK > 1 && ROWS < BUS_BYTES)
                || KG_TOK != (1 << $clog2(KG_TOK))) begin : g_illegal
            illegal_parameter_KG_TOK_needs_1_2_or_4_but_1_where_ROWS_is_below_BUS_BYTES stop ();
        end else if (WGT_WORDS < 64 || WGT_WORDS > 65536) begin : g_illegal
            illegal_parameter_WGT_WORDS_needs_64_to_65536 stop ();
        end else if (ROPE_PAIRS < 1 || ROPE_PAIRS > ROWS / 2
                || ROPE_PAIRS != (1 << $clog2(ROPE_PAIRS))) begin : g_illegal
            illegal_parameter_ROPE_PAIRS_needs_power_of_two_1_to_half_ROWS stop ();
        end else if (PLACES < 2 || PLACES > 8 || PLACES != (1 << $clog2(PLACES))) begin : g_illegal
            illegal_parameter_PLACES_needs_power_of_two_2_to_8 stop ();
        end else if (STORE_BEATS < 4 * ROWS * D_MAX / BUS_BYTES || STORE_BEATS > 256 * ROWS
                || STORE_BEATS > PLACES * 2 * ROWS * D_MAX / BUS_BYTES)
        begin : g_illegal
            illegal_parameter_STORE_BEATS_needs_2_to_PLACES_blocks_of_D_MAX_256_beats_a_row stop ();
        end else if (LAND < 4 || LAND > 64 || LAND != (1 << $clog2(LAND))) begin : g_illegal
            illegal_parameter_LAND_needs_power_of_two_4_to_64 stop ();
        end else if (LAND_BEATS < 8 * D_MAX / BUS_BYTES || LAND_BEATS > 4096
                || LAND_BEATS != (1 << $clog2(LAND_BEATS))) begin : g_illegal
            illegal_parameter_LAND_BEATS_needs_power_of_two_two_keys_of_D_MAX_to_4096 stop ();
        end else if (FIFO < 2 || FIFO > 64) begin : g_illegal
            illegal_parameter_FIFO_needs_2_to_64 stop ();
        end else if (SORT != 0 && SORT != 1) begin : g_illegal
            illegal_parameter_SORT_needs_0_or_1 stop ();
        end else if (SUM_FRAC < 6 || SUM_FRAC > 16) begin : g_illegal
            illegal_parameter_SUM_FRAC_needs_6_to_16 stop ();
        end else if (LEVEL_W < 8 || LEVEL_W > 12) begin : g_illegal
            illegal_parameter_LEVEL_W_needs_8_to_12 stop ();
        end else if (LOG_FRAC < 0 || LOG_FRAC > 6) begin : g_illegal
            illegal_parameter_LOG_FRAC_needs_0_to_6 stop ();
        end else if (RATIO_FRAC < 4 || RATIO_FRAC > 12) begin : g_illegal
            illegal_parameter_RATIO_FRAC_needs_4_to_12 stop ();
        end else if (F_FRAC < 4 || F_FRAC > 12) begin : g_illegal
            illegal_parameter_F_FRAC_needs_4_to_12 stop ();
        end else if (VM_W < 4 || VM_W > 16) begin : g_illegal
            illegal_parameter_VM_W_needs_4_to_16 stop ();
        end else if (SC_W != 8 + SC_FRAC + $clog2(D_MAX) || UNITS != 4 * ROWS / BUS_BYTES
                || ALL != PLACES * ROWS || PLACE_W != $clog2(PLACES)
                || IDX_W != PLACE_W + $clog2(BUS_BYTES / 4)
                || BEAT_W != $clog2(2 * D_MAX / BUS_BYTES + 1) || L_W != 16 + $clog2(KEYS_MAX)
                || SHARE != (BUS_BYTES < 16 ? 4 : BUS_BYTES / 4)) begin : g_illegal
            illegal_parameter_SC_W_and_those_behind_it_are_derived stop ();
        end else begin : g_core

        // Smallest tile at run time
        localparam BC_MIN = COLS;
        localparam LAND_W = $clog2(LAND);
        localparam EV_W = $clog2(UNITS + 1);
`ifdef SOFA_TAPS
        localparam TAPS = 1;
`else
        localparam TAPS = 0;
`endif

        // csr and seq: job and control; a word of a descriptor
        wire [31:0] job_mode, job_d, job_rows, job_keys, job_heads, job_kv_heads, job_offset,
            job_bc, job_quota, job_band, job_fall, job_window, job_model_dim, timeout,
            d_wr_data;
        wire [47:0] job_next;
        wire [`SOFA_BUFFER_NUM*48-1:0] job_base;
        wire [`SOFA_BUFFER_NUM*32-1:0] job_stride, job_hstride;
        wire start, start_chain, soft_reset, busy, done, job_done, err_valid, d_wr_valid;
        wire [7:0] err_code, err_info;
        wire [1:0] err_lost;
        wire [5:0] d_wr_word;
        // seq to fetch: Q of a block, K8 of a tile; seq to dlzs: turns
        wire qc_valid, qc_ready, tc_valid, tc_ready, tn_valid, tn_ready;
        wire [47:0] qc_addr, tc_addr;
        wire [7:0] qc_rows, tc_n;
        wire qs_valid, qs_ready;
        wire [15:0] qs_scale_m;
        wire [5:0] qs_scale_shift;
        wire [31:0] tc_inc;
        wire [`SOFA_TURN_W-1:0] tn_turn;
        // seq and the bus masters
        wire blk_done, kp_done, kv_done, halt, stage_clear, rd_idle, wr_idle, rd_err_valid,
            wr_err_valid, rd_err_protocol, wr_err_protocol, rd_move, wr_move;
        wire [2:0] rd_err_stream, wr_err_id, wr_wait;
        wire [1:0] rd_err_resp, wr_err_resp, rd_wait;
        // streams of fetch: w, r for dlzs, x for kvgen, d for seq (descriptors, HT)
        wire w_c_valid, w_c_ready, w_d_valid, w_d_ready, r_c_valid, r_c_ready, r_d_valid,
            r_d_ready, x_c_valid, x_c_ready, x_d_valid, x_d_ready, d_c_valid, d_c_ready,
            d_d_valid, d_d_ready;
        wire [47:0] w_c_addr, r_c_addr, x_c_addr, d_c_addr;
        wire [15:0] w_c_beats, r_c_beats, x_c_beats, d_c_beats;
        wire [BUS_BYTES*8-1:0] w_d_data, r_d_data, x_d_data, d_d_data;
        // fetch to dlzs and sufa: Q; fetch to dlzs: K8
        wire q_wr_valid, q_commit, q_release_dlzs, q_release_sufa, k8_wr_valid, k8_commit,
            k8_release;
        wire [PLACE_W-1:0] q_wr_place, q_commit_place;
        wire [$clog2(ROWS)-1:0] q_wr_row;
        wire [7:0] q_wr_beat, k8_wr_beat;
        wire [BUS_BYTES*8-1:0] q_wr_data, k8_wr_data;
        wire [15:0] q_commit_scale_m;
        wire [5:0] q_commit_scale_shift;
        wire [1:0] k8_wr_buf;
        wire [$clog2(BC_MAX)-1:0] k8_wr_slot;
        // dlzs to sads: turns, words of scores; dlzs to store: predicted keys
        wire t_valid, t_ready, s_valid, s_ready, s_last, kp_valid, kp_ready;
        wire [`SOFA_TURN_W-1:0] t_turn;
        wire [ROWS*4*SC_W-1:0] s_scores;
        wire [47:0] kp_addr;
        wire [BUS_BYTES*8-1:0] kp_data;
        wire [BUS_BYTES-1:0] kp_strb;
        // sads to rass: words of masks; sads to sufa: kept shares
        wire m_valid, m_ready, m_first, m_last, f_valid, f_ready, f_last;
        wire [4*ROWS-1:0] m_mask;
        wire [`SOFA_TURN_W-1:0] m_turn;
        wire [PLACE_W-1:0] f_place;
        wire [$clog2(SHARE)-1:0] f_word;
        wire [ROWS/SHARE*(F_FRAC+1)-1:0] f_data;
        // rass to kvgen: keys, ends of blocks
        wire p_valid, p_ready;
        wire [1:0] p_kind;
        wire [16:0] p_key;
        wire [47:0] p_kbase, p_vbase, p_maddr, p_oaddr;
        wire [ALL-1:0] p_mask;
        wire [PLACE_W-1:0] p_place;
        wire [7:0] p_rows;
        wire [5:0] p_shift_k, p_shift_v;
        // kvgen and fetch: keys to read, their vectors
        wire u_valid, u_ready, u_mean, k_wr_valid, k_wr_last, v_wr_valid, v_wr_last;
        wire [LAND_W-1:0] u_land, k_wr_land, v_wr_land;
        wire [16:0] u_key;
        wire [47:0] u_kbase, u_vbase;
        wire [7:0] k_wr_beat, v_wr_beat;
        wire [BUS_BYTES*8-1:0] kv_wr_data;
        // kvgen to sufa: beats of keys; kvgen to store: made vectors
        wire kv_valid, kv_ready, kv_first, kv_end, wb_valid, wb_ready;
        wire [BUS_BYTES*8-1:0] kv_data, wb_data;
        wire [ALL-1:0] kv_mask;
        wire [PLACE_W-1:0] kv_end_place;
        wire [7:0] kv_end_rows;
        wire [47:0] kv_end_addr, wb_addr;
        // unreached toggle: a vector has 16 bytes or more, a bitmap whole beats
        wire [BUS_BYTES-1:0] wb_strb;
        // single-beat writes: predicted keys in a predict job, else made vectors
        wire sx_ready, sx_done, unused_kvgen_idle;
        // sufa to store: rows of O
        wire o_valid, o_ready, o_first, o_last, o_block_last;
        wire [BUS_BYTES*8-1:0] o_data;
        wire [47:0] o_addr;
        // events
        wire [7:0] ev_beat;
        wire [9:0] ev_pairs;
        wire [EV_W-1:0] ev_sufa_busy, ev_sufa_flush, ev_sufa_stall, ev_sufa_starve, ev_maxupd;
        wire ev_block, ev_tile, ev_fetch_stall, ev_dlzs_busy, ev_dlzs_stall, ev_sads_busy,
            ev_sads_stall, ev_rass_stall, ev_key, ev_kvgen_busy, ev_kvgen_stall, ev_kvgen_starve,
            ev_gen, ev_reused, ev_beat_o, ev_beat_wb, ev_store_stall;
        wire [`SOFA_CNT_NUM*`SOFA_CNT_INC_W-1:0] ev_inc;

        wire       stage_rst    = rst || stage_clear;
        wire       cfg_dense    = job_mode[`SOFA_MODE_DENSE_LSB];
        wire       cfg_sort     = job_mode[`SOFA_MODE_SORT_LSB];
        wire       cfg_blend    = job_mode[`SOFA_MODE_BLEND_LSB];
        wire [1:0] cfg_snap     = job_mode[`SOFA_MODE_SNAP_LSB +: 2];
        wire       cfg_generate = job_mode[`SOFA_MODE_GENERATE_LSB];
        // Low between two jobs: the weights' heads are counted from 0 in every job
        wire       kvgen_on     = cfg_generate && !job_done;
        wire       cfg_predict  = job_mode[`SOFA_MODE_PREDICT_LSB];
        // Heads that share a block
        wire [7:0] cfg_heads;
        wire [1:0] cfg_rope     = job_mode[`SOFA_MODE_ROPE_LSB +: 2];

        // What each counter grows by; the entry of CYCLES is not looked at
        assign ev_inc[`SOFA_CNT_CYCLES*16 +: 16]         = 16'd0;
        assign ev_inc[`SOFA_CNT_DLZS_BUSY*16 +: 16]      = {15'd0, ev_dlzs_busy};
        assign ev_inc[`SOFA_CNT_DLZS_STALL*16 +: 16]     = {15'd0, ev_dlzs_stall};
        assign ev_inc[`SOFA_CNT_SADS_BUSY*16 +: 16]      = {15'd0, ev_sads_busy};
        assign ev_inc[`SOFA_CNT_SADS_STALL*16 +: 16]     = {15'd0, ev_sads_stall};
        assign ev_inc[`SOFA_CNT_SUFA_BUSY*16 +: 16]      = {{(16 - EV_W){1'b0}}, ev_sufa_busy};
        assign ev_inc[`SOFA_CNT_SUFA_FLUSH*16 +: 16]     = {{(16 - EV_W){1'b0}}, ev_sufa_flush};
        assign ev_inc[`SOFA_CNT_SUFA_STALL*16 +: 16]     = {{(16 - EV_W){1'b0}}, ev_sufa_stall};
        assign ev_inc[`SOFA_CNT_SUFA_STARVE*16 +: 16]    = {{(16 - EV_W){1'b0}}, ev_sufa_starve};
        assign ev_inc[`SOFA_CNT_FETCH_STALL*16 +: 16]    = {15'd0, ev_fetch_stall};
        assign ev_inc[`SOFA_CNT_STORE_STALL*16 +: 16]    = {15'd0, ev_store_stall};
        assign ev_inc[`SOFA_CNT_TILES*16 +: 16]          = {15'd0, ev_tile && !cfg_predict};
        assign ev_inc[`SOFA_CNT_BLOCKS*16 +: 16]         = {15'd0, ev_block};
        assign ev_inc[`SOFA_CNT_SELECTED*16 +: 16]       = {6'd0, ev_pairs};
        assign ev_inc[`SOFA_CNT_UNION*16 +: 16]          = {15'd0, ev_key};
        assign ev_inc[`SOFA_CNT_MAX_UPDATES*16 +: 16]    = {{(16 - EV_W){1'b0}}, ev_maxupd};
        assign ev_inc[`SOFA_CNT_RASS_STALL*16 +: 16]     = {15'd0, ev_rass_stall};
        assign ev_inc[`SOFA_CNT_KVGEN_BUSY*16 +: 16]     = {15'd0, ev_kvgen_busy};
        assign ev_inc[`SOFA_CNT_KVGEN_STALL*16 +: 16]    = {15'd0, ev_kvgen_stall};
        assign ev_inc[`SOFA_CNT_KVGEN_STARVE*16 +: 16]   = {15'd0, ev_kvgen_starve};
        assign ev_inc[`SOFA_CNT_GENERATED*16 +: 16]      = {15'd0, ev_gen};
        assign ev_inc[`SOFA_CNT_REUSED*16 +: 16]         = {15'd0, ev_reused};
        assign ev_inc[`SOFA_CNT_BEATS_O*16 +: 16]        = {15'd0, ev_beat_o};
        assign ev_inc[`SOFA_CNT_BEATS_WB*16 +: 16]       = {15'd0, ev_beat_wb};
        assign ev_inc[`SOFA_CNT_PREDICT*16 +: 16]        = {15'd0, cfg_predict};
        assign ev_inc[`SOFA_CNT_BEATS_Q*16 +: 16]        = {15'd0, ev_beat[0]};
        assign ev_inc[`SOFA_CNT_BEATS_K8*16 +: 16]       = {15'd0, ev_beat[1]};
        assign ev_inc[`SOFA_CNT_BEATS_K*16 +: 16]        = {15'd0, ev_beat[2]};
        assign ev_inc[`SOFA_CNT_BEATS_V*16 +: 16]        = {15'd0, ev_beat[3]};
        assign ev_inc[`SOFA_CNT_BEATS_W*16 +: 16]        = {15'd0, ev_beat[4]};
        assign ev_inc[`SOFA_CNT_BEATS_R*16 +: 16]        = {15'd0, ev_beat[5]};
        assign ev_inc[`SOFA_CNT_BEATS_X*16 +: 16]        = {15'd0, ev_beat[6]};
        assign ev_inc[`SOFA_CNT_BEATS_D*16 +: 16]        = {15'd0, ev_beat[7]};

`ifdef SOFA_TAPS
        assign tap_s_valid   = s_valid && s_ready;
        assign tap_s_last    = s_last;
        assign tap_s_scores  = s_scores;
        assign tap_t_valid   = t_valid && t_ready;
        assign tap_t_turn    = t_turn;
        assign tap_m_valid   = m_valid && m_ready;
        assign tap_m_last    = m_last;
        assign tap_m_turn    = m_turn;
        assign tap_m_mask    = m_mask;
        // unreached expr: SU-FA has room for the shares of every place
        assign tap_f_valid   = f_valid && f_ready;
        assign tap_f_place   = f_place;
        assign tap_f_word    = f_word;
        assign tap_f_data    = f_data;
        assign tap_p_valid   = p_valid && p_ready;
        assign tap_p_kind    = p_kind;
        assign tap_p_key     = p_key;
        assign tap_p_mask    = p_mask;
        assign tap_p_place   = p_place;
        assign tap_u_valid   = u_valid && u_ready;
        assign tap_u_mean    = u_mean;
        assign tap_u_key     = u_key;
        assign tap_kv_valid  = kv_valid && kv_ready;
        assign tap_kv_first  = kv_first;
        assign tap_kv_end    = kv_end;
        assign tap_kv_mask   = kv_mask;
        assign tap_kv_data   = kv_data;
`else
        // Outputs of sufa that nobody looks at
        wire [UNITS-1:0] tap_e_valid;
        wire [UNITS*IDX_W-1:0] tap_e_row;
        wire [UNITS*26-1:0] tap_e_z;
        wire [UNITS*16-1:0] tap_e_p;
        wire [UNITS*17-1:0] tap_e_m;
        wire [UNITS*6-1:0] tap_e_dm;
        wire [UNITS*L_W-1:0] tap_e_l;
        wire [UNITS-1:0] tap_l_valid;
        wire [UNITS*IDX_W-1:0] tap_l_row;
        wire [UNITS*L_W-1:0] tap_l_sum;
        wire [UNITS-1:0] tap_o_valid;
        wire [UNITS*IDX_W-1:0] tap_o_row;
        wire [UNITS*BEAT_W-1:0] tap_o_beat;
        wire [UNITS*BUS_BYTES*8-1:0] tap_o_data;
        wire [UNITS*16-1:0] tap_o_rcp;
        wire unused_taps = &{1'b0, tap_e_valid, tap_e_row, tap_e_z, tap_e_p, tap_e_m, tap_e_dm,
                              tap_e_l, tap_l_valid, tap_l_row, tap_l_sum, tap_o_valid, tap_o_row,
                              tap_o_beat, tap_o_data, tap_o_rcp};
`endif

        sofa_csr #(
            .ROWS       (ROWS),
            .COLS       (COLS),
            .D_MAX      (D_MAX),
            .BC_MAX     (BC_MAX),
            .BUS_BYTES  (BUS_BYTES),
            .KEYS_MAX   (KEYS_MAX),
            .ADDR_W     (ADDR_W),
            .SC_FRAC    (SC_FRAC),
            .TWO_TERM   (TWO_TERM),
            .SC_W       (SC_W),
            .PLACES     (PLACES),
            .H_MAX      (H_MAX),
            .KG_TOK     (KG_TOK),
            .WGT_WORDS  (WGT_WORDS),
            .ROPE_PAIRS (ROPE_PAIRS),
            .STORE_BEATS(STORE_BEATS),
            .SORT       (SORT),
            .LOG_FRAC   (LOG_FRAC),
            .F_FRAC     (F_FRAC),
            .VM_W       (VM_W),
            .LAND       (LAND)
        ) csr_inst (
            .clk             (clk),
            .rst             (rst),
            .irq             (irq),
            .s_axil_awaddr   (s_axil_awaddr),
            .s_axil_awprot   (s_axil_awprot),
            .s_axil_awvalid  (s_axil_awvalid),
            .s_axil_awready  (s_axil_awready),
            .s_axil_wdata    (s_axil_wdata),
            .s_axil_wstrb    (s_axil_wstrb),
            .s_axil_wvalid   (s_axil_wvalid),
            .s_axil_wready   (s_axil_wready),
            .s_axil_bresp    (s_axil_bresp),
            .s_axil_bvalid   (s_axil_bvalid),
            .s_axil_bready   (s_axil_bready),
            .s_axil_araddr   (s_axil_araddr),
            .s_axil_arprot   (s_axil_arprot),
            .s_axil_arvalid  (s_axil_arvalid),
            .s_axil_arready  (s_axil_arready),
            .s_axil_rdata    (s_axil_rdata),
            .s_axil_rresp    (s_axil_rresp),
            .s_axil_rvalid   (s_axil_rvalid),
            .s_axil_rready   (s_axil_rready),
            .start           (start),
            .start_chain     (start_chain),
            .soft_reset      (soft_reset),
            .busy            (busy),
            .done            (done),
            .job_done        (job_done),
            .err_valid       (err_valid),
            .err_code        (err_code),
            .err_info        (err_info),
            .err_lost        (err_lost),
            .timeout         (timeout),
            .d_wr_valid      (d_wr_valid),
            .d_wr_word       (d_wr_word),
            .d_wr_data       (d_wr_data),
            .job_mode        (job_mode),
            .job_d           (job_d),
            .job_rows        (job_rows),
            .job_keys        (job_keys),
            .job_heads       (job_heads),
            .job_kv_heads    (job_kv_heads),
            .job_offset      (job_offset),
            .job_bc          (job_bc),
            .job_quota       (job_quota),
            .job_band        (job_band),
            .job_fall        (job_fall),
            .job_window      (job_window),
            .job_model_dim   (job_model_dim),
            .job_next        (job_next),
            .job_base        (job_base),
            .job_stride      (job_stride),
            .job_hstride     (job_hstride),
            .ev_inc          (ev_inc)
        );

        sofa_seq #(
            .ROWS        (ROWS),
            .COLS        (COLS),
            .D_MAX       (D_MAX),
            .BC_MAX      (BC_MAX),
            .BC_MIN      (BC_MIN),
            .BUS_BYTES   (BUS_BYTES),
            .KEYS_MAX    (KEYS_MAX),
            .ADDR_W      (ADDR_W),
            .SC_W        (SC_W),
            .TWO_TERM    (TWO_TERM),
            .PLACES      (PLACES),
            .STORE_BEATS (STORE_BEATS),
            .SORT        (SORT),
            .LOG_FRAC    (LOG_FRAC),
            .RATIO_FRAC  (RATIO_FRAC),
            .H_MAX       (H_MAX),
            .WGT_WORDS   (WGT_WORDS)
        ) seq_inst (
            .clk             (clk),
            .rst             (rst),
            .start           (start),
            .start_chain     (start_chain),
            .soft_reset      (soft_reset),
            .busy            (busy),
            .done            (done),
            .job_done        (job_done),
            .err_valid       (err_valid),
            .err_code        (err_code),
            .err_info        (err_info),
            .err_lost        (err_lost),
            .timeout         (timeout),
            .d_wr_valid      (d_wr_valid),
            .d_wr_word       (d_wr_word),
            .d_wr_data       (d_wr_data),
            .job_mode        (job_mode),
            .job_d           (job_d),
            .job_rows        (job_rows),
            .job_keys        (job_keys),
            .job_heads       (job_heads),
            .job_kv_heads    (job_kv_heads),
            .job_offset      (job_offset),
            .job_bc          (job_bc),
            .job_quota       (job_quota),
            .job_band        (job_band),
            .job_fall        (job_fall),
            .job_window      (job_window),
            .job_model_dim   (job_model_dim),
            .job_next        (job_next),
            .job_base        (job_base),
            .job_stride      (job_stride),
            .job_hstride     (job_hstride),
            .qc_valid        (qc_valid),
            .qc_ready        (qc_ready),
            .qc_addr         (qc_addr),
            .qc_rows         (qc_rows),
            .qs_valid        (qs_valid),
            .qs_ready        (qs_ready),
            .qs_scale_m      (qs_scale_m),
            .qs_scale_shift  (qs_scale_shift),
            .tc_valid        (tc_valid),
            .tc_ready        (tc_ready),
            .tc_addr         (tc_addr),
            .tc_inc          (tc_inc),
            .tc_n            (tc_n),
            .tn_valid        (tn_valid),
            .tn_ready        (tn_ready),
            .tn_turn         (tn_turn),
            .w_c_valid       (w_c_valid),
            .w_c_ready       (w_c_ready),
            .w_c_addr        (w_c_addr),
            .w_c_beats       (w_c_beats),
            .d_c_valid       (d_c_valid),
            .d_c_ready       (d_c_ready),
            .d_c_addr        (d_c_addr),
            .d_c_beats       (d_c_beats),
            .d_d_valid       (d_d_valid),
            .d_d_ready       (d_d_ready),
            .d_d_data        (d_d_data),
            .blk_done        (blk_done),
            .kp_done         (kp_done),
            .kv_done         (kv_done),
            .cfg_heads       (cfg_heads),
            .halt            (halt),
            .stage_rst       (stage_clear),
            .rd_idle         (rd_idle),
            .wr_idle         (wr_idle),
            .rd_wait         (rd_wait),
            .rd_move         (rd_move),
            .wr_wait         (wr_wait),
            .wr_move         (wr_move),
            .rd_err_valid    (rd_err_valid),
            .rd_err_protocol (rd_err_protocol),
            .rd_err_stream   (rd_err_stream),
            .rd_err_resp     (rd_err_resp),
            .wr_err_valid    (wr_err_valid),
            .wr_err_protocol (wr_err_protocol),
            .wr_err_id       (wr_err_id),
            .wr_err_resp     (wr_err_resp),
            .ev_block        (ev_block),
            .ev_tile         (ev_tile)
        );

        sofa_fetch #(
            .ROWS        (ROWS),
            .D_MAX       (D_MAX),
            .BC_MAX      (BC_MAX),
            .BUS_BYTES   (BUS_BYTES),
            .ADDR_W      (ADDR_W),
            .K8_BUFS     (K8_BUFS),
            .PLACES      (PLACES),
            .STORE_BEATS (STORE_BEATS),
            .LAND        (LAND)
        ) fetch_inst (
            .clk                  (clk),
            .rst                  (stage_rst),
            .cfg_d                (job_d[8:0]),
            .job_done             (job_done),
            .cfg_predict          (cfg_predict),
            .cfg_q_stride         (job_stride[`SOFA_BUF_Q*32 +: 32]),
            .cfg_q_hstride        (job_hstride[`SOFA_BUF_Q*32 +: 32]),
            .cfg_q_heads          (cfg_heads),
            .cfg_k_stride         (job_stride[`SOFA_BUF_K*32 +: 32]),
            .cfg_v_stride         (job_stride[`SOFA_BUF_V*32 +: 32]),
            .qc_valid             (qc_valid),
            .qc_ready             (qc_ready),
            .qc_addr              (qc_addr),
            .qc_rows              (qc_rows),
            .qs_valid             (qs_valid),
            .qs_ready             (qs_ready),
            .qs_scale_m           (qs_scale_m),
            .qs_scale_shift       (qs_scale_shift),
            .tc_valid             (tc_valid),
            .tc_ready             (tc_ready),
            .tc_addr              (tc_addr),
            .tc_inc               (tc_inc),
            .tc_n                 (tc_n),
            .q_wr_valid           (q_wr_valid),
            .q_wr_place           (q_wr_place),
            .q_wr_row             (q_wr_row),
            .q_wr_beat            (q_wr_beat),
            .q_wr_data            (q_wr_data),
            .q_commit             (q_commit),
            .q_commit_place       (q_commit_place),
            .q_commit_scale_m     (q_commit_scale_m),
            .q_commit_scale_shift (q_commit_scale_shift),
            .q_release_dlzs       (q_release_dlzs),
            .q_release_sufa       (q_release_sufa),
            .k8_wr_valid          (k8_wr_valid),
            .k8_wr_buf            (k8_wr_buf),
            .k8_wr_slot           (k8_wr_slot),
            .k8_wr_beat           (k8_wr_beat),
            .k8_wr_data           (k8_wr_data),
            .k8_commit            (k8_commit),
            .k8_release           (k8_release),
            .u_valid              (u_valid),
            .u_ready              (u_ready),
            .u_land               (u_land),
            .u_mean               (u_mean),
            .u_key                (u_key),
            .u_kbase              (u_kbase),
            .u_vbase              (u_vbase),
            .k_wr_valid           (k_wr_valid),
            .k_wr_land            (k_wr_land),
            .k_wr_beat            (k_wr_beat),
            .k_wr_last            (k_wr_last),
            .v_wr_valid           (v_wr_valid),
            .v_wr_land            (v_wr_land),
            .v_wr_beat            (v_wr_beat),
            .v_wr_last            (v_wr_last),
            .kv_wr_data           (kv_wr_data),
            .w_c_valid            (w_c_valid),
            .w_c_ready            (w_c_ready),
            .w_c_addr             (w_c_addr),
            .w_c_beats            (w_c_beats),
            .w_d_valid            (w_d_valid),
            .w_d_ready            (w_d_ready),
            .w_d_data             (w_d_data),
            .r_c_valid            (r_c_valid),
            .r_c_ready            (r_c_ready),
            .r_c_addr             (r_c_addr),
            .r_c_beats            (r_c_beats),
            .r_d_valid            (r_d_valid),
            .r_d_ready            (r_d_ready),
            .r_d_data             (r_d_data),
            .x_c_valid            (x_c_valid),
            .x_c_ready            (x_c_ready),
            .x_c_addr             (x_c_addr),
            .x_c_beats            (x_c_beats),
            .x_d_valid            (x_d_valid),
            .x_d_ready            (x_d_ready),
            .x_d_data             (x_d_data),
            .d_c_valid            (d_c_valid),
            .d_c_ready            (d_c_ready),
            .d_c_addr             (d_c_addr),
            .d_c_beats            (d_c_beats),
            .d_d_valid            (d_d_valid),
            .d_d_ready            (d_d_ready),
            .d_d_data             (d_d_data),
            .halt                 (halt),
            .idle                 (rd_idle),
            .err_valid            (rd_err_valid),
            .err_protocol         (rd_err_protocol),
            .err_stream           (rd_err_stream),
            .err_resp             (rd_err_resp),
            .bus_wait             (rd_wait),
            .bus_move             (rd_move),
            .ev_beat              (ev_beat),
            .ev_stall             (ev_fetch_stall),
            .m_axi_arid           (m_axi_arid),
            .m_axi_araddr         (m_axi_araddr),
            .m_axi_arlen          (m_axi_arlen),
            .m_axi_arsize         (m_axi_arsize),
            .m_axi_arburst        (m_axi_arburst),
            .m_axi_arvalid        (m_axi_arvalid),
            .m_axi_arready        (m_axi_arready),
            .m_axi_rid            (m_axi_rid),
            .m_axi_rdata          (m_axi_rdata),
            .m_axi_rresp          (m_axi_rresp),
            .m_axi_rlast          (m_axi_rlast),
            .m_axi_rvalid         (m_axi_rvalid),
            .m_axi_rready         (m_axi_rready)
        );

        sofa_dlzs #(
            .ROWS        (ROWS),
            .COLS        (COLS),
            .D_MAX       (D_MAX),
            .BC_MAX      (BC_MAX),
            .BUS_BYTES   (BUS_BYTES),
            .SC_FRAC     (SC_FRAC),
            .TWO_TERM    (TWO_TERM),
            .K8_BUFS     (K8_BUFS),
            .PLACES      (PLACES),
            .STORE_BEATS (STORE_BEATS),
            .ROPE_PAIRS  (ROPE_PAIRS)
        ) dlzs_inst (
            .clk            (clk),
            .rst            (stage_rst),
            .cfg_d          (job_d[8:0]),
            .cfg_dense      (cfg_dense),
            .cfg_snap       (cfg_snap),
            .cfg_predict    (cfg_predict),
            .cfg_rope       (cfg_rope),
            .cfg_k8_stride  (job_stride[`SOFA_BUF_K8*32 +: 32]),
            .cfg_k8_hstride (job_hstride[`SOFA_BUF_K8*32 +: 32]),
            .cfg_rt_stride  (job_stride[`SOFA_BUF_RT*32 +: 32]),
            .q_wr_valid     (q_wr_valid),
            .q_wr_place     (q_wr_place),
            .q_wr_row       (q_wr_row),
            .q_wr_beat      (q_wr_beat),
            .q_wr_data      (q_wr_data),
            .q_commit       (q_commit),
            .q_release_dlzs (q_release_dlzs),
            .k8_wr_valid    (k8_wr_valid),
            .k8_wr_buf      (k8_wr_buf),
            .k8_wr_slot     (k8_wr_slot),
            .k8_wr_beat     (k8_wr_beat),
            .k8_wr_data     (k8_wr_data),
            .k8_commit      (k8_commit),
            .k8_release     (k8_release),
            .tn_valid       (tn_valid),
            .tn_ready       (tn_ready),
            .tn_turn        (tn_turn),
            .w_d_valid      (w_d_valid),
            .w_d_ready      (w_d_ready),
            .w_d_data       (w_d_data),
            .r_c_valid      (r_c_valid),
            .r_c_ready      (r_c_ready),
            .r_c_addr       (r_c_addr),
            .r_c_beats      (r_c_beats),
            .r_d_valid      (r_d_valid),
            .r_d_ready      (r_d_ready),
            .r_d_data       (r_d_data),
            .t_valid        (t_valid),
            .t_ready        (t_ready),
            .t_turn         (t_turn),
            .s_valid        (s_valid),
            .s_ready        (s_ready),
            .s_last         (s_last),
            .s_scores       (s_scores),
            .x_valid        (kp_valid),
            .x_ready        (kp_ready),
            .x_addr         (kp_addr),
            .x_data         (kp_data),
            .x_strb         (kp_strb),
            .x_done         (sx_done && cfg_predict),
            .kp_done        (kp_done),
            .ev_busy        (ev_dlzs_busy),
            .ev_stall       (ev_dlzs_stall)
        );

        sofa_sads #(
            .ROWS       (ROWS),
            .COLS       (COLS),
            .D_MAX      (D_MAX),
            .BC_MAX     (BC_MAX),
            .BUS_BYTES  (BUS_BYTES),
            .KEYS_MAX   (KEYS_MAX),
            .SC_FRAC    (SC_FRAC),
            .SUM_FRAC   (SUM_FRAC),
            .LEVEL_W    (LEVEL_W),
            .LOG_FRAC   (LOG_FRAC),
            .RATIO_FRAC (RATIO_FRAC),
            .F_FRAC     (F_FRAC),
            .PLACES     (PLACES),
            .SORT       (SORT)
        ) sads_inst (
            .clk       (clk),
            .rst       (stage_rst),
            .cfg_dense (cfg_dense),
            .cfg_sort  (cfg_sort),
            .cfg_blend (cfg_blend),
            .cfg_quota (job_quota[7:0]),
            .t_valid   (t_valid),
            .t_ready   (t_ready),
            .t_turn    (t_turn),
            .s_valid   (s_valid),
            .s_ready   (s_ready),
            .s_last    (s_last),
            .s_scores  (s_scores),
            .m_valid   (m_valid),
            .m_ready   (m_ready),
            .m_first   (m_first),
            .m_last    (m_last),
            .m_mask    (m_mask),
            .m_turn    (m_turn),
            .f_valid   (f_valid),
            .f_ready   (f_ready),
            .f_word    (f_word),
            .f_last    (f_last),
            .f_place   (f_place),
            .f_data    (f_data),
            .ev_busy   (ev_sads_busy),
            .ev_stall  (ev_sads_stall),
            .ev_pairs  (ev_pairs)
        );

        sofa_rass #(
            .ROWS   (ROWS),
            .BC_MAX (BC_MAX),
            .PLACES (PLACES)
        ) rass_inst (
            .clk      (clk),
            .rst      (stage_rst),
            .m_valid  (m_valid),
            .m_ready  (m_ready),
            .m_first  (m_first),
            .m_last   (m_last),
            .m_mask   (m_mask),
            .m_turn   (m_turn),
            .p_valid  (p_valid),
            .p_ready  (p_ready),
            .p_kind   (p_kind),
            .p_key    (p_key),
            .p_kbase  (p_kbase),
            .p_vbase  (p_vbase),
            .p_mask   (p_mask),
            .p_place  (p_place),
            .p_rows   (p_rows),
            .p_maddr  (p_maddr),
            .p_oaddr  (p_oaddr),
            .p_shift_k (p_shift_k),
            .p_shift_v (p_shift_v),
            .ev_stall (ev_rass_stall),
            .ev_key   (ev_key)
        );

        sofa_kvgen #(
            .ROWS       (ROWS),
            .D_MAX      (D_MAX),
            .BUS_BYTES  (BUS_BYTES),
            .KEYS_MAX   (KEYS_MAX),
            .ADDR_W     (ADDR_W),
            .PLACES     (PLACES),
            .LAND       (LAND),
            .LAND_BEATS (LAND_BEATS),
            .VM_W       (VM_W),
            .H_MAX      (H_MAX),
            .KG_TOK     (KG_TOK),
            .WGT_WORDS  (WGT_WORDS)
        ) kvgen_inst (
            .clk            (clk),
            .rst            (stage_rst),
            .cfg_generate   (kvgen_on),
            .cfg_mean       (cfg_blend),
            .cfg_d          (job_d[8:0]),
            .cfg_h          (job_model_dim[12:0]),
            .cfg_rope       (cfg_rope),
            .cfg_keys       (job_keys[16:0]),
            .cfg_k_stride   (job_stride[`SOFA_BUF_K*32 +: 32]),
            .cfg_v_stride   (job_stride[`SOFA_BUF_V*32 +: 32]),
            .cfg_x_base     (job_base[`SOFA_BUF_X*48 +: 48]),
            .cfg_x_stride   (job_stride[`SOFA_BUF_X*32 +: 32]),
            .cfg_w_base     (job_base[`SOFA_BUF_W*48 +: 48]),
            .cfg_w_hstride  (job_hstride[`SOFA_BUF_W*32 +: 32]),
            .cfg_rt_base    (job_base[`SOFA_BUF_RT*48 +: 48]),
            .cfg_rt_stride  (job_stride[`SOFA_BUF_RT*32 +: 32]),
            .cfg_vb_base    (job_base[`SOFA_BUF_VB*48 +: 48]),
            .cfg_vb_hstride (job_hstride[`SOFA_BUF_VB*32 +: 32]),
            .cfg_vb_load    (job_mode[`SOFA_MODE_VB_LOAD_LSB]),
            .p_valid        (p_valid),
            .p_ready        (p_ready),
            .p_kind         (p_kind),
            .p_key          (p_key),
            .p_kbase        (p_kbase),
            .p_vbase        (p_vbase),
            .p_mask         (p_mask),
            .p_place        (p_place),
            .p_rows         (p_rows),
            .p_maddr        (p_maddr),
            .p_oaddr        (p_oaddr),
            .p_shift_k      (p_shift_k),
            .p_shift_v      (p_shift_v),
            .u_valid        (u_valid),
            .u_ready        (u_ready),
            .u_land         (u_land),
            .u_mean         (u_mean),
            .u_key          (u_key),
            .u_kbase        (u_kbase),
            .u_vbase        (u_vbase),
            .k_wr_valid     (k_wr_valid),
            .k_wr_land      (k_wr_land),
            .k_wr_beat      (k_wr_beat),
            .k_wr_last      (k_wr_last),
            .v_wr_valid     (v_wr_valid),
            .v_wr_land      (v_wr_land),
            .v_wr_beat      (v_wr_beat),
            .v_wr_last      (v_wr_last),
            .kv_wr_data     (kv_wr_data),
            .x_c_valid      (x_c_valid),
            .x_c_ready      (x_c_ready),
            .x_c_addr       (x_c_addr),
            .x_c_beats      (x_c_beats),
            .x_d_valid      (x_d_valid),
            .x_d_ready      (x_d_ready),
            .x_d_data       (x_d_data),
            .kv_valid       (kv_valid),
            .kv_ready       (kv_ready),
            .kv_first       (kv_first),
            .kv_data        (kv_data),
            .kv_mask        (kv_mask),
            .kv_end         (kv_end),
            .kv_end_place   (kv_end_place),
            .kv_end_rows    (kv_end_rows),
            .kv_end_addr    (kv_end_addr),
            .wb_valid       (wb_valid),
            .wb_ready       (wb_ready),
            .wb_addr        (wb_addr),
            .wb_data        (wb_data),
            .wb_strb        (wb_strb),
            .wb_done        (sx_done && !cfg_predict),
            .kv_done        (kv_done),
            .idle           (unused_kvgen_idle),
            .ev_busy        (ev_kvgen_busy),
            .ev_stall       (ev_kvgen_stall),
            .ev_starve      (ev_kvgen_starve),
            .ev_gen         (ev_gen),
            .ev_reused      (ev_reused)
        );

        sofa_sufa #(
            .ROWS        (ROWS),
            .D_MAX       (D_MAX),
            .BUS_BYTES   (BUS_BYTES),
            .KEYS_MAX    (KEYS_MAX),
            .PLACES      (PLACES),
            .STORE_BEATS (STORE_BEATS),
            .FIFO        (FIFO),
            .F_FRAC      (F_FRAC),
            .TAPS        (TAPS)
        ) sufa_inst (
            .clk                  (clk),
            .rst                  (stage_rst),
            .cfg_d                (job_d[8:0]),
            .cfg_o_stride         (job_stride[`SOFA_BUF_O*32 +: 32]),
            .cfg_o_hstride        (job_hstride[`SOFA_BUF_O*32 +: 32]),
            .cfg_heads            (cfg_heads),
            .q_wr_valid           (q_wr_valid),
            .q_wr_place           (q_wr_place),
            .q_wr_row             (q_wr_row),
            .q_wr_beat            (q_wr_beat),
            .q_wr_data            (q_wr_data),
            .q_commit             (q_commit),
            .q_commit_place       (q_commit_place),
            .q_commit_scale_m     (q_commit_scale_m),
            .q_commit_scale_shift (q_commit_scale_shift),
            .q_release            (q_release_sufa),
            .f_valid              (f_valid),
            .f_ready              (f_ready),
            .f_word               (f_word),
            .f_last               (f_last),
            .f_place              (f_place),
            .f_data               (f_data),
            .kv_valid             (kv_valid),
            .kv_ready             (kv_ready),
            .kv_first             (kv_first),
            .kv_data              (kv_data),
            .kv_mask              (kv_mask),
            .kv_end               (kv_end),
            .kv_end_place         (kv_end_place),
            .kv_end_rows          (kv_end_rows),
            .kv_end_addr          (kv_end_addr),
            .o_valid              (o_valid),
            .o_ready              (o_ready),
            .o_data               (o_data),
            .o_first              (o_first),
            .o_addr               (o_addr),
            .o_last               (o_last),
            .o_block_last         (o_block_last),
            .ev_busy              (ev_sufa_busy),
            .ev_flush             (ev_sufa_flush),
            .ev_stall             (ev_sufa_stall),
            .ev_starve            (ev_sufa_starve),
            .ev_maxupd            (ev_maxupd),
            .tap_e_valid          (tap_e_valid),
            .tap_e_row            (tap_e_row),
            .tap_e_z              (tap_e_z),
            .tap_e_p              (tap_e_p),
            .tap_e_m              (tap_e_m),
            .tap_e_dm             (tap_e_dm),
            .tap_e_l              (tap_e_l),
            .tap_l_valid          (tap_l_valid),
            .tap_l_row            (tap_l_row),
            .tap_l                (tap_l_sum),
            .tap_o_valid          (tap_o_valid),
            .tap_o_row            (tap_o_row),
            .tap_o_beat           (tap_o_beat),
            .tap_o                (tap_o_data),
            .tap_r                (tap_o_rcp)
        );

        assign kp_ready = sx_ready && cfg_predict;
        assign wb_ready = sx_ready && !cfg_predict;

        sofa_store #(
            .D_MAX     (D_MAX),
            .BUS_BYTES (BUS_BYTES),
            .ADDR_W    (ADDR_W)
        ) store_inst (
            .clk           (clk),
            .rst           (stage_rst),
            .cfg_d         (job_d[8:0]),
            .o_valid       (o_valid),
            .o_ready       (o_ready),
            .o_data        (o_data),
            .o_first       (o_first),
            .o_addr        (o_addr),
            .o_last        (o_last),
            .o_block_last  (o_block_last),
            .x_valid       (cfg_predict ? kp_valid : wb_valid),
            .x_ready       (sx_ready),
            .x_addr        (cfg_predict ? kp_addr : wb_addr),
            .x_data        (cfg_predict ? kp_data : wb_data),
            .x_strb        (cfg_predict ? kp_strb : wb_strb),
            .x_done        (sx_done),
            .halt          (halt),
            .idle          (wr_idle),
            .err_valid     (wr_err_valid),
            .err_protocol  (wr_err_protocol),
            .err_id        (wr_err_id),
            .err_resp      (wr_err_resp),
            .bus_wait      (wr_wait),
            .bus_move      (wr_move),
            .blk_done      (blk_done),
            .ev_beat       (ev_beat_o),
            .ev_beat_x     (ev_beat_wb),
            .ev_stall      (ev_store_stall),
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

        wire unused = &{1'b0, job_quota[31:8]};

        end
    endgenerate

endmodule

`resetall
