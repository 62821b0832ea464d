// SPDX-License-Identifier: Apache-2.0
// RASS of resident rows: every key that some row of a part wants, once a turn, with all its rows.
//
// Why: rows stay, keys pass by. What is read or made, and sent to the units, is a key; so masks
// that come block after block are put together into keys with the rows of all blocks of the part.
// A turn is a tile as it is worked on by all blocks of a part. Words of masks (m_*), ceil(n/4) for
// each block of the turn, four slots each, with the turn descriptor (sofa_turn.vh) of the block
// beside them; the last block has TILE_LAST. Items (p_*), in this order:
//     2  a KV head begins: before the first item after reset or after an item of kind 3;
//        p_shift_k, p_shift_v: shifts of its projection
//     0  a key: turn by turn in slot order, those that some row wants; p_mask has bit place*ROWS+r
//        where row r of the block in `place` wants it; p_kbase, p_vbase: addresses of key 0
//     1  end of a block: after the turn with FINAL, one for each block in the order of the blocks,
//        with its place, its number of rows, the addresses of its mean and of its output
//     3  the KV head ends: after the ends of a part whose last block has KVLAST
// Fields that a kind does not have are 0, but p_kbase = p_maddr, p_vbase = p_oaddr and {p_shift_v,
// p_shift_k} = p_key[11:0] in all items.
// Blocks of a turn have the same n, K0, KSTEP, KBASE, VBASE, shifts and FINAL, and places of their
// own. A counted turn does not come here, and KVNEW is not looked at, since a KV head may begin
// with one.
//
// Each place has a memory of masks for two turns, so that one read gives the masks of four slots
// of all places; one turn is filled while the other is read. Which slots anybody wants is gathered
// as the words come, so that words that nobody wants are not read. The ends of blocks wait in a
// queue of PLACES entries; m waits while it is full. A block keeps its place until it has ended, so
// that this holds up nothing that could be there.
//
// Latency: last word of a turn taken to p_valid of its first item 4 cycles, if that is wanted in
// the turn's first word; a word that nobody wants passes in a cycle, also while an item waits.
// Throughput: a word of masks each cycle, an item every other one, also across turns and parts.
// With M words of all blocks, and R cycles to read them, a turn takes the most of M, R and
// (M + R)/2 + 1 cycles: m waits while both turns are full. R: two for each slot that is wanted, one
// for a word of which none is; one less where such a word passes beside an item that waits, and for
// the first item of a turn that was waited for.
// Errors: none are found. More than PLACES blocks of a part, fewer or more words of one block than
// of another give wrong masks.
// Source: SOFA (MICRO 2024), RASS; docs/architecture.md 10.3. That no key is left for a later
// phase, and the order by slots, are ours: rows that are resident need no buffers of keys.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_turn.vh"

