// SPDX-License-Identifier: Apache-2.0
// Two bits for every key of a KV head: claimed (exists or is being made) and written (in memory).
//
// Why: a vector is made once and read from memory afterwards, but not before it is there.
// The bits of a head are cleared or loaded when it begins and saved when it is complete, so that
// a following job of the same context makes only what is missing.
// Not done here: who asks for what (kvgen_front, sofa_kvgen_wb); order of the phases of a head.
// Latency: the answer to a look-up is there two cycles later. Throughput: a look-up or a mark in
// two cycles; marks go first. Clear: one cycle for 32 keys; load: one for 32 keys and one a beat;
// save: two for 32 keys and one a beat.
// Source: docs/architecture.md 10.1, 10.7.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_valid #(
    // Largest number of keys, a power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Address bits, 32..48.
    parameter ADDR_W = 40
) (
    input  wire                   clk,
    input  wire                   rst,

    input  wire [16:0]            cfg_keys,

    // Pulses: begin a head, with or without its saved bits; save the written bits. Only while
    // nothing else is asked for
    input  wire                   clear,
    input  wire                   load,
    input  wire                   save,
    input  wire [ADDR_W-1:0]      addr,
    output wire                   busy,

    // Reads
    output wire                   c_valid,
    input  wire                   c_ready,
    output wire [ADDR_W-1:0]      c_addr,
    output wire [15:0]            c_beats,
    input  wire                   d_valid,
    output wire                   d_ready,
    input  wire [8*BUS_BYTES-1:0] d_data,

    // Saved beats
    output wire                   m_valid,
    input  wire                   m_ready,
    output wire [ADDR_W-1:0]      m_addr,
    output wire [8*BUS_BYTES-1:0] m_data,

    // Look-up of a key; the answer of the last one stands from look_done to the next. A key that
    // was not claimed is claimed from now on
    input  wire                   look_valid,
    output wire                   look_ready,
    input  wire [16:0]            look_key,
    output wire                   look_done,
    output wire                   look_claimed,
    output wire                   look_written,

    // The vectors of a key are in memory; ready is a pulse
    input  wire                   mark_valid,
    output wire                   mark_ready,
    input  wire [16:0]            mark_key
);

    generate
        if (KEYS_MAX < 64 || KEYS_MAX > 65536 || KEYS_MAX != (1 << $clog2(KEYS_MAX))
                || BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || ADDR_W < 32 || ADDR_W > 48) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_valid_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    // Words of 32 keys in a beat; whole beats are kept also where that is more than all keys.
    localparam SUB = BUS_BYTES / 4;
    localparam SUB_W = $clog2(SUB);
    localparam WORDS = KEYS_MAX / 32 > SUB ? KEYS_MAX / 32 : SUB;
    localparam WORD_W = $clog2(WORDS);
    localparam [31:0] KEYS_OF_BEAT_LESS_1 = 8 * BUS_BYTES - 1;
    localparam [31:0] BEAT_I = BUS_BYTES;
    localparam [47:0] BEAT_BYTES = {16'd0, BEAT_I};

    localparam [2:0]
        // waits for work; reads the word of a key
        V_IDLE   = 3'd0,
        // writes the word of a key
        V_UPDATE = 3'd1,
        // writes zeros
        V_CLEAR  = 3'd2,
        // waits until the request is taken
        V_ASK    = 3'd3,
        // waits for a beat
        V_BEAT   = 3'd4,
        // writes the words of a beat
        V_FILL   = 3'd5,
        // reads a word, appends it to the beat
        V_GATHER = 3'd6,
        // waits until the beat is taken
        V_SEND   = 3'd7;

    reg [2:0]             state_reg, state_next;
    // Phases of a head.
    reg                   busy_reg;
    // Answer of a look-up.
    reg                   done_reg, claimed_reg, written_reg;
    // Word of 32 keys, 12 bits with the end.
    reg [11:0]            word_reg, word_next;
    reg [ADDR_W-1:0]      addr_reg, addr_next;
    reg [8*BUS_BYTES-1:0] beat_reg, beat_next;
    // The word read in the cycle before is appended now.
    reg                   append_reg, append_next;
    reg                   mark_reg, mark_next;
    reg [16:0]            key_reg, key_next;

    wire [17:0] keys_round = {1'b0, cfg_keys} + KEYS_OF_BEAT_LESS_1[17:0];
    wire [17:0] beats = keys_round >> (SUB_W + 5);
    wire [11:0] last_word = {beats[11-SUB_W:0], {SUB_W{1'b0}}} - 12'd1;
    wire        word_last = word_reg == last_word;
    wire        sub_last = word_reg[SUB_W-1:0] == {SUB_W{1'b1}};

    // Bits of keys that exist, of the word that is loaded.
    wire [16:0] first_key = {word_reg[11:0], 5'd0};
    wire [16:0] left = cfg_keys - first_key;
    wire [31:0] exist = cfg_keys <= first_key ? 32'd0
                      : left >= 17'd32 ? 32'hFFFF_FFFF
                      : ~(32'hFFFF_FFFF << left[4:0]);

    wire [16:0] op_key = mark_valid ? mark_key : look_key;
    wire        op = state_reg == V_IDLE && (mark_valid || look_valid);
    wire [63:0] rd_data;
    wire [31:0] bit_mask = 32'd1 << key_reg[4:0];
    wire [31:0] loaded = beat_reg[31:0] & exist;
    reg         wr_en;
    reg [63:0]  wr_data;
    wire        update = state_reg == V_UPDATE;
    wire        fetch_word = state_reg == V_GATHER && !append_reg;

    assign busy         = busy_reg;
    assign c_valid      = state_reg == V_ASK;
    assign c_addr       = addr_reg;
    assign c_beats      = beats[15:0];
    assign d_ready      = state_reg == V_BEAT;
    assign m_valid      = state_reg == V_SEND;
    assign m_addr       = addr_reg;
    assign m_data       = beat_reg;
    assign look_ready   = state_reg == V_IDLE && !mark_valid;
    assign look_done    = done_reg;
    assign look_claimed = claimed_reg;
    assign look_written = written_reg;
    assign mark_ready   = update && mark_reg;

    sofa_ram_1r1w #(
        .WIDTH (64),
        .DEPTH (WORDS)
    ) ram_inst (
        .clk     (clk),
        .wr_en   (wr_en),
        .wr_addr (update ? key_reg[5 +: WORD_W] : word_reg[WORD_W-1:0]),
        .wr_data (wr_data),
        .rd_en   (op || fetch_word),
        .rd_addr (op ? op_key[5 +: WORD_W] : word_reg[WORD_W-1:0]),
        .rd_data (rd_data)
    );

    always @* begin
        state_next  = state_reg;
        word_next   = word_reg;
        addr_next   = addr_reg;
        beat_next   = beat_reg;
        append_next = 1'b0;
        mark_next   = mark_reg;
        key_next    = key_reg;
        wr_en       = 1'b0;
        wr_data     = {rd_data[63:32] | (mark_reg ? bit_mask : 32'd0), rd_data[31:0] | bit_mask};

        case (state_reg)
            V_IDLE: begin
                mark_next = mark_valid;
                key_next  = op_key;
                word_next = 12'd0;
                addr_next = addr;
                if (clear) begin
                    state_next = V_CLEAR;
                end else if (load) begin
                    state_next = V_ASK;
                end else if (save) begin
                    state_next = V_GATHER;
                end else if (op) begin
                    state_next = V_UPDATE;
                end
            end
            V_UPDATE: begin
                wr_en      = 1'b1;
                state_next = V_IDLE;
            end
            V_CLEAR: begin
                wr_en     = 1'b1;
                wr_data   = 64'd0;
                word_next = word_reg + 12'd1;
                if (word_last) begin
                    state_next = V_IDLE;
                end
            end
            V_ASK: begin
                if (c_ready) begin
                    state_next = V_BEAT;
                end
            end
            V_BEAT: begin
                beat_next = d_data;
                if (d_valid) begin
                    state_next = V_FILL;
                end
            end
            V_FILL: begin
                wr_en     = 1'b1;
                wr_data   = {loaded, loaded};
                beat_next = {32'd0, beat_reg[8*BUS_BYTES-1:32]};
                word_next = word_reg + 12'd1;
                if (word_last) begin
                    state_next = V_IDLE;
                end else if (sub_last) begin
                    state_next = V_BEAT;
                end
            end
            V_GATHER: begin
                append_next = !append_reg;
                if (append_reg) begin
                    beat_next = {rd_data[63:32], beat_reg[8*BUS_BYTES-1:32]};
                    if (sub_last) begin
                        state_next = V_SEND;
                    end else begin
                        word_next = word_reg + 12'd1;
                    end
                end
            end
            V_SEND: begin
                if (m_ready) begin
                    state_next = word_last ? V_IDLE : V_GATHER;
                    word_next  = word_reg + 12'd1;
                    addr_next  = addr_reg + BEAT_BYTES[ADDR_W-1:0];
                end
            end
            // unreached line: no state has this number; forced by tb/system/test_states.py
            default: begin
                state_next = V_IDLE;
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg  <= state_next;
        word_reg   <= word_next;
        addr_reg   <= addr_next;
        beat_reg   <= beat_next;
        append_reg <= append_next;
        mark_reg   <= mark_next;
        key_reg    <= key_next;
        busy_reg   <= state_next != V_IDLE && state_next != V_UPDATE;
        if (update && !mark_reg) begin
            done_reg    <= 1'b1;
            claimed_reg <= |(rd_data[31:0] & bit_mask);
            written_reg <= |(rd_data[63:32] & bit_mask);
        end else if (look_valid && look_ready) begin
            done_reg <= 1'b0;
        end

        if (rst) begin
            state_reg  <= V_IDLE;
            append_reg <= 1'b0;
            busy_reg   <= 1'b0;
            done_reg   <= 1'b0;
        end
    end

    wire unused = &{1'b0, beats, left, key_reg, op_key};

endmodule

`resetall
