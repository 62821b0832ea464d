// SPDX-License-Identifier: Apache-2.0
// Product of 17 and 32 bits without sign, for addresses and extents, in two halves.
//
// Why: rows of the first operand where a bit of the second is set, four at a time, then four of
// their sums: no adder is longer than 33 bits, and the user adds the halves to what it has.
// Not done here: that sum, high * 2^16 + low.
// Latency: 2 cycles, each when its stage is enabled. Throughput: a product a cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_mult17x32 (
    input  wire        clk,

    // The sums of four rows, and those of four of them, move
    input  wire        part_en,
    input  wire        half_en,

    input  wire [16:0] a,
    input  wire [31:0] b,
    output wire [32:0] low,
    output wire [32:0] high
);

    reg  [8*21-1:0] part_reg;
    reg  [2*33-1:0] half_reg;
    wire [8*21-1:0] part;
    wire [2*33-1:0] half;
    wire [20:0]     row = {4'd0, a};

    assign low  = half_reg[32:0];
    assign high = half_reg[65:33];

    genvar j;
    generate
        for (j = 0; j < 8; j = j + 1) begin : g_part
            assign part[j*21 +: 21] = (row & {21{b[4*j]}}) + ((row << 1) & {21{b[4*j+1]}})
                                      + ((row << 2) & {21{b[4*j+2]}})
                                      + ((row << 3) & {21{b[4*j+3]}});
        end
        for (j = 0; j < 2; j = j + 1) begin : g_half
            assign half[j*33 +: 33] = {12'd0, part_reg[(4*j)*21 +: 21]}
                                      + {8'd0, part_reg[(4*j+1)*21 +: 21], 4'd0}
                                      + {4'd0, part_reg[(4*j+2)*21 +: 21], 8'd0}
                                      + {part_reg[(4*j+3)*21 +: 21], 12'd0};
        end
    endgenerate

    always @(posedge clk) begin
        if (part_en) begin
            part_reg <= part;
        end
        if (half_en) begin
            half_reg <= half;
        end
    end

endmodule

`resetall
