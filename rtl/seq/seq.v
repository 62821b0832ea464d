// SPDX-License-Identifier: Apache-2.0

/*
 * seq: runs one job. Checks the descriptor, walks heads, blocks and tiles, waits for the last block
 * to be stored, and turns faults (illegal field, bus error, soft reset) into an error code.
 *
 * After a fault on the bus or a soft reset the bus masters are halted, outstanding transfers are
 * allowed to finish, then every stage is reset, so that the core is usable for the next job.
 *
 * Latency from start to the first Q command about 30 cycles, to the first tile command 9 more.
 *
 * Source: our decision (docs/architecture.md sections 1 and 6).
 */

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_regs.vh"
`include "sofa_td.vh"

module seq #(
    // Query rows in parallel, power of two 4..128
    parameter ROWS = 128,
    // Largest head dimension, power of two 16..256
    parameter D_MAX = 128,
    // Largest tile, power of two 8..64
    parameter BC_MAX = 64,
    // Smallest tile, power of two 4..BC_MAX
    parameter BC_MIN = 32,
    // Data bus bytes, power of two 8..64
    parameter BUS_BYTES = 64,
    // Largest number of keys and of query rows, power of two 64..65536
    parameter KEYS_MAX = 4096,
    // Address bits, 32..48
    parameter ADDR_W = 40,
    // Score bits of the DLZS stage
    parameter SC_W = 18,
    // 1: the DLZS cells implement the two-term snap rule
    parameter TWO_TERM = 0
) (
    input  wire         clk,
    input  wire         rst,

    /*
     * Control and status
     */
    input  wire         start,
    input  wire         soft_reset,
    output wire         busy,
    output wire         done,
    output wire         err_valid,
    output wire [7:0]   err_code,
    output wire [7:0]   err_info,

    /*
     * Job descriptor, stable while busy. Five buffers, index 0 Q, 1 K8, 2 K, 3 V, 4 O.
     */
    input  wire [31:0]  job_mode,
    input  wire [31:0]  job_d,
    input  wire [31:0]  job_rows,
    input  wire [31:0]  job_keys,
    input  wire [31:0]  job_heads,
    input  wire [31:0]  job_kv_heads,
    input  wire [31:0]  job_offset,
    input  wire [31:0]  job_bc,
    input  wire [31:0]  job_quota,
    input  wire [31:0]  job_radius,
    input  wire [31:0]  job_scale_m,
    input  wire [31:0]  job_scale_shift,
    input  wire [5*48-1:0] job_base,
    input  wire [5*32-1:0] job_stride,
    input  wire [5*32-1:0] job_hstride,

    /*
     * Commands to the fetch stage
     */
    output wire         qc_valid,
    input  wire         qc_ready,
    output wire [47:0]  qc_addr,
    output wire [7:0]   qc_rows,
    output wire         tc_valid,
    input  wire         tc_ready,
    output wire [47:0]  tc_k8addr,
    output wire [31:0]  tc_k8inc,
    output wire [`TD_W-1:0] tc_td,

    /*
     * Bus masters and stages
     */
    input  wire         blk_done,
    output wire         halt,
    output wire         stage_rst,
    input  wire         rd_idle,
    input  wire         wr_idle,
    input  wire         rd_err_valid,
    input  wire [1:0]   rd_err_stream,
    input  wire [1:0]   rd_err_resp,
    input  wire         wr_err_valid,
    input  wire [1:0]   wr_err_resp,

    output wire         ev_block,
    output wire         ev_tile
);

// waits for start
localparam S_IDLE  = 3'd0;
// descriptor check
localparam S_CHECK = 3'd1;
// job runs
localparam S_RUN   = 3'd2;
// bus masters halted, waits until nothing is outstanding
localparam S_HALT  = 3'd3;
// stages in reset
localparam S_CLEAR = 3'd4;
// reports the fault
localparam S_ERROR = 3'd5;

reg [2:0]  state_reg, state_next;
reg [7:0]  code_reg, code_next;
reg [7:0]  info_reg, info_next;
reg [3:0]  wait_reg, wait_next;
reg [31:0] left_reg, left_next;
reg        done_reg, done_next;
reg        tiles_start_reg, tiles_start_next;

wire       chk_done;
wire [7:0] chk_code;
wire [7:0] chk_info;
wire [15:0] group;
wire       tiles_active;
wire       blocks_active;

wire rd_decerr = rd_err_resp == 2'b11;
wire wr_decerr = wr_err_resp == 2'b11;

assign busy = state_reg != S_IDLE;
assign done = done_reg;
assign err_valid = state_reg == S_ERROR;
assign err_code = code_reg;
assign err_info = info_reg;
assign halt = state_reg == S_HALT;
assign stage_rst = state_reg == S_CLEAR;

