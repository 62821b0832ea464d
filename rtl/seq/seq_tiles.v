// SPDX-License-Identifier: Apache-2.0

/*
 * seq_tiles: walks a legal job, query heads x blocks of ROWS rows x tiles, and emits one tile
 * command (K8 address, tile descriptor) a tile, in order.
 *
 * A block costs 9 cycles of set-up (three products for the address steps of the interleaved order,
 * a 7-step division for the tile sizes); they hide behind the two tiles that the K8 ring holds.
 * Commands leave at one a cycle while the fetch stage takes them.
 *
 * Source: our decision (docs/architecture.md sections 4 and 6).
 */

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_regs.vh"
`include "sofa_td.vh"

module seq_tiles #(
    // Query rows in parallel, power of two 4..128
    parameter ROWS = 128
) (
    input  wire         clk,
    input  wire         rst,

    /*
     * Control: start is a pulse; active until the last command has been taken
     */
    input  wire         start,
    output wire         active,
    output wire         ev_tile,

    /*
     * Job, legal and stable while active; buffer i is `SOFA_BUF_* = i, Q to O
     */
    input  wire         job_causal,
    input  wire         job_contig,
    input  wire [16:0]  job_rows,
    input  wire [16:0]  job_keys,
    input  wire [15:0]  job_heads,
    input  wire [15:0]  job_group,
    input  wire [16:0]  job_offset,
    input  wire [7:0]   job_bc,
    input  wire [5*48-1:0] job_base,
    input  wire [5*32-1:0] job_stride,
    input  wire [5*32-1:0] job_hstride,

    /*
     * Tile command
     */
    output wire         tc_valid,
    input  wire         tc_ready,
    output wire [47:0]  tc_k8addr,
    output wire [31:0]  tc_k8inc,
    output wire [`TD_W-1:0] tc_td
);

localparam ROWS_W = $clog2(ROWS);

// waits for start
localparam S_IDLE  = 3'd0;
// visible prefix and tile count of the block
localparam S_BLOCK = 3'd1;
// division L / Tc for the tile sizes, beside it the three address steps
localparam S_DIV   = 3'd2;
// emits the tile commands
localparam S_TILES = 3'd3;
// moves to the next block or head
localparam S_NEXT  = 3'd4;

reg [2:0]  state_reg, state_next;
reg [15:0] head_reg, head_next;
reg [15:0] grp_reg, grp_next;
reg [16:0] row_reg, row_next;
reg [17:0] len_reg, len_next;
reg [16:0] tc_reg, tc_next;
reg [16:0] tile_reg, tile_next;
reg [2:0]  cnt_reg, cnt_next;
reg [17:0] rem_reg, rem_next;
reg [7:0]  quo_reg, quo_next;
reg [31:0] inc_k8_reg, inc_k8_next;
reg [31:0] inc_k_reg, inc_k_next;
reg [31:0] inc_v_reg, inc_v_next;
reg [17:0] k0_reg, k0_next;
// base of the current head, address of the current block, address of the current tile
reg [47:0] o_head_reg, o_head_next, o_blk_reg, o_blk_next;
reg [47:0] k8_head_reg, k8_head_next, k8_tile_reg, k8_tile_next;
reg [47:0] k_head_reg, k_head_next, k_tile_reg, k_tile_next;
reg [47:0] v_head_reg, v_head_next, v_tile_reg, v_tile_next;
reg [31:0] prod_reg;

// log2 of the tile size, which is a power of two
reg [2:0] bc_log;
always @* begin
    case (1'b1)
        job_bc[2]: bc_log = 3'd2;
        job_bc[3]: bc_log = 3'd3;
        job_bc[4]: bc_log = 3'd4;
        job_bc[5]: bc_log = 3'd5;
        default:   bc_log = 3'd6;
    endcase
end

wire [16:0] left = job_rows - row_reg;
wire        block_last = left <= ROWS[16:0];
wire [7:0]  blk_rows = left > ROWS[16:0] ? ROWS[7:0] : left[7:0];
wire [17:0] pos0 = {1'b0, job_offset} + {1'b0, row_reg};
wire [17:0] reach = pos0 + {10'd0, blk_rows};
wire [17:0] len_blk = job_causal && reach < {1'b0, job_keys} ? reach : {1'b0, job_keys};
wire [17:0] tc_round = len_blk + {10'd0, job_bc} - 18'd1;
wire [17:0] tc_blk = tc_round >> bc_log;

wire [16:0] kstep = job_contig ? 17'd1 : tc_reg;
wire [17:0] tile_last = {1'b0, tc_reg} - 18'd1;
wire        last = {1'b0, tile_reg} == tile_last;
wire [17:0] len_left = len_reg - k0_reg;
// the division leaves quotient quo_reg and remainder rem_reg
wire [7:0]  n_inter = quo_reg + ({1'b0, tile_reg} < rem_reg ? 8'd1 : 8'd0);
wire [7:0]  n_contig = len_left > {10'd0, job_bc} ? job_bc : len_left[7:0];

wire [24:0] div_sub = {8'd0, tc_reg} << cnt_reg;
wire        div_ge = {7'd0, rem_reg} >= div_sub;
wire [24:0] div_rem = {7'd0, rem_reg} - div_sub;

// address step from one tile to the next
wire [31:0] k8_stride = job_stride[`SOFA_BUF_K8*32 +: 32];
wire [31:0] k_stride = job_stride[`SOFA_BUF_K*32 +: 32];
wire [31:0] v_stride = job_stride[`SOFA_BUF_V*32 +: 32];
wire [2:0]  step_log = job_contig ? bc_log : 3'd0;
wire [47:0] k8_step = {16'd0, k8_stride} << step_log;
wire [47:0] k_step = {16'd0, k_stride} << step_log;
wire [47:0] v_step = {16'd0, v_stride} << step_log;

// one multiplier, cnt_reg 6, 5, 4 of the division select K8, K, V
wire [31:0] mul_b = cnt_reg == 3'd6 ? k8_stride : cnt_reg == 3'd5 ? k_stride : v_stride;

assign active = state_reg != S_IDLE;
assign tc_valid = state_reg == S_TILES;
assign tc_k8addr = k8_tile_reg;
assign tc_k8inc = inc_k8_reg;
assign tc_td[`TD_N] = job_contig ? n_contig : n_inter;
assign tc_td[`TD_ROWS] = blk_rows;
assign tc_td[`TD_FIRST] = tile_reg == 17'd0;
assign tc_td[`TD_LAST] = last;
assign tc_td[`TD_CAUSAL] = job_causal;
assign tc_td[`TD_REL] = k0_reg - pos0;
assign tc_td[`TD_KSTEP] = kstep;
assign tc_td[`TD_KADDR] = k_tile_reg;
assign tc_td[`TD_VADDR] = v_tile_reg;
assign tc_td[`TD_KINC] = inc_k_reg;
assign tc_td[`TD_VINC] = inc_v_reg;
assign tc_td[`TD_OADDR] = o_blk_reg;
assign tc_td[`TD_K0] = k0_reg[16:0];
assign tc_td[`TD_KVNEW] = tile_reg == 17'd0 && row_reg == 17'd0 && grp_reg == 16'd0;
assign tc_td[`TD_KVLAST] = last && block_last && grp_reg + 16'd1 == job_group;
assign ev_tile = tc_valid && tc_ready;

always @* begin
    state_next = state_reg;
    head_next = head_reg;
    grp_next = grp_reg;
    row_next = row_reg;
    len_next = len_reg;
    tc_next = tc_reg;
    tile_next = tile_reg;
    cnt_next = cnt_reg;
    rem_next = rem_reg;
    quo_next = quo_reg;
    inc_k8_next = inc_k8_reg;
    inc_k_next = inc_k_reg;
    inc_v_next = inc_v_reg;
    k0_next = k0_reg;
    o_head_next = o_head_reg;
    o_blk_next = o_blk_reg;
    k8_head_next = k8_head_reg;
    k8_tile_next = k8_tile_reg;
    k_head_next = k_head_reg;
    k_tile_next = k_tile_reg;
    v_head_next = v_head_reg;
    v_tile_next = v_tile_reg;

    case (state_reg)
        S_IDLE: begin
            head_next = 16'd0;
            grp_next = 16'd0;
            row_next = 17'd0;
            k8_head_next = job_base[`SOFA_BUF_K8*48 +: 48];
            k_head_next = job_base[`SOFA_BUF_K*48 +: 48];
            v_head_next = job_base[`SOFA_BUF_V*48 +: 48];
            o_head_next = job_base[`SOFA_BUF_O*48 +: 48];
            o_blk_next = job_base[`SOFA_BUF_O*48 +: 48];
            if (start) begin
                state_next = S_BLOCK;
            end
        end
        S_BLOCK: begin
            len_next = len_blk;
            rem_next = len_blk;
            quo_next = 8'd0;
            tc_next = tc_blk[16:0];
            tile_next = 17'd0;
            k0_next = 18'd0;
            k8_tile_next = k8_head_reg;
            k_tile_next = k_head_reg;
            v_tile_next = v_head_reg;
            cnt_next = 3'd6;
            state_next = S_DIV;
        end
        S_DIV: begin
            quo_next = {quo_reg[6:0], div_ge};
            if (div_ge) begin
                rem_next = div_rem[17:0];
            end
            // products arrive one cycle after their operands were selected
            if (cnt_reg == 3'd5) begin
                inc_k8_next = prod_reg;
            end
            if (cnt_reg == 3'd4) begin
                inc_k_next = prod_reg;
            end
            if (cnt_reg == 3'd3) begin
                inc_v_next = prod_reg;
            end
            cnt_next = cnt_reg - 3'd1;
            if (cnt_reg == 3'd0) begin
                state_next = S_TILES;
            end
        end
        S_TILES: begin
            if (tc_ready) begin
                tile_next = tile_reg + 17'd1;
                k0_next = k0_reg + (job_contig ? {10'd0, job_bc} : 18'd1);
                k8_tile_next = k8_tile_reg + k8_step;
                k_tile_next = k_tile_reg + k_step;
                v_tile_next = v_tile_reg + v_step;
                if (last) begin
                    state_next = S_NEXT;
                end
            end
        end
        default: begin  // S_NEXT
            state_next = S_BLOCK;
            row_next = row_reg + {9'd0, blk_rows};
            o_blk_next = o_blk_reg + ({16'd0, job_stride[`SOFA_BUF_O*32 +: 32]} << ROWS_W);
            if (block_last) begin
                row_next = 17'd0;
                head_next = head_reg + 16'd1;
                o_head_next = o_head_reg + {16'd0, job_hstride[`SOFA_BUF_O*32 +: 32]};
                o_blk_next = o_head_next;
                grp_next = grp_reg + 16'd1;
                if (grp_next == job_group) begin
                    grp_next = 16'd0;
                    k8_head_next = k8_head_reg + {16'd0, job_hstride[`SOFA_BUF_K8*32 +: 32]};
                    k_head_next = k_head_reg + {16'd0, job_hstride[`SOFA_BUF_K*32 +: 32]};
                    v_head_next = v_head_reg + {16'd0, job_hstride[`SOFA_BUF_V*32 +: 32]};
                end
                if (head_next == job_heads) begin
                    state_next = S_IDLE;
                end
            end
        end
    endcase
end

always @(posedge clk) begin
    state_reg <= state_next;
    head_reg <= head_next;
    grp_reg <= grp_next;
    row_reg <= row_next;
    len_reg <= len_next;
    tc_reg <= tc_next;
    tile_reg <= tile_next;
    cnt_reg <= cnt_next;
    rem_reg <= rem_next;
    quo_reg <= quo_next;
    inc_k8_reg <= inc_k8_next;
    inc_k_reg <= inc_k_next;
    inc_v_reg <= inc_v_next;
    k0_reg <= k0_next;
    o_head_reg <= o_head_next;
    o_blk_reg <= o_blk_next;
    k8_head_reg <= k8_head_next;
    k8_tile_reg <= k8_tile_next;
    k_head_reg <= k_head_next;
    k_tile_reg <= k_tile_next;
    v_head_reg <= v_head_next;
    v_tile_reg <= v_tile_next;
    prod_reg <= {15'd0, kstep} * mul_b;

    if (rst) begin
        state_reg <= S_IDLE;
    end
end

// Q has its own walker, seq_blocks
wire unused = &{1'b0, div_rem[24:18], tc_blk[17], job_base[47:0], job_stride[31:0],
                job_hstride[31:0]};

endmodule

`resetall
