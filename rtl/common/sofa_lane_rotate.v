// SPDX-License-Identifier: Apache-2.0
// Rotates a row of lanes, to the right or to the left, and delivers the lowest of them.
//
// Why: a sofa_corner_buffer holds lane b's element e in bank (b + e) mod LANES; this puts lane b
// back at slice b. Users who need only some of the lanes, or lanes from `first` on, add `first` to
// the amount and take fewer outputs: the selection is then free and the unused half is optimised
// away.
// Not done here: no register; the caller places it.
// Latency: combinational, clog2(LANES)/2 choices of one in four deep.
// Throughput: one row of lanes every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_lane_rotate #(
    // Lanes of the input, a power of two, at least 2.
    parameter LANES = 8,
    // Lanes of the output, 1..LANES.
    parameter OUT = LANES,
    // Bits of a lane, at least 1.
    parameter WIDTH = 8,
    // 1: to the left.
    parameter LEFT = 0,
    // Bits of the amount. Derived: leave at its default.
    parameter AMOUNT_W = $clog2(LANES)
) (
    input  wire [AMOUNT_W-1:0]    amount,
    input  wire [LANES*WIDTH-1:0] in_data,
    // Slice b is in_data's slice (b + amount) mod LANES; to the left, (b - amount) mod LANES.
    output wire [OUT*WIDTH-1:0]   out_data
);

    generate
        if (LANES < 2 || LANES != (1 << $clog2(LANES)) || OUT < 1 || OUT > LANES || WIDTH < 1
                || LEFT < 0 || LEFT > 1 || AMOUNT_W != $clog2(LANES)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_lane_rotate_needs_LANES_power_of_two_2_up_OUT_1_to_LANES stop ();
        end
    endgenerate

    localparam ROW_W = LANES * WIDTH;

    // Two bits of the amount a step: in gates, four words with a line each that chooses them are
    // smaller and faster than three multiplexers. The largest step comes first, so that with few
    // outputs the later, smaller steps shrink.
    localparam STEPS = (AMOUNT_W + 1) / 2;

    genvar s, k;
    generate
        for (s = 0; s < STEPS; s = s + 1) begin : g_step
            // The last one may have one bit.
            localparam HIGH = AMOUNT_W - 1 - 2 * s;
            localparam CHOICES = HIGH == 0 ? 2 : 4;
            localparam STEP_W = HIGH == 0 ? WIDTH : (1 << (HIGH - 1)) * WIDTH;
            wire [ROW_W-1:0] from;
            wire [ROW_W-1:0] row;
            wire [CHOICES-1:0] hot;

            if (s == 0) begin : g_from
                assign from = in_data;
            end else begin : g_from
                assign from = g_step[s-1].row;
            end
            if (HIGH == 0) begin : g_hot
                assign hot = {amount[0], !amount[0]};
            end else begin : g_hot
                assign hot = 4'd1 << amount[HIGH:HIGH-1];
            end
            for (k = 0; k < CHOICES; k = k + 1) begin : g_choice
                localparam BY = LEFT != 0 && k != 0 ? ROW_W - k * STEP_W : k * STEP_W;
                wire [ROW_W-1:0] moved;
                wire [ROW_W-1:0] chosen;
                if (k == 0) begin : g_moved
                    assign moved  = from;
                    assign chosen = {ROW_W{hot[k]}} & moved;
                end else begin : g_moved
                    assign moved  = {from[BY-1:0], from[ROW_W-1:BY]};
                    assign chosen = g_choice[k-1].chosen | ({ROW_W{hot[k]}} & moved);
                end
            end
            assign row = g_choice[CHOICES-1].chosen;
        end
    endgenerate

    assign out_data = g_step[STEPS-1].row[OUT*WIDTH-1:0];

    generate
        if (OUT < LANES) begin : g_unused
            wire unused_lanes = &{1'b0, g_step[STEPS-1].row[ROW_W-1:OUT*WIDTH]};
        end
    endgenerate

`ifdef FORMAL
    // A lane of the output, and the one of the input it comes from
    (* anyconst *) wire [AMOUNT_W-1:0] f_lane;
    wire [AMOUNT_W-1:0] f_from = LEFT != 0 ? f_lane - amount : f_lane + amount;

    always @* begin
        assume (f_lane < OUT);
        // 1. Lane b of the output is lane (b + amount) mod LANES of the input; to the left, lane
        //    (b - amount) mod LANES.
        assert (out_data[f_lane*WIDTH +: WIDTH] == in_data[f_from*WIDTH +: WIDTH]);

        cover (f_from < f_lane && out_data[f_lane*WIDTH +: WIDTH] != in_data[0 +: WIDTH]);
    end
`endif

endmodule

`resetall
