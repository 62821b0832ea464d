// SPDX-License-Identifier: Apache-2.0
// Counts the free buffers of a consumer's ring and names the next one.
//
// Why: a write port has no back-pressure, so a buffer is taken before anything is asked for it.
// Not done here: storage; the ring lies in the consumer.
// Latency: outputs are registers. Throughput: one buffer taken and one released every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module ring_credit #(
    // Buffers in the ring, 1..4.
    parameter BUFS = 2
) (
    input  wire       clk,
    input  wire       rst,

    // A buffer is free, its number, and taking it
    output wire       avail,
    output wire [1:0] index,
    input  wire       take,

    // The consumer has freed a buffer
    input  wire       free
);

    generate
        if (BUFS < 1 || BUFS > 4) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_ring_credit_needs_BUFS_1_to_4 stop ();
        end
    endgenerate

    localparam [31:0] LAST = BUFS - 1;

    // Buffers in use.
    reg [2:0] used_reg, used_next;
    reg [1:0] index_reg, index_next;
    reg       avail_reg;

    assign avail = avail_reg;
    assign index = index_reg;

    always @* begin
        used_next  = used_reg;
        index_next = index_reg;

        if (take && !free) begin
            used_next = used_reg + 3'd1;
        end else if (free && !take) begin
            used_next = used_reg - 3'd1;
        end
        if (take) begin
            index_next = (index_reg == LAST[1:0]) ? 2'd0 : index_reg + 2'd1;
        end
    end

    always @(posedge clk) begin
        used_reg  <= used_next;
        index_reg <= index_next;
        avail_reg <= used_next <= LAST[2:0];

        if (rst) begin
            used_reg  <= 3'd0;
            index_reg <= 2'd0;
            avail_reg <= 1'b1;
        end
    end

endmodule

`resetall
