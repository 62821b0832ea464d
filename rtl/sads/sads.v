// SPDX-License-Identifier: Apache-2.0
// SADS stage: per row the best keys of each tile, as lists, and what the rows together need.
//
// Why: takes the predicted scores of a tile, gives every row its first `quota` allowed slots in
// order of score (sphere radius: not those below the row's running maximum - radius), writes the
// lists to the next stage and tells which slots are in use at all.
// A tile's scores wait in one of two buffers, so a tile is sorted while the next one arrives. One
// pass over the words of the tile selects four more slots per row. Passes end when the quota is
// reached, when all slots were taken, or when no row could fill its four.
// Dense mode: each pass takes the next four slots instead of all words of the tile. With scores of
// 0 the core orders them by slot; allowed slots are the first ones of a tile for every row, so
// list position and slot are the same.
// Not done here: the gather of keys and values, the lists' memory (next stage).
// Latency, cycles: W = words of the tile, P = passes: P*(W+6) + 4 from the cycle in which a
// tile is complete in its buffer to m_valid. Dense: P = ceil(n/4), W = 1.
// Throughput: a tile per P*(W+6) + 4 cycles.
// Source: SOFA (MICRO 2024), SADS; docs/architecture.md sections 5.3, 7, 8.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module sads #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 128,
    // Columns of the prediction array, power of two, 4..BC_MAX.
    parameter COLS = 32,
    // Slots of a tile, power of two, 8..64.
    parameter BC_MAX = 64,
    // Bits of a signed score, 4..32.
    parameter SC_W = 18,
    // List buffers of the next stage, 2..4.
    parameter LIST_BUFS = 4,
    // Bits of a slot number. Derived: leave at its default.
    parameter SLOT_W = $clog2(BC_MAX)
) (
    input  wire                           clk,
    input  wire                           rst,

    // Static during a job
    input  wire                           cfg_dense,
    input  wire [7:0]                     cfg_quota,
    input  wire [SC_W-1:0]                cfg_radius,

    // Score words of dlzs
    input  wire                           s_valid,
    output wire                           s_ready,
    input  wire                           s_first,
    input  wire                           s_last,
    input  wire [`TD_W-1:0]               s_td,
    input  wire [ROWS*12*SC_W-1:0]        s_scores,

    // List words to a ring of LIST_BUFS buffers, entry i of row r at index r*4 + i: {valid, slot}
    output wire                           l_wr_valid,
    output wire [1:0]                     l_wr_buf,
    output wire [3:0]                     l_wr_word,
    output wire [ROWS*4*(SLOT_W+1)-1:0]   l_wr_data,
    input  wire                           l_release,

    // Sorted tile
    output wire                           m_valid,
    input  wire                           m_ready,
    output wire [`TD_W-1:0]               m_td,
    output wire [BC_MAX-1:0]              m_union,
    output wire [7:0]                     m_nsteps,
    output wire [15:0]                    m_nsel,

    // Events
    output wire                           ev_busy,
    output wire                           ev_stall
);

    generate
        if (ROWS < 4 || ROWS > 128 || (1 << $clog2(ROWS)) != ROWS
            || BC_MAX < 8 || BC_MAX > 64 || (1 << SLOT_W) != BC_MAX
            || COLS < 4 || COLS > BC_MAX || (1 << $clog2(COLS)) != COLS
            || SC_W < 4 || SC_W > 32 || LIST_BUFS < 2 || LIST_BUFS > 4) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sads_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam WORDS = (BC_MAX / COLS) * ((COLS + 11) / 12);
    // Bits of a word number, wide enough for the words of both buffers
    localparam WORD_W = $clog2(2 * WORDS);
    localparam [31:0] SECOND = WORDS;
    localparam ROW_W = 12 * SC_W;
    localparam ENTRY_W = SLOT_W + 1;
    localparam [31:0] CREDITS = LIST_BUFS;
    localparam [31:0] LAST_BUF = LIST_BUFS - 1;

    // ---- Score buffers ------------------------------------------------------------------------
    // The side which fills and the side which sorts take the two buffers in turn.
    reg              wr_buf_reg;
    reg [WORD_W-1:0] wr_word_reg;
    reg              rd_buf_reg;
    reg [1:0]        full_reg;
    reg [`TD_W-1:0]  td0_reg, td1_reg;
    reg [WORD_W-1:0] last0_reg, last1_reg;
    wire             tile_done;

    wire s_take = s_valid && s_ready;
    wire s_take_last = s_take && s_last;
    wire [1:0] fill = {s_take_last && wr_buf_reg, s_take_last && !wr_buf_reg};
    wire [1:0] free = {tile_done && rd_buf_reg, tile_done && !rd_buf_reg};

    assign s_ready = !full_reg[wr_buf_reg];

    // A tile's first word is known without the flag.
    wire unused_s_first = s_first;

    wire [`TD_W-1:0] td = rd_buf_reg ? td1_reg : td0_reg;
    wire [WORD_W-1:0] last_word = rd_buf_reg ? last1_reg : last0_reg;

    wire [WORD_W-1:0] wr_start = wr_buf_reg ? SECOND[WORD_W-1:0] : {WORD_W{1'b0}};
    wire [WORD_W-1:0] rd_start = rd_buf_reg ? SECOND[WORD_W-1:0] : {WORD_W{1'b0}};
    wire rd_en;
    wire [WORD_W-1:0] rd_addr;
    wire [ROWS*ROW_W-1:0] rd_scores;

    ram_1r1w #(
        .WIDTH(ROWS * ROW_W),
        .DEPTH(2 * WORDS)
    ) scores (
        .clk(clk),
        .wr_en(s_take),
        .wr_addr(wr_start + wr_word_reg),
        .wr_data(s_scores),
        .rd_en(rd_en),
        .rd_addr(rd_addr),
        .rd_data(rd_scores)
    );

    always @(posedge clk) begin
        if (s_take) begin
            wr_word_reg <= s_last ? {WORD_W{1'b0}} : wr_word_reg + 1'b1;
        end
        if (s_take_last) begin
            wr_buf_reg <= !wr_buf_reg;
        end
        if (fill[0]) begin
            td0_reg <= s_td;
            last0_reg <= wr_word_reg;
        end
        if (fill[1]) begin
            td1_reg <= s_td;
            last1_reg <= wr_word_reg;
        end
        if (tile_done) begin
            rd_buf_reg <= !rd_buf_reg;
        end
        full_reg <= (full_reg | fill) & ~free;

        if (rst) begin
            wr_word_reg <= {WORD_W{1'b0}};
            wr_buf_reg <= 1'b0;
            rd_buf_reg <= 1'b0;
            full_reg <= 2'b00;
        end
    end

    // ---- Control ------------------------------------------------------------------------------
    // waits for a full score buffer and a free list buffer
    localparam [1:0] S_IDLE = 2'd0;
    // passes over the tile
    localparam [1:0] S_SCAN = 2'd1;
    // waits for the last count
    localparam [1:0] S_COUNT = 2'd2;
    // waits until the previous tile's result was taken
    localparam [1:0] S_EMIT = 2'd3;

    reg [1:0] state_reg, state_next;
    reg issue_reg, issue_next;
    reg [WORD_W-1:0] word_reg, word_next;
    // Passes decided so far; entries of the lists that are still to be filled
    reg [3:0] pass_reg, pass_next;
    reg [7:0] left_reg, left_next;
    reg [7:0] nsteps_reg, nsteps_next;
    reg [2:0] credit_reg;
    reg [1:0] l_buf_reg;
    reg m_valid_reg;
    reg [`TD_W-1:0] m_td_reg;
    reg [BC_MAX-1:0] m_union_reg;
    reg [7:0] m_nsteps_reg;
    reg [15:0] m_nsel_reg;

    wire [7:0] n = td[`TD_N];
    wire have_tile = full_reg[rd_buf_reg];
    wire have_credit = credit_reg != 3'd0;
    wire load = state_reg == S_IDLE && have_tile && have_credit;
    wire emit = state_reg == S_EMIT && (!m_valid_reg || m_ready);
    assign tile_done = emit;

    // Stages of the pipeline: bit i is high while the stage si of the rows works on a word. s6 is
    // the cycle in which the list word leaves and the next pass is decided.
    reg s0_en_reg, s1_en_reg, s2_en_reg, s3_en_reg, s4_en_reg, s5_en_reg, s6_en_reg;
    reg s0_last_reg, s1_last_reg, s2_last_reg, s3_last_reg, s4_last_reg;
    reg s0_first_reg, s1_first_reg, s2_first_reg, s3_first_reg, s4_first_reg;
    reg [SLOT_W-1:0] s0_base_reg, s1_base_reg, s2_base_reg, s3_base_reg;
    reg [WORD_W-1:0] s0_word_reg;

    // Selected entries of the pass, entry i of row r at r*4 + i
    wire [ROWS*4-1:0] valid;
    wire [ROWS*4*SLOT_W-1:0] slot;

    // Any row's entry i is valid
    wire [3:0] any;
    // Room in the next pass; every row that could use it
    wire another = s6_en_reg && (cfg_dense || any[3]) && left_reg != 8'd0;
    wire issue = issue_reg || another;
    wire issue_last = cfg_dense || word_reg == last_word;

    wire [SLOT_W-1:0] base;

    always @* begin
        state_next = state_reg;
        issue_next = issue_reg;
        word_next = word_reg;
        pass_next = pass_reg;
        left_next = left_reg;
        nsteps_next = nsteps_reg;

        if (issue) begin
            issue_next = !issue_last;
            word_next = issue_last ? {WORD_W{1'b0}} : word_reg + 1'b1;
        end
        if (s5_en_reg) begin
            left_next = (left_reg > 8'd4) ? left_reg - 8'd4 : 8'd0;
        end
        if (s6_en_reg) begin
            pass_next = pass_reg + 4'd1;
            if (any != 4'd0) begin
                nsteps_next = {3'd0, pass_reg, 1'b0}
                              + ((any[3:2] != 2'd0) ? 8'd2 : 8'd1);
            end
        end

        case (state_reg)
            S_IDLE: begin
                word_next = {WORD_W{1'b0}};
                pass_next = 4'd0;
                left_next = (cfg_dense || n < cfg_quota) ? n : cfg_quota;
                nsteps_next = 8'd0;
                if (load) begin
                    issue_next = 1'b1;
                    state_next = S_SCAN;
                end
            end
            S_SCAN: begin
                if (s6_en_reg && !another) begin
                    state_next = S_COUNT;
                end
            end
            S_COUNT: begin
                state_next = S_EMIT;
            end
            default: begin  // S_EMIT
                if (emit) begin
                    state_next = S_IDLE;
                end
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        issue_reg <= issue_next;
        word_reg <= word_next;
        pass_reg <= pass_next;
        left_reg <= left_next;
        nsteps_reg <= nsteps_next;

        s0_en_reg <= issue;
        s0_first_reg <= cfg_dense || word_reg == {WORD_W{1'b0}};
        s0_last_reg <= issue_last;
        s0_base_reg <= base;
        s0_word_reg <= word_reg;
        s1_en_reg <= s0_en_reg;
        s1_first_reg <= s0_first_reg;
        s1_last_reg <= s0_last_reg;
        s1_base_reg <= s0_base_reg;
        s2_en_reg <= s1_en_reg;
        s2_first_reg <= s1_first_reg;
        s2_last_reg <= s1_last_reg;
        s2_base_reg <= s1_base_reg;
        s3_en_reg <= s2_en_reg;
        s3_first_reg <= s2_first_reg;
        s3_last_reg <= s2_last_reg;
        s3_base_reg <= s2_base_reg;
        s4_en_reg <= s3_en_reg;
        s4_first_reg <= s3_first_reg;
        s4_last_reg <= s3_last_reg;
        s5_en_reg <= s4_en_reg && s4_last_reg;
        s6_en_reg <= s5_en_reg;

        credit_reg <= credit_reg + {2'b00, l_release} - {2'b00, load};
        if (emit) begin
            l_buf_reg <= l_buf_reg == LAST_BUF[1:0] ? 2'd0 : l_buf_reg + 2'd1;
        end

        m_valid_reg <= emit || (m_valid_reg && !m_ready);
        if (emit) begin
            m_td_reg <= td;
            m_union_reg <= slot_union;
            m_nsteps_reg <= nsteps_reg;
            m_nsel_reg <= nsel;
        end

        if (rst) begin
            state_reg <= S_IDLE;
            issue_reg <= 1'b0;
            s0_en_reg <= 1'b0;
            s1_en_reg <= 1'b0;
            s2_en_reg <= 1'b0;
            s3_en_reg <= 1'b0;
            s4_en_reg <= 1'b0;
            s5_en_reg <= 1'b0;
            s6_en_reg <= 1'b0;
            credit_reg <= CREDITS[2:0];
            l_buf_reg <= 2'd0;
            m_valid_reg <= 1'b0;
        end
    end

    // Dense: scores are one word of zeros, used for every pass.
    assign rd_en = s0_en_reg;
    assign rd_addr = rd_start + (cfg_dense ? {WORD_W{1'b0}} : s0_word_reg);

    assign m_valid = m_valid_reg;
    assign m_td = m_td_reg;
    assign m_union = m_union_reg;
    assign m_nsteps = m_nsteps_reg;
    assign m_nsel = m_nsel_reg;

    assign ev_busy = (state_reg != S_IDLE || load) && !ev_stall;
    assign ev_stall = (state_reg == S_IDLE && have_tile && !have_credit)
                   || (state_reg == S_EMIT && !emit);

    // ---- Masks --------------------------------------------------------------------------------
    wire [12*ROWS-1:0] allow;

    sads_mask #(
        .ROWS(ROWS),
        .COLS(COLS),
        .SLOT_W(SLOT_W)
    ) mask (
        .clk(clk),
        .cfg_dense(cfg_dense),
        .load(load),
        .load_n(n),
        .load_rows(td[`TD_ROWS]),
        .load_causal(td[`TD_CAUSAL]),
        .load_rel(td[`TD_REL]),
        .load_kstep(td[`TD_KSTEP]),
        .step(issue),
        .wrap(issue_last && !cfg_dense),
        .base(base),
        .allow(allow)
    );

    // Dense: every pass has other slots, nothing is taken already.
    localparam [31:0] ONE = 1;
    wire [WORDS-1:0] s0_word = cfg_dense ? {WORDS{1'b0}} : ONE[WORDS-1:0] << s0_word_reg;
    // Entries of this pass which the quota leaves room for
    wire [3:0] room = {left_reg > 8'd3, left_reg > 8'd2, left_reg > 8'd1, left_reg > 8'd0};
    wire block_clear = load && td[`TD_FIRST];

    // ---- Rows ---------------------------------------------------------------------------------
    wire [ROWS*BC_MAX-1:0] taken;
    genvar r, j, i;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            wire [11:0] row_allow;
            for (j = 0; j < 12; j = j + 1) begin : g_lane
                assign row_allow[j] = allow[j*ROWS + r];
            end

            sads_row #(
                .SC_W(SC_W),
                .BC_MAX(BC_MAX),
                .COLS(COLS)
            ) row (
                .clk(clk),
                .tile_clear(load),
                .block_clear(block_clear),
                .s0_en(s0_en_reg),
                .s0_allow(row_allow),
                .s0_word(s0_word),
                .s1_scores(rd_scores[r*ROW_W +: ROW_W]),
                .s1_en(s1_en_reg),
                .s2_en(s2_en_reg),
                .s3_en(s3_en_reg),
                .s3_base(s3_base_reg),
                .s4_en(s4_en_reg),
                .s4_first(s4_first_reg),
                .s5_en(s5_en_reg),
                .s5_room(room),
                .cfg_radius(cfg_radius),
                .out_valid(valid[r*4 +: 4]),
                .out_slot(slot[r*4*SLOT_W +: 4*SLOT_W]),
                .out_taken(taken[r*BC_MAX +: BC_MAX])
            );

            for (i = 0; i < 4; i = i + 1) begin : g_entry
                assign l_wr_data[(r*4+i)*ENTRY_W +: ENTRY_W] =
                    {valid[r*4+i], slot[(r*4+i)*SLOT_W +: SLOT_W]};
            end
        end
    endgenerate

    assign l_wr_valid = s6_en_reg;
    assign l_wr_buf = l_buf_reg;
    assign l_wr_word = pass_reg;

    // ---- Over all rows ------------------------------------------------------------------------
    // Halving of the rows: balanced trees of OR gates.
    localparam LEVELS = $clog2(ROWS);
    wire [BC_MAX-1:0] slot_union;
    wire [15:0] nsel;
    generate
        for (i = 0; i < LEVELS; i = i + 1) begin : g_or
            localparam HALF = ROWS >> (i + 1);
            wire [HALF*BC_MAX-1:0] slots;
            wire [HALF*4-1:0] entries;
            if (i == 0) begin : g_first
                assign slots = taken[HALF*BC_MAX +: HALF*BC_MAX] | taken[0 +: HALF*BC_MAX];
                assign entries = valid[HALF*4 +: HALF*4] | valid[0 +: HALF*4];
            end else begin : g_next
                assign slots = g_or[i-1].slots[HALF*BC_MAX +: HALF*BC_MAX]
                             | g_or[i-1].slots[0 +: HALF*BC_MAX];
                assign entries = g_or[i-1].entries[HALF*4 +: HALF*4]
                               | g_or[i-1].entries[0 +: HALF*4];
            end
        end
    endgenerate
    assign slot_union = g_or[LEVELS-1].slots;
    assign any = g_or[LEVELS-1].entries;

    sads_count #(
        .BITS(ROWS * 4)
    ) counter (
        .clk(clk),
        .clear(load || rst),
        .en(s6_en_reg),
        .bits(valid),
        .total(nsel)
    );

endmodule

`resetall
