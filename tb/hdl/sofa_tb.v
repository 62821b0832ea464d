// SPDX-License-Identifier: Apache-2.0

/*
 * sofa_tb: the core with its stage-level taps, as the top level of system simulations.
 *
 * Simulators make only the top level's signals visible, so the taps are ports here.
 */

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module sofa_tb #(
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

sofa_core #(
    .ROWS(ROWS),
    .COLS(COLS),
    .D_MAX(D_MAX),
    .BC_MAX(BC_MAX),
    .BUS_BYTES(BUS_BYTES),
    .KEYS_MAX(KEYS_MAX),
    .ADDR_W(ADDR_W),
    .SC_FRAC(SC_FRAC),
    .TWO_TERM(TWO_TERM),
    .EXP_ROWS(EXP_ROWS),
    .DIV_ROWS(DIV_ROWS),
    .K8_BUFS(K8_BUFS),
    .KV_BUFS(KV_BUFS),
    .KV_SLOTS(KV_SLOTS),
    .H_MAX(H_MAX),
    .KG_TOK(KG_TOK),
    .WGT_WORDS(WGT_WORDS),
    .ROPE_PAIRS(ROPE_PAIRS)
) core_inst (
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
    .m_axi_bready(m_axi_bready),
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
    .m_axi_rready(m_axi_rready),
    .tap_s_valid(tap_s_valid),
    .tap_s_first(tap_s_first),
    .tap_s_last(tap_s_last),
    .tap_s_td(tap_s_td),
    .tap_s_scores(tap_s_scores),
    .tap_l_valid(tap_l_valid),
    .tap_l_buf(tap_l_buf),
    .tap_l_word(tap_l_word),
    .tap_l_data(tap_l_data),
    .tap_t_valid(tap_t_valid),
    .tap_t_td(tap_t_td),
    .tap_t_union(tap_t_union),
    .tap_t_nsteps(tap_t_nsteps),
    .tap_t_nsel(tap_t_nsel),
    .tap_pl_valid(tap_pl_valid),
    .tap_pl_buf(tap_pl_buf),
    .tap_pl_word(tap_pl_word),
    .tap_pl_data(tap_pl_data),
    .tap_p_valid(tap_p_valid),
    .tap_p_td(tap_p_td),
    .tap_p_slots(tap_p_slots),
    .tap_p_mask(tap_p_mask),
    .tap_p_nsteps(tap_p_nsteps),
    .tap_g_valid(tap_g_valid),
    .tap_g_mask(tap_g_mask),
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
    .tap_o_data(tap_o_data),
    .tap_o_sum(tap_o_sum),
    .tap_o_rcp(tap_o_rcp)
);

endmodule

`resetall
