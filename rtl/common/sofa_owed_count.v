// SPDX-License-Identifier: Apache-2.0
// Counts what the memory owes on one AXI ID: beats of reads, or answers to writes.
//
// Why: a beat or an answer that nobody asked for must be told from one that is owed, before
// anything looks at it. The bus masters have one of these for each ID.
// Not done here: protection against more than 2^WIDTH - 1; take is only for what is owed.
// Latency: some is a register and covers what was added in the cycle before.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_owed_count #(
    // Bits of the count, at least 1.
    parameter WIDTH = 9
) (
    input  wire             clk,
    input  wire             rst,

    // Where add is high, extra and one more are owed from the next cycle on
    input  wire             add,
    input  wire [WIDTH-1:0] extra,
    // One of those owed arrives
    input  wire             take,
    // Something is owed
    output wire             some
);

    generate
        if (WIDTH < 1) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_owed_count_needs_WIDTH_1_up stop ();
        end
    endgenerate

    localparam [31:0] ONE = 1;

    reg  [WIDTH-1:0] count_reg;
    reg              some_reg;
    // One sum: what is taken is left out of what is added, as the carry into it, or goes off alone.
    wire [WIDTH-1:0] change = add ? extra : {WIDTH{take}};
    wire             carry  = add && !take;
    wire [WIDTH:0]   sum    = {count_reg, 1'b1} + {change, carry};
    // What is left of the count: beside the sum, not behind it. What is taken is owed, so that the
    // sum is not 0 where something is added.
    wire             left   = take ? count_reg != ONE[WIDTH-1:0] : some_reg;

    assign some = some_reg;

    wire unused_sum = &{1'b0, sum[0]};

    always @(posedge clk) begin
        count_reg <= sum[WIDTH:1];
        some_reg  <= left || add;

        if (rst) begin
            count_reg <= {WIDTH{1'b0}};
            some_reg  <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // All that was added, less all that was taken, without a limit
    reg  [WIDTH+1:0] f_owed = 0;
    wire [WIDTH+1:0] f_add = add ? extra + {{(WIDTH + 1){1'b0}}, 1'b1} : 0;

    initial assume (rst);

    always @* begin
        // The user takes only what is owed, and owes no more than fits.
        assume (!take || some);
        assume (f_owed + f_add - take < (1 << WIDTH));
    end

    always @(posedge clk) begin
        started <= 1'b1;
        f_owed  <= rst ? 0 : f_owed + f_add - take;

        if (started) begin
            // 1. Nothing that was added or taken is forgotten.
            assert (count_reg == f_owed);
            // 2. Something is owed exactly when more was added than taken.
            assert (some == (f_owed != 0));

            cover (f_owed == 0 && $past(f_owed) == 1 && $past(f_owed, 2) == 2);
            cover (add && extra == 0 && take && f_owed == 1);
            cover (f_owed == (1 << WIDTH) - 1);
        end
    end
`endif

endmodule

`resetall
