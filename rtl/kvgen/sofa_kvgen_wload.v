// SPDX-License-Identifier: Apache-2.0
// Reads the weights of a KV head into the weight memory.
//
// Why: the image in memory has the order in which the array reads its weights, so this is one
// long run of beats; a word is assembled from 2*ROWS/BUS_BYTES of them.
// Not done here: the layout (models/kvgen.py: pack_weights).
// Latency: start to the first request 1 cycle. Throughput: one beat a cycle.
// Source: docs/architecture.md 10.1.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_wload #(
    // Lanes, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Words of the weight memory, 64..65536.
    parameter WGT_WORDS = 4608,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Derived: leave at its default.
    parameter WGT_W = $clog2(WGT_WORDS)
) (
    input  wire                   clk,
    input  wire                   rst,

    input  wire [8:0]             cfg_d,
    input  wire [12:0]            cfg_h,

    // Pulse: read the image at addr
    input  wire                   start,
    input  wire [ADDR_W-1:0]      addr,
    output wire                   busy,

    // Reads
    output wire                   c_valid,
    input  wire                   c_ready,
    output wire [ADDR_W-1:0]      c_addr,
    output wire [15:0]            c_beats,
    input  wire                   d_valid,
    input  wire [8*BUS_BYTES-1:0] d_data,

    // Weight memory
    output wire                   w_valid,
    output wire [WGT_W-1:0]       w_addr,
    output wire [ROWS*16-1:0]     w_data
);

    generate
        if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || BUS_BYTES < 8
                || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES)) || WGT_WORDS < 64
                || WGT_WORDS > 65536 || ADDR_W < 32 || ADDR_W > 48) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_wload_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam BEATS = 2 * ROWS / BUS_BYTES;
    localparam BEAT_W = $clog2(BEATS);
    localparam BYTE_W = $clog2(2 * ROWS);
    localparam [31:0] ROWS_I = ROWS;
    // Words of the largest request: its beats fit 16 bits.
    localparam [12:0] CHUNK = 13'd512;

    localparam [1:0]
        // waits for start
        L_IDLE = 2'd0,
        // a request for words of a pass waits until it is taken
        L_ASK  = 2'd1,
        // waits for the last words
        L_WAIT = 2'd2;

    reg [1:0]        state_reg, state_next;
    reg [ADDR_W-1:0] addr_reg, addr_next;
    // Words of the pass not asked for.
    reg [12:0]       left_reg, left_next;
    // First output of the next pass.
    reg [10:0]       out_reg, out_next;
    // Words asked for, words complete.
    reg [16:0]       asked_reg, asked_next;
    reg [16:0]       got_reg, got_next;

    wire [12:0] words = left_reg > CHUNK ? CHUNK : left_reg;
    wire        pass_last = out_reg >= {1'b0, cfg_d, 1'b0};
    wire        word_end;

    assign busy    = state_reg != L_IDLE;
    assign c_valid = state_reg == L_ASK;
    assign c_addr  = addr_reg;
    assign c_beats = {3'd0, words} << BEAT_W;
    assign w_valid = d_valid && word_end;
    assign w_addr  = got_reg[WGT_W-1:0];

    generate
        if (BEATS == 1) begin : g_word
            assign word_end = 1'b1;
            assign w_data   = d_data;
        end else begin : g_word
            reg [BEAT_W-1:0]                 beat_reg;
            reg [ROWS*16-8*BUS_BYTES-1:0]    part_reg;
            wire [ROWS*16-1:0]               word = {d_data, part_reg};

            assign word_end = beat_reg == {BEAT_W{1'b1}};
            assign w_data   = word;

            always @(posedge clk) begin
                if (d_valid) begin
                    beat_reg <= beat_reg + 1'b1;
                    part_reg <= word[ROWS*16-1:8*BUS_BYTES];
                end
                if (rst) begin
                    beat_reg <= {BEAT_W{1'b0}};
                end
            end
        end
    endgenerate

    always @* begin
        state_next = state_reg;
        addr_next  = addr_reg;
        left_next  = left_reg;
        out_next   = out_reg;
        asked_next = asked_reg;
        got_next   = got_reg + {16'd0, w_valid};

        case (state_reg)
            L_IDLE: begin
                addr_next  = addr;
                left_next  = cfg_h;
                out_next   = ROWS_I[10:0];
                asked_next = 17'd0;
                got_next   = 17'd0;
                if (start) begin
                    state_next = L_ASK;
                end
            end
            L_ASK: begin
                if (c_ready) begin
                    addr_next  = addr_reg + ({{(ADDR_W - 13){1'b0}}, words} << BYTE_W);
                    asked_next = asked_reg + {4'd0, words};
                    left_next  = left_reg - words;
                    if (left_reg <= CHUNK) begin
                        left_next  = cfg_h;
                        out_next   = out_reg + ROWS_I[10:0];
                        state_next = pass_last ? L_WAIT : L_ASK;
                    end
                end
            end
            L_WAIT: begin
                if (got_next == asked_reg) begin
                    state_next = L_IDLE;
                end
            end
            default: begin
                state_next = L_IDLE;
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        addr_reg  <= addr_next;
        left_reg  <= left_next;
        out_reg   <= out_next;
        asked_reg <= asked_next;
        got_reg   <= got_next;

        if (rst) begin
            state_reg <= L_IDLE;
        end
    end

    wire unused = &{1'b0, got_reg};

endmodule

`resetall
