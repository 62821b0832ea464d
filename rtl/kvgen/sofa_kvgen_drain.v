// SPDX-License-Identifier: Apache-2.0
// Turns the sums of a pass into pairs of 16-bit numbers: rounding, then rotation of K.
//
//   s_sums -> choose a pair ->[ ]-> half ->[ ]-> shift, saturate ->[ ]-> rope (3) -> m_*
//                               \-> table row of the token ->[ ]------/
//
// Why: outputs are pair-ordered, so the two lanes of a pair are the two numbers that RoPE turns
// together, and one rounding unit for two lanes serves the whole array: it has H cycles for a
// pass. Tokens are drained one after the other; only lanes with an output cost a cycle. Places from
// KG_TOK on, which only packed jobs have, are in the upper half of the lanes of a column.
// Not done here: natural order and beats (sofa_kvgen_order). The pairs cannot be refused: a group
// starts only when sofa_kvgen_order has room for it (m_room).
// Latency: six cycles from a pair's turn to m_valid. Throughput: one pair a cycle.
// Source: docs/architecture.md 10.1, 10.2.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_drain #(
    // Lanes, a power of two, 4..128.
    parameter ROWS = 16,
    // Columns of the array, 1, 2 or 4.
    parameter KG_TOK = 2,
    // Largest head dimension, a power of two, 16..256.
    parameter D_MAX = 64,
    // Bits of a sum, 33..45.
    parameter ACC_W = 42,
    // Derived: leave at their defaults. PLACES: tokens of a group at most.
    parameter PLACES = ROWS >= 32 ? 2 * KG_TOK : KG_TOK,
    parameter PAIR_W = $clog2(D_MAX) - 1,
    parameter TOK_W = PLACES == 1 ? 1 : $clog2(PLACES)
) (
    input  wire                         clk,
    input  wire                         rst,

    input  wire [8:0]                   cfg_d,
    input  wire                         cfg_rope_on,
    input  wire [5:0]                   cfg_shift_k,
    input  wire [5:0]                   cfg_shift_v,

    // Sums of a pass (sofa_kvgen_array)
    input  wire                         s_valid,
    output wire                         s_done,
    input  wire [1:0]                   s_num,
    input  wire [3:0]                   s_n,
    input  wire                         s_last,
    input  wire [KG_TOK*ROWS*ACC_W-1:0] s_sums,

    // {s, c} of a pair of a token, a cycle later (kvgen_load)
    output wire                         rt_en,
    output wire [1:0]                   rt_num,
    output wire [TOK_W-1:0]             rt_tok,
    output wire [PAIR_W-1:0]            rt_pair,
    input  wire [31:0]                  rt_data,

    // There is room for a group; a group begins
    input  wire                         m_room,
    output wire                         m_begin,
    // Pair m_pair {y1, y0} of K or V (m_v) of a token; m_last: of its vector; m_group_last: the
    // last one of the group
    output wire                         m_valid,
    output wire                         m_num,
    output wire [TOK_W-1:0]             m_tok,
    output wire                         m_v,
    output wire [PAIR_W-1:0]            m_pair,
    output wire                         m_last,
    output wire                         m_group_last,
    output wire [31:0]                  m_y
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || KG_TOK < 1 || KG_TOK > 4
                || KG_TOK == 3 || D_MAX < 16 || D_MAX > 256 || D_MAX != (1 << $clog2(D_MAX)))
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_drain_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam LP_W = $clog2(ROWS) - 1;
    localparam SEL_W = LP_W + (KG_TOK == 1 ? 1 : $clog2(KG_TOK));
    localparam INFO_W = 2 + TOK_W + 1 + PAIR_W + 2;

    // -----------------------------------------------------------------------------------------
    // Walk: tokens of the group, pairs of lanes
    // -----------------------------------------------------------------------------------------
    reg [TOK_W-1:0]  tok_reg, tok_next;
    reg [LP_W-1:0]   lanes_reg, lanes_next;
    // Pair of K or V at the lanes, and at the first lanes of the pass.
    reg              v_reg, v_next, v0_reg, v0_next;
    reg [PAIR_W-1:0] pair_reg, pair_next, pair0_reg, pair0_next;
    // A group is between its first and last pair.
    reg              within_reg, within_next;

    wire [7:0]        pairs = cfg_d[8:1] - 8'd1;
    wire              pair_last = pair_reg == pairs[PAIR_W-1:0];
    wire              begins = s_valid && !within_reg;
    wire              run = s_valid && (within_reg || m_room);
    // The rest of the lanes of a last pass has no outputs.
    wire              tok_end = lanes_reg == {LP_W{1'b1}} || (v_reg && pair_last);
    wire [3:0]        place = {{(4 - TOK_W){1'b0}}, tok_reg};
    wire              tok_last = place == s_n - 4'd1;
    wire [PAIR_W-1:0] pair_step = pair_last ? {PAIR_W{1'b0}} : pair_reg + 1'b1;
    wire              v_step = v_reg != pair_last;

    assign s_done  = run && tok_end && tok_last;
    assign m_begin = run && begins;

    always @* begin
        tok_next    = tok_reg;
        lanes_next  = lanes_reg;
        v_next      = v_reg;
        v0_next     = v0_reg;
        pair_next   = pair_reg;
        pair0_next  = pair0_reg;
        within_next = within_reg;

        if (run) begin
            lanes_next  = lanes_reg + 1'b1;
            v_next      = v_step;
            pair_next   = pair_step;
            within_next = 1'b1;
            if (tok_end) begin
                tok_next   = tok_reg + 1'b1;
                lanes_next = {LP_W{1'b0}};
                v_next     = v0_reg;
                pair_next  = pair0_reg;
            end
            if (s_done) begin
                tok_next    = {TOK_W{1'b0}};
                v_next      = s_last ? 1'b0 : v_step;
                pair_next   = s_last ? {PAIR_W{1'b0}} : pair_step;
                v0_next     = v_next;
                pair0_next  = pair_next;
                within_next = !s_last;
            end
        end
    end

    // -----------------------------------------------------------------------------------------
    // Pipeline
    // -----------------------------------------------------------------------------------------
    localparam [31:0] COLUMNS = KG_TOK;
    localparam CP_W = SEL_W - LP_W;
    // First pair of lanes of the upper half.
    localparam [31:0] HALF = ROWS / 4;

    wire [3:0]         column = place & (COLUMNS[3:0] - 4'd1);
    wire               upper = place >= COLUMNS[3:0];
    wire [LP_W-1:0]    pair_lanes = lanes_reg | (upper ? HALF[LP_W-1:0] : {LP_W{1'b0}});
    wire [SEL_W-1:0]   sel = {column[CP_W-1:0], pair_lanes};
    wire [2*ACC_W-1:0] chosen = s_sums[sel*(2*ACC_W) +: 2*ACC_W];

    // {number, token, v, pair, last, group last} of the pair in each stage.
    wire [INFO_W-1:0] info = {s_num, tok_reg, v_reg, pair_reg, pair_last,
                              v_reg && pair_last && tok_last};
    reg  [5:0]          valid_reg;
    reg  [INFO_W-1:0]   info1_reg, info2_reg, info3_reg, info4_reg, info5_reg, info6_reg;
    reg  [2*ACC_W-1:0]  acc_reg;
    reg  [31:0]         cs_reg;
    reg  [5:0]          shift_reg;
    wire [31:0]         y;
    wire                v1, v3;
    wire                unused_last1, unused_group1, unused_num6;

    assign {rt_num, rt_tok, v1, rt_pair, unused_last1, unused_group1} = info1_reg;
    assign rt_en = valid_reg[0] && !v1 && cfg_rope_on;
    assign v3 = info3_reg[PAIR_W + 2];
    assign m_valid = valid_reg[5];
    assign {unused_num6, m_num, m_tok, m_v, m_pair, m_last, m_group_last} = info6_reg;

    genvar i;
    generate
        for (i = 0; i < 2; i = i + 1) begin : g_round
            sofa_kvgen_requant #(
                .ACC_W (ACC_W)
            ) requant_inst (
                .clk   (clk),
                .acc   (acc_reg[i*ACC_W +: ACC_W]),
                .shift (shift_reg),
                .y     (y[i*16 +: 16])
            );
        end
    endgenerate

    sofa_rope #(
        .PAIRS (1)
    ) rope_inst (
        .clk      (clk),
        .en       (1'b1),
        .s_x      (y),
        .s_cs     (cs_reg),
        .s_bypass (v3 || !cfg_rope_on),
        .m_y      (m_y)
    );

    always @(posedge clk) begin
        tok_reg    <= tok_next;
        lanes_reg  <= lanes_next;
        v_reg      <= v_next;
        v0_reg     <= v0_next;
        pair_reg   <= pair_next;
        pair0_reg  <= pair0_next;
        within_reg <= within_next;

        valid_reg <= {valid_reg[4:0], run};
        info1_reg <= info;
        info2_reg <= info1_reg;
        info3_reg <= info2_reg;
        info4_reg <= info3_reg;
        info5_reg <= info4_reg;
        info6_reg <= info5_reg;
        if (run) begin
            acc_reg   <= chosen;
            shift_reg <= v_reg ? cfg_shift_v : cfg_shift_k;
        end
        cs_reg <= rt_data;

        if (rst) begin
            tok_reg    <= {TOK_W{1'b0}};
            lanes_reg  <= {LP_W{1'b0}};
            v_reg      <= 1'b0;
            v0_reg     <= 1'b0;
            pair_reg   <= {PAIR_W{1'b0}};
            pair0_reg  <= {PAIR_W{1'b0}};
            within_reg <= 1'b0;
            valid_reg  <= 6'd0;
        end
    end

    wire unused = &{1'b0, cfg_d[0], pairs, column};

endmodule

`resetall
