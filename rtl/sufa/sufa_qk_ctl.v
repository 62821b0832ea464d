// SPDX-License-Identifier: Apache-2.0
// Order of the QK multipliers of SU-FA: tiles, pair steps, elements.
//
// Why: all rows work in lockstep, so one counter serves them. A step is started in the last cycle
// of the one before, also over tile and block borders, so that no cycle is lost as long as K
// tiles are there and the exp units keep up. A step starts only when the sums of the one before
// are sure to be captured before its first product reaches the accumulators; nothing behind the
// start ever waits.
// Not done here: SV (sufa_sv_ctl.v), which gets every tile through a queue.
// Latency: start to first element 1 cycle, last element to capture 4 cycles. Throughput: a step
// every cfg_d cycles; a tile without steps takes a cycle of its own.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sufa_qk_ctl #(
    // Largest head dimension, power of two, 16..256.
    parameter D_MAX = 128,
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 64,
    // Buffers in the K ring, 2..4.
    parameter KV_BUFS = 2,
    // Bits of an element number, of a list word number. Derived: leave at their defaults.
    parameter ELEM_W = $clog2(D_MAX),
    parameter WORD_W = $clog2(BC_MAX / 4)
) (
    input  wire              clk,
    input  wire              rst,

    input  wire [8:0]        cfg_d,

    // Q ring
    input  wire              q_commit,
    output wire              q_release,

    // K tiles
    input  wire              k_t_valid,
    output wire              k_t_ready,
    input  wire              k_t_last,
    input  wire [7:0]        k_t_nsteps,
    output wire              k_release,

    // Queue of tiles to SV
    output wire              t_valid,
    input  wire              t_ready,

    // Lists: read the word with the step's entries; it is the upper half of the word
    output wire              l_rd,
    output wire [1:0]        l_rd_buf,
    output wire [WORD_W-1:0] l_rd_word,
    output wire              l_rd_odd,

    // Q and K rings: read
    output wire              rd_en,
    output wire [ELEM_W-1:0] rd_elem,
    output wire              rd_qbuf,
    output wire [1:0]        rd_kbuf,

    // Rows: see sufa_row.v
    output wire              qk_ld,
    output wire              qk_in_en,
    output wire              qk_mul_en,
    output wire              qk_acc_en,
    output wire              qk_acc_first,
    output wire              qk_cap,

    // Exp control: see sufa_exp_ctl.v
    output wire              cap_end,
    output wire              end_only,
    input  wire              hold_take,
    input  wire              hold_soon,
    input  wire              end_ok,

    output wire              ev_busy,
    output wire              ev_stall,
    output wire              ev_starve
);

    generate
        if (D_MAX < 16 || D_MAX > 256 || D_MAX != (1 << $clog2(D_MAX)) || BC_MAX < 8 || BC_MAX > 64
                || BC_MAX != (1 << $clog2(BC_MAX)) || KV_BUFS < 2 || KV_BUFS > 4
                || ELEM_W != $clog2(D_MAX) || WORD_W != $clog2(BC_MAX / 4)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sufa_qk_ctl_needs_D_MAX_16_256_BC_MAX_8_64_KV_BUFS_2_4 stop ();
        end
    endgenerate

    localparam [31:0] LAST_KBUF_32 = KV_BUFS - 1;
    localparam [1:0]  LAST_KBUF = LAST_KBUF_32[1:0];

    // A step's elements are being read
    reg              run_reg, run_next;
    reg [ELEM_W-1:0] elem_reg, elem_next;
    // Steps of the tile not started yet; number of the next one
    reg [7:0]        left_reg, left_next;
    reg [WORD_W:0]   step_reg, step_next;
    // Tile is the last one of its block
    reg              last_reg, last_next;
    // Running step is the last one of its tile
    reg              fin_reg, fin_next;
    // Buffers in use; those of the next tile
    reg              qbuf_reg, qbuf_next;
    reg [1:0]        kbuf_reg, kbuf_next;
    reg [1:0]        kbuf_new_reg, kbuf_new_next;
    reg [1:0]        lbuf_reg, lbuf_next;
    reg [1:0]        lbuf_new_reg, lbuf_new_next;
    // Q blocks in the ring
    reg [1:0]        q_count_reg, q_count_next;
    reg              q_release_reg, q_release_next;
    reg              k_release_reg, k_release_next;
    // Sums are complete and wait to be captured; they end the block
    reg              done_reg, done_next;
    reg              done_end_reg, done_end_next;
    // Stage k is k cycles behind the read: 1 words present, 2 products, 3 sums
    reg [3:1]        pipe_reg;
    reg [3:1]        pipe_first_reg;
    reg [3:1]        pipe_last_reg;
    reg [3:1]        pipe_end_reg;

    wire [8:0] d_last = cfg_d - 9'd1;
    wire       unused_d = &{1'b0, d_last[8:ELEM_W]};
    wire       elem_last = run_reg && elem_reg == d_last[ELEM_W-1:0];
    wire       slot = !run_reg || elem_last;
    // The Q buffer leaves with the last step of the last tile.
    wire       q_leaves = elem_last && fin_reg && last_reg;
    wire       q_there = q_leaves ? q_count_reg[1] : |q_count_reg;
    // A step was started whose sums are not captured yet.
    wire       flight = run_reg || |pipe_reg || done_reg;
    wire       may_start = slot && (!flight || hold_soon);
    wire       tile_ok = left_reg == 8'd0 && k_t_valid && t_ready;
    wire       no_steps = k_t_nsteps == 8'd0;

    wire go_step = may_start && left_reg != 8'd0;
    wire go_tile = may_start && tile_ok && !no_steps && q_there;
    // A tile without steps gives its buffers back in its own cycle.
    wire go_skip = !run_reg && tile_ok && no_steps
                   && (!k_t_last || (!flight && end_ok && q_there));
    wire go = go_step || go_tile;

    assign k_t_ready = go_tile || go_skip;
    assign t_valid = go_tile || go_skip;
    assign q_release = q_release_reg;
    assign k_release = k_release_reg;

    assign l_rd = go;
    assign l_rd_buf = go_step ? lbuf_reg : lbuf_new_reg;
    assign l_rd_word = go_step ? step_reg[WORD_W:1] : {WORD_W{1'b0}};
    assign l_rd_odd = go_step && step_reg[0];

    assign rd_en = run_reg;
    assign rd_elem = elem_reg;
    assign rd_qbuf = qbuf_reg;
    assign rd_kbuf = kbuf_reg;

    assign qk_ld = run_reg && elem_reg == {ELEM_W{1'b0}};
    assign qk_in_en = pipe_reg[1];
    assign qk_mul_en = pipe_reg[2];
    assign qk_acc_en = pipe_reg[3];
    assign qk_acc_first = pipe_first_reg[3];
    assign qk_cap = done_reg && hold_take;
    assign cap_end = done_end_reg;
    assign end_only = go_skip && k_t_last;

    assign ev_busy = run_reg;
    assign ev_starve = !run_reg && left_reg == 8'd0 && !(k_t_valid && (no_steps || q_there));
    assign ev_stall = !run_reg && !ev_starve && !go && !go_skip;

    always @* begin
        run_next = run_reg;
        elem_next = elem_reg + 1'b1;
        left_next = left_reg;
        step_next = step_reg;
        last_next = last_reg;
        fin_next = fin_reg;
        qbuf_next = qbuf_reg;
        kbuf_next = kbuf_reg;
        kbuf_new_next = kbuf_new_reg;
        lbuf_next = lbuf_reg;
        lbuf_new_next = lbuf_new_reg;
        q_count_next = q_count_reg;
        q_release_next = 1'b0;
        k_release_next = 1'b0;
        done_next = done_reg;
        done_end_next = done_end_reg;

        if (elem_last) begin
            run_next = 1'b0;
            k_release_next = fin_reg;
        end
        if (qk_cap) begin
            done_next = 1'b0;
        end
        if (pipe_reg[3] && pipe_last_reg[3]) begin
            done_next = 1'b1;
            done_end_next = pipe_end_reg[3];
        end

        if (go_tile || go_skip) begin
            kbuf_new_next = kbuf_new_reg == LAST_KBUF ? 2'd0 : kbuf_new_reg + 2'd1;
            lbuf_new_next = lbuf_new_reg + 2'd1;
        end
        if (go) begin
            run_next = 1'b1;
            elem_next = {ELEM_W{1'b0}};
        end
        if (go_step) begin
            left_next = left_reg - 8'd1;
            step_next = step_reg + 1'b1;
            fin_next = left_reg == 8'd1;
        end
        if (go_tile) begin
            left_next = k_t_nsteps - 8'd1;
            step_next = {{WORD_W{1'b0}}, 1'b1};
            last_next = k_t_last;
            fin_next = k_t_nsteps == 8'd1;
            kbuf_next = kbuf_new_reg;
            lbuf_next = lbuf_new_reg;
        end
        if (go_skip) begin
            k_release_next = 1'b1;
        end

        if (q_leaves || end_only) begin
            q_release_next = 1'b1;
            qbuf_next = !qbuf_reg;
        end
        q_count_next = q_count_reg + {1'b0, q_commit} - {1'b0, q_leaves || end_only};
    end

    always @(posedge clk) begin
        run_reg <= run_next;
        elem_reg <= elem_next;
        left_reg <= left_next;
        step_reg <= step_next;
        last_reg <= last_next;
        fin_reg <= fin_next;
        qbuf_reg <= qbuf_next;
        kbuf_reg <= kbuf_next;
        kbuf_new_reg <= kbuf_new_next;
        lbuf_reg <= lbuf_next;
        lbuf_new_reg <= lbuf_new_next;
        q_count_reg <= q_count_next;
        q_release_reg <= q_release_next;
        k_release_reg <= k_release_next;
        done_reg <= done_next;
        done_end_reg <= done_end_next;
        pipe_reg <= {pipe_reg[2:1], run_reg};
        pipe_first_reg <= {pipe_first_reg[2:1], qk_ld};
        pipe_last_reg <= {pipe_last_reg[2:1], elem_last};
        pipe_end_reg <= {pipe_end_reg[2:1], fin_reg && last_reg};
        if (rst) begin
            run_reg <= 1'b0;
            left_reg <= 8'd0;
            qbuf_reg <= 1'b0;
            kbuf_new_reg <= 2'd0;
            lbuf_new_reg <= 2'd0;
            q_count_reg <= 2'd0;
            q_release_reg <= 1'b0;
            k_release_reg <= 1'b0;
            done_reg <= 1'b0;
            pipe_reg <= 3'd0;
        end
    end

endmodule

`resetall
