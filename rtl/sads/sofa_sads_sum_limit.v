// SPDX-License-Identifier: Apache-2.0
// From a row's sum P to the limit of its next tile, as octaves below the peak.
//
// Why: with x = (((P - 2^F) * ratio) >> RATIO_FRAC) + 2^F, the sum extrapolated to all tiles except
// for the peak's own weight, F = SUM_FRAC, keys are kept that lie at most
//     reach = max(0, floor(F - tau - log2(x)))
// octaves below the peak: share and threshold, both as logarithms. log2 has LOG_FRAC fraction bits:
// the leading one, and the bits after it (Mitchell). A group of rows shares one lane.
// Not done here: the peak, rows that keep everything (sofa_sads_sum.v). Without a key (P = 0) reach
// has no meaning.
// The product stays two rows (sofa_add_rows) and is added up at its end. The ratio's digits
// (sofa_mult_digits), made once for all lanes, choose a row each; two rows a stage.
// Latency: LATENCY = 5 + ceil(RATIO_W/4) cycles from total to reach, all lanes alike.
// Throughput: one row a lane and cycle.
// Widths: total SUM_W, SUM_FRAC fraction bits, where x must fit as well; ratio RATIO_FRAC fraction
// bits; tau LOG_FRAC fraction bits, signed; reach whole octaves, 0..80.
// Source: our decision; docs/second.md, Selection, steps 2 and 3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_sum_limit #(
    // Rows side by side, 1..32.
    parameter LANES = 8,
    // Fraction bits of the sums, 6..16.
    parameter SUM_FRAC = 12,
    // Bits of a sum, SUM_FRAC + 7 .. SUM_FRAC + 17.
    parameter SUM_W = 25,
    // Fraction bits of a logarithm, 0..6.
    parameter LOG_FRAC = 4,
    // Fraction bits of the ratio, 4..12.
    parameter RATIO_FRAC = 8,
    // Bits of the ratio, RATIO_FRAC + 1 .. RATIO_FRAC + 15.
    parameter RATIO_W = 16,
    // Bits of tau. Derived: leave at its default.
    parameter TAU_W = 7 + LOG_FRAC
) (
    input  wire                    clk,

    input  wire [LANES*SUM_W-1:0]  in_total,
    // Of all lanes
    input  wire [RATIO_W-1:0]      in_ratio,
    input  wire [TAU_W-1:0]        in_tau,

    output wire [LANES*7-1:0]      out_reach
);

    generate
        if (LANES < 1 || LANES > 32) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_LANES_needs_1_to_32 stop ();
        end else if (SUM_FRAC < 6 || SUM_FRAC > 16) begin : g_illegal
            illegal_parameter_SUM_FRAC_needs_6_to_16 stop ();
        end else if (SUM_W < SUM_FRAC + 7 || SUM_W > SUM_FRAC + 17) begin : g_illegal
            illegal_parameter_SUM_W_needs_SUM_FRAC_plus_7_to_plus_17 stop ();
        end else if (LOG_FRAC < 0 || LOG_FRAC > 6) begin : g_illegal
            illegal_parameter_LOG_FRAC_needs_0_to_6 stop ();
        end else if (RATIO_FRAC < 4 || RATIO_FRAC > 12) begin : g_illegal
            illegal_parameter_RATIO_FRAC_needs_4_to_12 stop ();
        end else if (RATIO_W < RATIO_FRAC + 1 || RATIO_W > RATIO_FRAC + 15) begin : g_illegal
            illegal_parameter_RATIO_W_needs_RATIO_FRAC_plus_1_to_plus_15 stop ();
        end else if (TAU_W != 7 + LOG_FRAC) begin : g_illegal
            illegal_parameter_TAU_W_is_derived stop ();
        end
    endgenerate

    // The product is made in STAGES stages of four bits of the ratio, two digits. Behind these is a
    // digit that is 1 where the highest bit is.
    localparam STAGES = (RATIO_W + 3) / 4;
    localparam PAD_W = 4 * STAGES;
    localparam D_W = PAD_W + 2;
    localparam PROD_W = SUM_W + RATIO_FRAC;
    localparam POS_W = $clog2(SUM_W);
    // Whole octaves of a logarithm, signed, and its fraction
    localparam LOG_W = 8 + LOG_FRAC;
    // 1, the peak's own weight, which is not extrapolated
    localparam [31:0] ONE = 1;
    localparam [PROD_W-1:0] OWN = {{PROD_W-1{1'b0}}, 1'b1} << (SUM_FRAC + RATIO_FRAC);
    localparam [31:0] FRAC_32 = SUM_FRAC << LOG_FRAC;
    localparam [31:0] TOP = SUM_W - 1;

    // ---- Ratio and threshold, beside the stages of the lanes -----------------------------------
    // Digits of the ratio, and -tau + SUM_FRAC
    wire [PAD_W-1:0] pad = {{PAD_W-RATIO_W{1'b0}}, in_ratio};
    wire [D_W-1:0]   in_d, in_m;
    wire [D_W-1:0]   digit [0:STAGES-1];
    wire [D_W-1:0]   minus [0:STAGES-1];
    wire [LOG_W-1:0] depth [0:STAGES+3];

    sofa_mult_digits #(
        .B_W      (PAD_W),
        .B_SIGNED (0)
    ) digits_inst (
        .b (pad),
        .d (in_d),
        .m (in_m)
    );

    genvar s, i, b;
    generate
        for (s = 0; s < STAGES; s = s + 1) begin : g_ratio
            reg [D_W-1:0] digit_reg, minus_reg;
            assign digit[s] = digit_reg;
            assign minus[s] = minus_reg;
            if (s == 0) begin : g_first
                always @(posedge clk) begin
                    digit_reg <= in_d;
                    minus_reg <= in_m;
                end
            end else begin : g_next
                always @(posedge clk) begin
                    digit_reg <= digit[s-1];
                    minus_reg <= minus[s-1];
                end
            end
        end
        for (s = 0; s <= STAGES + 3; s = s + 1) begin : g_depth
            reg [LOG_W-1:0] depth_reg;
            assign depth[s] = depth_reg;
            if (s == 0) begin : g_first
                always @(posedge clk) begin
                    depth_reg <= FRAC_32[LOG_W-1:0] - {{LOG_W-TAU_W{in_tau[TAU_W-1]}}, in_tau};
                end
            end else begin : g_next
                always @(posedge clk) begin
                    depth_reg <= depth[s-1];
                end
            end
        end
    endgenerate

    // ---- Lanes ---------------------------------------------------------------------------------
    generate
        for (i = 0; i < LANES; i = i + 1) begin : g_lane
            // P without the peak's own weight; rows of the product so far. What these have beyond
            // PROD_W bits is 0 where x fits.
            wire [SUM_W-1:0]  rest [0:STAGES];
            wire [PROD_W-1:0] sum [0:STAGES];
            wire [PROD_W-1:0] carry [0:STAGES];

            // In front of the first stage: the peak's own weight; the row of the digit behind, with
            // the 1 that makes a negative number of the last row's inverse.
            assign sum[0]   = OWN;
            assign carry[0] = ({{RATIO_FRAC{1'b0}}, rest[0] & {SUM_W{digit[0][PAD_W]}}} << PAD_W)
                              | ({{PROD_W-1{1'b0}}, minus[0][PAD_W-2]} << (PAD_W - 2));

            for (s = 0; s <= STAGES; s = s + 1) begin : g_stage
                reg [SUM_W-1:0]  rest_reg;
                assign rest[s] = rest_reg;
                if (s == 0) begin : g_first
                    always @(posedge clk) begin
                        rest_reg <= {in_total[i*SUM_W+SUM_FRAC +: SUM_W-SUM_FRAC]
                                     - ONE[SUM_W-SUM_FRAC-1:0], in_total[i*SUM_W +: SUM_FRAC]};
                    end
                end else begin : g_next
                    localparam AT = 4 * (s - 1);
                    reg  [PROD_W-1:0] sum_reg, carry_reg;
                    wire [PROD_W-1:0] sum_next, carry_next;
                    wire [D_W-1:0]    d = digit[s-1];
                    wire [D_W-1:0]    m = minus[s-1];
                    wire [PROD_W-1:0] once  = {{RATIO_FRAC{1'b0}}, rest[s-1]};
                    wire [PROD_W-1:0] low   = (({PROD_W{d[AT]}} & once)
                                               | ({PROD_W{d[AT+1]}} & once << 1))
                                              ^ {PROD_W{m[AT]}};
                    wire [PROD_W-1:0] high  = (({PROD_W{d[AT+2]}} & once)
                                               | ({PROD_W{d[AT+3]}} & once << 1))
                                              ^ {PROD_W{m[AT+2]}};
                    // Ones of negative rows stand in the empty bits of the next row.
                    wire [PROD_W-1:0] ones_high = {{PROD_W-1{1'b0}}, m[AT]} << AT;
                    wire [PROD_W-1:0] ones_low;

                    if (s == 1) begin : g_ones
                        assign ones_low = {PROD_W{1'b0}};
                    end else begin : g_ones
                        assign ones_low = {{PROD_W-1{1'b0}}, m[AT-2]} << (AT - 2);
                    end

                    sofa_add_rows #(
                        .IN  (4),
                        .W   (PROD_W),
                        .OUT (2)
                    ) add_inst (
                        .rows ({sum[s-1], carry[s-1], (low << AT) | ones_low,
                                (high << (AT + 2)) | ones_high}),
                        .sums ({carry_next, sum_next})
                    );

                    assign sum[s]   = sum_reg;
                    assign carry[s] = carry_reg;
                    always @(posedge clk) begin
                        rest_reg  <= rest[s-1];
                        sum_reg   <= sum_next;
                        carry_reg <= carry_next;
                    end
                end
            end

            // Leading one: `above` says that x has a one at a bit or higher.
            reg  [PROD_W-1:0] prod_reg;
            wire [SUM_W-1:0] x = prod_reg[PROD_W-1:RATIO_FRAC];
            wire [SUM_W:0]   above;
            wire [SUM_W-1:0] lead = above[SUM_W-1:0] & ~above[SUM_W:1];
            wire [POS_W-1:0] lead_pos;

            assign above[SUM_W] = 1'b0;
            for (s = 0; s < SUM_W; s = s + 1) begin : g_above
                assign above[s] = |x[SUM_W-1:s];
            end
            for (b = 0; b < POS_W; b = b + 1) begin : g_pos
                wire [SUM_W-1:0] hit;
                for (s = 0; s < SUM_W; s = s + 1) begin : g_bit
                    assign hit[s] = lead[s] && ((s >> b) % 2) == 1;
                end
                assign lead_pos[b] = |hit;
            end

            reg [SUM_W-1:0] x_reg;
            reg [POS_W-1:0] pos_reg;

            // Logarithm; the leading one goes to the top bit.
            wire [SUM_W-1:0] norm = x_reg << (TOP[POS_W-1:0] - pos_reg);
            wire [LOG_W-1:0] log;
            reg  [LOG_W-1:0] log_reg;

            if (LOG_FRAC == 0) begin : g_whole
                assign log = {{LOG_W-POS_W{1'b0}}, pos_reg};
                wire unused_norm = &{1'b0, norm};
            end else begin : g_frac
                assign log = {{LOG_W-POS_W-LOG_FRAC{1'b0}}, pos_reg,
                              norm[SUM_W-2 -: LOG_FRAC]};
                wire unused_norm = &{1'b0, norm[SUM_W-1], norm[SUM_W-2-LOG_FRAC:0]};
            end

            wire [LOG_W-1:0] reach = depth[STAGES+3] - log_reg;
            reg  [6:0]       reach_reg;
            assign out_reach[i*7 +: 7] = reach_reg;

            wire unused_lane = &{1'b0, rest[STAGES], prod_reg[RATIO_FRAC-1:0]};

            always @(posedge clk) begin
                prod_reg  <= sum[STAGES] + carry[STAGES];
                x_reg     <= x;
                pos_reg   <= lead_pos;
                log_reg   <= log;
                reach_reg <= reach[LOG_FRAC +: 7] & {7{!reach[LOG_W-1]}};
            end
        end
    endgenerate

`ifdef FORMAL
    // Everything is a pipeline without a hold, so that runs of LATENCY cycles are all there is.
    localparam F_LATENCY = 5 + STAGES;
    localparam F_W = SUM_W + RATIO_W;
    reg  [5:0]           f_cycle = 6'd0;
    wire [SUM_W-1:0]     f_total = in_total[SUM_W-1:0];
    wire [F_W-1:0]       f_rest  = f_total - (ONE << SUM_FRAC);
    wire [F_W-1:0]       f_x     = ((f_rest * in_ratio) >> RATIO_FRAC) + (ONE << SUM_FRAC);
    reg  [LOG_W-1:0]     f_log;
    integer              f_b;
    // F - tau - log2(x), with LOG_FRAC fraction bits
    wire signed [LOG_W:0] f_tau   = {{(LOG_W + 1 - TAU_W){in_tau[TAU_W-1]}}, in_tau};
    wire signed [LOG_W:0] f_depth = $signed(FRAC_32[LOG_W:0]) - f_tau - $signed({1'b0, f_log});
    wire [6:0]            f_reach = f_depth < 0 ? 7'd0 : f_depth >>> LOG_FRAC;

    always @* begin
        f_log = {LOG_W{1'b0}};
        for (f_b = 0; f_b < SUM_W; f_b = f_b + 1) begin
            if (f_x[f_b]) begin
                // The number of the leading one, and the bits after it (Mitchell)
                f_log = (f_b << LOG_FRAC) | (((f_x << LOG_FRAC) >> f_b) & ((1 << LOG_FRAC) - 1));
            end
        end
        // A row has the weight of its peak, and x fits.
        assume (f_total >= (ONE << SUM_FRAC) && f_x < (ONE << SUM_W));
    end

    always @(posedge clk) begin
        f_cycle <= f_cycle + (f_cycle != 6'd63);
        if (f_cycle >= F_LATENCY) begin
            // 1. The limit is max(0, floor(F - tau - log2(x))).
            assert (out_reach[6:0] == $past(f_reach, F_LATENCY));

            cover (out_reach[6:0] > 7'd40);
            cover (out_reach[6:0] == 7'd0 && $past(f_depth, F_LATENCY) == -1);
            cover (out_reach[6:0] == 7'd2 && $past(in_ratio, F_LATENCY) > 3
                   && $past(f_x[SUM_W-1], F_LATENCY));
        end
    end
`endif

endmodule

`resetall
