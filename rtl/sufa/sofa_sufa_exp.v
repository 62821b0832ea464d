// SPDX-License-Identifier: Apache-2.0
// Weights of a SU-FA unit: score -> log2 units -> reference exponent m -> p = 2^(z - m), sum l.
//
// Why: one pair at a time needs one exponential. m is an integer power of two and rises only when
// a score exceeds it by more than GUARD bits, so that rescaling is a shift. m and l of all rows lie
// in two memories, read and written back once a pair; a row's first key ignores what they hold.
// Three kinds of events share the pipeline: a pair, the mean of V of a block (in_mean: its weight
// is 1/32, nothing of any row is touched) and a question for l of a row (in_ask).
// A row must not come again within 2 cycles of its last pair.
// Latency: in_* to out_p, out_dm, ask_* 10 cycles, l is written one cycle later.
// Throughput: one event a cycle.
// Source: SOFA (MICRO 2024), SU-FA, EXP unit; docs/second.md, formal path.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_exp2.vh"

module sofa_sufa_exp #(
    // Rows in all places, power of two, 4..1024.
    parameter ALL = 8,
    // Bits of a score without its 8 low bits, 28..32.
    parameter SD_W = 31,
    // Bits of a sum of weights, 18..32.
    parameter L_W = 28,
    // 1: drive the taps. 0: taps are 0 and cost nothing.
    parameter TAPS = 1,
    // Bits of a row number. Derived: leave at its default.
    parameter IDX_W = $clog2(ALL),
    // Bits of a score in log2 units. Fixed.
    parameter Z_W = 26
) (
    input  wire             clk,
    input  wire             rst,

    // At most one of pair, mean, ask; the row, whether it used a key before; its score. The scale
    // of a pair comes one cycle before it
    input  wire             in_pair,
    input  wire             in_mean,
    input  wire             in_ask,
    input  wire [IDX_W-1:0] in_idx,
    input  wire             in_some,
    input  wire [SD_W-1:0]  in_sd,
    input  wire [15:0]      in_scale_m,
    input  wire [5:0]       in_scale_shift,

    // Weight and rise of m of a pair or mean
    output wire [15:0]      out_p,
    output wire [5:0]       out_dm,

    // l of the row that was asked for, 0 if it used no key
    output wire             ask_valid,
    output wire [L_W-1:0]   ask_l,

    // m rose
    output wire             ev_upd,

    // Taps: a pair, one cycle after its out_p
    output wire             tap_valid,
    output wire [IDX_W-1:0] tap_idx,
    output wire [Z_W-1:0]   tap_z,
    output wire [15:0]      tap_p,
    output wire [16:0]      tap_m,
    output wire [5:0]       tap_dm,
    output wire [L_W-1:0]   tap_l
);

    generate
        if (ALL < 4 || ALL > 1024 || ALL != (1 << $clog2(ALL)) || SD_W < 28 || SD_W > 32
                || L_W < 18 || L_W > 32 || IDX_W != $clog2(ALL) || Z_W != 26) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_exp_needs_ALL_4_1024_SD_W_28_32_L_W_18_32 stop ();
        end
    endgenerate

    localparam [`SOFA_EXP2_BASE_W*64-1:0]  BASE = `SOFA_EXP2_BASE;
    localparam [`SOFA_EXP2_SLOPE_W*64-1:0] SLOPE = `SOFA_EXP2_SLOPE;
    // Gives (MEAN_P * v + 128) >> 8 = 2*v, of which the flush rounds one bit away.
    localparam [15:0] MEAN_P = 16'd512;

    // Registers named _k hold an event k cycles after its input: 1 rows of the product, 2 product,
    // 3 z, 4 exponent, 5 rise, 6 m, 7 table and shift, 8 rows of the mantissa, 9 mantissa,
    // 10 weight, 11 l.
    localparam STAGES = 11;
    reg  [STAGES:1]       pair_reg, mean_reg, ask_reg, some_reg;
    reg  [STAGES*IDX_W:1] idx_reg;
    wire [IDX_W-1:0]      idx_3 = idx_reg[2*IDX_W+1 +: IDX_W];
    wire [IDX_W-1:0]      idx_5 = idx_reg[4*IDX_W+1 +: IDX_W];
    wire [IDX_W-1:0]      idx_9 = idx_reg[8*IDX_W+1 +: IDX_W];
    wire [IDX_W-1:0]      idx_11 = idx_reg[10*IDX_W+1 +: IDX_W];

    // -----------------------------------------------------------------------------------------
    // Scaling: z = saturate((s * M) >>> shift); the product is two rows for a cycle
    // -----------------------------------------------------------------------------------------
    localparam PROD_W = SD_W + 16;
    // Digits of M, bits of the rows and their bias (sofa_mult_rows).
    localparam DIGITS = 9;
    localparam R_W = SD_W + 2 * DIGITS;
    localparam [R_W-1:0] BIAS = {{DIGITS{2'b01}}, {SD_W{1'b0}}};

    wire [2*DIGITS-1:0]   scale_d, scale_n;
    wire [R_W-1:0]        prod_s, prod_c;
    reg  [PROD_W-1:0]     s_1_reg, c_1_reg, prod_2_reg;
    wire                  unused_rows = &{1'b0, prod_s[R_W-1:PROD_W], prod_c[R_W-1:PROD_W]};
    reg  [2*DIGITS-1:0]   scale_d_0_reg, scale_n_0_reg;
    reg  [5:0]            shift_0_reg, shift_1_reg, shift_2_reg;
    reg  [Z_W-1:0]        z_3_reg, z_4_reg, z_5_reg, z_6_reg;

    wire [PROD_W-1:0]     scaled = $signed(prod_2_reg) >>> shift_2_reg;
    wire                  z_fits = &scaled[PROD_W-1:Z_W-1] || !(|scaled[PROD_W-1:Z_W-1]);
    wire [Z_W-1:0]        z_sat = z_fits ? scaled[Z_W-1:0]
                                         : {scaled[PROD_W-1], {(Z_W - 1){!scaled[PROD_W-1]}}};

    sofa_mult_digits #(
        .B_W      (16),
        .B_SIGNED (0)
    ) digits_inst (
        .b (in_scale_m),
        .d (scale_d),
        .m (scale_n)
    );

    sofa_mult_rows #(
        .A_W    (SD_W),
        .DIGITS (DIGITS)
    ) mult_inst (
        .a (in_sd),
        .d (scale_d_0_reg),
        .m (scale_n_0_reg),
        .s (prod_s),
        .c (prod_c)
    );

    // -----------------------------------------------------------------------------------------
    // Reference exponent: read 3, compare 4, written 5
    // -----------------------------------------------------------------------------------------
    reg  [16:0]           e_4_reg, e_5_reg, m_5_reg, m_6_reg;
    reg  [17:0]           rise_5_reg;
    reg  [5:0]            dm_6_reg, dm_7_reg, dm_8_reg, dm_9_reg, dm_10_reg;
    reg                   upd_reg;

    wire [16:0]           m_rd;
    wire [17:0]           rise = {e_4_reg[16], e_4_reg} - {m_rd[16], m_rd};
    // e > m + GUARD, GUARD = 1
    wire                  above = !rise_5_reg[17] && |rise_5_reg[16:1];
    wire                  upd = pair_reg[5] && some_reg[5] && above;
    wire [16:0]           m_next = !some_reg[5] || above ? e_5_reg : m_5_reg;
    wire [5:0]            dm_5 = |rise_5_reg[16:6] ? 6'd63 : rise_5_reg[5:0];

    // -----------------------------------------------------------------------------------------
    // Weight: 2^(z - m) by table, then shifted by the whole part
    // -----------------------------------------------------------------------------------------
    reg  [4:0]            sh_7_reg, sh_8_reg, sh_9_reg;
    reg  [15:0]           base_7_reg, base_8_reg;
    reg  [9:0]            slope_7_reg;
    reg  [3:0]            low_7_reg;
    reg  [13:0]           more_s_8_reg, more_c_8_reg;
    reg  [15:0]           mant_9_reg;
    reg  [15:0]           p_10_reg, p_11_reg;

    // GUARD - 1 - whole part of z - m; 17 and more give 0.
    wire [17:0]           sh = {m_6_reg[16], m_6_reg} - {{2{z_6_reg[Z_W-1]}}, z_6_reg[Z_W-1:10]};
    wire [4:0]            sh_sat = |sh[17:5] || (sh[4] && |sh[3:0]) ? 5'd17 : sh[4:0];
    // m has no fraction bits: those of z choose the weight before m is known.
    wire [5:0]            entry = z_6_reg[9:4];
    wire [13:0]           slope = {4'd0, slope_7_reg};
    wire [13:0]           more_s, more_c;
    // base + slope*low/16, rounded.
    wire [19:0]           mant_s, mant_c;
    wire [19:0]           mant = mant_s + mant_c;
    wire                  unused_mant = &{1'b0, mant[3:0]};
    // One bit below the weight for rounding; shift 0 does not round.
    wire [16:0]           cut = {mant_9_reg, 1'b0} >> sh_9_reg;
    wire [15:0]           p = cut[16:1] + {15'd0, cut[0]};

    sofa_add_rows #(
        .IN  (4),
        .W   (14)
    ) more_inst (
        .rows ({(slope << 3) & {14{low_7_reg[3]}}, (slope << 2) & {14{low_7_reg[2]}},
                (slope << 1) & {14{low_7_reg[1]}}, slope & {14{low_7_reg[0]}}}),
        .sums ({more_c, more_s})
    );

    sofa_add_rows #(
        .IN  (3),
        .W   (20)
    ) mant_inst (
        .rows ({base_8_reg, 4'd8, 6'd0, more_s_8_reg, 6'd0, more_c_8_reg}),
        .sums ({mant_c, mant_s})
    );

    // -----------------------------------------------------------------------------------------
    // Sum of weights: read 9, shifted 10, written 11
    // -----------------------------------------------------------------------------------------
    reg  [L_W-1:0]        l_11_reg;
    wire [L_W-1:0]        l_rd;
    wire [L_W-1:0]        l_new = l_11_reg + {{(L_W - 16){1'b0}}, p_11_reg};
    wire                  unused_ends = &{1'b0, mean_reg[STAGES:10], ask_reg[11], some_reg[11]};

    always @(posedge clk) begin
        pair_reg <= {pair_reg[STAGES-1:1], in_pair};
        mean_reg <= {mean_reg[STAGES-1:1], in_mean};
        ask_reg  <= {ask_reg[STAGES-1:1], in_ask};
        some_reg <= {some_reg[STAGES-1:1], in_some};
        idx_reg  <= {idx_reg[(STAGES-1)*IDX_W:1], in_idx};

        scale_d_0_reg <= scale_d;
        scale_n_0_reg <= scale_n;
        shift_0_reg   <= in_scale_shift;
        if (in_pair) begin
            s_1_reg     <= prod_s[PROD_W-1:0];
            c_1_reg     <= prod_c[PROD_W-1:0];
            shift_1_reg <= shift_0_reg;
        end
        if (pair_reg[1]) begin
            prod_2_reg  <= s_1_reg + c_1_reg - BIAS[PROD_W-1:0];
            shift_2_reg <= shift_1_reg;
        end
        if (pair_reg[2]) begin
            z_3_reg <= z_sat;
        end
        z_4_reg <= z_3_reg;
        z_5_reg <= z_4_reg;
        z_6_reg <= z_5_reg;

        e_4_reg     <= {z_3_reg[Z_W-1], z_3_reg[Z_W-1:10]} + 17'd1;
        e_5_reg     <= e_4_reg;
        m_5_reg     <= m_rd;
        rise_5_reg  <= rise;
        m_6_reg     <= m_next;
        dm_6_reg    <= upd ? dm_5 : 6'd0;
        upd_reg     <= upd;
        dm_7_reg    <= dm_6_reg;
        dm_8_reg    <= dm_7_reg;
        dm_9_reg    <= dm_8_reg;
        dm_10_reg   <= dm_9_reg;

        base_7_reg  <= BASE[{entry, 4'd0} +: 16];
        slope_7_reg <= SLOPE[{4'd0, entry} * 10'd10 +: 10];
        low_7_reg   <= z_6_reg[3:0];
        sh_7_reg    <= sh_sat;
        base_8_reg  <= base_7_reg;
        more_s_8_reg <= more_s;
        more_c_8_reg <= more_c;
        sh_8_reg    <= sh_7_reg;
        mant_9_reg  <= mant[19:4];
        sh_9_reg    <= sh_8_reg;
        p_10_reg    <= mean_reg[9] ? MEAN_P : p;
        p_11_reg    <= p_10_reg;
        l_11_reg    <= some_reg[10] ? l_rd >> dm_10_reg : {L_W{1'b0}};

        if (rst) begin
            pair_reg <= {STAGES{1'b0}};
            mean_reg <= {STAGES{1'b0}};
            ask_reg  <= {STAGES{1'b0}};
            upd_reg  <= 1'b0;
        end
    end

    assign out_p     = p_10_reg;
    assign out_dm    = dm_10_reg;
    assign ask_valid = ask_reg[10];
    assign ask_l     = some_reg[10] ? l_rd : {L_W{1'b0}};
    assign ev_upd    = upd_reg;

    sofa_ram_1r1w #(
        .WIDTH  (17),
        .DEPTH  (ALL),
        .ADDR_W (IDX_W)
    ) m_ram_inst (
        .clk     (clk),
        .wr_en   (pair_reg[5]),
        .wr_addr (idx_5),
        .wr_data (m_next),
        .rd_en   (pair_reg[3]),
        .rd_addr (idx_3),
        .rd_data (m_rd)
    );

    sofa_ram_1r1w #(
        .WIDTH  (L_W),
        .DEPTH  (ALL),
        .ADDR_W (IDX_W)
    ) l_ram_inst (
        .clk     (clk),
        .wr_en   (pair_reg[11]),
        .wr_addr (idx_11),
        .wr_data (l_new),
        .rd_en   (pair_reg[9] || ask_reg[9]),
        .rd_addr (idx_9),
        .rd_data (l_rd)
    );

    // -----------------------------------------------------------------------------------------
    // Taps: z and m delayed to the write of l
    // -----------------------------------------------------------------------------------------
    generate
        if (TAPS != 0) begin : g_taps
            reg [5*Z_W-1:0] z_reg;
            reg [5*17-1:0]  m_reg;
            reg [5:0]       dm_reg;

            always @(posedge clk) begin
                z_reg  <= {z_reg[4*Z_W-1:0], z_6_reg};
                m_reg  <= {m_reg[4*17-1:0], m_6_reg};
                dm_reg <= dm_10_reg;
            end

            assign tap_valid = pair_reg[11];
            assign tap_idx   = idx_11;
            assign tap_z     = z_reg[4*Z_W +: Z_W];
            assign tap_p     = p_11_reg;
            assign tap_m     = m_reg[4*17 +: 17];
            assign tap_dm    = dm_reg;
            assign tap_l     = l_new;
        end else begin : g_no_taps
            assign tap_valid = 1'b0;
            assign tap_idx   = {IDX_W{1'b0}};
            assign tap_z     = {Z_W{1'b0}};
            assign tap_p     = 16'd0;
            assign tap_m     = 17'd0;
            assign tap_dm    = 6'd0;
            assign tap_l     = {L_W{1'b0}};
        end
    endgenerate

`ifdef FORMAL
    reg started = 1'b0;
    // Cycles from an input to its taps
    localparam F_LATENCY = 11;
    // What was given, by its age; an arbitrary row, and the m and l of its last pair at the taps
    reg  [F_LATENCY:1]        f_pair = 0, f_ask = 0, f_some;
    reg  [F_LATENCY*IDX_W:1]  f_idx;
    reg  [F_LATENCY*SD_W:1]   f_sd;
    // Of the cycle before, from which a pair has its scale
    reg  [(F_LATENCY+1)*4:1]  f_scale;
    reg  [(F_LATENCY+1)*6:1]  f_shift;
    (* anyconst *) wire [IDX_W-1:0] f_row;
    reg                       f_known = 1'b0;
    reg  [16:0]               f_m;
    reg  [L_W-1:0]            f_l;

    wire [IDX_W-1:0]          f_at = f_idx[(F_LATENCY-1)*IDX_W+1 +: IDX_W];
    wire signed [SD_W+4:0]    f_s = $signed(f_sd[(F_LATENCY-1)*SD_W+1 +: SD_W]);
    wire signed [SD_W+4:0]    f_prod = f_s * $signed({1'b0, f_scale[F_LATENCY*4+1 +: 4]});
    wire signed [SD_W+4:0]    f_scaled = f_prod >>> f_shift[F_LATENCY*6+1 +: 6];
    wire signed [SD_W+4:0]    f_most = {{(SD_W + 6 - Z_W){1'b0}}, {(Z_W - 1){1'b1}}};
    wire [Z_W-1:0]            f_z = f_scaled > f_most ? f_most[Z_W-1:0]
                                  : f_scaled < ~f_most ? ~f_most[Z_W-1:0] : f_scaled[Z_W-1:0];
    wire signed [18:0]        f_e = $signed(tap_z[Z_W-1:10]) + 19'sd1;
    wire signed [18:0]        f_m_old = $signed(f_m);
    wire                      f_first = !f_some[F_LATENCY];
    wire                      f_rises = f_first ? 1'b0 : f_e > f_m_old + 1;
    wire signed [18:0]        f_rise = f_e - f_m_old;
    // i = (z - m) whole, GUARD = 1; the table at the fraction
    wire signed [18:0]        f_sh = $signed(tap_m) - $signed(tap_z[Z_W-1:10]);
    wire [5:0]                f_seg = tap_z[9:4];
    wire [15:0]               f_base = BASE >> (f_seg * 16);
    wire [9:0]                f_slope = SLOPE >> (f_seg * 10);
    wire [16:0]               f_mant = f_base + ((f_slope * tap_z[3:0] + 14'd8) >> 4);
    wire [16:0]               f_half = 17'd1 << (f_sh - 1);
    wire [15:0]               f_p = f_sh == 0 ? f_mant : f_sh >= 17 ? 16'd0
                                  : (f_mant + f_half) >> f_sh;

    initial assume (rst);

    always @* begin
        // One event a cycle; a row not within 2 cycles of its last pair. The scale has 2 bits here.
        assume (in_pair + in_mean + in_ask <= 1);
        assume (in_scale_m < 4);
        assume (!(in_pair || in_ask) || in_idx != f_row
                || !((f_pair[1] && f_idx[1 +: IDX_W] == f_row)
                     || (f_pair[2] && f_idx[IDX_W+1 +: IDX_W] == f_row)));
    end

    always @(posedge clk) begin
        started <= 1'b1;
        f_pair  <= rst ? 0 : {f_pair[F_LATENCY-1:1], in_pair};
        f_ask   <= rst ? 0 : {f_ask[F_LATENCY-1:1], in_ask};
        f_some  <= {f_some[F_LATENCY-1:1], in_some};
        f_idx   <= {f_idx[(F_LATENCY-1)*IDX_W:1], in_idx};
        f_sd    <= {f_sd[(F_LATENCY-1)*SD_W:1], in_sd};
        f_scale <= {f_scale[F_LATENCY*4:1], in_scale_m[3:0]};
        f_shift <= {f_shift[F_LATENCY*6:1], in_scale_shift};
        if (tap_valid && tap_idx == f_row) begin
            f_known <= 1'b1;
            f_m     <= tap_m;
            f_l     <= tap_l;
        end
        if (rst) begin
            f_known <= 1'b0;
        end

        if (started) begin
            // 1. Every pair leaves after its latency, with its row.
            assert (tap_valid == f_pair[F_LATENCY]);
            assert (!tap_valid || tap_idx == f_at);
            if (tap_valid) begin
                // 2. z is the scaled score, saturated.
                assert (tap_z == f_z);
                // 3. The weight is that of z - m: table, rounded where it is shifted.
                assert (f_sh >= 0 && tap_p == f_p);
                // 4. It is what left a cycle before.
                assert (tap_p == $past(out_p) && tap_dm == $past(out_dm));
            end
            if (tap_valid && tap_idx == f_row && (f_first || f_known)) begin
                // 5. The reference rises only where z is beyond its guard; a first key sets it.
                assert ($signed(tap_m) == (f_first || f_rises ? f_e : f_m_old));
                assert (tap_dm == (f_rises ? (f_rise > 63 ? 63 : f_rise) : 0));
                // 6. The sum is shifted by that rise, and takes the weight.
                assert (tap_l == (f_first ? {L_W{1'b0}} : f_l >> tap_dm) + tap_p);
            end
            // 7. A question is answered with the sum of the row's last pair, 0 without one.
            assert (ask_valid == f_ask[F_LATENCY-1]);
            if (ask_valid && f_idx[(F_LATENCY-2)*IDX_W+1 +: IDX_W] == f_row
                    && (f_known || !f_some[F_LATENCY-1])) begin
                assert (ask_l == (f_some[F_LATENCY-1] ? f_l : {L_W{1'b0}}));
            end

            cover (tap_valid && tap_idx == f_row && f_known && f_rises && f_rise == 5);
            cover (tap_valid && tap_idx == f_row && f_known && !f_first && f_sh == 3
                   && tap_p[0] != f_mant[3]);
            cover (tap_valid && tap_z == {1'b0, {(Z_W - 1){1'b1}}});
            cover (ask_valid && ask_l != 0 && f_known);
        end
    end
`endif

endmodule

`resetall
