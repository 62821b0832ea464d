// SPDX-License-Identifier: Apache-2.0
// Counts the selected entries of a tile over its passes.
//
// Why: up to 512 bits are counted per pass, in groups of 64 with a register between the groups and
// their sum.
// Latency: the bits of `en` in cycle c are in `total` in cycle c+2. Throughput: 1 pass per cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sads_count #(
    // Bits counted at once, 4..512.
    parameter BITS = 512
) (
    input  wire            clk,
    // Start from 0 (not in the two cycles after en)
    input  wire            clear,
    input  wire            en,
    input  wire [BITS-1:0] bits,
    output wire [15:0]     total
);

    generate
        if (BITS < 4 || BITS > 512) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sads_count_needs_BITS_4_to_512 stop ();
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

    wire [6:0] count [0:7];

    genvar i;
    generate
        for (i = 0; i < 8; i = i + 1) begin : g_group
            if (i < NGRP) begin : g_used
                reg  [6:0] count_reg;
                wire [6:0] ones;
                assign count[i] = count_reg;
                popcount #(
                    .WIDTH(64)
                ) ones_inst (
                    .bits(padded[i*64 +: 64]),
                    .count(ones)
                );
                always @(posedge clk) begin
                    if (en) begin
                        count_reg <= ones;
                    end
                end
            end else begin : g_none
                assign count[i] = 7'd0;
            end
        end
    endgenerate

    wire [7:0] sum01 = count[0] + count[1];
    wire [7:0] sum23 = count[2] + count[3];
    wire [7:0] sum45 = count[4] + count[5];
    wire [7:0] sum67 = count[6] + count[7];
    wire [8:0] sum03 = sum01 + sum23;
    wire [8:0] sum47 = sum45 + sum67;
    wire [9:0] sum = sum03 + sum47;

    reg en_reg;
    reg [15:0] total_reg;

    assign total = total_reg;

    always @(posedge clk) begin
        en_reg <= en;
        if (en_reg) begin
            total_reg <= total_reg + {6'd0, sum};
        end
        if (clear) begin
            en_reg <= 1'b0;
            total_reg <= 16'd0;
        end
    end

endmodule

`resetall
