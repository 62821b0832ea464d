// SPDX-License-Identifier: Apache-2.0
// A number that stands still times three bits of one that does not.
//
// Why: the multiples 0..7 of a number of the job are there long before they are needed, so a step
// of a multiplication is a choice among them, and no adder lies on its path.
// Not done here: products of more bits; whoever needs them adds several, each shifted.
// Latency: combinational. Throughput: a product a cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_times_digit #(
    // Bits of the number, 1 up.
    parameter WIDTH = 32
) (
    // Stands still while the product is used
    input  wire [WIDTH-1:0] job_number,
    input  wire [2:0]       digit,
    output reg  [WIDTH+2:0] product
);

    generate
        if (WIDTH < 1) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_times_digit_needs_WIDTH_1_up stop ();
        end
    endgenerate

    wire [WIDTH+2:0] once   = {3'd0, job_number};
    wire [WIDTH+2:0] thrice = once + (once << 1);

    always @* begin
        case (digit)
            3'd0:    product = {WIDTH + 3{1'b0}};
            3'd1:    product = once;
            3'd2:    product = once << 1;
            3'd3:    product = thrice;
            3'd4:    product = once << 2;
            3'd5:    product = once + (once << 2);
            3'd6:    product = thrice << 1;
            default: product = (once << 3) - once;
        endcase
    end

`ifdef FORMAL
    always @* begin
        // 1. The product is that of the number and the digit.
        assert (product == {3'd0, job_number} * digit);

        cover (digit == 3'd7 && product[WIDTH+2]);
    end
`endif

endmodule

`resetall
