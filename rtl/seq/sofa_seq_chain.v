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

endmodule

`resetall
