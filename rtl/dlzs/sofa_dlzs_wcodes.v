// SPDX-License-Identifier: Apache-2.0
// Weight codes of a predict job: beats of memory to words of one code per row, as the array wants
// them.
//
// Why: in DLZS phase 1.1 the row operand is a weight that memory already holds as a power of two,
// 4 bits a code; a word of ROWS codes is a part of a beat, a beat, or several beats. No code is
// stored on the chip: each is used once a group of columns.
// Before the words of a chunk comes its header: what belongs to the head of each 8 rows, in an
// entry of 32 bits {bias[15:0], 8 bits unused, shift[3:0], exp[3:0]}. Heads begin at multiples of 8
// rows, so that nobody has to divide by their size.
// A code {sign, e[2:0]} becomes {sign, exp[3:0]}: e + min(exp of its row, 8), and 0 where e = 0.
// Not done here: requests; the stream brings the beats in the order of use. Nothing of a beat of
// words is ever dropped: a chunk has H words, a multiple of 8, and a beat holds at most 4.
// Latency: a word is offered one cycle after its last beat. Throughput: a word a cycle, or a beat a
// cycle where a word is longer, and a cycle for each beat of a header; s_ready depends on m_ready
// and m_last within the cycle, not on s_valid.
// Errors: none; every entry means something.
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
    // Bits of a code, entries of a header. Derived: leave at their defaults.
    parameter CODE_W = 5 + TWO_TERM,
    parameter ENTRIES = ROWS < 8 ? 1 : ROWS / 8
) (
    input  wire                   clk,
    input  wire                   rst,

    // Beats of a chunk: its header, in a beat or more, entry i at bits 32i+31..32i; its words, the
    // code of row r at bits 4r+3..4r of a word, the first word in the low bits
    input  wire                   s_valid,
    output wire                   s_ready,
    input  wire [8*BUS_BYTES-1:0] s_data,

    // One word; m_last: it is the chunk's last. Of each entry {bias, shift}, from the chunk's first
    // word on until its last one is taken
    output wire                   m_valid,
    input  wire                   m_ready,
    input  wire                   m_last,
    output wire [ROWS*CODE_W-1:0] m_code,
    output wire [20*ENTRIES-1:0]  m_numbers
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))
                || CODE_W != 5 + TWO_TERM || ENTRIES != (ROWS < 8 ? 1 : ROWS / 8)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_dlzs_wcodes_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam BEAT_W = 8 * BUS_BYTES;
    localparam WORD_W = 4 * ROWS;

    localparam HEAD_W = 32 * ENTRIES;
    localparam HEAD_BEATS = HEAD_W > BEAT_W ? HEAD_W / BEAT_W : 1;
    localparam [31:0] HEAD_ALL = HEAD_BEATS;

    // Beats of the header that have not come
    reg  [3:0]        due_reg;
    reg  [HEAD_W-1:0] head_reg;
    wire              over = m_valid && m_ready && m_last;
    wire [3:0]        due = over ? HEAD_ALL[3:0] : due_reg;
    wire              head = due != 4'd0;
    // A chunk's last word is the last of its beat, which makes room with or without this.
    wire              head_due = due_reg != 4'd0;

    always @(posedge clk) begin
        due_reg <= due - {3'd0, s_valid && head};

        if (rst) begin
            due_reg <= HEAD_ALL[3:0];
        end
    end

    generate
        if (HEAD_BEATS == 1) begin : g_head
            always @(posedge clk) begin
                if (s_valid && head) begin
                    head_reg <= s_data[HEAD_W-1:0];
                end
            end
        end else begin : g_heads
            always @(posedge clk) begin
                if (s_valid && head) begin
                    head_reg <= {s_data, head_reg[HEAD_W-1:BEAT_W]};
                end
            end
        end
    endgenerate

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
            wire load = s_valid && s_ready && !head;

            assign s_ready = head_due || !valid_reg || finish;
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
            wire load = s_valid && s_ready && !head;

            assign m_valid = count_reg == FULL[3:0];
            assign s_ready = head_due || !m_valid || take;
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
        for (r = 0; r < ENTRIES; r = r + 1) begin : g_entry
            wire unused = &{1'b0, head_reg[r*32+8 +: 8]};
            assign m_numbers[r*20 +: 20] = {head_reg[r*32+16 +: 16], head_reg[r*32+4 +: 4]};
        end

        for (r = 0; r < ROWS; r = r + 1) begin : g_code
            wire [3:0] from = word[r*4 +: 4];
            wire       nonzero = |from[2:0];
            wire [3:0] more = head_reg[r/8*32 +: 4];
            wire [3:0] exp = ({1'b0, from[2:0]} + (more[3] ? 4'd8 : more)) & {4{nonzero}};
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
