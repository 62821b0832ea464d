// SPDX-License-Identifier: Apache-2.0
// SADS by the row's sum: which keys of a tile each row keeps, and the share of its softmax kept.
//
// Why: a key is kept when its share of the row's predicted softmax reaches a threshold. A row has a
// peak R and sums P (of all visible keys) and T (of those kept); they say before a tile comes from
// which level on its keys are kept, so that every word of scores is compared and counted as it
// comes, and leaves as a word of masks three cycles later. No score is stored.
// Blocks of rows take turns; a block has a place, where its rows' states rest while the rows work
// for another block.
//
// A turn (t_*, one for each tile, in the order of the tiles, any time before its first word):
//     start  first turn of a block: its place is forgotten
//     count  the tile is counted only and gives no masks
//     final  last turn of a block: P stays as it is, T gets what is kept; f follows
//     ratio  (tiles of the band) / (tiles counted when this one is over), for the limit of the
//            next turn of the block; 1 where a final turn comes next
//     tau    threshold of the block, a logarithm; octave: log2 of the score units of an octave
//     exact  rows 0 .. exact-1 keep all keys that they see, and have f = 1
//     n, rows, causal, rel, kstep, window: row r may use slot b iff b < n, r < rows and (not causal
//            or rel + b*kstep <= r) and (window = 0 or rel + b*kstep + window > r)
//     user   passes through to m_user and f_user
// Words of four slots (s_*), ceil(n/4) a tile; lanes behind n and rows from `rows` on may have any
// value. Masks (m_*), word by word; after a final turn f (f_*), SHARE words in the order of rows.
// f must not wait for masks of later turns.
//
// The states of the rows of SHARE turns lie in three memories, one word for each place and row of a
// group; row r is in group r mod (ROWS/SHARE), so that the words of a step and of f belong to
// ROWS/SHARE neighbouring rows. The states of the next tile are loaded, and those of the tile
// before stored, while the current one is worked on; limits are made on the way into the memory.
//
// Latency, cycles: t taken to s_ready SHARE + 1; s taken to m_valid 3. With Q = ceil(F_FRAC/2),
// D = max(Q, 4), L = 10 + ceil(RATIO_W/4): last word of a tile to the first word of the next of the
// same place SHARE + max(SHARE, L) + 1; last word of a block, stored at once, to its first f 6 + Q,
// the others D + 1 apart.
// Throughput: a word a cycle; a tile every max(words, SHARE) cycles when it starts a block or its
// place is not that of the tile before, nor of one whose store began less than L cycles ago. A
// store with f takes (SHARE - 1)*(D + 1) + 1 cycles, the next with f begins 5 + Q later; the tile
// after it is worked on meanwhile.
// Errors: none are found. A place from PLACES on, words without a turn, a ratio with which the
// extrapolated sum exceeds SUM_W bits, or a turn that neither starts a block nor follows one of it
// give wrong masks.
// Widths: scores SC_W, levels LEVEL_W signed; ratio RATIO_FRAC, tau LOG_FRAC (signed), f F_FRAC
// fraction bits.
// Source: our decision; docs/second.md, Selection; docs/sads.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sads_sum #(
    // Query rows of a block, power of two, 4..128.
    parameter ROWS = 128,
    // Bits of a signed score, 8..32.
    parameter SC_W = 17,
    // Bits of a signed level, 8..SC_W.
    parameter LEVEL_W = 10,
    // Fraction bits of the sums of weights, 6..16.
    parameter SUM_FRAC = 12,
    // Fraction bits of a logarithm and of tau, 0..6.
    parameter LOG_FRAC = 4,
    // Fraction bits of the ratio, 4..12.
    parameter RATIO_FRAC = 8,
    // Fraction bits of f, 4..12.
    parameter F_FRAC = 8,
    // Largest number of keys, power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Largest tile, slots, power of two, 8..64.
    parameter BC_MAX = 64,
    // Smallest tile size of a job, power of two, 4..BC_MAX.
    parameter BC_MIN = 4,
    // Blocks whose rows' states are kept, 1..64.
    parameter PLACES = 6,
    // Rows that share one limit and one divider, power of two, 4..ROWS, ROWS/SHARE up to 32.
    parameter SHARE = ROWS < 16 ? ROWS : 16,
    // Bits that pass through, 1..1024.
    parameter USER_W = 1,
    // Bits of a place, of the ratio, of tau. Derived: leave at their defaults.
    parameter PLACE_W = PLACES > 1 ? $clog2(PLACES) : 1,
    parameter RATIO_W = RATIO_FRAC + $clog2(KEYS_MAX) - $clog2(BC_MIN) + 1,
    parameter TAU_W = 7 + LOG_FRAC,
    // Rows whose states move in one step. Derived: leave at its default.
    parameter GROUPS = ROWS / SHARE
) (
    input  wire                         clk,
    input  wire                         rst,

    // Turns
    input  wire                         t_valid,
    output wire                         t_ready,
    input  wire [PLACE_W-1:0]           t_place,
    input  wire                         t_start,
    input  wire                         t_count,
    input  wire                         t_final,
    input  wire [7:0]                   t_n,
    input  wire [7:0]                   t_rows,
    input  wire                         t_causal,
    input  wire [24:0]                  t_rel,
    input  wire [23:0]                  t_kstep,
    input  wire [23:0]                  t_window,
    input  wire [7:0]                   t_exact,
    input  wire [RATIO_W-1:0]           t_ratio,
    input  wire [TAU_W-1:0]             t_tau,
    input  wire [4:0]                   t_octave,
    input  wire [USER_W-1:0]            t_user,

    // Words of scores: slot 4*w + j of row r in word w at index r*4 + j
    input  wire                         s_valid,
    output wire                         s_ready,
    input  wire                         s_last,
    input  wire [ROWS*4*SC_W-1:0]       s_scores,

    // Words of masks: slot 4*w + j of row r in word w at bit j*ROWS + r
    output wire                         m_valid,
    input  wire                         m_ready,
    output wire                         m_first,
    output wire                         m_last,
    output wire [4*ROWS-1:0]            m_mask,
    output wire [USER_W-1:0]            m_user,

    // Shares: word f_word has rows f_word*GROUPS .. f_word*GROUPS + GROUPS - 1, the lowest first
    output wire                         f_valid,
    input  wire                         f_ready,
    output wire                         f_last,
    output wire [$clog2(SHARE)-1:0]     f_word,
    output wire [PLACE_W-1:0]           f_place,
    output wire [GROUPS*(F_FRAC+1)-1:0] f_data,
    output wire [USER_W-1:0]            f_user,

    // Events: a word is taken; a word of a tile whose states are there waits for m
    output wire                         ev_busy,
    output wire                         ev_stall
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_ROWS_needs_power_of_two_4_to_128 stop ();
        end else if (SC_W < 8 || SC_W > 32) begin : g_illegal
            illegal_parameter_SC_W_needs_8_to_32 stop ();
        end else if (LEVEL_W < 8 || LEVEL_W > SC_W) begin : g_illegal
            illegal_parameter_LEVEL_W_needs_8_to_SC_W stop ();
        end else if (SUM_FRAC < 6 || SUM_FRAC > 16) begin : g_illegal
            illegal_parameter_SUM_FRAC_needs_6_to_16 stop ();
        end else if (LOG_FRAC < 0 || LOG_FRAC > 6) begin : g_illegal
            illegal_parameter_LOG_FRAC_needs_0_to_6 stop ();
        end else if (RATIO_FRAC < 4 || RATIO_FRAC > 12) begin : g_illegal
            illegal_parameter_RATIO_FRAC_needs_4_to_12 stop ();
        end else if (F_FRAC < 4 || F_FRAC > 12) begin : g_illegal
            illegal_parameter_F_FRAC_needs_4_to_12 stop ();
        end else if (KEYS_MAX < 64 || KEYS_MAX > 65536
                || KEYS_MAX != (1 << $clog2(KEYS_MAX))) begin : g_illegal
            illegal_parameter_KEYS_MAX_needs_power_of_two_64_to_65536 stop ();
        end else if (BC_MAX < 8 || BC_MAX > 64 || BC_MAX != (1 << $clog2(BC_MAX))) begin : g_illegal
            illegal_parameter_BC_MAX_needs_power_of_two_8_to_64 stop ();
        end else if (BC_MIN < 4 || BC_MIN > BC_MAX
                || BC_MIN != (1 << $clog2(BC_MIN))) begin : g_illegal
            illegal_parameter_BC_MIN_needs_power_of_two_4_to_BC_MAX stop ();
        end else if (PLACES < 1 || PLACES > 64) begin : g_illegal
            illegal_parameter_PLACES_needs_1_to_64 stop ();
        end else if (SHARE < 4 || SHARE > ROWS || ROWS / SHARE > 32
                || SHARE != (1 << $clog2(SHARE))) begin : g_illegal
            illegal_parameter_SHARE_needs_power_of_two_4_to_ROWS stop ();
        end else if (USER_W < 1 || USER_W > 1024) begin : g_illegal
            illegal_parameter_USER_W_needs_1_to_1024 stop ();
        end else if (PLACE_W != (PLACES > 1 ? $clog2(PLACES) : 1)
                || RATIO_W != RATIO_FRAC + $clog2(KEYS_MAX) - $clog2(BC_MIN) + 1
                || TAU_W != 7 + LOG_FRAC || GROUPS != ROWS / SHARE) begin : g_illegal
            illegal_parameter_PLACE_W_RATIO_W_TAU_W_and_GROUPS_are_derived stop ();
        end
    endgenerate

    localparam SUM_W  = SUM_FRAC + 1 + $clog2(KEYS_MAX);
    localparam STEP_W = $clog2(SHARE);
    localparam ADDR_W = $clog2(PLACES * SHARE);
    // Words of masks between the rows and the next stage: as many as a credit's way takes cycles
    localparam OUT_WORDS = 4;
    // Cycles of a limit; of a division, no fewer than a row takes from the chain to the divider
    localparam LIMIT = 5 + (RATIO_W + 3) / 4;
    localparam DIV   = F_FRAC < 7 ? 4 : (F_FRAC + 1) / 2;
    // Cycles from a step until the limits of its rows are written
    localparam LATE = 4 + LIMIT;
    localparam [LEVEL_W-1:0] LOWEST = {1'b1, {LEVEL_W-1{1'b0}}};
    localparam [31:0] LAST_WORD = SHARE - 1;
    localparam [31:0] GROUPS_32 = GROUPS;

    // ---- Turns ---------------------------------------------------------------------------------
    localparam TURN_W = USER_W + PLACE_W + 3 + 8 + 8 + 1 + 25 + 24 + 24 + 8 + RATIO_W + TAU_W + 5;

    wire               next_valid;
    wire               next_take;
    wire [USER_W-1:0]  next_user;
    wire [PLACE_W-1:0] next_place;
    wire               next_start;
    wire               next_count;
    wire               next_final;
    wire [7:0]         next_n;
    wire [7:0]         next_rows;
    wire               next_causal;
    wire [24:0]        next_rel;
    wire [23:0]        next_kstep;
    wire [23:0]        next_window;
    wire [7:0]         next_exact;
    wire [RATIO_W-1:0] next_ratio;
    wire [TAU_W-1:0]   next_tau;
    wire [4:0]         next_octave;
    wire [1:0]         unused_level;

    sofa_sync_fifo #(
        .WIDTH(TURN_W),
        .DEPTH(2)
    ) turn_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid),
        .s_ready (t_ready),
        .s_data  ({t_user, t_place, t_start, t_count, t_final, t_n, t_rows, t_causal, t_rel,
                   t_kstep, t_window, t_exact, t_ratio, t_tau, t_octave}),
        .m_valid (next_valid),
        .m_ready (next_take),
        .m_data  ({next_user, next_place, next_start, next_count, next_final, next_n, next_rows,
                   next_causal, next_rel, next_kstep, next_window, next_exact, next_ratio,
                   next_tau, next_octave}),
        .level   (unused_level)
    );

    // Turn whose words come; turn whose states are being stored
    reg [RATIO_W-1:0] current_ratio_reg, old_ratio_reg;
    reg [TAU_W-1:0]   current_tau_reg, old_tau_reg;
    reg [7:0]         current_exact_reg, old_exact_reg;
    reg [USER_W-1:0]  current_user_reg, old_user_reg;

    // ---- Control -------------------------------------------------------------------------------
    wire               take;
    wire               take_first;
    wire               current_count;
    wire               current_final;
    wire               m_take = m_valid && m_ready;
    wire               f_take = f_valid && f_ready;
    wire               store;
    wire               load;
    wire [STEP_W-1:0]  step_row;
    wire [PLACE_W-1:0] store_place;
    wire               store_final;
    wire               shift;
    wire               swap;
    wire               limit_done;
    wire [PLACE_W-1:0] limit_place;

    sofa_sads_sum_ctl #(
        .SHARE     (SHARE),
        .PLACES    (PLACES),
        .OUT_WORDS (OUT_WORDS),
        .DIV       (DIV)
    ) ctl_inst (
        .clk           (clk),
        .rst           (rst),
        .next_valid    (next_valid),
        .next_place    (next_place),
        .next_start    (next_start),
        .next_count    (next_count),
        .next_final    (next_final),
        .next_take     (next_take),
        .s_valid       (s_valid),
        .s_ready       (s_ready),
        .s_last        (s_last),
        .take          (take),
        .take_first    (take_first),
        .current_count (current_count),
        .current_final (current_final),
        .m_take        (m_take),
        .store         (store),
        .load          (load),
        .step_row      (step_row),
        .store_place   (store_place),
        .store_final   (store_final),
        .shift         (shift),
        .swap          (swap),
        .limit_done    (limit_done),
        .limit_place   (limit_place),
        .f_take        (f_take),
        .ev_stall      (ev_stall)
    );

    assign ev_busy = take;

    // ---- Pulses for the stages: bit k holds what belongs to s(k+1) ------------------------------
    // Words, chain movements, and what they carry
    reg [3:0] take_reg;
    reg [3:0] shift_reg;
    reg [3:0] swap_reg;
    reg [2:0] final_reg;
    reg [3:0] start_reg;
    reg [1:0] count_reg;
    // Loads as far as the sums' memory
    reg [2:0]          load_reg;
    reg [3*ADDR_W-1:0] load_addr_reg;
    // Stores as far as the limits' memory
    reg [LATE-1:0]                   store_reg;
    reg [LATE*(PLACE_W+STEP_W)-1:0]  store_addr_reg;
    reg [3:0]                        divide_reg;

    wire [PLACE_W+STEP_W-1:0] load_addr  = {next_place, step_row};
    wire [PLACE_W+STEP_W-1:0] store_addr = {store_place, step_row};
    // Addresses of stores in s2, s4 and at the end
    wire [PLACE_W+STEP_W-1:0] peak_addr  = store_addr_reg[1*(PLACE_W+STEP_W) +: PLACE_W+STEP_W];
    wire [PLACE_W+STEP_W-1:0] sums_addr  = store_addr_reg[3*(PLACE_W+STEP_W) +: PLACE_W+STEP_W];
    wire [PLACE_W+STEP_W-1:0] reach_addr =
        store_addr_reg[(LATE-1)*(PLACE_W+STEP_W) +: PLACE_W+STEP_W];

    assign limit_done  = store_reg[LATE-1] && reach_addr[STEP_W-1:0] == {STEP_W{1'b0}};
    assign limit_place = reach_addr[STEP_W +: PLACE_W];

    always @(posedge clk) begin
        take_reg      <= {take_reg[2:0], take};
        shift_reg     <= {shift_reg[2:0], shift};
        swap_reg      <= {swap_reg[2:0], swap};
        final_reg     <= {final_reg[1:0], current_final};
        start_reg     <= {start_reg[2:0], next_start};
        count_reg     <= {count_reg[0], current_count};
        load_reg      <= {load_reg[1:0], load};
        load_addr_reg <= {load_addr_reg[2*ADDR_W-1:0], load_addr[ADDR_W-1:0]};
        store_reg     <= {store_reg[LATE-2:0], store};
        divide_reg    <= {divide_reg[2:0], store && store_final};
        store_addr_reg <= {store_addr_reg[(LATE-1)*(PLACE_W+STEP_W)-1:0], store_addr};

        if (next_take) begin
            current_ratio_reg <= next_ratio;
            current_tau_reg   <= next_tau;
            current_exact_reg <= next_exact;
            current_user_reg  <= next_user;
        end
        if (swap) begin
            old_ratio_reg <= current_ratio_reg;
            old_tau_reg   <= current_tau_reg;
            old_exact_reg <= current_exact_reg;
            old_user_reg  <= current_user_reg;
        end

        if (rst) begin
            take_reg   <= 4'd0;
            shift_reg  <= 4'd0;
            swap_reg   <= 4'd0;
            load_reg   <= 3'd0;
            store_reg  <= {LATE{1'b0}};
            divide_reg <= 4'd0;
        end
    end

    generate
        if (PLACE_W + STEP_W > ADDR_W) begin : g_unused
            // A single place has a bit that is always 0.
            wire unused_addr = &{1'b0, load_addr[PLACE_W+STEP_W-1:ADDR_W],
                                 peak_addr[PLACE_W+STEP_W-1:ADDR_W],
                                 sums_addr[PLACE_W+STEP_W-1:ADDR_W]};
        end
    endgenerate

    // ---- Memories: peaks, sums, octaves below the peak that the next limit lies -----------------
    wire [GROUPS*LEVEL_W-1:0] peak_old, peak_mem;
    wire [GROUPS*SUM_W-1:0]   total_old, total_mem;
    wire [GROUPS*SUM_W-1:0]   kept_old, kept_mem;
    wire [GROUPS*7-1:0]       reach_old, reach_mem;

    sofa_ram_1r1w #(
        .WIDTH(GROUPS * LEVEL_W),
        .DEPTH(PLACES * SHARE)
    ) peak_inst (
        .clk     (clk),
        .wr_en   (store_reg[1]),
        .wr_addr (peak_addr[ADDR_W-1:0]),
        .wr_data (peak_old),
        .rd_en   (load),
        .rd_addr (load_addr[ADDR_W-1:0]),
        .rd_data (peak_mem)
    );

    sofa_ram_1r1w #(
        .WIDTH(GROUPS * 2 * SUM_W),
        .DEPTH(PLACES * SHARE)
    ) sums_inst (
        .clk     (clk),
        .wr_en   (store_reg[3]),
        .wr_addr (sums_addr[ADDR_W-1:0]),
        .wr_data ({total_old, kept_old}),
        .rd_en   (load_reg[2]),
        .rd_addr (load_addr_reg[2*ADDR_W +: ADDR_W]),
        .rd_data ({total_mem, kept_mem})
    );

    sofa_ram_1r1w #(
        .WIDTH(GROUPS * 7),
        .DEPTH(PLACES * SHARE)
    ) reach_inst (
        .clk     (clk),
        .wr_en   (store_reg[LATE-1]),
        .wr_addr (reach_addr[ADDR_W-1:0]),
        .wr_data (reach_old),
        .rd_en   (load),
        .rd_addr (load_addr[ADDR_W-1:0]),
        .rd_data (reach_mem)
    );

    // ---- Limits of the next turn, from the sums that are stored ---------------------------------
    // Ratio and threshold of the rows that pass: taken with row 0, before the turn can change.
    reg [RATIO_W-1:0] limit_ratio_reg;
    reg [TAU_W-1:0]   limit_tau_reg;
    wire              store_begins = store_reg[2]
        && store_addr_reg[2*(PLACE_W+STEP_W) +: STEP_W] == {STEP_W{1'b0}};

    always @(posedge clk) begin
        if (store_begins) begin
            limit_ratio_reg <= old_ratio_reg;
            limit_tau_reg   <= old_tau_reg;
        end
    end

    sofa_sads_sum_limit #(
        .LANES      (GROUPS),
        .SUM_FRAC   (SUM_FRAC),
        .SUM_W      (SUM_W),
        .LOG_FRAC   (LOG_FRAC),
        .RATIO_FRAC (RATIO_FRAC),
        .RATIO_W    (RATIO_W)
    ) limit_inst (
        .clk       (clk),
        .in_total  (total_old),
        .in_ratio  (limit_ratio_reg),
        .in_tau    (limit_tau_reg),
        .out_reach (reach_old)
    );

    // ---- Shares --------------------------------------------------------------------------------
    // Block that is divided: the next one begins when all its f are taken.
    reg [USER_W-1:0]  f_user_reg;
    reg [PLACE_W-1:0] f_place_reg;
    reg [7:0]         f_exact_reg;
    reg [STEP_W-1:0]  f_word_reg;
    wire [GROUPS-1:0] f_whole;

    always @(posedge clk) begin
        if (store && store_final && step_row == {STEP_W{1'b0}}) begin
            f_user_reg  <= old_user_reg;
            f_place_reg <= store_place;
            f_exact_reg <= old_exact_reg;
        end
        if (f_take) begin
            f_word_reg <= f_word_reg + 1'b1;
        end

        if (rst) begin
            f_word_reg <= {STEP_W{1'b0}};
        end
    end

    assign f_word  = f_word_reg;
    assign f_last  = f_word_reg == LAST_WORD[STEP_W-1:0];
    assign f_place = f_place_reg;
    assign f_user  = f_user_reg;

    sofa_sads_sum_div #(
        .LANES  (GROUPS),
        .SUM_W  (SUM_W),
        .F_FRAC (F_FRAC)
    ) div_inst (
        .clk      (clk),
        .rst      (rst),
        .in_valid (divide_reg[3]),
        .in_total (total_old),
        .in_kept  (kept_old),
        .in_whole (f_whole),
        .f_valid  (f_valid),
        .f_ready  (f_ready),
        .f_data   (f_data)
    );

    // ---- States that are loaded ----------------------------------------------------------------
    // Chains: index r is row r's copy, GROUPS of them at the end what comes from the memories. In
    // front the rows leave whose states are stored.
    wire [(ROWS+GROUPS)*LEVEL_W-1:0] limit_chain;
    wire [(ROWS+GROUPS)*LEVEL_W-1:0] peak_chain;
    wire [(ROWS+GROUPS)*SUM_W-1:0]   total_chain;
    wire [(ROWS+GROUPS)*SUM_W-1:0]   kept_chain;

    assign peak_old  = peak_chain[GROUPS*LEVEL_W-1:0];
    assign total_old = total_chain[GROUPS*SUM_W-1:0];
    assign kept_old  = kept_chain[GROUPS*SUM_W-1:0];

    wire unused_limits = &{1'b0, limit_chain[GROUPS*LEVEL_W-1:0]};

    assign total_chain[ROWS*SUM_W +: GROUPS*SUM_W] = total_mem & {GROUPS*SUM_W{!start_reg[3]}};
    assign kept_chain[ROWS*SUM_W +: GROUPS*SUM_W]  = kept_mem & {GROUPS*SUM_W{!start_reg[3]}};

    genvar g;
    generate
        for (g = 0; g < GROUPS; g = g + 1) begin : g_group
            localparam [31:0] LANE = g;
            // Row of this group that is loaded in s0; that is divided in s4
            wire [8:0] row     = {{9-STEP_W{1'b0}}, step_row} * GROUPS_32[8:0] + LANE[8:0];
            wire [8:0] row_div = {{9-STEP_W{1'b0}}, sums_addr[STEP_W-1:0]} * GROUPS_32[8:0]
                               + LANE[8:0];
            reg every_reg;
            // A row without a key: the lowest peak, and limit
            wire [LEVEL_W-1:0] peak = peak_mem[g*LEVEL_W +: LEVEL_W];
            wire [LEVEL_W:0]   limit = {peak[LEVEL_W-1], peak}
                                     - {{LEVEL_W-6{1'b0}}, reach_mem[g*7 +: 7]};
            reg  [LEVEL_W-1:0] limit_reg;
            reg  [LEVEL_W-1:0] peak_reg;

            assign f_whole[g] = row_div < {1'b0, f_exact_reg};
            assign limit_chain[(ROWS+g)*LEVEL_W +: LEVEL_W] = limit_reg;
            assign peak_chain[(ROWS+g)*LEVEL_W +: LEVEL_W] = peak_reg;

            always @(posedge clk) begin
                // At a start the memories may hold anything.
                every_reg <= next_start || row < {1'b0, next_exact};
                limit_reg <= (every_reg || limit[LEVEL_W] != limit[LEVEL_W-1])
                    ? LOWEST : limit[LEVEL_W-1:0];
                peak_reg  <= start_reg[0] ? LOWEST : peak;
            end
        end
    endgenerate

    // ---- Rows ----------------------------------------------------------------------------------
    wire [4*ROWS-1:0] visible;
    wire [4*ROWS-1:0] keep;

    sofa_sads_sum_mask #(
        .ROWS   (ROWS),
        .BC_MAX (BC_MAX)
    ) mask_inst (
        .clk         (clk),
        .next_n      (next_n),
        .next_rows   (next_rows),
        .next_causal (next_causal),
        .next_rel    (next_rel),
        .next_kstep  (next_kstep),
        .next_window (next_window),
        .swap        (next_take),
        .step        (take),
        .visible     (visible)
    );

    genvar r, j;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            wire [3:0] row_visible;
            wire [3:0] row_keep;
            for (j = 0; j < 4; j = j + 1) begin : g_lane
                assign row_visible[j] = visible[j*ROWS+r];
                assign keep[j*ROWS+r] = row_keep[j];
            end

            sofa_sads_sum_row #(
                .SC_W     (SC_W),
                .LEVEL_W  (LEVEL_W),
                .SUM_FRAC (SUM_FRAC),
                .SUM_W    (SUM_W)
            ) row_inst (
                .clk        (clk),
                .octave_en  (next_take),
                .octave     (next_octave),
                .s0_en      (take),
                .s0_visible (row_visible),
                .s0_scores  (s_scores[r*4*SC_W +: 4*SC_W]),
                .s1_en      (take_reg[0]),
                .s2_en      (take_reg[1]),
                .s2_count   (count_reg[1]),
                .s2_keep    (row_keep),
                .s2_shift   (shift_reg[1]),
                .s2_swap    (swap_reg[1]),
                .limit_in   (limit_chain[(r+GROUPS)*LEVEL_W +: LEVEL_W]),
                .limit_out  (limit_chain[r*LEVEL_W +: LEVEL_W]),
                .peak_in    (peak_chain[(r+GROUPS)*LEVEL_W +: LEVEL_W]),
                .peak_out   (peak_chain[r*LEVEL_W +: LEVEL_W]),
                .s3_en      (take_reg[2]),
                .s3_final   (final_reg[2]),
                .s4_en      (take_reg[3]),
                .s4_shift   (shift_reg[3]),
                .s4_swap    (swap_reg[3]),
                .total_in   (total_chain[(r+GROUPS)*SUM_W +: SUM_W]),
                .kept_in    (kept_chain[(r+GROUPS)*SUM_W +: SUM_W]),
                .total_out  (total_chain[r*SUM_W +: SUM_W]),
                .kept_out   (kept_chain[r*SUM_W +: SUM_W])
            );
        end
    endgenerate

    // ---- Masks ---------------------------------------------------------------------------------
    reg [2*USER_W-1:0] user_reg;
    reg [1:0]          first_reg;
    reg [1:0]          last_reg;
    wire               unused_ready;
    wire [2:0]         unused_words;

    always @(posedge clk) begin
        user_reg  <= {user_reg[USER_W-1:0], current_user_reg};
        first_reg <= {first_reg[0], take_first};
        last_reg  <= {last_reg[0], s_last};
    end

    // A word has its place since it was taken, so there is always room.
    sofa_sync_fifo #(
        .WIDTH(USER_W + 2 + 4 * ROWS),
        .DEPTH(OUT_WORDS)
    ) out_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (take_reg[1] && !count_reg[1]),
        .s_ready (unused_ready),
        .s_data  ({user_reg[USER_W +: USER_W], first_reg[1], last_reg[1], keep}),
        .m_valid (m_valid),
        .m_ready (m_ready),
        .m_data  ({m_user, m_first, m_last, m_mask}),
        .level   (unused_words)
    );

endmodule

`resetall
