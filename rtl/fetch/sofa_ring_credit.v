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

`ifdef FORMAL
    reg started = 1'b0;

    initial assume (rst);

    always @* begin
        // The user takes what is free, and frees what was taken.
        assume (!take || avail);
        assume (!free || used_reg != 4'd0);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        // The ring changes only while all are free.
        if (started && last != $past(last)) begin
            assume (used_reg == 4'd0 && ($past(used_reg) == 4'd0 || $past(rst)));
        end

        if (started) begin
            // 1. No more buffers are in use than the ring has.
            assert (used_reg <= last + 4'd1);
            // 2. One is offered exactly when one is free.
            assert (avail == (used_reg <= last));
            // 3. Each one taken is in use until one is freed.
            assert (used_reg == ($past(rst) ? 4'd0
                                            : $past(used_reg) + $past(take) - $past(free)));

            cover (used_reg == 4'd8);
            cover (used_reg == 4'd2 && last == 3'd2 && $past(free && !avail));
            cover (used_reg == 4'd2 && last == 3'd1 && $past(last, 4) == 3'd0);
        end
    end
`endif

endmodule

`resetall
