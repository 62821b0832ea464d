// SPDX-License-Identifier: Apache-2.0
// Output of SU-FA: beats of all units in row order, with addresses.
//
// Why: units flush their rows of a block side by side, each at its own pace; memory wants whole
// rows. A unit's beats wait in a small memory of its own, WORDS of them, for which the unit has
// credits from the start. Row r of a block is taken from unit r mod U: there its rows are in order.
// Addresses: row r of a block is row r / cfg_heads of head r mod cfg_heads, cfg_o_stride from row
// to row, cfg_o_hstride from head to head.
// Not done here: choosing the order of blocks, which is that of their ends.
// Latency: three cycles from a unit's beat to o_valid. Throughput: a beat a cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_merge #(
    // Elements of a beat, power of two, 4..32.
    parameter W = 8,
    // Units, power of two, 2..64.
    parameter U = 4,
    // Ends of blocks that can wait, 2..16.
    parameter ENDS = 4,
    // Beats of a unit that can wait, 2..255.
    parameter WORDS = 16,
    // Bits of a number of beats of a vector, 1..7.
    parameter C_W = 4
) (
    input  wire              clk,
    input  wire              rst,

    // Beats of a vector, 1 or more; bytes from row to row, from head to head; heads of a block, 1
    // or more; static
    input  wire [C_W-1:0]    cfg_c,
    input  wire [31:0]       cfg_o_stride,
    input  wire [31:0]       cfg_o_hstride,
    input  wire [7:0]        cfg_heads,

    // Blocks in their order: rows, 1..128, address of row 0
    input  wire              end_valid,
    output wire              end_ready,
    input  wire [7:0]        end_rows,
    input  wire [47:0]       end_addr,

    // Beats of the units; a unit may send one more
    input  wire [U-1:0]      u_valid,
    input  wire [U*W*16-1:0] u_data,
    output wire [U-1:0]      u_credit,

    // Rows of the blocks: first beat of a row with its address, last of the row, of the block
    output wire              o_valid,
    input  wire              o_ready,
    output wire [W*16-1:0]   o_data,
    output wire              o_first,
    output wire [47:0]       o_addr,
    output wire              o_last,
    output wire              o_block_last
);

    generate
        if (W < 4 || W > 32 || W != (1 << $clog2(W)) || U < 2 || U > 64 || U != (1 << $clog2(U))
                || ENDS < 2 || ENDS > 16 || WORDS < 2 || WORDS > 255 || C_W < 1
                || C_W > 7) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_merge_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam U_W = $clog2(U);
    localparam WORD_W = $clog2(WORDS);
    localparam LEVEL_W = $clog2(WORDS + 1);
    localparam [31:0] LAST_32 = WORDS - 1;
    localparam [C_W-1:0] ONE = 1;

    // -----------------------------------------------------------------------------------------
    // Blocks
    // -----------------------------------------------------------------------------------------
    wire        b_valid, b_pop;
    wire [7:0]  b_last;
    wire [47:0] b_addr;
    wire [$clog2(ENDS+1)-1:0] unused_ends;

    sofa_sync_fifo #(
        .WIDTH (56),
        .DEPTH (ENDS)
    ) ends_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (end_valid),
        .s_ready (end_ready),
        .s_data  ({end_rows - 8'd1, end_addr}),
        .m_valid (b_valid),
        .m_ready (b_pop),
        .m_data  ({b_last, b_addr}),
        .level   (unused_ends)
    );

    // -----------------------------------------------------------------------------------------
    // Next beat: row and beat in the block, address of the row
    // -----------------------------------------------------------------------------------------
    reg  [7:0]     row_reg;
    reg  [C_W-1:0] beat_reg;
    reg  [47:0]    addr_reg, token_reg;
    reg  [7:0]     head_reg;
    wire [U_W-1:0] unit = row_reg[U_W-1:0];
    wire [U-1:0]   some;
    wire           have_en;
    wire           go = b_valid && some[unit] && have_en;
    wire           first = beat_reg == {C_W{1'b0}};
    wire           last = beat_reg == cfg_c - ONE;
    wire           block_last = last && row_reg == b_last;
    wire [47:0]    addr = row_reg == 8'd0 ? b_addr : addr_reg;
    // The row of head 0
    wire [47:0]    token = row_reg == 8'd0 ? b_addr : token_reg;
    wire [47:0]    token_after = token + {16'd0, cfg_o_stride};
    wire           head_last = head_reg + 8'd1 == cfg_heads;

    assign b_pop = go && block_last;

    always @(posedge clk) begin
        if (go) begin
            beat_reg <= last ? {C_W{1'b0}} : beat_reg + ONE;
            if (last) begin
                row_reg  <= block_last ? 8'd0 : row_reg + 8'd1;
                if (head_last || block_last) begin
                    addr_reg  <= token_after;
                    token_reg <= token_after;
                    head_reg  <= 8'd0;
                end else begin
                    addr_reg  <= addr + {16'd0, cfg_o_hstride};
                    token_reg <= token;
                    head_reg  <= head_reg + 8'd1;
                end
            end
        end
        if (rst) begin
            row_reg  <= 8'd0;
            beat_reg <= {C_W{1'b0}};
            head_reg <= 8'd0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Beats of each unit
    // -----------------------------------------------------------------------------------------
    wire [U*W*16-1:0] rd_data;

    genvar i;
    generate
        for (i = 0; i < U; i = i + 1) begin : g_unit
            localparam [U_W-1:0] INDEX = i;
            reg  [WORD_W-1:0]  wr_reg, rd_reg;
            reg  [LEVEL_W-1:0] level_reg, level_next;
            reg                some_reg, credit_reg;
            wire               take = go && unit == INDEX;

            assign some[i]     = some_reg;
            assign u_credit[i] = credit_reg;

            always @* begin
                level_next = level_reg;
                if (u_valid[i] && !take) begin
                    level_next = level_reg + 1'b1;
                end else if (take && !u_valid[i]) begin
                    level_next = level_reg - 1'b1;
                end
            end

            always @(posedge clk) begin
                if (u_valid[i]) begin
                    wr_reg <= wr_reg == LAST_32[WORD_W-1:0] ? {WORD_W{1'b0}} : wr_reg + 1'b1;
                end
                if (take) begin
                    rd_reg <= rd_reg == LAST_32[WORD_W-1:0] ? {WORD_W{1'b0}} : rd_reg + 1'b1;
                end
                level_reg  <= level_next;
                some_reg   <= level_next != {LEVEL_W{1'b0}};
                credit_reg <= take;
                if (rst) begin
                    wr_reg     <= {WORD_W{1'b0}};
                    rd_reg     <= {WORD_W{1'b0}};
                    level_reg  <= {LEVEL_W{1'b0}};
                    some_reg   <= 1'b0;
                    credit_reg <= 1'b0;
                end
            end

            sofa_ram_1r1w #(
                .WIDTH  (W * 16),
                .DEPTH  (WORDS),
                .ADDR_W (WORD_W)
            ) ram_inst (
                .clk     (clk),
                .wr_en   (u_valid[i]),
                .wr_addr (wr_reg),
                .wr_data (u_data[i*W*16 +: W*16]),
                .rd_en   (take),
                .rd_addr (rd_reg),
                .rd_data (rd_data[i*W*16 +: W*16])
            );
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // A beat in the output register of a memory, then the output
    // -----------------------------------------------------------------------------------------
    reg              have_reg, have_first_reg, have_last_reg, have_block_reg;
    reg  [U_W-1:0]   have_unit_reg;
    reg  [47:0]      have_addr_reg;
    reg              o_valid_reg, o_first_reg, o_last_reg, o_block_reg;
    reg  [47:0]      o_addr_reg;
    reg  [W*16-1:0]  o_data_reg;
    wire             o_en = !o_valid_reg || o_ready;

    assign have_en      = !have_reg || o_en;
    assign o_valid      = o_valid_reg;
    assign o_data       = o_data_reg;
    assign o_first      = o_first_reg;
    assign o_addr       = o_addr_reg;
    assign o_last       = o_last_reg;
    assign o_block_last = o_block_reg;

    always @(posedge clk) begin
        if (have_en) begin
            have_reg <= go;
        end
        if (go) begin
            have_unit_reg  <= unit;
            have_first_reg <= first;
            have_last_reg  <= last;
            have_block_reg <= block_last;
            have_addr_reg  <= addr;
        end
        if (o_en) begin
            o_valid_reg <= have_reg;
        end
        if (o_en && have_reg) begin
            o_data_reg  <= rd_data[have_unit_reg*W*16 +: W*16];
            o_first_reg <= have_first_reg;
            o_last_reg  <= have_last_reg;
            o_block_reg <= have_block_reg;
            o_addr_reg  <= have_addr_reg;
        end
        if (rst) begin
            have_reg    <= 1'b0;
            o_valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
