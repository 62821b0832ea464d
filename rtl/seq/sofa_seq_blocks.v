// SPDX-License-Identifier: Apache-2.0
// Walk over the blocks of an attention job: the Q command goes out, and beside it the table entry
// of the block's head is read and checked; its scales follow, and what selection needs of it is
// handed to the turns.
//
// Why: neither Q nor the entries, asked for several blocks ahead, wait for the latency of the
// other; an entry that is not legal ends the job before its block is scored.
// Threshold of a block: tau - ((fall * (log2(length) - 10) + 128) >>> 8), length how many keys the
// block's last row may see, logarithms with LOG_FRAC fraction bits, of which log2 has those after
// the leading one.
// Errors: bad stays high from an entry that is not legal to the reset; no more scales are sent.
// Not done here: room for Q (fetch holds the command back), what a turn has of its tile.
// Latency: start to the first Q command 2 cycles; a table entry to its scales 4 cycles. Throughput:
// a block in 6 cycles, with the memory's latency up to AHEAD blocks in it.
// Source: docs/architecture.md section 3; models/sads.py, block_threshold.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_seq_blocks #(
    // Query rows of a block, power of two, 4..128.
    parameter ROWS = 128,
    // Data bus bytes, power of two, 8..64.
    parameter BUS_BYTES = 64,
    // Bits of a predicted score, 8..32.
    parameter SC_W = 17,
    // Fraction bits of a logarithm, 0..6.
    parameter LOG_FRAC = 4,
    // Entries that may be on their way, 2..16.
    parameter AHEAD = 4
) (
    input  wire         clk,
    input  wire         rst,

    // start is a pulse; active until the last command and scales have been taken
    input  wire         start,
    output wire         active,
    output wire         ev_block,

    // Job, legal and stable while active; base, row and head stride of Q, base and head stride of
    // HT in bytes; see sofa_seq_parts for the others
    input  wire         job_causal,
    input  wire [16:0]  job_rows,
    input  wire [16:0]  job_keys,
    input  wire [10:0]  job_kv_heads,
    input  wire [15:0]  job_group,
    input  wire [16:0]  job_offset,
    input  wire [3:0]   job_band,
    input  wire [3:0]   job_together,
    input  wire [7:0]   job_fall,
    input  wire [16:0]  job_window,
    input  wire [6:0]   job_sinks,
    // Heads of a block; they share it; query rows of each
    input  wire [7:0]   job_heads,
    input  wire         job_share,
    input  wire [7:0]   job_tokens,
    input  wire [47:0]  job_q_base,
    input  wire [31:0]  job_q_stride,
    input  wire [38:0]  job_q_hstride,
    input  wire [47:0]  job_ht_base,
    input  wire [38:0]  job_ht_hstride,
    // K and V are made: entries have shifts
    input  wire         job_generate,

    // Stream of table entries: command, beats
    output wire         d_c_valid,
    input  wire         d_c_ready,
    output wire [47:0]  d_c_addr,
    output wire [15:0]  d_c_beats,
    input  wire         d_d_valid,
    output wire         d_d_ready,
    input  wire [BUS_BYTES*8-1:0] d_d_data,

    // An entry that is not legal, number of its head modulo 256
    output wire         bad,
    output wire [7:0]   bad_head,

    // Selection of the next block: threshold, signed; octave; radius; shifts {V, K}
    output wire         b_valid,
    input  wire         b_ready,
    output wire [15:0]  b_tau,
    output wire [4:0]   b_octave,
    output wire [31:0]  b_radius,
    output wire [11:0]  b_shifts,

    // Q command: address of the block's row 0, rows of the block
    output wire         qc_valid,
    input  wire         qc_ready,
    output wire [47:0]  qc_addr,
    output wire [7:0]   qc_rows,

    // Scales of the head of the next block
    output wire         qs_valid,
    input  wire         qs_ready,
    output wire [15:0]  qs_scale_m,
    output wire [5:0]   qs_scale_shift
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || BUS_BYTES < 8
                || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES)) || SC_W < 8 || SC_W > 32
                || LOG_FRAC < 0 || LOG_FRAC > 6 || AHEAD < 2 || AHEAD > 16) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_blocks_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam ROWS_W = $clog2(ROWS);
    localparam BEATS = BUS_BYTES < 16 ? 16 / BUS_BYTES : 1;
    localparam ASKED_W = 17 + 8;
    localparam QUERY_W = 48 + 8;
    // A logarithm of a length, and its digits of three bits
    localparam LOG_W = 5 + LOG_FRAC;
    localparam DIGITS = (LOG_W + 2) / 3;
    // (fall * log2(length)) and the rest of the threshold, signed
    localparam FALL_W = 3 * DIGITS + 9;
    localparam [FALL_W-1:0] HALF = 128;
    localparam ENTRY_W = 1 + 12 + 16 + 6 + 5 + 16 + 32;
    // Least tau, log2 of the length where the threshold is tau
    localparam [31:0] TAU_MIN = -(32 << LOG_FRAC);
    localparam [31:0] LOG_REF = 10 << LOG_FRAC;
    localparam [31:0] OCTAVES = SC_W;
    localparam [7:0]  SHIFT_MAX = 8'd40;

    // -----------------------------------------------------------------------------------------
    // Entries are asked for, block after block
    // -----------------------------------------------------------------------------------------
    reg         ask_reg, ask_next;
    // The fields of the part are those of the one before
    reg         old_reg;
    reg  [3:0]  block_reg, block_next;
    reg  [3:0]  sub_reg, sub_next;
    // Head, its row 0 in Q, its entry in HT; the same of the KV head's first one
    reg  [7:0]  head_reg, head_next, head_kv_reg, head_kv_next;
    reg  [47:0] q_head_reg, q_head_next, q_kv_reg, q_kv_next;
    reg  [47:0] ht_head_reg, ht_head_next, ht_kv_reg, ht_kv_next;
    // Bytes from row 0 to the block, to the first block of the band
    // unreached toggle: the rows of a head span less than 4 GiB
    reg  [47:0] q_row_reg, q_row_next, q_band_reg, q_band_next;

    wire [16:0] part_row, part_end;
    wire [3:0]  part_blocks, part_heads;
    wire [7:0]  part_rows_last;
    wire        part_kv_first, band_end, kv_end, job_end;
    wire        asked_ready, query_ready;

    wire        block_last = block_up == part_blocks;
    wire        head_last = sub_reg + 4'd1 == part_heads;
    wire        go = d_c_valid && d_c_ready;
    wire [7:0]  rows = block_last ? part_rows_last : ROWS[7:0];
    wire [3:0]  block_up = block_reg + 4'd1;
    wire [10:0] row_in = {7'd0, block_up} << ROWS_W;
    wire [16:0] row_end = block_last ? part_end : part_row + {6'd0, row_in};
    wire        step = go && block_last && head_last;

    assign d_c_valid = ask_reg && !old_reg && asked_ready && query_ready;
    assign d_c_addr  = ht_head_reg;
    assign d_c_beats = BEATS[15:0];

    sofa_seq_parts #(
        .ROWS (ROWS)
    ) parts_inst (
        .clk          (clk),
        .rst          (rst),
        .step         (step),
        .job_rows     (job_rows),
        .job_kv_heads (job_kv_heads),
        .job_group    (job_group),
        .job_band     (job_band),
        .job_together (job_together),
        .row          (part_row),
        .row_end      (part_end),
        .blocks       (part_blocks),
        .rows_last    (part_rows_last),
        .heads        (part_heads),
        .kv_first     (part_kv_first),
        .band_end     (band_end),
        .kv_end       (kv_end),
        .job_end      (job_end)
    );

    always @* begin
        ask_next     = ask_reg;
        block_next   = block_reg;
        sub_next     = sub_reg;
        head_next    = head_reg;
        head_kv_next = head_kv_reg;
        q_head_next  = q_head_reg;
        q_kv_next    = q_kv_reg;
        ht_head_next = ht_head_reg;
        ht_kv_next   = ht_kv_reg;
        q_row_next   = q_row_reg;
        q_band_next  = q_band_reg;

        if (!ask_reg) begin
            ask_next     = start;
            block_next   = 4'd0;
            sub_next     = 4'd0;
            head_next    = 8'd0;
            head_kv_next = 8'd0;
            q_head_next  = job_q_base;
            q_kv_next    = job_q_base;
            ht_head_next = job_ht_base;
            ht_kv_next   = job_ht_base;
            q_row_next   = 48'd0;
            q_band_next  = 48'd0;
        end else if (go) begin
            block_next = block_reg + 4'd1;
            q_row_next = q_row_reg + ({16'd0, job_q_stride} << ROWS_W);
            if (block_last) begin
                block_next   = 4'd0;
                sub_next     = sub_reg + 4'd1;
                head_next    = head_reg + job_heads;
                q_head_next  = q_head_reg + {9'd0, job_q_hstride};
                ht_head_next = ht_head_reg + {9'd0, job_ht_hstride};
                if (head_last) begin
                    sub_next = 4'd0;
                    ask_next = !job_end;
                end
                if (head_last && kv_end) begin
                    head_kv_next = head_next;
                    q_kv_next    = q_head_next;
                    ht_kv_next   = ht_head_next;
                    q_band_next  = 48'd0;
                end else if (head_last && band_end) begin
                    head_next    = head_kv_reg;
                    q_head_next  = q_kv_reg;
                    ht_head_next = ht_kv_reg;
                    q_band_next  = q_row_next;
                end
                q_row_next = q_band_next;
            end
        end
    end

    always @(posedge clk) begin
        ask_reg     <= ask_next;
        old_reg     <= step;
        block_reg   <= block_next;
        sub_reg     <= sub_next;
        head_reg    <= head_next;
        head_kv_reg <= head_kv_next;
        q_head_reg  <= q_head_next;
        q_kv_reg    <= q_kv_next;
        ht_head_reg <= ht_head_next;
        ht_kv_reg   <= ht_kv_next;
        q_row_reg   <= q_row_next;
        q_band_reg  <= q_band_next;

        if (rst) begin
            ask_reg <= 1'b0;
            old_reg <= 1'b0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Blocks whose entry is asked for or here; entries that are here, each with a block
    // -----------------------------------------------------------------------------------------
    wire               asked_valid, entry_valid, entry_ready;
    wire [ASKED_W-1:0] asked;
    wire [ENTRY_W-1:0] entry;
    wire               taken;
    reg  [4:0]         due_reg, due_next;
    wire               in_valid = d_d_valid && d_d_ready;
    wire               in_last;
    wire [127:0]       in_data;
    wire [$clog2(AHEAD+1)-1:0] unused_asked_level, unused_query_level, unused_entry_level;

    sofa_sync_fifo #(
        .WIDTH (ASKED_W),
        .DEPTH (AHEAD)
    ) asked_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (go),
        .s_ready (asked_ready),
        .s_data  ({row_end, head_reg}),
        .m_valid (asked_valid),
        .m_ready (taken),
        .m_data  (asked),
        .level   (unused_asked_level)
    );

    sofa_sync_fifo #(
        .WIDTH (QUERY_W),
        .DEPTH (AHEAD)
    ) query_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (go),
        .s_ready (query_ready),
        .s_data  ({q_head_reg + q_row_reg, rows}),
        .m_valid (qc_valid),
        .m_ready (qc_ready),
        .m_data  ({qc_addr, qc_rows}),
        .level   (unused_query_level)
    );

    generate
        if (BEATS == 1) begin : g_beat
            assign in_last = 1'b1;
            assign in_data = d_d_data[127:0];
        end else begin : g_beats
            reg        half_reg;
            reg [63:0] low_reg;
            assign in_last = half_reg;
            assign in_data = {d_d_data, low_reg};
            always @(posedge clk) begin
                if (in_valid) begin
                    half_reg <= !half_reg;
                    low_reg  <= d_d_data;
                end
                if (rst) begin
                    half_reg <= 1'b0;
                end
            end
        end
    endgenerate

    wire [15:0] in_tau = in_data[47:32];
    wire [31:0] in_radius = in_data[95:64];
    wire [7:0]  shift_max = job_generate ? SHIFT_MAX : 8'd0;
    wire        legal = in_data[23:16] <= 8'd47 && {24'd0, in_data[31:24]} < OCTAVES
                        && $signed(in_tau) <= $signed(16'd0)
                        && $signed(in_tau) >= $signed(TAU_MIN[15:0])
                        && (in_radius >> SC_W) == 32'd0
                        && in_data[55:48] <= shift_max && in_data[63:56] <= shift_max;

    assign d_d_ready = due_reg != 5'd0;

    sofa_sync_fifo #(
        .WIDTH (ENTRY_W),
        .DEPTH (AHEAD)
    ) entry_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (in_valid && in_last),
        .s_ready (entry_ready),
        .s_data  ({!legal, in_data[61:56], in_data[53:48], in_data[15:0], in_data[21:16],
                   in_data[28:24], in_tau, in_radius}),
        .m_valid (entry_valid),
        .m_ready (taken),
        .m_data  (entry),
        .level   (unused_entry_level)
    );

    always @* begin
        due_next = due_reg;
        if (go && !(in_valid && in_last)) begin
            due_next = due_reg + 5'd1;
        end
        if (!go && in_valid && in_last) begin
            due_next = due_reg - 5'd1;
        end
    end

    always @(posedge clk) begin
        due_reg <= due_next;

        if (rst) begin
            due_reg <= 5'd0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Threshold of the block, its two destinations
    // -----------------------------------------------------------------------------------------
    // waits for a block, works out its length
    localparam S_LENGTH  = 3'd0;
    // logarithm of the length
    localparam S_LOG     = 3'd1;
    // product with the fall, waits for the entry
    localparam S_ENTRY   = 3'd2;
    // difference from tau
    localparam S_TAU     = 3'd3;
    // hands the selection to the turns
    localparam S_SELECT  = 3'd4;
    // sends the scales
    localparam S_SCALES  = 3'd5;
    // the entry is not legal
    localparam S_BAD     = 3'd6;

    reg  [2:0]  state_reg, state_next;
    reg  [16:0] length_reg;
    reg  [LOG_W-1:0] log_reg;
    reg  [15:0] fall_reg;
    reg  [15:0] tau_reg;

    // Without a window a row sees all keys up to the newest; with one, those of the window and the
    // sinks, when there are so many up to its position.
    // Rows count from the first one's position, the offset, on.
    wire [16:0] rows_end = job_share ? {9'd0, job_tokens} : asked[24:8];
    wire [18:0] seen = {2'd0, job_window} + {12'd0, job_sinks};
    wire [18:0] keys_left = {2'd0, job_keys} - {2'd0, job_offset};
    wire [18:0] seen_left = seen - {2'd0, job_offset};
    wire        short = job_causal && $signed({2'd0, rows_end}) < $signed(keys_left);
    wire        hidden = job_window != 17'd0 && $signed({2'd0, rows_end}) > $signed(seen_left);
    wire [16:0] reach = job_offset + rows_end;
    wire [18:0] behind = keys_left + seen - {2'd0, rows_end};
    wire [16:0] length = !hidden ? (short ? reach : job_keys) : short ? seen[16:0] : behind[16:0];
    reg  [4:0]  lead;
    reg  [16:0] norm;
    integer     i;
    always @* begin
        lead = 5'd0;
        norm = length_reg;
        for (i = 0; i < 17; i = i + 1) begin
            if (length_reg[i]) begin
                lead = i[4:0];
            end
        end
        norm = length_reg << (5'd16 - lead);
    end
    wire [22:0] log = ({18'd0, lead} << LOG_FRAC) | ({7'd0, norm[15:0]} >> (16 - LOG_FRAC));
    // The product is added up digit by digit, to the part of it that the reference takes and the
    // half that rounds.
    wire [FALL_W-1:0] reference = HALF - {{FALL_W-8{1'b0}}, job_fall} * LOG_REF[FALL_W-1:0];
    wire [3*DIGITS-1:0] digits = {{3*DIGITS-LOG_W{1'b0}}, log_reg};
    wire [FALL_W-1:0] product;
    genvar g;
    generate
        for (g = 0; g < DIGITS; g = g + 1) begin : g_digit
            wire [10:0]       part;
            wire [FALL_W-1:0] sum;

            sofa_times_digit #(
                .WIDTH (8)
            ) times_inst (
                .job_number (job_fall),
                .digit      (digits[3*g +: 3]),
                .product    (part)
            );

            if (g == 0) begin : g_sum
                assign sum = reference + {{FALL_W-11{1'b0}}, part};
            end else begin : g_sum
                assign sum = g_digit[g-1].sum + ({{FALL_W-11{1'b0}}, part} << (3 * g));
            end
        end
    endgenerate
    assign product = g_digit[DIGITS-1].sum;
    wire [31:0] fall = {{40-FALL_W{product[FALL_W-1]}}, product[FALL_W-1:8]};

    assign active         = ask_reg || asked_valid || qc_valid;
    assign ev_block       = qs_valid && qs_ready;
    assign taken          = ev_block;
    assign bad            = state_reg == S_BAD;
    assign bad_head       = asked[7:0];
    assign b_valid        = state_reg == S_SELECT;
    assign b_tau          = tau_reg;
    assign b_octave       = entry[52:48];
    assign b_radius       = entry[31:0];
    assign b_shifts       = entry[86:75];
    assign qs_valid       = state_reg == S_SCALES;
    assign qs_scale_m     = entry[74:59];
    assign qs_scale_shift = entry[58:53];

    always @* begin
        state_next = state_reg;

        case (state_reg)
            S_LENGTH: begin
                if (asked_valid) begin
                    state_next = S_LOG;
                end
            end
            S_LOG: begin
                state_next = S_ENTRY;
            end
            S_ENTRY: begin
                if (entry_valid) begin
                    state_next = entry[87] ? S_BAD : S_TAU;
                end
            end
            S_TAU: begin
                state_next = S_SELECT;
            end
            S_SELECT: begin
                if (b_ready) begin
                    state_next = S_SCALES;
                end
            end
            S_SCALES: begin
                if (qs_ready) begin
                    state_next = S_LENGTH;
                end
            end
            default: begin  // S_BAD
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg  <= state_next;
        length_reg <= length;
        log_reg    <= log[LOG_W-1:0];
        fall_reg   <= fall[15:0];
        tau_reg    <= entry[47:32] - fall_reg;

        if (rst) begin
            state_reg <= S_LENGTH;
        end
    end

    // An entry has room, since its block has. Rows of a part; the high bits of log2; gaps of an
    // entry.
    wire unused = &{1'b0, entry_ready, part_kv_first, behind[18:17], log[22:LOG_W], norm[16],
                    product[7:0], fall[31:16], d_d_data, in_data};

endmodule

`resetall
