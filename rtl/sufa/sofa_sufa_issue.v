// SPDX-License-Identifier: Apache-2.0
// Issue of a SU-FA unit: which row of which key is next, and when.
//
// Why: everything behind this block is rigid, so all waiting is here. Of a key the rows that want
// it are taken from the lowest on (find first), each for cfg_c cycles. A row of the flush takes
// 2*cfg_c cycles and goes first; rows that the flush asks about need a cycle in which no pair ends.
// A row waits when it was issued less than HAZARD = 3 cycles ago: m, l and o of its last pair are
// not written. Between a beat of a pair and a row of the flush lie 2 free cycles, because the flush
// reads o earlier than a pair (sofa_sufa_sv.v).
// Four registered steps: the mask of a key, a group of its rows, a row, addresses of a row; Q and K
// are read in the fourth. With the last of cfg_c cycles the operation leaves on d_*. A group is
// fetched while rows of the one before are taken, so both find-firsts are short.
// Latency: a key to the first read of K 4 cycles. Throughput: a row every cfg_c cycles, across
// groups and keys; the same row again not before 3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_issue #(
    // Rows of a block in the unit, power of two, 2..64.
    parameter ROWS_U = 4,
    // Blocks whose sums the unit holds, power of two, 2..16.
    parameter PLACES_O = 2,
    // Bits of a place of Q, of addresses of Q, of the sums, of K and V; first address of the means.
    parameter QP_W = 1,
    parameter QA_W = 5,
    parameter OA_W = 6,
    parameter KA_W = 7,
    parameter MEAN_BASE = 32,
    // Bits of a number of beats of a vector, 1..7.
    parameter C_W = 4,
    // Derived: leave at their defaults.
    parameter ALL = PLACES_O * ROWS_U,
    parameter IDX_W = $clog2(ALL)
) (
    input  wire                     clk,
    input  wire                     rst,

    input  wire [C_W-1:0]           cfg_c,
    // Place of Q of each place of sums
    input  wire [PLACES_O*QP_W-1:0] cfg_q_places,

    // Keys
    input  wire                     k_valid,
    output wire                     k_ready,
    input  wire [ALL-1:0]           k_mask,
    input  wire                     k_end,
    input  wire [IDX_W-1:0]         k_end_idx,

    // Reads of Q and K; first beat of a pair
    output wire                     rd_en,
    output wire                     rd_first,
    output wire [QA_W-1:0]          q_rd_addr,
    output wire [KA_W-1:0]          k_rd_addr,

    // Operation that leaves: a pair, a mean, a row of the flush, or a question for l
    output wire                     d_pair,
    output wire                     d_mean,
    output wire                     d_fin,
    output wire                     d_ask,
    output wire [IDX_W-1:0]         d_idx,
    output wire [KA_W-1:0]          d_vbase,
    output wire [OA_W-1:0]          d_obase,
    output wire                     d_vlast,
    // A cycle later: its row used a key before
    output wire                     d_some,

    // Flush; d_some is the answer
    input  wire                     ask_req,
    input  wire [IDX_W-1:0]         ask_idx,
    output wire                     ask_go,
    input  wire                     fin_req,
    output wire                     fin_go,

    // The cycle serves a pair; the flush; nothing although a pair waits; nothing
    output wire                     ev_busy,
    output wire                     ev_flush,
    output wire                     ev_stall,
    output wire                     ev_starve
);

    generate
        if (ROWS_U < 2 || ROWS_U > 64 || ROWS_U != (1 << $clog2(ROWS_U)) || PLACES_O < 2
                || PLACES_O > 16 || PLACES_O != (1 << $clog2(PLACES_O)) || QP_W < 1 || QA_W < 2
                || OA_W < 2 || KA_W < 1 || MEAN_BASE < 1 || C_W < 1 || C_W > 7
                || ALL != PLACES_O * ROWS_U || ALL > 256 || IDX_W != $clog2(ALL)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_issue_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam ROW_W = $clog2(ROWS_U);
    localparam PL_W = IDX_W - ROW_W;
    // Products, wider than the addresses.
    localparam QB_W = QA_W + QP_W + ROW_W;
    localparam OB_W = OA_W + IDX_W;
    localparam [31:0] MEAN_32 = MEAN_BASE;
    localparam [C_W-1:0] ONE = 1;
    // Cycles from a row to the same row.
    localparam HAZARD = 3;
    // Rows of a group, groups of a mask.
    localparam GROUP_W = ALL >= 16 ? 3 : 1;
    localparam GROUP = 1 << GROUP_W;
    localparam GROUPS = ALL / GROUP;
    localparam NUM_W = IDX_W - GROUP_W;
    localparam [GROUP-1:0] ONE_BIT = 1;

    genvar g, k;

    wire [C_W-1:0]   c_last = cfg_c - ONE;
    // Beats of a vector as an address of the ring, which holds more.
    wire [KA_W+C_W-1:0] c_wide = {{KA_W{1'b0}}, cfg_c};
    wire [KA_W-1:0]  c_ring = c_wide[KA_W-1:0];
    wire             unused_c = &{1'b0, c_wide};

    // -----------------------------------------------------------------------------------------
    // A: a key, the groups of its rows that are left
    // -----------------------------------------------------------------------------------------
    reg               a_valid_reg, a_end_reg;
    reg  [ALL-1:0]    a_mask_reg;
    reg  [GROUPS-1:0] a_left_reg;
    reg  [IDX_W-1:0]  a_end_idx_reg;
    // First beats of the key at A, and of the key after it.
    reg  [KA_W-1:0]   a_kbase_reg, a_vbase_reg, k_next_reg, v_next_reg;
    wire              a_go, g_go, b_go, c_go, c_last_beat;

    wire [GROUPS-1:0] k_left;

    generate
        // Level k. below: a bit is set where one of 2 << k bits from it down is. some, more: one
        // or more, two or more of 2 << k bits.
        for (k = 0; k < NUM_W; k = k + 1) begin : g_level
            localparam COUNT = GROUPS >> (k + 1);
            wire [GROUPS-1:0]  in;
            wire [GROUPS-1:0]  below = in | (in << (1 << k));
            wire [2*COUNT-1:0] in_some, in_more;
            wire [COUNT-1:0]   some, more;
            if (k == 0) begin : g_in
                assign in      = a_left_reg;
                assign in_some = a_left_reg;
                assign in_more = {GROUPS{1'b0}};
            end else begin : g_in
                assign in      = g_level[k-1].below;
                assign in_some = g_level[k-1].some;
                assign in_more = g_level[k-1].more;
            end
            for (g = 0; g < COUNT; g = g + 1) begin : g_pair
                assign some[g] = |in_some[2*g +: 2];
                assign more[g] = |in_more[2*g +: 2] || &in_some[2*g +: 2];
            end
        end
    endgenerate

    // All groups but the lowest: those that have another one below.
    wire [GROUPS-1:0] a_rest = a_left_reg & (g_level[NUM_W-1].below << 1);
    wire              a_last = a_end_reg || !g_level[NUM_W-1].more[0];
    wire              unused_some = g_level[NUM_W-1].some[0];
    // The lowest group that is left: its rows, its number.
    wire [GROUPS-1:0] a_pick = a_left_reg & ~a_rest;
    wire [GROUP-1:0]  a_bits;
    wire [NUM_W-1:0]  a_num;

    generate
        for (g = 0; g < GROUPS; g = g + 1) begin : g_group
            assign k_left[g] = |k_mask[g*GROUP +: GROUP];
        end
        for (k = 0; k < GROUP; k = k + 1) begin : g_bit
            wire [GROUPS-1:0] column;
            for (g = 0; g < GROUPS; g = g + 1) begin : g_row
                assign column[g] = a_pick[g] && a_mask_reg[g*GROUP + k];
            end
            assign a_bits[k] = |column;
        end
        for (k = 0; k < NUM_W; k = k + 1) begin : g_num
            wire [GROUPS-1:0] column;
            for (g = 0; g < GROUPS; g = g + 1) begin : g_row
                localparam [31:0] NUMBER = g;
                assign column[g] = a_pick[g] && NUMBER[k];
            end
            assign a_num[k] = |column;
        end
    endgenerate

    assign k_ready = !a_valid_reg || (a_go && a_last);

    // -----------------------------------------------------------------------------------------
    // G: rows left of a group; an end is a row
    // -----------------------------------------------------------------------------------------
    reg               g_valid_reg, g_end_reg, g_last_reg;
    reg  [GROUP-1:0]  g_bits_reg;
    reg  [NUM_W-1:0]  g_num_reg;
    reg  [KA_W-1:0]   g_kbase_reg, g_vbase_reg;
    wire [GROUP_W-1:0] g_first;
    wire [GROUP-1:0]  g_rest = g_bits_reg & (g_bits_reg - ONE_BIT);
    wire              g_single = g_rest == {GROUP{1'b0}};

    sofa_find_first #(
        .WIDTH (GROUP)
    ) first_inst (
        .mask  (g_bits_reg),
        .index (g_first)
    );

    assign a_go = a_valid_reg && (!g_valid_reg || (g_go && g_single));

    // -----------------------------------------------------------------------------------------
    // B: a row
    // -----------------------------------------------------------------------------------------
    reg              b_valid_reg, b_end_reg, b_last_reg;
    reg  [IDX_W-1:0] b_idx_reg;
    reg  [KA_W-1:0]  b_kbase_reg, b_vbase_reg;
    wire [PL_W-1:0]  b_place = b_idx_reg[IDX_W-1:ROW_W];
    wire [QP_W-1:0]  b_q_place = cfg_q_places[b_place*QP_W +: QP_W];
    wire [QB_W-1:0]  b_qbase = {{QA_W{1'b0}}, b_q_place, b_idx_reg[ROW_W-1:0]}
                               * {{(QB_W - C_W){1'b0}}, cfg_c};
    // The means of the places follow each other as rows do.
    wire [IDX_W-1:0] b_orow = b_end_reg ? {{ROW_W{1'b0}}, b_place} : b_idx_reg;
    wire [OB_W-1:0]  b_obase = {{(OB_W - IDX_W){1'b0}}, b_orow} * {{(OB_W - C_W){1'b0}}, cfg_c};
    // The places that a job uses fit into the memories.
    wire             unused_bases = &{1'b0, b_qbase, b_obase};

    assign g_go = g_valid_reg && (!b_valid_reg || b_go);

    // -----------------------------------------------------------------------------------------
    // C: a row with its addresses, for cfg_c cycles
    // -----------------------------------------------------------------------------------------
    reg              c_valid_reg, c_end_reg, c_last_reg;
    reg  [IDX_W-1:0] c_idx_reg;
    reg  [QA_W-1:0]  c_qaddr_reg;
    reg  [KA_W-1:0]  c_kaddr_reg, c_vbase_reg;
    reg  [OA_W-1:0]  c_obase_reg;
    reg  [C_W-1:0]   c_beat_reg;
    wire             c_first = c_beat_reg == {C_W{1'b0}};
    wire             c_done = c_go && c_last_beat;

    assign b_go = b_valid_reg && (!c_valid_reg || c_done);
    assign c_last_beat = c_beat_reg == c_last;

    // Beats of pairs and means 1 and 2 cycles ago.
    reg  [2:1]       went_reg;
    // Bit n: a pair started n cycles ago, with its row; the row at C is that of this pair.
    reg  [HAZARD-2:1]         h_valid_reg;
    reg  [(HAZARD-2)*IDX_W:1] h_idx_reg;
    wire [HAZARD-2:1]         h_same;
    reg  [HAZARD-1:1]         near_reg, near_next;
    wire             c_start = c_go && c_first && !c_end_reg;
    wire             hazard = !c_end_reg && near_reg != {(HAZARD - 1){1'b0}};

    always @* begin
        near_next    = near_reg << 1;
        near_next[1] = 1'b0;
        if (b_go) begin
            near_next = {h_same, c_start && c_idx_reg == b_idx_reg};
        end
    end

    generate
        for (g = 1; g < HAZARD - 1; g = g + 1) begin : g_near
            assign h_same[g] = h_valid_reg[g] && h_idx_reg[(g-1)*IDX_W+1 +: IDX_W] == b_idx_reg;
        end
    endgenerate

    // Row of the flush: beats of its cfg_c pairs of cycles.
    reg              f_busy_reg, f_fin_reg;
    reg  [C_W:0]     f_count_reg;
    wire             f_first = !f_busy_reg && fin_req && !(|went_reg);
    wire             f_slot = f_busy_reg || f_first;
    wire [C_W:0]     f_count = f_busy_reg ? f_count_reg : {(C_W + 1){1'b0}};
    wire             f_end = f_count == {cfg_c, 1'b0} - {{C_W{1'b0}}, 1'b1};

    // Where every cycle ends a pair, one is left out for a question that waits.
    reg              wait_reg;
    wire             c_hold = f_busy_reg || fin_req || wait_reg;
    assign c_go = c_valid_reg && (!c_first || (!hazard && !c_hold));

    // -----------------------------------------------------------------------------------------
    // Rows that used a key
    // -----------------------------------------------------------------------------------------
    reg  [ALL-1:0]   some_reg;
    // Operation that left a cycle ago.
    reg              used_reg, asked_reg;
    reg  [IDX_W-1:0] left_idx_reg;

    assign d_pair   = c_done && !c_end_reg;
    assign d_mean   = c_done && c_end_reg;
    assign d_fin    = f_fin_reg || (f_first && cfg_c == ONE);
    // A last beat that is not the first goes on.
    assign d_ask    = ask_req && (!c_valid_reg || !c_last_beat || wait_reg) && !d_fin;
    assign d_idx    = d_ask ? ask_idx : c_idx_reg;
    assign d_some   = some_reg[left_idx_reg];
    assign d_vbase  = c_vbase_reg;
    assign d_obase  = c_obase_reg;
    assign d_vlast  = c_last_reg;
    assign ask_go   = d_ask;
    assign fin_go   = f_first;

    assign rd_en     = c_go && !c_end_reg;
    assign rd_first  = c_first;
    assign q_rd_addr = c_qaddr_reg;
    assign k_rd_addr = c_kaddr_reg;

    assign ev_busy   = rd_en;
    assign ev_flush  = f_slot || (c_go && c_end_reg);
    assign ev_stall  = !c_go && !f_slot && c_valid_reg;
    assign ev_starve = !c_valid_reg && !f_slot;

    always @(posedge clk) begin
        if (k_ready) begin
            a_valid_reg <= k_valid;
        end
        if (k_ready && k_valid) begin
            a_mask_reg    <= k_mask;
            a_left_reg    <= k_left;
            a_end_reg     <= k_end;
            a_end_idx_reg <= k_end_idx;
            a_kbase_reg   <= k_next_reg;
            a_vbase_reg   <= v_next_reg;
            k_next_reg    <= k_end ? k_next_reg : k_next_reg + c_ring;
            v_next_reg    <= v_next_reg + c_ring;
        end else if (a_go) begin
            a_left_reg <= a_rest;
        end

        if (a_go) begin
            g_valid_reg <= 1'b1;
            g_end_reg   <= a_end_reg;
            g_last_reg  <= a_last;
            g_bits_reg  <= a_end_reg ? ONE_BIT << a_end_idx_reg[GROUP_W-1:0] : a_bits;
            g_num_reg   <= a_end_reg ? a_end_idx_reg[IDX_W-1:GROUP_W] : a_num;
            g_kbase_reg <= a_kbase_reg;
            g_vbase_reg <= a_vbase_reg;
        end else if (g_go) begin
            g_valid_reg <= !g_single;
            g_bits_reg  <= g_rest;
        end

        if (g_go) begin
            b_valid_reg <= 1'b1;
            b_end_reg   <= g_end_reg;
            b_last_reg  <= g_last_reg && g_single;
            b_idx_reg   <= {g_num_reg, g_first};
            b_kbase_reg <= g_kbase_reg;
            b_vbase_reg <= g_vbase_reg;
        end else if (b_go) begin
            b_valid_reg <= 1'b0;
        end

        if (b_go) begin
            c_valid_reg <= 1'b1;
            c_end_reg   <= b_end_reg;
            c_last_reg  <= b_last_reg;
            c_idx_reg   <= b_idx_reg;
            c_qaddr_reg <= b_qbase[QA_W-1:0];
            c_kaddr_reg <= b_kbase_reg;
            c_vbase_reg <= b_vbase_reg;
            c_obase_reg <= b_obase[OA_W-1:0] + (b_end_reg ? MEAN_32[OA_W-1:0] : {OA_W{1'b0}});
            c_beat_reg  <= {C_W{1'b0}};
        end else if (c_done) begin
            c_valid_reg <= 1'b0;
        end else if (c_go) begin
            c_qaddr_reg <= c_qaddr_reg + 1'b1;
            c_kaddr_reg <= c_kaddr_reg + 1'b1;
            c_beat_reg  <= c_beat_reg + ONE;
        end

        near_reg    <= near_next;
        h_valid_reg <= h_valid_reg << 1;
        h_valid_reg[1] <= c_start;
        h_idx_reg   <= h_idx_reg << IDX_W;
        h_idx_reg[IDX_W:1] <= c_idx_reg;
        went_reg    <= {went_reg[1], c_go};

        f_busy_reg  <= f_slot && !f_end;
        f_count_reg <= f_count + {{C_W{1'b0}}, 1'b1};
        f_fin_reg   <= f_slot && f_count + {{C_W{1'b0}}, 1'b1} == {1'b0, c_last};
        wait_reg    <= ask_req && !d_ask && cfg_c == ONE;

        used_reg     <= d_pair;
        asked_reg    <= d_ask;
        left_idx_reg <= d_idx;
        if (used_reg) begin
            some_reg[left_idx_reg] <= 1'b1;
        end
        if (asked_reg) begin
            some_reg[left_idx_reg] <= 1'b0;
        end

        if (rst) begin
            a_valid_reg <= 1'b0;
            g_valid_reg <= 1'b0;
            b_valid_reg <= 1'b0;
            c_valid_reg <= 1'b0;
            k_next_reg  <= {KA_W{1'b0}};
            v_next_reg  <= {KA_W{1'b0}};
            near_reg    <= {(HAZARD - 1){1'b0}};
            h_valid_reg <= {(HAZARD - 2){1'b0}};
            went_reg    <= 2'd0;
            f_busy_reg  <= 1'b0;
            f_fin_reg   <= 1'b0;
            wait_reg    <= 1'b0;
            used_reg    <= 1'b0;
            asked_reg   <= 1'b0;
            some_reg    <= {ALL{1'b0}};
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // An arbitrary row: cycles since its last pair began and ended, pairs that are still to come of
    // it, whether it used a key
    (* anyconst *) wire [IDX_W-1:0] f_row;
    reg  [2:0] f_begun = 3'd7, f_ended = 3'd7;
    reg  [2:0] f_wants = 3'd0;
    integer    f_g;
    reg        f_some = 1'b0;
    wire       f_begins = rd_en && rd_first && c_idx_reg == f_row;
    wire       f_ends = d_pair && d_idx == f_row;
    wire [31:0] f_group = f_row / GROUP;
    wire [31:0] f_bit = f_row % GROUP;
    wire       f_at_a = a_valid_reg && !a_end_reg && a_left_reg[f_group] && a_mask_reg[f_row];
    wire       f_at_g = g_valid_reg && !g_end_reg && g_num_reg == f_group && g_bits_reg[f_bit];
    wire       f_at_b = b_valid_reg && !b_end_reg && b_idx_reg == f_row;
    wire       f_at_c = c_valid_reg && !c_end_reg && c_idx_reg == f_row;

    initial assume (rst);

    always @* begin
        assume (cfg_c != 0);
        // A key has rows, an end has none.
        assume (!k_valid || k_end || k_mask != 0);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        f_begun <= f_begins ? 3'd1 : f_begun + (f_begun != 3'd7);
        f_ended <= f_ends ? 3'd1 : f_ended + (f_ended != 3'd7);
        f_wants <= f_wants + (k_valid && k_ready && !k_end && k_mask[f_row]) - f_ends;
        if (f_ends) begin
            f_some <= 1'b1;
        end else if (d_ask && d_idx == f_row) begin
            f_some <= 1'b0;
        end
        if (rst) begin
            f_begun <= 3'd7;
            f_ended <= 3'd7;
            f_wants <= 3'd0;
            f_some  <= 1'b0;
        end
        if (started) begin
            assume (cfg_c == $past(cfg_c));
            // A question and a row of the flush wait until they are served.
            if ($past(ask_req && !ask_go && !rst)) begin
                assume (ask_req && ask_idx == $past(ask_idx));
            end
            if ($past(fin_req && !fin_go && !rst)) begin
                assume (fin_req);
            end
        end

        if (started) begin
            // 1. Between two pairs of a row lie HAZARD cycles: m, l and o of the first are written.
            assert (!f_begins || f_begun >= HAZARD);
            assert (!f_ends || f_ended >= HAZARD);
            // 2. A row leaves once for each key that wants it.
            assert (f_wants == f_at_a + f_at_g + f_at_b + f_at_c);
            // 3. At most one operation leaves in a cycle.
            assert (d_pair + d_mean + d_fin + d_ask <= 1);
            // 4. Between a beat of a pair and a row of the flush lie two cycles.
            assert (!fin_go || !($past(rd_en || d_mean) && !$past(rst)));
            // 5. What is said of a row that left: it used a key since it was last asked for.
            if ($past(!rst && (d_pair || d_ask) && d_idx == f_row)) begin
                assert (d_some == $past(f_some));
            end
            if (left_idx_reg == f_row && (used_reg || asked_reg)) begin
                assert (f_some == used_reg);
            end else begin
                assert (f_some == some_reg[f_row]);
            end
            // 6. What is held has rows left: a key groups, of each a row, and a group rows.
            assert (!a_valid_reg || a_end_reg || a_left_reg != 0);
            for (f_g = 0; f_g < GROUPS; f_g = f_g + 1) begin
                assert (!a_valid_reg || !a_left_reg[f_g] || a_mask_reg[f_g*GROUP +: GROUP] != 0);
            end
            assert (!g_valid_reg || g_bits_reg != 0);
            assert (!g_valid_reg || !g_end_reg || g_single);
            // 7. A row of the flush begins when no pair is on its way, and none begins while it is.
            assert (!c_valid_reg || c_first || went_reg[1]);
            assert (!f_busy_reg || !c_valid_reg || c_first);
            assert (!f_busy_reg || f_count_reg < {cfg_c, 1'b0});
            assert (!f_fin_reg || (f_busy_reg && f_count_reg == c_last));

            cover (f_begins && f_begun == HAZARD && cfg_c == 1);
            cover (f_wants == 3'd3);
            cover (fin_go && f_at_c);
            cover (d_ask && f_some && d_idx == f_row && cfg_c == 1);
        end
    end
`endif

endmodule

`resetall
