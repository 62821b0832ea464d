// SPDX-License-Identifier: Apache-2.0
// The share f = T/P of rows at the end of their block: restoring division, two bits a cycle.
//
// Why: f is needed once a row and block, so a group of rows shares one lane. T <= P, and T = P
// (also 0 = 0, a row that saw no key) gives 1 without a division.
// A finished row waits in the divider while the one before waits in f.
// Not done here: when the next row may come, which is not while one waits or has steps to go
// (sofa_sads_sum_ctl.v).
// Latency: in_valid in cycle c gives f_valid in cycle c + LATENCY, LATENCY = ceil(F_FRAC/2) + 1.
// Throughput: one row a lane in LATENCY cycles, when f is taken at once.
// Widths: total, kept SUM_W bits unsigned, fraction bits alike; f 0..1, F_FRAC fraction bits.
// Source: our decision; docs/second.md, Selection, step 4.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_sum_div #(
    // Rows side by side, 1..32.
    parameter LANES = 8,
    // Bits of a sum, 13..33.
    parameter SUM_W = 25,
    // Fraction bits of f, 4..12.
    parameter F_FRAC = 8
) (
    input  wire                        clk,
    input  wire                        rst,

    input  wire                        in_valid,
    input  wire [LANES*SUM_W-1:0]      in_total,
    input  wire [LANES*SUM_W-1:0]      in_kept,
    // 1 whatever the sums
    input  wire [LANES-1:0]            in_whole,

    output wire                        f_valid,
    input  wire                        f_ready,
    output wire [LANES*(F_FRAC+1)-1:0] f_data
);

    generate
        if (LANES < 1 || LANES > 32) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_LANES_needs_1_to_32 stop ();
        end else if (SUM_W < 13 || SUM_W > 33) begin : g_illegal
            illegal_parameter_SUM_W_needs_13_to_33 stop ();
        end else if (F_FRAC < 4 || F_FRAC > 12) begin : g_illegal
            illegal_parameter_F_FRAC_needs_4_to_12 stop ();
        end
    endgenerate

    localparam STEPS = (F_FRAC + 1) / 2;
    // Quotient bits below the leading one; where F_FRAC is odd one more than are used
    localparam BITS = 2 * STEPS;
    localparam F_W = F_FRAC + 1;

    // Step that is done in this cycle, one-hot
    reg [STEPS-1:0] step_reg;
    reg             f_valid_reg;

    wire hold = step_reg[STEPS-1] && f_valid_reg && !f_ready;
    wire done = step_reg[STEPS-1] && !hold;

    assign f_valid = f_valid_reg;

    always @(posedge clk) begin
        if (!hold) begin
            step_reg <= {step_reg[STEPS-2:0], in_valid};
        end
        f_valid_reg <= done || (f_valid_reg && !f_ready);

        if (rst) begin
            step_reg    <= {STEPS{1'b0}};
            f_valid_reg <= 1'b0;
        end
    end

    genvar i;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : g_lane
            wire [SUM_W-1:0] total = in_total[i*SUM_W +: SUM_W];
            wire [SUM_W-1:0] kept  = in_kept[i*SUM_W +: SUM_W];
            wire             whole = in_whole[i] || kept >= total;

            reg [SUM_W-1:0] den_reg;
            reg [SUM_W+1:0] den3_reg;
            reg [SUM_W-1:0] rem_reg;
            reg             whole_reg;
            // Quotient so far, the latest bit lowest
            reg [BITS-3:0]  quo_reg;
            reg [F_W-1:0]   f_reg;

            // A step takes once, twice or three times the divisor from four times the remainder, or
            // nothing: three differences side by side, whose signs choose. A remainder is below the
            // divisor, so that each difference that is chosen fits.
            wire [SUM_W+1:0] four  = {rem_reg, 2'b00};
            wire [SUM_W+1:0] less1 = four - {2'b00, den_reg};
            wire [SUM_W+1:0] less2 = four - {1'b0, den_reg, 1'b0};
            wire [SUM_W+1:0] less3 = four - den3_reg;
            wire             take3 = four >= den3_reg;
            wire             take2 = four >= {1'b0, den_reg, 1'b0};
            wire             take1 = four >= {2'b00, den_reg};
            wire [SUM_W-1:0] rem = ({SUM_W{take3}} & less3[SUM_W-1:0])
                                 | ({SUM_W{take2 && !take3}} & less2[SUM_W-1:0])
                                 | ({SUM_W{take1 && !take2}} & less1[SUM_W-1:0])
                                 | ({SUM_W{!take1}} & four[SUM_W-1:0]);
            wire [BITS-1:0]  quo = {quo_reg, take2, take3 || (take1 && !take2)};

            wire unused_lane = &{1'b0, less1[SUM_W+1:SUM_W], less2[SUM_W+1:SUM_W],
                                 less3[SUM_W+1:SUM_W], quo[0]};

            assign f_data[i*F_W +: F_W] = f_reg;

            always @(posedge clk) begin
                if (in_valid) begin
                    den_reg   <= total;
                    den3_reg  <= {1'b0, total, 1'b0} + {2'b00, total};
                    rem_reg   <= kept;
                    whole_reg <= whole;
                end else if (!hold) begin
                    rem_reg <= rem;
                    quo_reg <= quo[BITS-3:0];
                end
                if (done) begin
                    f_reg <= whole_reg ? {1'b1, {F_FRAC{1'b0}}} : {1'b0, quo[BITS-1 -: F_FRAC]};
                end
            end
        end
    endgenerate

endmodule

`resetall
