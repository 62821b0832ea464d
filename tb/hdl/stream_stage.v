// SPDX-License-Identifier: Apache-2.0
// One registered stage of a stream with two fields; exercises the stream models.
//
// Why: smallest design with a valid/ready input and output. With `manual` high the output is
// handed to the test bench, so that it can break rules.
// Latency: one cycle. Throughput: one item a cycle; ready depends on ready within the cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module stream_stage #(
    // Bits of the data field.
    parameter DATA_W = 16,
    // Bits of the tag field.
    parameter TAG_W = 4
) (
    input  wire              clk,
    input  wire              rst,

    // Input
    input  wire              s_valid,
    output wire              s_ready,
    input  wire [DATA_W-1:0] s_data,
    input  wire [TAG_W-1:0]  s_tag,

    // Output
    output wire              m_valid,
    input  wire              m_ready,
    output wire [DATA_W-1:0] m_data,
    output wire [TAG_W-1:0]  m_tag,

    // Output in manual mode
    input  wire              manual,
    input  wire              t_valid,
    input  wire [DATA_W-1:0] t_data,

    // Items passing, with a vector of valids: bit 0 any item, bit 1 an item with an odd tag
    output wire [1:0]        tap_valid,
    output wire [DATA_W-1:0] tap_data
);

    reg              valid_reg;
    reg [DATA_W-1:0] data_reg;
    reg [TAG_W-1:0]  tag_reg;

    assign s_ready = !valid_reg || m_ready;
    assign m_valid = manual ? t_valid : valid_reg;
    assign m_data = manual ? t_data : data_reg;
    assign m_tag = tag_reg;
    assign tap_valid = {2{valid_reg && m_ready}} & {tag_reg[0], 1'b1};
    assign tap_data = data_reg;

    always @(posedge clk) begin
        if (s_ready) begin
            valid_reg <= s_valid;
            data_reg <= s_data;
            tag_reg <= s_tag;
        end
        if (rst) begin
            valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
