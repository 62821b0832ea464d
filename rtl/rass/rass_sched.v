// SPDX-License-Identifier: Apache-2.0
// The scheduler of the RASS stage: buffers of the tiles' lists, pipeline of the keys.
//
// Why: a tile whose rows together need more keys than a K or V buffer has slots runs in several
// phases. The next tile's lists may arrive while a tile is worked on.
// Parts: order of the work (rass_ctl.v), needs of the rows (rass_matrix.v), order of the keys
// (rass_pick.v), their choice (rass_walk.v, rass_cap.v), a phase's lists (rass_split.v) and keys
// (rass_issue.v).
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
            // No such module exists: elaboration stops here, and its message gives this name.
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

    reg [BUF_W-1:0]     buf_reg;
    reg                 s_release_reg;
    reg [BC_MAX-1:0]    union_reg;

    reg                 d_valid_reg, d_last_reg;
    reg [SLOT_W-1:0]    d_key_reg, e_key_reg;
    reg                 e_census_reg, e_accept_reg, e_done_reg;
    reg [POP_W-1:0]     e_ones_reg;

    wire [CNT_W-1:0]    waiting;
    wire [KCNT_W-1:0]   longest;
    wire [KSLOT_W-1:0]  slot;
    wire                cap_busy;
    wire                credit;
    wire                done;

    // ---- Order of the work --------------------------------------------------------------------
    wire              take, scan, census, start, grant, emit_ok, emit, first;
    wire              list_rd, load_en, filter_en, out_rd;
    wire [WORD_W-1:0] list_rd_word;
    wire [1:0]        filter_entry;
    wire [3:0]        out_word;
    wire [7:0]        nsteps;
    // All keys of the tile are in a phase.
    wire              last_phase = waiting == {CNT_W{1'b0}};
    wire              new_phase = take || start;

    rass_ctl #(
        .BC_MAX(BC_MAX),
        .KV_SLOTS(KV_SLOTS)
    ) ctl (
        .clk(clk),
        .rst(rst),
        .s_valid(s_valid),
        .s_ready(s_ready),
        .take(take),
        .s_nsteps(s_nsteps),
        .list_rd(list_rd),
        .list_word(list_rd_word),
        .load_en(load_en),
        .filter_en(filter_en),
        .filter_entry(filter_entry),
        .scan(scan),
        .census(census),
        .start(start),
        .done(done),
        .cap_busy(cap_busy),
        .last_phase(last_phase),
        .longest(longest),
        .credit(credit),
        .grant(grant),
        .out_rd(out_rd),
        .out_word(out_word),
        .emit_ok(emit_ok),
        .emit(emit),
        .first(first),
        .nsteps(nsteps),
        .ev_busy(ev_busy),
        .ev_stall(ev_stall)
    );

    // ---- Keys ---------------------------------------------------------------------------------
    wire k_valid, k_last, accept;
    wire [SLOT_W-1:0] k_key;
    wire [POP_W-1:0] ones;

    always @(posedge clk) begin
        if (take) begin
            union_reg <= s_union;
        end

        // No key is decided after the end of a walk.
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

        if (rst) begin
            d_valid_reg <= 1'b0;
            e_census_reg <= 1'b0;
            e_accept_reg <= 1'b0;
            e_done_reg <= 1'b0;
            s_release_reg <= 1'b0;
            buf_reg <= {BUF_W{1'b0}};
        end
    end

    assign s_l_release = s_release_reg;

    // ---- Tiles' lists -------------------------------------------------------------------------
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
        .rd_addr({buf_reg, list_rd_word}),
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
        .wr_en(load_en),
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
        .scan(scan),
        .scan_keys(union_reg),
        .start(start),
        .stop(done),
        .key_valid(k_valid),
        .key(k_key),
        .key_last(k_last)
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
        .cap(cap),
        .limit(limit),
        .accept(accept),
        .done(done),
        .ones(ones),
        .waiting(waiting),
        .counts(counts),
        .slot(slot),
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
        .key_slot(slot),
        .in_en(filter_en),
        .in_entry(filter_entry),
        .in_word(list_word),
        .credit(credit),
        .grant(grant),
        .rd_en(out_rd),
        .rd_word(out_word),
        .l_wr_valid(l_wr_valid),
        .l_wr_buf(l_wr_buf),
        .l_wr_word(l_wr_word),
        .l_wr_data(l_wr_data),
        .l_release(l_release)
    );

    rass_issue #(
        .BC_MAX(BC_MAX),
        .KV_SLOTS(KV_SLOTS)
    ) issue (
        .clk(clk),
        .rst(rst),
        .take(take),
        .s_td(s_td),
        .new_phase(new_phase),
        .key_en(accept),
        .key(d_key_reg),
        .key_slot(slot),
        .emit_ok(emit_ok),
        .emit(emit),
        .first(first),
        .last(last_phase),
        .nsteps(nsteps),
        .p_valid(p_valid),
        .p_ready(p_ready),
        .p_td(p_td),
        .p_slots(p_slots),
        .p_mask(p_mask),
        .p_nsteps(p_nsteps)
    );

endmodule

`resetall
