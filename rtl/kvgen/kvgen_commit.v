// SPDX-License-Identifier: Apache-2.0
// Holds fetch's commit of a ring buffer back until the generated vectors of the phase are in it.
//
// Why: a buffer is filled from two sides. Phases and tokens keep their order, so a count of
// finished vectors tells when the oldest phase is complete.
// Not done here: the vectors themselves.
// Latency: one cycle from the last vector to t_valid. Throughput: a phase every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module kvgen_commit #(
    // Phases between put and commit, 2..4.
    parameter PHASES = 2
) (
    input  wire       clk,
    input  wire       rst,

    // Low: commits pass
    input  wire       enable,

    // A phase and the number of its generated vectors; a vector has been written
    input  wire       put,
    input  wire [6:0] put_count,
    input  wire       done,

    // Commit of fetch, commit to SU-FA
    input  wire       s_valid,
    output wire       s_ready,
    output wire       m_valid,
    input  wire       m_ready
);

    generate
        if (PHASES < 2 || PHASES > 4) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_kvgen_commit_needs_PHASES_2_to_4 stop ();
        end
    endgenerate

    localparam LEVEL_W = $clog2(PHASES + 1);

    wire               f_valid;
    wire [6:0]         f_count;
    // A phase owns a buffer, and there are as many places.
    wire               unused_f_ready;
    wire [LEVEL_W-1:0] unused_f_level;

    // Vectors written and not committed.
    reg  [8:0]         count_reg, count_next;

    wire               pass = !enable || (f_valid && count_reg >= {2'd0, f_count});
    wire               leave = enable && m_valid && m_ready;

    assign m_valid = s_valid && pass;
    assign s_ready = m_ready && pass;

    sync_fifo #(
        .WIDTH (7),
        .DEPTH (PHASES)
    ) fifo_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (put),
        .s_ready (unused_f_ready),
        .s_data  (put_count),
        .m_valid (f_valid),
        .m_ready (leave),
        .m_data  (f_count),
        .level   (unused_f_level)
    );

    always @* begin
        count_next = count_reg + {8'd0, done};
        if (leave) begin
            count_next = count_next - {2'd0, f_count};
        end
    end

    always @(posedge clk) begin
        count_reg <= count_next;
        if (rst) begin
            count_reg <= 9'd0;
        end
    end

endmodule

`resetall
