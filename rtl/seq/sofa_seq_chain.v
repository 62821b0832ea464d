// SPDX-License-Identifier: Apache-2.0
// sofa_seq_chain: reads a descriptor, the image of the 64 job registers, from memory into the
// registers.
//
// Does not look at the values: the check of the job follows (seq_check). A read error is reported
// by the bus master, not here; the reset that follows it stops the loader wherever it is.
//
// Takes the latency of the memory + 64 cycles + one a beat.
//
// Source: our decision (docs/architecture.md section 10.5).

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_seq_chain #(
    // Data bus bytes, power of two 8..64
    parameter BUS_BYTES = 64
) (
    input  wire         clk,
    input  wire         rst,

    // Control: start is a pulse with the address valid; done is a pulse after the last word has
    // been written
    input  wire         start,
    input  wire [47:0]  addr,
    output wire         done,

    // Stream of the fetch stage: command, then the beats
    output wire         d_c_valid,
    input  wire         d_c_ready,
    output wire [47:0]  d_c_addr,
    output wire [15:0]  d_c_beats,
    input  wire         d_d_valid,
    output wire         d_d_ready,
    input  wire [BUS_BYTES*8-1:0] d_d_data,

    // Write port of the job registers
    output wire         d_wr_valid,
    output wire [5:0]   d_wr_word,
    output wire [31:0]  d_wr_data
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES)))
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_chain_needs_BUS_BYTES_power_of_two_8_to_64 stop ();
        end
    endgenerate

    localparam BYTES = 256;
    localparam BEATS = BYTES / BUS_BYTES;
    localparam WORDS = BUS_BYTES / 4;

    // waits for start
    localparam S_IDLE    = 2'd0;
    // offers the read command
    localparam S_COMMAND = 2'd1;
    // takes beats and writes their words
    localparam S_WORDS   = 2'd2;
    // the last word is in its register
    localparam S_DONE    = 2'd3;

    reg [1:0]  state_reg, state_next;
    reg [47:0] addr_reg, addr_next;
    reg [5:0]  word_reg, word_next;
    // words of the beat that are still to be written, next one lowest
    reg [4:0]  left_reg, left_next;
    reg [BUS_BYTES*8-1:0] data_reg, data_next;
    // left_reg is not 0: the way to the job registers is long
    reg        wr_valid_reg;

    assign done = state_reg == S_DONE;
    assign d_c_valid = state_reg == S_COMMAND;
    assign d_c_addr = addr_reg;
    assign d_c_beats = BEATS[15:0];
    assign d_d_ready = state_reg == S_WORDS && left_reg == 5'd0;
    assign d_wr_valid = wr_valid_reg;
    assign d_wr_word = word_reg;
    assign d_wr_data = data_reg[31:0];

    always @* begin
        state_next = state_reg;
        addr_next = addr_reg;
        word_next = word_reg;
        left_next = left_reg;
        data_next = data_reg;

        if (d_wr_valid) begin
            word_next = word_reg + 6'd1;
            left_next = left_reg - 5'd1;
            data_next = data_reg >> 32;
        end

        case (state_reg)
            S_IDLE: begin
                addr_next = addr;
                word_next = 6'd0;
                if (start) begin
                    state_next = S_COMMAND;
                end
            end
            S_COMMAND: begin
                if (d_c_ready) begin
                    state_next = S_WORDS;
                end
            end
            S_WORDS: begin
                if (d_d_valid && d_d_ready) begin
                    left_next = WORDS[4:0];
                    data_next = d_d_data;
                end
                if (d_wr_valid && word_reg == 6'd63) begin
                    state_next = S_DONE;
                end
            end
            default: begin  // S_DONE
                state_next = S_IDLE;
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        addr_reg <= addr_next;
        word_reg <= word_next;
        left_reg <= left_next;
        wr_valid_reg <= left_next != 5'd0;
        data_reg <= data_next;

        if (rst) begin
            state_reg <= S_IDLE;
            left_reg <= 5'd0;
            wr_valid_reg <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // Cycles in which memory was asked and did nothing; cycles since the start. An arbitrary word
    // of the descriptor
    reg  [1:0]  f_slow = 2'd0;
    reg  [9:0]  f_spent = 10'd0;
    (* anyconst *) wire [5:0] f_word;
    reg  [31:0] f_value;
    reg  [6:0]  f_beats = 7'd0;
    wire        f_take = d_d_valid && d_d_ready;
    wire        f_asks = (d_c_valid && !d_c_ready) || (d_d_ready && !d_d_valid);
    // Words that are not written yet, beats that have not come
    wire [6:0]  f_words = 7'd64 - word_reg;
    wire [6:0]  f_upto = {1'b0, word_reg} + left_reg;
    wire [6:0]  f_due = BEATS[6:0] - f_beats;
    // Cycles that it may still take, when each beat takes 4
    wire [9:0]  f_left = state_reg == S_COMMAND ? 10'd70 + 4 * BEATS[6:0]
                       : state_reg == S_WORDS ? 10'd2 + f_words + 4 * f_due
                       : state_reg == S_DONE ? 10'd1 : 10'd0;

    initial assume (rst);

    always @(posedge clk) begin
        started <= 1'b1;
        f_slow  <= rst || !f_asks ? 2'd0 : f_slow + 2'd1;
        f_spent <= rst || state_reg == S_IDLE ? 10'd0 : f_spent + 10'd1;
        if (rst || state_reg == S_IDLE) begin
            f_beats <= 7'd0;
        end else begin
            f_beats <= f_beats + f_take;
        end
        if (f_take && f_beats == f_word / WORDS) begin
            f_value <= d_d_data[(f_word % WORDS) * 32 +: 32];
        end
        // Memory takes and answers within 4 cycles; it gives a beat only when asked.
        assume (!(f_asks && f_slow == 2'd3));
        assume (!start || state_reg == S_IDLE);

        if (started) begin
            // 1. Every state is left: in time.
            assert (state_reg == S_IDLE || f_spent + f_left - f_slow <= 10'd78 + 4 * BEATS[6:0]);
            assert ((state_reg == S_IDLE) == (f_left == 0));
            // 2. Each word of the descriptor is written once, in order, as it came.
            if (d_wr_valid && d_wr_word == f_word) begin
                assert (d_wr_data == f_value);
            end
            assert (!$past(d_wr_valid && !rst) || state_reg == S_DONE
                    || word_reg == $past(word_reg) + 6'd1);
            assert ($past(d_wr_valid || state_reg == S_IDLE) || word_reg == $past(word_reg));
            // 3. It is done once all are.
            assert (!done || ($past(d_wr_valid) && $past(d_wr_word) == 6'd63));
            // 4. A command that is offered stays until it is taken.
            if ($past(d_c_valid && !d_c_ready && !rst)) begin
                assert (d_c_valid && d_c_addr == $past(d_c_addr));
            end
            // 5. Words of the beats that came are written or about to be.
            assert (d_wr_valid == (left_reg != 0));
            if (state_reg == S_WORDS) begin
                assert (f_upto == f_beats * WORDS && f_beats <= BEATS);
                assert (f_beats != BEATS || left_reg != 0);
                assert (f_word < word_reg || f_word >= f_upto
                        || data_reg[(f_word - word_reg) * 32 +: 32] == f_value);
            end else begin
                assert (left_reg == 0);
            end
            assert (state_reg != S_COMMAND || (word_reg == 0 && f_beats == 0));

            cover (done);
            cover (d_wr_valid && d_wr_word == f_word && f_word == 6'd17 && f_value == 32'h12345678);
        end
    end
`endif

endmodule

`resetall
