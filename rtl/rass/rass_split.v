// SPDX-License-Identifier: Apache-2.0
// Lists of a phase: from a tile's lists every row's keys of the phase, with their buffer slots.
//
// Why: the rows of a tile's list have their keys of a phase at different positions, while SU-FA
// wants every row's entries first. The tile's lists pass a position a cycle; every row looks its
// entry up and appends it to a memory of its own; then words of all rows are read out.
// Not done here: the choice of the keys (rass_walk.v).
// Latency: an entry that comes in cycle c is in the row's memory after cycle c+2; a word read in
// cycle c leaves in cycle c+1. Throughput: a position of the tile's list, or a word of the
// phase's, every cycle.
// Source: docs/architecture.md sections 5.3 and 10.3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module rass_split #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 16,
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 32,
    // Key slots of a buffer, power of two, 4..BC_MAX/2.
    parameter KV_SLOTS = 16,
    // Bits of a tile slot, of a buffer slot. Derived: leave at their defaults.
    parameter SLOT_W = $clog2(BC_MAX),
    parameter KSLOT_W = $clog2(KV_SLOTS)
) (
    input  wire                          clk,
    input  wire                          rst,

    // A new phase: no keys, empty lists
    input  wire                          new_phase,

    // A key of the phase and its buffer slot
    input  wire                          key_en,
    input  wire [SLOT_W-1:0]             key,
    input  wire [KSLOT_W-1:0]            key_slot,

    // Entry of every row of the tile's list: word, and which of its four entries
    input  wire                          in_en,
    input  wire [1:0]                    in_entry,
    input  wire [ROWS*4*(SLOT_W+1)-1:0]  in_word,

    // A list buffer of sufa is free, and taken for the phase; write a word to it
    output wire                          credit,
    input  wire                          grant,
    input  wire                          rd_en,
    input  wire [3:0]                    rd_word,

    // List words to the ring of 4 list buffers of sufa
    output wire                          l_wr_valid,
    output wire [1:0]                    l_wr_buf,
    output wire [3:0]                    l_wr_word,
    output wire [ROWS*4*(KSLOT_W+1)-1:0] l_wr_data,
    input  wire                          l_release
);

    generate
        if (ROWS < 4 || ROWS > 128 || (1 << $clog2(ROWS)) != ROWS
                || BC_MAX < 8 || BC_MAX > 64 || (1 << SLOT_W) != BC_MAX
                || KV_SLOTS < 4 || KV_SLOTS > BC_MAX / 2 || (1 << KSLOT_W) != KV_SLOTS
                ) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_rass_split_needs_powers_of_2_KV_SLOTS_4_to_half_of_BC_MAX stop ();
        end
    endgenerate

    localparam ENT_W = SLOT_W + 1;
    localparam KENT_W = KSLOT_W + 1;
    // Words of a row's memory, at least the two that a memory has
    localparam WORDS = KV_SLOTS < 8 ? 2 : KV_SLOTS / 4;
    localparam WORD_W = $clog2(WORDS);
    // Bits of the length of a row's list
    localparam LEN_W = WORD_W + 3;

    // ---- Place of every key of the tile -------------------------------------------------------
    // Key is in the phase; its buffer slot
    reg  [BC_MAX-1:0]         here_reg;
    wire [BC_MAX*KSLOT_W-1:0] place;

    always @(posedge clk) begin
        if (key_en) begin
            here_reg[key] <= 1'b1;
        end
        if (new_phase) begin
            here_reg <= {BC_MAX{1'b0}};
        end
    end

    genvar k, r, i;
    generate
        for (k = 0; k < BC_MAX; k = k + 1) begin : g_key
            localparam [31:0] KEY = k;
            reg [KSLOT_W-1:0] place_reg;
            assign place[k*KSLOT_W +: KSLOT_W] = place_reg;

            always @(posedge clk) begin
                if (key_en && key == KEY[SLOT_W-1:0]) begin
                    place_reg <= key_slot;
                end
            end
        end
    endgenerate

    // ---- Rows ---------------------------------------------------------------------------------
    reg        look_reg, append_reg;
    // Word that leaves, its buffer
    reg        valid_reg;
    reg [3:0]  word_reg;
    reg [1:0]  buf_reg;
    wire [1:0] credit_buf;

    assign l_wr_valid = valid_reg;
    assign l_wr_buf = buf_reg;
    assign l_wr_word = word_reg;

    ring_credit #(
        .BUFS(4)
    ) credits (
        .clk(clk),
        .rst(rst),
        .avail(credit),
        .index(credit_buf),
        .take(grant),
        .free(l_release)
    );

    always @(posedge clk) begin
        look_reg <= in_en;
        append_reg <= look_reg;
        valid_reg <= rd_en;
        if (rd_en) begin
            word_reg <= rd_word;
        end
        if (grant) begin
            buf_reg <= credit_buf;
        end
        if (rst) begin
            look_reg <= 1'b0;
            append_reg <= 1'b0;
            valid_reg <= 1'b0;
        end
    end

    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            // Stage 1: the row's entry
            wire [4*ENT_W-1:0]   entries = in_word[r*4*ENT_W +: 4*ENT_W];
            wire [ENT_W-1:0]     entry = entries[in_entry*ENT_W +: ENT_W];
            reg                  given_reg;
            reg [SLOT_W-1:0]     slot_reg;
            // Stage 2: its place in the buffer
            wire [KSLOT_W-1:0]   found = place[slot_reg*KSLOT_W +: KSLOT_W];
            reg                  hit_reg;
            reg [KSLOT_W-1:0]    place_reg;
            // Stage 3: append. The word under way has its first three entries here.
            reg [LEN_W-1:0]      length_reg;
            reg [3*KSLOT_W-1:0]  under_way_reg;
            wire                 append = append_reg && hit_reg;
            wire [1:0]           at = length_reg[1:0];
            wire [4*KSLOT_W-1:0] word;

            always @(posedge clk) begin
                if (in_en) begin
                    {given_reg, slot_reg} <= entry;
                end
                if (look_reg) begin
                    hit_reg <= given_reg && here_reg[slot_reg];
                    place_reg <= found;
                end
                if (append) begin
                    length_reg <= length_reg + 1'b1;
                    under_way_reg <= word[0 +: 3*KSLOT_W];
                end
                if (new_phase) begin
                    length_reg <= {LEN_W{1'b0}};
                end
            end

            // Every entry is written with those before it in its word, so that nothing is left
            // over at the end.
            wire [4*KSLOT_W-1:0] rd_entries;
            ram_1r1w #(
                .WIDTH(4 * KSLOT_W),
                .DEPTH(WORDS)
            ) list (
                .clk(clk),
                .wr_en(append),
                .wr_addr(length_reg[2 +: WORD_W]),
                .wr_data(word),
                .rd_en(rd_en),
                .rd_addr(rd_word[WORD_W-1:0]),
                .rd_data(rd_entries)
            );

            for (i = 0; i < 4; i = i + 1) begin : g_entry
                localparam [31:0] ENTRY = i;
                if (i == 3) begin : g_word
                    assign word[i*KSLOT_W +: KSLOT_W] = place_reg;
                end else begin : g_word
                    assign word[i*KSLOT_W +: KSLOT_W] =
                        at == ENTRY[1:0] ? place_reg : under_way_reg[i*KSLOT_W +: KSLOT_W];
                end

                // Behind the end of the list: what an earlier phase or nobody wrote
                wire valid = {1'b0, word_reg[WORD_W-1:0], ENTRY[1:0]} < length_reg;
                assign l_wr_data[(r*4+i)*KENT_W +: KENT_W] =
                    {valid, rd_entries[i*KSLOT_W +: KSLOT_W] & {KSLOT_W{valid}}};
            end
        end
    endgenerate

endmodule

`resetall
