// SPDX-License-Identifier: Apache-2.0
// Reads runs of consecutive bus words into a FIFO, in the order of the commands.
//
// Why: weights, rows of tables and descriptors are used word after word, so their users want a
// stream, not a buffer: a command names address and length, and the words come out as if
// memory were a FIFO. Requests run ahead of the data by up to DEPTH words, across commands.
// Not done here: bursts (a request is one beat, so no run meets the 4 KiB rule and the bus is
// shared beat by beat), dropping of words which were asked for (other than by rst).
// A request is made only when its word has room in the FIFO, so data never waits.
// Latency: one cycle from the command to the first request, two from wr_valid to d_valid.
// Throughput: one request and one word every cycle, also across commands, if DEPTH is at least the
// memory's latency plus six.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_fetch_stream #(
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Bytes of a bus word, a power of two, 8..64.
    parameter BUS_BYTES = 64,
    // Words which are asked for or wait to be taken, a power of two, 4..256.
    parameter DEPTH = 128
) (
    input  wire                   clk,
    input  wire                   rst,

    // Command: c_beats (at least 1) words from c_addr, a multiple of BUS_BYTES
    input  wire                   c_valid,
    output wire                   c_ready,
    input  wire [ADDR_W-1:0]      c_addr,
    input  wire [15:0]            c_beats,

    // Requests for single beats
    output wire                   req_valid,
    input  wire                   req_ready,
    output wire [ADDR_W-1:0]      req_addr,

    // Their data, in order
    input  wire                   wr_valid,
    input  wire [8*BUS_BYTES-1:0] wr_data,

    // Stream
    output wire                   d_valid,
    input  wire                   d_ready,
    output wire [8*BUS_BYTES-1:0] d_data
);

    generate
        if (DEPTH < 4 || DEPTH > 256 || DEPTH != (1 << $clog2(DEPTH)) || ADDR_W < 32
                || ADDR_W > 48 || BUS_BYTES < 8 || BUS_BYTES > 64
                || BUS_BYTES != (1 << $clog2(BUS_BYTES))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_fetch_stream_needs_DEPTH_power_of_two_4_to_256 stop ();
        end
    endgenerate

    localparam PTR_W = $clog2(DEPTH);
    localparam [31:0] STEP = BUS_BYTES;
    localparam [31:0] WORDS = DEPTH;
    localparam [31:0] ONE_WORD = 1;
    localparam STEP_W = $clog2(BUS_BYTES);
    // Bits of the lower part of an address.
    localparam LOW_W = 20;

    // -----------------------------------------------------------------------------------------
    // Commands: the one at work, and the next one so that no cycle is lost between them
    // -----------------------------------------------------------------------------------------
    reg              cur_valid_reg, cur_valid_next;
    reg [ADDR_W-1:0] cur_addr_reg, cur_addr_next;
    reg [15:0]       cur_left_reg, cur_left_next;
    reg              wait_valid_reg, wait_valid_next;
    reg [ADDR_W-1:0] wait_addr_reg, wait_addr_next;
    reg [15:0]       wait_left_reg, wait_left_next;
    // Words neither asked for nor stored.
    reg [PTR_W:0]    room_reg, room_next;
    reg              some_room_reg;

    wire take = c_valid && c_ready;
    wire go   = req_valid && req_ready;
    wire pop  = d_valid && d_ready;
    wire free = !cur_valid_reg || (go && cur_left_reg == 16'd1);

    // The next address: both parts are counted up beside each other.
    wire [LOW_W-1:0]        low_more  = cur_addr_reg[LOW_W-1:0] + STEP[LOW_W-1:0];
    wire [ADDR_W-LOW_W-1:0] high_more = cur_addr_reg[ADDR_W-1:LOW_W] + 1'b1;
    wire                    low_full  = &cur_addr_reg[LOW_W-1:STEP_W];

    assign c_ready   = !wait_valid_reg;
    assign req_valid = cur_valid_reg && some_room_reg;
    assign req_addr  = cur_addr_reg;

    always @* begin
        cur_valid_next  = cur_valid_reg;
        cur_addr_next   = cur_addr_reg;
        cur_left_next   = cur_left_reg;
        wait_valid_next = wait_valid_reg;
        wait_addr_next  = wait_addr_reg;
        wait_left_next  = wait_left_reg;
        room_next       = room_reg;

        if (go) begin
            cur_addr_next = {low_full ? high_more : cur_addr_reg[ADDR_W-1:LOW_W], low_more};
            cur_left_next = cur_left_reg - 16'd1;
        end
        if (free) begin
            cur_valid_next  = wait_valid_reg || take;
            cur_addr_next   = wait_valid_reg ? wait_addr_reg : c_addr;
            cur_left_next   = wait_valid_reg ? wait_left_reg : c_beats;
            wait_valid_next = 1'b0;
        end else if (take) begin
            wait_valid_next = 1'b1;
            wait_addr_next  = c_addr;
            wait_left_next  = c_beats;
        end
        if (go && !pop) begin
            room_next = room_reg - 1'b1;
        end else if (pop && !go) begin
            room_next = room_reg + 1'b1;
        end
    end

    // -----------------------------------------------------------------------------------------
    // FIFO: the memory's output register holds the word which is offered
    // -----------------------------------------------------------------------------------------
    reg [PTR_W-1:0] wr_ptr_reg, wr_ptr_next;
    reg [PTR_W-1:0] rd_ptr_reg, rd_ptr_next;
    // Words in the memory which were not read.
    reg [PTR_W:0]   level_reg, level_next;
    reg             some_word_reg;
    reg             d_valid_reg, d_valid_next;

    wire rd_en = some_word_reg && (!d_valid_reg || d_ready);

    assign d_valid = d_valid_reg;

    sofa_ram_1r1w #(
        .WIDTH (8 * BUS_BYTES),
        .DEPTH (DEPTH)
    ) ram_inst (
        .clk     (clk),
        .wr_en   (wr_valid),
        .wr_addr (wr_ptr_reg),
        .wr_data (wr_data),
        .rd_en   (rd_en),
        .rd_addr (rd_ptr_reg),
        .rd_data (d_data)
    );

    always @* begin
        wr_ptr_next  = wr_ptr_reg;
        rd_ptr_next  = rd_ptr_reg;
        level_next   = level_reg;
        d_valid_next = rd_en || (d_valid_reg && !d_ready);

        if (wr_valid) begin
            wr_ptr_next = wr_ptr_reg + 1'b1;
        end
        if (rd_en) begin
            rd_ptr_next = rd_ptr_reg + 1'b1;
        end
        if (wr_valid && !rd_en) begin
            level_next = level_reg + 1'b1;
        end else if (rd_en && !wr_valid) begin
            level_next = level_reg - 1'b1;
        end
    end

    always @(posedge clk) begin
        cur_valid_reg  <= cur_valid_next;
        cur_addr_reg   <= cur_addr_next;
        cur_left_reg   <= cur_left_next;
        wait_valid_reg <= wait_valid_next;
        wait_addr_reg  <= wait_addr_next;
        wait_left_reg  <= wait_left_next;
        room_reg       <= room_next;
        some_room_reg  <= pop || (go ? room_reg != ONE_WORD[PTR_W:0] : some_room_reg);
        wr_ptr_reg     <= wr_ptr_next;
        rd_ptr_reg     <= rd_ptr_next;
        level_reg      <= level_next;
        some_word_reg  <= wr_valid || (rd_en ? level_reg != ONE_WORD[PTR_W:0] : some_word_reg);
        d_valid_reg    <= d_valid_next;

        if (rst) begin
            cur_valid_reg  <= 1'b0;
            wait_valid_reg <= 1'b0;
            room_reg       <= WORDS[PTR_W:0];
            some_room_reg  <= 1'b1;
            wr_ptr_reg     <= {PTR_W{1'b0}};
            rd_ptr_reg     <= {PTR_W{1'b0}};
            level_reg      <= {(PTR_W + 1){1'b0}};
            some_word_reg  <= 1'b0;
            d_valid_reg    <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // Words that were asked for and have not come
    reg [PTR_W:0] f_asked = 0;

    initial assume (rst);

    always @* begin
        // Only what was asked for comes; commands have words.
        assume (!wr_valid || f_asked != 0);
        assume (!c_valid || c_beats != 0);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        f_asked <= rst ? 0 : f_asked + go - wr_valid;

        if (started) begin
            // 1. Each word has one place from the request until it is taken: room, asked for,
            //    stored, offered. So nothing comes that has none.
            assert (room_reg + f_asked + level_reg + d_valid == WORDS);
            assert (some_room_reg == (room_reg != 0) && some_word_reg == (level_reg != 0));
            // 2. Words are stored one after the other and read in that order.
            assert (wr_ptr_reg == rd_ptr_reg + level_reg[PTR_W-1:0]);
            assert (!$past(wr_valid && !rst) || wr_ptr_reg == $past(wr_ptr_reg) + 1'b1);
            assert (!$past(rd_en && !rst) || rd_ptr_reg == $past(rd_ptr_reg) + 1'b1);
            // 3. An offered request, and an offered word, stay until they are taken.
            if ($past(req_valid && !req_ready && !rst)) begin
                assert (req_valid && req_addr == $past(req_addr));
            end
            if ($past(d_valid && !d_ready && !rst)) begin
                assert (d_valid && !$past(rd_en));
            end
            // 4. A command asks for its words from its address on, one after the other.
            if ($past(go && cur_left_reg != 1 && !rst)) begin
                assert (cur_valid_reg && cur_addr_reg == $past(cur_addr_reg) + STEP
                        && cur_left_reg == $past(cur_left_reg) - 1'b1);
            end
            assert (!cur_valid_reg || cur_left_reg != 0);
            // 5. The next command begins with the last request of the one before, or at once.
            if ($past(take && free && !wait_valid_reg && !rst)) begin
                assert (cur_valid_reg && cur_addr_reg == $past(c_addr)
                        && cur_left_reg == $past(c_beats));
            end
            if ($past(wait_valid_reg && !rst)) begin
                assert ($past(free) ? cur_valid_reg && cur_addr_reg == $past(wait_addr_reg)
                                      && cur_left_reg == $past(wait_left_reg)
                                    : wait_valid_reg && wait_addr_reg == $past(wait_addr_reg)
                                      && wait_left_reg == $past(wait_left_reg));
            end
            assert (!wait_valid_reg || (cur_valid_reg && wait_left_reg != 0));
            // 6. A word a cycle passes: one is offered as soon as one is stored.
            assert (!$past(some_word_reg && !rst) || d_valid);

            cover (room_reg == 0 && level_reg == WORDS - 1 && d_valid);
            cover (go && cur_left_reg == 1 && wait_valid_reg);
            cover (wr_valid && rd_en && pop && go);
        end
    end
`endif

endmodule

`resetall
