// SPDX-License-Identifier: Apache-2.0
// Order of the exp units and dividers of SU-FA, which work in lockstep.
//
// Why: between QK and SV lie two single buffers per row: the captured scores and the weights of
// the next step. This block issues a captured step to the exp units row by row, holds them when
// the weights of the step before were not yet taken by SV, and at the end of a block passes the
// sums of all rows through the dividers, whose results take the place of the weights.
// Not done here: any arithmetic.
// Latency: capture to the last row's weights 2*EXP_ROWS + 12 cycles. Throughput: a step every
// 2*EXP_ROWS cycles.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sufa_exp_ctl #(
    // Rows that share one exp unit, power of two, 2..128.
    parameter EXP_ROWS = 16,
    // Rows that share one divider, power of two, EXP_ROWS..128.
    parameter DIV_ROWS = 32,
    // Bits of row numbers within a group. Derived: leave at their defaults.
    parameter EROW_W = $clog2(EXP_ROWS),
    parameter DROW_W = $clog2(DIV_ROWS)
) (
    input  wire              clk,
    input  wire              rst,

    // QK: scores of a step were captured (cap is allowed with hold_take), they end the block; the
    // block ends without a step (allowed with end_ok)
    input  wire              cap,
    input  wire              cap_end,
    input  wire              end_only,
    // The scores' registers are free, or become free in this cycle
    output wire              hold_take,
    // They are free or will certainly be at most 4 cycles from now
    output wire              hold_soon,
    output wire              end_ok,

    // Exp units
    output wire              ex_en,
    output wire              ex_valid,
    output wire              ex_b,
    output wire [EROW_W-1:0] ex_row,
    output wire              ex_first,

    // Dividers: read the sum of a row; no step in this block (all sums are 0); results
    output wire              scan_en,
    output wire [DROW_W-1:0] scan_row,
    output wire              scan_valid,
    output wire              scan_empty,
    input  wire              div_valid,
    output wire [DROW_W-1:0] div_row,

    // SV: the next step's weights, or the reciprocals, will be complete when its first product
    // needs them; SV starts with them; the weights' registers are free after this cycle
    output wire              w_ready,
    input  wire              w_start,
    input  wire              w_taken
);

    generate
        if (EXP_ROWS < 2 || EXP_ROWS > 128 || EXP_ROWS != (1 << $clog2(EXP_ROWS))
                || DIV_ROWS < EXP_ROWS || DIV_ROWS > 128 || DIV_ROWS != (1 << $clog2(DIV_ROWS))
                || EROW_W != $clog2(EXP_ROWS) || DROW_W != $clog2(DIV_ROWS)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sufa_exp_ctl_needs_EXP_ROWS_2_128_DIV_ROWS_EXP_ROWS_128 stop ();
        end
    endgenerate

    // Cycles of a step, counted from 0; the first from which at most 5 are left, this one included.
    localparam [EROW_W:0] LAST_READ = {(EROW_W + 1){1'b1}};
    localparam NEAR_POSSIBLE = 2 * EXP_ROWS >= 8;
    localparam [31:0] NEAR_32 = 2 * EXP_ROWS - 5;
    localparam [EROW_W:0] NEAR_READ = NEAR_POSSIBLE ? NEAR_32[EROW_W:0] : LAST_READ;
    localparam [DROW_W-1:0] LAST_SCAN = {DROW_W{1'b1}};

    // Scores wait; they end the block
    reg              hold_reg, hold_next;
    reg              hold_end_reg, hold_end_next;
    // Half rows of the held step already issued
    reg [EROW_W:0]   count_reg, count_next;
    // No step of the block was issued yet
    reg              first_reg, first_next;
    // Block ended: wait for the pipeline, then read the sums
    reg              end_reg, end_next;
    reg              scan_reg, scan_next;
    reg              scan_valid_reg;
    reg              scan_empty_reg, scan_empty_next;
    reg [DROW_W-1:0] scan_row_reg, scan_row_next;
    reg [DROW_W-1:0] div_row_reg, div_row_next;
    // Weights' registers hold something SV has not taken; it is complete
    reg              w_busy_reg, w_busy_next;
    reg              w_ready_reg, w_ready_next;

    // Score b of a row in stage k of the exp units; of the first row; of the last row
    reg [12:1]       pipe_reg;
    reg [11:1]       pipe_first_reg;
    reg [10:1]       pipe_last_reg;

    wire last_read = ex_valid && count_reg == LAST_READ;
    wire no_freeze = !(|(pipe_reg[11:1] & pipe_first_reg));
    wire near = NEAR_POSSIBLE && ex_valid && count_reg >= NEAR_READ && no_freeze;
    wire scan_start = end_reg && !scan_reg && !(|pipe_reg) && !w_busy_reg;
    wire scan_last = scan_reg && scan_row_reg == LAST_SCAN;
    wire first_out = pipe_reg[11] && pipe_first_reg[11];
    // The last row's weights are written in the next cycle.
    wire last_soon = pipe_reg[10] && pipe_last_reg[10] && ex_en;
    wire div_last = div_valid && div_row_reg == LAST_SCAN;

    assign ex_en = !(first_out && w_busy_reg && !w_taken);
    assign ex_valid = hold_reg && !end_reg && ex_en;
    assign ex_b = count_reg[0];
    assign ex_row = count_reg[EROW_W:1];
    assign ex_first = first_reg;

    assign hold_take = !hold_reg || last_read;
    assign hold_soon = hold_take || near;
    assign end_ok = !hold_reg && !end_reg;

    assign scan_en = scan_reg;
    assign scan_row = scan_row_reg;
    assign scan_valid = scan_valid_reg;
    assign scan_empty = scan_empty_reg;
    assign div_row = div_row_reg;
    assign w_ready = w_ready_reg || last_soon;

    always @* begin
        hold_next = hold_reg;
        hold_end_next = hold_end_reg;
        count_next = count_reg;
        first_next = first_reg;
        end_next = end_reg;
        scan_next = scan_reg;
        scan_empty_next = scan_empty_reg;
        scan_row_next = scan_row_reg;
        div_row_next = div_row_reg;
        w_busy_next = w_busy_reg;
        w_ready_next = w_ready_reg;

        if (ex_valid) begin
            count_next = count_reg + 1'b1;
        end
        if (last_read) begin
            hold_next = 1'b0;
            first_next = 1'b0;
            end_next = hold_end_reg;
        end
        if (cap) begin
            hold_next = 1'b1;
            hold_end_next = cap_end;
        end
        if (end_only) begin
            end_next = 1'b1;
        end

        if (scan_start) begin
            scan_next = 1'b1;
            scan_empty_next = first_reg;
        end
        if (scan_reg) begin
            scan_row_next = scan_row_reg + 1'b1;
        end
        if (scan_last) begin
            scan_next = 1'b0;
            end_next = 1'b0;
            first_next = 1'b1;
        end
        if (div_valid) begin
            div_row_next = div_row_reg + 1'b1;
        end

        if (w_taken) begin
            w_busy_next = 1'b0;
        end
        if ((first_out && ex_en) || scan_start) begin
            w_busy_next = 1'b1;
        end
        if (last_soon || div_last) begin
            w_ready_next = 1'b1;
        end
        if (w_start) begin
            w_ready_next = 1'b0;
        end
    end

    always @(posedge clk) begin
        hold_reg <= hold_next;
        hold_end_reg <= hold_end_next;
        count_reg <= count_next;
        first_reg <= first_next;
        end_reg <= end_next;
        scan_reg <= scan_next;
        scan_valid_reg <= scan_reg;
        scan_empty_reg <= scan_empty_next;
        scan_row_reg <= scan_row_next;
        div_row_reg <= div_row_next;
        w_busy_reg <= w_busy_next;
        w_ready_reg <= w_ready_next;
        if (ex_en) begin
            pipe_reg <= {pipe_reg[11:1], ex_valid && ex_b};
            pipe_first_reg <= {pipe_first_reg[10:1], ex_row == {EROW_W{1'b0}}};
            pipe_last_reg <= {pipe_last_reg[9:1], ex_row == {EROW_W{1'b1}}};
        end
        if (rst) begin
            hold_reg <= 1'b0;
            count_reg <= {(EROW_W + 1){1'b0}};
            first_reg <= 1'b1;
            end_reg <= 1'b0;
            scan_reg <= 1'b0;
            scan_valid_reg <= 1'b0;
            scan_row_reg <= {DROW_W{1'b0}};
            div_row_reg <= {DROW_W{1'b0}};
            w_busy_reg <= 1'b0;
            w_ready_reg <= 1'b0;
            pipe_reg <= 12'd0;
        end
    end

endmodule

`resetall
