// SPDX-License-Identifier: Apache-2.0
// SADS by sorting: of each tile a row takes its `quota` best keys, none of them further than
// `radius` below the best key that the row has seen in its block.
//
// Why: SOFA's way of selecting. The scores of a tile wait in one of two buffers, so that a tile is
// sorted while the next one arrives, and the masks of the one before leave. A pass over the words
// of a tile, 12 slots a cycle, gives every row its next four slots, best first, equal scores in
// slot order. Passes end when the quota is reached, when all slots were looked at, or when no row
// took four. What a row has taken then leaves as words of masks.
// Scores come in words of four slots; three memories side by side hold them, so that 12 are read.
// The rows' maxima belong to the block; those of the blocks that wait lie in a memory, a word for
// each place.
// Turns (t_*): place; start, final: first, last turn of the block; n, rows, causal, rel, kstep,
// window: row r may use slot b iff b < n, r < rows and (not causal or rel + b*kstep <= r) and
// (window = 0 or rel + b*kstep + window > r); radius, 2^SC_W - 1: no limit. A turn
// comes any time before the tile is sorted, in the order of the tiles.
// f (f_*): a block's end, SHARE words whose data are 1; while two wait, a third block's last tile
// waits too.
// Not done here: the sort itself (sofa_sads_core.v), what a row keeps (sofa_sads_sort_row.v).
// Latency, cycles, with W = ceil(n/12) and P passes, ceil(min(quota, n)/4) at most: the last word
// of a tile is taken to m_valid P*(W+6) + 4, where it need not wait for the tile before.
// Throughput: a tile every P*(W+6) + 3 cycles, or every ceil(n/4) if that is more.
// Errors: none are found; a quota of 0 takes nothing.
// Source: SOFA (MICRO 2024), SADS; docs/architecture.md section 5.3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_sort #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 128,
    // Slots of a tile, power of two, 8..64.
    parameter BC_MAX = 64,
    // Bits of a signed score, 4..32.
    parameter SC_W = 17,
    // Blocks whose rows' maxima are kept, 2..64.
    parameter PLACES = 8,
    // Words of f of a block, power of two, 4..ROWS.
    parameter SHARE = 16,
    // Bits of a place. Derived: leave at its default.
    parameter PLACE_W = $clog2(PLACES)
) (
    input  wire                     clk,
    input  wire                     rst,

    // Keys that a row may take of a tile; static during a job
    input  wire [7:0]               cfg_quota,

    // Turns
    input  wire                     t_valid,
    output wire                     t_ready,
    input  wire [PLACE_W-1:0]       t_place,
    input  wire                     t_start,
    input  wire                     t_final,
    input  wire [7:0]               t_n,
    input  wire [7:0]               t_rows,
    input  wire                     t_causal,
    input  wire [24:0]              t_rel,
    input  wire [23:0]              t_kstep,
    input  wire [23:0]              t_window,
    input  wire [SC_W-1:0]          t_radius,

    // Words of scores: slot 4*w + j of row r in word w at index r*4 + j; ceil(n/4) words
    input  wire                     s_valid,
    output wire                     s_ready,
    input  wire                     s_last,
    input  wire [ROWS*4*SC_W-1:0]   s_scores,

    // Words of masks: slot 4*w + j of row r in word w at bit j*ROWS + r
    output wire                     m_valid,
    input  wire                     m_ready,
    output wire                     m_first,
    output wire                     m_last,
    output wire [4*ROWS-1:0]        m_mask,

    // Words of f
    output wire                     f_valid,
    input  wire                     f_ready,
    output wire                     f_last,
    output wire [$clog2(SHARE)-1:0] f_word,
    output wire [PLACE_W-1:0]       f_place,

    // Events: a tile is sorted; a sorted tile waits for the output
    output wire                     ev_busy,
    output wire                     ev_stall
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_ROWS_needs_power_of_two_4_to_128 stop ();
        end else if (BC_MAX < 8 || BC_MAX > 64 || BC_MAX != (1 << $clog2(BC_MAX))) begin : g_illegal
            illegal_parameter_BC_MAX_needs_power_of_two_8_to_64 stop ();
        end else if (SC_W < 4 || SC_W > 32) begin : g_illegal
            illegal_parameter_SC_W_needs_4_to_32 stop ();
        end else if (PLACES < 2 || PLACES > 64) begin : g_illegal
            illegal_parameter_PLACES_needs_2_to_64 stop ();
        end else if (SHARE < 4 || SHARE > ROWS || SHARE != (1 << $clog2(SHARE))) begin : g_illegal
            illegal_parameter_SHARE_needs_power_of_two_4_to_ROWS stop ();
        end else if (PLACE_W != $clog2(PLACES)) begin : g_illegal
            illegal_parameter_PLACE_W_is_derived stop ();
        end
    endgenerate

    localparam SLOT_W = $clog2(BC_MAX);
    // Words of 12 slots of a full tile
    localparam WORDS = (BC_MAX + 11) / 12;
    // Bits of a word number, wide enough for the words of both buffers
    localparam WORD_W = $clog2(2 * WORDS);
    localparam STEP_W = $clog2(SHARE);
    localparam [31:0] SECOND = WORDS;
    localparam [31:0] LAST_WORD = SHARE - 1;
    localparam [31:0] ONE = 1;
    // Bits of a row's scores in a memory
    localparam ROW_W = 4 * SC_W;
    localparam TURN_W = PLACE_W + 2 + 8 + 8 + 1 + 25 + 24 + 24 + SC_W;

    // ---- Turns ---------------------------------------------------------------------------------
    // The front one leaves when its tile has begun.
    wire               turn_valid;
    wire               tile_done;
    wire [PLACE_W-1:0] place;
    wire               start;
    wire               final_turn;
    wire [7:0]         n;
    wire [7:0]         rows;
    wire               causal;
    wire [24:0]        rel;
    wire [23:0]        kstep;
    wire [23:0]        window;
    wire [SC_W-1:0]    radius;
    wire [1:0]         unused_level;

    sofa_sync_fifo #(
        .WIDTH(TURN_W),
        .DEPTH(3)
    ) turn_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid),
        .s_ready (t_ready),
        .s_data  ({t_place, t_start, t_final, t_n, t_rows, t_causal, t_rel, t_kstep, t_window,
                   t_radius}),
        .m_valid (turn_valid),
        .m_ready (load_reg),
        .m_data  ({place, start, final_turn, n, rows, causal, rel, kstep, window, radius}),
        .level   (unused_level)
    );

    // ---- Score buffers -------------------------------------------------------------------------
    // The side which fills and the side which sorts take the two buffers in turn. Word w of four
    // slots lies in memory w mod 3.
    reg              wr_buf_reg;
    reg [WORD_W-1:0] wr_word_reg;
    reg [1:0]        wr_third_reg;
    reg              rd_buf_reg;
    reg [1:0]        full_reg;
    // The one that is filled has room
    reg              room_reg;
    reg [WORD_W-1:0] last0_reg;
    reg [WORD_W-1:0] last1_reg;

    wire       s_take      = s_valid && s_ready;
    wire       s_take_last = s_take && s_last;
    wire [1:0] fill        = {s_take_last && wr_buf_reg, s_take_last && !wr_buf_reg};
    wire [1:0] free        = {tile_done && rd_buf_reg, tile_done && !rd_buf_reg};

    // The buffer that the next word goes to
    wire       wr_buf      = wr_buf_reg ^ s_take_last;

    assign s_ready = room_reg;

    wire [WORD_W-1:0] last_word = rd_buf_reg ? last1_reg : last0_reg;
    wire [WORD_W-1:0] wr_start  = wr_buf_reg ? SECOND[WORD_W-1:0] : {WORD_W{1'b0}};
    wire [WORD_W-1:0] rd_start  = rd_buf_reg ? SECOND[WORD_W-1:0] : {WORD_W{1'b0}};
    wire [WORD_W-1:0] wr_addr   = wr_start + wr_word_reg;
    wire              rd_en;
    wire [WORD_W-1:0] rd_addr;
    wire [3*ROWS*ROW_W-1:0] rd_scores;

    genvar k;
    generate
        for (k = 0; k < 3; k = k + 1) begin : g_third
            localparam [1:0] THIRD = k;

            sofa_ram_1r1w #(
                .WIDTH  (ROWS * ROW_W),
                .DEPTH  (2 * WORDS),
                .ADDR_W (WORD_W)
            ) scores_inst (
                .clk     (clk),
                .wr_en   (s_take && wr_third_reg == THIRD),
                .wr_addr (wr_addr),
                .wr_data (s_scores),
                .rd_en   (rd_en),
                .rd_addr (rd_addr),
                .rd_data (rd_scores[k*ROWS*ROW_W +: ROWS*ROW_W])
            );
        end
    endgenerate

    always @(posedge clk) begin
        if (s_take) begin
            wr_third_reg <= (s_last || wr_third_reg == 2'd2) ? 2'd0 : wr_third_reg + 2'd1;
            if (s_last) begin
                wr_word_reg <= {WORD_W{1'b0}};
            end else if (wr_third_reg == 2'd2) begin
                wr_word_reg <= wr_word_reg + 1'b1;
            end
        end
        if (s_take_last) begin
            wr_buf_reg <= !wr_buf_reg;
        end
        if (fill[0]) begin
            last0_reg <= wr_word_reg;
        end
        if (fill[1]) begin
            last1_reg <= wr_word_reg;
        end
        if (tile_done) begin
            rd_buf_reg <= !rd_buf_reg;
        end
        full_reg <= (full_reg | fill) & ~free;
        room_reg <= !full_reg[wr_buf] || (tile_done && rd_buf_reg == wr_buf);

        if (rst) begin
            wr_third_reg <= 2'd0;
            wr_word_reg  <= {WORD_W{1'b0}};
            wr_buf_reg   <= 1'b0;
            rd_buf_reg   <= 1'b0;
            full_reg     <= 2'b00;
            room_reg     <= 1'b1;
        end
    end

    // ---- Control -------------------------------------------------------------------------------
    // waits for a full score buffer and its turn
    localparam [1:0] S_IDLE = 2'd0;
    // passes over the tile
    localparam [1:0] S_SCAN = 2'd1;
    // the tile is sorted, and leaves when the output has room
    localparam [1:0] S_HELD = 2'd2;

    reg [1:0]        state_reg, state_next;
    reg              issue_reg, issue_next;
    reg [WORD_W-1:0] word_reg, word_next;
    // Keys that a row may still take
    reg [7:0]        left_reg, left_next;
    // Entries of this pass that they leave room for
    reg [3:0]        quota_reg;
    reg              load_reg;
    // The turn at work. One radius for each quarter of the rows, loaded in different cycles or from
    // each other, so that no synthesis makes a single register with all of the load of them
    reg [PLACE_W-1:0] place_reg;
    reg               start_reg;
    reg               final_reg;
    reg [7:0]         n_reg;
    reg [SC_W-1:0]    radius0_reg;
    reg [SC_W-1:0]    radius1_reg;
    reg [SC_W-1:0]    radius2_reg;
    reg [SC_W-1:0]    radius3_reg;

    // Stages of the pipeline: bit i is high while the stage si of the rows works on a word; s6 is
    // the cycle in which the next pass is decided.
    reg [6:0]          en_reg;
    reg [4:0]          last_reg;
    reg [4:0]          first_reg;
    reg [4*SLOT_W-1:0] base_reg;
    reg [WORD_W-1:0]   s0_word_reg;

    wire              load = state_reg == S_IDLE && full_reg[rd_buf_reg] && turn_valid;
    wire [ROWS-1:0]   row_full;
    wire              another = en_reg[6] && |row_full && left_reg != 8'd0;
    wire              sorted = state_reg == S_HELD;
    wire              issue = issue_reg || another;
    wire              issue_first = word_reg == {WORD_W{1'b0}};
    wire              issue_last = word_reg == last_word;
    wire [SLOT_W-1:0] base;

    // Output: words of masks of the tile before, and room for the end of a block
    reg       m_valid_reg;
    reg       m_first_reg;
    reg [3:0] m_left_reg;
    wire      m_take = m_valid_reg && m_ready;
    wire      f_room;

    assign m_valid = m_valid_reg;
    assign m_first = m_first_reg;
    assign m_last  = m_left_reg == 4'd0;

    assign tile_done = sorted && (!m_valid_reg || (m_take && m_last)) && (!final_reg || f_room);
    assign ev_busy   = load || (state_reg != S_IDLE && !ev_stall);
    assign ev_stall  = sorted && !tile_done;

    always @* begin
        state_next = state_reg;
        issue_next = issue_reg;
        word_next  = word_reg;
        left_next  = left_reg;

        if (issue) begin
            issue_next = !issue_last;
            word_next  = issue_last ? {WORD_W{1'b0}} : word_reg + 1'b1;
        end
        if (en_reg[5]) begin
            left_next = (left_reg > 8'd4) ? left_reg - 8'd4 : 8'd0;
        end

        case (state_reg)
            S_IDLE: begin
                word_next = {WORD_W{1'b0}};
                left_next = (n < cfg_quota) ? n : cfg_quota;
                if (load) begin
                    issue_next = 1'b1;
                    state_next = S_SCAN;
                end
            end
            default: begin  // S_SCAN, S_HELD
                // Whether any of all rows is full is known late; only the state waits for it.
                if (tile_done) begin
                    state_next = S_IDLE;
                end else if (en_reg[6] && !another) begin
                    state_next = S_HELD;
                end
            end
        endcase
    end

    // Words of masks less one
    wire [7:0] behind = n_reg - 8'd1;
    wire       unused_behind = &{1'b0, behind[7:6], behind[1:0]};

    always @(posedge clk) begin
        state_reg <= state_next;
        issue_reg <= issue_next;
        word_reg  <= word_next;
        left_reg  <= left_next;
        quota_reg <= {left_next > 8'd3, left_next > 8'd2, left_next > 8'd1, left_next > 8'd0};
        load_reg  <= load;
        if (load) begin
            place_reg   <= place;
            start_reg   <= start;
            final_reg   <= final_turn;
            n_reg       <= n;
            radius0_reg <= radius;
        end
        if (load_reg) begin
            radius1_reg <= radius;
            radius2_reg <= radius0_reg;
        end
        if (en_reg[0]) begin
            radius3_reg <= radius1_reg;
        end

        en_reg      <= {en_reg[5], en_reg[4] && last_reg[4], en_reg[3:0], issue};
        last_reg    <= {last_reg[3:0], issue_last};
        first_reg   <= {first_reg[3:0], issue_first};
        base_reg    <= {base_reg[3*SLOT_W-1:0], base};
        s0_word_reg <= word_reg;

        if (m_take) begin
            m_first_reg <= 1'b0;
            m_left_reg  <= m_left_reg - 4'd1;
            m_valid_reg <= !m_last;
        end
        if (tile_done) begin
            m_first_reg <= 1'b1;
            m_left_reg  <= behind[5:2];
            m_valid_reg <= 1'b1;
        end

        if (rst) begin
            state_reg   <= S_IDLE;
            issue_reg   <= 1'b0;
            load_reg    <= 1'b0;
            en_reg      <= 7'd0;
            m_valid_reg <= 1'b0;
        end
    end

    assign rd_en   = issue;
    assign rd_addr = rd_start + word_reg;

    // ---- Masks ---------------------------------------------------------------------------------
    wire [12*ROWS-1:0] allow;

    sofa_sads_sort_mask #(
        .ROWS   (ROWS),
        .SLOT_W (SLOT_W)
    ) mask_inst (
        .clk         (clk),
        .load        (load),
        .load_n      (n),
        .load_rows   (rows),
        .load_causal (causal),
        .load_rel    (rel),
        .load_kstep  (kstep),
        .load_window (window),
        .step        (issue),
        .wrap        (issue_last),
        .base        (base),
        .allow       (allow)
    );

    wire [WORDS-1:0] s0_word = ONE[WORDS-1:0] << s0_word_reg;

    // ---- Rows' maxima --------------------------------------------------------------------------
    wire [ROWS*SC_W-1:0] max_old;
    wire [ROWS*SC_W-1:0] max_new;

    sofa_ram_1r1w #(
        .WIDTH  (ROWS * SC_W),
        .DEPTH  (PLACES),
        .ADDR_W (PLACE_W)
    ) max_inst (
        .clk     (clk),
        .wr_en   (tile_done),
        .wr_addr (place_reg),
        .wr_data (max_new),
        .rd_en   (load),
        .rd_addr (place),
        .rd_data (max_old)
    );

    // ---- Rows ----------------------------------------------------------------------------------
    genvar r, j;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            wire [11:0]        row_allow;
            wire [12*SC_W-1:0] row_scores;
            wire [3:0]         row_mask;

            for (j = 0; j < 12; j = j + 1) begin : g_lane
                assign row_allow[j] = allow[j*ROWS + r];
            end
            for (j = 0; j < 3; j = j + 1) begin : g_scores
                assign row_scores[j*ROW_W +: ROW_W] = rd_scores[(j*ROWS+r)*ROW_W +: ROW_W];
            end
            for (j = 0; j < 4; j = j + 1) begin : g_mask
                assign m_mask[j*ROWS + r] = row_mask[j];
            end

            sofa_sads_sort_row #(
                .SC_W   (SC_W),
                .BC_MAX (BC_MAX)
            ) row_inst (
                .clk       (clk),
                .clear     (load),
                .max_load  (load_reg),
                .max_in    (max_old[r*SC_W +: SC_W] & {SC_W{!start_reg}}),
                .max_out   (max_new[r*SC_W +: SC_W]),
                .s0_en     (en_reg[0]),
                .s0_scores (row_scores),
                .s0_allow  (row_allow),
                .s0_word   (s0_word),
                .s1_en     (en_reg[1]),
                .s2_en     (en_reg[2]),
                .s3_en     (en_reg[3]),
                .s3_base   (base_reg[3*SLOT_W +: SLOT_W]),
                .s4_en     (en_reg[4]),
                .s4_first  (first_reg[4]),
                .s5_en     (en_reg[5]),
                .s5_room   (quota_reg),
                .radius    (r < ROWS / 4 ? radius0_reg : r < ROWS / 2 ? radius1_reg
                            : r < 3 * ROWS / 4 ? radius2_reg : radius3_reg),
                .full      (row_full[r]),
                .out_load  (tile_done),
                .out_step  (m_take),
                .out_mask  (row_mask)
            );
        end
    endgenerate

    // ---- Ends of blocks ------------------------------------------------------------------------
    reg [STEP_W-1:0] f_word_reg;
    wire             f_take = f_valid && f_ready;
    wire [1:0]       unused_ends;

    assign f_word = f_word_reg;
    assign f_last = f_word_reg == LAST_WORD[STEP_W-1:0];

    sofa_sync_fifo #(
        .WIDTH(PLACE_W),
        .DEPTH(2)
    ) end_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (tile_done && final_reg),
        .s_ready (f_room),
        .s_data  (place_reg),
        .m_valid (f_valid),
        .m_ready (f_take && f_last),
        .m_data  (f_place),
        .level   (unused_ends)
    );

    always @(posedge clk) begin
        if (f_take) begin
            f_word_reg <= f_word_reg + 1'b1;
        end

        if (rst) begin
            f_word_reg <= {STEP_W{1'b0}};
        end
    end

endmodule

`resetall