always @* begin
    state_next = state_reg;
    code_next = code_reg;
    info_next = info_reg;
    wait_next = wait_reg;
    left_next = left_reg;
    done_next = 1'b0;
    tiles_start_next = 1'b0;

    if (ev_block && !blk_done) begin
        left_next = left_reg + 32'd1;
    end
    if (!ev_block && blk_done) begin
        left_next = left_reg - 32'd1;
    end

    case (state_reg)
        S_IDLE: begin
            left_next = 32'd0;
            wait_next = 4'd0;
            if (start) begin
                state_next = S_CHECK;
            end
        end
        S_CHECK: begin
            if (chk_done) begin
                code_next = chk_code;
                info_next = chk_info;
                if (chk_code != `SOFA_ERR_NONE) begin
                    state_next = S_ERROR;
                end else begin
                    tiles_start_next = 1'b1;
                    state_next = S_RUN;
                end
            end
            if (soft_reset) begin
                code_next = `SOFA_ERR_ABORTED;
                info_next = 8'd0;
                tiles_start_next = 1'b0;
                state_next = S_HALT;
            end
        end
        S_RUN: begin
            if (!tiles_start_reg && !tiles_active && !blocks_active
                && left_reg == 32'd0) begin
                done_next = 1'b1;
                state_next = S_IDLE;
            end
            if (soft_reset) begin
                code_next = `SOFA_ERR_ABORTED;
                info_next = 8'd0;
                state_next = S_HALT;
            end
            if (wr_err_valid) begin
                code_next = wr_decerr ? `SOFA_ERR_WRITE_DECERR : `SOFA_ERR_WRITE_SLVERR;
                info_next = 8'd4;
                state_next = S_HALT;
            end
            if (rd_err_valid) begin
                code_next = rd_decerr ? `SOFA_ERR_READ_DECERR : `SOFA_ERR_READ_SLVERR;
                info_next = {6'd0, rd_err_stream};
                state_next = S_HALT;
            end
            if (state_next == S_HALT) begin
                done_next = 1'b0;
            end
        end
        S_HALT: begin
            // idle must hold for some cycles: commands may still be on their way to the masters
            wait_next = rd_idle && wr_idle ? wait_reg + 4'd1 : 4'd0;
            if (wait_reg == 4'd15) begin
                state_next = S_CLEAR;
            end
        end
        S_CLEAR: begin
            wait_next = wait_reg + 4'd1;
            if (wait_reg == 4'd7) begin
                state_next = S_ERROR;
            end
        end
        default: begin  // S_ERROR
            state_next = S_IDLE;
        end
    endcase
end

always @(posedge clk) begin
    state_reg <= state_next;
    code_reg <= code_next;
    info_reg <= info_next;
    wait_reg <= wait_next;
    left_reg <= left_next;
    done_reg <= done_next;
    tiles_start_reg <= tiles_start_next;

    if (rst) begin
        state_reg <= S_IDLE;
        left_reg <= 32'd0;
        done_reg <= 1'b0;
        tiles_start_reg <= 1'b0;
    end
end

seq_check #(
    .D_MAX(D_MAX),
    .BC_MAX(BC_MAX),
    .BC_MIN(BC_MIN),
    .BUS_BYTES(BUS_BYTES),
    .KEYS_MAX(KEYS_MAX),
    .ADDR_W(ADDR_W),
    .SC_W(SC_W),
    .TWO_TERM(TWO_TERM)
) check_inst (
    .clk(clk),
    .rst(rst || stage_rst),
    .start(state_reg == S_IDLE && start),
    .done(chk_done),
    .code(chk_code),
    .info(chk_info),
    .group(group),
    .job_mode(job_mode),
    .job_d(job_d),
    .job_rows(job_rows),
    .job_keys(job_keys),
    .job_heads(job_heads),
    .job_kv_heads(job_kv_heads),
    .job_offset(job_offset),
    .job_bc(job_bc),
    .job_quota(job_quota),
    .job_radius(job_radius),
    .job_scale_m(job_scale_m),
    .job_scale_shift(job_scale_shift),
    .job_base(job_base),
    .job_stride(job_stride),
    .job_hstride(job_hstride)
);

seq_tiles #(
    .ROWS(ROWS)
) tiles_inst (
    .clk(clk),
    .rst(rst || stage_rst),
    .start(tiles_start_reg),
    .active(tiles_active),
    .ev_tile(ev_tile),
    .job_causal(job_mode[`SOFA_MODE_CAUSAL_LSB]),
    .job_contig(job_mode[`SOFA_MODE_CONTIGUOUS_LSB]),
    .job_rows(job_rows[16:0]),
    .job_keys(job_keys[16:0]),
    .job_heads(job_heads[15:0]),
    .job_group(group),
    .job_offset(job_offset[16:0]),
    .job_bc(job_bc[7:0]),
    .job_base(job_base),
    .job_stride(job_stride),
    .job_hstride(job_hstride),
    .tc_valid(tc_valid),
    .tc_ready(tc_ready),
    .tc_k8addr(tc_k8addr),
    .tc_k8inc(tc_k8inc),
    .tc_td(tc_td)
);

seq_blocks #(
    .ROWS(ROWS)
) blocks_inst (
    .clk(clk),
    .rst(rst || stage_rst),
    .start(tiles_start_reg),
    .active(blocks_active),
    .ev_block(ev_block),
    .job_rows(job_rows[16:0]),
    .job_heads(job_heads[15:0]),
    .job_base(job_base[47:0]),
    .job_stride(job_stride[31:0]),
    .job_hstride(job_hstride[31:0]),
    .qc_valid(qc_valid),
    .qc_ready(qc_ready),
    .qc_addr(qc_addr),
    .qc_rows(qc_rows)
);

endmodule

`resetall
