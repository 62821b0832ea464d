// SPDX-License-Identifier: Apache-2.0
// Walk over a predict job: groups of COLS tokens x chunks of output dimensions x parts of
// BUS_BYTES elements of the model dimension.
//
// Why: to the fetch stage a part is a K8 tile whose vectors are one beat (tc_*), to the prediction
// a turn (tn_turn). Both have a walk of their own, an instance each that uses one of the two, so
// that the reads run ahead of the turns. The codes of the weights come through a stream of their
// own, commanded by sofa_seq_codes.
// Not done here: chunks of the job (sofa_seq_chunks).
// Throughput: a part a cycle while it is taken.
// Source: docs/architecture.md sections 10.1 and 10.4.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_turn.vh"

module sofa_seq_keys #(
    // Keys predicted in parallel, power of two 4..64
    parameter COLS = 32,
    // Data bus bytes, power of two 8..64
    parameter BUS_BYTES = 64,
    // Bits of an address that may be set, 32..48; the check of the job has seen to that
    parameter ADDR_W = 40
) (
    input  wire         clk,
    input  wire         rst,

    // Control: start is a pulse; active until the last command has been taken; ev_chunk: the last
    // part of a chunk of a group has been taken
    input  wire         start,
    output wire         active,
    output wire         ev_chunk,

    // Job, legal and stable while active; base and row stride of X8, K8 and RT in bytes
    input  wire [16:0]  job_keys,
    input  wire [12:0]  job_h,
    input  wire [47:0]  job_x8_base,
    input  wire [31:0]  job_x8_stride,
    input  wire [47:0]  job_k8_base,
    input  wire [31:0]  job_k8_stride,
    input  wire [47:0]  job_rt_base,
    input  wire [31:0]  job_rt_stride,

    // Chunks of the job, see sofa_seq_chunks
    input  wire         split,
    input  wire [6:0]   head_chunks,
    input  wire [16:0]  chunks,
    input  wire [7:0]   rows_full,
    input  wire [7:0]   rows_last,
    input  wire [47:0]  k8_step,

    // Part: valid and ready of either; K8 command; turn
    output wire         valid,
    input  wire         ready,
    output wire [47:0]  tc_addr,
    output wire [31:0]  tc_inc,
    output wire [7:0]   tc_n,
    output wire [`SOFA_TURN_W-1:0] tn_turn
);

    generate
        if (COLS < 4 || COLS > 64 || COLS != (1 << $clog2(COLS)) || BUS_BYTES < 8 || BUS_BYTES > 64
                || BUS_BYTES != (1 << $clog2(BUS_BYTES)) || ADDR_W < 32 || ADDR_W > 48)
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_keys_needs_COLS_BUS_BYTES_ADDR_W_in_range stop ();
        end
    endgenerate

    localparam COLS_W = $clog2(COLS);
    localparam [47:0] ADDR_MASK = {48{1'b1}} >> (48 - ADDR_W);

    reg        active_reg, active_next;
    reg [16:0] token_reg, token_next;
    // chunks of the group from this one on
    reg [16:0] chunks_reg, chunks_next;
    // chunk within its head, elements of H from this part on
    reg [6:0]  sub_reg, sub_next;
    reg [12:0] left_reg, left_next;
    // first token of the group in X8, K8 and RT; this part of X8, first head of this chunk in K8
    reg [47:0] x8_group_reg, x8_group_next, x8_part_reg, x8_part_next;
    reg [47:0] k8_group_reg, k8_group_next, k8_chunk_reg, k8_chunk_next;
    reg [47:0] rt_group_reg, rt_group_next;

    wire [16:0] tokens = job_keys - token_reg;
    wire        group_last = tokens <= COLS[16:0];
    wire        chunk_last = chunks_reg == 17'd1;
    wire        sub_last = sub_reg + 7'd1 == head_chunks;
    wire        part_last = left_reg <= BUS_BYTES[12:0];
    wire        rows_less = split ? sub_last : chunk_last;

    assign active = active_reg;
    assign ev_chunk = valid && ready && part_last;
    assign valid = active_reg;
    assign tc_addr = x8_part_reg;
    assign tc_inc = job_x8_stride;
    assign tc_n = group_last ? tokens[7:0] : COLS[7:0];
    assign tn_turn[`SOFA_TURN_N]         = tc_n;
    assign tn_turn[`SOFA_TURN_ROWS]      = rows_less ? rows_last : rows_full;
    assign tn_turn[`SOFA_TURN_CAUSAL]    = 1'b0;
    assign tn_turn[`SOFA_TURN_REL]       = part_last ? {12'd0, left_reg} : BUS_BYTES[24:0];
    assign tn_turn[`SOFA_TURN_KSTEP]     = {10'd0, sub_reg};
    assign tn_turn[`SOFA_TURN_K0]        = 17'd0;
    assign tn_turn[`SOFA_TURN_MSTEP]     = 24'd0;
    assign tn_turn[`SOFA_TURN_WINDOW]    = 24'd0;
    assign tn_turn[`SOFA_TURN_PLACE]     = 3'd0;
    assign tn_turn[`SOFA_TURN_START]     = left_reg == job_h;
    assign tn_turn[`SOFA_TURN_FINAL]     = part_last;
    assign tn_turn[`SOFA_TURN_COUNT]     = 1'b0;
    assign tn_turn[`SOFA_TURN_TILE_LAST] = 1'b1;
    assign tn_turn[`SOFA_TURN_KVNEW]     = 1'b0;
    assign tn_turn[`SOFA_TURN_KVLAST]    = 1'b0;
    assign tn_turn[`SOFA_TURN_EXACT]     = 8'd0;
    assign tn_turn[`SOFA_TURN_RATIO]     = 32'd0;
    assign tn_turn[`SOFA_TURN_TAU]       = 16'd0;
    assign tn_turn[`SOFA_TURN_OCTAVE]    = 5'd0;
    assign tn_turn[`SOFA_TURN_RADIUS]    = 32'd0;
    assign tn_turn[`SOFA_TURN_KBASE]     = k8_chunk_reg;
    assign tn_turn[`SOFA_TURN_VBASE]     = rt_group_reg;
    assign tn_turn[`SOFA_TURN_MADDR]     = 48'd0;
    assign tn_turn[`SOFA_TURN_OADDR]     = 48'd0;
    assign tn_turn[`SOFA_TURN_KG_SHIFT_K] = 6'd0;
    assign tn_turn[`SOFA_TURN_KG_SHIFT_V] = 6'd0;

    always @* begin
        active_next = active_reg;
        token_next = token_reg;
        chunks_next = chunks_reg;
        sub_next = sub_reg;
        left_next = left_reg;
        x8_group_next = x8_group_reg;
        x8_part_next = x8_part_reg;
        k8_group_next = k8_group_reg;
        k8_chunk_next = k8_chunk_reg;
        rt_group_next = rt_group_reg;

        if (!active_reg) begin
            active_next = start;
            token_next = 17'd0;
            chunks_next = chunks;
            sub_next = 7'd0;
            left_next = job_h;
            x8_group_next = job_x8_base;
            x8_part_next = job_x8_base;
            k8_group_next = job_k8_base;
            k8_chunk_next = job_k8_base;
            rt_group_next = job_rt_base;
        end else if (ready) begin
            left_next = left_reg - BUS_BYTES[12:0];
            x8_part_next = x8_part_reg + {41'd0, BUS_BYTES[6:0]};
            if (part_last) begin
                left_next = job_h;
                x8_part_next = x8_group_reg;
                chunks_next = chunks_reg - 17'd1;
                sub_next = sub_reg + 7'd1;
                if (sub_last) begin
                    sub_next = 7'd0;
                    k8_chunk_next = k8_chunk_reg + k8_step;
                end
                if (chunk_last) begin
                    chunks_next = chunks;
                    token_next = token_reg + COLS[16:0];
                    x8_group_next = x8_group_reg + ({16'd0, job_x8_stride} << COLS_W);
                    x8_part_next = x8_group_next;
                    k8_group_next = k8_group_reg + ({16'd0, job_k8_stride} << COLS_W);
                    k8_chunk_next = k8_group_next;
                    rt_group_next = rt_group_reg + ({16'd0, job_rt_stride} << COLS_W);
                    active_next = !group_last;
                end
            end
        end
    end

    always @(posedge clk) begin
        active_reg <= active_next;
        token_reg <= token_next;
        chunks_reg <= chunks_next;
        sub_reg <= sub_next;
        left_reg <= left_next;
        x8_group_reg <= x8_group_next & ADDR_MASK;
        x8_part_reg <= x8_part_next & ADDR_MASK;
        k8_group_reg <= k8_group_next & ADDR_MASK;
        k8_chunk_reg <= k8_chunk_next & ADDR_MASK;
        rt_group_reg <= rt_group_next & ADDR_MASK;

        if (rst) begin
            active_reg <= 1'b0;
        end
    end

endmodule

`resetall
