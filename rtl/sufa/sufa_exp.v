// SPDX-License-Identifier: Apache-2.0
// Weights of a group of rows: score -> log2 units -> reference exponent m -> 2^(z - m), sum l.
//
// Why: a row needs two exponentials per step of d cycles, so EXP_ROWS rows share one unit. Rows
// are issued in turn, two cycles each: first score a, then score b. m is an integer power of two
// and rises only when a score exceeds it by more than GUARD bits, so that rescaling is a shift.
// m, seen and l of the rows lie in two small memories, each read once per row and step.
// An invalid entry gives weight 0 whatever its score is (also unknown); a row without a valid
// entry keeps m and l.
// Not done here: when to issue (sufa_exp_ctl.v), shifting o (sufa_row.v).
// A row must not be issued again within the 3 cycles after its second score.
// Latency: from the issue of score b 11 cycles to out_valid, l one cycle more.
// Throughput: one row per two cycles.
// Source: SOFA (MICRO 2024), SU-FA, EXP and auxiliary unit; docs/architecture.md section 5.4.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_exp2.vh"

module sufa_exp #(
    // Rows that share this unit, power of two, 2..128.
    parameter EXP_ROWS = 16,
    // Bits of a score as captured (dot product without its 8 low bits), 28..32.
    parameter SD_W = 31,
    // Bits of a sum of weights, 18..32.
    parameter L_W = 28,
    // 1: drive the taps. 0: taps are 0 and cost nothing.
    parameter TAPS = 1,
    // Bits of a row number within the group. Derived: leave at its default.
    parameter ROW_W = $clog2(EXP_ROWS),
    // Bits of a score in log2 units. Fixed.
    parameter Z_W = 26
) (
    input  wire                     clk,
    input  wire                     rst,

    input  wire [15:0]              cfg_scale_m,
    input  wire [5:0]               cfg_scale_shift,

    // All stages move only with en
    input  wire                     en,

    // Issue: score b (1) or a (0) of a row; first step of the block
    input  wire                     rd_valid,
    input  wire                     rd_b,
    input  wire [ROW_W-1:0]         rd_row,
    input  wire                     rd_first,

    // Scores, 32 bits each, of entries a and b of row 0, of row 1, ..; their validity likewise
    input  wire [EXP_ROWS*64-1:0]   s_data,
    input  wire [EXP_ROWS*2-1:0]    s_valid,

    // Weights and rise of m
    output wire                     out_valid,
    output wire [ROW_W-1:0]         out_row,
    output wire [15:0]              out_pa,
    output wire [15:0]              out_pb,
    output wire [5:0]               out_dm,

    // Sum of a row, in the next cycle; only while nothing was issued for 13 cycles
    input  wire                     scan_en,
    input  wire [ROW_W-1:0]         scan_row,
    output wire [L_W-1:0]           scan_l,

    // m rose
    output wire                     ev_upd,

    // Taps, with out_valid
    output wire [Z_W-1:0]           tap_za,
    output wire [Z_W-1:0]           tap_zb,
    output wire                     tap_va,
    output wire                     tap_vb,
    output wire [16:0]              tap_m
);

    generate
        if (EXP_ROWS < 2 || EXP_ROWS > 128 || EXP_ROWS != (1 << $clog2(EXP_ROWS)) || SD_W < 28
                || SD_W > 32 || L_W < 18 || L_W > 32 || ROW_W != $clog2(EXP_ROWS)
                || Z_W != 26) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sufa_exp_needs_EXP_ROWS_2_128_SD_W_28_32_L_W_18_32 stop ();
        end
    endgenerate

    localparam [`SOFA_EXP2_BASE_W*64-1:0]  BASE = `SOFA_EXP2_BASE;
    localparam [`SOFA_EXP2_SLOPE_W*64-1:0] SLOPE = `SOFA_EXP2_SLOPE;

    // Registers of stage k hold a score k cycles after its issue: 1 score, 2 partial products,
    // 3 product, 4 z, 8 fraction and shift, 9 table, 10 mantissa, 11 weight. Score a is always a
    // stage further than score b. Of the pair, counted for score b: 5 exponent, 6 m, 12 l.
    localparam STAGES = 11;

    // Bit k: stage k holds a score; a score b; of a block's first step; valid.
    reg [STAGES:1]       busy_reg, b_reg, first_reg, v_reg;
    wire                 pair_4 = busy_reg[4] && b_reg[4];
    wire                 pair_5 = busy_reg[5] && b_reg[5];
    wire                 pair_6 = busy_reg[6] && b_reg[6];
    wire                 pair_10 = busy_reg[10] && b_reg[10];
    wire                 pair_11 = busy_reg[11] && b_reg[11];
    wire                 rd_v = s_valid[{rd_row, rd_b}];
    // Row of stage k at [(k-1)*ROW_W +: ROW_W].
    reg [12*ROW_W-1:0]   rows_reg;
    wire [ROW_W-1:0]     row_4 = rows_reg[3*ROW_W +: ROW_W];
    wire [ROW_W-1:0]     row_6 = rows_reg[5*ROW_W +: ROW_W];
    wire [ROW_W-1:0]     row_10 = rows_reg[9*ROW_W +: ROW_W];
    wire [ROW_W-1:0]     row_11 = rows_reg[10*ROW_W +: ROW_W];
    wire [ROW_W-1:0]     row_12 = rows_reg[11*ROW_W +: ROW_W];

    // -----------------------------------------------------------------------------------------
    // Scaling: z = saturate((s * M) >>> shift), s cut into two halves for the multiplication
    // -----------------------------------------------------------------------------------------
    localparam HI_W = SD_W - 16;
    localparam PROD_W = SD_W + 16;

    reg  [SD_W-1:0]       sd_reg;
    reg  [31:0]           mul_lo_reg;
    reg  [HI_W+15:0]      mul_hi_reg;
    reg  [PROD_W-1:0]     prod_reg;
    reg  [Z_W-1:0]        z_reg;

    wire [31:0]           sd_pick = s_data[{rd_row, rd_b, 5'd0} +: 32];
    wire [HI_W+15:0]      mul_hi = $signed(sd_reg[SD_W-1:16]) * $signed({1'b0, cfg_scale_m});
    wire [PROD_W-1:0]     prod = {mul_hi_reg, 16'd0} + {{(PROD_W - 32){1'b0}}, mul_lo_reg};
    wire [PROD_W-1:0]     scaled = $signed(prod_reg) >>> cfg_scale_shift;
    wire                  z_fits = &scaled[PROD_W-1:Z_W-1] || !(|scaled[PROD_W-1:Z_W-1]);
    wire [Z_W-1:0]        z_sat = z_fits ? scaled[Z_W-1:0]
                                         : {scaled[PROD_W-1], {(Z_W - 1){!scaled[PROD_W-1]}}};

    generate
        if (SD_W < 32) begin : g_pad
            wire unused_pad = &{1'b0, sd_pick[31:SD_W]};
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Reference exponent
    // -----------------------------------------------------------------------------------------
    reg  [Z_W-1:0]        z_d1_reg, z_d2_reg, z_d3_reg;
    reg  [16:0]           e_reg;
    reg                   any_reg;
    reg  [16:0]           m_reg;
    reg                   seen_reg;
    reg  [5:0]            dm_reg, dm_d1_reg, dm_d2_reg, dm_d3_reg, dm_d4_reg, dm_d5_reg;
    reg                   upd_reg;

    wire                  z_a_larger = $signed(z_d1_reg) > $signed(z_reg);
    wire [Z_W-1:0]        z_max = v_reg[5] && (!v_reg[4] || z_a_larger) ? z_d1_reg : z_reg;
    wire [16:0]           e_next = {z_max[Z_W-1], z_max[Z_W-1:10]} + 17'd1;
    wire                  unused_z = &{1'b0, z_max[9:0]};

    wire [17:0]           state_rd;
    wire                  seen_old = state_rd[17] && !first_reg[5];
    wire [17:0]           rise = {e_reg[16], e_reg} - {state_rd[16], state_rd[16:0]};
    // e > m + GUARD, GUARD = 1
    wire                  above = !rise[17] && |rise[16:1];
    wire                  upd = any_reg && seen_old && above;
    wire [5:0]            dm_sat = |rise[16:6] ? 6'd63 : rise[5:0];
    wire [16:0]           m_next = any_reg && (!seen_old || above) ? e_reg
                                   : seen_old ? state_rd[16:0] : 17'd0;

    // -----------------------------------------------------------------------------------------
    // Weight: 2^(z - m) by table, then shifted by the whole part
    // -----------------------------------------------------------------------------------------
    reg  [9:0]            frac_reg;
    reg  [4:0]            sh7_reg, sh8_reg, sh9_reg;
    reg  [15:0]           base_reg;
    reg  [9:0]            slope_reg;
    reg  [3:0]            frac_lo_reg;
    reg  [15:0]           mant_reg;
    reg  [15:0]           p_reg, p_d1_reg;

    wire [27:0]           diff = {{2{z_d3_reg[Z_W-1]}}, z_d3_reg} - {m_reg[16], m_reg, 10'd0};
    // GUARD - 1 - whole part; 17 and more give 0.
    wire [17:0]           sh = 18'd0 - diff[27:10];
    wire [4:0]            sh_sat = |sh[17:5] || (sh[4] && |sh[3:0]) ? 5'd17 : sh[4:0];
    wire [13:0]           interp = slope_reg * frac_lo_reg + 14'd8;
    wire                  unused_interp = &{1'b0, interp[3:0]};
    wire [15:0]           mant = base_reg + {6'd0, interp[13:4]};
    // One bit below the weight for rounding; shift 0 does not round.
    wire [16:0]           cut = {mant_reg, 1'b0} >> sh9_reg;
    wire [15:0]           p = cut[16:1] + {15'd0, cut[0]};

    // -----------------------------------------------------------------------------------------
    // Sum of weights
    // -----------------------------------------------------------------------------------------
    reg                   l_pair_reg;
    reg  [L_W-1:0]        l_sh_reg;
    reg  [16:0]           p_sum_reg;

    wire [L_W-1:0]        l_rd;
    wire [L_W-1:0]        l_new = l_sh_reg + {{(L_W - 17){1'b0}}, p_sum_reg};

    always @(posedge clk) begin
        if (en) begin
            busy_reg <= {busy_reg[STAGES-1:1], rd_valid};
            l_pair_reg <= pair_11;
            b_reg <= {b_reg[STAGES-1:1], rd_b};
            first_reg <= {first_reg[STAGES-1:1], rd_first};
            v_reg <= {v_reg[STAGES-1:1], rd_v};
            rows_reg <= {rows_reg[11*ROW_W-1:0], rd_row};
            if (rd_valid) begin
                sd_reg <= rd_v ? sd_pick[SD_W-1:0] : {SD_W{1'b0}};
            end
            if (busy_reg[1]) begin
                mul_lo_reg <= sd_reg[15:0] * cfg_scale_m;
                mul_hi_reg <= mul_hi;
            end
            if (busy_reg[2]) begin
                prod_reg <= prod;
            end
            if (busy_reg[3]) begin
                z_reg <= z_sat;
            end
            z_d1_reg <= z_reg;
            z_d2_reg <= z_d1_reg;
            z_d3_reg <= z_d2_reg;
            if (pair_4) begin
                e_reg <= e_next;
                any_reg <= v_reg[4] || v_reg[5];
            end
            if (pair_5) begin
                m_reg <= m_next;
                seen_reg <= seen_old || any_reg;
                dm_reg <= upd ? dm_sat : 6'd0;
            end
            upd_reg <= pair_5 && upd;
            dm_d1_reg <= dm_reg;
            dm_d2_reg <= dm_d1_reg;
            dm_d3_reg <= dm_d2_reg;
            dm_d4_reg <= dm_d3_reg;
            dm_d5_reg <= dm_d4_reg;
            if (busy_reg[7]) begin
                frac_reg <= diff[9:0];
                sh7_reg <= v_reg[7] ? sh_sat : 5'd17;
            end
            if (busy_reg[8]) begin
                base_reg <= BASE[{frac_reg[9:4], 4'd0} +: 16];
                slope_reg <= SLOPE[{4'd0, frac_reg[9:4]} * 10'd10 +: 10];
                frac_lo_reg <= frac_reg[3:0];
                sh8_reg <= sh7_reg;
            end
            if (busy_reg[9]) begin
                mant_reg <= mant;
                sh9_reg <= sh8_reg;
            end
            if (busy_reg[10]) begin
                p_reg <= p;
            end
            p_d1_reg <= p_reg;
            if (pair_11) begin
                l_sh_reg <= first_reg[11] ? {L_W{1'b0}} : l_rd >> dm_d5_reg;
                p_sum_reg <= {1'b0, p_d1_reg} + {1'b0, p_reg};
            end
        end
        if (rst) begin
            busy_reg <= {STAGES{1'b0}};
            l_pair_reg <= 1'b0;
            upd_reg <= 1'b0;
        end
    end

    assign out_valid = pair_11 && en;
    assign out_row = row_11;
    assign out_pa = p_d1_reg;
    assign out_pb = p_reg;
    assign out_dm = dm_d5_reg;
    assign scan_l = l_rd;
    assign ev_upd = upd_reg && en;

    ram_1r1w #(
        .WIDTH (18),
        .DEPTH (EXP_ROWS)
    ) m_ram_inst (
        .clk     (clk),
        .wr_en   (pair_6 && en),
        .wr_addr (row_6),
        .wr_data ({seen_reg, m_reg}),
        .rd_en   (pair_4 && en),
        .rd_addr (row_4),
        .rd_data (state_rd)
    );

    ram_1r1w #(
        .WIDTH (L_W),
        .DEPTH (EXP_ROWS)
    ) l_ram_inst (
        .clk     (clk),
        .wr_en   (l_pair_reg && en),
        .wr_addr (row_12),
        .wr_data (l_new),
        .rd_en   (pair_10 && en || scan_en),
        .rd_addr (scan_en ? scan_row : row_10),
        .rd_data (l_rd)
    );

    // -----------------------------------------------------------------------------------------
    // Taps: z, validity and m delayed to the weights
    // -----------------------------------------------------------------------------------------
    generate
        if (TAPS != 0) begin : g_taps
            reg [5*Z_W-1:0] z_reg_d;
            reg             va_d_reg;
            reg [17*5-1:0]  m_reg_d;

            always @(posedge clk) begin
                if (en) begin
                    // z of score b is 3 stages further in z_d3, 7 at the weights; a 8.
                    z_reg_d <= {z_reg_d[4*Z_W-1:0], z_d3_reg};
                    m_reg_d <= {m_reg_d[17*4-1:0], m_reg};
                    va_d_reg <= v_reg[11];
                end
            end

            assign tap_za = z_reg_d[4*Z_W +: Z_W];
            assign tap_zb = z_reg_d[3*Z_W +: Z_W];
            assign tap_va = va_d_reg;
            assign tap_vb = v_reg[11];
            assign tap_m = m_reg_d[17*4 +: 17];
        end else begin : g_no_taps
            wire unused_v = v_reg[11];
            assign tap_za = {Z_W{1'b0}};
            assign tap_zb = {Z_W{1'b0}};
            assign tap_va = 1'b0;
            assign tap_vb = 1'b0;
            assign tap_m = 17'd0;
        end
    endgenerate

endmodule

`resetall
