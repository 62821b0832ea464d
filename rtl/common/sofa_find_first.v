// SPDX-License-Identifier: Apache-2.0
// Index of the lowest set bit.
//
// Why: the gather asks for one selected key a cycle and spends none on the others.
// Not done here: an empty mask (index is then WIDTH - 1).
// Latency: combinational, clog2(WIDTH) halvings deep.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_find_first #(
    // Bits of the mask, a power of two, 2..256.
    parameter WIDTH = 64,
    // Bits of the index. Derived: leave at its default.
    parameter INDEX_W = $clog2(WIDTH)
) (
    input  wire [WIDTH-1:0]   mask,
    output wire [INDEX_W-1:0] index
);

    generate
        if (WIDTH < 2 || WIDTH > 256 || WIDTH != (1 << $clog2(WIDTH))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_find_first_needs_WIDTH_power_of_two_2_to_256 stop ();
        end
    endgenerate

    // Each level keeps the lower half of what is left when that has a set bit, else the upper one.
    genvar l;
    generate
        for (l = 0; l < INDEX_W; l = l + 1) begin : g_level
            localparam HALF = WIDTH >> (l + 1);
            wire [2*HALF-1:0] in;
            wire              upper = in[HALF-1:0] == {HALF{1'b0}};
            wire [HALF-1:0]   out = upper ? in[2*HALF-1:HALF] : in[HALF-1:0];
            if (l == 0) begin : g_in
                assign in = mask;
            end else begin : g_in
                assign in = g_level[l-1].out;
            end
            assign index[INDEX_W-1-l] = upper;
        end
    endgenerate

    wire unused_out = &{1'b0, g_level[INDEX_W-1].out};

`ifdef FORMAL
    integer i;

    always @* begin
        // 1. The bit at the index is set, where one is.
        assert (mask == 0 || mask[index]);
        // 2. No lower one is.
        for (i = 0; i < WIDTH; i = i + 1) begin
            assert (i >= index || !mask[i]);
        end
        // 3. Of an empty mask the index is the last one.
        assert (mask != 0 || index == WIDTH - 1);

        cover (mask[WIDTH-1] && index == WIDTH - 1);
        cover (mask[0] && mask[WIDTH-1]);
    end
`endif

endmodule

`resetall
