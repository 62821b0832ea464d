// SPDX-License-Identifier: Apache-2.0
// Flush of blocks: which row is next, its reciprocal times f, room for its beats at the receiver.
//
// Why: the sums of a block leave row by row while pairs of other places go on. A row is first asked
// for its l (one event of the pipeline, in a cycle that nobody else needs), which passes the
// divider and the product with f; when that is done and the receiver has room, its beats are
// asked for. Up to PREPS rows are under way, so that the latency does not show.
// R' = (R*f + half) >> F_FRAC, rest = 1 - f in 1.15. For a row that used no key fin_zero puts 0 in
// the place of o and of the mean.
// The question follows the row's last pair through the same pipeline, 3 cycles or more behind it,
// so that it sees the last l; o and the mean are written long before the divider is done.
// Not done here: the choice of cycles (sofa_sufa_issue.v), o and the mean (sofa_sufa_sv.v).
// Latency: ask_valid to fin_req 21 cycles. Throughput: a row a cycle.
// Source: docs/second.md, formal path.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_flush #(
    // Rows of a block in the unit, power of two, 2..64.
    parameter ROWS_U = 4,
    // Blocks whose sums the unit holds, power of two, 2..16.
    parameter PLACES_O = 2,
    // Bits of an address of the sums, and the first address of the means.
    parameter OA_W = 6,
    parameter MEAN_BASE = 32,
    // Bits of a sum of weights, 18..32.
    parameter L_W = 28,
    // Fraction bits of f, 4..12.
    parameter F_FRAC = 8,
    // Beats for which the receiver has room after reset, 1..255.
    parameter CREDITS = 16,
    // Bits of a number of beats of a vector, 1..7.
    parameter C_W = 4,
    // 1: drive the tap. 0: it is 0.
    parameter TAPS = 1,
    // Derived: leave at their defaults.
    parameter ALL = PLACES_O * ROWS_U,
    parameter IDX_W = $clog2(ALL)
) (
    input  wire              clk,
    input  wire              rst,

    input  wire [C_W-1:0]    cfg_c,

    // f of a row, 0..2^F_FRAC
    input  wire              f_wr_valid,
    input  wire [IDX_W-1:0]  f_wr_idx,
    input  wire [F_FRAC:0]   f_wr_data,

    // A block ends: {place, rows - 1}; one cycle after its mean was issued
    input  wire              end_valid,
    input  wire [IDX_W-1:0]  end_idx,

    // Ask for l of a row; a cycle later, whether it used a key; later the answer
    output wire              ask_req,
    output wire [IDX_W-1:0]  ask_idx,
    input  wire              ask_go,
    input  wire              ask_some,
    input  wire              ask_valid,
    input  wire [L_W-1:0]    ask_l,

    // Row whose beats may be asked for; it is taken later, when its turn at the sums has come
    output wire              fin_req,
    input  wire              fin_go,
    input  wire              fin_take,
    output wire [IDX_W-1:0]  fin_idx,
    output wire              fin_last,
    output wire [OA_W-1:0]   fin_obase,
    output wire [OA_W-1:0]   fin_mbase,
    output wire              fin_zero,
    output wire [4:0]        fin_shift,
    output wire [15:0]       fin_r,
    output wire [15:0]       fin_rest,

    // The receiver has room for one beat more
    input  wire              o_credit,

    // Tap: l of a row, with ask_valid of the row
    output wire              tap_valid,
    output wire [IDX_W-1:0]  tap_idx,
    output wire [L_W-1:0]    tap_l
);

    generate
        if (ROWS_U < 2 || ROWS_U > 64 || ROWS_U != (1 << $clog2(ROWS_U)) || PLACES_O < 2
                || PLACES_O > 16 || PLACES_O != (1 << $clog2(PLACES_O)) || L_W < 18 || L_W > 32
                || F_FRAC < 4 || F_FRAC > 12 || CREDITS < 1 || CREDITS > 255 || C_W < 1 || C_W > 7
                || OA_W < 2 || MEAN_BASE < 1 || ALL != PLACES_O * ROWS_U
                || IDX_W != $clog2(ALL)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_flush_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    // Rows on their way from ask_go to fin_take.
    localparam PREPS = 4;
    localparam COUNT_W = $clog2(PREPS + 1);
    localparam [31:0] PREPS_32 = PREPS;
    localparam [31:0] CREDITS_32 = CREDITS;
    localparam [31:0] MEAN_32 = MEAN_BASE;
    localparam ROW_W = $clog2(ROWS_U);
    // Products, wider than the addresses.
    localparam BASE_W = OA_W + IDX_W;
    localparam [F_FRAC:0] ONE = {1'b1, {F_FRAC{1'b0}}};
    localparam [16+F_FRAC:0] HALF = {{17{1'b0}}, 1'b1, {(F_FRAC - 1){1'b0}}};
    // f as a number with a sign and an even number of bits, its digits, rows of R*f and their bias
    // (sofa_mult_rows).
    localparam F_W = F_FRAC + 2 + F_FRAC % 2;
    localparam DIGITS = F_W / 2;
    localparam R_W = 17 + F_W;
    localparam [R_W-1:0] BIAS = {{DIGITS{2'b01}}, {17{1'b0}}};

    // -----------------------------------------------------------------------------------------
    // Walk over the rows of the oldest block
    // -----------------------------------------------------------------------------------------
    wire                       block_valid;
    wire [IDX_W-1:0]           block_idx;
    wire [$clog2(PLACES_O+1)-1:0] unused_blocks;
    wire                       unused_block_ready;
    reg  [ROW_W-1:0]           row_reg;
    reg  [COUNT_W-1:0]         busy_reg;
    wire                       row_last = row_reg == block_idx[ROW_W-1:0];
    // All rows of the block were asked for; it leaves the queue.
    reg                        block_done_reg;

    assign ask_req = block_valid && !block_done_reg && busy_reg != PREPS_32[COUNT_W-1:0];
    assign ask_idx = {block_idx[IDX_W-1:ROW_W], row_reg};

    // A place has one block, so there is room for all ends.
    sofa_sync_fifo #(
        .WIDTH (IDX_W),
        .DEPTH (PLACES_O)
    ) blocks_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (end_valid),
        .s_ready (unused_block_ready),
        .s_data  (end_idx),
        .m_valid (block_valid),
        .m_ready (block_done_reg),
        .m_data  (block_idx),
        .level   (unused_blocks)
    );

    // -----------------------------------------------------------------------------------------
    // Rows that were asked for, with their f, until their quotient is there
    // -----------------------------------------------------------------------------------------
    reg                        asked_reg, asked_last_reg;
    reg  [IDX_W-1:0]           asked_idx_reg;
    wire [F_FRAC:0]            f_rd;
    wire                       unused_asked_ready, unused_asked_valid;
    wire [COUNT_W-1:0]         unused_asked, unused_ready;
    wire [IDX_W-1:0]           q_idx;
    wire                       q_last, q_some;
    wire [F_FRAC:0]            q_f;
    wire                       div_valid;
    wire [15:0]                div_r;
    wire [4:0]                 div_shift;

    sofa_ram_1r1w #(
        .WIDTH  (F_FRAC + 1),
        .DEPTH  (ALL),
        .ADDR_W (IDX_W)
    ) f_ram_inst (
        .clk     (clk),
        .wr_en   (f_wr_valid),
        .wr_addr (f_wr_idx),
        .wr_data (f_wr_data),
        .rd_en   (ask_go),
        .rd_addr (ask_idx),
        .rd_data (f_rd)
    );

    sofa_sync_fifo #(
        .WIDTH (IDX_W + 2 + F_FRAC + 1),
        .DEPTH (PREPS)
    ) asked_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (asked_reg),
        .s_ready (unused_asked_ready),
        .s_data  ({asked_idx_reg, asked_last_reg, ask_some, f_rd}),
        .m_valid (unused_asked_valid),
        .m_ready (div_valid),
        .m_data  ({q_idx, q_last, q_some, q_f}),
        .level   (unused_asked)
    );

    sofa_sufa_div #(
        .L_W (L_W)
    ) div_inst (
        .clk       (clk),
        .rst       (rst),
        .in_valid  (ask_valid),
        .in_l      (ask_l),
        .out_valid (div_valid),
        .out_r     (div_r),
        .out_shift (div_shift)
    );

    // -----------------------------------------------------------------------------------------
    // R and f, their product as two rows, then R' and the addresses; rows that are ready
    // -----------------------------------------------------------------------------------------
    reg                        got_reg, got_last_reg, got_some_reg;
    reg  [IDX_W-1:0]           got_idx_reg;
    reg  [15:0]                got_r_reg;
    reg  [F_FRAC:0]            got_f_reg;
    reg  [F_W-1:0]             got_f_d_reg, got_f_n_reg;
    reg  [4:0]                 got_shift_reg;
    wire [F_W-1:0]             f_d, f_n;
    wire [R_W-1:0]             r_s, r_c;
    reg                        mul_reg, mul_last_reg, mul_zero_reg;
    reg  [IDX_W-1:0]           mul_idx_reg;
    reg  [16+F_FRAC:0]         mul_s_reg, mul_c_reg;
    reg  [F_FRAC:0]            mul_rest_reg;
    reg  [4:0]                 mul_shift_reg;

    // At most (2^16 - 1) * 2^F_FRAC + half.
    wire [16+F_FRAC:0]         rounded = mul_s_reg + mul_c_reg + (HALF - BIAS[16+F_FRAC:0]);
    wire [15:0]                r_f = rounded[F_FRAC +: 16];
    wire [15:0]                rest = {mul_rest_reg, {(15 - F_FRAC){1'b0}}};
    wire [BASE_W-1:0]          c_wide = {{(BASE_W - C_W){1'b0}}, cfg_c};
    // unreached toggle: the places of a job fit into the memory
    wire [BASE_W-1:0]          obase = {{OA_W{1'b0}}, mul_idx_reg} * c_wide;
    // unreached toggle: likewise
    wire [BASE_W-1:0]          mbase = {{(OA_W + ROW_W){1'b0}}, mul_idx_reg[IDX_W-1:ROW_W]}
                                       * c_wide;
    // The places that a job uses fit into the memory.
    wire                       unused_bases = &{1'b0, obase, mbase};
    wire                       unused_rows = &{1'b0, r_s[R_W-1:17+F_FRAC], r_c[R_W-1:17+F_FRAC]};
    wire                       unused_rounded = &{1'b0, rounded[16+F_FRAC], rounded[F_FRAC-1:0]};
    wire                       unused_ready_ready, unused_ready_valid;
    // Rows ready and not asked for; room at the receiver.
    reg  [COUNT_W-1:0]         ready_reg;
    reg  [8:0]                 credit_reg;
    reg                        fin_req_reg;
    reg  [COUNT_W-1:0]         ready_next;
    // Room without and with beats that are asked for in this cycle, whether it is that of a row:
    // the choice comes late.
    wire [9:0]                 c_credit = {{(10 - C_W){1'b0}}, cfg_c};
    wire [9:0]                 room = {1'b0, credit_reg} + {9'd0, o_credit};
    wire [9:0]                 room_less = room - c_credit;
    wire                       fits = room >= c_credit;
    wire                       fits_less = room >= {c_credit[8:0], 1'b0};
    wire                       unused_room = &{1'b0, room[9], room_less[9]};

    sofa_mult_digits #(
        .B_W (F_W)
    ) digits_inst (
        .b ({{(F_W - F_FRAC - 1){1'b0}}, q_f}),
        .d (f_d),
        .m (f_n)
    );

    sofa_mult_rows #(
        .A_W    (17),
        .DIGITS (DIGITS)
    ) mult_inst (
        .a ({1'b0, got_r_reg}),
        .d (got_f_d_reg),
        .m (got_f_n_reg),
        .s (r_s),
        .c (r_c)
    );

    sofa_sync_fifo #(
        .WIDTH (IDX_W + 2 + 2*OA_W + 5 + 32),
        .DEPTH (PREPS)
    ) ready_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (mul_reg),
        .s_ready (unused_ready_ready),
        .s_data  ({mul_idx_reg, mul_last_reg, mul_zero_reg, obase[OA_W-1:0],
                   mbase[OA_W-1:0] + MEAN_32[OA_W-1:0], mul_shift_reg, r_f, rest}),
        .m_valid (unused_ready_valid),
        .m_ready (fin_take),
        .m_data  ({fin_idx, fin_last, fin_zero, fin_obase, fin_mbase, fin_shift, fin_r,
                   fin_rest}),
        .level   (unused_ready)
    );

    assign fin_req = fin_req_reg;

    always @* begin
        ready_next = ready_reg;
        if (mul_reg && !fin_go) begin
            ready_next = ready_reg + 1'b1;
        end else if (fin_go && !mul_reg) begin
            ready_next = ready_reg - 1'b1;
        end
    end

    always @(posedge clk) begin
        if (ask_go) begin
            row_reg        <= row_last ? {ROW_W{1'b0}} : row_reg + 1'b1;
            asked_idx_reg  <= ask_idx;
            asked_last_reg <= row_last;
        end
        asked_reg <= ask_go;
        if (ask_go && !fin_take) begin
            busy_reg <= busy_reg + 1'b1;
        end else if (fin_take && !ask_go) begin
            busy_reg <= busy_reg - 1'b1;
        end
        got_reg <= div_valid;
        if (div_valid) begin
            got_idx_reg   <= q_idx;
            got_last_reg  <= q_last;
            got_some_reg  <= q_some;
            got_r_reg     <= div_r;
            got_f_reg     <= q_f;
            got_f_d_reg   <= f_d;
            got_f_n_reg   <= f_n;
            got_shift_reg <= div_shift;
        end
        mul_reg <= got_reg;
        if (got_reg) begin
            mul_idx_reg   <= got_idx_reg;
            mul_last_reg  <= got_last_reg;
            mul_zero_reg  <= !got_some_reg;
            mul_s_reg     <= r_s[16+F_FRAC:0];
            mul_c_reg     <= r_c[16+F_FRAC:0];
            mul_rest_reg  <= ONE - got_f_reg;
            mul_shift_reg <= got_shift_reg;
        end
        block_done_reg <= ask_go && row_last;
        credit_reg  <= fin_go ? room_less[8:0] : room[8:0];
        ready_reg   <= ready_next;
        fin_req_reg <= ready_next != {COUNT_W{1'b0}} && (fin_go ? fits_less : fits);
        if (rst) begin
            row_reg     <= {ROW_W{1'b0}};
            busy_reg    <= {COUNT_W{1'b0}};
            block_done_reg <= 1'b0;
            asked_reg   <= 1'b0;
            got_reg     <= 1'b0;
            mul_reg     <= 1'b0;
            credit_reg  <= CREDITS_32[8:0];
            ready_reg   <= {COUNT_W{1'b0}};
            fin_req_reg <= 1'b0;
        end
    end

    generate
        if (TAPS != 0) begin : g_taps
            // Rows are answered in the order in which they were asked for.
            wire unused_order_ready, unused_order_valid;
            wire [COUNT_W-1:0] unused_order;

            sofa_sync_fifo #(
                .WIDTH (IDX_W),
                .DEPTH (PREPS)
            ) order_inst (
                .clk     (clk),
                .rst     (rst),
                .clear   (1'b0),
                .s_valid (ask_go),
                .s_ready (unused_order_ready),
                .s_data  (ask_idx),
                .m_valid (unused_order_valid),
                .m_ready (ask_valid),
                .m_data  (tap_idx),
                .level   (unused_order)
            );

            assign tap_valid = ask_valid;
            assign tap_l     = ask_l;
        end else begin : g_no_taps
            assign tap_valid = 1'b0;
            assign tap_idx   = {IDX_W{1'b0}};
            assign tap_l     = {L_W{1'b0}};
        end
    endgenerate

endmodule

`resetall
