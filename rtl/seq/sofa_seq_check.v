// SPDX-License-Identifier: Apache-2.0
// Check of a job descriptor before any access to its buffers is made.
//
// Why: a job that would leave its buffers, or a table, ends here with a code and harms nothing.
// First the scalar fields that the kind of job uses, then every buffer that it uses: those which
// the job writes in the order of their numbers, then the others likewise; alignment, strides, end
// address, overlap with the written buffers before it. The first fault ends the check. A buffer's
// extent is taken as the range from its base to the end of its last vector, so a job whose O lies
// inside the stride gaps of an input is refused although no byte is shared. The vectors of one head
// must span less than 4 GiB, so that address steps fit 32 bits.
//
// Not done here: entries of the table of heads, which are looked at when they are read
// (sofa_seq_blocks).
// Latency: 29 cycles + 7 a buffer + heads/kv_heads, or the time of sofa_seq_chunks in a predict
// job; one 32x17 multiplier of three cycles, used twice a buffer. What is chosen by the number of a
// buffer is registered before it is added or compared.
// Source: our decision (docs/architecture.md sections 3, 4 and 10, codes in
// docs/registers.md).

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_regs.vh"

module sofa_seq_check #(
    // Query rows in parallel, power of two 4..128
    parameter ROWS = 128,
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
    // 1: the DLZS cells implement the two-term snap rule
    parameter TWO_TERM = 0,
    // Largest model dimension, power of two 64..4096
    parameter H_MAX = 1024,
    // Words of the weight memory of KVGEN, 64..65536
    parameter WGT_WORDS = 768,
    // Most blocks in residence, power of two 2..8
    parameter PLACES = 8,
    // Beats of Q in residence, 2*ROWS*D_MAX*2/BUS_BYTES or more
    parameter STORE_BEATS = 1536,
    // 1: there are sort cores
    parameter SORT = 1
) (
    input  wire         clk,
    input  wire         rst,

    // Control: start is a pulse; done is a pulse with code and info valid (code 0: legal)
    input  wire         start,
    output wire         done,
    output wire [7:0]   code,
    output wire [7:0]   info,
    // heads per KV head, valid from done of a legal attention job
    output wire [15:0]  group,
    // blocks in residence, heads of a part at most; likewise
    output wire [3:0]   places,
    output wire [3:0]   together,
    // of a job whose heads share blocks: rows of a block; bytes from the first head of a KV head to
    // that of the next in Q, O and HT, up to ROWS head strides
    output wire [7:0]   share_rows,
    output wire [38:0]  share_q,
    output wire [38:0]  share_o,
    output wire [38:0]  share_ht,
    // chunks of a predict job, see sofa_seq_chunks, valid from done
    output wire         split,
    output wire [6:0]   head_chunks,
    output wire [16:0]  chunks,
    output wire [7:0]   rows_full,
    output wire [7:0]   rows_last,
    output wire [47:0]  k8_step,

    // Job descriptor, stable from start on while the check runs. Buffer i is `SOFA_BUF_* = i.
    input  wire [31:0]  job_mode,
    input  wire [31:0]  job_d,
    input  wire [31:0]  job_rows,
    input  wire [31:0]  job_keys,
    input  wire [31:0]  job_heads,
    input  wire [31:0]  job_kv_heads,
    input  wire [31:0]  job_offset,
    input  wire [31:0]  job_bc,
    input  wire [31:0]  job_quota,
    input  wire [31:0]  job_band,
    input  wire [31:0]  job_fall,
    input  wire [31:0]  job_window,
    input  wire [31:0]  job_model_dim,
    input  wire [47:0]  job_next,
    input  wire [`SOFA_BUFFER_NUM*48-1:0] job_base,
    input  wire [`SOFA_BUFFER_NUM*32-1:0] job_stride,
    input  wire [`SOFA_BUFFER_NUM*32-1:0] job_hstride
);

    generate
        if (PLACES < 2 || PLACES > 8 || PLACES != (1 << $clog2(PLACES))
                || STORE_BEATS < 4 * ROWS * D_MAX / BUS_BYTES || SORT < 0 || SORT > 1)
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_check_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam HEADS_MAX = 1024;
    localparam BUS_W = $clog2(BUS_BYTES);
    localparam ROWS_W = $clog2(ROWS);
    localparam NUM = `SOFA_BUFFER_NUM;
    localparam [31:0] BUS_MASK = BUS_BYTES - 1;
    localparam [31:0] HALF_BUS = BUS_BYTES / 2;
    localparam [31:0] BLOCK_BEATS = STORE_BEATS / ROWS;
    // header of a chunk of weight codes, bytes
    localparam [31:0] HEADER = ROWS / 2 > BUS_BYTES ? ROWS / 2 : BUS_BYTES;

    // most buffers that a job writes
    localparam WRITTEN = 4;

    // waits for start
    localparam S_IDLE    = 4'd0;
    // scalar fields of attention, in one cycle by priority
    localparam S_FIELDS  = 4'd1;
    // scalar fields of predict and generate jobs, and NEXT
    localparam S_MORE    = 4'd2;
    // product of the words of the weights
    localparam S_WORDS   = 4'd15;
    // words of the weights of a KV head
    localparam S_WEIGHTS = 4'd3;
    // divides heads by kv_heads through repeated subtraction
    localparam S_GROUP   = 4'd4;
    // chunks of a predict job are counted
    localparam S_CHUNKS  = 4'd5;
    // looks for the next buffer to check, and takes its fields
    localparam S_BUFFER  = 4'd6;
    // alignment of buffer buf_reg
    localparam S_ALIGN   = 4'd7;
    // product (heads - 1) * head stride; strides against a vector
    localparam S_MULH    = 4'd8;
    // product (vectors - 1) * row stride; end of the first vector
    localparam S_MULR    = 4'd9;
    // the products are added up
    localparam S_SUM     = 4'd14;
    // adds the first product to the end address
    localparam S_ENDH    = 4'd10;
    // adds the second
    localparam S_ENDR    = 4'd11;
    // range, and overlap with the buffers that are written
    localparam S_OVERLAP = 4'd12;
    // result is presented for one cycle
    localparam S_DONE    = 4'd13;

    reg [3:0]  state_reg, state_next;
    reg [3:0]  buf_reg, buf_next;
    // first the written buffers, then the others
    reg        others_reg, others_next;
    reg [7:0]  code_reg, code_next;
    reg [7:0]  info_reg, info_next;
    reg [15:0] rem_reg, rem_next;
    reg [15:0] group_reg, group_next;
    reg [3:0]  places_reg, places_next;
    reg [3:0]  together_reg, together_next;
    reg [17:0] rows_reg, rows_next;
    reg [38:0] share_q_reg, share_q_next;
    reg [38:0] share_o_reg, share_o_next;
    reg [38:0] share_ht_reg, share_ht_next;
    reg [16:0] words_reg, words_next;
    reg [51:0] end_reg, end_next;
    // ranges of the written buffers so far; an end of 0 overlaps nothing
    reg [WRITTEN*48-1:0] lo_reg, lo_next;
    reg [WRITTEN*52-1:0] hi_reg, hi_next;
    reg [48:0] prod_reg;
    // the vectors of a head span 4 GiB or more
    reg        wide_reg;
    wire       chunks_done;

    wire sort = job_mode[`SOFA_MODE_SORT_LSB];
    wire blend = job_mode[`SOFA_MODE_BLEND_LSB];
    wire dense = job_mode[`SOFA_MODE_DENSE_LSB];
    wire generating = job_mode[`SOFA_MODE_GENERATE_LSB];
    wire predict = job_mode[`SOFA_MODE_PREDICT_LSB];
    wire [1:0] snap = job_mode[`SOFA_MODE_SNAP_LSB +: 2];
    wire [1:0] rope = job_mode[`SOFA_MODE_ROPE_LSB +: 2];
    wire vb_load = job_mode[`SOFA_MODE_VB_LOAD_LSB];
    wire share = job_mode[`SOFA_MODE_SHARE_LSB];

    assign done = state_reg == S_DONE;
    assign code = code_reg;
    assign info = info_reg;
    assign group = group_reg;
    assign places = places_reg;
    assign together = together_reg;
    assign share_rows = rows_reg[7:0];
    assign share_q = share_q_reg;
    assign share_o = share_o_reg;
    assign share_ht = share_ht_reg;

    // -----------------------------------------------------------------------------------------
    // Scalar fields
    // -----------------------------------------------------------------------------------------
    wire bc_pow2 = (job_bc & (job_bc - 32'd1)) == 32'd0;
    wire bad_kind = (predict && (dense || generating)) || (vb_load && !generating)
                    || (dense && sort) || (blend && (dense || sort)) || (predict && share);
    wire bad_kv_heads = job_kv_heads == 32'd0
                        || job_kv_heads > (predict ? HEADS_MAX[31:0] : job_heads);
    wire bad_dim = job_model_dim < 32'd8 || job_model_dim > H_MAX || job_model_dim[2:0] != 3'd0;
    wire bad_next = job_next[7:0] != 8'd0 || job_next >> ADDR_W != 48'd0;
    wire bad_quota = !predict && sort && (job_quota == 32'd0 || job_quota > BC_MAX);
    wire bad_band = job_band == 32'd0 || job_band > {28'd0, places_reg};
    wire [16:0] window = job_window[`SOFA_WINDOW_WINDOW_LSB +: 17];
    wire [6:0] sinks = job_window[`SOFA_WINDOW_SINKS_LSB +: 7];
    wire causal = job_mode[`SOFA_MODE_CAUSAL_LSB];
    // positions behind the last key that a window has to reach over
    wire [17:0] rows_end = {1'b0, job_offset[16:0]} + {1'b0, job_rows[16:0]};
    wire [17:0] keys_window = {1'b0, job_keys[16:0]} + {1'b0, window};
    wire bad_window = (job_window & ~{1'b0, 7'h7f, 7'd0, 17'h1ffff}) != 32'd0
                      || {15'd0, window} > KEYS_MAX || {1'b0, sinks} > job_bc[7:0]
                      || (job_window != 32'd0 && (!causal || window == 17'd0
                                                  || rows_end >= keys_window));
    // beats of a vector of 16-bit elements; blocks whose Q the stores hold, and bands of which
    wire [8:0] d_up = job_d[8:0] + HALF_BUS[8:0] - 9'd1;
    wire [8:0] beats = d_up >> (BUS_W - 1);
    integer k;
    always @* begin
        places_next = 4'd1;
        together_next = 4'd1;
        for (k = 2; k <= PLACES; k = k + 1) begin
            if ({23'd0, beats} * k <= BLOCK_BEATS) begin
                places_next = k[3:0];
            end
            if ({28'd0, job_band[3:0]} * k <= {28'd0, places_reg}) begin
                together_next = k[3:0];
            end
        end
    end
    // passes of ROWS lanes for the weights of a KV head
    wire [9:0] lanes = {job_d[8:0], 1'b0};
    wire [9:0] passes = (lanes + ROWS[9:0] - 10'd1) >> ROWS_W;

    // -----------------------------------------------------------------------------------------
    // Buffers
    // -----------------------------------------------------------------------------------------
    // which buffers the job uses, and which of them it writes
    wire [NUM-1:0] used, written;
    assign used[`SOFA_BUF_Q] = !predict;
    assign used[`SOFA_BUF_K8] = predict || !dense;
    assign used[`SOFA_BUF_K] = !predict;
    assign used[`SOFA_BUF_V] = !predict;
    assign used[`SOFA_BUF_O] = !predict;
    // X8 and WC, or HT and VM
    assign used[`SOFA_BUF_X8] = 1'b1;
    assign used[`SOFA_BUF_WC] = predict || blend;
    assign used[`SOFA_BUF_X] = generating;
    assign used[`SOFA_BUF_W] = generating;
    assign used[`SOFA_BUF_RT] = (predict || generating) && rope != 2'd0;
    assign used[`SOFA_BUF_VB] = generating;
    assign written[`SOFA_BUF_Q] = 1'b0;
    assign written[`SOFA_BUF_K8] = predict;
    assign written[`SOFA_BUF_K] = generating;
    assign written[`SOFA_BUF_V] = generating;
    assign written[`SOFA_BUF_O] = !predict;
    assign written[`SOFA_BUF_X8] = 1'b0;
    assign written[`SOFA_BUF_WC] = 1'b0;
    assign written[`SOFA_BUF_X] = 1'b0;
    assign written[`SOFA_BUF_W] = 1'b0;
    assign written[`SOFA_BUF_RT] = 1'b0;
    assign written[`SOFA_BUF_VB] = generating;

    // fields of the buffer under check
    localparam [3:0] BUF_LAST = NUM - 1;
    wire        b_check = used[buf_reg] && written[buf_reg] != others_reg;
    wire [47:0] b_base = job_base[buf_reg*48 +: 48];
    wire [31:0] b_stride = job_stride[buf_reg*32 +: 32];
    wire [31:0] b_hstride = job_hstride[buf_reg*32 +: 32];
    // heads, vectors of a head, bytes of a vector
    reg  [16:0] b_heads;
    reg  [16:0] b_vecs;
    reg  [31:0] b_bytes;
    // the buffer has a row stride, a head stride
    reg         b_rows;
    reg         b_headed;
    // of the job alone, and so stable long before they are used
    reg  [16:0] row_blocks_reg;
    reg  [31:0] key_bytes_reg;
    always @* begin
        b_heads = job_kv_heads[16:0];
        b_vecs = job_keys[16:0];
        b_bytes = {22'd0, job_d[8:0], 1'b0};
        b_rows = 1'b1;
        b_headed = 1'b1;
        case (buf_reg)
            `SOFA_BUF_Q, `SOFA_BUF_O: begin
                b_heads = job_heads[16:0];
                b_vecs = job_rows[16:0];
            end
            `SOFA_BUF_K8: begin
                b_bytes = {23'd0, job_d[8:0]};
            end
            `SOFA_BUF_X8: begin
                if (predict) begin
                    b_heads = 17'd1;
                    b_bytes = {19'd0, job_model_dim[12:0]};
                    b_headed = 1'b0;
                end else begin
                    // HT: an entry for each query head
                    b_heads = job_heads[16:0];
                    b_vecs = 17'd1;
                    b_bytes = 32'd16;
                    b_rows = 1'b0;
                end
            end
            `SOFA_BUF_WC: begin
                if (predict) begin
                    // a header, a word of ROWS codes for every element of the model dimension
                    b_heads = chunks;
                    b_vecs = 17'd1;
                    b_bytes = ({19'd0, job_model_dim[12:0]} << (ROWS_W - 1)) + HEADER;
                    b_rows = 1'b0;
                end else begin
                    // VM, or XM, which all heads share: a vector for each row block
                    b_vecs = row_blocks_reg;
                    if (generating) begin
                        b_heads = 17'd1;
                        b_bytes = {18'd0, job_model_dim[12:0], 1'b0};
                        b_headed = 1'b0;
                    end
                end
            end
            `SOFA_BUF_X: begin
                b_heads = 17'd1;
                b_bytes = {18'd0, job_model_dim[12:0], 1'b0};
                b_headed = 1'b0;
            end
            `SOFA_BUF_W: begin
                b_vecs = 17'd1;
                b_rows = 1'b0;
                b_bytes = {15'd0, words_reg} << (ROWS_W + 1);
            end
            `SOFA_BUF_RT: begin
                b_heads = 17'd1;
                b_headed = 1'b0;
            end
            `SOFA_BUF_VB: begin
                b_vecs = 17'd1;
                b_rows = 1'b0;
                b_bytes = key_bytes_reg;
            end
            default: begin  // K, V
            end
        endcase
    end

    // fields of the buffer, right from S_ALIGN on; bytes of a vector in whole beats from S_MULH on,
    // the end of the first one from S_MULR on
    reg [31:0] bytes_reg;
    reg [47:0] base_reg;
    reg [31:0] stride_reg;
    reg [31:0] hstride_reg;
    reg [31:0] vec_reg;
    reg [16:0] heads_reg;
    reg [16:0] vecs_reg;
    reg        rows_there_reg;
    reg        headed_reg;
    reg [51:0] first_reg;

    // one multiplier for the weights and for both products of a buffer
    reg [16:0] mul_a_reg;
    reg [31:0] mul_b_reg;
    wire [32:0] mul_low, mul_high;

    sofa_mult17x32 mult_inst (
        .clk     (clk),
        .part_en (1'b1),
        .half_en (1'b1),
        .a       (mul_a_reg),
        .b       (mul_b_reg),
        .low     (mul_low),
        .high    (mul_high)
    );

    wire [WRITTEN-1:0] hit;
    genvar i;
    generate
        for (i = 0; i < WRITTEN; i = i + 1) begin : g_hit
            assign hit[i] = {4'd0, base_reg} < hi_reg[i*52 +: 52]
                            && {4'd0, lo_reg[i*48 +: 48]} < end_reg;
        end
    endgenerate

    // the end, which is never 0, lies beyond the last address
    wire beyond = end_reg[51:ADDR_W+1] != {51-ADDR_W{1'b0}}
                  || (end_reg[ADDR_W] && end_reg[ADDR_W-1:0] != {ADDR_W{1'b0}});
    wire bad_range = beyond || wide_reg;

    // the buffer under check is not used now, or has passed
    wire advance = (state_reg == S_BUFFER && !b_check)
                   || (state_reg == S_OVERLAP && !bad_range && hit == {WRITTEN{1'b0}});

    always @* begin
        state_next = state_reg;
        buf_next = buf_reg;
        others_next = others_reg;
        code_next = code_reg;
        info_next = info_reg;
        rem_next = rem_reg;
        group_next = group_reg;
        rows_next = rows_reg;
        share_q_next = share_q_reg;
        share_o_next = share_o_reg;
        share_ht_next = share_ht_reg;
        words_next = words_reg;
        end_next = end_reg;
        lo_next = lo_reg;
        hi_next = hi_reg;

        case (state_reg)
            S_IDLE: begin
                code_next = `SOFA_ERR_NONE;
                info_next = 8'd0;
                buf_next = 4'd0;
                others_next = 1'b0;
                hi_next = {WRITTEN*52{1'b0}};
                if (start) begin
                    state_next = S_FIELDS;
                end
            end
            S_FIELDS: begin
                state_next = S_DONE;
                if (bad_kind) begin
                    code_next = `SOFA_ERR_KIND;
                end else if (job_d < 32'd8 || job_d > D_MAX || job_d[2:0] != 3'd0) begin
                    code_next = `SOFA_ERR_HEAD_DIM;
                end else if (!predict && (job_rows == 32'd0 || job_rows > KEYS_MAX)) begin
                    code_next = `SOFA_ERR_QUERY_ROWS;
                end else if (job_keys == 32'd0 || job_keys > KEYS_MAX) begin
                    code_next = `SOFA_ERR_KEYS;
                end else if (!predict && (job_heads == 32'd0 || job_heads > HEADS_MAX)) begin
                    code_next = `SOFA_ERR_HEADS;
                end else if (bad_kv_heads) begin
                    code_next = `SOFA_ERR_KV_HEADS;
                end else if (!predict && job_offset >= KEYS_MAX) begin
                    code_next = `SOFA_ERR_CAUSAL_OFFSET;
                end else if (!predict && (job_bc < BC_MIN || job_bc > BC_MAX || !bc_pow2)) begin
                    code_next = `SOFA_ERR_TILE_KEYS;
                end else if (bad_quota) begin
                    code_next = `SOFA_ERR_QUOTA;
                end else if (snap == 2'd3 || (snap == 2'd2 && TWO_TERM == 0)) begin
                    code_next = `SOFA_ERR_SNAP;
                end else if ((job_mode >> `SOFA_MODE_WIDTH) != 32'd0) begin
                    code_next = `SOFA_ERR_MODE;
                end else begin
                    state_next = S_MORE;
                end
            end
            S_MORE: begin
                state_next = S_DONE;
                if ((predict || generating) && bad_dim) begin
                    code_next = `SOFA_ERR_MODEL_DIM;
                end else if (rope == 2'd3) begin
                    code_next = `SOFA_ERR_ROPE;
                end else if (bad_next) begin
                    code_next = `SOFA_ERR_NEXT;
                end else if (!predict && bad_band) begin
                    code_next = `SOFA_ERR_BAND;
                end else if (!predict && job_fall > 32'd255) begin
                    code_next = `SOFA_ERR_FALL;
                end else if (!predict && bad_window) begin
                    code_next = `SOFA_ERR_WINDOW;
                end else if (sort && SORT == 0) begin
                    code_next = `SOFA_ERR_SELECT;
                end else begin
                    state_next = S_WORDS;
                end
            end
            S_WORDS: begin
                state_next = S_WEIGHTS;
            end
            S_WEIGHTS: begin
                // prod_reg is passes * model dimension
                words_next = prod_reg[16:0];
                rem_next = job_heads[15:0];
                group_next = 16'd0;
                rows_next = 18'd0;
                share_q_next = 39'd0;
                share_o_next = 39'd0;
                share_ht_next = 39'd0;
                state_next = predict ? S_CHUNKS : S_GROUP;
                if (generating && prod_reg[31:0] > WGT_WORDS) begin
                    code_next = `SOFA_ERR_WEIGHTS;
                    state_next = S_DONE;
                end
            end
            S_GROUP: begin
                if (rem_reg == 16'd0) begin
                    state_next = S_BUFFER;
                    if (share && (rows_reg > ROWS[17:0] || job_band[3:0] != 4'd1)) begin
                        code_next = `SOFA_ERR_SHARE;
                        state_next = S_DONE;
                    end
                end else if (rem_reg < job_kv_heads[15:0]) begin
                    code_next = `SOFA_ERR_KV_HEADS;
                    state_next = S_DONE;
                end else begin
                    rem_next = rem_reg - job_kv_heads[15:0];
                    group_next = group_reg + 16'd1;
                    // beyond a block it stays beyond
                    rows_next = rows_reg > ROWS[17:0] ? rows_reg : rows_reg + job_rows[17:0];
                    share_q_next = share_q_reg + {7'd0, job_hstride[`SOFA_BUF_Q*32 +: 32]};
                    share_o_next = share_o_reg + {7'd0, job_hstride[`SOFA_BUF_O*32 +: 32]};
                    share_ht_next = share_ht_reg + {7'd0, job_hstride[`SOFA_BUF_HT*32 +: 32]};
                end
            end
            S_CHUNKS: begin
                if (chunks_done) begin
                    state_next = S_BUFFER;
                end
            end
            S_BUFFER: begin
                if (b_check) begin
                    state_next = S_ALIGN;
                end
            end
            S_ALIGN: begin
                info_next = {4'd0, buf_reg};
                state_next = S_DONE;
                if (base_reg[BUS_W-1:0] != {BUS_W{1'b0}}) begin
                    code_next = `SOFA_ERR_BASE_ALIGN;
                end else if (rows_there_reg && stride_reg[BUS_W-1:0] != {BUS_W{1'b0}}) begin
                    code_next = `SOFA_ERR_STRIDE_ALIGN;
                end else if (headed_reg && hstride_reg[BUS_W-1:0] != {BUS_W{1'b0}}) begin
                    code_next = `SOFA_ERR_HEAD_STRIDE_ALIGN;
                end else begin
                    state_next = S_MULH;
                end
            end
            S_MULH: begin
                state_next = S_DONE;
                if (rows_there_reg && stride_reg < vec_reg) begin
                    code_next = `SOFA_ERR_STRIDE_SMALL;
                end else if (heads_reg != 17'd1 && hstride_reg < vec_reg) begin
                    code_next = `SOFA_ERR_HEAD_STRIDE_SMALL;
                end else begin
                    state_next = S_MULR;
                end
            end
            S_MULR: begin
                end_next = first_reg;
                state_next = S_SUM;
            end
            S_SUM: begin
                state_next = S_ENDH;
            end
            S_ENDH: begin
                end_next = end_reg + {3'd0, prod_reg};
                state_next = S_ENDR;
            end
            S_ENDR: begin
                end_next = end_reg + {3'd0, prod_reg};
                state_next = S_OVERLAP;
            end
            S_OVERLAP: begin
                if (bad_range) begin
                    code_next = `SOFA_ERR_ADDR_RANGE;
                    state_next = S_DONE;
                end else if (hit != {WRITTEN{1'b0}}) begin
                    code_next = `SOFA_ERR_OVERLAP;
                    state_next = S_DONE;
                end
                if (!others_reg) begin
                    lo_next = {lo_reg[(WRITTEN-1)*48-1:0], base_reg};
                    hi_next = {hi_reg[(WRITTEN-1)*52-1:0], end_reg};
                end
            end
            default: begin  // S_DONE
                state_next = S_IDLE;
            end
        endcase

        if (advance) begin
            buf_next = buf_reg + 4'd1;
            state_next = S_BUFFER;
            if (buf_reg == BUF_LAST) begin
                buf_next = 4'd0;
                others_next = 1'b1;
                if (others_reg) begin
                    info_next = 8'd0;
                    state_next = S_DONE;
                end
            end
        end
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        buf_reg <= buf_next;
        others_reg <= others_next;
        code_reg <= code_next;
        info_reg <= info_next;
        rem_reg <= rem_next;
        group_reg <= group_next;
        rows_reg <= rows_next;
        share_q_reg <= share_q_next;
        share_o_reg <= share_o_next;
        share_ht_reg <= share_ht_next;
        // the job is stable: places are right in S_MORE, heads of a part one cycle later
        places_reg <= places_next;
        together_reg <= together_next;
        words_reg <= words_next;
        end_reg <= end_next;
        lo_reg <= lo_next;
        hi_reg <= hi_next;
        row_blocks_reg <= (job_rows[16:0] + ROWS[16:0] - 17'd1) >> ROWS_W;
        key_bytes_reg <= ({15'd0, job_keys[16:0]} + 32'd7) >> 3;
        base_reg <= b_base;
        stride_reg <= b_stride;
        hstride_reg <= b_hstride;
        bytes_reg <= b_bytes;
        vec_reg <= (bytes_reg + BUS_MASK) & ~BUS_MASK;
        heads_reg <= b_heads;
        vecs_reg <= b_vecs;
        rows_there_reg <= b_rows;
        headed_reg <= b_headed;
        first_reg <= {4'd0, base_reg} + {20'd0, vec_reg};
        // the operands are there in the state that is named after them
        mul_a_reg <= state_reg == S_ALIGN ? heads_reg - 17'd1
                   : state_reg == S_MULH ? vecs_reg - 17'd1 : {7'd0, passes};
        mul_b_reg <= state_reg == S_ALIGN ? hstride_reg
                   : state_reg == S_MULH ? stride_reg : job_model_dim;
        prod_reg <= {16'd0, mul_low} + {mul_high, 16'd0};
        // of the second product, for S_OVERLAP
        wide_reg <= prod_reg[48:32] != 17'd0;

        if (rst) begin
            state_reg <= S_IDLE;
        end
    end

    sofa_seq_chunks #(
        .ROWS (ROWS)
    ) chunks_inst (
        .clk          (clk),
        .rst          (rst),
        .start        (state_reg == S_WEIGHTS && predict),
        .done         (chunks_done),
        .job_d        (job_d[8:0]),
        .job_kv_heads (job_kv_heads[10:0]),
        .job_hstride  (job_hstride[`SOFA_BUF_K8*32 +: 32]),
        .split        (split),
        .head_chunks  (head_chunks),
        .chunks       (chunks),
        .rows_full    (rows_full),
        .rows_last    (rows_last),
        .k8_step      (k8_step)
    );

endmodule

`resetall
