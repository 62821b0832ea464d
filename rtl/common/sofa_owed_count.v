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

    // So many more are owed from the next cycle on, 0: no more
    input  wire [WIDTH-1:0] add,
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

    reg [WIDTH-1:0] count_reg, count_next;
    reg             some_reg;
    // What is left of the count: beside the sum, not behind it. What is taken is owed, so that the
    // sum is not 0 where something is added.
    wire            left = take ? count_reg != ONE[WIDTH-1:0] : some_reg;

    assign some = some_reg;

    always @* begin
        count_next = count_reg + add;
        if (take) begin
            count_next = count_reg + add - ONE[WIDTH-1:0];
        end
    end

    always @(posedge clk) begin
        count_reg <= count_next;
        some_reg  <= left || |add;

        if (rst) begin
            count_reg <= {WIDTH{1'b0}};
            some_reg  <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // All that was added, less all that was taken, without a limit
    reg [WIDTH+1:0] f_owed = 0;

    initial assume (rst);

    always @* begin
        // The user takes only what is owed, and owes no more than fits.
        assume (!take || some);
        assume (f_owed + add - take < (1 << WIDTH));
    end

    always @(posedge clk) begin
        started <= 1'b1;
        f_owed  <= rst ? 0 : f_owed + add - take;

        if (started) begin
            // 1. Nothing that was added or taken is forgotten.
            assert (count_reg == f_owed);
            // 2. Something is owed exactly when more was added than taken.
            assert (some == (f_owed != 0));

            cover (f_owed == 0 && $past(f_owed) == 1 && $past(f_owed, 2) == 2);
            cover (add == 1 && take && f_owed == 1);
            cover (f_owed == (1 << WIDTH) - 1);
        end
    end
`endif

endmodule

`resetall
