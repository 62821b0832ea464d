// SPDX-License-Identifier: Apache-2.0
// Weight codes of a predict job: beats of memory to words of one code per row, as the array wants
// them.
//
// Why: in DLZS phase 1.1 the row operand is a weight that memory already holds as a power of two,
// 4 bits a code; a word of ROWS codes is a part of a beat, a beat, or several beats. No code is
// stored on the chip: each is used once a group of columns.
// A code {sign, e[2:0]} becomes {sign, exp[3:0]} with exp = e + cfg_kp_exp, and 0 where e = 0.
// Not done here: requests; the stream brings the beats in the order of use. Nothing of a beat is
// ever dropped: a chunk has H words, a multiple of 8, and a beat holds at most 4.
// Latency: a word is offered one cycle after its last beat. Throughput: a word a cycle, or a beat a
// cycle where a word is longer; s_ready depends on m_ready within the cycle, not on s_valid.
// Source: SOFA, MICRO 2024, DLZS phase 1.1; docs/architecture.md 10.1 and 10.2.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_wcodes #(
    // Rows, a power of two, BUS_BYTES/2..128.
    parameter ROWS = 4,
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 8,
    // 1: codes of the array have a `next` bit, here always 0.
    parameter TWO_TERM = 0,
    // Bits of a code. Derived: leave at its default.
    parameter CODE_W = 5 + TWO_TERM
) (
    input  wire                   clk,
    input  wire                   rst,

    // Added to every exponent but that of zero, 0..8
    input  wire [3:0]             cfg_kp_exp,

    // Beats: the code of row r at bits 4r+3..4r of a word, the first word in the low bits
    input  wire                   s_valid,
    output wire                   s_ready,
    input  wire [8*BUS_BYTES-1:0] s_data,

    // One word
    output wire                   m_valid,
    input  wire                   m_ready,
    output wire [ROWS*CODE_W-1:0] m_code
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))
                || CODE_W != 5 + TWO_TERM) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_dlzs_wcodes_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam BEAT_W = 8 * BUS_BYTES;
    localparam WORD_W = 4 * ROWS;

    wire [WORD_W-1:0] word;

    generate
        if (WORD_W <= BEAT_W) begin : g_unpack
            // Words of a beat: 1, 2 or 4.
            localparam WORDS = BEAT_W / WORD_W;
            localparam [31:0] LAST_INDEX = WORDS - 1;

            reg [BEAT_W-1:0] beat_reg;
            reg              valid_reg, valid_next;
            reg [1:0]        index_reg, index_next;

            wire take = valid_reg && m_ready;
            wire finish = take && index_reg == LAST_INDEX[1:0];
            wire load = s_valid && s_ready;

            assign s_ready = !valid_reg || finish;
            assign m_valid = valid_reg;

            if (WORDS == 1) begin : g_word
                assign word = beat_reg;
            end else begin : g_word
                assign word = beat_reg[index_reg*WORD_W +: WORD_W];
            end

            always @* begin
                valid_next = valid_reg;
                index_next = index_reg;
                if (finish) begin
                    valid_next = 1'b0;
                    index_next = 2'd0;
                end else if (take) begin
                    index_next = index_reg + 2'd1;
                end
                if (load) begin
                    valid_next = 1'b1;
                end
            end

            always @(posedge clk) begin
                valid_reg <= valid_next;
                index_reg <= index_next;
                if (load) begin
                    beat_reg <= s_data;
                end

                if (rst) begin
                    valid_reg <= 1'b0;
                    index_reg <= 2'd0;
                end
            end
        end else begin : g_join
            // Beats of a word: 2, 4 or 8.
            localparam BEATS = WORD_W / BEAT_W;
            localparam [31:0] FULL = BEATS;

            reg [WORD_W-1:0] word_reg;
            // Beats in word_reg; the word is offered when it is complete.
            reg [3:0]        count_reg, count_next;

            wire take = m_valid && m_ready;
            wire load = s_valid && s_ready;

            assign m_valid = count_reg == FULL[3:0];
            assign s_ready = !m_valid || take;
            assign word    = word_reg;

            always @* begin
                count_next = take ? 4'd0 : count_reg;
                if (load) begin
                    count_next = count_next + 4'd1;
                end
            end

            always @(posedge clk) begin
                count_reg <= count_next;
                if (load) begin
                    // The first beat arrives at the low end after all others have come.
                    word_reg <= {s_data, word_reg[WORD_W-1:BEAT_W]};
                end

                if (rst) begin
                    count_reg <= 4'd0;
                end
            end
        end
    endgenerate

    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_code
            wire [3:0] from = word[r*4 +: 4];
            wire       nonzero = |from[2:0];
            wire [3:0] exp = ({1'b0, from[2:0]} + cfg_kp_exp) & {4{nonzero}};
            wire [4:0] base = {from[3] && nonzero, exp};
            if (TWO_TERM == 0) begin : g_one
                assign m_code[r*CODE_W +: CODE_W] = base;
            end else begin : g_two
                assign m_code[r*CODE_W +: CODE_W] = {1'b0, base};
            end
        end
    endgenerate

endmodule

`resetall
