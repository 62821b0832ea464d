// SPDX-License-Identifier: Apache-2.0
// Address of a vector: base + key * stride, two bits of the key a cycle.
//
// Why: an address is needed once for many beats, so one adder in turn is enough, and takes a
// fraction of a multiplier's area and time.
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

    // Begins, also while it works; base and stride stand from then until done
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

    // Bits of the key that are left, the next ones on top.
    reg [2*STEPS-1:0] key_reg;
    // Bit n: n steps are left, the base after the last one is step 0. All clear: done.
    reg [STEPS:0]     left_reg;
    reg [ADDR_W-1:0]  sum_reg;

    wire [KEY_W:0]    key_wide = {1'b0, key};
    wire [47:0]       stride_48 = {16'd0, stride};
    wire              base_step = left_reg[0];
    wire [ADDR_W-1:0] above = {sum_reg[ADDR_W-3:0], 2'b00};
    wire [ADDR_W-1:0] two = key_reg[2*STEPS-1] ? {stride_48[ADDR_W-2:0], 1'b0} : {ADDR_W{1'b0}};
    wire [ADDR_W-1:0] one = key_reg[2*STEPS-2] ? stride_48[ADDR_W-1:0] : {ADDR_W{1'b0}};

    assign done = left_reg == {(STEPS + 1){1'b0}};
    assign addr = sum_reg;

    always @(posedge clk) begin
        if (start) begin
            key_reg  <= key_wide[2*STEPS-1:0];
            left_reg <= {1'b1, {STEPS{1'b0}}};
            sum_reg  <= {ADDR_W{1'b0}};
        end else if (!done) begin
            key_reg  <= {key_reg[2*STEPS-3:0], 2'b00};
            left_reg <= {1'b0, left_reg[STEPS:1]};
            sum_reg  <= (base_step ? sum_reg : above) + (base_step ? base : two) + one;
        end
        if (rst) begin
            left_reg <= {(STEPS + 1){1'b0}};
        end
    end

    wire unused = &{1'b0, key_wide, stride_48};

endmodule

`resetall