module sofa_rass #(
    // Query rows of a block, power of two, 4..128.
    parameter ROWS = 128,
    // Largest tile, slots, power of two, 8..64.
    parameter BC_MAX = 64,
    // Most blocks in residence, power of two, 2..8.
    parameter PLACES = 8,
    // Bits of a place. Derived: leave at its default.
    parameter PLACE_W = $clog2(PLACES)
) (
    input  wire                     clk,
    input  wire                     rst,

    // Words of masks: slot 4*w + j of row r in word w at bit j*ROWS + r; bits of rows and slots
    // that do not exist are 0. m_turn is stable from the first to the last word of a block
    input  wire                     m_valid,
    output wire                     m_ready,
    input  wire                     m_first,
    input  wire                     m_last,
    input  wire [4*ROWS-1:0]        m_mask,
    input  wire [`SOFA_TURN_W-1:0]  m_turn,

    // Items
    output wire                     p_valid,
    input  wire                     p_ready,
    output wire [1:0]               p_kind,
    output wire [16:0]              p_key,
    output wire [47:0]              p_kbase,
    output wire [47:0]              p_vbase,
    output wire [PLACES*ROWS-1:0]   p_mask,
    output wire [PLACE_W-1:0]       p_place,
    output wire [7:0]               p_rows,
    output wire [47:0]              p_maddr,
    output wire [47:0]              p_oaddr,
    output wire [5:0]               p_shift_k,
    output wire [5:0]               p_shift_v,

    // Events: an item waits; a key leaves
    output wire                     ev_stall,
    output wire                     ev_key
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_ROWS_needs_power_of_two_4_to_128 stop ();
        end else if (BC_MAX < 8 || BC_MAX > 64 || BC_MAX != (1 << $clog2(BC_MAX))) begin : g_illegal
            illegal_parameter_BC_MAX_needs_power_of_two_8_to_64 stop ();
        end else if (PLACES < 2 || PLACES > 8 || PLACES != (1 << $clog2(PLACES))) begin : g_illegal
            illegal_parameter_PLACES_needs_power_of_two_2_to_8 stop ();
        end else if (PLACE_W != $clog2(PLACES)) begin : g_illegal
            illegal_parameter_PLACE_W_is_derived stop ();
        end
    endgenerate

    localparam WORDS  = BC_MAX / 4;
    localparam WORD_W = $clog2(WORDS);
    // A word of one of two turns
    localparam ADDR_W = WORD_W + 1;
    // Rows whose wishes are joined in the first of two cycles
    localparam CHUNK  = ROWS < 8 ? ROWS : 8;
    localparam CHUNKS = ROWS / CHUNK;

    localparam [1:0] KEY  = 2'd0;
    localparam [1:0] END  = 2'd1;
    localparam [1:0] HEAD = 2'd2;
    localparam [1:0] TAIL = 2'd3;

    genvar i;
    genvar j;

    // ---- Words of masks come -------------------------------------------------------------------
    wire [7:0]         in_rows   = m_turn[`SOFA_TURN_ROWS];
    wire [16:0]        in_k0     = m_turn[`SOFA_TURN_K0];
    wire [16:0]        in_kstep  = m_turn[`SOFA_TURN_KSTEP];
    wire [2:0]         in_place3 = m_turn[`SOFA_TURN_PLACE];
    wire [PLACE_W-1:0] in_place  = in_place3[PLACE_W-1:0];
    wire               in_final  = m_turn[`SOFA_TURN_FINAL];
    wire               in_last   = m_turn[`SOFA_TURN_TILE_LAST];
    wire               in_kvlast = m_turn[`SOFA_TURN_KVLAST];
    wire [47:0]        in_kbase  = m_turn[`SOFA_TURN_KBASE];
    wire [47:0]        in_vbase  = m_turn[`SOFA_TURN_VBASE];
    wire [47:0]        in_maddr  = m_turn[`SOFA_TURN_MADDR];
    wire [47:0]        in_oaddr  = m_turn[`SOFA_TURN_OADDR];
    wire [5:0]         in_shift_k = m_turn[`SOFA_TURN_KG_SHIFT_K];
    wire [5:0]         in_shift_v = m_turn[`SOFA_TURN_KG_SHIFT_V];
    wire               unused_turn = &{1'b0, m_turn, in_place3};

    // The turn that is filled; whether the block is its first; its places
    reg                wr_half_reg;
    reg                wr_new_reg;
    reg  [WORD_W-1:0]  wr_word_reg;
    reg  [PLACES-1:0]  wr_places_reg;
    // Turns that are complete
    reg  [1:0]         full_reg, full_next, filled;
    // The turn that is filled is not complete; one that was read counts a cycle longer
    reg                room_reg;

    wire               end_ready;
    wire               take      = m_valid && m_ready;
    wire               take_end  = take && m_last && in_final;
    wire               take_turn = take && m_last && in_last;
    wire [WORD_W-1:0]  wr_word   = m_first ? {WORD_W{1'b0}} : wr_word_reg;
    wire [PLACES-1:0]  in_hot    = {{PLACES-1{1'b0}}, 1'b1} << in_place;
    wire [PLACES-1:0]  wr_places = in_hot | (wr_new_reg ? {PLACES{1'b0}} : wr_places_reg);

    assign m_ready = room_reg && end_ready;

    // What the keys of a turn have in common
    localparam DESC_W = 1 + WORD_W + PLACES + 17 + 17 + 48 + 48 + 12;
    reg  [DESC_W-1:0]  desc_0_reg, desc_1_reg;
    wire [DESC_W-1:0]  in_desc = {in_final, wr_word, wr_places, in_k0, in_kstep, in_kbase,
                                  in_vbase, in_shift_v, in_shift_k};

    // Wishes: chunks of rows; then slots, and the wishes of blocks before
    wire [4*CHUNKS-1:0] chunk_some;
    reg  [4*CHUNKS-1:0] chunk_reg;
    reg                 join_reg;
    reg                 join_new_reg;
    reg                 join_turn_reg;
    reg  [ADDR_W-1:0]   join_addr_reg;
    wire [3:0]          join_some;
    reg  [8*WORDS-1:0]  want_reg;
    wire [3:0]          join_old = want_reg[{join_addr_reg, 2'b00} +: 4];

    generate
        for (j = 0; j < 4; j = j + 1) begin : g_slot
            for (i = 0; i < CHUNKS; i = i + 1) begin : g_chunk
                assign chunk_some[j*CHUNKS+i] = |m_mask[j*ROWS+i*CHUNK +: CHUNK];
            end
            assign join_some[j] = |chunk_reg[j*CHUNKS +: CHUNKS];
        end
    endgenerate

    always @(posedge clk) begin
        chunk_reg     <= chunk_some;
        join_reg      <= take;
        join_new_reg  <= wr_new_reg;
        join_turn_reg <= take_turn;
        join_addr_reg <= {wr_half_reg, wr_word};

        if (join_reg) begin
            want_reg[{join_addr_reg, 2'b00} +: 4] <= join_some | (join_new_reg ? 4'd0 : join_old);
        end
        if (take) begin
            wr_word_reg <= wr_word + 1'b1;
        end
        if (take && m_last) begin
            wr_places_reg <= wr_places;
            wr_new_reg    <= in_last;
        end
        if (take_turn) begin
            wr_half_reg <= !wr_half_reg;
            if (wr_half_reg) begin
                desc_1_reg <= in_desc;
            end else begin
                desc_0_reg <= in_desc;
            end
        end

        if (rst) begin
            wr_half_reg   <= 1'b0;
            wr_new_reg    <= 1'b1;
            join_reg      <= 1'b0;
            join_turn_reg <= 1'b0;
        end
    end

    // ---- Ends of blocks ------------------------------------------------------------------------
    localparam END_W = 1 + 1 + PLACE_W + 8 + 48 + 48;

    wire                          end_valid;
    wire                          end_take;
    wire                          end_last;
    wire                          end_kvlast;
    wire [PLACE_W-1:0]            end_place;
    wire [7:0]                    end_rows;
    wire [47:0]                   end_maddr;
    wire [47:0]                   end_oaddr;
    wire [$clog2(PLACES+1)-1:0]   unused_level;

    sofa_sync_fifo #(
        .WIDTH (END_W),
        .DEPTH (PLACES)
    ) end_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (take_end),
        .s_ready (end_ready),
        .s_data  ({in_last, in_kvlast, in_place, in_rows, in_maddr, in_oaddr}),
        .m_valid (end_valid),
        .m_ready (end_take),
        .m_data  ({end_last, end_kvlast, end_place, end_rows, end_maddr, end_oaddr}),
        .level   (unused_level)
    );

    // ---- Order of the items --------------------------------------------------------------------
    localparam [2*WORDS-1:0] FIRST = 1;
    localparam [1:0] S_KEYS = 2'd0;
    localparam [1:0] S_ENDS = 2'd1;
    localparam [1:0] S_TAIL = 2'd2;

    reg  [1:0]         state_reg, state_next;
    // The next item is the first of a KV head
    reg                fresh_reg, fresh_next;
    // The turn that is read, its word, slots of the word that have left
    reg                half_reg, half_next;
    reg  [WORD_W-1:0]  word_reg, word_next;
    // Both one-hot: they choose wishes, sooner than numbers do
    reg  [2*WORDS-1:0] hot_reg, hot_next;
    // unreached toggle: the last key of a word ends it
    reg  [3:0]         done_reg, done_next;
    // Key of the word's first slot, from the second word on; the word is not the first
    reg  [16:0]        base_reg;
    reg                later_reg;

    wire               final_turn;
    wire [WORD_W-1:0]  last_word;
    wire [PLACES-1:0]  places;
    wire [16:0]        k0, kstep;
    wire [47:0]        kbase, vbase;
    wire [11:0]        shifts;

    assign {final_turn, last_word, places, k0, kstep, kbase, vbase, shifts} =
        half_reg ? desc_1_reg : desc_0_reg;

    wire [ADDR_W-1:0]  rd_addr = {half_reg, word_reg};
    wire [3:0]         wished;
    wire [3:0]         left    = wished & ~done_reg;
    wire [3:0]         lane    = {left[3] && left[2:0] == 3'd0, left[2] && left[1:0] == 2'd0,
                                  left[1] && !left[0], left[0]};
    wire               more    = (left & ~lane) != 4'd0;
    wire [16:0]        base    = later_reg ? base_reg : k0;

    generate
        for (j = 0; j < 4; j = j + 1) begin : g_wish
            wire [2*WORDS-1:0] of_word;
            for (i = 0; i < 2 * WORDS; i = i + 1) begin : g_word
                assign of_word[i] = want_reg[4*i+j] && hot_reg[i];
            end
            assign wished[j] = |of_word;
        end
    endgenerate

    // An item is given to the memories' stage
    reg                give;
    wire               at_keys = state_reg == S_KEYS;
    wire               at_ends = state_reg == S_ENDS;
    wire [1:0]         kind = at_keys ? (fresh_reg ? HEAD : KEY) : at_ends ? END : TAIL;
    wire               b_ready;
    reg                word_done;
    reg                turn_done;

    assign end_take = state_reg == S_ENDS && b_ready;

    always @* begin
        state_next = state_reg;
        fresh_next = fresh_reg;
        half_next  = half_reg;
        word_next  = word_reg;
        hot_next   = hot_reg;
        done_next  = done_reg;
        give       = 1'b0;
        word_done  = 1'b0;
        turn_done  = 1'b0;

        case (state_reg)
            S_KEYS: begin
                if (full_reg[half_reg] && fresh_reg) begin
                    give       = 1'b1;
                    fresh_next = !b_ready;
                end else if (full_reg[half_reg]) begin
                    give      = left != 4'd0;
                    word_done = !more && (b_ready || left == 4'd0);
                    turn_done = word_done && word_reg == last_word;
                    if (word_done) begin
                        done_next = 4'd0;
                        word_next = turn_done ? {WORD_W{1'b0}} : word_reg + 1'b1;
                        hot_next  = !turn_done ? {hot_reg[2*WORDS-2:0], 1'b0}
                                               : half_reg ? FIRST : FIRST << WORDS;
                    end else if (b_ready) begin
                        done_next = done_reg | lane;
                    end
                    if (turn_done) begin
                        half_next  = !half_reg;
                        state_next = final_turn ? S_ENDS : S_KEYS;
                    end
                end
            end
            S_ENDS: begin
                give = end_valid;
                if (end_valid && end_last && b_ready) begin
                    state_next = end_kvlast ? S_TAIL : S_KEYS;
                end
            end
            default: begin
                give = 1'b1;
                if (b_ready) begin
                    fresh_next = 1'b1;
                    state_next = S_KEYS;
                end
            end
        endcase

        filled = full_reg;
        if (join_turn_reg) begin
            filled[join_addr_reg[ADDR_W-1]] = 1'b1;
        end
        full_next = filled;
        if (turn_done) begin
            full_next[half_reg] = 1'b0;
        end
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        fresh_reg <= fresh_next;
        half_reg  <= half_next;
        word_reg  <= word_next;
        hot_reg   <= hot_next;
        done_reg  <= done_next;
        full_reg  <= full_next;
        room_reg  <= !filled[wr_half_reg ^ take_turn];
        if (word_done) begin
            base_reg  <= base + {kstep[14:0], 2'b00};
            later_reg <= !turn_done;
        end

        if (rst) begin
            state_reg <= S_KEYS;
            fresh_reg <= 1'b1;
            half_reg  <= 1'b0;
            word_reg  <= {WORD_W{1'b0}};
            hot_reg   <= FIRST;
            later_reg <= 1'b0;
            done_reg  <= 4'd0;
            full_reg  <= 2'b00;
            room_reg  <= 1'b1;
        end
    end

    // ---- Memories: one for each place ----------------------------------------------------------
    reg                b_valid_reg;
    reg  [1:0]         b_kind_reg;
    // Slot of the word, none where the item is no key; places of the turn
    reg  [3:0]         b_lane_reg;
    reg  [PLACES-1:0]  b_places_reg;
    // Key of the word's first slot, or shifts of a KV head; step from slot to slot
    reg  [16:0]        b_base_reg, b_step_reg;
    // Addresses of key 0, or of the block's mean and output
    reg  [47:0]        b_addr_0_reg, b_addr_1_reg;
    reg  [PLACE_W-1:0] b_place_reg;
    reg  [7:0]         b_rows_reg;

    wire [PLACES*ROWS-1:0] mask;
    wire               is_key  = kind == KEY;
    wire               is_end  = kind == END;
    wire               is_head = kind == HEAD;
    // Whether the word has a slot left is not waited for: what is read else is not used.
    wire               rd_en   = b_ready && state_reg == S_KEYS && full_reg[half_reg];

    generate
        for (i = 0; i < PLACES; i = i + 1) begin : g_place
            localparam [PLACE_W-1:0] PLACE = i;
            wire [4*ROWS-1:0] rd_data;

            sofa_ram_1r1w #(
                .WIDTH  (4 * ROWS),
                .DEPTH  (2 * WORDS),
                .ADDR_W (ADDR_W)
            ) mask_inst (
                .clk     (clk),
                .wr_en   (take && in_place == PLACE),
                .wr_addr ({wr_half_reg, wr_word}),
                .wr_data (m_mask),
                .rd_en   (rd_en),
                .rd_addr (rd_addr),
                .rd_data (rd_data)
            );

            assign mask[i*ROWS +: ROWS] = {ROWS{b_places_reg[i]}}
                & (({ROWS{b_lane_reg[0]}} & rd_data[0*ROWS +: ROWS])
                 | ({ROWS{b_lane_reg[1]}} & rd_data[1*ROWS +: ROWS])
                 | ({ROWS{b_lane_reg[2]}} & rd_data[2*ROWS +: ROWS])
                 | ({ROWS{b_lane_reg[3]}} & rd_data[3*ROWS +: ROWS]));
        end
    endgenerate

    always @(posedge clk) begin
        // Whether there is an item is known late: what is taken without one is not used.
        if (b_ready) begin
            b_valid_reg  <= give;
            b_kind_reg   <= kind;
            b_lane_reg   <= lane & {4{is_key}};
            b_places_reg <= places & {PLACES{is_key}};
            b_base_reg   <= is_head ? {5'd0, shifts} : base & {17{is_key}};
            b_step_reg   <= kstep;
            b_addr_0_reg <= ({48{is_key}} & kbase) | ({48{is_end}} & end_maddr);
            b_addr_1_reg <= ({48{is_key}} & vbase) | ({48{is_end}} & end_oaddr);
            b_place_reg  <= {PLACE_W{is_end}} & end_place;
            b_rows_reg   <= {8{is_end}} & end_rows;
        end

        if (rst) begin
            b_valid_reg <= 1'b0;
        end
    end

    // ---- Output registers ----------------------------------------------------------------------
    reg                    p_valid_reg;
    reg  [1:0]             p_kind_reg;
    reg  [16:0]            p_key_reg;
    reg  [PLACES*ROWS-1:0] p_mask_reg;
    reg  [47:0]            p_addr_0_reg, p_addr_1_reg;
    reg  [PLACE_W-1:0]     p_place_reg;
    reg  [7:0]             p_rows_reg;

    // An item behind another waits for a cycle, since a key takes two cycles and more at the units:
    // what p_ready depends on ends here.
    wire                   c_ready = !p_valid_reg;
    // How far the key lies behind the word's first slot
    wire [16:0]            once  = b_step_reg & {17{b_lane_reg[1] || b_lane_reg[3]}};
    wire [15:0]            twice = b_step_reg[15:0] & {16{b_lane_reg[2] || b_lane_reg[3]}};

    assign b_ready = c_ready || !b_valid_reg;

    always @(posedge clk) begin
        p_valid_reg <= c_ready ? b_valid_reg : !p_ready;
        if (c_ready && b_valid_reg) begin
            p_kind_reg   <= b_kind_reg;
            p_key_reg    <= b_base_reg + once + {twice, 1'b0};
            p_mask_reg   <= mask;
            p_addr_0_reg <= b_addr_0_reg;
            p_addr_1_reg <= b_addr_1_reg;
            p_place_reg  <= b_place_reg;
            p_rows_reg   <= b_rows_reg;
        end

        if (rst) begin
            p_valid_reg <= 1'b0;
        end
    end

    assign p_valid = p_valid_reg;
    assign p_kind  = p_kind_reg;
    assign p_key   = p_key_reg;
    assign p_mask  = p_mask_reg;
    assign p_place = p_place_reg;
    assign p_rows  = p_rows_reg;
    // No item has both.
    assign p_kbase = p_addr_0_reg;
    assign p_vbase = p_addr_1_reg;
    assign p_maddr = p_addr_0_reg;
    assign p_oaddr = p_addr_1_reg;
    assign {p_shift_v, p_shift_k} = p_key_reg[11:0];

    assign ev_stall = p_valid_reg && !p_ready;
    assign ev_key   = p_valid_reg && p_ready && p_kind_reg == KEY;

endmodule

`resetall
