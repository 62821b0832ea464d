// SPDX-License-Identifier: Apache-2.0
// Counts the selected entries of a tile over its passes.
//
// Why: up to 512 bits are counted per pass. Sums of neighbours in ever wider fields are a balanced
// adder tree, 64 bits each, with a register between the groups and their sum.
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
            // No such module exists: elaboration stops here and names this instance.
            illegal_parameter_sads_count_needs_BITS_4_to_512 stop ();
        end
    endgenerate

    localparam NGRP = (BITS + 63) / 64;

    // Ones in 64 bits: each step adds neighbouring fields.
    function [6:0] ones;
        input [63:0] x;
        reg [63:0] s;
        begin
            s = (x & 64'h5555555555555555) + ((x >> 1) & 64'h5555555555555555);
            s = (s & 64'h3333333333333333) + ((s >> 2) & 64'h3333333333333333);
            s = (s & 64'h0f0f0f0f0f0f0f0f) + ((s >> 4) & 64'h0f0f0f0f0f0f0f0f);
            s = (s & 64'h00ff00ff00ff00ff) + ((s >> 8) & 64'h00ff00ff00ff00ff);
            s = (s & 64'h0000ffff0000ffff) + ((s >> 16) & 64'h0000ffff0000ffff);
            ones = s[6:0] + s[38:32];
        end
    endfunction

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
                reg [6:0] count_reg;
                assign count[i] = count_reg;
                always @(posedge clk) begin
                    if (en) begin
                        count_reg <= ones(padded[i*64 +: 64]);
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
