// SPDX-License-Identifier: Apache-2.0
// Reads the rows of X, and of the RoPE table, of the queued tokens and puts tokens into groups.
//
// Why: the rows of the next group arrive while the array works on one, so memory latency is hidden.
// Two groups of X rows are kept: one in use, one being filled. Table rows are used later than X
// rows, when the sums of a group are drained, so those of four groups are kept.
// A packed job has rows of at most H_MAX/2 elements and PLACES tokens in a group, any other one
// KG_TOK tokens. A mean row of X is a token with an address in place of a key, and no table row.
// X is kept in memories of half rows, two for each column of the array: halves of one token's row,
// or the rows of the two tokens that share the column.
// A group is offered when it has all its tokens, or when no further token is queued, being read or
// about to be queued; requests of a token are made before the data of the one before has come.
// Not done here: order or choice of the tokens (sofa_kvgen_front).
// Latency, with A = ceil(clog2(KEYS_MAX)/2) + 3: t_valid to its first request A - 1 cycles; last
// beat to g_valid 1.
// Throughput: a token in A cycles (2*A with RoPE), or its beats, one a cycle.
// Source: docs/architecture.md 10.1, 10.7.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_load #(
    // Columns of the array, 1, 2 or 4.
    parameter KG_TOK = 2,
    // Tokens of a group at most: KG_TOK, or 2*KG_TOK where there are packed jobs.
    parameter PLACES = 4,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Largest number of keys, a power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Largest model dimension, a power of two, 64..4096.
    parameter H_MAX = 1024,
    // Largest head dimension, a power of two, BUS_BYTES..256.
    parameter D_MAX = 64,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Derived: leave at their defaults.
    parameter ELEM_W = $clog2(H_MAX),
    parameter PAIR_W = $clog2(D_MAX) - 1,
    parameter TOK_W = PLACES == 1 ? 1 : $clog2(PLACES)
) (
    input  wire                   clk,
    input  wire                   rst,

    input  wire [8:0]             cfg_d,
    input  wire [12:0]            cfg_h,
    // Two tokens share a column of the array
    input  wire                   cfg_packed,
    // Table rows are wanted
    input  wire                   cfg_rope_on,
    input  wire [ADDR_W-1:0]      cfg_x_base,
    input  wire [31:0]            cfg_x_stride,
    input  wire [ADDR_W-1:0]      cfg_rt_base,
    input  wire [31:0]            cfg_rt_stride,

    // Queued tokens; t_more: another one may be queued soon
    input  wire                   t_valid,
    output wire                   t_ready,
    // Key, or with t_mean address of the row of X
    input  wire                   t_mean,
    input  wire [ADDR_W-1:0]      t_at,
    input  wire                   t_more,

    // Reads
    output wire                   c_valid,
    input  wire                   c_ready,
    output wire [ADDR_W-1:0]      c_addr,
    output wire [15:0]            c_beats,
    input  wire                   d_valid,
    input  wire [8*BUS_BYTES-1:0] d_data,

    // Group with its rows; number modulo 4; g_free: the X rows of a group are not needed any more
    output wire                   g_valid,
    input  wire                   g_take,
    output wire [1:0]             g_num,
    output wire [3:0]             g_n,
    input  wire                   g_free,
    input  wire [1:0]             g_free_num,

    // Element x_elem for all columns, for the lower and the upper lanes where PLACES = 2*KG_TOK, a
    // cycle later; held while x_en is low
    input  wire                   x_en,
    input  wire [1:0]             x_num,
    input  wire [ELEM_W-1:0]      x_elem,
    output wire [PLACES*16-1:0]   x_data,

    // {s, c} of a pair of a token, a cycle later
    input  wire                   rt_en,
    input  wire [1:0]             rt_num,
    input  wire [TOK_W-1:0]       rt_tok,
    input  wire [PAIR_W-1:0]      rt_pair,
    output wire [31:0]            rt_data,

    // A token is queued, being read, or waits for its group to start
    output wire                   waiting
);

    generate
        if (KG_TOK < 1 || KG_TOK > 4 || KG_TOK == 3
                || (PLACES != KG_TOK && PLACES != 2 * KG_TOK) || BUS_BYTES < 8 || BUS_BYTES > 64
                || BUS_BYTES != (1 << $clog2(BUS_BYTES)) || KEYS_MAX < 64 || KEYS_MAX > 65536
                || KEYS_MAX != (1 << $clog2(KEYS_MAX)) || H_MAX < 64 || H_MAX > 4096
                || H_MAX != (1 << $clog2(H_MAX)) || D_MAX < BUS_BYTES || D_MAX > 256
                || D_MAX != (1 << $clog2(D_MAX)) || ADDR_W < 32 || ADDR_W > 48) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_load_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam QE_W = $clog2(BUS_BYTES) - 1;
    // Beat of an X row, of a table row; pair of a beat.
    localparam XB_W = ELEM_W - QE_W;
    localparam RB_W = PAIR_W + 1 - QE_W;
    localparam BP_W = QE_W - 1;
    localparam [31:0] QE_LESS_1 = BUS_BYTES / 2 - 1;
    localparam [31:0] COLUMNS = KG_TOK;
    localparam [31:0] PLACES_I = PLACES;
    localparam KEY_W = $clog2(KEYS_MAX);

    wire [12:0] x_round = cfg_h + QE_LESS_1[12:0];
    wire [8:0]  rt_round = cfg_d + QE_LESS_1[8:0];
    wire [15:0] x_beats = {3'd0, x_round} >> QE_W;
    wire [15:0] rt_beats = {7'd0, rt_round} >> QE_W;
    wire [15:0] x_last = x_beats - 16'd1;
    wire [15:0] rt_last = rt_beats - 16'd1;
    wire [3:0]  tokens = cfg_packed ? PLACES_I[3:0] : COLUMNS[3:0];
    wire [3:0]  last_tok = tokens - 4'd1;

    // -----------------------------------------------------------------------------------------
    // Requests of a token
    // -----------------------------------------------------------------------------------------
    // A token is at work: its address, a place, until the request is taken.
    reg              i_busy_reg, i_busy_next;
    // The table row of the token is asked for (otherwise X).
    reg              i_table_reg, i_table_next;
    // Group and place that the next requested token gets.
    reg [1:0]        i_num_reg, i_num_next;
    reg [TOK_W-1:0]  i_tok_reg, i_tok_next;
    // The group of even, odd number owns its X rows: all its tokens are requested or it is in use.
    reg [1:0]        held_reg, held_next;
    // The group that the next requested token gets does not.
    reg              place_reg;

    // Group and place that the next token to arrive gets.
    reg [1:0]        r_num_reg, r_num_next;
    reg [TOK_W-1:0]  r_tok_reg, r_tok_next;
    reg              r_table_reg, r_table_next;
    reg [15:0]       r_beat_reg, r_beat_next;
    // Requested tokens of the even and of the odd group that are mean rows.
    reg [(2<<TOK_W)-1:0] mean_reg;
    wire             r_mean = mean_reg[{r_num_reg[0], r_tok_reg}];
    // Next group to be taken.
    reg [1:0]        c_num_reg, c_num_next;
    // t_more and g_take a cycle ago: no path leads from the front to the start of a group, nor from
    // the array's last element to here. Nothing is requested between a take and this.
    reg              more_reg, take_reg;

    wire              a_done;
    wire [ADDR_W-1:0] a_addr;
    wire              a_start = t_valid && !i_busy_reg && !t_mean;
    wire              command = c_valid && c_ready;
    wire              asked = command && (i_table_reg || !cfg_rope_on || t_mean);
    wire              r_end = r_beat_reg == (r_table_reg ? rt_last : x_last);
    wire              arrived = d_valid && (r_table_reg || !cfg_rope_on || r_mean) && r_end;
    // All requested tokens have come.
    wire              level = i_num_reg == r_num_reg && i_tok_reg == r_tok_reg;
    wire              more = t_valid || more_reg || !level;
    wire              whole = c_num_reg != r_num_reg;
    wire [3:0]        r_place = {{(4 - TOK_W){1'b0}}, r_tok_reg};
    wire              some = r_tok_reg != {TOK_W{1'b0}};

    assign t_ready = asked;
    assign c_valid = i_busy_reg && a_done && place_reg;
    assign c_addr  = t_mean ? t_at : a_addr;
    assign c_beats = i_table_reg ? rt_beats : x_beats;
    assign g_valid = whole || (some && !more);
    assign g_num   = c_num_reg;
    assign g_n     = whole ? tokens : r_place;
    assign waiting = t_valid || !level || whole || some;

    always @* begin
        i_busy_next  = i_busy_reg;
        i_table_next = i_table_reg;
        i_num_next   = i_num_reg;
        i_tok_next   = i_tok_reg;
        held_next    = held_reg;
        r_num_next   = r_num_reg;
        r_tok_next   = r_tok_reg;
        r_table_next = r_table_reg;
        r_beat_next  = r_beat_reg;
        c_num_next   = c_num_reg;

        if (command) begin
            i_busy_next  = 1'b0;
            i_table_next = cfg_rope_on && !i_table_reg && !t_mean;
        end else if (t_valid) begin
            i_busy_next = 1'b1;
        end
        if (asked) begin
            i_tok_next = i_tok_reg + 1'b1;
            if (i_tok_reg == last_tok[TOK_W-1:0]) begin
                i_tok_next = {TOK_W{1'b0}};
                i_num_next = i_num_reg + 2'd1;
                held_next[i_num_reg[0]] = 1'b1;
            end
        end

        if (d_valid) begin
            r_beat_next = r_beat_reg + 16'd1;
            if (r_end) begin
                r_beat_next  = 16'd0;
                r_table_next = cfg_rope_on && !r_table_reg && !r_mean;
            end
        end
        if (arrived) begin
            r_tok_next = r_tok_reg + 1'b1;
            if (r_tok_reg == last_tok[TOK_W-1:0]) begin
                r_tok_next = {TOK_W{1'b0}};
                r_num_next = r_num_reg + 2'd1;
            end
        end

        if (g_free) begin
            held_next[g_free_num[0]] = 1'b0;
        end
        if (take_reg) begin
            c_num_next = c_num_reg + 2'd1;
            if (!whole) begin
                // Nothing is under way, so both ends go on with the next group.
                i_num_next = i_num_reg + 2'd1;
                i_tok_next = {TOK_W{1'b0}};
                r_num_next = r_num_reg + 2'd1;
                r_tok_next = {TOK_W{1'b0}};
                held_next[c_num_reg[0]] = 1'b1;
            end
        end
    end

    always @(posedge clk) begin
        i_busy_reg  <= i_busy_next;
        i_table_reg <= i_table_next;
        i_num_reg   <= i_num_next;
        i_tok_reg   <= i_tok_next;
        held_reg    <= held_next;
        place_reg   <= !held_next[i_num_next[0]];
        r_num_reg   <= r_num_next;
        r_tok_reg   <= r_tok_next;
        r_table_reg <= r_table_next;
        r_beat_reg  <= r_beat_next;
        c_num_reg   <= c_num_next;
        more_reg    <= t_more;
        take_reg    <= g_take;
        if (command) begin
            mean_reg[{i_num_reg[0], i_tok_reg}] <= t_mean;
        end

        if (rst) begin
            i_busy_reg  <= 1'b0;
            i_table_reg <= 1'b0;
            i_num_reg   <= 2'd0;
            i_tok_reg   <= {TOK_W{1'b0}};
            held_reg    <= 2'b00;
            place_reg   <= 1'b1;
            r_num_reg   <= 2'd0;
            r_tok_reg   <= {TOK_W{1'b0}};
            r_table_reg <= 1'b0;
            r_beat_reg  <= 16'd0;
            c_num_reg   <= 2'd0;
            take_reg    <= 1'b0;
            mean_reg    <= {(2 << TOK_W){1'b0}};
        end
    end

    sofa_kvgen_address #(
        .KEY_W  (KEY_W),
        .ADDR_W (ADDR_W)
    ) address_inst (
        .clk    (clk),
        .rst    (rst),
        .start  (a_start),
        .key    (t_at[KEY_W-1:0]),
        .base   (i_table_reg ? cfg_rt_base : cfg_x_base),
        .stride (i_table_reg ? cfg_rt_stride : cfg_x_stride),
        .done   (a_done),
        .addr   (a_addr)
    );

    // -----------------------------------------------------------------------------------------
    // X rows: a memory for each column, or one for each half of its lanes
    // -----------------------------------------------------------------------------------------
    localparam PARTS = PLACES / KG_TOK;
    localparam RAM_W = PARTS == 2 ? XB_W : XB_W + 1;

    // The number of the group comes last: memories of half rows have one address bit less.
    wire [XB_W:0] wr_row = {r_beat_reg[XB_W-1:0], r_num_reg[0]};
    wire [XB_W:0] rd_row = {x_elem[ELEM_W-1:QE_W], x_num[0]};
    wire [3:0]    r_column = r_place & (COLUMNS[3:0] - 4'd1);
    // Second memory of the column: of the upper lanes' token, of the second half of a row.
    wire          r_upper = cfg_packed ? r_place >= COLUMNS[3:0] : wr_row[XB_W];
    reg [QE_W-1:0] x_sel_reg;
    reg            x_half_reg;

    genvar t, p;
    generate
        for (t = 0; t < KG_TOK; t = t + 1) begin : g_x
            localparam [31:0] T = t;
            wire [PARTS*16-1:0] elems;

            for (p = 0; p < PARTS; p = p + 1) begin : g_part
                localparam [0:0] UPPER = p;
                wire [8*BUS_BYTES-1:0] word;

                sofa_ram_1r1w #(
                    .WIDTH (8 * BUS_BYTES),
                    .DEPTH (1 << RAM_W)
                ) x_ram_inst (
                    .clk     (clk),
                    .wr_en   (d_valid && !r_table_reg && r_column == T[3:0]
                              && (PARTS == 1 || r_upper == UPPER)),
                    .wr_addr (wr_row[RAM_W-1:0]),
                    .wr_data (d_data),
                    .rd_en   (x_en && x_elem[QE_W-1:0] == {QE_W{1'b0}}),
                    .rd_addr (rd_row[RAM_W-1:0]),
                    .rd_data (word)
                );

                assign elems[p*16 +: 16] = word[x_sel_reg*16 +: 16];
            end

            if (PARTS == 1) begin : g_whole
                assign x_data[t*16 +: 16] = elems;
            end else begin : g_halves
                // Without packing all lanes get the element of the one row.
                assign x_data[t*32 +: 16] = !cfg_packed && x_half_reg ? elems[31:16] : elems[15:0];
                assign x_data[t*32 + 16 +: 16] =
                    cfg_packed || x_half_reg ? elems[31:16] : elems[15:0];
            end
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Table rows
    // -----------------------------------------------------------------------------------------
    localparam GT_W = PLACES == 1 ? 2 : 2 + TOK_W;

    reg  [BP_W-1:0]        rt_sel_reg;
    wire [8*BUS_BYTES-1:0] rt_word;
    wire [GT_W-1:0]        rt_wr_row;
    wire [GT_W-1:0]        rt_rd_row;

    generate
        if (PLACES == 1) begin : g_row
            wire unused_tok = rt_tok[0];
            assign rt_wr_row = r_num_reg;
            assign rt_rd_row = rt_num;
        end else begin : g_row
            assign rt_wr_row = {r_num_reg, r_tok_reg};
            assign rt_rd_row = {rt_num, rt_tok};
        end
    endgenerate

    sofa_ram_1r1w #(
        .WIDTH (8 * BUS_BYTES),
        .DEPTH (1 << (GT_W + RB_W))
    ) rt_ram_inst (
        .clk     (clk),
        .wr_en   (d_valid && r_table_reg),
        .wr_addr ({rt_wr_row, r_beat_reg[RB_W-1:0]}),
        .wr_data (d_data),
        .rd_en   (rt_en),
        .rd_addr ({rt_rd_row, rt_pair[PAIR_W-1:BP_W]}),
        .rd_data (rt_word)
    );

    assign rt_data = rt_word[rt_sel_reg*32 +: 32];

    always @(posedge clk) begin
        if (x_en) begin
            x_sel_reg  <= x_elem[QE_W-1:0];
            x_half_reg <= x_elem[ELEM_W-1];
        end
        if (rt_en) begin
            rt_sel_reg <= rt_pair[BP_W-1:0];
        end
    end

    wire unused = &{1'b0, g_free_num, x_num, last_tok, wr_row, rd_row, r_upper,
                    x_half_reg};

endmodule

`resetall
