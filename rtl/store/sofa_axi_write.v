// SPDX-License-Identifier: Apache-2.0
// AXI4 write master with two clients: O, vectors of equal length (ID 0), and x, beats (ID 1).
//
// Why: one burst per vector (two across a 4 KiB boundary) with many outstanding keeps W full
// although memory answers late. O's data is pulled, one read a beat, from a memory that answers
// one cycle after rd_en; x's data comes with its address and waits in a small memory of the same
// timing for its turn on W.
// Turns: after a vector of O, x may send as many beats as that vector has before O's next turn, so
// both get half the bus when both want all of it. At most OWED bursts are ahead of their data, so
// that neither waits long behind what the other has started.
// Answers are counted: one is owed once AW and the last W beat of its burst were taken. One that is
// not owed, or has another ID, changes nothing but is reported.
// Not done here: byte alignment, order between the clients, recovery from an error other than by
// rst. Within an ID memory answers in order, between IDs in any.
// Latency: one cycle from s_valid to AWVALID, three to WVALID; one more from x_valid.
// Throughput: one burst and one beat every cycle, OUTSTANDING bursts of O and X_OUTSTANDING of x
// unanswered.
// Halt: no AW starts; beats owed to bursts which have started go out without strobes. Leave it
// only by rst, once idle is high.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_axi_write #(
    // AXI address bits, 13..48.
    parameter ADDR_W = 40,
    // Bytes of a bus word, a power of two, 8..64.
    parameter BUS_BYTES = 64,
    // Bursts of O which can be unanswered, 2..256.
    parameter OUTSTANDING = 32,
    // Beats of x which can be unanswered, 2..256.
    parameter X_OUTSTANDING = 128
) (
    input  wire                   clk,
    input  wire                   rst,

    // Beats of a vector, and the strobes of its last one; static while not idle
    input  wire [7:0]             cfg_beats,
    input  wire [BUS_BYTES-1:0]   cfg_last_strb,

    // O: vector to write; s_last: of its block
    input  wire                   s_valid,
    output wire                   s_ready,
    input  wire [ADDR_W-1:0]      s_addr,
    input  wire                   s_last,

    // O's data: beats in order, rd_data one cycle after rd_en and held. rd_last: the beat asked for
    // is the last one of its vector.
    output wire                   rd_en,
    input  wire                   rd_last,
    input  wire [8*BUS_BYTES-1:0] rd_data,

    // x: beat to write, x_addr a multiple of BUS_BYTES
    input  wire                   x_valid,
    output wire                   x_ready,
    input  wire [ADDR_W-1:0]      x_addr,
    input  wire [8*BUS_BYTES-1:0] x_data,
    input  wire [BUS_BYTES-1:0]   x_strb,

    // Control
    input  wire                   halt,
    output wire                   idle,
    // Fault of an answer, err_id: 0 O, 1 x. err_protocol: nobody waits for it; else see err_resp
    output wire                   err_valid,
    output wire                   err_protocol,
    output wire [2:0]             err_id,
    output wire [1:0]             err_resp,
    // What the memory has to do, bit 0: take AW, 1: take W, 2: answer. It did some of it in this
    // cycle
    output wire [2:0]             bus_wait,
    output wire                   bus_move,
    // Every burst of a block was answered OK; a beat of x was
    output wire                   blk_done,
    output wire                   x_done,

    // Events: a beat of O, or of x, was taken; memory keeps W or AW waiting
    output wire                   ev_beat,
    output wire                   ev_beat_x,
    output wire                   ev_stall,

    // AXI4 write channels
    output wire [2:0]             m_axi_awid,
    output wire [ADDR_W-1:0]      m_axi_awaddr,
    output wire [7:0]             m_axi_awlen,
    output wire [2:0]             m_axi_awsize,
    output wire [1:0]             m_axi_awburst,
    output wire                   m_axi_awvalid,
    input  wire                   m_axi_awready,
    output wire [8*BUS_BYTES-1:0] m_axi_wdata,
    output wire [BUS_BYTES-1:0]   m_axi_wstrb,
    output wire                   m_axi_wlast,
    output wire                   m_axi_wvalid,
    input  wire                   m_axi_wready,
    input  wire [2:0]             m_axi_bid,
    input  wire [1:0]             m_axi_bresp,
    input  wire                   m_axi_bvalid,
    output wire                   m_axi_bready
);

    generate
        if (OUTSTANDING < 2 || OUTSTANDING > 256 || X_OUTSTANDING < 2
                || X_OUTSTANDING > 256) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_axi_write_needs_OUTSTANDING_X_OUTSTANDING_2_to_256 stop ();
        end
    endgenerate

    localparam SIZE = $clog2(BUS_BYTES);
    localparam LEVEL_W = $clog2(OUTSTANDING + 1);
    localparam X_LEVEL_W = $clog2(X_OUTSTANDING + 1);
    localparam [31:0] X_LIMIT = X_OUTSTANDING;
    // Bursts that may owe data. Enough to bridge a few cycles without AWREADY.
    localparam OWED = 8;
    localparam OWED_W = $clog2(OWED + 1);
    // Beats of x that wait for their AW, and words of the memory for the data of those and of all
    // which owe it (x never finds it full).
    localparam X_QUEUE = 4;
    localparam X_QUEUE_W = $clog2(X_QUEUE + 1);
    localparam X_WORDS = 16;
    localparam X_PTR_W = $clog2(X_WORDS);

    // -----------------------------------------------------------------------------------------
    // x: addresses in a queue, data in a memory
    // -----------------------------------------------------------------------------------------
    reg [X_PTR_W-1:0] x_wr_ptr_reg, x_wr_ptr_next;
    reg [X_PTR_W-1:0] x_rd_ptr_reg, x_rd_ptr_next;

    wire                   x_take = x_valid && x_ready;
    wire                   x_rd_en;
    wire [8*BUS_BYTES-1:0] x_rd_data;
    wire [BUS_BYTES-1:0]   x_rd_strb;
    wire                   xq_valid;
    wire                   xq_ready;
    wire [ADDR_W-1:0]      xq_addr;
    wire [X_QUEUE_W-1:0]   unused_xq_level;

    sofa_sync_fifo #(
        .WIDTH (ADDR_W),
        .DEPTH (X_QUEUE)
    ) x_addr_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (x_valid),
        .s_ready (x_ready),
        .s_data  (x_addr),
        .m_valid (xq_valid),
        .m_ready (xq_ready),
        .m_data  (xq_addr),
        .level   (unused_xq_level)
    );

    sofa_ram_1r1w #(
        .WIDTH (9 * BUS_BYTES),
        .DEPTH (X_WORDS)
    ) x_data_inst (
        .clk     (clk),
        .wr_en   (x_take),
        .wr_addr (x_wr_ptr_reg),
        .wr_data ({x_strb, x_data}),
        .rd_en   (x_rd_en),
        .rd_addr (x_rd_ptr_reg),
        .rd_data ({x_rd_strb, x_rd_data})
    );

    // -----------------------------------------------------------------------------------------
    // AW: choice of a client, and the bursts
    // -----------------------------------------------------------------------------------------
    // The second burst of a vector of O is next.
    reg       second_reg, second_next;
    // Beats of x until O's turn.
    reg [7:0] turn_reg, turn_next;
    // There are some.
    reg       x_turn_reg, x_turn_next;

    wire       o_room;
    reg        x_room_reg;
    wire       owe_room;
    wire       o_able = s_valid && o_room;
    wire       x_able = xq_valid && x_room_reg;
    wire       pick_x = x_able && !second_reg && (!o_able || x_turn_reg);
    wire       split_ready;
    wire       start;
    wire [7:0] start_len;
    wire       start_end;
    wire       start_x = start && pick_x;
    wire       start_o = start && !pick_x;
    wire       aw_x;

    assign s_ready  = split_ready && o_room && !pick_x;
    assign xq_ready = split_ready && pick_x;

    sofa_burst_split #(
        .ADDR_W    (ADDR_W),
        .BUS_BYTES (BUS_BYTES),
        .TAG_W     (1)
    ) split_inst (
        .clk       (clk),
        .rst       (rst),
        .hold      (halt || !owe_room),
        .s_valid   (o_able || pick_x),
        .s_ready   (split_ready),
        .s_addr    (pick_x ? xq_addr : s_addr),
        .s_beats   (pick_x ? 8'd1 : cfg_beats),
        .s_tag     (pick_x),
        .m_valid   (m_axi_awvalid),
        .m_ready   (m_axi_awready),
        .m_addr    (m_axi_awaddr),
        .m_len     (m_axi_awlen),
        .m_tag     (aw_x),
        .start     (start),
        .start_len (start_len),
        .start_end (start_end)
    );

    always @* begin
        second_next = second_reg;
        turn_next   = turn_reg;
        x_turn_next = x_turn_reg;

        if (start_o) begin
            second_next = !start_end;
            turn_next   = cfg_beats;
            x_turn_next = 1'b1;
        end else if (start_x && x_turn_reg) begin
            turn_next   = turn_reg - 8'd1;
            x_turn_next = turn_reg != 8'd1;
        end
    end

    assign m_axi_awid    = {2'b00, aw_x};
    assign m_axi_awsize  = SIZE[2:0];
    assign m_axi_awburst = 2'b01;
    assign m_axi_bready  = 1'b1;

    // -----------------------------------------------------------------------------------------
    // Bursts which owe data, in the order of AW, and bursts which are not answered
    // -----------------------------------------------------------------------------------------
    reg [8:0] x_open_reg, x_open_next;
    reg       x_some_reg;

    wire               owe_valid;
    wire               owe_pop;
    wire               owe_x;
    wire [7:0]         owe_len;
    wire               open_valid;
    wire               open_last;
    wire               o_owed;
    wire               x_owed;
    wire               answer_o = m_axi_bvalid && m_axi_bid == 3'd0 && o_owed;
    wire               answer_x = m_axi_bvalid && m_axi_bid == 3'd1 && x_owed;
    wire [OWED_W-1:0]  unused_owe_level;
    wire [LEVEL_W-1:0] unused_open_level;

    sofa_sync_fifo #(
        .WIDTH (9),
        .DEPTH (OWED)
    ) owe_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (start),
        .s_ready (owe_room),
        .s_data  ({pick_x, start_len}),
        .m_valid (owe_valid),
        .m_ready (owe_pop),
        .m_data  ({owe_x, owe_len}),
        .level   (unused_owe_level)
    );

    sofa_sync_fifo #(
        .WIDTH (1),
        .DEPTH (OUTSTANDING)
    ) open_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (start_o),
        .s_ready (o_room),
        .s_data  (s_last && start_end),
        .m_valid (open_valid),
        .m_ready (answer_o),
        .m_data  (open_last),
        .level   (unused_open_level)
    );

    always @* begin
        x_open_next = x_open_reg;

        if (start_x && !answer_x) begin
            x_open_next = x_open_reg + 9'd1;
        end else if (answer_x && !start_x) begin
            x_open_next = x_open_reg - 9'd1;
        end
    end

    assign idle = !open_valid && !x_some_reg;

    // -----------------------------------------------------------------------------------------
    // W: ask for a beat; have it in the memory's output register; offer it
    // -----------------------------------------------------------------------------------------
    reg [7:0]             beat_reg, beat_next;
    reg                   have_valid_reg, have_valid_next;
    reg                   have_last_reg, have_last_next;
    reg                   have_part_reg, have_part_next;
    reg                   have_x_reg, have_x_next;
    reg                   w_valid_reg, w_valid_next;
    reg                   w_last_reg, w_last_next;
    reg                   w_x_reg, w_x_next;
    reg [BUS_BYTES-1:0]   w_strb_reg, w_strb_next;
    reg [8*BUS_BYTES-1:0] w_data_reg;

    wire w_en      = !w_valid_reg || m_axi_wready;
    wire have_en   = !have_valid_reg || w_en;
    wire burst_end = beat_reg == owe_len;
    wire w_load    = w_en && have_valid_reg;
    wire owe_rd    = owe_valid && have_en;

    wire [8*BUS_BYTES-1:0] have_data = have_x_reg ? x_rd_data : rd_data;
    wire [BUS_BYTES-1:0]   strb = halt ? {BUS_BYTES{1'b0}} : have_x_reg ? x_rd_strb
                                       : have_part_reg ? cfg_last_strb : {BUS_BYTES{1'b1}};
    wire [8*BUS_BYTES-1:0] data;

    // Bytes without a strobe may be old contents of the buffer: they do not leave the chip.
    genvar i;
    generate
        for (i = 0; i < BUS_BYTES; i = i + 1) begin : g_byte
            assign data[8*i +: 8] = strb[i] ? have_data[8*i +: 8] : 8'd0;
        end
    endgenerate

    assign rd_en   = owe_rd && !owe_x;
    assign x_rd_en = owe_rd && owe_x;
    assign owe_pop = owe_rd && burst_end;

    assign m_axi_wvalid = w_valid_reg;
    assign m_axi_wlast  = w_last_reg;
    assign m_axi_wstrb  = w_strb_reg;
    assign m_axi_wdata  = w_data_reg;

    assign ev_beat   = w_valid_reg && m_axi_wready && !w_x_reg;
    assign ev_beat_x = w_valid_reg && m_axi_wready && w_x_reg;
    assign ev_stall  = w_valid_reg ? !m_axi_wready : (s_valid || xq_valid) && !start && !halt;

    always @* begin
        beat_next       = beat_reg;
        have_valid_next = have_valid_reg;
        have_last_next  = have_last_reg;
        have_part_next  = have_part_reg;
        have_x_next     = have_x_reg;
        w_valid_next    = w_valid_reg;
        w_last_next     = w_last_reg;
        w_x_next        = w_x_reg;
        w_strb_next     = w_strb_reg;
        x_wr_ptr_next   = x_take ? x_wr_ptr_reg + 1'b1 : x_wr_ptr_reg;
        x_rd_ptr_next   = x_rd_en ? x_rd_ptr_reg + 1'b1 : x_rd_ptr_reg;

        if (w_en) begin
            w_valid_next = have_valid_reg;
        end
        if (w_load) begin
            w_last_next = have_last_reg;
            w_x_next    = have_x_reg;
            w_strb_next = strb;
        end
        if (have_en) begin
            have_valid_next = owe_rd;
        end
        if (owe_rd) begin
            have_last_next = burst_end;
            have_part_next = rd_last;
            have_x_next    = owe_x;
            beat_next      = burst_end ? 8'd0 : beat_reg + 8'd1;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Answers that memory owes, by ID. AW and W are taken in the same order, W at most one burst
    // ahead: a burst is memory's when the later of the two is.
    // -----------------------------------------------------------------------------------------
    // Bursts of which AW was taken and the last W beat was not; or the other way round, w_ahead.
    // No more than OWED and three on their way to W.
    reg [3:0] aw_ahead_reg, aw_ahead_next;
    reg       w_ahead_reg, w_ahead_next;

    wire aw_take  = m_axi_awvalid && m_axi_awready;
    wire w_take   = m_axi_wvalid && m_axi_wready;
    wire w_finish = w_take && w_last_reg;
    wire some_aw  = aw_ahead_reg != 4'd0 || aw_take;
    wire aw_later = aw_take && w_ahead_reg;
    wire w_later  = w_finish && some_aw;
    wire whole    = aw_later || w_later;
    wire whole_x  = aw_later ? aw_x : w_x_reg;

    always @* begin
        aw_ahead_next = aw_ahead_reg;
        w_ahead_next  = w_ahead_reg;

        if (aw_later) begin
            w_ahead_next = 1'b0;
        end else if (aw_take && !w_finish) begin
            aw_ahead_next = aw_ahead_reg + 4'd1;
        end else if (w_later && !aw_take) begin
            aw_ahead_next = aw_ahead_reg - 4'd1;
        end else if (w_finish && !some_aw) begin
            w_ahead_next = 1'b1;
        end
    end

    sofa_owed_count #(
        .WIDTH (LEVEL_W)
    ) o_owed_inst (
        .clk   (clk),
        .rst   (rst),
        .add   (whole && !whole_x),
        .extra ({LEVEL_W{1'b0}}),
        .take  (answer_o),
        .some  (o_owed)
    );

    sofa_owed_count #(
        .WIDTH (X_LEVEL_W)
    ) x_owed_inst (
        .clk   (clk),
        .rst   (rst),
        .add   (whole && whole_x),
        .extra ({X_LEVEL_W{1'b0}}),
        .take  (answer_x),
        .some  (x_owed)
    );

    assign bus_wait = {o_owed || x_owed, m_axi_wvalid, m_axi_awvalid};
    assign bus_move = aw_take || w_take || answer_o || answer_x;

    // -----------------------------------------------------------------------------------------
    // B
    // -----------------------------------------------------------------------------------------
    reg       err_valid_reg, err_valid_next;
    reg       err_protocol_reg, err_protocol_next;
    reg [2:0] err_id_reg, err_id_next;
    reg [1:0] err_resp_reg, err_resp_next;
    // An answer was an error; nothing is done after it.
    reg       failed_reg, failed_next;
    reg       blk_done_reg, blk_done_next;
    reg       x_done_reg, x_done_next;

    wire answer = answer_o || answer_x;

    assign err_valid    = err_valid_reg;
    assign err_protocol = err_protocol_reg;
    assign err_id       = err_id_reg;
    assign err_resp     = err_resp_reg;
    assign blk_done     = blk_done_reg;
    assign x_done       = x_done_reg;

    always @* begin
        err_valid_next    = 1'b0;
        err_protocol_next = err_protocol_reg;
        err_id_next       = err_id_reg;
        err_resp_next     = err_resp_reg;
        failed_next       = failed_reg || (answer && m_axi_bresp[1]);
        blk_done_next     = 1'b0;
        x_done_next       = 1'b0;

        if (m_axi_bvalid && (!answer || m_axi_bresp[1])) begin
            err_valid_next    = 1'b1;
            err_protocol_next = !answer;
            err_id_next       = m_axi_bid;
            err_resp_next     = m_axi_bresp;
        end
        if (!failed_next && !halt) begin
            blk_done_next = answer_o && open_last;
            x_done_next   = answer_x;
        end
    end

    always @(posedge clk) begin
        x_wr_ptr_reg     <= x_wr_ptr_next;
        x_rd_ptr_reg     <= x_rd_ptr_next;
        second_reg       <= second_next;
        turn_reg         <= turn_next;
        x_turn_reg       <= x_turn_next;
        x_open_reg       <= x_open_next;
        x_some_reg       <= x_open_next != 9'd0;
        x_room_reg       <= x_open_next != X_LIMIT[8:0];
        beat_reg         <= beat_next;
        have_valid_reg   <= have_valid_next;
        have_last_reg    <= have_last_next;
        have_part_reg    <= have_part_next;
        have_x_reg       <= have_x_next;
        w_valid_reg      <= w_valid_next;
        w_last_reg       <= w_last_next;
        w_x_reg          <= w_x_next;
        w_strb_reg       <= w_strb_next;
        aw_ahead_reg     <= aw_ahead_next;
        w_ahead_reg      <= w_ahead_next;
        err_valid_reg    <= err_valid_next;
        err_protocol_reg <= err_protocol_next;
        err_id_reg       <= err_id_next;
        err_resp_reg     <= err_resp_next;
        failed_reg       <= failed_next;
        blk_done_reg     <= blk_done_next;
        x_done_reg       <= x_done_next;
        if (w_load) begin
            w_data_reg <= data;
        end

        if (rst) begin
            x_wr_ptr_reg   <= {X_PTR_W{1'b0}};
            x_rd_ptr_reg   <= {X_PTR_W{1'b0}};
            second_reg     <= 1'b0;
            turn_reg       <= 8'd0;
            x_turn_reg     <= 1'b0;
            x_open_reg     <= 9'd0;
            x_some_reg     <= 1'b0;
            x_room_reg     <= 1'b1;
            beat_reg       <= 8'd0;
            have_valid_reg <= 1'b0;
            w_valid_reg    <= 1'b0;
            aw_ahead_reg   <= 4'd0;
            w_ahead_reg    <= 1'b0;
            err_valid_reg  <= 1'b0;
            failed_reg     <= 1'b0;
            blk_done_reg   <= 1'b0;
            x_done_reg     <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // An arbitrary client, 0 O or 1 x, all of whose requests lie in an arbitrary window
    (* anyconst *) wire [2:0]        f_id;
    (* anyconst *) wire [ADDR_W-1:0] f_first;
    (* anyconst *) wire [ADDR_W-1:0] f_last;
    wire [ADDR_W-1:0] f_addr = f_id == 3'd0 ? s_addr : x_addr;
    wire [7:0]        f_beats = f_id == 3'd0 ? cfg_beats : 8'd1;
    wire              f_asks = f_id == 3'd0 ? s_valid : x_valid;
    // An arbitrary beat of x by its number since reset
    (* anyconst *) wire [3:0]        f_number;
    reg  [3:0]             f_x_in = 4'd0, f_x_aw = 4'd0, f_x_w = 4'd0;
    reg  [ADDR_W-1:0]      f_x_addr;
    reg  [8*BUS_BYTES-1:0] f_x_data;
    reg  [BUS_BYTES-1:0]   f_x_strb;
    integer                f_i;

    axi_address_rules #(
        .ADDR_W    (ADDR_W),
        .BUS_BYTES (BUS_BYTES),
        .IDS       (2)
    ) rules_inst (
        .clk     (clk),
        .rst     (rst),
        .hold    (halt),
        .id      (m_axi_awid),
        .addr    (m_axi_awaddr),
        .len     (m_axi_awlen),
        .size    (m_axi_awsize),
        .burst   (m_axi_awburst),
        .valid   (m_axi_awvalid),
        .ready   (m_axi_awready),
        .f_id    (f_id),
        .f_first (f_first),
        .f_last  (f_last)
    );

    axi_write_data_rules #(
        .BUS_BYTES (BUS_BYTES)
    ) data_rules_inst (
        .clk     (clk),
        .rst     (rst),
        .awlen   (m_axi_awlen),
        .awvalid (m_axi_awvalid),
        .awready (m_axi_awready),
        .wdata   (m_axi_wdata),
        .wstrb   (m_axi_wstrb),
        .wlast   (m_axi_wlast),
        .wvalid  (m_axi_wvalid),
        .wready  (m_axi_wready)
    );

    always @* begin
        assume (f_id < 3'd2);
        // Clients ask for whole bus words, all of them in the window.
        assume (s_addr[SIZE-1:0] == 0 && x_addr[SIZE-1:0] == 0);
        assume (f_first <= f_last && f_last < {1'b1, {(ADDR_W - 1){1'b0}}});
        assume (!f_asks || (f_addr >= f_first && f_addr <= f_last
                && {8'd0, f_beats} * BUS_BYTES - 1 <= f_last - f_addr));
        assume (cfg_beats != 0 && cfg_beats <= 4096 / BUS_BYTES);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        if (x_take) begin
            f_x_in <= f_x_in + 4'd1;
            if (f_x_in == f_number) begin
                f_x_addr <= x_addr;
                f_x_data <= x_data;
                f_x_strb <= x_strb;
            end
        end
        f_x_aw <= f_x_aw + (aw_take && aw_x);
        f_x_w  <= f_x_w + (w_take && w_x_reg);
        if (rst) begin
            f_x_in <= 4'd0;
            f_x_aw <= 4'd0;
            f_x_w  <= 4'd0;
        end
        if (started) begin
            assume (cfg_beats == $past(cfg_beats) && cfg_last_strb == $past(cfg_last_strb));
            // Halt is left by a reset only; a request, and what memory has read, stays.
            assume (halt || !$past(halt) || $past(rst));
            if ($past(s_valid && !s_ready && !rst)) begin
                assume (s_valid && s_addr == $past(s_addr) && s_last == $past(s_last));
            end
            assume ($past(rd_en) || rd_data == $past(rd_data));
        end
        assume (f_x_in != 4'd15);

        if (started) begin
            // 1. Each beat of x has its own address, data and strobes; without strobes on halt.
            if (m_axi_awvalid && aw_x && f_x_aw == f_number) begin
                assert (m_axi_awaddr == f_x_addr && m_axi_awlen == 8'd0);
            end
            if (m_axi_wvalid && w_x_reg && f_x_w == f_number) begin
                assert (m_axi_wstrb == f_x_strb || (halt && m_axi_wstrb == 0));
                for (f_i = 0; f_i < BUS_BYTES; f_i = f_i + 1) begin
                    assert (m_axi_wdata[8*f_i +: 8]
                            == (m_axi_wstrb[f_i] ? f_x_data[8*f_i +: 8] : 8'd0));
                end
            end
            assert (f_x_aw <= f_x_in && f_x_w <= f_x_in);
            // 2. On halt no beat is given new strobes.
            if ($past(halt && !rst && (!m_axi_wvalid || m_axi_wready)) && m_axi_wvalid) begin
                assert (m_axi_wstrb == 0);
            end
            // 3. A beat is done with its answer, no more often than it was sent; a block likewise.
            assert (!x_done || $past(answer_x));
            assert (!blk_done || $past(answer_o && open_last));
            // 4. An answer that nobody waits for is reported and changes nothing.
            if ($past(m_axi_bvalid && !answer && !rst)) begin
                assert (err_valid && err_protocol && !x_done && !blk_done);
            end
            // 5. Idle is when all is answered.
            assert (!idle || (!m_axi_awvalid && !m_axi_wvalid && !o_owed && !x_owed));

            cover (f_number == 4'd1 && f_x_w == 4'd1 && m_axi_wvalid && w_x_reg
                   && m_axi_wstrb != 0);
            cover (blk_done && idle);
            cover (x_done);
            cover (err_valid && err_protocol && x_owed);
        end
    end
`endif

endmodule

`resetall
