// SPDX-License-Identifier: Apache-2.0

/*
 * seq_check: validates a job descriptor before any bus access is made.
 *
 * Fields are checked one after another in the order of their error codes, then every buffer in the
 * order O, Q, K8, K, V: alignment, strides, end address, overlap with O. The first fault ends the
 * check. A buffer's extent is taken as the range from its base to the end of its last vector, so a
 * job whose O lies inside the stride gaps of an input is refused although no byte is shared. The
 * vectors of one head must span less than 4 GiB, so that address steps fit 32 bits.
 *
 * One 32x17 multiplier, used twice a buffer. Takes 8 cycles + heads/kv_heads + 6 cycles a buffer.
 * K8 is not checked in dense mode, where it is not read.
 *
 * Source: our decision (docs/architecture.md section 3, error codes in docs/registers.md).
 */

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_regs.vh"

module seq_check #(
    // Largest head dimension, power of two 16..256
    parameter D_MAX = 128,
    // Largest tile, power of two 8..64
    parameter BC_MAX = 64,
    // Smallest tile: max(COLS, 4)
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
     * Control: start is a pulse; done is a pulse with code and info valid (code 0: legal)
     */
    input  wire         start,
    output wire         done,
    output wire [7:0]   code,
    output wire [7:0]   info,
    // heads per KV head, valid from done of a legal job
    output wire [15:0]  group,

    /*
     * Job descriptor, stable while the check runs. Five buffers, index 0 Q, 1 K8, 2 K, 3 V, 4 O.
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
    input  wire [5*32-1:0] job_hstride
);

localparam HEADS_MAX = 1024;
localparam BUS_W = $clog2(BUS_BYTES);

// waits for start
localparam S_IDLE   = 3'd0;
// scalar fields, in one cycle by priority
localparam S_FIELDS = 3'd1;
// divides heads by kv_heads through repeated subtraction
localparam S_GROUP  = 3'd2;
// alignment and strides of buffer buf_reg
localparam S_ALIGN  = 3'd3;
// product (heads - 1) * head stride
localparam S_MULH   = 3'd4;
// product (vectors - 1) * row stride
localparam S_MULR   = 3'd5;
// end address, range and overlap
localparam S_RANGE  = 3'd6;
// result is presented for one cycle
localparam S_DONE   = 3'd7;

reg [2:0]  state_reg, state_next;
reg [2:0]  buf_reg, buf_next;
reg [7:0]  code_reg, code_next;
reg [7:0]  info_reg, info_next;
reg [15:0] rem_reg, rem_next;
reg [15:0] group_reg, group_next;
reg [51:0] end_reg, end_next;
reg [47:0] o_lo_reg, o_lo_next;
reg [51:0] o_hi_reg, o_hi_next;
reg [48:0] prod_reg;

wire dense = job_mode[`SOFA_MODE_DENSE_LSB];
wire [1:0] snap = job_mode[`SOFA_MODE_SNAP_LSB +: 2];

assign done = state_reg == S_DONE;
assign code = code_reg;
assign info = info_reg;
assign group = group_reg;

// fields of the buffer under check
wire [47:0] b_base = job_base[buf_reg*48 +: 48];
wire [31:0] b_stride = job_stride[buf_reg*32 +: 32];
wire [31:0] b_hstride = job_hstride[buf_reg*32 +: 32];
wire        b_query = buf_reg == 3'd0 || buf_reg == 3'd4;
wire [16:0] b_heads_m1 = (b_query ? job_heads[16:0] : job_kv_heads[16:0]) - 17'd1;
wire [16:0] b_vecs_m1 = (b_query ? job_rows[16:0] : job_keys[16:0]) - 17'd1;
wire [9:0]  b_bytes = buf_reg == 3'd1 ? job_d[9:0] : {job_d[8:0], 1'b0};
wire [9:0]  b_beats = (b_bytes + BUS_BYTES[9:0] - 10'd1) >> BUS_W;
wire [15:0] b_vec = {6'd0, b_beats} << BUS_W;

// one multiplier for both products of a buffer
wire [16:0] mul_a = state_reg == S_MULH ? b_heads_m1 : b_vecs_m1;
wire [31:0] mul_b = state_reg == S_MULH ? b_hstride : b_stride;

wire bc_pow2 = (job_bc & (job_bc - 32'd1)) == 32'd0;

always @* begin
    state_next = state_reg;
    buf_next = buf_reg;
    code_next = code_reg;
    info_next = info_reg;
    rem_next = rem_reg;
    group_next = group_reg;
    end_next = end_reg;
    o_lo_next = o_lo_reg;
    o_hi_next = o_hi_reg;

    case (state_reg)
        S_IDLE: begin
            code_next = `SOFA_ERR_NONE;
            info_next = 8'd0;
            if (start) begin
                state_next = S_FIELDS;
            end
        end
        S_FIELDS: begin
            state_next = S_DONE;
            if (job_d < 32'd8 || job_d > D_MAX || job_d[2:0] != 3'd0) begin
                code_next = `SOFA_ERR_HEAD_DIM;
            end else if (job_rows == 32'd0 || job_rows > KEYS_MAX) begin
                code_next = `SOFA_ERR_QUERY_ROWS;
            end else if (job_keys == 32'd0 || job_keys > KEYS_MAX) begin
                code_next = `SOFA_ERR_KEYS;
            end else if (job_heads == 32'd0 || job_heads > HEADS_MAX) begin
                code_next = `SOFA_ERR_HEADS;
            end else if (job_kv_heads == 32'd0 || job_kv_heads > job_heads) begin
                code_next = `SOFA_ERR_KV_HEADS;
            end else if (job_offset >= KEYS_MAX) begin
                code_next = `SOFA_ERR_CAUSAL_OFFSET;
            end else if (job_bc < BC_MIN || job_bc > BC_MAX || !bc_pow2) begin
                code_next = `SOFA_ERR_TILE_KEYS;
            end else if (job_quota == 32'd0 || job_quota > BC_MAX) begin
                code_next = `SOFA_ERR_QUOTA;
            end else if ((job_radius >> SC_W) != 32'd0) begin
                code_next = `SOFA_ERR_RADIUS;
            end else if (job_scale_shift > 32'd47) begin
                code_next = `SOFA_ERR_SCALE_SHIFT;
            end else if (snap == 2'd3 || (snap == 2'd2 && TWO_TERM == 0)) begin
                code_next = `SOFA_ERR_SNAP;
            end else if (job_scale_m == 32'd0 || job_scale_m > 32'd65535) begin
                code_next = `SOFA_ERR_SCALE_MULT;
            end else if ((job_mode >> `SOFA_MODE_WIDTH) != 32'd0) begin
                code_next = `SOFA_ERR_MODE;
            end else begin
                state_next = S_GROUP;
            end
            rem_next = job_heads[15:0];
            group_next = 16'd0;
            buf_next = 3'd4;
        end
        S_GROUP: begin
            if (rem_reg == 16'd0) begin
                state_next = S_ALIGN;
            end else if (rem_reg < job_kv_heads[15:0]) begin
                code_next = `SOFA_ERR_KV_HEADS;
                state_next = S_DONE;
            end else begin
                rem_next = rem_reg - job_kv_heads[15:0];
                group_next = group_reg + 16'd1;
            end
        end
        S_ALIGN: begin
            info_next = {5'd0, buf_reg};
            state_next = S_DONE;
            if (b_base[BUS_W-1:0] != {BUS_W{1'b0}}) begin
                code_next = `SOFA_ERR_BASE_ALIGN;
            end else if (b_stride[BUS_W-1:0] != {BUS_W{1'b0}}) begin
                code_next = `SOFA_ERR_STRIDE_ALIGN;
            end else if (b_hstride[BUS_W-1:0] != {BUS_W{1'b0}}) begin
                code_next = `SOFA_ERR_HEAD_STRIDE_ALIGN;
            end else if (b_stride < {16'd0, b_vec}) begin
                code_next = `SOFA_ERR_STRIDE_SMALL;
            end else if (b_heads_m1 != 17'd0 && b_hstride < {16'd0, b_vec}) begin
                code_next = `SOFA_ERR_HEAD_STRIDE_SMALL;
            end else begin
                state_next = S_MULH;
            end
            end_next = {4'd0, b_base} + {36'd0, b_vec};
        end
        S_MULH: begin
            state_next = S_MULR;
        end
        S_MULR: begin
            end_next = end_reg + {3'd0, prod_reg};
            state_next = S_RANGE;
        end
        S_RANGE: begin
            // the row product arrives in prod_reg one cycle after S_MULR
            end_next = end_reg + {3'd0, prod_reg};
            state_next = S_DONE;
            if ((end_next - 52'd1) >> ADDR_W != 52'd0 || prod_reg[48:32] != 17'd0) begin
                code_next = `SOFA_ERR_ADDR_RANGE;
            end else if (buf_reg != 3'd4
                         && {4'd0, b_base} < o_hi_reg && {4'd0, o_lo_reg} < end_next) begin
                code_next = `SOFA_ERR_OVERLAP;
            end else if (buf_reg == 3'd3) begin
                info_next = 8'd0;
            end else begin
                state_next = S_ALIGN;
            end
            if (buf_reg == 3'd4) begin
                o_lo_next = b_base;
                o_hi_next = end_next;
                buf_next = 3'd0;
            end else if (buf_reg == 3'd0 && dense) begin
                buf_next = 3'd2;
            end else begin
                buf_next = buf_reg + 3'd1;
            end
        end
        default: begin  // S_DONE
            state_next = S_IDLE;
        end
    endcase
end

always @(posedge clk) begin
    state_reg <= state_next;
    buf_reg <= buf_next;
    code_reg <= code_next;
    info_reg <= info_next;
    rem_reg <= rem_next;
    group_reg <= group_next;
    end_reg <= end_next;
    o_lo_reg <= o_lo_next;
    o_hi_reg <= o_hi_next;
    prod_reg <= {32'd0, mul_a} * {17'd0, mul_b};

    if (rst) begin
        state_reg <= S_IDLE;
    end
end

endmodule

`resetall
