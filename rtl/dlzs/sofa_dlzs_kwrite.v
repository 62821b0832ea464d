// SPDX-License-Identifier: Apache-2.0
// Puts predicted key bytes, pair by pair, to their places in a vector and writes its beats.
//
// Why: the two bytes of a pair lie d/2 apart (half-split) or side by side; memory wants beats. The
// bytes of a head that a chunk holds are gathered, with a flag each, then leave beat by beat while
// the next head is gathered. Only flagged bytes are strobed, so two chunks that share a vector, or
// a beat, never touch each other's bytes.
// Not done here: bursts (a vector is short); memory errors (the user counts good answers only).
// Latency: the first beat is offered two cycles after the head's last pairs. Throughput: PAIRS
// pairs a cycle; a head takes at least as many cycles as it has beats. The beats pass a skid
// buffer, so that s_ready depends on registers and s_last only.
// Source: docs/architecture.md 10.2 and 10.6, docs/dlzs.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_kwrite #(
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 16,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 8,
    // Pairs a cycle, a power of two, 1..D_MAX/2.
    parameter PAIRS = 1,
    // Bits of a pair's number. Derived: leave at its default.
    parameter PAIR_W = $clog2(D_MAX) - 1
) (
    input  wire                   clk,
    input  wire                   rst,

    // Static during a job. cfg_half: pair i is the dimensions i and i + d/2, else 2i and 2i + 1
    input  wire [8:0]             cfg_d,
    input  wire                   cfg_half,

    // Pairs s_pair .. +PAIRS-1 (a multiple of PAIRS) of a head, {k1, k0} of 8 bits each; those from
    // d/2 on are dropped. With the head's last pairs: s_last; the chunk's last head: s_end
    input  wire                   s_valid,
    output wire                   s_ready,
    input  wire [PAIR_W-1:0]      s_pair,
    input  wire [PAIRS*16-1:0]    s_k8,
    input  wire                   s_last,
    input  wire                   s_end,
    // Address of the head's vector, a multiple of BUS_BYTES
    input  wire [47:0]            s_addr,

    // Single-beat writes, and their answers in the same order
    output wire                   x_valid,
    input  wire                   x_ready,
    output wire [47:0]            x_addr,
    output wire [8*BUS_BYTES-1:0] x_data,
    output wire [BUS_BYTES-1:0]   x_strb,
    input  wire                   x_done,

    // Pulse: every beat of a chunk was answered
    output wire                   kp_done
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || D_MAX < 16 || D_MAX < BUS_BYTES || D_MAX > 256
                || D_MAX != (1 << $clog2(D_MAX)) || PAIRS < 1 || PAIRS > D_MAX / 2
                || PAIRS != (1 << $clog2(PAIRS)) || PAIR_W != $clog2(D_MAX) - 1)
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_dlzs_kwrite_needs_PAIRS_power_of_two_1_to_half_D_MAX stop ();
        end
    endgenerate

    localparam BEATS = D_MAX / BUS_BYTES;
    localparam [31:0] LOW_32 = PAIRS - 1;
    // Which of the pairs of a cycle: the low bits of a pair's number.
    localparam [6:0] LOW = LOW_32[6:0];

    // -----------------------------------------------------------------------------------------
    // Gather
    // -----------------------------------------------------------------------------------------
    wire               take = s_valid && s_ready;
    wire [7:0]         from_pair = {{(8 - PAIR_W){1'b0}}, s_pair};
    wire [D_MAX-1:0]   hit;
    wire [D_MAX*8-1:0] data_next;
    reg  [D_MAX*8-1:0] data_reg;
    reg  [D_MAX-1:0]   flag_reg;
    wire [D_MAX-1:0]   flag_next = flag_reg | hit;
    // d is a multiple of 8.
    wire               unused_d = &{1'b0, cfg_d[1:0]};

    genvar q, i;
    generate
        // Lanes of four bytes: half a head is a whole number of them.
        for (q = 0; q < D_MAX / 4; q = q + 1) begin : g_lane
            localparam [6:0] Q = q;
            wire       valid = Q < cfg_d[8:2];
            // Place in the upper half; negative: in the lower one.
            // unreached toggle: the last lanes are never in the lower half
            wire [6:0] above = Q - {1'b0, cfg_d[8:3]};
            wire       upper = cfg_half && !above[6];
            // unreached toggle: a lane is in no group behind its own
            wire [4:0] group = upper ? above[4:0] : Q[4:0];
            wire       unused_above = &{1'b0, above[5]};

            for (i = 0; i < 4; i = i + 1) begin : g_byte
                localparam X = 4 * q + i;
                localparam [7:0] X_8 = X;
                // The pair that this byte belongs to, and whether it is the pair's second.
                // unreached toggle: likewise
                wire [6:0] pair = cfg_half ? {group, X_8[1:0]} : X_8[7:1];
                // unreached toggle: the first and the last lanes have one half only
                wire       second = cfg_half ? upper : X_8[0];
                // unreached toggle: likewise
                wire [7:0] index = {pair & LOW, second};

                assign hit[X] = valid && {1'b0, pair & ~LOW} == from_pair;
                assign data_next[X*8 +: 8] = hit[X] ? s_k8[index*8 +: 8] : data_reg[X*8 +: 8];
            end
        end
    endgenerate

    always @(posedge clk) begin
        if (take) begin
            data_reg <= data_next;
            flag_reg <= s_last ? {D_MAX{1'b0}} : flag_next;
        end

        if (rst) begin
            flag_reg <= {D_MAX{1'b0}};
        end
    end

    // -----------------------------------------------------------------------------------------
    // Beats
    // -----------------------------------------------------------------------------------------
    reg  [D_MAX*8-1:0] out_data_reg;
    reg  [D_MAX-1:0]   out_flag_reg;
    reg  [47:0]        out_addr_reg;
    reg                out_end_reg;
    // Beats with flagged bytes that have not left.
    reg  [BEATS-1:0]   pending_reg, pending_next;
    wire [BEATS-1:0]   filled;
    wire [BEATS-1:0]   lowest = pending_reg & (~pending_reg + 1'b1);
    // unreached expr: the lowest of one beat is that beat
    // unreached toggle: no beat is below the lowest
    wire [BEATS-1:0]   others = pending_reg & ~lowest;
    wire               beat_valid = |pending_reg;
    wire               beat_last = others == {BEATS{1'b0}};
    wire               skid_ready, mark_ready;
    // The chunk's last beat waits until its end can be noted.
    wire               may_push = mark_ready || !(out_end_reg && beat_last);
    wire               push = beat_valid && skid_ready && may_push;

    wire [8*BUS_BYTES-1:0] beat_data;
    wire [BUS_BYTES-1:0]   beat_flag;
    wire [8*BUS_BYTES-1:0] beat_mask;
    wire [47:0]            beat_addr;

    // The gathered head moves on when the one before has left, or leaves in this cycle.
    assign s_ready = !s_last || !beat_valid || (push && beat_last);

    genvar b;
    generate
        for (b = 0; b < BEATS; b = b + 1) begin : g_filled
            assign filled[b] = |flag_next[b*BUS_BYTES +: BUS_BYTES];
        end

        if (BEATS < 2 || BEATS != (1 << $clog2(BEATS))) begin : g_beat
            assign beat_data = out_data_reg;
            assign beat_flag = out_flag_reg;
            assign beat_addr = out_addr_reg;
        end else begin : g_beat
            wire [$clog2(BEATS)-1:0] index;

            sofa_find_first #(
                .WIDTH (BEATS)
            ) first_inst (
                .mask  (pending_reg),
                .index (index)
            );

            assign beat_data = out_data_reg[index*8*BUS_BYTES +: 8*BUS_BYTES];
            assign beat_flag = out_flag_reg[index*BUS_BYTES +: BUS_BYTES];
            assign beat_addr = out_addr_reg
                + {{(48 - $clog2(D_MAX)){1'b0}}, index, {$clog2(BUS_BYTES){1'b0}}};
        end

        // Bytes without a flag may never have been written.
        for (i = 0; i < BUS_BYTES; i = i + 1) begin : g_mask
            assign beat_mask[i*8 +: 8] = {8{beat_flag[i]}};
        end
    endgenerate

    always @* begin
        pending_next = push ? others : pending_reg;
        if (take && s_last) begin
            pending_next = filled;
        end
    end

    always @(posedge clk) begin
        pending_reg <= pending_next;
        if (take && s_last) begin
            out_data_reg <= data_next;
            out_flag_reg <= flag_next;
            out_addr_reg <= s_addr;
            out_end_reg  <= s_end;
        end

        if (rst) begin
            pending_reg <= {BEATS{1'b0}};
        end
    end

    sofa_skid_buffer #(
        .WIDTH (48 + 9 * BUS_BYTES)
    ) skid_inst (
        .clk     (clk),
        .rst     (rst),
        .s_valid (beat_valid && may_push),
        .s_ready (skid_ready),
        .s_data  ({beat_addr, beat_flag, beat_data & beat_mask}),
        .m_valid (x_valid),
        .m_ready (x_ready),
        .m_data  ({x_addr, x_strb, x_data})
    );

    // -----------------------------------------------------------------------------------------
    // Answers: the number of beats up to the end of a chunk is noted and compared with theirs
    // -----------------------------------------------------------------------------------------
    reg  [15:0] sent_reg, answered_reg;
    // An answer comes late in its cycle
    reg         x_done_reg;
    wire [15:0] sent_next = sent_reg + {15'd0, push};
    wire        mark_valid;
    wire [15:0] mark;
    wire        mark_reached = mark_valid && mark == answered_reg;
    wire [2:0]  unused_level;
    reg         kp_done_reg;

    assign kp_done = kp_done_reg;

    sofa_sync_fifo #(
        .WIDTH (16),
        .DEPTH (4)
    ) mark_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (push && out_end_reg && beat_last),
        .s_ready (mark_ready),
        .s_data  (sent_next),
        .m_valid (mark_valid),
        .m_ready (mark_reached),
        .m_data  (mark),
        .level   (unused_level)
    );

    always @(posedge clk) begin
        sent_reg    <= sent_next;
        kp_done_reg <= mark_reached;
        x_done_reg  <= x_done;
        if (x_done_reg) begin
            answered_reg <= answered_reg + 16'd1;
        end

        if (rst) begin
            sent_reg     <= 16'd0;
            answered_reg <= 16'd0;
            kp_done_reg  <= 1'b0;
            x_done_reg   <= 1'b0;
        end
    end

endmodule

`resetall
