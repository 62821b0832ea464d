// SPDX-License-Identifier: Apache-2.0
// Output side of a SU-FA unit: sums o of all rows, W lanes, and the beats of the flush.
//
// Why: o of a row lies in one memory as wide as the lanes; a pair reads, updates and writes cfg_c
// words of it, one a cycle. The first key of a row ignores what the memory holds, so nothing is
// ever cleared. The mean of V of a block lies behind the sums, written as if it were a row with
// one key. A pair whose weight is 0 leaves the memory alone.
// A row of the flush takes 2*cfg_c cycles: a word of o, then a word of the mean, for each beat.
// Everything is rigid: the user sends events so that no two operations meet. fin_valid one cycle
// earlier than pair_valid would come uses the same cycles of the multipliers; it reads o 2 cycles
// before a pair does, so no beat of a pair may be 2 cycles before it.
// Latency: from pair_valid V is read after 1 cycle, o after 2, and o is written after 4, so that a
// row may come again after 3. From fin_valid o is read after 1 cycle, first beat out after 7.
// Throughput: one beat of a pair a cycle, one beat of the flush every two.
// Source: docs/second.md, formal path.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_sv #(
    // Elements of a beat, power of two, 4..32.
    parameter W = 8,
    // Words of the memory of sums, 4..16384, of the means behind it, 1..2048.
    parameter O_WORDS = 32,
    parameter MEAN_WORDS = 8,
    // Rows in all places, power of two, 4..1024.
    parameter ALL = 8,
    // Beats of V, power of two.
    parameter KV_WORDS = 128,
    // Bits of an output sum, 26..48.
    parameter O_W = 36,
    // Bits of a number of beats of a vector, 1..7.
    parameter C_W = 4,
    // Derived: leave at their defaults.
    parameter IDX_W = $clog2(ALL),
    parameter KA_W = $clog2(KV_WORDS),
    parameter OA_W = $clog2(O_WORDS + MEAN_WORDS)
) (
    input  wire              clk,
    input  wire              rst,

    input  wire [C_W-1:0]    cfg_c,

    // A pair, or the mean of a block: first beats of V and of o; whether o starts from 0; whether V
    // is given back
    input  wire              pair_valid,
    input  wire [KA_W-1:0]   pair_vbase,
    input  wire [OA_W-1:0]   pair_obase,
    input  wire              pair_new,
    input  wire              pair_vlast,
    // Two cycles later: weight and rise of m
    input  wire [15:0]       pair_p,
    input  wire [5:0]        pair_dm,

    output wire              v_rd_en,
    output wire [KA_W-1:0]   v_rd_addr,
    input  wire [W*16-1:0]   v_rd_data,
    output wire              v_release,

    // A row of the flush: what it is, first beats of o and of the mean, 0 for both (a row without a
    // key), shift, reciprocal times f, 1 - f in 1.15
    input  wire              fin_valid,
    input  wire [IDX_W-1:0]  fin_idx,
    input  wire              fin_last,
    input  wire [OA_W-1:0]   fin_obase,
    input  wire [OA_W-1:0]   fin_mbase,
    input  wire              fin_zero,
    input  wire [4:0]        fin_shift,
    input  wire [15:0]       fin_r,
    input  wire [15:0]       fin_rest,

    // Beats of the output; last beat of the block
    output wire              o_valid,
    output wire [W*16-1:0]   o_data,
    output wire [IDX_W-1:0]  o_idx,
    output wire [C_W-1:0]    o_beat,
    output wire              o_last,

    // Tap: o' of a beat, with its row and R'
    output wire              tap_valid,
    output wire [IDX_W-1:0]  tap_idx,
    output wire [C_W-1:0]    tap_beat,
    output wire [W*16-1:0]   tap_o,
    output wire [15:0]       tap_r
);

    generate
        if (W < 4 || W > 32 || W != (1 << $clog2(W)) || O_WORDS < 4 || O_WORDS > 16384
                || MEAN_WORDS < 1 || MEAN_WORDS > 2048 || ALL < 4 || ALL > 1024
                || ALL != (1 << $clog2(ALL)) || KV_WORDS < 2
                || KV_WORDS != (1 << $clog2(KV_WORDS)) || O_W < 26 || O_W > 48 || C_W < 1
                || C_W > 7 || IDX_W != $clog2(ALL) || KA_W != $clog2(KV_WORDS)
                || OA_W != $clog2(O_WORDS + MEAN_WORDS)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_sv_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam [C_W-1:0] ONE = 1;
    wire [C_W-1:0] c_last = cfg_c - ONE;

    // -----------------------------------------------------------------------------------------
    // Beats of a pair: stage 1 reads V, 2 reads o, 3 shifts, 4 (with the product) writes
    // -----------------------------------------------------------------------------------------
    reg              v1_reg, first1_reg, new1_reg, vlast1_reg;
    reg  [C_W-1:0]   left1_reg;
    reg  [KA_W-1:0]  vaddr1_reg;
    reg  [OA_W-1:0]  oaddr1_reg, oaddr2_reg, oaddr3_reg, oaddr4_reg;
    reg              v2_reg, first2_reg, new2_reg, idle2_reg, v3_reg, new3_reg, v4_reg;

    wire             last1 = left1_reg == {C_W{1'b0}};
    // Weight 0: o stays as it is, since a first key and a rise of m have a weight of 1/2 or more.
    wire             idle2 = first2_reg ? pair_p == 16'd0 : idle2_reg;
    wire             work2 = v2_reg && !idle2;

    assign v_rd_en   = v1_reg;
    assign v_rd_addr = vaddr1_reg;
    assign v_release = v1_reg && last1 && vlast1_reg;

    always @(posedge clk) begin
        if (pair_valid) begin
            v1_reg     <= 1'b1;
            first1_reg <= 1'b1;
            left1_reg  <= c_last;
            vaddr1_reg <= pair_vbase;
            oaddr1_reg <= pair_obase;
            new1_reg   <= pair_new;
            vlast1_reg <= pair_vlast;
        end else begin
            v1_reg     <= v1_reg && !last1;
            first1_reg <= 1'b0;
            left1_reg  <= left1_reg - ONE;
            vaddr1_reg <= vaddr1_reg + 1'b1;
            oaddr1_reg <= oaddr1_reg + 1'b1;
        end
        v2_reg     <= v1_reg;
        first2_reg <= first1_reg;
        new2_reg   <= new1_reg;
        idle2_reg  <= idle2;
        oaddr2_reg <= oaddr1_reg;
        v3_reg     <= work2;
        new3_reg   <= new2_reg;
        oaddr3_reg <= oaddr2_reg;
        v4_reg     <= v3_reg;
        oaddr4_reg <= oaddr3_reg;
        if (rst) begin
            v1_reg <= 1'b0;
            v2_reg <= 1'b0;
            v3_reg <= 1'b0;
            v4_reg <= 1'b0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Beats of the flush: stage 1 reads, 2 shifts, 3 rounds, 4 multiplies, 5 sums, 6 output
    // -----------------------------------------------------------------------------------------
    // Row of the flush, from stage 1 on; the phases take turns: o, mean.
    reg  [OA_W-1:0]  f_oaddr_reg, f_maddr_reg;
    reg  [C_W-1:0]   f_beat_reg;
    reg  [IDX_W-1:0] f_idx_reg;
    reg              f_last_reg, f_zero_reg, f1_reg, f1_mean_reg;
    reg  [4:0]       f_shift_reg;
    reg  [15:0]      f_r_reg, f_rest_reg, f2_p_reg, f3_p_reg;
    // Bit j: stage j has a beat; of the mean; the last of the block.
    reg  [6:2]       f_reg, f_mean_reg, f_end_reg;
    reg              f2_zero_reg;
    reg  [5*C_W-1:0]   f_beats_reg;
    reg  [5*IDX_W-1:0] f_idxs_reg;

    wire             f1_end = f_beat_reg == c_last;

    always @(posedge clk) begin
        if (fin_valid) begin
            f1_reg      <= 1'b1;
            f1_mean_reg <= 1'b0;
            f_oaddr_reg <= fin_obase;
            f_maddr_reg <= fin_mbase;
            f_beat_reg  <= {C_W{1'b0}};
            f_idx_reg   <= fin_idx;
            f_last_reg  <= fin_last;
            f_zero_reg  <= fin_zero;
            f_shift_reg <= fin_shift;
            f_r_reg     <= fin_r;
            f_rest_reg  <= fin_rest;
        end else if (f1_reg) begin
            f1_mean_reg <= !f1_mean_reg;
            if (f1_mean_reg) begin
                f_oaddr_reg <= f_oaddr_reg + 1'b1;
                f_maddr_reg <= f_maddr_reg + 1'b1;
                f_beat_reg  <= f_beat_reg + ONE;
                f1_reg      <= !f1_end;
            end
        end
        f_reg       <= {f_reg[5:2], f1_reg};
        f_mean_reg  <= {f_mean_reg[5:2], f1_mean_reg};
        f_end_reg   <= {f_end_reg[5:2], f_last_reg && f1_end};
        f_beats_reg <= {f_beats_reg[4*C_W-1:0], f_beat_reg};
        f_idxs_reg  <= {f_idxs_reg[4*IDX_W-1:0], f_idx_reg};
        f2_zero_reg <= f_zero_reg;
        f2_p_reg    <= f1_mean_reg ? f_rest_reg : f_r_reg;
        f3_p_reg    <= f2_p_reg;
        if (rst) begin
            f1_reg <= 1'b0;
            f_reg  <= 5'd0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // What the lanes share
    // -----------------------------------------------------------------------------------------
    reg  [5:0]         sh_reg;
    reg  [15:0]        p_reg;
    // The same as digits.
    reg  [17:0]        p_d_reg, p_m_reg;
    wire [15:0]        p_next = f_reg[3] ? f3_p_reg : pair_p;
    wire [17:0]        p_d, p_m;
    wire [W*O_W-1:0]   o_rd_data, o_wr_data;

    always @(posedge clk) begin
        if (f1_reg) begin
            sh_reg <= f1_mean_reg ? 6'd0 : {1'b0, f_shift_reg};
        end else if (first2_reg) begin
            sh_reg <= pair_dm;
        end
        if (f_reg[3] || first2_reg) begin
            p_reg   <= p_next;
            p_d_reg <= p_d;
            p_m_reg <= p_m;
        end
    end

    sofa_mult_digits #(
        .B_W      (16),
        .B_SIGNED (0)
    ) digits_inst (
        .b (p_next),
        .d (p_d),
        .m (p_m)
    );

    genvar i;
    generate
        for (i = 0; i < W; i = i + 1) begin : g_lane
            sofa_sufa_lane #(
                .O_W (O_W)
            ) lane_inst (
                .clk     (clk),
                .sh_en   (v3_reg || f_reg[2]),
                .sh_zero (f_reg[2] ? f2_zero_reg : new3_reg),
                .sh      (sh_reg),
                .o_rd    (o_rd_data[i*O_W +: O_W]),
                .v_en    (work2),
                .fin_en  (f_reg[3]),
                .v       (v_rd_data[i*16 +: 16]),
                .mul_en  (v3_reg || f_reg[4]),
                .p_d     (p_d_reg),
                .p_m     (p_m_reg),
                .fin_a   (f_reg[4] && !f_mean_reg[4]),
                .fin_b   (f_reg[4] && f_mean_reg[4]),
                .o_new   (o_wr_data[i*O_W +: O_W]),
                .out     (o_data[i*16 +: 16]),
                .tap_o   (tap_o[i*16 +: 16])
            );
        end
    endgenerate

    sofa_ram_1r1w #(
        .WIDTH  (W * O_W),
        .DEPTH  (O_WORDS + MEAN_WORDS),
        .ADDR_W (OA_W)
    ) o_ram_inst (
        .clk     (clk),
        .wr_en   (v4_reg),
        .wr_addr (oaddr4_reg),
        .wr_data (o_wr_data),
        .rd_en   (f1_reg || (work2 && !new2_reg)),
        .rd_addr (f1_reg ? (f1_mean_reg ? f_maddr_reg : f_oaddr_reg) : oaddr2_reg),
        .rd_data (o_rd_data)
    );

    assign o_valid = f_reg[6] && f_mean_reg[6];
    assign o_idx   = f_idxs_reg[4*IDX_W +: IDX_W];
    assign o_beat  = f_beats_reg[4*C_W +: C_W];
    assign o_last  = f_end_reg[6];

    assign tap_valid = f_reg[4] && !f_mean_reg[4];
    assign tap_idx   = f_idxs_reg[2*IDX_W +: IDX_W];
    assign tap_beat  = f_beats_reg[2*C_W +: C_W];
    assign tap_r     = p_reg;

endmodule

`resetall
