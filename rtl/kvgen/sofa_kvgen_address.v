// SPDX-License-Identifier: Apache-2.0
// Address of a vector: base + key * stride, two bits of the key a cycle.
//
// Why: an address is needed once for many beats, so one adder in turn is enough, and takes a
// fraction of a multiplier's area and time.
// The sum takes in the base's bits at its low end as it is shifted, so that no step is for the
// base, and adds what the cycle before has chosen.
// Not done here: waiting for whoever uses it; addresses wrap at ADDR_W bits.
// Latency: start to done ceil(KEY_W/2) + 1 cycles. Throughput: one address in as many.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_address #(
    // Bits of a key, 6..16.
    parameter KEY_W = 12,
    // Address bits, 32..48.
    parameter ADDR_W = 40
) (
    input  wire              clk,
    input  wire              rst,

    // Begins, also while it works, with base; stride stands from the cycle behind it until done
    input  wire              start,
    input  wire [KEY_W-1:0]  key,
    input  wire [ADDR_W-1:0] base,
    input  wire [31:0]       stride,

    // The address is there, until the next start
    output wire              done,
    output wire [ADDR_W-1:0] addr
);

    generate
        if (KEY_W < 6 || KEY_W > 16 || ADDR_W < 32 || ADDR_W > 48) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_address_needs_KEY_W_6_to_16_and_ADDR_W_32_to_48 stop ();
        end
    endgenerate

    localparam STEPS = (KEY_W + 1) / 2;
    // Bits of the base that enter one by one: two a step, and in the first cycle, which chooses.
    localparam LOW_W = 2 * STEPS + 2;

    // Bits of the key and of the base that are left, the next ones on top.
    reg [2*STEPS-1:0] key_reg;
    reg [LOW_W-1:0]   low_reg;
    // Bit n: n cycles are left behind this one.
    reg [STEPS:0]     left_reg;
    reg               done_reg;
    // What the next step adds: once, twice the stride, where the key's bits are set.
    reg [31:0]        one_reg, two_reg;
    reg [ADDR_W-1:0]  sum_reg;

    wire [KEY_W:0]    key_wide = {1'b0, key};
    wire [ADDR_W-1:0] above = {sum_reg[ADDR_W-3:0], low_reg[LOW_W-1:LOW_W-2]};
    wire [47:0]       one = {16'd0, one_reg};
    wire [47:0]       two = {15'd0, two_reg, 1'b0};

    assign done = done_reg;
    assign addr = sum_reg;

    always @(posedge clk) begin
        if (start) begin
            key_reg  <= key_wide[2*STEPS-1:0];
            low_reg  <= base[LOW_W-1:0];
            left_reg <= {1'b1, {STEPS{1'b0}}};
            done_reg <= 1'b0;
            one_reg  <= 32'd0;
            two_reg  <= 32'd0;
            sum_reg  <= base >> LOW_W;
        end else if (!done_reg) begin
            key_reg  <= {key_reg[2*STEPS-3:0], 2'b00};
            low_reg  <= {low_reg[LOW_W-3:0], 2'b00};
            left_reg <= {1'b0, left_reg[STEPS:1]};
            done_reg <= left_reg[0];
            one_reg  <= stride & {32{key_reg[2*STEPS-2]}};
            two_reg  <= stride & {32{key_reg[2*STEPS-1]}};
            sum_reg  <= above + two[ADDR_W-1:0] + one[ADDR_W-1:0];
        end
        if (rst) begin
            done_reg <= 1'b1;
        end
    end

    wire unused = &{1'b0, key_wide, one, two};

endmodule

`resetall
