// SPDX-License-Identifier: Apache-2.0
// The scheduler of the RASS stage: buffers of the tiles' lists, order of the work, phases.
//
// Why: a tile whose rows together need more keys than a K or V buffer has slots runs in several
// phases. The next tile's lists may arrive while a tile is worked on.
// Parts: needs of the rows (rass_matrix.v), order of the keys (rass_pick.v), choice of the keys
// (rass_walk.v, rass_cap.v), lists of a phase (rass_split.v).
// Pipeline of a key: k it is named, d its column is there and it is decided, e it moves in the ID
// buffers (census: it enters the one of its level).
// Not done here: machines whose buffers hold a whole tile (rass.v).
// Throughput, latency: see rass.v.
// Source: SOFA (MICRO 2024), RASS; docs/architecture.md sections 10.3 and 10.6.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module rass_sched #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 16,
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 32,
    // Key slots of a K or V buffer, power of two, 4..BC_MAX/2.
    parameter KV_SLOTS = 16,
    // List buffers here, 2..4.
    parameter LIST_BUFS = 2,
    // Bits of a tile slot, of a buffer slot. Derived: leave at their defaults.
    parameter SLOT_W = $clog2(BC_MAX),
    parameter KSLOT_W = $clog2(KV_SLOTS)
) (
    input  wire                          clk,
    input  wire                          rst,

    // Lists of the tiles
    input  wire                          s_l_wr_valid,
    input  wire [1:0]                    s_l_wr_buf,
    input  wire [3:0]                    s_l_wr_word,
    input  wire [ROWS*4*(SLOT_W+1)-1:0]  s_l_wr_data,
    output wire                          s_l_release,

    // Tiles
    input  wire                          s_valid,
    output wire                          s_ready,
    input  wire [`TD_W-1:0]              s_td,
    input  wire [BC_MAX-1:0]             s_union,
    input  wire [7:0]                    s_nsteps,

    // Lists of the phases
    output wire                          l_wr_valid,
    output wire [1:0]                    l_wr_buf,
    output wire [3:0]                    l_wr_word,
    output wire [ROWS*4*(KSLOT_W+1)-1:0] l_wr_data,
    input  wire                          l_release,

    // Phases
    output wire                          p_valid,
    input  wire                          p_ready,
    output wire [`TD_W-1:0]              p_td,
    output wire [KV_SLOTS*SLOT_W-1:0]    p_slots,
    output wire [KV_SLOTS-1:0]           p_mask,
    output wire [7:0]                    p_nsteps,

    // Events
    output wire                          ev_busy,
    output wire                          ev_stall
);

    generate
        if (ROWS < 4 || ROWS > 128 || (1 << $clog2(ROWS)) != ROWS
                || BC_MAX < 8 || BC_MAX > 64 || (1 << SLOT_W) != BC_MAX
                || KV_SLOTS < 4 || KV_SLOTS > BC_MAX / 2 || (1 << KSLOT_W) != KV_SLOTS
                || LIST_BUFS < 2 || LIST_BUFS > 4) begin : g_illegal
            // No such module exists: elaboration stops here and names this instance.
            illegal_parameter_rass_sched_needs_powers_of_2_KV_SLOTS_4_to_half_of_BC_MAX stop ();
        end
    endgenerate

    localparam CNT_W = SLOT_W + 1;
    localparam KCNT_W = KSLOT_W + 1;
    localparam POP_W = $clog2(ROWS) + 1;
    localparam LIST_W = ROWS * 4 * (SLOT_W + 1);
    localparam WORD_W = SLOT_W - 2;
    localparam BUF_W = $clog2(LIST_BUFS);
    localparam [31:0] LAST_BUF = LIST_BUFS - 1;
    // At most 17 levels of sharing
    localparam LEVEL_SHIFT = POP_W > 5 ? POP_W - 5 : 0;
    localparam LEVELS = (ROWS >> LEVEL_SHIFT) + 1;

    // waits for a tile
    localparam [2:0] IDLE = 3'd0;
    // reads the tile's lists into the matrix
    localparam [2:0] LOAD = 3'd1;
    // counts rows and keys, fills the ID buffers
    localparam [2:0] CENSUS = 3'd2;
    // waits for the shares of the next phase
    localparam [2:0] SHARE = 3'd3;
    // chooses the keys of the phase
    localparam [2:0] WALK = 3'd4;
    // passes the tile's lists by the rows; waits for a list buffer of the phase
    localparam [2:0] FILTER = 3'd5;
    // writes the lists of the phase
    localparam [2:0] OUT = 3'd6;
    // waits until the previous phase was taken
    localparam [2:0] EMIT = 3'd7;

    reg [2:0]           state_reg, state_next;
    // Position of the tile's lists (pair steps: twice as many), word of the phase's
    reg [SLOT_W:0]      pos_reg, pos_next;
    reg [3:0]           word_reg, word_next;
    reg                 first_reg, first_next;

    reg [BUF_W-1:0]     buf_reg;
    reg                 s_release_reg;
    reg [`TD_W-1:0]     td_reg;
    reg [BC_MAX-1:0]    union_reg;
    reg [7:0]           nsteps_reg;

    reg                 load_reg;
    reg                 filter_reg, filter_2_reg;
    reg [1:0]           entry_reg;

    reg                 d_valid_reg, d_last_reg;
    reg [SLOT_W-1:0]    d_key_reg, e_key_reg;
    reg                 e_census_reg, e_accept_reg, e_done_reg;
    reg [POP_W-1:0]     e_ones_reg;

    reg [KV_SLOTS*SLOT_W-1:0] slots_reg;
    reg [KV_SLOTS-1:0]        mask_reg;

    reg                 l_valid_reg;
    reg [1:0]           l_buf_reg;
    reg [3:0]           l_word_reg;
    reg                 p_valid_reg;
    reg [`TD_W-1:0]     p_td_reg;
    reg [KV_SLOTS*SLOT_W-1:0] p_slots_reg;
    reg [KV_SLOTS-1:0]  p_mask_reg;
    reg [7:0]           p_nsteps_reg;

    wire [CNT_W-1:0]    waiting;
    wire [KCNT_W-1:0]   taken, longest;
    wire                cap_busy;
    wire                credit;
    wire [1:0]          credit_buf;
    wire                done;

    // ---- Order of the work --------------------------------------------------------------------
    wire take = state_reg == IDLE && s_valid;
    wire census = state_reg == CENSUS;
    // All positions have passed; the last one is appended in this cycle at the latest.
    wire pos_end = pos_reg == {nsteps_reg[SLOT_W-1:0], 1'b0};
    wire pos_issue = state_reg == FILTER && !pos_end;
    wire filtered = state_reg == FILTER && pos_end && !filter_reg && !filter_2_reg;
    wire grant = filtered && credit;
    // All keys of the tile are in a phase.
    wire last_phase = waiting == {CNT_W{1'b0}};
    // Pair steps and words of the phase: halves and quarters of the longest list, rounded up
    wire [KCNT_W-1:0] half = longest + 1'b1;
    wire [KCNT_W-1:0] quarter = longest + {{(KCNT_W-2){1'b0}}, 2'd3};
    wire [4:0] words = {{(7-KCNT_W){1'b0}}, quarter[KCNT_W-1:2]};
    wire unused_round = &{1'b0, half[0], quarter[1:0]};
    wire [4:0] word_1 = {1'b0, word_reg} + 5'd1;
    wire out_end = word_1 >= words;
    wire out_read = state_reg == OUT && words != 5'd0;
    wire emit = state_reg == EMIT && (!p_valid_reg || p_ready);
    wire start = state_reg == SHARE && !cap_busy;
    wire [SLOT_W:0] pos_4 = pos_reg + {{(SLOT_W-2){1'b0}}, 3'd4};
    wire load_end = state_reg == LOAD && pos_4 >= {nsteps_reg[SLOT_W-1:0], 1'b0};
    wire empty = s_nsteps == 8'd0;
    wire unused_nsteps = &{1'b0, nsteps_reg[7:SLOT_W]};

    always @* begin
        state_next = state_reg;
        pos_next = pos_reg;
        word_next = word_reg;
        first_next = first_reg;

        case (state_reg)
            IDLE: begin
                pos_next = {(SLOT_W+1){1'b0}};
                first_next = 1'b1;
                if (s_valid) begin
                    state_next = empty ? FILTER : LOAD;
                end
            end
            LOAD: begin
                pos_next = pos_4;
                if (load_end) begin
                    state_next = CENSUS;
                end
            end
            CENSUS: begin
                if (done) begin
                    state_next = SHARE;
                end
            end
            SHARE: begin
                pos_next = {(SLOT_W+1){1'b0}};
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
                if (out_end) begin
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

    // A key leaves the buffers as it enters a phase, and no key is named after the walk's end.
    wire new_phase = take || start;
    wire k_valid, k_last, accept;
    wire [SLOT_W-1:0] k_key;
    wire [POP_W-1:0] ones;

    genvar s;
    generate
        for (s = 0; s < KV_SLOTS; s = s + 1) begin : g_slot
            localparam [31:0] SLOT = s;
            always @(posedge clk) begin
                if (accept && taken == SLOT[KCNT_W-1:0]) begin
                    slots_reg[s*SLOT_W +: SLOT_W] <= d_key_reg;
                    mask_reg[s] <= 1'b1;
                end
                if (new_phase) begin
                    slots_reg[s*SLOT_W +: SLOT_W] <= {SLOT_W{1'b0}};
                    mask_reg[s] <= 1'b0;
                end
            end
        end
    endgenerate

    always @(posedge clk) begin
        state_reg <= state_next;
        pos_reg <= pos_next;
        word_reg <= word_next;
        first_reg <= first_next;

        if (take) begin
            td_reg <= s_td;
            union_reg <= s_union;
            nsteps_reg <= s_nsteps;
        end
        load_reg <= state_reg == LOAD;
        filter_reg <= pos_issue;
        filter_2_reg <= filter_reg;
        entry_reg <= pos_reg[1:0];

        d_valid_reg <= k_valid && !done;
        d_last_reg <= k_last;
        d_key_reg <= k_key;
        e_key_reg <= d_key_reg;
        e_census_reg <= d_valid_reg && census;
        e_accept_reg <= accept;
        e_done_reg <= done;
        e_ones_reg <= ones;

        // The tile's lists were read for the last time.
        s_release_reg <= grant && last_phase;
        if (grant && last_phase) begin
            buf_reg <= buf_reg == LAST_BUF[BUF_W-1:0] ? {BUF_W{1'b0}} : buf_reg + 1'b1;
        end

        if (grant) begin
            l_buf_reg <= credit_buf;
        end
        l_valid_reg <= out_read;
        l_word_reg <= word_reg;

        p_valid_reg <= emit || (p_valid_reg && !p_ready);
        if (emit) begin
            p_td_reg <= td_reg;
            p_td_reg[`TD_FIRST] <= td_reg[`TD_FIRST] && first_reg;
            p_td_reg[`TD_KVNEW] <= td_reg[`TD_KVNEW] && first_reg;
            p_td_reg[`TD_LAST] <= td_reg[`TD_LAST] && last_phase;
            p_td_reg[`TD_KVLAST] <= td_reg[`TD_KVLAST] && last_phase;
            p_slots_reg <= slots_reg;
            p_mask_reg <= mask_reg;
            p_nsteps_reg <= {{(9-KCNT_W){1'b0}}, half[KCNT_W-1:1]};
        end

        if (rst) begin
            state_reg <= IDLE;
            load_reg <= 1'b0;
            filter_reg <= 1'b0;
            filter_2_reg <= 1'b0;
            d_valid_reg <= 1'b0;
            e_census_reg <= 1'b0;
            e_accept_reg <= 1'b0;
            e_done_reg <= 1'b0;
            s_release_reg <= 1'b0;
            buf_reg <= {BUF_W{1'b0}};
            l_valid_reg <= 1'b0;
            p_valid_reg <= 1'b0;
        end
    end

    assign s_ready = state_reg == IDLE;
    assign s_l_release = s_release_reg;
    assign l_wr_valid = l_valid_reg;
    assign l_wr_buf = l_buf_reg;
    assign l_wr_word = l_word_reg;
    assign p_valid = p_valid_reg;
    assign p_td = p_td_reg;
    assign p_slots = p_slots_reg;
    assign p_mask = p_mask_reg;
    assign p_nsteps = p_nsteps_reg;

    assign ev_stall = (filtered && !credit) || (state_reg == EMIT && !emit);
    assign ev_busy = (state_reg != IDLE || take) && !ev_stall;

    // ---- Tiles' lists -------------------------------------------------------------------------
    wire              list_rd = state_reg == LOAD || (pos_issue && pos_reg[1:0] == 2'd0);
    wire [LIST_W-1:0] list_word;

    ram_1r1w #(
        .WIDTH(LIST_W),
        .DEPTH(LIST_BUFS << WORD_W)
    ) tile_lists (
        .clk(clk),
        .wr_en(s_l_wr_valid),
        .wr_addr({s_l_wr_buf[BUF_W-1:0], s_l_wr_word[WORD_W-1:0]}),
        .wr_data(s_l_wr_data),
        .rd_en(list_rd),
        .rd_addr({buf_reg, pos_reg[2 +: WORD_W]}),
        .rd_data(list_word)
    );

    generate
        if (BUF_W < 2) begin : g_unused_buf
            wire unused_buf = s_l_wr_buf[1];
        end
        if (WORD_W < 4) begin : g_unused_word
            wire unused_word = &{1'b0, s_l_wr_word[3:WORD_W]};
        end
    endgenerate

    // ---- Parts --------------------------------------------------------------------------------
    wire [ROWS-1:0]       d_column;
    wire [POP_W-1:0]      d_fifth;
    wire [ROWS*CNT_W-1:0] counts;
    wire [KCNT_W-1:0]     cap;
    wire [CNT_W-1:0]      limit;
    // Level of the key, with zeros in front where there are few rows
    wire [POP_W+4:0]      e_shifted = {5'd0, e_ones_reg} >> LEVEL_SHIFT;
    wire                  unused_shifted = &{1'b0, e_shifted[POP_W+4:5]};

    rass_matrix #(
        .ROWS(ROWS),
        .BC_MAX(BC_MAX)
    ) matrix (
        .clk(clk),
        .clear(take),
        .wr_en(load_reg),
        .wr_data(list_word),
        .rd_en(k_valid),
        .rd_key(k_key),
        .column(d_column)
    );

    rass_pick #(
        .BC_MAX(BC_MAX),
        .LEVELS(LEVELS)
    ) pick (
        .clk(clk),
        .rst(rst),
        .clear(take),
        .edit_en(e_census_reg || e_accept_reg),
        .edit_set(e_census_reg),
        .edit_level(e_shifted[4:0]),
        .edit_key(e_key_reg),
        .scan(load_end),
        .scan_keys(union_reg),
        .start(start),
        .stop(done),
        .key_valid(k_valid),
        .key(k_key),
        .key_last(k_last)
    );

    // A fifth of the rows that need a key, from the census: floor(x/5) = 205*x >> 10 for x <= 128.
    wire [POP_W+7:0] e_fifths = e_ones_reg * 8'd205;
    wire             unused_fifths = &{1'b0, e_fifths[9:0]};

    ram_1r1w #(
        .WIDTH(POP_W),
        .DEPTH(BC_MAX)
    ) fifths (
        .clk(clk),
        .wr_en(e_census_reg),
        .wr_addr(e_key_reg),
        .wr_data({2'b00, e_fifths[POP_W+7:10]}),
        .rd_en(k_valid),
        .rd_addr(k_key),
        .rd_data(d_fifth)
    );

    rass_walk #(
        .ROWS(ROWS),
        .BC_MAX(BC_MAX),
        .KV_SLOTS(KV_SLOTS)
    ) walk (
        .clk(clk),
        .new_tile(take),
        .new_phase(new_phase),
        .key_valid(d_valid_reg),
        .key_last(d_last_reg),
        .census(census),
        .column(d_column),
        .fifth(d_fifth),
        .cap(cap),
        .limit(limit),
        .accept(accept),
        .done(done),
        .ones(ones),
        .waiting(waiting),
        .counts(counts),
        .taken(taken),
        .longest(longest)
    );

    rass_cap #(
        .ROWS(ROWS),
        .BC_MAX(BC_MAX),
        .KV_SLOTS(KV_SLOTS)
    ) shares (
        .clk(clk),
        .rst(rst),
        .start(e_done_reg),
        .busy(cap_busy),
        .waiting(waiting),
        .counts(counts),
        .cap(cap),
        .limit(limit)
    );

    rass_split #(
        .ROWS(ROWS),
        .BC_MAX(BC_MAX),
        .KV_SLOTS(KV_SLOTS)
    ) split (
        .clk(clk),
        .rst(rst),
        .new_phase(new_phase),
        .key_en(accept),
        .key(d_key_reg),
        .key_slot(taken[KSLOT_W-1:0]),
        .in_en(filter_reg),
        .in_entry(entry_reg),
        .in_word(list_word),
        .rd_en(out_read),
        .rd_word(word_reg),
        .l_data(l_wr_data)
    );

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

endmodule

`resetall
