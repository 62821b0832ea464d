// SPDX-License-Identifier: Apache-2.0
// Order of the work on a tile: lists in, census, and per phase shares, walk, lists out, hand-over.
//
// Why: a tile's keys must all be counted before the first is chosen, and all of a phase be chosen
// before its lists can be written.
// Not done here: everything that looks at keys.
// Latency: strobes are combinational from the state. Throughput: see rass.v.
// Source: docs/architecture.md section 10.3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module rass_ctl #(
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 32,
    // Key slots of a buffer, power of two, 4..BC_MAX/2.
    parameter KV_SLOTS = 16,
    // Bits of a list word number, of a count of keys of a buffer. Derived: leave at defaults.
    parameter WORD_W = $clog2(BC_MAX) - 2,
    parameter KCNT_W = $clog2(KV_SLOTS) + 1
) (
    input  wire              clk,
    input  wire              rst,

    // Tiles: it is taken, with so many pair steps
    input  wire              s_valid,
    output wire              s_ready,
    output wire              take,
    input  wire [7:0]        s_nsteps,

    // Tile's lists: read a word; it is there: for the matrix, or an entry of it for the filter
    output wire              list_rd,
    output wire [WORD_W-1:0] list_word,
    output wire              load_en,
    output wire              filter_en,
    output wire [1:0]        filter_entry,

    // Keys: census begins, census, a phase begins, the last key has come
    output wire              scan,
    output wire              census,
    output wire              start,
    input  wire              done,
    // Shares of the phase are not ready; no key waits; longest list of the phase
    input  wire              cap_busy,
    input  wire              last_phase,
    input  wire [KCNT_W-1:0] longest,

    // Phase's lists: a buffer is free, and taken; read a word
    input  wire              credit,
    output wire              grant,
    output wire              out_rd,
    output wire [3:0]        out_word,

    // The place of a phase is free, and taken; it is the tile's first; pair steps
    input  wire              emit_ok,
    output wire              emit,
    output wire              first,
    output wire [7:0]        nsteps,

    output wire              ev_busy,
    output wire              ev_stall
);

    generate
        if (BC_MAX < 8 || BC_MAX > 64 || (1 << $clog2(BC_MAX)) != BC_MAX
                || KV_SLOTS < 4 || KV_SLOTS > BC_MAX / 2 || (1 << $clog2(KV_SLOTS)) != KV_SLOTS
                || WORD_W != $clog2(BC_MAX) - 2 || KCNT_W != $clog2(KV_SLOTS) + 1) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_rass_ctl_needs_powers_of_2_KV_SLOTS_4_to_half_of_BC_MAX stop ();
        end
    endgenerate

    // Bits of a list position, 0..BC_MAX
    localparam POS_W = WORD_W + 3;

    // waits for a tile
    localparam [2:0] IDLE = 3'd0;
    // reads the tile's lists into the matrix
    localparam [2:0] LOAD = 3'd1;
    // every key passes once
    localparam [2:0] CENSUS = 3'd2;
    // waits for the shares of the phase
    localparam [2:0] SHARE = 3'd3;
    // keys pass until the phase is full
    localparam [2:0] WALK = 3'd4;
    // the tile's lists pass the rows; waits for a list buffer of the phase
    localparam [2:0] FILTER = 3'd5;
    // writes the lists of the phase
    localparam [2:0] OUT = 3'd6;
    // waits until the phase before was taken
    localparam [2:0] EMIT = 3'd7;

    reg [2:0]       state_reg, state_next;
    // Position of the tile's lists, word of the phase's
    reg [POS_W-1:0] pos_reg, pos_next;
    reg [3:0]       word_reg, word_next;
    reg             first_reg, first_next;
    // Positions of the tile's lists
    reg [POS_W-1:0] end_reg, end_next;
    reg             load_reg;
    // An entry is there; it is looked up
    reg             filter_reg, look_reg;
    reg [1:0]       entry_reg;

    // Positions go on by a word while the matrix is loaded, singly through the filter.
    wire [POS_W-1:0] pos_4 = pos_reg + {{(POS_W-3){1'b0}}, 3'd4};
    wire             pos_issue = state_reg == FILTER && pos_reg != end_reg;
    // The last entry is appended in this cycle at the latest.
    wire             filtered = state_reg == FILTER && !pos_issue && !filter_reg && !look_reg;

    // Pair steps and words of the phase: halves and quarters of the longest list, rounded up
    wire [KCNT_W-1:0] half = longest + 1'b1;
    wire [KCNT_W-1:0] quarter = longest + {{(KCNT_W-2){1'b0}}, 2'd3};
    wire [4:0]        words = {{(7-KCNT_W){1'b0}}, quarter[KCNT_W-1:2]};
    wire [4:0]        word_1 = {1'b0, word_reg} + 5'd1;
    wire              unused_round = &{1'b0, half[0], quarter[1:0]};
    wire              unused_nsteps = &{1'b0, s_nsteps[7:POS_W-1]};

    assign s_ready = state_reg == IDLE;
    assign take = s_ready && s_valid;
    assign list_rd = state_reg == LOAD || (pos_issue && pos_reg[1:0] == 2'd0);
    assign list_word = pos_reg[2 +: WORD_W];
    assign load_en = load_reg;
    assign filter_en = filter_reg;
    assign filter_entry = entry_reg;
    assign scan = state_reg == LOAD && pos_4 >= end_reg;
    assign census = state_reg == CENSUS;
    assign start = state_reg == SHARE && !cap_busy;
    assign grant = filtered && credit;
    assign out_rd = state_reg == OUT && words != 5'd0;
    assign out_word = word_reg;
    assign emit = state_reg == EMIT && emit_ok;
    assign first = first_reg;
    assign nsteps = {{(9-KCNT_W){1'b0}}, half[KCNT_W-1:1]};
    assign ev_stall = (filtered && !credit) || (state_reg == EMIT && !emit_ok);
    assign ev_busy = (state_reg != IDLE || s_valid) && !ev_stall;

    always @* begin
        state_next = state_reg;
        pos_next = pos_reg;
        word_next = word_reg;
        first_next = first_reg;
        end_next = end_reg;

        case (state_reg)
            IDLE: begin
                pos_next = {POS_W{1'b0}};
                first_next = 1'b1;
                end_next = {s_nsteps[POS_W-2:0], 1'b0};
                if (s_valid) begin
                    // A tile without keys: one phase without keys
                    state_next = s_nsteps == 8'd0 ? FILTER : LOAD;
                end
            end
            LOAD: begin
                pos_next = pos_4;
                if (scan) begin
                    state_next = CENSUS;
                end
            end
            CENSUS: begin
                if (done) begin
                    state_next = SHARE;
                end
            end
            SHARE: begin
                pos_next = {POS_W{1'b0}};
                if (start) begin
                    state_next = WALK;
                end
            end
            WALK: begin
                if (done) begin
                    state_next = FILTER;
                end
            end
            FILTER: begin
                word_next = 4'd0;
                if (pos_issue) begin
                    pos_next = pos_reg + 1'b1;
                end
                if (grant) begin
                    state_next = OUT;
                end
            end
            OUT: begin
                word_next = word_1[3:0];
                if (word_1 >= words) begin
                    state_next = EMIT;
                end
            end
            default: begin  // EMIT
                if (emit) begin
                    first_next = 1'b0;
                    state_next = last_phase ? IDLE : SHARE;
                end
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        pos_reg <= pos_next;
        word_reg <= word_next;
        first_reg <= first_next;
        end_reg <= end_next;
        load_reg <= state_reg == LOAD;
        filter_reg <= pos_issue;
        look_reg <= filter_reg;
        entry_reg <= pos_reg[1:0];

        if (rst) begin
            state_reg <= IDLE;
            load_reg <= 1'b0;
            filter_reg <= 1'b0;
            look_reg <= 1'b0;
        end
    end

endmodule

`resetall
