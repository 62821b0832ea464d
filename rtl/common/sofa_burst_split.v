// SPDX-License-Identifier: Apache-2.0
// Turns requests for consecutive bus words into AXI4 bursts which do not cross 4 KiB.
//
// Why: the one place which knows AXI4's boundary rule; the read master puts it before AR, the
// write master before AW, and the output register is that channel's register.
// Not done here: requests which cross more than one boundary, merging of requests, counting of
// outstanding bursts (start tells the user of each one).
// Latency: one cycle. Throughput: one burst every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_burst_split #(
    // Address bits, 13..48.
    parameter ADDR_W = 40,
    // Bytes of a bus word, a power of two, 8..64.
    parameter BUS_BYTES = 64,
    // Bits carried along with a request, at least 1.
    parameter TAG_W = 2
) (
    input  wire              clk,
    input  wire              rst,

    // Start no new burst; one which is offered already stays
    input  wire              hold,

    // Request: s_beats bus words (1..4096/BUS_BYTES, at most 255) from s_addr, a multiple of
    // BUS_BYTES
    input  wire              s_valid,
    output wire              s_ready,
    input  wire [ADDR_W-1:0] s_addr,
    input  wire [7:0]        s_beats,
    input  wire [TAG_W-1:0]  s_tag,

    // Burst
    output wire              m_valid,
    input  wire              m_ready,
    output wire [ADDR_W-1:0] m_addr,
    output wire [7:0]        m_len,
    output wire [TAG_W-1:0]  m_tag,

    // In the cycle before a burst appears on m: its length, and whether it ends its request
    output wire              start,
    output wire [7:0]        start_len,
    output wire              start_end
);

    generate
        if (ADDR_W < 13 || ADDR_W > 48 || BUS_BYTES < 8 || BUS_BYTES > 64
                || BUS_BYTES != (1 << $clog2(BUS_BYTES)) || TAG_W < 1) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_burst_split_needs_ADDR_W_13_to_48_BUS_BYTES_8_to_64 stop ();
        end
    endgenerate

    localparam LANE_W = $clog2(BUS_BYTES);
    // Bits of a bus word's number within 4 KiB.
    localparam WORD_W = 12 - LANE_W;
    localparam [9:0] PAGE_MASK = (1 << WORD_W) - 1;

    reg              m_valid_reg, m_valid_next;
    reg [ADDR_W-1:0] m_addr_reg, m_addr_next;
    reg [7:0]        m_len_reg, m_len_next;
    reg [TAG_W-1:0]  m_tag_reg, m_tag_next;
    // The burst up to the boundary was started, the one behind it is next.
    reg              second_reg, second_next;

    // Words within 4 KiB: that of the address, the last one, which may be behind the boundary.
    wire [9:0] index   = {{(10 - WORD_W){1'b0}}, s_addr[11:LANE_W]};
    wire [7:0] more    = s_beats - 8'd1;
    wire [9:0] last    = index + {2'b00, more};
    wire       crosses = last[WORD_W];
    wire [9:0] first   = crosses ? ~index & PAGE_MASK : {2'b00, more};
    wire [9:0] len     = second_reg ? last & PAGE_MASK : first;

    wire [ADDR_W-13:0] page_after = s_addr[ADDR_W-1:12] + 1'b1;

    wire unused_bits = &{1'b0, len[9:8], s_addr[LANE_W-1:0]};

    assign start     = s_valid && !hold && (!m_valid_reg || m_ready);
    assign start_len = len[7:0];
    assign start_end = second_reg || !crosses;
    assign s_ready   = !hold && (!m_valid_reg || m_ready) && start_end;

    assign m_valid = m_valid_reg;
    assign m_addr  = m_addr_reg;
    assign m_len   = m_len_reg;
    assign m_tag   = m_tag_reg;

    always @* begin
        m_valid_next = m_valid_reg && !m_ready;
        m_addr_next  = m_addr_reg;
        m_len_next   = m_len_reg;
        m_tag_next   = m_tag_reg;
        second_next  = second_reg;

        if (start) begin
            m_valid_next = 1'b1;
            m_addr_next  = second_reg ? {page_after, 12'd0} : s_addr;
            m_len_next   = start_len;
            m_tag_next   = s_tag;
            second_next  = !start_end;
        end
    end

    always @(posedge clk) begin
        m_valid_reg <= m_valid_next;
        m_addr_reg  <= m_addr_next;
        m_len_reg   <= m_len_next;
        m_tag_reg   <= m_tag_next;
        second_reg  <= second_next;

        if (rst) begin
            m_valid_reg <= 1'b0;
            second_reg  <= 1'b0;
        end
    end

`ifdef FORMAL
    localparam [9:0] PAGE_WORDS = 1 << WORD_W;
    reg started = 1'b0;
    // Bus words of the request that earlier bursts have
    reg  [9:0] f_done = 10'd0;
    wire [9:0] f_first_word = {{(10 - WORD_W){1'b0}}, m_addr[11:LANE_W]};
    wire [9:0] f_s_word = {{(10 - WORD_W){1'b0}}, s_addr[11:LANE_W]};

    initial assume (rst);

    always @* begin
        // Requests are of 1 to 4096/BUS_BYTES words.
        assume (s_beats != 8'd0 && s_beats <= PAGE_WORDS && s_addr[LANE_W-1:0] == 0);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        if (rst) begin
            f_done <= 10'd0;
        end else if (start) begin
            f_done <= start_end ? 10'd0 : f_done + {2'd0, start_len} + 10'd1;
        end
        // A request stays until it is taken.
        if (started && $past(s_valid && !s_ready && !rst)) begin
            assume (s_valid && s_addr == $past(s_addr) && s_beats == $past(s_beats)
                    && s_tag == $past(s_tag));
        end

        if (started) begin
            // 1. An offered burst stays until it is taken.
            if ($past(m_valid && !m_ready && !rst)) begin
                assert (m_valid && m_addr == $past(m_addr) && m_len == $past(m_len)
                        && m_tag == $past(m_tag));
            end
            // 2. It begins at a bus word and ends in the 4 KiB in which it begins.
            if (m_valid) begin
                assert (m_addr[LANE_W-1:0] == 0 && f_first_word + m_len < PAGE_WORDS);
            end
            // 3. A new one is what start said, of the request's tag, and follows the words before.
            if ($past(start && !rst)) begin
                assert (m_valid && m_len == $past(start_len) && m_tag == $past(s_tag));
                assert (m_addr == $past(s_addr) + ($past(f_done) << LANE_W));
            end else begin
                assert (!m_valid || $past(m_valid));
            end
            // 4. The bursts of a request have all of its words and no more; it is taken with the
            //    last one.
            assert (!start || start_end == (f_done + start_len + 10'd1 == s_beats));
            assert (!start || f_done + start_len < s_beats);
            assert (start_end || !s_ready);
            assert ((s_valid && s_ready) == (start && start_end));
            // 5. None starts on hold.
            assert (!(hold && start));
            // 6. A second burst begins where the page does.
            assert (second_reg == (f_done != 0));
            assert (f_done == 0
                    || (s_valid && f_done < s_beats && f_done + f_s_word == PAGE_WORDS));

            cover (start && second_reg && start_len == 8'd2);
            cover (m_valid && f_first_word + m_len + 1 == PAGE_WORDS && m_len == 8'd4);
            cover (m_valid && !m_ready && hold && second_reg);
            cover (start && $past(start));
        end
    end
`endif

endmodule

`resetall
