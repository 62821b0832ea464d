// SPDX-License-Identifier: Apache-2.0
// Rows of the RoPE table for the tokens of a predict job: asks for them, holds two, delivers the
// cosines and sines of PAIRS pairs.
//
// Why: a token's row serves all heads of a chunk. The next row arrives while one is in use, and the
// rows of a chunk are asked for when the array begins with it, so that memory latency passes while
// the array works.
// Not done here: rows are fetched whole, also where a chunk is only a part of a head.
// Latency: a row is offered one cycle after its last beat; m_cs follows rd_en by one cycle and
// holds while rd_en is low. Throughput: a beat and a read every cycle, a command a cycle within a
// chunk.
// Source: docs/architecture.md 10.1, docs/dlzs.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_rope_rows #(
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 16,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 8,
    // Pairs delivered together, a power of two, 1..D_MAX/2.
    parameter PAIRS = 1,
    // Bits of a pair's number. Derived: leave at its default.
    parameter PAIR_W = $clog2(D_MAX) - 1
) (
    input  wire                   clk,
    input  wire                   rst,

    // Configuration, static during a job
    input  wire [8:0]             cfg_d,
    input  wire [31:0]            cfg_rt_stride,

    // A group of tokens: the row of token j lies at t_addr + j*cfg_rt_stride. At most six groups
    // may have rows that are not done, one of them in work.
    input  wire                   t_valid,
    input  wire [7:0]             t_n,
    input  wire [47:0]            t_addr,

    // Commands and beats of the stream that reads the table
    output wire                   r_c_valid,
    input  wire                   r_c_ready,
    output wire [47:0]            r_c_addr,
    output wire [15:0]            r_c_beats,
    input  wire                   r_d_valid,
    output wire                   r_d_ready,
    input  wire [8*BUS_BYTES-1:0] r_d_data,

    // The oldest row: there, no longer needed
    output wire                   row_valid,
    input  wire                   row_done,

    // Its pairs rd_pair .. +PAIRS-1 (a multiple of PAIRS): {s, c} of 16 bits each
    input  wire                   rd_en,
    input  wire [PAIR_W-1:0]      rd_pair,
    output wire [PAIRS*32-1:0]    m_cs
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || D_MAX < 16 || D_MAX < BUS_BYTES || D_MAX > 256
                || D_MAX != (1 << $clog2(D_MAX)) || PAIRS < 1 || PAIRS > D_MAX / 2
                || PAIRS != (1 << $clog2(PAIRS)) || PAIR_W != $clog2(D_MAX) - 1)
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_dlzs_rope_rows_needs_PAIRS_power_of_two_1_to_half_D_MAX stop ();
        end
    endgenerate

    localparam BEAT_PAIRS = BUS_BYTES / 4;
    // A read takes a word: one beat, or the beats that hold PAIRS pairs, from a bank each.
    localparam BANKS = PAIRS > BEAT_PAIRS ? PAIRS / BEAT_PAIRS : 1;
    localparam WORD_PAIRS = BANKS * BEAT_PAIRS;
    localparam BANK_W = $clog2(BANKS);
    localparam WORD_W = $clog2(WORD_PAIRS);
    localparam PP_W = $clog2(PAIRS);
    localparam BEAT_W = $clog2(2 * D_MAX / BUS_BYTES);
    // Words of a row.
    localparam WORDS = D_MAX / 2 / WORD_PAIRS;
    localparam ADDR_W = $clog2(2 * WORDS);

    // ceil(2d / BUS_BYTES)
    localparam [31:0] ROUND_UP = BUS_BYTES - 1;
    wire [9:0]        row_bytes = {cfg_d, 1'b0} + ROUND_UP[9:0];
    wire [9:0]        beats = row_bytes >> $clog2(BUS_BYTES);
    wire [9:0]        beats_end = beats - 10'd1;

    // -----------------------------------------------------------------------------------------
    // Commands
    // -----------------------------------------------------------------------------------------
    wire        group_valid;
    wire        group_take;
    wire [7:0]  group_n;
    wire [47:0] group_addr;
    wire        unused_ready;
    wire [2:0]  unused_level;

    sofa_sync_fifo #(
        .WIDTH (56),
        .DEPTH (5)
    ) group_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid),
        .s_ready (unused_ready),
        .s_data  ({t_n, t_addr}),
        .m_valid (group_valid),
        .m_ready (group_take),
        .m_data  ({group_n, group_addr}),
        .level   (unused_level)
    );

    // Rows of the group not asked for yet.
    reg  [7:0]  left_reg, left_next;
    reg  [47:0] addr_reg, addr_next;

    assign group_take = left_reg == 8'd0;
    assign r_c_valid  = left_reg != 8'd0;
    assign r_c_addr   = addr_reg;
    assign r_c_beats  = {6'd0, beats};

    always @* begin
        left_next = left_reg;
        addr_next = addr_reg;
        if (group_take && group_valid) begin
            left_next = group_n;
            addr_next = group_addr;
        end else if (r_c_valid && r_c_ready) begin
            left_next = left_reg - 8'd1;
            addr_next = addr_reg + {16'd0, cfg_rt_stride};
        end
    end

    // -----------------------------------------------------------------------------------------
    // Two rows
    // -----------------------------------------------------------------------------------------
    reg  [1:0]        rows_reg, rows_next;
    reg               wr_buf_reg, rd_buf_reg;
    reg  [BEAT_W-1:0] beat_reg;

    wire wr = r_d_valid && r_d_ready;
    wire wr_last = wr && beat_reg == beats_end[BEAT_W-1:0];

    assign r_d_ready = !rows_reg[1];
    assign row_valid = rows_reg != 2'd0;

    always @* begin
        rows_next = rows_reg + {1'b0, wr_last} - {1'b0, row_done};
    end

    wire [ADDR_W-1:0]           wr_addr, rd_addr;
    wire [BANKS*8*BUS_BYTES-1:0] word;

    genvar b;
    generate
        if (WORDS == 1) begin : g_addr
            assign wr_addr = wr_buf_reg;
            assign rd_addr = rd_buf_reg;
        end else begin : g_addr
            assign wr_addr = {wr_buf_reg, beat_reg[BEAT_W-1:BANK_W]};
            assign rd_addr = {rd_buf_reg, rd_pair[PAIR_W-1:WORD_W]};
        end

        for (b = 0; b < BANKS; b = b + 1) begin : g_bank
            wire here;
            if (BANKS == 1) begin : g_here
                assign here = 1'b1;
            end else begin : g_here
                localparam [BANK_W-1:0] B = b;
                assign here = beat_reg[BANK_W-1:0] == B;
            end

            sofa_ram_1r1w #(
                .WIDTH (8 * BUS_BYTES),
                .DEPTH (2 * WORDS)
            ) ram_inst (
                .clk     (clk),
                .wr_en   (wr && here),
                .wr_addr (wr_addr),
                .wr_data (r_d_data),
                .rd_en   (rd_en),
                .rd_addr (rd_addr),
                .rd_data (word[b*8*BUS_BYTES +: 8*BUS_BYTES])
            );
        end

        if (WORD_PAIRS == PAIRS) begin : g_select
            assign m_cs = word;
        end else begin : g_select
            reg [WORD_W-PP_W-1:0] select_reg;
            always @(posedge clk) begin
                if (rd_en) begin
                    select_reg <= rd_pair[WORD_W-1:PP_W];
                end
            end
            assign m_cs = word[select_reg*PAIRS*32 +: PAIRS*32];
        end
    endgenerate

    // A word's pairs are chosen behind the memory; a single word has no number.
    wire unused = &{1'b0, rd_pair, row_bytes, beats_end};

    always @(posedge clk) begin
        left_reg <= left_next;
        addr_reg <= addr_next;
        rows_reg <= rows_next;
        if (wr) begin
            beat_reg <= wr_last ? {BEAT_W{1'b0}} : beat_reg + 1'b1;
        end
        if (wr_last) begin
            wr_buf_reg <= !wr_buf_reg;
        end
        if (row_done) begin
            rd_buf_reg <= !rd_buf_reg;
        end

        if (rst) begin
            left_reg   <= 8'd0;
            rows_reg   <= 2'd0;
            wr_buf_reg <= 1'b0;
            rd_buf_reg <= 1'b0;
            beat_reg   <= {BEAT_W{1'b0}};
        end
    end

endmodule

`resetall
