// SPDX-License-Identifier: Apache-2.0
// Order of words, and exchange of the rows' states with the memory, for sofa_sads_sum.
//
// Why: while the rows work on a tile, the copies in their chains are stored, the states of the tile
// before (`old`), and filled for the tile after (`next`), SHARE steps for both. In step i row i of
// each group leaves the chain, and the state of row i of the next tile enters it. At a swap, which
// is the last step of a load or comes later, the next tile's states come into use and those of the
// current one into the chain.
// A tile whose place is in use or whose limits are not yet written waits for that, unless it starts
// a block. Without a tile to load, a tile that ends is swapped out and stored at once.
// After a final turn the steps follow the divider: one in DIV + 1 cycles, and no more than two
// rows are on their way to f.
// All pulses belong to the cycle in which a word enters the rows' stage s0; the other stages use
// them as much later as their words are.
// Not done here: what steps and swaps do, other fields of a turn (sofa_sads_sum.v).
// Timing: see sofa_sads_sum.v.
// Source: our decision.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_sum_ctl #(
    // Rows that share one limit and divider, power of two, 4..128.
    parameter SHARE = 16,
    // Places, 1..64.
    parameter PLACES = 6,
    // Words of masks that the output has room for, 2..7.
    parameter OUT_WORDS = 3,
    // Cycles of a division, or more, 4..7.
    parameter DIV = 4,
    // Bits of a row within its group. Derived: leave at its default.
    parameter STEP_W = $clog2(SHARE),
    // Bits of a place. Derived: leave at its default.
    parameter PLACE_W = PLACES > 1 ? $clog2(PLACES) : 1
) (
    input  wire               clk,
    input  wire               rst,

    // Next tile, taken by next_take
    input  wire               next_valid,
    input  wire [PLACE_W-1:0] next_place,
    input  wire               next_start,
    input  wire               next_count,
    input  wire               next_final,
    output wire               next_take,

    // Words; take: one enters s0; first: of its tile; count, final: of the current tile
    input  wire               s_valid,
    output wire               s_ready,
    input  wire               s_last,
    output wire               take,
    output wire               take_first,
    output wire               current_count,
    output wire               current_final,
    // A word of masks left the output
    input  wire               m_take,

    // A step of row step_row: its old state is stored, its next one loaded
    output wire               store,
    output wire               load,
    output wire [STEP_W-1:0]  step_row,
    output wire [PLACE_W-1:0] store_place,
    // The store is that of a block's end: T/P is wanted
    output wire               store_final,
    // Chains move; copies are exchanged, with next_take for states of the next tile
    output wire               shift,
    output wire               swap,

    // The limit of row 0 of a place was written; f of a row was taken
    input  wire               limit_done,
    input  wire [PLACE_W-1:0] limit_place,
    input  wire               f_take,

    // A word waits for the output
    output wire               ev_stall
);

    generate
        if (SHARE < 4 || SHARE > 128 || SHARE != (1 << $clog2(SHARE))) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_SHARE_needs_power_of_two_4_to_128 stop ();
        end else if (PLACES < 1 || PLACES > 64) begin : g_illegal
            illegal_parameter_PLACES_needs_1_to_64 stop ();
        end else if (OUT_WORDS < 2 || OUT_WORDS > 7) begin : g_illegal
            illegal_parameter_OUT_WORDS_needs_2_to_7 stop ();
        end else if (DIV < 4 || DIV > 7) begin : g_illegal
            illegal_parameter_DIV_needs_4_to_7 stop ();
        end else if (STEP_W != $clog2(SHARE)
                || PLACE_W != (PLACES > 1 ? $clog2(PLACES) : 1)) begin : g_illegal
            illegal_parameter_STEP_W_and_PLACE_W_are_derived stop ();
        end
    endgenerate

    localparam [31:0] LAST_ROW = SHARE - 1;
    localparam [31:0] CREDITS = OUT_WORDS;
    localparam [31:0] DIV_32 = DIV;

    // nothing to step, or waits until a store or load may begin
    localparam [1:0] S_WAIT = 2'd0;
    // stores the old tile, loads the next one, or both
    localparam [1:0] S_RUN = 2'd1;
    // next tile is loaded, waits for the end of the current one
    localparam [1:0] S_HELD = 2'd2;

    reg [1:0]         state_reg, state_next;
    reg [STEP_W-1:0]  row_reg, row_next;
    reg               load_reg, load_next;

    // Current tile: its states are in use; done: all its words came
    reg               current_reg, current_next;
    reg               done_reg, done_next;
    reg [PLACE_W-1:0] current_place_reg;
    reg               current_count_reg;
    reg               current_final_reg;
    reg               first_reg;

    // Old tile: its states are in the chain and not yet stored
    reg               old_reg, old_next;
    reg [PLACE_W-1:0] old_place_reg;
    reg               old_final_reg;

    // Places whose limits are on their way to the memory
    reg [PLACES-1:0]  late_reg;

    reg [2:0]         credit_reg, credit_next;
    reg               s_ready_reg;

    // Rows on their way to f; cycles until the next may follow
    reg [1:0]         owed_reg;
    reg [2:0]         pace_reg;

    // ---- Words ---------------------------------------------------------------------------------
    assign s_ready       = s_ready_reg;
    assign take          = s_valid && s_ready_reg;
    assign take_first    = first_reg;
    assign current_count = current_count_reg;
    assign current_final = current_final_reg;
    assign ev_stall      = s_valid && !s_ready_reg && current_reg && !done_reg;

    // The current tile is over at the end of this cycle.
    wire over = current_reg && (done_reg || (take && s_last));

    // ---- Steps ---------------------------------------------------------------------------------
    wire in_use = (current_reg && current_place_reg == next_place)
               || (old_reg && old_place_reg == next_place) || late_reg[next_place];
    wire may_load  = next_valid && (next_start || !in_use);
    wire may_store = old_reg && !late_reg[old_place_reg];
    wire begins    = state_reg == S_WAIT && (old_reg ? may_store : may_load);

    wire run_load  = state_reg == S_RUN ? load_reg : may_load;
    wire last_row  = row_reg == LAST_ROW[STEP_W-1:0];
    wire first_row = row_reg == {STEP_W{1'b0}};
    wire paced     = pace_reg == 3'd0 && !owed_reg[1] && !(owed_reg[0] && first_row);
    wire ripe      = !old_reg || !old_final_reg || paced;
    wire step      = (begins || state_reg == S_RUN) && ripe;

    assign store       = step && old_reg;
    assign load        = step && run_load;
    assign step_row    = row_reg;
    assign store_place = old_place_reg;
    assign store_final = old_final_reg;
    assign shift       = step && !last_row;

    // The last step is not the one that begins: what the next tile waits for is not in this path.
    wire loaded  = state_reg == S_HELD || (state_reg == S_RUN && load_reg && last_row && ripe);
    wire swap_in = loaded && (!current_reg || over);
    // Nothing to load: the tile that is over is stored at once.
    wire swap_out = state_reg == S_WAIT && !old_reg && !may_load && over;

    assign swap      = swap_in || swap_out;
    assign next_take = swap_in;

    always @* begin
        state_next   = state_reg;
        row_next     = row_reg;
        load_next    = run_load;
        current_next = current_reg;
        done_next    = over;
        old_next     = old_reg;
        credit_next  = credit_reg;

        if (step) begin
            row_next   = row_reg + 1'b1;
            state_next = S_RUN;
            if (last_row) begin
                old_next   = 1'b0;
                state_next = run_load ? S_HELD : S_WAIT;
                row_next   = run_load ? row_reg : {STEP_W{1'b0}};
            end
        end
        if (swap) begin
            state_next   = S_WAIT;
            row_next     = {STEP_W{1'b0}};
            old_next     = current_reg;
            current_next = swap_in;
            done_next    = 1'b0;
        end

        if (take && !current_count_reg && !m_take) begin
            credit_next = credit_reg - 3'd1;
        end else if (m_take && !(take && !current_count_reg)) begin
            credit_next = credit_reg + 3'd1;
        end
    end

    wire count_next = swap_in ? next_count : current_count_reg;

    always @(posedge clk) begin
        state_reg   <= state_next;
        row_reg     <= row_next;
        load_reg    <= load_next;
        current_reg <= current_next;
        done_reg    <= done_next;
        old_reg     <= old_next;
        credit_reg  <= credit_next;
        s_ready_reg <= current_next && !done_next && (count_next || credit_next != 3'd0);

        if (take) begin
            first_reg <= 1'b0;
        end
        if (swap) begin
            first_reg         <= 1'b1;
            current_place_reg <= next_place;
            current_count_reg <= next_count;
            current_final_reg <= next_final;
            old_place_reg     <= current_place_reg;
            old_final_reg     <= current_final_reg;
        end

        if (limit_done) begin
            late_reg[limit_place] <= 1'b0;
        end
        if (store && first_row) begin
            late_reg[old_place_reg] <= 1'b1;
        end

        owed_reg <= owed_reg + {1'b0, store && old_final_reg} - {1'b0, f_take};
        if (store && old_final_reg) begin
            pace_reg <= DIV_32[2:0];
        end else if (pace_reg != 3'd0) begin
            pace_reg <= pace_reg - 3'd1;
        end

        if (rst) begin
            state_reg   <= S_WAIT;
            row_reg     <= {STEP_W{1'b0}};
            current_reg <= 1'b0;
            done_reg    <= 1'b0;
            old_reg     <= 1'b0;
            late_reg    <= {PLACES{1'b0}};
            credit_reg  <= CREDITS[2:0];
            s_ready_reg <= 1'b0;
            owed_reg    <= 2'd0;
            pace_reg    <= 3'd0;
        end
    end

endmodule

`resetall
