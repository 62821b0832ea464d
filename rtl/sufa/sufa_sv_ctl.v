// SPDX-License-Identifier: Apache-2.0
// Order of the SV multipliers of SU-FA: pair steps behind the weights, flush of a block.
//
// Why: SV follows QK by a step and the latency of the exp units, and waits for the V tile on its
// own. At the end of a block the same hardware reads o once more, normalises it and sends it to
// the store stage, element by element. The receiver may hold element 0 back; the elements behind
// it, already in the pipeline, are then dropped and sent again, so that no row needs a buffer or
// a stall input.
// Not done here: QK (sufa_qk_ctl.v), weights.
// Latency: start to first element 1 cycle; last element to its sum in memory 5 cycles; flush: first
// read to o_valid 8 cycles. Throughput: a step every cfg_d cycles; a flush takes cfg_d + 3, at
// least 9 cycles and the time o_ready takes at element 0.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sufa_sv_ctl #(
    // Largest head dimension, power of two, 16..256.
    parameter D_MAX = 128,
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 64,
    // Buffers in the V ring, 2..4.
    parameter KV_BUFS = 2,
    // Bits of an element number, of a list word number. Derived: leave at their defaults.
    parameter ELEM_W = $clog2(D_MAX),
    parameter WORD_W = $clog2(BC_MAX / 4)
) (
    input  wire              clk,
    input  wire              rst,

    input  wire [8:0]        cfg_d,

    // Tiles in the order of QK
    input  wire              t_valid,
    output wire              t_ready,
    input  wire              t_last,
    input  wire [7:0]        t_nsteps,
    input  wire [47:0]       t_oaddr,
    input  wire [7:0]        t_rows,

    // V tiles; V and list buffers that are free again
    input  wire              v_t_valid,
    output wire              v_t_ready,
    output wire              v_release,
    output wire              l_release,

    // Lists: read the word with the step's entries, unless QK reads in this cycle
    input  wire              l_taken,
    output wire              l_rd,
    output wire [1:0]        l_rd_buf,
    output wire [WORD_W-1:0] l_rd_word,
    output wire              l_rd_odd,

    // V ring: read
    output wire              rd_en,
    output wire [ELEM_W-1:0] rd_elem,
    output wire [1:0]        rd_vbuf,

    // Weights: see sufa_exp_ctl.v
    input  wire              w_ready,
    output wire              w_start,
    output wire              w_taken,

    // Rows: see sufa_row.v
    output wire              sv_ld,
    output wire              sv_ld_p,
    output wire              sv_ld_dm,
    output wire              sv_in_en,
    output wire              sv_fin_en,
    output wire              sv_mul_en,
    output wire              sv_sum_en,
    output wire              sv_sum_fin,
    output wire              o_rd_en,
    output wire [ELEM_W-1:0] o_rd_elem,
    output wire              o_sh_en,
    output wire              o_sh_first,
    output wire              o_wr_en,
    output wire [ELEM_W-1:0] o_wr_elem,
    output wire              out_en,

    // Output handshake; the data is in the rows
    output wire              o_valid,
    input  wire              o_ready,
    output wire [7:0]        o_elem,
    output wire              o_last,
    output wire [47:0]       o_addr,
    output wire [7:0]        o_rows,

    // Tap: o' of an element is in the rows, each element once
    output wire              tap_valid,
    output wire [7:0]        tap_elem
);

    generate
        if (D_MAX < 16 || D_MAX > 256 || D_MAX != (1 << $clog2(D_MAX)) || BC_MAX < 8 || BC_MAX > 64
                || BC_MAX != (1 << $clog2(BC_MAX)) || KV_BUFS < 2 || KV_BUFS > 4
                || ELEM_W != $clog2(D_MAX) || WORD_W != $clog2(BC_MAX / 4)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sufa_sv_ctl_needs_D_MAX_16_256_BC_MAX_8_64_KV_BUFS_2_4 stop ();
        end
    endgenerate

    localparam [31:0] LAST_VBUF_32 = KV_BUFS - 1;
    localparam [1:0]  LAST_VBUF = LAST_VBUF_32[1:0];

    // Waits for a tile, its V and the weights, or for the reciprocals.
    localparam [2:0] IDLE = 3'd0;
    // Reads V of a step, element by element.
    localparam [2:0] STEP = 3'd1;
    // Reads o, element by element.
    localparam [2:0] FLUSH = 3'd2;
    // Element 0 waits for o_ready; reading goes on with element 1 afterwards.
    localparam [2:0] HOLD = 3'd3;
    // Flush has read everything: 3 cycles until a step may use the multipliers, and until
    // element 0 was taken.
    localparam [2:0] POST = 3'd4;

    localparam [ELEM_W-1:0] ELEM_0 = {ELEM_W{1'b0}};
    localparam [ELEM_W-1:0] ELEM_1 = {{(ELEM_W - 1){1'b0}}, 1'b1};

    reg [2:0]        state_reg, state_next;
    reg [ELEM_W-1:0] elem_reg, elem_next;
    // Number of the tile's next step
    reg [7:0]        step_reg, step_next;
    // All steps of the block were started: flush next
    reg              due_reg, due_next;
    // No step of the block was started yet; the same for the running step or flush
    reg              first_reg, first_next;
    reg              run_first_reg, run_first_next;
    // Running step is the last one of its tile
    reg              fin_reg, fin_next;
    // V tiles in the ring that are not used up by a started step
    reg [2:0]        v_count_reg, v_count_next;
    reg [1:0]        vbuf_reg, vbuf_next;
    reg [1:0]        run_vbuf_reg, run_vbuf_next;
    reg [1:0]        lbuf_reg, lbuf_next;
    reg              v_release_reg, v_release_next;
    reg              l_release_reg, l_release_next;
    // Element 0 of the flush was taken
    reg              taken_reg, taken_next;
    reg [1:0]        post_reg, post_next;
    reg [47:0]       addr_reg, addr_next;
    reg [7:0]        rows_reg, rows_next;
    reg              o_valid_reg, o_valid_next;
    // Next element whose o' the tap has not shown yet
    reg [8:0]        tap_reg, tap_next;

    // Stage k is k cycles behind the read: a step, a flush, element 0, element number
    reg [4:1]          step_p_reg;
    reg [7:1]          fin_p_reg;
    reg [4:1]          zero_p_reg;
    reg [3:1]          first_p_reg;
    reg [8*ELEM_W-1:0] elem_p_reg;

    wire [ELEM_W-1:0] elem_2 = elem_p_reg[1*ELEM_W +: ELEM_W];
    wire [ELEM_W-1:0] elem_4 = elem_p_reg[3*ELEM_W +: ELEM_W];
    wire [ELEM_W-1:0] elem_5 = elem_p_reg[4*ELEM_W +: ELEM_W];
    wire [ELEM_W-1:0] elem_7 = elem_p_reg[6*ELEM_W +: ELEM_W];
    wire [ELEM_W-1:0] elem_8 = elem_p_reg[7*ELEM_W +: ELEM_W];

    wire [8:0] d_last = cfg_d - 9'd1;
    wire       unused_d = &{1'b0, d_last[8:ELEM_W]};
    wire       elem_last = elem_reg == d_last[ELEM_W-1:0];
    wire       stepping = state_reg == STEP;
    wire       flushing = state_reg == FLUSH;
    wire       taken = taken_reg || (o_valid_reg && o_ready && elem_8 == ELEM_0);
    wire       post_end = state_reg == POST && post_reg == 2'd2 && taken;
    wire       slot = state_reg == IDLE || (stepping && elem_last) || post_end;
    // The receiver holds element 0 back: drop what is behind it.
    wire       held = o_valid_reg && !o_ready;
    wire       last_step = step_reg + 8'd1 == t_nsteps;
    wire       tile_ok = t_valid && !due_reg && |v_count_reg;

    wire go_step = slot && tile_ok && t_nsteps != 8'd0 && w_ready && !l_taken;
    // A tile without steps gives its buffers back in its own cycle.
    wire go_skip = state_reg == IDLE && tile_ok && t_nsteps == 8'd0;
    wire go_flush = slot && due_reg && w_ready;
    wire tile_end = (go_step && last_step) || go_skip;

    wire              out_first = out_en && elem_7 == ELEM_0;

    // The last tile of a block stays until its address is needed.
    assign t_ready = (tile_end && !t_last) || out_first;
    assign v_t_ready = 1'b1;
    assign v_release = v_release_reg;
    assign l_release = l_release_reg;

    assign l_rd = go_step;
    assign l_rd_buf = lbuf_reg;
    assign l_rd_word = step_reg[WORD_W:1];
    assign l_rd_odd = step_reg[0];

    assign rd_en = stepping;
    assign rd_elem = elem_reg;
    assign rd_vbuf = run_vbuf_reg;

    assign w_start = go_step || go_flush;
    assign w_taken = (step_p_reg[2] && zero_p_reg[2]) || (fin_p_reg[4] && zero_p_reg[4]);

    assign sv_ld = stepping && elem_reg == ELEM_0;
    assign sv_ld_p = (step_p_reg[1] && zero_p_reg[1]) || (fin_p_reg[4] && zero_p_reg[4]);
    assign sv_ld_dm = (step_p_reg[2] || fin_p_reg[2]) && zero_p_reg[2];
    assign sv_in_en = step_p_reg[1];
    assign sv_fin_en = fin_p_reg[4];
    assign sv_mul_en = step_p_reg[2] || fin_p_reg[5];
    assign sv_sum_en = step_p_reg[3] || fin_p_reg[6];
    assign sv_sum_fin = fin_p_reg[6];
    assign o_rd_en = step_p_reg[2] || fin_p_reg[2];
    assign o_rd_elem = elem_2;
    assign o_sh_en = step_p_reg[3] || fin_p_reg[3];
    assign o_sh_first = first_p_reg[3];
    assign o_wr_en = step_p_reg[4];
    assign o_wr_elem = elem_4;
    assign out_en = fin_p_reg[7] && !held;

    assign o_valid = o_valid_reg;
    assign o_elem = {{(8 - ELEM_W){1'b0}}, elem_8};
    assign o_last = elem_8 == d_last[ELEM_W-1:0];
    assign o_addr = addr_reg;
    assign o_rows = rows_reg;

    assign tap_elem = {{(8 - ELEM_W){1'b0}}, elem_5};
    assign tap_valid = fin_p_reg[5] && {1'b0, tap_elem} == tap_reg;

    always @* begin
        state_next = state_reg;
        elem_next = elem_reg + 1'b1;
        step_next = step_reg;
        due_next = due_reg;
        first_next = first_reg;
        run_first_next = run_first_reg;
        fin_next = fin_reg;
        v_count_next = v_count_reg;
        vbuf_next = vbuf_reg;
        run_vbuf_next = run_vbuf_reg;
        lbuf_next = lbuf_reg;
        v_release_next = 1'b0;
        l_release_next = 1'b0;
        taken_next = taken;
        post_next = post_reg;
        addr_next = addr_reg;
        rows_next = rows_reg;
        o_valid_next = held;
        tap_next = tap_reg;

        if (out_en) begin
            o_valid_next = 1'b1;
        end
        if (out_first) begin
            addr_next = t_oaddr;
            rows_next = t_rows;
        end
        if (tap_valid) begin
            tap_next = tap_reg + 9'd1;
        end

        case (state_reg)
            STEP: begin
                if (elem_last) begin
                    state_next = IDLE;
                    v_release_next = fin_reg;
                end
            end
            FLUSH: begin
                if (held) begin
                    state_next = HOLD;
                end else if (elem_last) begin
                    state_next = POST;
                    post_next = 2'd0;
                end
            end
            HOLD: begin
                if (!held) begin
                    state_next = FLUSH;
                    elem_next = ELEM_1;
                end
            end
            POST: begin
                if (held) begin
                    state_next = HOLD;
                end else if (post_reg != 2'd2) begin
                    post_next = post_reg + 2'd1;
                end else if (taken) begin
                    state_next = IDLE;
                end
            end
            default: begin
                // IDLE: left by the starts below.
            end
        endcase

        if (go_step) begin
            state_next = STEP;
            elem_next = ELEM_0;
            step_next = step_reg + 8'd1;
            run_first_next = first_reg;
            first_next = 1'b0;
            fin_next = last_step;
            run_vbuf_next = vbuf_reg;
        end
        if (tile_end) begin
            step_next = 8'd0;
            due_next = t_last;
            vbuf_next = vbuf_reg == LAST_VBUF ? 2'd0 : vbuf_reg + 2'd1;
            lbuf_next = lbuf_reg + 2'd1;
            l_release_next = 1'b1;
        end
        if (go_skip) begin
            v_release_next = 1'b1;
        end
        if (go_flush) begin
            state_next = FLUSH;
            elem_next = ELEM_0;
            due_next = 1'b0;
            run_first_next = first_reg;
            first_next = 1'b1;
            taken_next = 1'b0;
            tap_next = 9'd0;
        end
        v_count_next = v_count_reg + {2'd0, v_t_valid} - {2'd0, tile_end};
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        elem_reg <= elem_next;
        step_reg <= step_next;
        due_reg <= due_next;
        first_reg <= first_next;
        run_first_reg <= run_first_next;
        fin_reg <= fin_next;
        v_count_reg <= v_count_next;
        vbuf_reg <= vbuf_next;
        run_vbuf_reg <= run_vbuf_next;
        lbuf_reg <= lbuf_next;
        v_release_reg <= v_release_next;
        l_release_reg <= l_release_next;
        taken_reg <= taken_next;
        post_reg <= post_next;
        addr_reg <= addr_next;
        rows_reg <= rows_next;
        o_valid_reg <= o_valid_next;
        tap_reg <= tap_next;
        step_p_reg <= {step_p_reg[3:1], stepping};
        fin_p_reg <= held ? 7'd0 : {fin_p_reg[6:1], flushing};
        zero_p_reg <= {zero_p_reg[3:1], elem_reg == ELEM_0};
        first_p_reg <= {first_p_reg[2:1], run_first_reg};
        // The last stage belongs to the element on the output.
        elem_p_reg[7*ELEM_W-1:0] <= {elem_p_reg[6*ELEM_W-1:0], elem_reg};
        if (out_en) begin
            elem_p_reg[7*ELEM_W +: ELEM_W] <= elem_7;
        end
        if (rst) begin
            state_reg <= IDLE;
            step_reg <= 8'd0;
            due_reg <= 1'b0;
            first_reg <= 1'b1;
            v_count_reg <= 3'd0;
            vbuf_reg <= 2'd0;
            lbuf_reg <= 2'd0;
            v_release_reg <= 1'b0;
            l_release_reg <= 1'b0;
            o_valid_reg <= 1'b0;
            step_p_reg <= 4'd0;
            fin_p_reg <= 7'd0;
        end
    end

endmodule

`resetall
