// SPDX-License-Identifier: Apache-2.0
// Asks memory for the Q vectors of a block of query rows and tells when the block has arrived.
//
// Why: blocks stay in residence, each in a place that is taken before its first request and free
// when both consumers, prediction and formal compute, have released it. How many places there are
// depends on the beats of a vector, so on the job. The scales of a block come on their own, since
// they are in a table that is read beside Q; its commit waits for them. Rows come back in their
// order, so those of the write port are counted.
// Not done here: anything with the data (sofa_axi_read delivers it to the write port).
// Latency: one cycle from the command to the first request; one from the last beat at the write
// port to commit. Throughput: one row every cycle, one idle cycle between blocks.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_fetch_q #(
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Most places, a power of two, 2..8.
    parameter PLACES = 4
) (
    input  wire              clk,
    input  wire              rst,

    // Bytes between the vectors of neighbouring rows, of neighbouring heads; heads of a block: row
    // r is row r / cfg_heads of head r mod cfg_heads
    input  wire [31:0]       cfg_stride,
    input  wire [31:0]       cfg_hstride,
    input  wire [7:0]        cfg_heads,
    // Places of this job less one
    input  wire [2:0]        last_place,
    // The job is over, all places are free: the next block has place 0
    input  wire              job_done,

    // Command: one block
    input  wire              qc_valid,
    output wire              qc_ready,
    input  wire [ADDR_W-1:0] qc_addr,
    input  wire [7:0]        qc_rows,

    // Scales of the blocks, in their order, before or after their commands
    input  wire              qs_valid,
    output wire              qs_ready,
    input  wire [15:0]       qs_scale_m,
    input  wire [5:0]        qs_scale_shift,

    // The consumers have freed the oldest place they hold
    input  wire              release_dlzs,
    input  wire              release_sufa,

    // Requests; last: of its block
    output wire              req_valid,
    input  wire              req_ready,
    output wire [ADDR_W-1:0] req_addr,
    output wire              req_last,

    // The last beat of a row, and of a block, is at the write port; place and row of the beat
    input  wire              wr_end,
    input  wire              done,
    output wire [2:0]        wr_place,
    output wire [6:0]        wr_row,

    // The oldest block is complete, and its scales
    output wire              commit,
    output wire [2:0]        commit_place,
    output wire [15:0]       commit_scale_m,
    output wire [5:0]        commit_scale_shift,

    // No block is complete that dlzs has not released
    output wire              none,
    // A command waits for a free place
    output wire              ev_stall
);

    generate
        if (PLACES < 2 || PLACES > 8 || PLACES != (1 << $clog2(PLACES))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_fetch_q_needs_PLACES_power_of_two_2_to_8 stop ();
        end
    endgenerate

    localparam LEVEL_W = $clog2(PLACES + 1);

    reg              req_valid_reg, req_valid_next;
    reg [ADDR_W-1:0] addr_reg, addr_next;
    // The row of head 0; head of the row
    reg [ADDR_W-1:0] token_reg, token_next;
    reg [7:0]        head_reg, head_next;
    reg [7:0]        left_reg, left_next;
    reg [6:0]        row_reg, row_next;
    reg [2:0]        place_reg, place_next;
    // Blocks complete and not released by dlzs.
    reg [3:0]        held_reg, held_next;
    reg              none_reg;
    reg              commit_reg;
    // Place of the next commit; blocks that are complete and wait for it.
    reg [2:0]        commit_place_reg, commit_place_next;
    reg [3:0]        wait_reg, wait_next;

    wire               avail_dlzs, avail_sufa;
    wire               scale_valid;
    wire [LEVEL_W-1:0] unused_level;

    wire              head_last = head_reg + 8'd1 == cfg_heads;
    wire [ADDR_W-1:0] row_after = token_reg + {{(ADDR_W - 32){1'b0}}, cfg_stride};

    wire avail = avail_dlzs && avail_sufa;
    wire take  = qc_valid && qc_ready;

    // The scales at the head are those of the commit at hand while commit_reg is high.
    wire some  = wait_reg != 4'd0;
    wire may   = scale_valid && !commit_reg;
    wire go    = may && (done || some);
    // done comes late in its cycle: it chooses.
    wire [3:0] wait_more = may ? wait_reg : wait_reg + 4'd1;
    wire [3:0] wait_less = may && some ? wait_reg - 4'd1 : wait_reg;

    assign qc_ready = !req_valid_reg && avail;
    assign ev_stall = qc_valid && !req_valid_reg && !avail;

    assign req_valid = req_valid_reg;
    assign req_addr  = addr_reg;
    assign req_last  = left_reg == 8'd1;
    assign wr_row    = row_reg;
    assign wr_place  = place_reg;

    assign commit       = commit_reg;
    assign commit_place = commit_place_reg;
    assign none         = none_reg;

    sofa_ring_credit credit_dlzs_inst (
        .clk   (clk),
        .rst   (rst),
        .last  (last_place),
        .avail (avail_dlzs),
        .take  (take),
        .free  (release_dlzs)
    );

    sofa_ring_credit credit_sufa_inst (
        .clk   (clk),
        .rst   (rst),
        .last  (last_place),
        .avail (avail_sufa),
        .take  (take),
        .free  (release_sufa)
    );

    // Scales of the blocks that are not committed.
    sofa_sync_fifo #(
        .WIDTH (22),
        .DEPTH (PLACES)
    ) scale_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (qs_valid),
        .s_ready (qs_ready),
        .s_data  ({qs_scale_m, qs_scale_shift}),
        .m_valid (scale_valid),
        .m_ready (commit_reg),
        .m_data  ({commit_scale_m, commit_scale_shift}),
        .level   (unused_level)
    );

    always @* begin
        req_valid_next = req_valid_reg;
        addr_next      = addr_reg;
        token_next     = token_reg;
        head_next      = head_reg;
        row_next       = row_reg;
        left_next      = left_reg;
        place_next     = place_reg;
        held_next      = held_reg;
        wait_next      = done ? wait_more : wait_less;
        commit_place_next = commit_place_reg;

        if (take) begin
            req_valid_next = 1'b1;
            addr_next      = qc_addr;
            token_next     = qc_addr;
            head_next      = 8'd0;
            left_next      = qc_rows;
        end else if (req_valid_reg && req_ready) begin
            req_valid_next = !req_last;
            addr_next      = addr_reg + {{(ADDR_W - 32){1'b0}}, cfg_hstride};
            head_next      = head_reg + 8'd1;
            if (head_last) begin
                addr_next  = row_after;
                token_next = row_after;
                head_next  = 8'd0;
            end
            left_next      = left_reg - 8'd1;
        end

        if (wr_end) begin
            row_next = row_reg + 7'd1;
        end
        if (done) begin
            row_next   = 7'd0;
            place_next = place_reg == last_place ? 3'd0 : place_reg + 3'd1;
        end

        if (go && !release_dlzs) begin
            held_next = held_reg + 4'd1;
        end else if (release_dlzs && !go) begin
            held_next = held_reg - 4'd1;
        end

        if (job_done) begin
            place_next        = 3'd0;
            commit_place_next = 3'd0;
        end else if (commit_reg) begin
            commit_place_next = commit_place_reg == last_place ? 3'd0 : commit_place_reg + 3'd1;
        end
    end

    always @(posedge clk) begin
        req_valid_reg    <= req_valid_next;
        addr_reg         <= addr_next;
        token_reg        <= token_next;
        head_reg         <= head_next;
        row_reg          <= row_next;
        left_reg         <= left_next;
        place_reg        <= place_next;
        held_reg         <= held_next;
        none_reg         <= held_next == 4'd0;
        commit_reg       <= go;
        commit_place_reg <= commit_place_next;
        wait_reg         <= wait_next;

        if (rst) begin
            req_valid_reg <= 1'b0;
            held_reg      <= 4'd0;
            none_reg      <= 1'b1;
            commit_reg    <= 1'b0;
            wait_reg      <= 4'd0;
            commit_place_reg <= 3'd0;
            row_reg       <= 7'd0;
            place_reg     <= 3'd0;
        end
    end

endmodule

`resetall
