// SPDX-License-Identifier: Apache-2.0
// Sequencer: runs a chain of jobs. Checks a descriptor, walks the job, waits until everything it
// writes has been answered, then reads the next descriptor; turns faults (illegal field or table
// entry, bus error, a memory that breaks AXI4 or is silent for too long, soft reset) into an error
// code, which ends the chain.
//
// Why: one place that knows a job as a whole. A job is attention (parts, their blocks and turns) or
// the prediction of keys (groups of tokens, chunks and parts). After a fault on the bus, in the
// table of heads or a soft reset the bus masters are halted, outstanding transfers are allowed to
// finish, then every stage is reset, so that the core is usable for the next job. A time-out, or a
// second soft reset, ends that wait as well; err_lost tells that transfers were left outstanding.
// Parts: sofa_seq_chain (descriptors), sofa_seq_check; attention: sofa_seq_walk; predict:
// sofa_seq_keys twice (X8, turns), sofa_seq_codes.
// Latency: start to the first read of a table entry 30 cycles + 7 a buffer + heads/kv_heads, to the
// first tile command 10 more, entry to scales 4; of a predict job see docs/seq.md.
// Source: our decision (docs/architecture.md sections 1, 4, 6 and 10).

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_regs.vh"
`include "sofa_turn.vh"

module sofa_seq #(
    // Query rows in parallel, power of two 4..128
    parameter ROWS = 128,
    // Keys predicted in parallel, power of two 4..BC_MAX
    parameter COLS = 32,
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
    parameter SC_W = 17,
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
    parameter SORT = 1,
    // Fraction bits of a logarithm, 0..6
    parameter LOG_FRAC = 4,
    // Fraction bits of (tiles of the band) / (tiles counted), 4..12
    parameter RATIO_FRAC = 8
) (
    input  wire         clk,
    input  wire         rst,

    // Control and status. start: the job in the registers, then NEXT; start_chain: NEXT only.
    // done once at the end of a chain, job_done after each of its jobs
    input  wire         start,
    input  wire         start_chain,
    input  wire         soft_reset,
    output wire         busy,
    output wire         done,
    output wire         job_done,
    output wire         err_valid,
    output wire [7:0]   err_code,
    output wire [7:0]   err_info,
    // bit 0: reads, 1: writes were outstanding when the masters were reset
    output wire [1:0]   err_lost,
    // cycles that a master waits for the memory at most, 0: for ever
    input  wire [31:0]  timeout,

    // Job registers: their write port, for a descriptor of a chain, and their values, else stable
    // while busy. Buffer i is `SOFA_BUF_* = i.
    output wire         d_wr_valid,
    output wire [5:0]   d_wr_word,
    output wire [31:0]  d_wr_data,
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
    input  wire [`SOFA_BUFFER_NUM*32-1:0] job_hstride,

    // Commands to the fetch stage
    output wire         qc_valid,
    input  wire         qc_ready,
    output wire [47:0]  qc_addr,
    output wire [7:0]   qc_rows,

    // Scales of the next block
    output wire         qs_valid,
    input  wire         qs_ready,
    output wire [15:0]  qs_scale_m,
    output wire [5:0]   qs_scale_shift,
    output wire         tc_valid,
    input  wire         tc_ready,
    output wire [47:0]  tc_addr,
    output wire [31:0]  tc_inc,
    output wire [7:0]   tc_n,

    // Turn descriptors, to dlzs
    output wire         tn_valid,
    input  wire         tn_ready,
    output wire [`SOFA_TURN_W-1:0] tn_turn,

    // Streams of the fetch stage: weight codes of a chunk (their data goes to dlzs), descriptors
    // and table entries
    output wire         w_c_valid,
    input  wire         w_c_ready,
    output wire [47:0]  w_c_addr,
    output wire [15:0]  w_c_beats,
    output wire         d_c_valid,
    input  wire         d_c_ready,
    output wire [47:0]  d_c_addr,
    output wire [15:0]  d_c_beats,
    input  wire         d_d_valid,
    output wire         d_d_ready,
    input  wire [BUS_BYTES*8-1:0] d_d_data,

    // Heads that share a block
    output wire [7:0]   cfg_heads,

    // Bus masters and stages. blk_done: a block of O is in memory; kp_done: a chunk of a group is;
    // kv_done: the made keys and values of a KV head are. wait: what the memory has to do (rd:
    // take AR, send data; wr: take AW, take W, answer, from bit 0 on); move: it did some of it
    input  wire         blk_done,
    input  wire         kp_done,
    input  wire         kv_done,
    output wire         halt,
    output wire         stage_rst,
    input  wire         rd_idle,
    input  wire         wr_idle,
    input  wire [1:0]   rd_wait,
    input  wire         rd_move,
    input  wire [2:0]   wr_wait,
    input  wire         wr_move,
    input  wire         rd_err_valid,
    input  wire         rd_err_protocol,
    input  wire [2:0]   rd_err_stream,
    input  wire [1:0]   rd_err_resp,
    input  wire         wr_err_valid,
    input  wire         wr_err_protocol,
    input  wire [2:0]   wr_err_id,
    input  wire [1:0]   wr_err_resp,

    // A Q command; a turn descriptor, of attention both
    output wire         ev_block,
    output wire         ev_tile
);

    generate
        if (COLS < 4 || COLS > BC_MAX || COLS != (1 << $clog2(COLS)) || H_MAX < 64 || H_MAX > 4096
                || H_MAX != (1 << $clog2(H_MAX)) || WGT_WORDS < 64 || WGT_WORDS > 65536)
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    // waits for start
    localparam S_IDLE  = 3'd0;
    // reads a descriptor
    localparam S_LOAD  = 3'd1;
    // descriptor check
    localparam S_CHECK = 3'd2;
    // job runs
    localparam S_RUN   = 3'd3;
    // bus masters halted, waits until nothing is outstanding, or will be answered any more
    localparam S_HALT  = 3'd4;
    // stages in reset
    localparam S_CLEAR = 3'd5;
    // reports the fault
    localparam S_ERROR = 3'd6;

    reg [2:0]  state_reg, state_next;
    // The state is S_HALT: all masters look at it.
    reg        halt_reg;
    reg [7:0]  code_reg, code_next;
    reg [7:0]  info_reg, info_next;
    reg [1:0]  lost_reg, lost_next;
    reg [3:0]  wait_reg, wait_next;
    // a soft reset has come since the start
    reg        abort_reg, abort_next;
    // blocks, or chunks of groups, that the stages have and that are not in memory yet, far fewer
    // than this counts; KV heads that are not in memory yet
    reg [11:0] left_reg, left_next;
    reg [10:0] heads_reg, heads_next;
    reg        done_reg, done_next;
    reg        job_done_reg, job_done_next;
    reg        load_reg, load_next;
    reg        walk_reg, walk_next;

    wire       chk_done;
    wire [7:0] chk_code;
    wire [7:0] chk_info;
    wire [15:0] group;
    wire       split;
    wire [6:0] head_chunks;
    wire [16:0] chunks;
    wire [7:0] rows_full;
    wire [7:0] rows_last;
    wire [47:0] k8_step;
    wire       loaded;
    wire [3:0] places;
    wire [3:0] together;
    wire [7:0] share_rows;
    wire [38:0] share_q, share_o, share_ht;
    wire       attention_active;
    wire       reads_active;
    wire       entry_bad;
    wire [7:0] entry_head;
    wire       keys_active;
    wire       codes_active;
    wire       ev_chunk;
    wire       rd_dead;
    wire       wr_dead;

    wire predict = job_mode[`SOFA_MODE_PREDICT_LSB];
    wire generating = job_mode[`SOFA_MODE_GENERATE_LSB];
    wire [7:0] rd_err_code = rd_err_protocol ? `SOFA_ERR_READ_PROTOCOL
                           : rd_err_resp == 2'b11 ? `SOFA_ERR_READ_DECERR : `SOFA_ERR_READ_SLVERR;
    wire [7:0] wr_err_code = wr_err_protocol ? `SOFA_ERR_WRITE_PROTOCOL
                           : wr_err_resp == 2'b11 ? `SOFA_ERR_WRITE_DECERR : `SOFA_ERR_WRITE_SLVERR;
    // the check of a job has seen to the other faults of NEXT
    wire bad_chain = job_next == 48'd0 || job_next[7:0] != 8'd0 || job_next >> ADDR_W != 48'd0;
    wire walking = walk_reg || attention_active || keys_active || reads_active || codes_active;
    wire unit_start = predict ? ev_chunk : ev_block;
    wire unit_done = predict ? kp_done : blk_done;

    assign busy = state_reg != S_IDLE;
    assign done = done_reg;
    assign cfg_heads = job_mode[`SOFA_MODE_SHARE_LSB] ? group[7:0] : 8'd1;
    assign job_done = job_done_reg;
    assign err_valid = state_reg == S_ERROR;
    assign err_code = code_reg;
    assign err_info = info_reg;
    assign err_lost = lost_reg;
    assign halt = halt_reg;
    assign stage_rst = state_reg == S_CLEAR;

    always @* begin
        state_next = state_reg;
        code_next = code_reg;
        info_next = info_reg;
        lost_next = lost_reg;
        abort_next = abort_reg || soft_reset;
        wait_next = wait_reg;
        left_next = left_reg;
        heads_next = heads_reg;
        done_next = 1'b0;
        job_done_next = 1'b0;
        load_next = 1'b0;
        walk_next = 1'b0;

        if (unit_start && !unit_done) begin
            left_next = left_reg + 12'd1;
        end
        if (!unit_start && unit_done) begin
            left_next = left_reg - 12'd1;
        end
        if (kv_done) begin
            heads_next = heads_reg - 11'd1;
        end

        case (state_reg)
            S_IDLE: begin
                left_next = 12'd0;
                lost_next = 2'b00;
                abort_next = 1'b0;
                wait_next = 4'd0;
                if (start) begin
                    state_next = S_CHECK;
                end else if (start_chain) begin
                    code_next = `SOFA_ERR_NEXT;
                    info_next = 8'd0;
                    load_next = !bad_chain;
                    state_next = bad_chain ? S_ERROR : S_LOAD;
                end
            end
            S_LOAD: begin
                if (loaded) begin
                    state_next = S_CHECK;
                end
            end
            S_CHECK: begin
                heads_next = generating ? job_kv_heads[10:0] : 11'd0;
                if (chk_done) begin
                    code_next = chk_code;
                    info_next = chk_info;
                    walk_next = chk_code == `SOFA_ERR_NONE;
                    state_next = walk_next ? S_RUN : S_ERROR;
                end
            end
            S_RUN: begin
                if (!walking && left_reg == 12'd0 && heads_reg == 11'd0) begin
                    job_done_next = 1'b1;
                    if (job_next == 48'd0) begin
                        done_next = 1'b1;
                        state_next = S_IDLE;
                    end else begin
                        load_next = 1'b1;
                        state_next = S_LOAD;
                    end
                end
            end
            S_HALT: begin
                // idle must hold for some cycles: commands may still be on their way to the masters
                if ((rd_idle || rd_dead) && (wr_idle || wr_dead)) begin
                    wait_next = wait_reg + 4'd1;
                end else begin
                    wait_next = 4'd0;
                end
                if (wait_reg == 4'd15 || (soft_reset && abort_reg)) begin
                    lost_next = {!wr_idle, !rd_idle};
                    wait_next = 4'd0;
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

        if (state_reg == S_LOAD || state_reg == S_CHECK || state_reg == S_RUN) begin
            if (entry_bad) begin
                code_next = `SOFA_ERR_HEAD_ENTRY;
                info_next = entry_head;
                state_next = S_HALT;
            end
            if (wr_dead) begin
                code_next = `SOFA_ERR_WRITE_TIMEOUT;
                info_next = {5'd0, wr_wait};
                state_next = S_HALT;
            end
            if (rd_dead) begin
                code_next = `SOFA_ERR_READ_TIMEOUT;
                info_next = {6'd0, rd_wait};
                state_next = S_HALT;
            end
            if (soft_reset) begin
                code_next = `SOFA_ERR_ABORTED;
                info_next = 8'd0;
                state_next = S_HALT;
            end
            if (wr_err_valid) begin
                code_next = wr_err_code;
                info_next = {5'd0, wr_err_id};
                state_next = S_HALT;
            end
            if (rd_err_valid) begin
                code_next = rd_err_code;
                info_next = {5'd0, rd_err_stream};
                state_next = S_HALT;
            end
            if (state_next == S_HALT) begin
                done_next = 1'b0;
                job_done_next = 1'b0;
                load_next = 1'b0;
                walk_next = 1'b0;
            end
        end
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        halt_reg  <= state_next == S_HALT;
        code_reg <= code_next;
        info_reg <= info_next;
        lost_reg <= lost_next;
        abort_reg <= abort_next;
        wait_reg <= wait_next;
        left_reg <= left_next;
        heads_reg <= heads_next;
        done_reg <= done_next;
        job_done_reg <= job_done_next;
        load_reg <= load_next;
        walk_reg <= walk_next;

        if (rst) begin
            state_reg <= S_IDLE;
            halt_reg  <= 1'b0;
            left_reg <= 12'd0;
            done_reg <= 1'b0;
            job_done_reg <= 1'b0;
            load_reg <= 1'b0;
            walk_reg <= 1'b0;
        end
    end

    sofa_seq_timeout rd_timeout_inst (
        .clk(clk),
        .rst(rst || stage_rst),
        .limit(timeout),
        .waiting(rd_wait != 2'b00),
        .move(rd_move),
        .expired(rd_dead)
    );

    sofa_seq_timeout wr_timeout_inst (
        .clk(clk),
        .rst(rst || stage_rst),
        .limit(timeout),
        .waiting(wr_wait != 3'b000),
        .move(wr_move),
        .expired(wr_dead)
    );

    // -----------------------------------------------------------------------------------------
    // Descriptors; check. Stream D is that of the chain between jobs, that of the table in them.
    // -----------------------------------------------------------------------------------------
    wire        chain_c_valid, chain_d_ready, entry_c_valid, entry_d_ready;
    wire [47:0] chain_c_addr, entry_c_addr;
    wire [15:0] chain_c_beats, entry_c_beats;
    assign d_c_valid = chain_c_valid || entry_c_valid;
    assign d_c_addr  = chain_c_valid ? chain_c_addr : entry_c_addr;
    assign d_c_beats = chain_c_valid ? chain_c_beats : entry_c_beats;
    assign d_d_ready = chain_d_ready || entry_d_ready;

    sofa_seq_chain #(
        .BUS_BYTES (BUS_BYTES)
    ) chain_inst (
        .clk        (clk),
        .rst        (rst || stage_rst),
        .start      (load_reg),
        .addr       (job_next),
        .done       (loaded),
        .d_c_valid  (chain_c_valid),
        .d_c_ready  (d_c_ready),
        .d_c_addr   (chain_c_addr),
        .d_c_beats  (chain_c_beats),
        .d_d_valid  (d_d_valid),
        .d_d_ready  (chain_d_ready),
        .d_d_data   (d_d_data),
        .d_wr_valid (d_wr_valid),
        .d_wr_word  (d_wr_word),
        .d_wr_data  (d_wr_data)
    );

    sofa_seq_check #(
        .ROWS        (ROWS),
        .D_MAX       (D_MAX),
        .BC_MAX      (BC_MAX),
        .BC_MIN      (BC_MIN),
        .BUS_BYTES   (BUS_BYTES),
        .KEYS_MAX    (KEYS_MAX),
        .ADDR_W      (ADDR_W),
        .TWO_TERM    (TWO_TERM),
        .H_MAX       (H_MAX),
        .WGT_WORDS   (WGT_WORDS),
        .PLACES      (PLACES),
        .STORE_BEATS (STORE_BEATS),
        .SORT        (SORT)
    ) check_inst (
        .clk            (clk),
        .rst            (rst || stage_rst),
        .start          ((state_reg == S_IDLE && start) || (state_reg == S_LOAD && loaded)),
        .done           (chk_done),
        .code           (chk_code),
        .info           (chk_info),
        .group          (group),
        .places         (places),
        .together       (together),
        .share_rows     (share_rows),
        .share_q        (share_q),
        .share_o        (share_o),
        .share_ht       (share_ht),
        .split          (split),
        .head_chunks    (head_chunks),
        .chunks         (chunks),
        .rows_full      (rows_full),
        .rows_last      (rows_last),
        .k8_step        (k8_step),
        .job_mode       (job_mode),
        .job_d          (job_d),
        .job_rows       (job_rows),
        .job_keys       (job_keys),
        .job_heads      (job_heads),
        .job_kv_heads   (job_kv_heads),
        .job_offset     (job_offset),
        .job_bc         (job_bc),
        .job_quota      (job_quota),
        .job_band       (job_band),
        .job_fall       (job_fall),
        .job_window     (job_window),
        .job_model_dim  (job_model_dim),
        .job_next       (job_next),
        .job_base       (job_base),
        .job_stride     (job_stride),
        .job_hstride    (job_hstride)
    );

    // -----------------------------------------------------------------------------------------
    // Walks of an attention job
    // -----------------------------------------------------------------------------------------
    wire        walk_tc_valid, walk_tn_valid;
    wire [47:0] walk_tc_addr;
    wire [31:0] walk_tc_inc;
    wire [7:0]  walk_tc_n;
    wire [`SOFA_TURN_W-1:0] walk_turn;
    assign ev_tile = walk_tn_valid && tn_ready && !predict;

    sofa_seq_walk #(
        .ROWS       (ROWS),
        .BC_MIN     (BC_MIN),
        .BUS_BYTES  (BUS_BYTES),
        .KEYS_MAX   (KEYS_MAX),
        .SC_W       (SC_W),
        .PLACES     (PLACES),
        .LOG_FRAC   (LOG_FRAC),
        .RATIO_FRAC (RATIO_FRAC)
    ) walk_inst (
        .clk            (clk),
        .rst            (rst || stage_rst),
        .start          (walk_reg && !predict),
        .active         (attention_active),
        .ev_block       (ev_block),
        .job_mode       (job_mode[`SOFA_MODE_WIDTH-1:0]),
        .job_rows       (job_rows[16:0]),
        .job_keys       (job_keys[16:0]),
        .job_kv_heads   (job_kv_heads[10:0]),
        .job_offset     (job_offset[16:0]),
        .job_bc         (job_bc[7:0]),
        .job_band       (job_band[3:0]),
        .job_fall       (job_fall[7:0]),
        .job_window     (job_window[`SOFA_WINDOW_WINDOW_LSB +: 17]),
        .job_sinks      (job_window[`SOFA_WINDOW_SINKS_LSB +: 7]),
        .job_base       (job_base),
        .job_stride     (job_stride),
        .job_hstride    (job_hstride),
        // Results of the check, which are there long before the walk starts
        .job_group      (group),
        .job_places     (places),
        .job_together   (together),
        .job_share_rows (share_rows),
        .job_share_q    (share_q),
        .job_share_o    (share_o),
        .job_share_ht   (share_ht),
        .d_c_valid      (entry_c_valid),
        .d_c_ready      (d_c_ready),
        .d_c_addr       (entry_c_addr),
        .d_c_beats      (entry_c_beats),
        .d_d_valid      (d_d_valid),
        .d_d_ready      (entry_d_ready),
        .d_d_data       (d_d_data),
        .bad            (entry_bad),
        .bad_head       (entry_head),
        .qc_valid       (qc_valid),
        .qc_ready       (qc_ready),
        .qc_addr        (qc_addr),
        .qc_rows        (qc_rows),
        .qs_valid       (qs_valid),
        .qs_ready       (qs_ready),
        .qs_scale_m     (qs_scale_m),
        .qs_scale_shift (qs_scale_shift),
        .tc_valid       (walk_tc_valid),
        .tc_ready       (tc_ready && !predict),
        .tc_addr        (walk_tc_addr),
        .tc_inc         (walk_tc_inc),
        .tc_n           (walk_tc_n),
        .tn_valid       (walk_tn_valid),
        .tn_ready       (tn_ready && !predict),
        .tn_turn        (walk_turn)
    );

    // -----------------------------------------------------------------------------------------
    // Walks of a predict job: turns, and the reads of X8 that run ahead of them; codes
    // -----------------------------------------------------------------------------------------
    wire        keys_valid, reads_valid;
    wire [47:0] reads_addr, unused_addr;
    wire [31:0] reads_inc, unused_inc;
    wire [7:0]  reads_n, unused_n;
    wire [`SOFA_TURN_W-1:0] keys_turn, unused_turn;
    wire        unused_chunk;
    assign tc_valid = predict ? reads_valid : walk_tc_valid;
    assign tc_addr  = predict ? reads_addr : walk_tc_addr;
    assign tc_inc   = predict ? reads_inc : walk_tc_inc;
    assign tc_n     = predict ? reads_n : walk_tc_n;
    assign tn_valid = predict ? keys_valid : walk_tn_valid;
    assign tn_turn  = predict ? keys_turn : walk_turn;

    sofa_seq_keys #(
        .COLS      (COLS),
        .BUS_BYTES (BUS_BYTES),
        .ADDR_W    (ADDR_W)
    ) keys_inst (
        .clk           (clk),
        .rst           (rst || stage_rst),
        .start         (walk_reg && predict),
        .active        (keys_active),
        .ev_chunk      (ev_chunk),
        .job_keys      (job_keys[16:0]),
        .job_h         (job_model_dim[12:0]),
        .job_x8_base   (job_base[`SOFA_BUF_X8*48 +: 48]),
        .job_x8_stride (job_stride[`SOFA_BUF_X8*32 +: 32]),
        .job_k8_base   (job_base[`SOFA_BUF_K8*48 +: 48]),
        .job_k8_stride (job_stride[`SOFA_BUF_K8*32 +: 32]),
        .job_rt_base   (job_base[`SOFA_BUF_RT*48 +: 48]),
        .job_rt_stride (job_stride[`SOFA_BUF_RT*32 +: 32]),
        .split         (split),
        .head_chunks   (head_chunks),
        .chunks        (chunks),
        .rows_full     (rows_full),
        .rows_last     (rows_last),
        .k8_step       (k8_step),
        .valid         (keys_valid),
        .ready         (tn_ready && predict),
        .tc_addr       (unused_addr),
        .tc_inc        (unused_inc),
        .tc_n          (unused_n),
        .tn_turn       (keys_turn)
    );

    sofa_seq_keys #(
        .COLS      (COLS),
        .BUS_BYTES (BUS_BYTES),
        .ADDR_W    (ADDR_W)
    ) reads_inst (
        .clk           (clk),
        .rst           (rst || stage_rst),
        .start         (walk_reg && predict),
        .active        (reads_active),
        .ev_chunk      (unused_chunk),
        .job_keys      (job_keys[16:0]),
        .job_h         (job_model_dim[12:0]),
        .job_x8_base   (job_base[`SOFA_BUF_X8*48 +: 48]),
        .job_x8_stride (job_stride[`SOFA_BUF_X8*32 +: 32]),
        .job_k8_base   (job_base[`SOFA_BUF_K8*48 +: 48]),
        .job_k8_stride (job_stride[`SOFA_BUF_K8*32 +: 32]),
        .job_rt_base   (job_base[`SOFA_BUF_RT*48 +: 48]),
        .job_rt_stride (job_stride[`SOFA_BUF_RT*32 +: 32]),
        .split         (split),
        .head_chunks   (head_chunks),
        .chunks        (chunks),
        .rows_full     (rows_full),
        .rows_last     (rows_last),
        .k8_step       (k8_step),
        .valid         (reads_valid),
        .ready         (tc_ready && predict),
        .tc_addr       (reads_addr),
        .tc_inc        (reads_inc),
        .tc_n          (reads_n),
        .tn_turn       (unused_turn)
    );

    sofa_seq_codes #(
        .ROWS      (ROWS),
        .COLS      (COLS),
        .BUS_BYTES (BUS_BYTES),
        .ADDR_W    (ADDR_W)
    ) codes_inst (
        .clk         (clk),
        .rst         (rst || stage_rst),
        .start       (walk_reg && predict),
        .active      (codes_active),
        .job_keys    (job_keys[16:0]),
        .job_h       (job_model_dim[12:0]),
        .job_base    (job_base[`SOFA_BUF_WC*48 +: 48]),
        .job_hstride (job_hstride[`SOFA_BUF_WC*32 +: 32]),
        .chunks      (chunks),
        .w_c_valid   (w_c_valid),
        .w_c_ready   (w_c_ready),
        .w_c_addr    (w_c_addr),
        .w_c_beats   (w_c_beats)
    );

