// SPDX-License-Identifier: Apache-2.0
// sofa_seq_codes: walks a predict job, groups of COLS tokens x chunks of output dimensions, and
// commands one run of weight codes a chunk, the header before them.
//
// Separate from seq_keys so that the codes of the next chunk are on their way while the last parts
// of the current one wait for a buffer: the FIFO of the stream is what holds it back.
//
// Commands leave at one a cycle while the fetch stage takes them.
//
// Source: our decision (docs/architecture.md section 10.1).

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_seq_codes #(
    // Query rows in parallel, power of two BUS_BYTES/2..128
    parameter ROWS = 128,
    // Keys predicted in parallel, power of two 4..64
    parameter COLS = 32,
    // Data bus bytes, power of two 8..64
    parameter BUS_BYTES = 64,
    // Bits of an address that may be set, 32..48; the check of the job has seen to that
    parameter ADDR_W = 40
) (
    input  wire         clk,
    input  wire         rst,

    // Control: start is a pulse; active until the last command has been taken
    input  wire         start,
    output wire         active,

    // Job, legal and stable while active; base and chunk stride of WC in bytes, number of chunks
    input  wire [16:0]  job_keys,
    input  wire [12:0]  job_h,
    input  wire [47:0]  job_base,
    input  wire [31:0]  job_hstride,
    input  wire [16:0]  chunks,

    // Stream command: address, beats
    output wire         w_c_valid,
    input  wire         w_c_ready,
    output wire [47:0]  w_c_addr,
    output wire [15:0]  w_c_beats
);

    generate
        if (ROWS < BUS_BYTES / 2 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || COLS < 4
                || COLS > 64
                || COLS != (1 << $clog2(COLS)) || BUS_BYTES < 8 || BUS_BYTES > 64
                || BUS_BYTES != (1 << $clog2(BUS_BYTES)) || ADDR_W < 32 || ADDR_W > 48)
        begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_codes_needs_ROWS_COLS_BUS_BYTES_ADDR_W_in_range stop ();
        end
    endgenerate

    localparam ROWS_W = $clog2(ROWS);
    localparam BUS_W = $clog2(BUS_BYTES);
    localparam [47:0] ADDR_MASK = {48{1'b1}} >> (48 - ADDR_W);
    localparam [31:0] HEADER = ROWS / 2 > BUS_BYTES ? ROWS / 2 / BUS_BYTES : 1;

    reg        active_reg, active_next;
    reg [16:0] token_reg, token_next;
    // chunks of the group from this one on
    reg [16:0] chunk_reg, chunk_next;
    reg [47:0] addr_reg, addr_next;

    wire [16:0] tokens = job_keys - token_reg;
    wire        chunk_last = chunk_reg == 17'd1;
    // a word of ROWS codes is ROWS/2 bytes, 8 words are 2 beats or more
    wire [19:0] bytes = {7'd0, job_h} << (ROWS_W - 1);
    wire [19:0] beats = (bytes >> BUS_W) + HEADER[19:0];

    assign active = active_reg;
    assign w_c_valid = active_reg;
    assign w_c_addr = addr_reg;
    assign w_c_beats = beats[15:0];

    always @* begin
        active_next = active_reg;
        token_next = token_reg;
        chunk_next = chunk_reg;
        addr_next = addr_reg;

        if (!active_reg) begin
            active_next = start;
            token_next = 17'd0;
            chunk_next = chunks;
            addr_next = job_base;
        end else if (w_c_ready) begin
            chunk_next = chunk_reg - 17'd1;
            addr_next = addr_reg + {16'd0, job_hstride};
            if (chunk_last) begin
                chunk_next = chunks;
                addr_next = job_base;
                token_next = token_reg + COLS[16:0];
                active_next = tokens > COLS[16:0];
            end
        end
    end

    always @(posedge clk) begin
        active_reg <= active_next;
        token_reg <= token_next;
        chunk_reg <= chunk_next;
        addr_reg <= addr_next & ADDR_MASK;

        if (rst) begin
            active_reg <= 1'b0;
        end
    end

    wire unused = &{1'b0, beats[19:16]};

endmodule

`resetall
