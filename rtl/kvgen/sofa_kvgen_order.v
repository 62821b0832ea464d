// SPDX-License-Identifier: Apache-2.0
// Collects pairs into vectors and gives the vectors back beat by beat, in natural order.
//
// Why: the pairs of a vector come in RoPE's order, a vector may be spread over two passes and
// the tokens of a group take turns, while a beat holds neighbouring elements of one vector. Even
// and odd pairs have a memory of their own, so two neighbouring elements are read a cycle, whether
// they were a pair (2i, 2i+1) or the same half of two pairs (half-split: i and i+1).
// Two groups are kept: one is filled while the other one is read.
// Not done here: where a vector goes (kvgen_out).
// Latency: last pair of a vector to its first beat BUS_BYTES/4 + 2 cycles (or d/2 + 2).
// Throughput: two elements a cycle.
// Source: docs/architecture.md 10.1 (order of the outputs).

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_order #(
    // Tokens of a group, 1, 2, 4 or 8.
    parameter PLACES = 2,
    // Largest head dimension, a power of two, 16..256.
    parameter D_MAX = 64,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Derived: leave at their defaults.
    parameter PAIR_W = $clog2(D_MAX) - 1,
    parameter TOK_W = PLACES == 1 ? 1 : $clog2(PLACES)
) (
    input  wire                   clk,
    input  wire                   rst,

    input  wire [8:0]             cfg_d,
    // K pair i is elements i and i + d/2, otherwise 2i and 2i + 1
    input  wire                   cfg_split,

    // Pairs of a group; s_begin: its first pair is on its way. Only with s_room
    output wire                   s_room,
    input  wire                   s_begin,
    input  wire                   s_valid,
    input  wire                   s_num,
    input  wire [TOK_W-1:0]       s_tok,
    input  wire                   s_v,
    input  wire [PAIR_W-1:0]      s_pair,
    input  wire                   s_last,
    input  wire                   s_group_last,
    input  wire [31:0]            s_y,

    // Beats of the vectors, in the order in which the vectors were completed; elements past d are 0
    output wire                   m_valid,
    input  wire                   m_ready,
    output wire                   m_v,
    output wire                   m_last,
    output wire [8*BUS_BYTES-1:0] m_data
);

    generate
        if (PLACES < 1 || PLACES > 8 || PLACES != (1 << $clog2(PLACES)) || D_MAX < 16 || D_MAX > 256
                || D_MAX != (1 << $clog2(D_MAX)) || BUS_BYTES < 8 || BUS_BYTES > 64
                || BUS_BYTES != (1 << $clog2(BUS_BYTES))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_order_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    // Elements come two at a time; a beat holds SLOTS of them.
    localparam SLOTS = BUS_BYTES / 4;
    localparam POS_W = $clog2(SLOTS);
    localparam GT_W = PLACES == 1 ? 1 : 1 + TOK_W;
    localparam ROW_W = PAIR_W - 1;
    localparam DEPTH = 4 * PLACES;
    localparam LEVEL_W = $clog2(DEPTH + 1);

    // -----------------------------------------------------------------------------------------
    // Complete vectors: {number, token, v, group last}
    // -----------------------------------------------------------------------------------------
    wire               f_valid;
    wire               f_num;
    wire [TOK_W-1:0]   f_tok;
    wire               f_v;
    wire               f_group_last;
    wire               f_take;
    // There is an entry for every vector of both groups.
    wire               unused_f_ready;
    wire [LEVEL_W-1:0] unused_f_level;

    sofa_sync_fifo #(
        .WIDTH (TOK_W + 3),
        .DEPTH (DEPTH)
    ) done_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (s_valid && s_last),
        .s_ready (unused_f_ready),
        .s_data  ({s_num, s_tok, s_v, s_group_last}),
        .m_valid (f_valid),
        .m_ready (f_take),
        .m_data  ({f_num, f_tok, f_v, f_group_last}),
        .level   (unused_f_level)
    );

    // -----------------------------------------------------------------------------------------
    // Read sequence: two neighbouring elements a cycle
    // -----------------------------------------------------------------------------------------
    // Groups begun and not read to the end.
    reg  [1:0]        groups_reg, groups_next;
    reg  [PAIR_W-1:0] step_reg, step_next;

    wire              m_full;
    wire              en = !m_full || m_ready;
    wire              read = f_valid && en;
    wire              split = cfg_split && !f_v;
    wire [7:0]        steps = cfg_d[8:1] - 8'd1;
    wire [PAIR_W-1:0] quarter = cfg_d[PAIR_W+1:2];
    wire              step_last = step_reg == steps[PAIR_W-1:0];
    // Second half of a split vector.
    wire              upper = step_reg >= quarter;
    wire [PAIR_W-1:0] split_row = upper ? step_reg - quarter : step_reg;
    wire [ROW_W-1:0]  row = split ? split_row[ROW_W-1:0] : step_reg[PAIR_W-1:1];

    assign f_take = read && step_last;
    assign s_room = !groups_reg[1];

    always @* begin
        step_next   = step_reg;
        groups_next = groups_reg;
        if (read) begin
            step_next = step_last ? {PAIR_W{1'b0}} : step_reg + 1'b1;
        end
        if (s_begin && !(f_take && f_group_last)) begin
            groups_next = groups_reg + 2'd1;
        end else if (!s_begin && f_take && f_group_last) begin
            groups_next = groups_reg - 2'd1;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Memories of even and of odd pairs
    // -----------------------------------------------------------------------------------------
    wire [GT_W-1:0] wr_place;
    wire [GT_W-1:0] rd_place;
    wire [63:0]     pairs;

    generate
        if (PLACES == 1) begin : g_place
            wire unused_tok = &{1'b0, s_tok, f_tok};
            assign wr_place = s_num;
            assign rd_place = f_num;
        end else begin : g_place
            assign wr_place = {s_num, s_tok};
            assign rd_place = {f_num, f_tok};
        end
    endgenerate

    genvar i;
    generate
        for (i = 0; i < 2; i = i + 1) begin : g_ram
            localparam [0:0] ODD = i;

            sofa_ram_1r1w #(
                .WIDTH (32),
                .DEPTH (1 << (GT_W + 1 + ROW_W))
            ) ram_inst (
                .clk     (clk),
                .wr_en   (s_valid && s_pair[0] == ODD),
                .wr_addr ({wr_place, s_v, s_pair[PAIR_W-1:1]}),
                .wr_data (s_y),
                .rd_en   (read),
                .rd_addr ({rd_place, f_v, row}),
                .rd_data (pairs[i*32 +: 32])
            );
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Beats
    // -----------------------------------------------------------------------------------------
    reg                   valid1_reg, split1_reg, upper1_reg, odd1_reg, v1_reg, last1_reg;
    reg [POS_W-1:0]       pos_reg;
    reg                   full_reg, v_reg, last_reg;
    reg [8*BUS_BYTES-1:0] data_reg;

    wire [31:0] apart = upper1_reg ? {pairs[63:48], pairs[31:16]} : {pairs[47:32], pairs[15:0]};
    wire [31:0] whole = odd1_reg ? pairs[63:32] : pairs[31:0];
    wire [31:0] two = split1_reg ? apart : whole;
    wire        add = en && valid1_reg;
    wire        beat_end = pos_reg == {POS_W{1'b1}} || last1_reg;

    assign m_full  = full_reg;
    assign m_valid = full_reg;
    assign m_v     = v_reg;
    assign m_last  = last_reg;
    assign m_data  = data_reg;

    generate
        for (i = 0; i < SLOTS; i = i + 1) begin : g_slot
            localparam [31:0] I = i;
            always @(posedge clk) begin
                if (add) begin
                    if (pos_reg == I[POS_W-1:0]) begin
                        data_reg[i*32 +: 32] <= two;
                    end else if (pos_reg == {POS_W{1'b0}}) begin
                        data_reg[i*32 +: 32] <= 32'd0;
                    end
                end
            end
        end
    endgenerate

    always @(posedge clk) begin
        groups_reg <= groups_next;
        step_reg   <= step_next;
        if (en) begin
            valid1_reg <= f_valid;
            split1_reg <= split;
            upper1_reg <= upper;
            odd1_reg   <= step_reg[0];
            v1_reg     <= f_v;
            last1_reg  <= step_last;
            full_reg   <= valid1_reg && beat_end;
        end
        if (add) begin
            pos_reg  <= beat_end ? {POS_W{1'b0}} : pos_reg + 1'b1;
            v_reg    <= v1_reg;
            last_reg <= last1_reg;
        end

        if (rst) begin
            groups_reg <= 2'd0;
            step_reg   <= {PAIR_W{1'b0}};
            valid1_reg <= 1'b0;
            full_reg   <= 1'b0;
            pos_reg    <= {POS_W{1'b0}};
        end
    end

    wire unused = &{1'b0, cfg_d, steps, split_row};

endmodule

`resetall
