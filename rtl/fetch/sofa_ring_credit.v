// SPDX-License-Identifier: Apache-2.0
// Counts the free buffers of a consumer's ring.
//
// Why: a write port has no back-pressure, so a buffer is taken before anything is asked for it.
// How many buffers the ring has may depend on the job.
// Not done here: storage; the ring lies in the consumer. Which buffer is next: they are taken,
// filled and released in turn.
// Latency: outputs are registers. Throughput: one buffer taken and one released every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_ring_credit (
    input  wire       clk,
    input  wire       rst,

    // Buffers of the ring less one, 0..7; changes only while all are free
    input  wire [2:0] last,

    // A buffer is free, and taking it
    output wire       avail,
    input  wire       take,

    // The consumer has freed a buffer
    input  wire       free
);

    // Buffers in use.
    reg [3:0] used_reg, used_next;
    reg       avail_reg, avail_next;

    assign avail = avail_reg;

    always @* begin
        used_next  = used_reg;
        avail_next = used_reg <= {1'b0, last};

        // Compared before the change, since what changes it comes late.
        if (take && !free) begin
            used_next  = used_reg + 4'd1;
            avail_next = used_reg < {1'b0, last};
        end else if (free && !take) begin
            used_next  = used_reg - 4'd1;
            avail_next = 1'b1;
        end
    end

    always @(posedge clk) begin
        used_reg  <= used_next;
        avail_reg <= avail_next;

        if (rst) begin
            used_reg  <= 4'd0;
            avail_reg <= 1'b1;
        end
    end

endmodule

`resetall
