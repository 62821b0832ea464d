// SPDX-License-Identifier: Apache-2.0
// sofa_seq_timeout: tells that the memory has kept one bus master waiting for too long.
//
// Counts the cycles in a row in which the master waits and nothing of it moves. expired rises one
// cycle after `limit` of them and falls when something moves or nothing is waited for. A new limit
// holds at once, also for a wait that has begun.
//
// Source: our decision (docs/seq.md).

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_seq_timeout (
    input  wire         clk,
    input  wire         rst,

    // Cycles, 0: never
    input  wire [31:0]  limit,
    // The memory owes this master something; it did some of it in this cycle
    input  wire         waiting,
    input  wire         move,

    output wire         expired
);

    // unreached toggle: a simulation of 2^15 cycles of waiting is left out
    reg [31:0] count_reg, count_next;
    reg        expired_reg, expired_next;

    wire still = waiting && !move && limit != 32'd0;
    wire enough = count_reg >= limit;

    assign expired = expired_reg;

    always @* begin
        count_next = 32'd0;
        expired_next = 1'b0;

        if (still) begin
            count_next = enough ? count_reg : count_reg + 32'd1;
            expired_next = enough;
        end
    end

    always @(posedge clk) begin
        count_reg <= count_next;
        expired_reg <= expired_next;

        if (rst) begin
            count_reg <= 32'd0;
            expired_reg <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // Cycles in a row in which the master has waited and nothing moved
    reg [31:0] f_waited = 32'd0;

    initial assume (rst);

    always @(posedge clk) begin
        started  <= 1'b1;
        f_waited <= rst || !waiting || move ? 32'd0 : f_waited + (f_waited != 32'hffffffff);
        if (started) begin
            assume (limit == $past(limit) && limit != 32'hffffffff);
        end

        if (started) begin
            // 1. It expires one cycle after `limit` cycles of waiting in a row, and for no other
            //    reason; never where the limit is 0.
            assert (expired == (limit != 0 && f_waited > limit));
            // 2. What that follows from: the count is that of the cycles, and stops at the limit.
            assert (count_reg == (f_waited < limit ? f_waited : limit));

            cover (expired && limit == 3);
            cover (!expired && $past(expired) && waiting);
        end
    end
`endif

endmodule

`resetall
