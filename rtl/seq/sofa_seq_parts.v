// SPDX-License-Identifier: Apache-2.0
// Walk over the parts of an attention job: the part at hand, and a step to the next one.
//
// Why: a part is a band of those query heads of a KV head that work on its tiles together. Blocks
// and tiles walk the parts at their own pace, each with a walk of its own.
// Order: KV head after KV head; of each the bands; of each the query heads of the group, as many
// together as places allow.
// Not done here: blocks and tiles of a part, addresses.
// Latency: the outputs, registers, tell the next part two cycles after step; after the last part,
// and after the reset, the first one, of the job whose fields are there two cycles before.
// Source: docs/architecture.md section 4; models/head.py, parts.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_seq_parts #(
    // Query rows of a block, power of two, 4..128.
    parameter ROWS = 128
) (
    input  wire        clk,
    input  wire        rst,

    // Goes on to the next part; not in the cycle after step
    input  wire        step,

    // Job, legal and stable from two cycles before its first part is used; query heads of a KV
    // head; row blocks of a band, 1..8; heads of a part at most, 1..8
    input  wire [16:0] job_rows,
    input  wire [10:0] job_kv_heads,
    input  wire [15:0] job_group,
    input  wire [3:0]  job_band,
    input  wire [3:0]  job_together,

    // Part: its first row, the one behind its last; row blocks, rows of the last of them; query
    // heads
    output wire [16:0] row,
    output wire [16:0] row_end,
    output wire [3:0]  blocks,
    output wire [7:0]  rows_last,
    output wire [3:0]  heads,
    // First part of its KV head; last one of its band, in the last band of its KV head, of the
    // last KV head
    output wire        kv_first,
    output wire        band_end,
    output wire        kv_end,
    output wire        job_end
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_parts_needs_ROWS_power_of_two_4_to_128 stop ();
        end
    endgenerate

    localparam ROWS_W = $clog2(ROWS);
    localparam [31:0] ROW_MASK = ROWS - 1;

    // Present part: first row, query head of the group, KV head
    reg  [16:0] row_reg, row_next;
    reg  [15:0] grp_reg, grp_next;
    reg  [10:0] kv_reg, kv_next;
    // What the outputs tell of it
    reg  [16:0] part_row_reg, row_end_reg;
    reg  [3:0]  blocks_reg;
    reg  [7:0]  rows_last_reg;
    reg  [3:0]  heads_reg;
    reg         kv_first_reg, band_end_reg, kv_end_reg, job_end_reg;

    wire [16:0] left = job_rows - row_reg;
    wire [10:0] most = {7'd0, job_band} << ROWS_W;
    wire        last_band = left <= {6'd0, most};
    wire [10:0] rows = last_band ? left[10:0] : most;
    wire [10:0] rows_m1 = rows - 11'd1;
    wire [10:0] blocks_m1 = rows_m1 >> ROWS_W;
    wire [15:0] heads_left = job_group - grp_reg;
    wire        group_end = heads_left <= {12'd0, job_together};

    assign row       = part_row_reg;
    assign row_end   = row_end_reg;
    assign blocks    = blocks_reg;
    assign rows_last = rows_last_reg;
    assign heads     = heads_reg;
    assign kv_first  = kv_first_reg;
    assign band_end  = band_end_reg;
    assign kv_end    = kv_end_reg;
    assign job_end   = job_end_reg;

    always @* begin
        row_next = row_reg;
        grp_next = grp_reg;
        kv_next  = kv_reg;

        if (step) begin
            grp_next = grp_reg + {12'd0, job_together};
            if (band_end_reg) begin
                grp_next = 16'd0;
                row_next = row_reg + {6'd0, most};
            end
            if (kv_end_reg) begin
                row_next = 17'd0;
                kv_next  = kv_reg + 11'd1;
            end
            if (job_end_reg) begin
                kv_next = 11'd0;
            end
        end
    end

    always @(posedge clk) begin
        row_reg <= row_next;
        grp_reg <= grp_next;
        kv_reg  <= kv_next;

        part_row_reg  <= row_reg;
        row_end_reg   <= last_band ? job_rows : row_reg + {6'd0, most};
        blocks_reg    <= blocks_m1[3:0] + 4'd1;
        rows_last_reg <= (rows_m1[7:0] & ROW_MASK[7:0]) + 8'd1;
        heads_reg     <= group_end ? heads_left[3:0] : job_together;
        kv_first_reg  <= row_reg == 17'd0 && grp_reg == 16'd0;
        band_end_reg  <= group_end;
        kv_end_reg    <= group_end && last_band;
        job_end_reg   <= group_end && last_band && kv_reg + 11'd1 == job_kv_heads;

        if (rst) begin
            row_reg <= 17'd0;
            grp_reg <= 16'd0;
            kv_reg  <= 11'd0;
        end
    end

    wire unused = &{1'b0, blocks_m1[10:4]};

endmodule

`resetall
