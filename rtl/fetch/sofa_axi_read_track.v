// SPDX-License-Identifier: Apache-2.0
// Book-keeping of the outstanding requests of one client of axi_read.
//
// Why: data of one AXI ID returns in order, so two pointers and a beat counter tell which
// request a beat belongs to.
// Not done here: storage of what is known of a request (axi_read keeps all clients' in one memory).
// Latency: outputs are registers; last is one comparison behind them.
// Throughput: one request and one beat every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_axi_read_track #(
    // Requests that can be outstanding, a power of two, 4..256.
    parameter OUTSTANDING = 128,
    // Bits of a pointer. Derived: leave at its default.
    parameter PTR_W = $clog2(OUTSTANDING)
) (
    input  wire             clk,
    input  wire             rst,

    // Beats of each request, static while any is outstanding
    input  wire [7:0]       beats,

    // A request starts; not while full
    input  wire             push,
    output wire             full,
    output wire [PTR_W-1:0] wr_ptr,

    // A beat of the oldest request arrives
    input  wire             beat_valid,
    output wire [PTR_W-1:0] rd_ptr,
    output wire [7:0]       beat,
    output wire             last
);

    generate
        if (OUTSTANDING < 4 || OUTSTANDING > 256 || OUTSTANDING != (1 << PTR_W)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_axi_read_track_needs_OUTSTANDING_power_of_two_4_to_256 stop ();
        end
    endgenerate

    localparam [31:0] LIMIT = OUTSTANDING;

    reg [PTR_W-1:0] wr_ptr_reg, wr_ptr_next;
    reg [PTR_W-1:0] rd_ptr_reg, rd_ptr_next;
    reg [PTR_W:0]   level_reg, level_next;
    reg [7:0]       beat_reg, beat_next;
    reg             full_reg;

    wire pop = beat_valid && last;

    assign full   = full_reg;
    assign wr_ptr = wr_ptr_reg;
    assign rd_ptr = rd_ptr_reg;
    assign beat   = beat_reg;
    assign last   = beat_reg == beats - 8'd1;

    always @* begin
        wr_ptr_next = wr_ptr_reg;
        rd_ptr_next = rd_ptr_reg;
        level_next  = level_reg;
        beat_next   = beat_reg;

        if (push) begin
            wr_ptr_next = wr_ptr_reg + 1'b1;
        end
        if (beat_valid) begin
            beat_next = last ? 8'd0 : beat_reg + 8'd1;
        end
        if (pop) begin
            rd_ptr_next = rd_ptr_reg + 1'b1;
        end
        if (push && !pop) begin
            level_next = level_reg + 1'b1;
        end else if (pop && !push) begin
            level_next = level_reg - 1'b1;
        end
    end

    always @(posedge clk) begin
        wr_ptr_reg <= wr_ptr_next;
        rd_ptr_reg <= rd_ptr_next;
        level_reg  <= level_next;
        beat_reg   <= beat_next;
        full_reg   <= level_next == LIMIT[PTR_W:0];

        if (rst) begin
            wr_ptr_reg <= {PTR_W{1'b0}};
            rd_ptr_reg <= {PTR_W{1'b0}};
            level_reg  <= {(PTR_W + 1){1'b0}};
            beat_reg   <= 8'd0;
            full_reg   <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;

    initial assume (rst);

    always @* begin
        // The user starts nothing while full, gets what was asked for, and changes the number of
        // beats only between.
        assume (!push || !full);
        assume (!beat_valid || level_reg != 0);
        assume (beats != 8'd0);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        if (started && $past(level_reg != 0 || push)) begin
            assume (beats == $past(beats));
        end

        if (started) begin
            // 1. No more requests are outstanding than there is room for, and full says so.
            assert (level_reg <= OUTSTANDING && full == (level_reg == OUTSTANDING));
            // 2. They lie from the oldest one to the one that is written next.
            assert (wr_ptr == rd_ptr + level_reg[PTR_W-1:0]);
            // 3. A beat's number is one of the request, and 0 when nothing is outstanding.
            assert (beat < beats || level_reg == 0);
            assert (level_reg != 0 || beat == 8'd0);
            // 4. Beats count up to the last one, with which the oldest request ends.
            if ($past(beat_valid && !rst)) begin
                assert (beat == ($past(last) ? 8'd0 : $past(beat) + 8'd1));
                assert (rd_ptr == $past(rd_ptr) + $past(last));
            end else begin
                assert ($past(rst) || (beat == $past(beat) && rd_ptr == $past(rd_ptr)));
            end

            cover (full && beats == 8'd2 && beat == 8'd1);
            cover (push && beat_valid && last && level_reg == 1);
            cover (rd_ptr == 0 && $past(rd_ptr) != 0 && !$past(rst));
        end
    end
`endif

endmodule

`resetall
