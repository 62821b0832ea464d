// SPDX-License-Identifier: Apache-2.0
// Number of ones in a vector.
//
// Why: sums of neighbours in ever wider fields are a balanced adder tree whatever the tool does.
// Latency: combinational.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_popcount #(
    // Bits counted, 1..64.
    parameter WIDTH = 64
) (
    input  wire [WIDTH-1:0] bits,
    output wire [6:0]       count
);

    generate
        if (WIDTH < 1 || WIDTH > 64) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_popcount_needs_WIDTH_1_to_64 stop ();
        end
    endgenerate

    wire [63:0] x;
    assign x[WIDTH-1:0] = bits;
    generate
        if (WIDTH < 64) begin : g_pad
            assign x[63:WIDTH] = {64-WIDTH{1'b0}};
        end
    endgenerate

    wire [63:0] s2 = (x & 64'h5555555555555555) + ((x >> 1) & 64'h5555555555555555);
    // unreached toggle: its fields are 4 bits wide and count to 4
    wire [63:0] s4 = (s2 & 64'h3333333333333333) + ((s2 >> 2) & 64'h3333333333333333);
    // unreached toggle: its fields are 8 bits wide and count to 8
    wire [63:0] s8 = (s4 & 64'h0f0f0f0f0f0f0f0f) + ((s4 >> 4) & 64'h0f0f0f0f0f0f0f0f);
    // unreached toggle: its fields are 16 bits wide and count to 16
    wire [63:0] s16 = (s8 & 64'h00ff00ff00ff00ff) + ((s8 >> 8) & 64'h00ff00ff00ff00ff);
    // unreached toggle: its fields are 32 bits wide and count to 32
    wire [63:0] s32 = (s16 & 64'h0000ffff0000ffff) + ((s16 >> 16) & 64'h0000ffff0000ffff);

    assign count = s32[6:0] + s32[38:32];

    wire unused = &{1'b0, s32[63:39], s32[31:7]};

`ifdef FORMAL
    integer   i;
    reg [6:0] f_count;

    always @* begin
        f_count = 7'd0;
        for (i = 0; i < WIDTH; i = i + 1) begin
            f_count = f_count + {6'd0, bits[i]};
        end
        // 1. The count is the sum of all bits.
        assert (count == f_count);

        cover (count == WIDTH);
        cover (count == 0);
    end
`endif

endmodule

`resetall
