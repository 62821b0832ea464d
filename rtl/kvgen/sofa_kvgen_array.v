// SPDX-License-Identifier: Apache-2.0
// Projection array: ROWS lanes x KG_TOK columns of multipliers, with the weight memory.
//
//   weight memory ->[ ]-> ROWS weights --+
//   X rows --------->[ ]-> PLACES numbers-+-> products ->[ ]-> sums ->[ ]-> copy -> s_sums
//
// Why: output stationary. A cycle broadcasts one weight word to all tokens and one element of each
// token to the lanes of its column, so a weight is read once for a group of tokens. A pass of H
// cycles gives ROWS outputs; a group of KG_TOK tokens takes P = ceil(2d/ROWS) passes. In a packed
// job the upper half of the lanes has the same weights as the lower one and serves another token:
// places t and KG_TOK + t of a group share column t. The sums are copied when a pass
// ends, so passes and groups follow each other without a gap. While the copy is still in use at the
// end of the next pass, the array freezes as it stands; nothing is lost.
// Not done here: the rows of X (kvgen_load), what becomes of the sums (sofa_kvgen_drain).
// Latency: g_take to s_valid of the first pass H + 5 cycles. Throughput: one weight word a cycle.
// Source: docs/architecture.md 10.7, 10.8.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_array #(
    // Lanes, a power of two, 4..128.
    parameter ROWS = 16,
    // Columns, 1, 2 or 4.
    parameter KG_TOK = 2,
    // Largest model dimension, a power of two, 64..4096.
    parameter H_MAX = 1024,
    // Words of the weight memory, 64..65536.
    parameter WGT_WORDS = 4608,
    // Derived: leave at their defaults. PLACES: tokens of a group at most.
    parameter PLACES = ROWS >= 32 ? 2 * KG_TOK : KG_TOK,
    parameter WGT_W = $clog2(WGT_WORDS),
    parameter ELEM_W = $clog2(H_MAX),
    parameter ACC_W = 32 + $clog2(H_MAX)
) (
    input  wire                         clk,
    input  wire                         rst,

    input  wire [8:0]                   cfg_d,
    input  wire [12:0]                  cfg_h,
    // Two tokens share a column; only where PLACES = 2*KG_TOK
    input  wire                         cfg_packed,

    // Weights: word pass*H + h; not while a group is worked on
    input  wire                         w_wr_valid,
    input  wire [WGT_W-1:0]             w_wr_addr,
    input  wire [ROWS*16-1:0]           w_wr_data,

    // Group of g_n tokens, 1..KG_TOK, packed 1..PLACES; its number counts modulo 4
    input  wire                         g_valid,
    output wire                         g_take,
    input  wire [1:0]                   g_num,
    input  wire [3:0]                   g_n,
    // The rows of group g_free_num have been read
    output wire                         g_free,
    output wire [1:0]                   g_free_num,

    // Element x_elem of the group for all columns, {upper, lower lanes} each where there are packed
    // jobs, a cycle later; held while x_en is low
    output wire                         x_en,
    output wire [1:0]                   x_num,
    output wire [ELEM_W-1:0]            x_elem,
    input  wire [PLACES*16-1:0]         x_data,

    // Sums of a pass: lane l of column t at (t*ROWS + l)*ACC_W. s_done: last cycle in which they
    // are looked at. s_last: last pass of its group
    output wire                         s_valid,
    input  wire                         s_done,
    output wire [1:0]                   s_num,
    output wire [3:0]                   s_n,
    output wire                         s_last,
    output wire [KG_TOK*ROWS*ACC_W-1:0] s_sums,

    // No row is being read; an element was multiplied; the array is frozen
    output wire                         rest,
    output wire                         ev_busy,
    output wire                         ev_stall
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || KG_TOK < 1 || KG_TOK > 4
                || KG_TOK == 3 || H_MAX < 64 || H_MAX > 4096 || H_MAX != (1 << $clog2(H_MAX))
                || WGT_WORDS < 64 || WGT_WORDS > 65536) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_array_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam [31:0] ROWS_I = ROWS;
    // Parts of the lanes, with an operand of their own.
    localparam PARTS = PLACES / KG_TOK;
    localparam PART_ROWS = ROWS / PARTS;
    // Lanes of a part that have the first of two copies of the digits
    localparam NEAR_ROWS = PART_ROWS >= 32 ? PART_ROWS / 2 : PART_ROWS;

    // -----------------------------------------------------------------------------------------
    // Sequence: element by element, pass by pass, group by group
    // -----------------------------------------------------------------------------------------
    reg              active_reg, active_next;
    reg [1:0]        num_reg, num_next;
    reg [3:0]        n_reg, n_next;
    reg [ELEM_W-1:0] elem_reg, elem_next;
    // First output of the pass after this one.
    reg [10:0]       out_reg, out_next;
    reg [WGT_W-1:0]  addr_reg, addr_next;

    // Pipeline behind the reads: 1 data of the memories, 2 operands, 3 products
    reg              valid1_reg, valid2_reg, valid3_reg;
    reg              first1_reg, first2_reg;
    reg              last1_reg, last2_reg, last3_reg;
    // {number, n, last pass}
    reg [6:0]        info1_reg, info2_reg, info3_reg, info4_reg, s_info_reg;
    // The sums of a pass are complete.
    reg              done_reg;
    reg              s_valid_reg, s_valid_next;

    wire             copy = done_reg && !s_valid_reg;
    wire             en = !done_reg || copy;
    wire             step = en && active_reg;
    wire [12:0]      elem_end = cfg_h - 13'd1;
    wire             elem_first = elem_reg == {ELEM_W{1'b0}};
    wire             elem_last = elem_reg == elem_end[ELEM_W-1:0];
    wire             pass_last = out_reg >= {1'b0, cfg_d, 1'b0};
    wire             finish = step && elem_last && pass_last;

    assign g_take     = g_valid && (!active_reg || finish);
    assign g_free     = finish;
    assign g_free_num = num_reg;
    assign x_en       = step;
    assign x_num      = num_reg;
    assign x_elem     = elem_reg;
    assign s_valid    = s_valid_reg;
    assign {s_num, s_n, s_last} = s_info_reg;
    assign rest       = !active_reg;
    assign ev_busy    = en && valid2_reg;
    assign ev_stall   = !en;

    always @* begin
        active_next  = active_reg;
        num_next     = num_reg;
        n_next       = n_reg;
        elem_next    = elem_reg;
        out_next     = out_reg;
        addr_next    = addr_reg;
        s_valid_next = (s_valid_reg && !s_done) || copy;

        if (step) begin
            elem_next = elem_reg + 1'b1;
            addr_next = addr_reg + 1'b1;
            if (elem_last) begin
                elem_next = {ELEM_W{1'b0}};
                out_next  = out_reg + ROWS_I[10:0];
            end
        end
        if (finish) begin
            active_next = 1'b0;
        end
        if (g_take) begin
            active_next = 1'b1;
            num_next    = g_num;
            n_next      = g_n;
            elem_next   = {ELEM_W{1'b0}};
            out_next    = ROWS_I[10:0];
            addr_next   = {WGT_W{1'b0}};
        end
    end

    // -----------------------------------------------------------------------------------------
    // Operands and multipliers
    // -----------------------------------------------------------------------------------------
    wire [ROWS*16-1:0]   w_data;
    reg  [ROWS*16-1:0]   w_reg;
    // Digits of the numbers.
    wire [PLACES*16-1:0] x_d, x_m;
    reg  [PLACES*16-1:0] x_d_reg, x_m_reg;
    wire [PLACES*16-1:0] x_d_far, x_m_far;
    // Minus the biases of a sum, cfg_h times that of sofa_mult_rows, 0x5555 << 16.
    reg  [ACC_W-1:16]    job_start_reg;
    wire [28:0]          biases = {16'd0, cfg_h} * 29'h5555;

    sofa_ram_1r1w #(
        .WIDTH (ROWS * 16),
        .DEPTH (WGT_WORDS)
    ) w_ram_inst (
        .clk     (clk),
        .wr_en   (w_wr_valid),
        .wr_addr (w_wr_addr),
        .wr_data (w_wr_data),
        .rd_en   (step),
        .rd_addr (addr_reg),
        .rd_data (w_data)
    );

    genvar t, p, l;
    generate
        for (p = 0; p < PLACES; p = p + 1) begin : g_digits
            sofa_mult_digits #(
                .B_W (16)
            ) digits_inst (
                .b (x_data[p*16 +: 16]),
                .d (x_d[p*16 +: 16]),
                .m (x_m[p*16 +: 16])
            );
        end
        if (NEAR_ROWS < PART_ROWS) begin : g_far
            // Half of the load. It moves without valid numbers, too: what it holds then is not
            // used, and synthesis does not make one register of the two.
            reg [PLACES*16-1:0] x_d_far_reg, x_m_far_reg;
            assign x_d_far = x_d_far_reg;
            assign x_m_far = x_m_far_reg;
            always @(posedge clk) begin
                if (en) begin
                    x_d_far_reg <= x_d;
                    x_m_far_reg <= x_m;
                end
            end
        end else begin : g_far
            assign x_d_far = x_d_reg;
            assign x_m_far = x_m_reg;
        end
        for (t = 0; t < KG_TOK; t = t + 1) begin : g_tok
            localparam [31:0] T = t;

            for (p = 0; p < PARTS; p = p + 1) begin : g_part
                localparam [31:0] SHARED = p * KG_TOK + t;
                wire [3:0] place = cfg_packed ? SHARED[3:0] : T[3:0];
                // Places without a token rest.
                wire mul_en = en && valid2_reg && info2_reg[4:1] > place;
                wire acc_en = en && valid3_reg && info3_reg[4:1] > place;
                wire copy_en = copy && info4_reg[4:1] > place;

                for (l = p * PART_ROWS; l < (p + 1) * PART_ROWS; l = l + 1) begin : g_lane
                    localparam NEAR = l < p * PART_ROWS + NEAR_ROWS;
                    // unreached line: a lane has one of the two
                    wire [15:0] d = NEAR ? x_d_reg[(t*PARTS + p)*16 +: 16]
                                         : x_d_far[(t*PARTS + p)*16 +: 16];
                    // unreached line: a lane has one of the two
                    wire [15:0] m = NEAR ? x_m_reg[(t*PARTS + p)*16 +: 16]
                                         : x_m_far[(t*PARTS + p)*16 +: 16];
                    sofa_kvgen_mac #(
                        .ACC_W (ACC_W)
                    ) mac_inst (
                        .clk       (clk),
                        .w         (w_reg[l*16 +: 16]),
                        .x_d       (d),
                        .x_m       (m),
                        .job_start (job_start_reg),
                        .mul_en    (mul_en),
                        .mul_first (first2_reg),
                        .acc_en    (acc_en),
                        .copy_en   (copy_en),
                        .sum       (s_sums[(t*ROWS + l)*ACC_W +: ACC_W])
                    );
                end
            end
        end
    endgenerate

    always @(posedge clk) begin
        job_start_reg <= {(ACC_W - 16){1'b0}} - biases[ACC_W-17:0];
        active_reg  <= active_next;
        num_reg     <= num_next;
        n_reg       <= n_next;
        elem_reg    <= elem_next;
        out_reg     <= out_next;
        addr_reg    <= addr_next;
        s_valid_reg <= s_valid_next;

        if (en) begin
            valid1_reg <= active_reg;
            first1_reg <= elem_first;
            last1_reg  <= elem_last;
            info1_reg  <= {num_reg, n_reg, pass_last};
            valid2_reg <= valid1_reg;
            first2_reg <= first1_reg;
            last2_reg  <= last1_reg;
            info2_reg  <= info1_reg;
            valid3_reg <= valid2_reg;
            last3_reg  <= last2_reg;
            info3_reg  <= info2_reg;
            done_reg   <= valid3_reg && last3_reg;
            info4_reg  <= info3_reg;
            if (valid1_reg) begin
                w_reg   <= w_data;
                x_d_reg <= x_d;
                x_m_reg <= x_m;
            end
        end
        if (copy) begin
            s_info_reg <= info4_reg;
        end

        if (rst) begin
            active_reg  <= 1'b0;
            valid1_reg  <= 1'b0;
            valid2_reg  <= 1'b0;
            valid3_reg  <= 1'b0;
            done_reg    <= 1'b0;
            s_valid_reg <= 1'b0;
        end
    end

    wire unused = &{1'b0, elem_end, biases};

endmodule

`resetall
