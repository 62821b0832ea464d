// SPDX-License-Identifier: Apache-2.0

/*
 * sofa_top: the SOFA attention core as a system-on-chip sees it.
 *
 * AXI4-Lite registers start a job or a chain of jobs; the core reads its inputs and writes its
 * results (predicted keys; made keys and values; outputs) through one AXI4 master. Memory layout,
 * number formats and the register map: docs/. The core's taps stay open here.
 *
 * Attributes of the master's transfers, the same in all of them:
 *   cache 0011  normal, non-cacheable, bufferable: memory, not a device, so the interconnect may
 *               merge, split and buffer; operands stream through once, so no cache is filled. A
 *               write may be answered on the way: whoever answers keeps later accesses behind it
 *   prot  010   unprivileged, non-secure, data: what a system grants a peripheral by default
 *   lock  0     normal: there are no exclusive accesses
 *   qos   0000  no scheme: the interconnect sets the priority
 *
 * Source: H. Wang et al., "SOFA", MICRO 2024, and docs/architecture.md.
 */

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_top #(
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
    parameter ROPE_PAIRS = 1
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
    output wire                         m_axi_awlock,
    output wire [3:0]                   m_axi_awcache,
    output wire [2:0]                   m_axi_awprot,
    output wire [3:0]                   m_axi_awqos,
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
    output wire                         m_axi_arlock,
    output wire [3:0]                   m_axi_arcache,
    output wire [2:0]                   m_axi_arprot,
    output wire [3:0]                   m_axi_arqos,
    output wire                         m_axi_arvalid,
    input  wire                         m_axi_arready,
    input  wire [2:0]                   m_axi_rid,
    input  wire [BUS_BYTES*8-1:0]       m_axi_rdata,
    input  wire [1:0]                   m_axi_rresp,
    input  wire                         m_axi_rlast,
    input  wire                         m_axi_rvalid,
    output wire                         m_axi_rready
);

assign m_axi_awlock = 1'b0;
assign m_axi_awcache = 4'b0011;
assign m_axi_awprot = 3'b010;
assign m_axi_awqos = 4'b0000;
assign m_axi_arlock = 1'b0;
assign m_axi_arcache = 4'b0011;
assign m_axi_arprot = 3'b010;
assign m_axi_arqos = 4'b0000;

/*
 * No such modules exist: elaboration stops at the first illegal parameter with a message that gives
 * the module's name. The core is left out, so that its cells' own messages do not hide this one.
 * models/config.py checks the same ranges in the same order.
 */
generate
if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))) begin : g_illegal
    illegal_parameter_BUS_BYTES_needs_power_of_two_8_to_64 stop ();
end else if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
    illegal_parameter_ROWS_needs_power_of_two_half_BUS_BYTES_to_128 stop ();
end else if (BC_MAX < BUS_BYTES || BC_MAX > 64 || BC_MAX != (1 << $clog2(BC_MAX))) begin : g_illegal
    illegal_parameter_BC_MAX_needs_power_of_two_BUS_BYTES_to_64 stop ();
end else if (COLS < 4 || COLS > BC_MAX || COLS != (1 << $clog2(COLS))) begin : g_illegal
    illegal_parameter_COLS_needs_power_of_two_4_to_BC_MAX stop ();
end else if (D_MAX < 16 || D_MAX < BUS_BYTES || D_MAX > 256
        || D_MAX != (1 << $clog2(D_MAX))) begin : g_illegal
    illegal_parameter_D_MAX_needs_power_of_two_16_to_256_and_at_least_BUS_BYTES stop ();
end else if (KEYS_MAX < 64 || KEYS_MAX > 65536
        || KEYS_MAX != (1 << $clog2(KEYS_MAX))) begin : g_illegal
    illegal_parameter_KEYS_MAX_needs_power_of_two_64_to_65536 stop ();
end else if (ADDR_W < 32 || ADDR_W > 48) begin : g_illegal
    illegal_parameter_ADDR_W_needs_32_to_48 stop ();
end else if (SC_FRAC < 0 || SC_FRAC > 8) begin : g_illegal
    illegal_parameter_SC_FRAC_needs_0_to_8 stop ();
end else if (TWO_TERM != 0 && TWO_TERM != 1) begin : g_illegal
    illegal_parameter_TWO_TERM_needs_0_or_1 stop ();
end else if (EXP_ROWS < 2 || EXP_ROWS > ROWS
        || EXP_ROWS != (1 << $clog2(EXP_ROWS))) begin : g_illegal
    illegal_parameter_EXP_ROWS_needs_power_of_two_2_to_ROWS stop ();
end else if (DIV_ROWS < EXP_ROWS || DIV_ROWS > ROWS
        || DIV_ROWS != (1 << $clog2(DIV_ROWS))) begin : g_illegal
    illegal_parameter_DIV_ROWS_needs_power_of_two_EXP_ROWS_to_ROWS stop ();
end else if (K8_BUFS < 2 || K8_BUFS > 4) begin : g_illegal
    illegal_parameter_K8_BUFS_needs_2_to_4 stop ();
end else if (KV_BUFS < 2 || KV_BUFS > 4) begin : g_illegal
    illegal_parameter_KV_BUFS_needs_2_to_4 stop ();
end else if (KV_SLOTS < 8 || KV_SLOTS < BUS_BYTES / 2 || KV_SLOTS > BC_MAX
        || KV_SLOTS != (1 << $clog2(KV_SLOTS))) begin : g_illegal
    illegal_parameter_KV_SLOTS_needs_power_of_two_8_to_BC_MAX_and_at_least_half_BUS_BYTES stop ();
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
end else begin : g_core
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
    .ROPE_PAIRS(ROPE_PAIRS),
    .TAPS(0)
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
    .tap_s_valid(),
    .tap_s_first(),
    .tap_s_last(),
    .tap_s_td(),
    .tap_s_scores(),
    .tap_l_valid(),
    .tap_l_buf(),
    .tap_l_word(),
    .tap_l_data(),
    .tap_t_valid(),
    .tap_t_td(),
    .tap_t_union(),
    .tap_t_nsteps(),
    .tap_t_nsel(),
    .tap_pl_valid(),
    .tap_pl_buf(),
    .tap_pl_word(),
    .tap_pl_data(),
    .tap_p_valid(),
    .tap_p_td(),
    .tap_p_slots(),
    .tap_p_mask(),
    .tap_p_nsteps(),
    .tap_g_valid(),
    .tap_g_mask(),
    .tap_e_valid(),
    .tap_e_row(),
    .tap_e_za(),
    .tap_e_zb(),
    .tap_e_pa(),
    .tap_e_pb(),
    .tap_e_va(),
    .tap_e_vb(),
    .tap_e_m(),
    .tap_e_dm(),
    .tap_o_valid(),
    .tap_o_elem(),
    .tap_o_data(),
    .tap_o_sum(),
    .tap_o_rcp()
);
end
endgenerate

endmodule

`resetall
