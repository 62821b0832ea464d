// SPDX-License-Identifier: Apache-2.0
// Second half of a predict job: sums of the array to 8-bit keys in memory.
//
//   words -> word buffer -> token -> PAIRS pairs a cycle: bias, sat16 -> rope -> shift, clamp
//                                                            ^                      |
//                              table rows -> sofa_dlzs_rope_rows -+        sofa_dlzs_kwrite <-+-> x
//
// Why: a chunk's sums leave the array within a few cycles and then not for H cycles. The buffer
// takes them at once; one narrow pipeline turns them into keys while the array works on the next
// chunk.
// Not done here: bias and saturation before the buffer. They would need an adder for every column
// and row; behind it two a pair do, for SC_W - 16 more bits a sum.
// Latency: a chunk's first beat is at x 10 cycles after its first word, plus the steps of a head.
// Throughput: a head of d (of this chunk: r) outputs takes ceil(r / (2*PAIRS)) cycles, or its beats
// if they are more; a token its heads, or the beats of its table row if they are more; no cycle is
// lost between tokens and chunks. With NGRP + 1 words of buffer the array never waits as long as
// COLS tokens take fewer cycles than H.
// Source: SOFA, MICRO 2024, DLZS phase 1.1; docs/architecture.md 10.2, docs/dlzs.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_khat #(
    // Rows of the array, a power of two, 4..128.
    parameter ROWS = 4,
    // Columns of the array, a power of two, 4..32.
    parameter COLS = 4,
    // Largest head dimension, a power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 16,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 8,
    // Bits of a sum, 9..24.
    parameter SC_W = 14,
    // Pairs a cycle, a power of two, 1..min(ROWS, D_MAX)/2.
    parameter PAIRS = 1,
    // Entries of t_numbers. Derived: leave at its default.
    parameter ENTRIES = ROWS < 8 ? 1 : ROWS / 8
) (
    input  wire                    clk,
    input  wire                    rst,

    // Configuration, static during a job
    input  wire [8:0]              cfg_d,
    input  wire [1:0]              cfg_rope,
    input  wire [31:0]             cfg_k8_stride,
    input  wire [31:0]             cfg_k8_hstride,
    input  wire [31:0]             cfg_rt_stride,

    // Pulse: the array begins with a chunk of a group of tokens: tokens, rows in use, chunk within
    // its head, addresses of K8 and of the table row of token 0; of each 8 rows {bias, shift}
    input  wire                    t_valid,
    input  wire [7:0]              t_n,
    input  wire [7:0]              t_rows,
    input  wire [5:0]              t_part,
    input  wire [47:0]             t_kbase,
    input  wire [47:0]             t_vbase,
    input  wire [20*ENTRIES-1:0]   t_numbers,

    // Its words, COLS/4 of them: row r, column 4*group + j at slice 4*r + j
    input  wire                    s_valid,
    output wire                    s_ready,
    input  wire [ROWS*4*SC_W-1:0]  s_scores,

    // Table rows
    output wire                    r_c_valid,
    input  wire                    r_c_ready,
    output wire [47:0]             r_c_addr,
    output wire [15:0]             r_c_beats,
    input  wire                    r_d_valid,
    output wire                    r_d_ready,
    input  wire [8*BUS_BYTES-1:0]  r_d_data,

    // Key beats
    output wire                    x_valid,
    input  wire                    x_ready,
    output wire [47:0]             x_addr,
    output wire [8*BUS_BYTES-1:0]  x_data,
    output wire [BUS_BYTES-1:0]    x_strb,
    input  wire                    x_done,
    // Pulse: a chunk of a group was written and answered
    output wire                    kp_done
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || COLS < 4 || COLS > 32
                || COLS != (1 << $clog2(COLS)) || SC_W < 9 || SC_W > 24 || PAIRS < 1
                || PAIRS > ROWS / 2 || PAIRS > D_MAX / 2 || PAIRS != (1 << $clog2(PAIRS))
                || ENTRIES != (ROWS < 8 ? 1 : ROWS / 8))
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_PAIRS_needs_power_of_two_1_to_half_ROWS_and_D_MAX stop ();
        end
    endgenerate

    localparam LANES = 4;
    localparam NGRP = COLS / LANES;
    localparam PAIR_W = $clog2(D_MAX) - 1;
    localparam [31:0] ROWS_32 = ROWS;
    localparam [31:0] STEP_32 = 2 * PAIRS;
    // Outputs a cycle.
    localparam [7:0] STEP = STEP_32[7:0];

    genvar l, r, p;

    // -----------------------------------------------------------------------------------------
    // Chunks whose words are in the buffer or on their way. Never more than four: two in the
    // buffer, one whose first word waits for it, one begun in the few cycles until that word stood.
    // Table rows are asked for from here on; two more chunks, of one token each, may have left the
    // buffer and wait for theirs.
    // -----------------------------------------------------------------------------------------
    wire        rope_on = cfg_rope != 2'd0;
    wire        unused_ready;
    wire        chunk_valid, chunk_done;
    wire [7:0]  chunk_n, chunk_rows;
    wire [5:0]  chunk_part;
    wire [47:0] chunk_addr;
    wire [2:0]  unused_level;

    sofa_sync_fifo #(
        .WIDTH (70),
        .DEPTH (4)
    ) chunk_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid),
        .s_ready (unused_ready),
        // At most D_MAX/ROWS = 64 parts of a head.
        .s_data  ({t_n, t_rows, t_part, t_kbase}),
        .m_valid (chunk_valid),
        .m_ready (chunk_done),
        .m_data  ({chunk_n, chunk_rows, chunk_part, chunk_addr}),
        .level   (unused_level)
    );

    // Biases and shifts of these chunks, and of the one whose token is read: places in turn.
    reg  [2:0]            wr_num_reg, rd_num_reg, read_num_reg;
    wire                  load;
    wire [20*ENTRIES-1:0] numbers;

    always @(posedge clk) begin
        wr_num_reg <= wr_num_reg + {2'd0, t_valid};
        rd_num_reg <= rd_num_reg + {2'd0, chunk_done};

        if (rst) begin
            wr_num_reg <= 3'd0;
            rd_num_reg <= 3'd0;
        end
    end

    sofa_ram_1r1w #(
        .WIDTH (20 * ENTRIES),
        .DEPTH (8)
    ) numbers_inst (
        .clk     (clk),
        .wr_en   (t_valid),
        .wr_addr (wr_num_reg),
        .wr_data (t_numbers),
        .rd_en   (load),
        .rd_addr (read_num_reg),
        .rd_data (numbers)
    );

    // -----------------------------------------------------------------------------------------
    // Word buffer, one memory for each lane
    // -----------------------------------------------------------------------------------------
    localparam DEPTH = NGRP + 1;
    localparam PTR_W = $clog2(DEPTH);
    localparam [31:0] LAST_WORD = DEPTH - 1;
    localparam [31:0] LAST_COL = COLS - 1;

    reg  [PTR_W-1:0] wr_ptr_reg, rd_ptr_reg;
    // Words in the buffer, 0..DEPTH; there are fewer than DEPTH
    reg  [3:0]       words_reg;
    reg              room_reg;
    // Column to be read next; the low bits are its lane.
    reg  [5:0]       col_reg;

    wire write = s_valid && s_ready;
    // Columns without a token are passed over.
    wire skip = {2'd0, col_reg} >= chunk_n;
    wire read_ready;
    wire walk = words_reg != 4'd0 && chunk_valid && (skip || read_ready);
    wire read = walk && !skip;
    wire col_last = col_reg == LAST_COL[5:0];
    wire word_done = walk && col_reg[1:0] == 2'd3;

    assign s_ready    = room_reg;
    assign chunk_done = walk && col_last;

    always @(posedge clk) begin
        words_reg <= words_reg + {3'd0, write} - {3'd0, word_done};
        room_reg  <= words_reg < LAST_WORD[3:0] || word_done
            || (words_reg == LAST_WORD[3:0] && !write);
        if (write) begin
            wr_ptr_reg <= wr_ptr_reg == LAST_WORD[PTR_W-1:0] ? {PTR_W{1'b0}} : wr_ptr_reg + 1'b1;
        end
        if (word_done) begin
            rd_ptr_reg <= rd_ptr_reg == LAST_WORD[PTR_W-1:0] ? {PTR_W{1'b0}} : rd_ptr_reg + 1'b1;
        end
        if (walk) begin
            col_reg <= col_last ? 6'd0 : col_reg + 6'd1;
        end

        if (rst) begin
            words_reg  <= 4'd0;
            room_reg   <= 1'b1;
            wr_ptr_reg <= {PTR_W{1'b0}};
            rd_ptr_reg <= {PTR_W{1'b0}};
            col_reg    <= 6'd0;
        end
    end

    // Token read: which lane holds it, and its chunk.
    reg               read_valid_reg;
    reg  [1:0]        read_lane_reg;
    reg               read_first_reg, read_last_reg;
    reg  [7:0]        read_rows_reg;
    reg  [5:0]        read_part_reg;
    reg  [47:0]       read_addr_reg;
    wire [7:0]        n_end = chunk_n - 8'd1;
    wire [ROWS*SC_W-1:0] read_token;

    generate
        for (l = 0; l < LANES; l = l + 1) begin : g_lane
            localparam [1:0] L = l;
            wire [ROWS*SC_W-1:0] wr_token, rd_token;
            // This lane's token if it was read, or that of a lane before.
            wire [ROWS*SC_W-1:0] token;

            for (r = 0; r < ROWS; r = r + 1) begin : g_row
                assign wr_token[r*SC_W +: SC_W] = s_scores[(r*LANES+l)*SC_W +: SC_W];
            end

            sofa_ram_1r1w #(
                .WIDTH  (ROWS * SC_W),
                .DEPTH  (DEPTH),
                .ADDR_W (PTR_W)
            ) ram_inst (
                .clk     (clk),
                .wr_en   (write),
                .wr_addr (wr_ptr_reg),
                .wr_data (wr_token),
                .rd_en   (read && col_reg[1:0] == L),
                .rd_addr (rd_ptr_reg),
                .rd_data (rd_token)
            );

            if (l == 0) begin : g_token
                assign token = rd_token & {(ROWS*SC_W){read_lane_reg == L}};
            end else begin : g_token
                assign token = g_lane[l-1].token
                    | (rd_token & {(ROWS*SC_W){read_lane_reg == L}});
            end
        end
    endgenerate

    assign read_token = g_lane[LANES-1].token;

    // -----------------------------------------------------------------------------------------
    // Token at hand: head by head, 2*PAIRS outputs a step
    // -----------------------------------------------------------------------------------------
    reg                  token_valid_reg;
    reg  [ROWS*SC_W-1:0] token_reg;
    reg                  token_last_reg;
    reg  [7:0]           token_rows_reg;
    reg  [5:0]           token_part_reg;
    // K8 address of the token's first head, of its present head.
    reg  [47:0]          token_addr_reg, head_addr_reg;
    // First row of the step, in the chunk and in its head; rows from there to the end of the head,
    // to that of the token; the head is the token's last
    reg  [7:0]           row_reg, head_row_reg;
    reg  [7:0]           head_left_reg, token_left_reg;
    reg                  head_end_reg;

    wire                 en;
    wire                 row_valid;
    wire                 step = token_valid_reg && en && (row_valid || !rope_on);
    wire                 whole = {23'd0, cfg_d} <= ROWS_32;
    // Rows of a head, of the token at hand and of the one that is read
    wire [7:0]           head_rows = whole ? cfg_d[7:0] : token_rows_reg;
    wire [7:0]           read_head_rows = whole ? cfg_d[7:0] : read_rows_reg;
    wire                 head_last = head_left_reg <= STEP;
    wire [7:0]           row_next = row_reg + (head_last ? head_left_reg : STEP);
    wire [7:0]           token_left = token_left_reg - head_rows;
    wire                 step_last = head_last && head_end_reg;
    wire                 token_done = step && step_last;
    wire [47:0]          token_addr = read_first_reg
        ? read_addr_reg : token_addr_reg + {16'd0, cfg_k8_stride};

    assign load       = read_valid_reg && (!token_valid_reg || token_done);
    assign read_ready = !read_valid_reg || load;

    always @(posedge clk) begin
        read_valid_reg  <= read || (read_valid_reg && !load);
        token_valid_reg <= load || (token_valid_reg && !token_done);
        if (read) begin
            read_lane_reg  <= col_reg[1:0];
            read_first_reg <= col_reg == 6'd0;
            read_last_reg  <= col_reg == n_end[5:0];
            read_rows_reg  <= chunk_rows;
            read_part_reg  <= chunk_part;
            read_num_reg   <= rd_num_reg;
            read_addr_reg  <= chunk_addr;
        end
        if (load) begin
            token_reg      <= read_token;
            token_last_reg <= read_last_reg;
            token_rows_reg <= read_rows_reg;
            token_part_reg <= read_part_reg;
            token_addr_reg <= token_addr;
            head_addr_reg  <= token_addr;
            row_reg        <= 8'd0;
            head_row_reg   <= 8'd0;
            head_left_reg  <= read_head_rows;
            token_left_reg <= read_rows_reg;
            head_end_reg   <= read_rows_reg <= read_head_rows;
        end else if (step) begin
            row_reg      <= row_next;
            head_row_reg <= head_last ? 8'd0 : head_row_reg + STEP;
            head_left_reg <= head_last ? head_rows : head_left_reg - STEP;
            if (head_last) begin
                token_left_reg <= token_left;
                head_end_reg   <= token_left <= head_rows;
                head_addr_reg <= head_addr_reg + {16'd0, cfg_k8_hstride};
            end
        end

        if (rst) begin
            read_valid_reg  <= 1'b0;
            token_valid_reg <= 1'b0;
        end
    end

    // The step's sums. Heads start at multiples of 8 rows.
    localparam UNIT = STEP_32 < 8 ? STEP_32 : 8;
    localparam UNITS = ROWS / UNIT;
    wire [2*PAIRS*SC_W-1:0] sums;

    generate
        if (UNITS < 2) begin : g_sums
            assign sums = token_reg;
            wire unused_row = &{1'b0, row_reg};
        end else begin : g_sums
            sofa_lane_rotate #(
                .LANES (UNITS),
                .OUT   (2 * PAIRS / UNIT),
                .WIDTH (UNIT * SC_W)
            ) select_inst (
                .amount   (row_reg[$clog2(ROWS)-1:$clog2(UNIT)]),
                .in_data  (token_reg),
                .out_data (sums)
            );
        end
    endgenerate

    // Bias and shift of the step's head.
    wire [15:0] bias;
    wire [3:0]  shift;

    generate
        if (ENTRIES == 1) begin : g_numbers
            assign {bias, shift} = numbers;
        end else begin : g_numbers
            assign {bias, shift} = numbers[row_reg[$clog2(ROWS)-1:3]*20 +: 20];
        end
    endgenerate

    // First pair of the step in its head.
    wire [12:0] part_pair = {7'd0, token_part_reg} << ($clog2(ROWS) - 1);
    wire [12:0] step_pair = part_pair + {6'd0, head_row_reg[7:1]};
    wire        unused_pair = &{1'b0, step_pair};

    // -----------------------------------------------------------------------------------------
    // Pipeline: sum and bias, t, three registers of rope, key byte. Each pair: {odd output, even
    // output}
    // -----------------------------------------------------------------------------------------
    localparam STAGES = 6;
    localparam INFO_W = 4 + 2 + PAIR_W + 48;
    localparam SUM_W = (SC_W > 16 ? SC_W : 16) + 1;
    localparam DROP = SC_W > 16 ? SC_W - 16 : 0;

    reg  [STAGES-1:0]        valid_reg;
    reg  [STAGES*INFO_W-1:0] info_reg;
    reg  [2*PAIRS*SC_W-1:0]  sums_reg;
    reg  [15:0]              bias_reg;
    reg  [PAIRS*32-1:0]      cs_reg;
    reg  [PAIRS*32-1:0]      t_reg;
    reg  [PAIRS*16-1:0]      k8_reg;
    wire [PAIRS*32-1:0]      t, cs, y;
    wire [PAIRS*16-1:0]      k8;
    // Shift of the step that leaves rope
    wire [3:0]               y_shift = info_reg[(STAGES-1)*INFO_W-1 -: 4];
    wire [INFO_W-1:0]        info = {shift, token_last_reg && step_last, head_last,
                                     step_pair[PAIR_W-1:0], head_addr_reg};

    generate
        for (p = 0; p < 2 * PAIRS; p = p + 1) begin : g_number
            wire [SC_W-1:0]         sum = sums_reg[p*SC_W +: SC_W];
            wire signed [SUM_W-1:0] biased = {{(SUM_W - SC_W){sum[SC_W-1]}}, sum}
                + {{(SUM_W - 16){bias_reg[15]}}, bias_reg};
            wire [16:0]             dropped = biased[SUM_W-1:DROP];
            wire                    t_over = dropped[16] != dropped[15];
            assign t[p*16 +: 16] = t_over ? {dropped[16], {15{!dropped[16]}}} : dropped[15:0];

            wire [15:0]             from = y[p*16 +: 16];
            // The bit behind the point rounds: up, where it is set.
            wire signed [16:0]      shifted = $signed({from, 1'b0}) >>> y_shift;
            wire [7:0]              rounded = shifted[8:1] + {7'd0, shifted[0]};
            // Outside -127..127: the upper bits differ, or 127 and more, -128 and no more.
            wire                    k_over = shifted[16:8] != {9{shifted[16]}}
                || (shifted[16] ? shifted[7:0] == 8'h00 : shifted[7:0] == 8'hFF);
            assign k8[p*8 +: 8] = k_over ? (shifted[16] ? 8'h81 : 8'h7F) : rounded;

            if (DROP > 0) begin : g_low
                wire unused_low = &{1'b0, biased[DROP-1:0]};
            end
        end
    endgenerate

    sofa_rope #(
        .PAIRS (PAIRS)
    ) rope_inst (
        .clk      (clk),
        .en       (en),
        .s_x      (t_reg),
        .s_cs     (cs_reg),
        .s_bypass (!rope_on),
        .m_y      (y)
    );

    always @(posedge clk) begin
        if (en) begin
            valid_reg <= {valid_reg[STAGES-2:0], step};
            info_reg  <= {info_reg[(STAGES-1)*INFO_W-1:0], info};
            sums_reg  <= sums;
            bias_reg  <= bias;
            cs_reg    <= cs;
            t_reg     <= t;
            k8_reg    <= k8;
        end

        if (rst) begin
            valid_reg <= {STAGES{1'b0}};
        end
    end

    sofa_dlzs_rope_rows #(
        .D_MAX     (D_MAX),
        .BUS_BYTES (BUS_BYTES),
        .PAIRS     (PAIRS)
    ) rows_inst (
        .clk           (clk),
        .rst           (rst),
        .cfg_d         (cfg_d),
        .cfg_rt_stride (cfg_rt_stride),
        .t_valid       (t_valid && rope_on),
        .t_n           (t_n),
        .t_addr        (t_vbase),
        .r_c_valid     (r_c_valid),
        .r_c_ready     (r_c_ready),
        .r_c_addr      (r_c_addr),
        .r_c_beats     (r_c_beats),
        .r_d_valid     (r_d_valid),
        .r_d_ready     (r_d_ready),
        .r_d_data      (r_d_data),
        .row_valid     (row_valid),
        .row_done      (token_done && rope_on),
        .rd_en         (step),
        .rd_pair       (step_pair[PAIR_W-1:0]),
        .m_cs          (cs)
    );

    // -----------------------------------------------------------------------------------------
    // Beats
    // -----------------------------------------------------------------------------------------
    wire              out_valid = valid_reg[STAGES-1];
    wire              out_ready;
    wire              out_end, out_last;
    wire [PAIR_W-1:0] out_pair;
    wire [47:0]       out_addr;
    wire [3:0]        unused_shift;

    assign {unused_shift, out_end, out_last, out_pair, out_addr}
        = info_reg[STAGES*INFO_W-1 -: INFO_W];
    assign en = !out_valid || out_ready;

    sofa_dlzs_kwrite #(
        .D_MAX     (D_MAX),
        .BUS_BYTES (BUS_BYTES),
        .PAIRS     (PAIRS)
    ) write_inst (
        .clk      (clk),
        .rst      (rst),
        .cfg_d    (cfg_d),
        .cfg_half (cfg_rope[1]),
        .s_valid  (out_valid),
        .s_ready  (out_ready),
        .s_pair   (out_pair),
        .s_k8     (k8_reg),
        .s_last   (out_last),
        .s_end    (out_end),
        .s_addr   (out_addr),
        .x_valid  (x_valid),
        .x_ready  (x_ready),
        .x_addr   (x_addr),
        .x_data   (x_data),
        .x_strb   (x_strb),
        .x_done   (x_done),
        .kp_done  (kp_done)
    );

    wire unused = &{1'b0, n_end};

endmodule

`resetall
