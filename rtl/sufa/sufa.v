// SPDX-License-Identifier: Apache-2.0
// SU-FA stage: softmax(Q K^T) V over the selected keys of every row, two keys of a row at a time.
//
// Why: the formal computation of SOFA. Keys come best first, so the running maximum moves rarely;
// it is an integer power of two, so that moving it is a shift. K and V lie element-major in ring
// buffers: in every cycle one word brings element e of all keys of the tile, and each row takes
// its own two.
// Parts: Q, K, V rings (corner_buffer.v), list ring, ROWS rows (sufa_row.v), ROWS/EXP_ROWS exp
// units (sufa_exp.v), ROWS/DIV_ROWS dividers (sufa_div.v), three controllers in a chain: QK
// (sufa_qk_ctl.v), weights (sufa_exp_ctl.v), SV and flush (sufa_sv_ctl.v).
// Not done here: choosing keys, fetching them, writing the output.
// List buffers are read by QK and again by SV; they are released at the start of their tile's
// last SV step, V buffers at its end, K buffers at the end of the last QK step.
// Latency: K tile taken to the first V read cfg_d + 2*EXP_ROWS + 15 cycles.
// Throughput: a pair step every cfg_d cycles (docs/sufa.md), cfg_d + 3 more on the SV side per
// block.
// Source: SOFA (MICRO 2024), SU-FA; docs/architecture.md sections 5.4 and 8.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module sufa #(
    // Query rows in parallel, power of two, BUS_BYTES/2..128.
    parameter ROWS = 16,
    // Largest head dimension, power of two, 16..256, at least BUS_BYTES.
    parameter D_MAX = 64,
    // Key slots of a K or V buffer, power of two, max(BUS_BYTES/2, 8)..64.
    parameter BC_MAX = 32,
    // Bytes of a beat, power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Largest number of keys, power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Rows that share one exp unit, power of two, 2..ROWS.
    parameter EXP_ROWS = ROWS < 16 ? ROWS : 16,
    // Rows that share one divider, power of two, EXP_ROWS..ROWS.
    parameter DIV_ROWS = ROWS < 32 ? ROWS : 32,
    // Buffers in the K ring and in the V ring, 2..4.
    parameter KV_BUFS = 2,
    // 1: drive all taps. 0: those that need registers of their own are 0.
    parameter TAPS = 1,
    // Derived: leave at their defaults.
    parameter SLOT_W = $clog2(BC_MAX),
    parameter L_W = 16 + $clog2(KEYS_MAX),
    parameter NEXP = ROWS / EXP_ROWS,
    // Bits of a score in log2 units. Fixed.
    parameter Z_W = 26
) (
    input  wire                         clk,
    input  wire                         rst,

    // Static during a job
    input  wire [8:0]                   cfg_d,
    input  wire [15:0]                  cfg_scale_m,
    input  wire [5:0]                   cfg_scale_shift,

    // Q ring, 2 buffers
    input  wire                         q_wr_valid,
    input  wire                         q_wr_buf,
    input  wire [$clog2(ROWS)-1:0]      q_wr_row,
    input  wire [7:0]                   q_wr_beat,
    input  wire [8*BUS_BYTES-1:0]       q_wr_data,
    input  wire                         q_commit,
    output wire                         q_release,

    // List ring, 4 buffers
    input  wire                         l_wr_valid,
    input  wire [1:0]                   l_wr_buf,
    input  wire [3:0]                   l_wr_word,
    input  wire [ROWS*4*(SLOT_W+1)-1:0] l_wr_data,
    output wire                         l_release,

    // K ring
    input  wire                         k_wr_valid,
    input  wire [1:0]                   k_wr_buf,
    input  wire [SLOT_W-1:0]            k_wr_slot,
    input  wire [7:0]                   k_wr_beat,
    input  wire [8*BUS_BYTES-1:0]       k_wr_data,
    input  wire                         k_t_valid,
    output wire                         k_t_ready,
    input  wire [`TD_W-1:0]             k_t_td,
    input  wire [7:0]                   k_t_nsteps,
    output wire                         k_release,

    // V ring
    input  wire                         v_wr_valid,
    input  wire [1:0]                   v_wr_buf,
    input  wire [SLOT_W-1:0]            v_wr_slot,
    input  wire [7:0]                   v_wr_beat,
    input  wire [8*BUS_BYTES-1:0]       v_wr_data,
    input  wire                         v_t_valid,
    output wire                         v_t_ready,
    output wire                         v_release,

    // Output: an element of all rows
    output wire                         o_valid,
    input  wire                         o_ready,
    output wire [7:0]                   o_elem,
    output wire [ROWS*16-1:0]           o_data,
    output wire                         o_last,
    output wire [47:0]                  o_addr,
    output wire [7:0]                   o_rows,

    // Events: QK active; waits for SV or the exp units; waits for Q or K; rises of m
    output wire                         ev_busy,
    output wire                         ev_stall,
    output wire                         ev_starve,
    output wire [7:0]                   ev_maxupd,

    // Taps: a row's step leaves an exp unit
    output wire [NEXP-1:0]              tap_e_valid,
    output wire [NEXP*8-1:0]            tap_e_row,
    output wire [NEXP*Z_W-1:0]          tap_e_za,
    output wire [NEXP*Z_W-1:0]          tap_e_zb,
    output wire [NEXP*16-1:0]           tap_e_pa,
    output wire [NEXP*16-1:0]           tap_e_pb,
    output wire [NEXP-1:0]              tap_e_va,
    output wire [NEXP-1:0]              tap_e_vb,
    output wire [NEXP*17-1:0]           tap_e_m,
    output wire [NEXP*6-1:0]            tap_e_dm,

    // Taps: flush; o' of an element, sum and reciprocal of the rows
    output wire                         tap_o_valid,
    output wire [7:0]                   tap_o_elem,
    output wire [ROWS*16-1:0]           tap_o,
    output wire [ROWS*L_W-1:0]          tap_l,
    output wire [ROWS*16-1:0]           tap_r
);

    localparam QE = BUS_BYTES / 2;

    generate
        if (ROWS < QE || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || D_MAX < BUS_BYTES
                || BC_MAX < QE || BC_MAX > 64 || BUS_BYTES < 8 || BUS_BYTES > 64
                || BUS_BYTES != (1 << $clog2(BUS_BYTES)) || KEYS_MAX < 64 || KEYS_MAX > 65536
                || KEYS_MAX != (1 << $clog2(KEYS_MAX)) || EXP_ROWS < 2 || EXP_ROWS > ROWS
                || DIV_ROWS < EXP_ROWS || DIV_ROWS > ROWS || SLOT_W != $clog2(BC_MAX)
                || L_W != 16 + $clog2(KEYS_MAX) || NEXP != ROWS / EXP_ROWS
                || Z_W != 26) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sufa_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam ROW_W = $clog2(ROWS);
    localparam ELEM_W = $clog2(D_MAX);
    localparam WORD_W = $clog2(BC_MAX / 4);
    localparam ENT_W = SLOT_W + 1;
    localparam LIST_W = ROWS * 4 * ENT_W;
    localparam KVBUF_W = $clog2(KV_BUFS);
    localparam SD_W = 24 + ELEM_W;
    // Output sum: 16 bits, GUARD 1, O_FRAC 7, and the sum over KEYS_MAX keys.
    localparam O_W = 24 + $clog2(KEYS_MAX);
    localparam EROW_W = $clog2(EXP_ROWS);
    localparam DROW_W = $clog2(DIV_ROWS);
    localparam NDIV = ROWS / DIV_ROWS;
    localparam QGROUPS = ROWS / QE;
    // Steps, last, rows, address of a tile on its way to SV.
    localparam TILE_W = 8 + 1 + 8 + 48;

    genvar i, j;

    // -----------------------------------------------------------------------------------------
    // Controllers
    // -----------------------------------------------------------------------------------------
    wire              tq_valid, tq_ready, t_valid, t_ready;
    wire [TILE_W-1:0] tq_data, t_data;
    wire              lq_rd, lq_odd, ls_rd, ls_odd;
    wire [1:0]        lq_buf, ls_buf;
    wire [WORD_W-1:0] lq_word, ls_word;
    wire              qk_rd_en, qk_qbuf, sv_rd_en;
    wire [ELEM_W-1:0] qk_elem, sv_elem;
    wire [1:0]        qk_kbuf, sv_vbuf;
    wire              qk_ld, qk_in_en, qk_mul_en, qk_acc_en, qk_acc_first, qk_cap;
    wire              cap_end, end_only, hold_take, hold_soon, end_ok;
    wire              ex_en, ex_valid, ex_b, ex_first;
    wire [EROW_W-1:0] ex_row;
    wire              scan_en, scan_valid, scan_empty;
    wire [DROW_W-1:0] scan_row, div_row;
    wire [NDIV-1:0]   div_valid;
    wire              w_ready, w_start, w_taken;
    wire              sv_ld, sv_ld_p, sv_ld_dm, sv_in_en, sv_fin_en, sv_mul_en, sv_sum_en;
    wire              sv_sum_fin, o_rd_en, o_sh_en, o_sh_first, o_wr_en, out_en;
    wire [ELEM_W-1:0] o_rd_elem, o_wr_elem;

    wire unused_td = &{1'b0, k_t_td[`TD_N], k_t_td[`TD_FIRST], k_t_td[`TD_CAUSAL], k_t_td[`TD_REL],
                       k_t_td[`TD_KSTEP], k_t_td[`TD_KADDR], k_t_td[`TD_VADDR], k_t_td[`TD_KINC],
                       k_t_td[`TD_VINC], k_t_td[`TD_K0], k_t_td[`TD_KVNEW],
                       k_t_td[`TD_KVLAST]};

    assign tq_data = {k_t_td[`TD_OADDR], k_t_td[`TD_ROWS], k_t_td[`TD_LAST], k_t_nsteps};

    sufa_qk_ctl #(
        .D_MAX   (D_MAX),
        .BC_MAX  (BC_MAX),
        .KV_BUFS (KV_BUFS)
    ) qk_ctl_inst (
        .clk          (clk),
        .rst          (rst),
        .cfg_d        (cfg_d),
        .q_commit     (q_commit),
        .q_release    (q_release),
        .k_t_valid    (k_t_valid),
        .k_t_ready    (k_t_ready),
        .k_t_last     (k_t_td[`TD_LAST]),
        .k_t_nsteps   (k_t_nsteps),
        .k_release    (k_release),
        .t_valid      (tq_valid),
        .t_ready      (tq_ready),
        .l_rd         (lq_rd),
        .l_rd_buf     (lq_buf),
        .l_rd_word    (lq_word),
        .l_rd_odd     (lq_odd),
        .rd_en        (qk_rd_en),
        .rd_elem      (qk_elem),
        .rd_qbuf      (qk_qbuf),
        .rd_kbuf      (qk_kbuf),
        .qk_ld        (qk_ld),
        .qk_in_en     (qk_in_en),
        .qk_mul_en    (qk_mul_en),
        .qk_acc_en    (qk_acc_en),
        .qk_acc_first (qk_acc_first),
        .qk_cap       (qk_cap),
        .cap_end      (cap_end),
        .end_only     (end_only),
        .hold_take    (hold_take),
        .hold_soon    (hold_soon),
        .end_ok       (end_ok),
        .ev_busy      (ev_busy),
        .ev_stall     (ev_stall),
        .ev_starve    (ev_starve)
    );

    // As many tiles as there are list buffers can be between QK and SV.
    wire [2:0] unused_level;

    sync_fifo #(
        .WIDTH (TILE_W),
        .DEPTH (4)
    ) tile_fifo_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (tq_valid),
        .s_ready (tq_ready),
        .s_data  (tq_data),
        .m_valid (t_valid),
        .m_ready (t_ready),
        .m_data  (t_data),
        .level   (unused_level)
    );

    sufa_exp_ctl #(
        .EXP_ROWS (EXP_ROWS),
        .DIV_ROWS (DIV_ROWS)
    ) exp_ctl_inst (
        .clk        (clk),
        .rst        (rst),
        .cap        (qk_cap),
        .cap_end    (cap_end),
        .end_only   (end_only),
        .hold_take  (hold_take),
        .hold_soon  (hold_soon),
        .end_ok     (end_ok),
        .ex_en      (ex_en),
        .ex_valid   (ex_valid),
        .ex_b       (ex_b),
        .ex_row     (ex_row),
        .ex_first   (ex_first),
        .scan_en    (scan_en),
        .scan_row   (scan_row),
        .scan_valid (scan_valid),
        .scan_empty (scan_empty),
        .div_valid  (div_valid[0]),
        .div_row    (div_row),
        .w_ready    (w_ready),
        .w_start    (w_start),
        .w_taken    (w_taken)
    );

    sufa_sv_ctl #(
        .D_MAX   (D_MAX),
        .BC_MAX  (BC_MAX),
        .KV_BUFS (KV_BUFS)
    ) sv_ctl_inst (
        .clk        (clk),
        .rst        (rst),
        .cfg_d      (cfg_d),
        .t_valid    (t_valid),
        .t_ready    (t_ready),
        .t_last     (t_data[8]),
        .t_nsteps   (t_data[7:0]),
        .t_oaddr    (t_data[17 +: 48]),
        .t_rows     (t_data[9 +: 8]),
        .v_t_valid  (v_t_valid),
        .v_t_ready  (v_t_ready),
        .v_release  (v_release),
        .l_release  (l_release),
        .l_taken    (lq_rd),
        .l_rd       (ls_rd),
        .l_rd_buf   (ls_buf),
        .l_rd_word  (ls_word),
        .l_rd_odd   (ls_odd),
        .rd_en      (sv_rd_en),
        .rd_elem    (sv_elem),
        .rd_vbuf    (sv_vbuf),
        .w_ready    (w_ready),
        .w_start    (w_start),
        .w_taken    (w_taken),
        .sv_ld      (sv_ld),
        .sv_ld_p    (sv_ld_p),
        .sv_ld_dm   (sv_ld_dm),
        .sv_in_en   (sv_in_en),
        .sv_fin_en  (sv_fin_en),
        .sv_mul_en  (sv_mul_en),
        .sv_sum_en  (sv_sum_en),
        .sv_sum_fin (sv_sum_fin),
        .o_rd_en    (o_rd_en),
        .o_rd_elem  (o_rd_elem),
        .o_sh_en    (o_sh_en),
        .o_sh_first (o_sh_first),
        .o_wr_en    (o_wr_en),
        .o_wr_elem  (o_wr_elem),
        .out_en     (out_en),
        .o_valid    (o_valid),
        .o_ready    (o_ready),
        .o_elem     (o_elem),
        .o_last     (o_last),
        .o_addr     (o_addr),
        .o_rows     (o_rows),
        .tap_valid  (tap_o_valid),
        .tap_elem   (tap_o_elem)
    );

    // -----------------------------------------------------------------------------------------
    // Ring buffers
    // -----------------------------------------------------------------------------------------
    wire [ROWS*16-1:0]   q_word;
    wire [BC_MAX*16-1:0] k_word;
    wire [BC_MAX*16-1:0] v_word;
    wire [LIST_W-1:0]    list_word;
    // Upper half of the list word holds the step's entries
    reg                  list_odd_reg;

    generate
        for (i = 0; i < QGROUPS; i = i + 1) begin : g_q
            localparam [31:0] GROUP_32 = i;
            wire hit;
            if (QGROUPS == 1) begin : g_hit
                assign hit = 1'b1;
            end else begin : g_hit
                localparam GROUP_W = $clog2(QGROUPS);
                assign hit = q_wr_row[ROW_W-1 -: GROUP_W] == GROUP_32[GROUP_W-1:0];
            end

            corner_buffer #(
                .LANES  (QE),
                .ELEMS  (D_MAX),
                .WIDTH  (16),
                .BEAT   (QE),
                .BUFS   (2),
                .ROTATE (1)
            ) q_ring_inst (
                .clk      (clk),
                .wr_valid (q_wr_valid && hit),
                .wr_buf   (q_wr_buf),
                .wr_lane  (q_wr_row[$clog2(QE)-1:0]),
                .wr_beat  (q_wr_beat),
                .wr_data  (q_wr_data),
                .rd_en    (qk_rd_en),
                .rd_buf   (qk_qbuf),
                .rd_elem  (qk_elem),
                .rd_data  (q_word[i*QE*16 +: QE*16])
            );
        end

        if (KVBUF_W < 2) begin : g_unused_buf
            wire unused_buf = &{1'b0, k_wr_buf[1], v_wr_buf[1], qk_kbuf[1], sv_vbuf[1]};
        end
        if (WORD_W < 4) begin : g_unused_word
            wire unused_word = &{1'b0, l_wr_word[3:WORD_W]};
        end
    endgenerate

    corner_buffer #(
        .LANES  (BC_MAX),
        .ELEMS  (D_MAX),
        .WIDTH  (16),
        .BEAT   (QE),
        .BUFS   (KV_BUFS),
        .ROTATE (0)
    ) k_ring_inst (
        .clk      (clk),
        .wr_valid (k_wr_valid),
        .wr_buf   (k_wr_buf[KVBUF_W-1:0]),
        .wr_lane  (k_wr_slot),
        .wr_beat  (k_wr_beat),
        .wr_data  (k_wr_data),
        .rd_en    (qk_rd_en),
        .rd_buf   (qk_kbuf[KVBUF_W-1:0]),
        .rd_elem  (qk_elem),
        .rd_data  (k_word)
    );

    corner_buffer #(
        .LANES  (BC_MAX),
        .ELEMS  (D_MAX),
        .WIDTH  (16),
        .BEAT   (QE),
        .BUFS   (KV_BUFS),
        .ROTATE (0)
    ) v_ring_inst (
        .clk      (clk),
        .wr_valid (v_wr_valid),
        .wr_buf   (v_wr_buf[KVBUF_W-1:0]),
        .wr_lane  (v_wr_slot),
        .wr_beat  (v_wr_beat),
        .wr_data  (v_wr_data),
        .rd_en    (sv_rd_en),
        .rd_buf   (sv_vbuf[KVBUF_W-1:0]),
        .rd_elem  (sv_elem),
        .rd_data  (v_word)
    );

    ram_1r1w #(
        .WIDTH (LIST_W),
        .DEPTH (BC_MAX)
    ) list_ring_inst (
        .clk     (clk),
        .wr_en   (l_wr_valid),
        .wr_addr ({l_wr_buf, l_wr_word[WORD_W-1:0]}),
        .wr_data (l_wr_data),
        .rd_en   (lq_rd || ls_rd),
        .rd_addr (lq_rd ? {lq_buf, lq_word} : {ls_buf, ls_word}),
        .rd_data (list_word)
    );

    always @(posedge clk) begin
        list_odd_reg <= lq_rd ? lq_odd : ls_odd;
    end

    // -----------------------------------------------------------------------------------------
    // Exp units
    // -----------------------------------------------------------------------------------------
    wire [ROWS*64-1:0]      s_data;
    wire [ROWS*2-1:0]       s_valid;
    wire [NEXP*L_W-1:0]     scan_l;
    wire [NEXP*EROW_W-1:0]  ex_out_row;
    wire [NEXP-1:0]         ex_upd;
    wire [NEXP-1:0]         ex_out_valid;

    generate
        for (i = 0; i < NEXP; i = i + 1) begin : g_exp
            sufa_exp #(
                .EXP_ROWS (EXP_ROWS),
                .SD_W     (SD_W),
                .L_W      (L_W),
                .TAPS     (TAPS)
            ) exp_inst (
                .clk             (clk),
                .rst             (rst),
                .cfg_scale_m     (cfg_scale_m),
                .cfg_scale_shift (cfg_scale_shift),
                .en              (ex_en),
                .rd_valid        (ex_valid),
                .rd_b            (ex_b),
                .rd_row          (ex_row),
                .rd_first        (ex_first),
                .s_data          (s_data[i*EXP_ROWS*64 +: EXP_ROWS*64]),
                .s_valid         (s_valid[i*EXP_ROWS*2 +: EXP_ROWS*2]),
                .out_valid       (ex_out_valid[i]),
                .out_row         (ex_out_row[i*EROW_W +: EROW_W]),
                .out_pa          (tap_e_pa[i*16 +: 16]),
                .out_pb          (tap_e_pb[i*16 +: 16]),
                .out_dm          (tap_e_dm[i*6 +: 6]),
                .scan_en         (scan_en),
                .scan_row        (scan_row[EROW_W-1:0]),
                .scan_l          (scan_l[i*L_W +: L_W]),
                .ev_upd          (ex_upd[i]),
                .tap_za          (tap_e_za[i*Z_W +: Z_W]),
                .tap_zb          (tap_e_zb[i*Z_W +: Z_W]),
                .tap_va          (tap_e_va[i]),
                .tap_vb          (tap_e_vb[i]),
                .tap_m           (tap_e_m[i*17 +: 17])
            );
            assign tap_e_row[i*8 +: 8] = {{(8 - EROW_W){1'b0}}, ex_out_row[i*EROW_W +: EROW_W]};
        end
    endgenerate

    assign tap_e_valid = ex_out_valid;

    // Number of rises of this cycle
    reg [7:0] upd_sum;
    reg [7:0] upd_reg;

    assign ev_maxupd = upd_reg;

    integer u;

    always @* begin
        upd_sum = 8'd0;
        for (u = 0; u < NEXP; u = u + 1) begin
            upd_sum = upd_sum + {7'd0, ex_upd[u]};
        end
    end

    always @(posedge clk) begin
        upd_reg <= rst ? 8'd0 : upd_sum;
    end

    // -----------------------------------------------------------------------------------------
    // Dividers; each reads the sums of DIV_ROWS/EXP_ROWS exp units, one after the other
    // -----------------------------------------------------------------------------------------
    localparam EXP_PER_DIV = DIV_ROWS / EXP_ROWS;

    wire [NDIV*16-1:0]  div_r;
    wire [NDIV*5-1:0]   div_shift;
    wire [NDIV*L_W-1:0] div_l;
    // Row whose sum is being delivered
    reg  [DROW_W-1:0]   scan_row_d_reg;
    // The taps use all of it, the dividers its upper bits.
    wire                unused_scan_row = &{1'b0, scan_row_d_reg};

    always @(posedge clk) begin
        scan_row_d_reg <= scan_row;
    end

    generate
        if (EXP_PER_DIV == 1) begin : g_scan
            assign div_l = scan_l;
        end else begin : g_scan
            for (i = 0; i < NDIV; i = i + 1) begin : g_pick
                wire [L_W-1:0] sums [0:EXP_PER_DIV-1];
                for (j = 0; j < EXP_PER_DIV; j = j + 1) begin : g_sum
                    assign sums[j] = scan_l[(i*EXP_PER_DIV + j)*L_W +: L_W];
                end
                assign div_l[i*L_W +: L_W] = sums[scan_row_d_reg[DROW_W-1:EROW_W]];
            end
        end

        for (i = 0; i < NDIV; i = i + 1) begin : g_div
            sufa_div #(
                .L_W (L_W)
            ) div_inst (
                .clk       (clk),
                .rst       (rst),
                .in_valid  (scan_valid),
                .in_l      (scan_empty ? {L_W{1'b0}} : div_l[i*L_W +: L_W]),
                .out_valid (div_valid[i]),
                .out_r     (div_r[i*16 +: 16]),
                .out_shift (div_shift[i*5 +: 5])
            );
        end

        if (NDIV > 1) begin : g_unused_div
            wire unused_div_valid = &{1'b0, div_valid[NDIV-1:1]};
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Rows
    // -----------------------------------------------------------------------------------------
    generate
        for (i = 0; i < ROWS; i = i + 1) begin : g_row
            // Exp unit and divider of the row, and its number in their groups.
            localparam X = i / EXP_ROWS;
            localparam Y = i / DIV_ROWS;
            localparam [31:0] X_ROW = i % EXP_ROWS;
            localparam [31:0] Y_ROW = i % DIV_ROWS;

            wire [4*ENT_W-1:0]  entries = list_word[i*4*ENT_W +: 4*ENT_W];
            wire [2*ENT_W-1:0]  pair = list_odd_reg ? entries[2*ENT_W +: 2*ENT_W]
                                                    : entries[0 +: 2*ENT_W];
            wire [SLOT_W-1:0]   k_sel_a, k_sel_b, v_sel_a, v_sel_b;
            wire [SD_W-1:0]     s_a, s_b;
            wire                div_wr = div_valid[0] && div_row == Y_ROW[DROW_W-1:0];
            wire                exp_wr = ex_out_valid[X]
                                         && ex_out_row[X*EROW_W +: EROW_W] == X_ROW[EROW_W-1:0];

            sufa_row #(
                .D_MAX  (D_MAX),
                .SLOT_W (SLOT_W),
                .O_W    (O_W)
            ) row_inst (
                .clk          (clk),
                .ent_a        (pair[0 +: ENT_W]),
                .ent_b        (pair[ENT_W +: ENT_W]),
                .qk_ld        (qk_ld),
                .qk_in_en     (qk_in_en),
                .qk_mul_en    (qk_mul_en),
                .qk_acc_en    (qk_acc_en),
                .qk_acc_first (qk_acc_first),
                .qk_cap       (qk_cap),
                .k_sel_a      (k_sel_a),
                .k_sel_b      (k_sel_b),
                .k_a          (k_word[{k_sel_a, 4'd0} +: 16]),
                .k_b          (k_word[{k_sel_b, 4'd0} +: 16]),
                .q            (q_word[i*16 +: 16]),
                .s_a          (s_a),
                .s_b          (s_b),
                .s_valid      (s_valid[i*2 +: 2]),
                .w_wr         (div_wr || exp_wr),
                .w_pa         (div_valid[0] ? div_r[Y*16 +: 16] : tap_e_pa[X*16 +: 16]),
                .w_pb         (div_valid[0] ? 16'd0 : tap_e_pb[X*16 +: 16]),
                .w_dm         (div_valid[0] ? {1'b0, div_shift[Y*5 +: 5]} : tap_e_dm[X*6 +: 6]),
                .sv_ld        (sv_ld),
                .sv_ld_p      (sv_ld_p),
                .sv_ld_dm     (sv_ld_dm),
                .sv_in_en     (sv_in_en),
                .sv_fin_en    (sv_fin_en),
                .sv_mul_en    (sv_mul_en),
                .sv_sum_en    (sv_sum_en),
                .sv_sum_fin   (sv_sum_fin),
                .v_sel_a      (v_sel_a),
                .v_sel_b      (v_sel_b),
                .v_a          (v_word[{v_sel_a, 4'd0} +: 16]),
                .v_b          (v_word[{v_sel_b, 4'd0} +: 16]),
                .o_rd_en      (o_rd_en),
                .o_rd_elem    (o_rd_elem),
                .o_sh_en      (o_sh_en),
                .o_sh_first   (o_sh_first),
                .o_wr_en      (o_wr_en),
                .o_wr_elem    (o_wr_elem),
                .out_en       (out_en),
                .out          (o_data[i*16 +: 16]),
                .tap_o        (tap_o[i*16 +: 16]),
                .tap_r        (tap_r[i*16 +: 16])
            );

            assign s_data[i*64 +: 64] = {{(32 - SD_W){1'b0}}, s_b, {(32 - SD_W){1'b0}}, s_a};

            if (TAPS != 0) begin : g_tap
                reg [L_W-1:0] l_reg;

                always @(posedge clk) begin
                    if (scan_valid && scan_row_d_reg == Y_ROW[DROW_W-1:0]) begin
                        l_reg <= scan_empty ? {L_W{1'b0}} : scan_l[X*L_W +: L_W];
                    end
                end

                assign tap_l[i*L_W +: L_W] = l_reg;
            end else begin : g_no_tap
                assign tap_l[i*L_W +: L_W] = {L_W{1'b0}};
            end
        end
    endgenerate

endmodule

`resetall
