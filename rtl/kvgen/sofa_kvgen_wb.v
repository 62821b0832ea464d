// SPDX-License-Identifier: Apache-2.0
// Write-back: sends beats and knows which keys memory has answered for.
//
// Why: a vector may be read back only when memory has it. Answers come in order and say nothing, so
// a queue remembers what was sent; an answer that arrives while the bitmap is busy is counted.
// Not done here: the bitmap (sofa_kvgen_valid).
// Latency: a beat passes in the same cycle. Throughput: a beat a cycle, OPEN of them unanswered.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_wb #(
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Address bits, 32..48; bits of a key.
    parameter ADDR_W = 40,
    parameter KEY_W = 12,
    // Beats that can be unanswered, 2 or more.
    parameter OPEN = 32
) (
    input  wire                   clk,
    input  wire                   rst,

    // Beats of vectors; mark: the key is complete with it
    input  wire                   a_valid,
    output wire                   a_ready,
    input  wire [ADDR_W-1:0]      a_addr,
    input  wire [8*BUS_BYTES-1:0] a_data,
    // unreached toggle: a vector has 16 bytes or more
    input  wire [BUS_BYTES-1:0]   a_strb,
    input  wire                   a_mark,
    input  wire [KEY_W-1:0]       a_key,

    // Beats of the saved bitmap, all bytes; not while vectors are under way
    input  wire                   b_valid,
    output wire                   b_ready,
    input  wire [ADDR_W-1:0]      b_addr,
    input  wire [8*BUS_BYTES-1:0] b_data,

    // To memory; done: the oldest beat was answered
    output wire                   wb_valid,
    input  wire                   wb_ready,
    output wire [ADDR_W-1:0]      wb_addr,
    output wire [8*BUS_BYTES-1:0] wb_data,
    // unreached toggle: a vector has 16 bytes or more, a bitmap whole beats
    output wire [BUS_BYTES-1:0]   wb_strb,
    input  wire                   wb_done,

    // Key whose beats were all answered
    output wire                   mark_valid,
    input  wire                   mark_ready,
    output wire [KEY_W-1:0]       mark_key,

    // Every beat was answered and every key marked
    output wire                   empty
);

    generate
        if (OPEN < 2 || OPEN > 255) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_wb_needs_OPEN_2_to_255 stop ();
        end
    endgenerate

    localparam LEVEL_W = $clog2(OPEN + 1);

    wire               f_ready, f_valid, f_mark, f_take;
    wire [LEVEL_W-1:0] unused_f_level;
    // Answers not yet matched with their beat.
    reg  [7:0]         answers_reg;
    reg                some_reg;
    wire [7:0]         answers_next = answers_reg + {7'd0, wb_done} - {7'd0, f_take};

    assign wb_valid   = (a_valid || b_valid) && f_ready;
    assign wb_addr    = b_valid ? b_addr : a_addr;
    assign wb_data    = b_valid ? b_data : a_data;
    assign wb_strb    = b_valid ? {BUS_BYTES{1'b1}} : a_strb;
    assign a_ready    = wb_ready && f_ready && !b_valid;
    assign b_ready    = wb_ready && f_ready;
    assign mark_valid = f_valid && some_reg && f_mark;
    assign f_take     = f_valid && some_reg && (!f_mark || mark_ready);
    assign empty      = !f_valid;

    sofa_sync_fifo #(
        .WIDTH (1 + KEY_W),
        .DEPTH (OPEN)
    ) fifo_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid ((a_valid || b_valid) && wb_ready),
        .s_ready (f_ready),
        .s_data  ({a_mark && !b_valid, a_key}),
        .m_valid (f_valid),
        .m_ready (f_take),
        .m_data  ({f_mark, mark_key}),
        .level   (unused_f_level)
    );

    always @(posedge clk) begin
        answers_reg <= answers_next;
        some_reg    <= answers_next != 8'd0;

        if (rst) begin
            answers_reg <= 8'd0;
            some_reg    <= 1'b0;
        end
    end

endmodule

`resetall
