// SPDX-License-Identifier: Apache-2.0
// Number of pairs of row and key in words of masks, for the event counter.
//
// Why: up to 512 bits a cycle are counted in groups of 64, with a register between the groups and
// their sum.
// Latency: the bits of `en` in cycle c are in `pairs` in cycle c+2, which is 0 for all other
// cycles. Throughput: a word a cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_pairs #(
    // Bits of a word, 16..512.
    parameter BITS = 512
) (
    input  wire            clk,
    input  wire            rst,
    input  wire            en,
    input  wire [BITS-1:0] bits,
    output wire [9:0]      pairs
);

    generate
        if (BITS < 16 || BITS > 512) begin : g_illegal
            // No such module exists: elaboration stops here with a message that names it.
            illegal_parameter_BITS_needs_16_to_512 stop ();
        end
    endgenerate

    localparam NGRP = (BITS + 63) / 64;

    wire [NGRP*64-1:0] padded;
    assign padded[BITS-1:0] = bits;
    generate
        if (NGRP * 64 > BITS) begin : g_pad
            assign padded[NGRP*64-1:BITS] = {NGRP*64-BITS{1'b0}};
        end
    endgenerate

    wire [8*7-1:0] count;

    genvar i;
    generate
        for (i = 0; i < 8; i = i + 1) begin : g_group
            if (i < NGRP) begin : g_used
                reg  [6:0] count_reg;
                wire [6:0] ones;

                popcount #(
                    .WIDTH(64)
                ) ones_inst (
                    .bits  (padded[i*64 +: 64]),
                    .count (ones)
                );

                assign count[i*7 +: 7] = count_reg;

                always @(posedge clk) begin
                    if (en) begin
                        count_reg <= ones;
                    end
                end
            end else begin : g_none
                assign count[i*7 +: 7] = 7'd0;
            end
        end
    endgenerate

    wire [7:0] sum01 = count[0*7 +: 7] + count[1*7 +: 7];
    wire [7:0] sum23 = count[2*7 +: 7] + count[3*7 +: 7];
    wire [7:0] sum45 = count[4*7 +: 7] + count[5*7 +: 7];
    wire [7:0] sum67 = count[6*7 +: 7] + count[7*7 +: 7];
    wire [8:0] sum03 = sum01 + sum23;
    wire [8:0] sum47 = sum45 + sum67;
    wire [9:0] sum   = sum03 + sum47;

    reg       en_reg;
    reg [9:0] pairs_reg;

    assign pairs = pairs_reg;

    always @(posedge clk) begin
        en_reg    <= en;
        pairs_reg <= en_reg ? sum : 10'd0;

        if (rst) begin
            en_reg    <= 1'b0;
            pairs_reg <= 10'd0;
        end
    end

endmodule

`resetall