`ifdef FORMAL
    reg started = 1'b0;
    // Cycles in a state; those in which what a state waits for did not come
    reg [5:0] f_age = 6'd0;
    reg [2:0] f_late = 3'd0;
    wire      f_works = state_reg == S_LOAD || state_reg == S_CHECK || state_reg == S_RUN;
    wire      f_comes = state_reg == S_LOAD ? loaded : state_reg == S_CHECK ? chk_done
                      : state_reg == S_RUN ? !walking && left_reg == 0 && heads_reg == 0
                      : state_reg == S_HALT ? (rd_idle || rd_dead) && (wr_idle || wr_dead) : 1'b1;
    // One of the masters, and whether it waits for a memory that does nothing: a time-out ends that
    (* anyconst *) wire f_write;
    wire      f_dead = f_write ? wr_wait != 0 && !wr_move : rd_wait != 0 && !rd_move;

    initial assume (rst);

    always @* begin
        // The host gives no limit beyond this, and starts nothing while busy.
        assume (timeout != 0 && timeout <= 5);
        assume (!(start || start_chain) || !busy);
        assume (!(start && start_chain));
    end

    always @(posedge clk) begin
        started <= 1'b1;
        f_age   <= rst || state_next != state_reg ? 6'd0 : f_age + (f_age != 6'd63);
        f_late  <= rst || f_comes || state_next != state_reg ? 3'd0 : f_late + (f_late != 3'd7);
        // What a state waits for comes within 5 cycles, or a memory is dead and stays so; masters
        // that are idle, or given up, stay so.
        assume (f_late < 3'd5 || f_comes || (f_works && f_dead));
        if (started) begin
            assume (timeout == $past(timeout));
            assume (!$past(f_works && f_dead) || !f_works || f_dead);
            assume (!$past(state_reg == S_HALT && f_comes) || state_reg != S_HALT || f_comes);
        end

        if (started) begin
            // 1. Every state but idle is left within a bounded time.
            assert (state_reg == S_IDLE || f_age < 6'd30);
            assert (state_reg != S_CLEAR || (f_age < 6'd8 && wait_reg == f_age));
            assert (state_reg != S_ERROR || f_age == 6'd0);
            assert (state_reg != S_HALT || f_age <= 6 + wait_reg);
            assert (state_reg != S_HALT || wait_reg != 0 || f_late == f_age);
            assert (!f_works || (wait_reg == 0 && f_late == (f_age > 7 ? 7 : f_age)));
            // 2. A job walks only after a check without a fault.
            assert (!walk_reg || ($past(state_reg == S_CHECK && chk_done) && state_reg == S_RUN
                                  && code_reg == `SOFA_ERR_NONE));
            // 3. The chain ends once: with done or with an error, and then it is idle.
            assert (!(done && err_valid));
            assert (!done || state_reg == S_IDLE);
            assert (!err_valid || ($past(state_reg) == S_CLEAR || $past(state_reg) == S_CHECK
                                   || $past(state_reg) == S_IDLE));
            // 4. A job is done when all of it is in memory.
            assert (!job_done || $past(state_reg == S_RUN && left_reg == 0 && heads_reg == 0));
            // 5. Stages are reset for 8 cycles, after the masters were halted.
            assert (halt == (state_reg == S_HALT));
            assert (!stage_rst || $past(stage_rst || halt));

            cover (done && job_done);
            cover (err_valid && code_reg == `SOFA_ERR_READ_TIMEOUT && lost_reg == 2'b01);
            cover (state_reg == S_RUN && $past(state_reg == S_CHECK)
                   && $past(state_reg == S_LOAD, 2));
            cover (err_valid && code_reg == `SOFA_ERR_NEXT && $past(state_reg == S_IDLE));
        end
    end
`endif

endmodule

`resetall
