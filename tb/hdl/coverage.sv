// SPDX-License-Identifier: Apache-2.0
// What happened inside the design during a simulation: levels of queues, states, waits, hazards.
//
// Why: these lie behind no port, and a test bench that looked at them in every cycle would cost
// most of the speed. A bit for each is set by the clock and written out once, at the end.
// Bound to the modules by name, so the design knows nothing of it. Only Verilator, which
// tb/runner.py gives this file, has `bind`; a module that a build lacks is passed over.
// At the end of the simulation each instance adds a line to rtl_bins.txt in the working folder:
//     <hierarchical name> <point> <names of the bits, from bit 0 on, with commas> <bits, MSB first>
// tb/common/coverage.py reads it; there the points and bins are listed, too.
// verilator coverage_off

`default_nettype none

module coverage #(
    // Number of bins.
    parameter N = 1,
    // Kind of point, names of the bins.
    parameter string POINT = "",
    parameter string NAMES = ""
) (
    input wire         clk,
    input wire         rst,
    // The bins that this cycle belongs to; none during reset
    input wire [N-1:0] now
);

    reg [N-1:0] seen;
    integer     file;

    initial seen = {N{1'b0}};

    always @(posedge clk) begin
        if (!rst) begin
            seen <= seen | now;
        end
    end

    final begin
        file = $fopen("rtl_bins.txt", "a");
        $fdisplay(file, "%m %s %s %b", POINT, NAMES, seen);
        $fclose(file);
    end

endmodule

// ---- Queues: full; emptied, its last word leaves and none enters --------------------------------
bind sofa_sync_fifo coverage #(.N(2), .POINT("fifo"), .NAMES("full,empty")) coverage_fifo (
    .clk, .rst, .now({m_valid && m_ready && !(s_valid && s_ready) && level_reg == 1,
                      level_reg == DEPTH[LEVEL_W-1:0]}));
bind sofa_skid_buffer coverage #(.N(2), .POINT("fifo"), .NAMES("full,empty")) coverage_fifo (
    .clk, .rst, .now({m_valid && m_ready && !skid_valid_reg && !(s_valid && s_ready),
                      skid_valid_reg}));
bind sofa_ring_credit coverage #(.N(2), .POINT("fifo"), .NAMES("full,empty")) coverage_fifo (
    .clk, .rst, .now({free && !take && used_reg == 1, !avail_reg}));
bind sofa_fetch_stream coverage #(.N(2), .POINT("fifo"), .NAMES("full,empty")) coverage_fifo (
    .clk, .rst, .now({pop && !go && room_next == WORDS[PTR_W:0], room_reg == 0}));
bind sofa_kvgen_land coverage #(.N(2), .POINT("fifo"), .NAMES("full,empty")) coverage_fifo (
    .clk, .rst, .now({some && wr_next == rd_next, !room_now}));
bind sofa_sufa_keys coverage #(.N(3), .POINT("fifo"),
        .NAMES("full,empty,beats full")) coverage_fifo (
    .clk, .rst, .now({!room_reg, read_reg && !accept && level_reg == 1,
                      level_reg == FIFO_32[LEVEL_W-1:0]}));

// ---- Waits: something is offered on a channel and not taken -------------------------------------
bind sofa_seq coverage #(.N(6), .POINT("wait"), .NAMES("qc,qs,tc,tn,w_c,d_c")) coverage_wait (
    .clk, .rst, .now({d_c_valid && !d_c_ready, w_c_valid && !w_c_ready, tn_valid && !tn_ready,
                      tc_valid && !tc_ready, qs_valid && !qs_ready, qc_valid && !qc_ready}));
bind sofa_fetch coverage #(.N(5), .POINT("wait"), .NAMES("w_d,r_d,x_d,d_d,ar")) coverage_wait (
    .clk, .rst, .now({m_axi_arvalid && !m_axi_arready, d_d_valid && !d_d_ready,
                      x_d_valid && !x_d_ready, r_d_valid && !r_d_ready, w_d_valid && !w_d_ready}));
bind sofa_dlzs coverage #(.N(4), .POINT("wait"), .NAMES("t,s,x,r_c")) coverage_wait (
    .clk, .rst, .now({r_c_valid && !r_c_ready, x_valid && !x_ready, s_valid && !s_ready,
                      t_valid && !t_ready}));
bind sofa_sads coverage #(.N(2), .POINT("wait"), .NAMES("m,f")) coverage_wait (
    .clk, .rst, .now({f_valid && !f_ready, m_valid && !m_ready}));
bind sofa_rass coverage #(.N(1), .POINT("wait"), .NAMES("p")) coverage_wait (
    .clk, .rst, .now({p_valid && !p_ready}));
bind sofa_kvgen coverage #(.N(4), .POINT("wait"), .NAMES("u,x_c,kv,wb")) coverage_wait (
    .clk, .rst, .now({wb_valid && !wb_ready, kv_valid && !kv_ready, x_c_valid && !x_c_ready,
                      u_valid && !u_ready}));
bind sofa_sufa coverage #(.N(1), .POINT("wait"), .NAMES("o")) coverage_wait (
    .clk, .rst, .now({o_valid && !o_ready}));
bind sofa_store coverage #(.N(2), .POINT("wait"), .NAMES("aw,w")) coverage_wait (
    .clk, .rst, .now({m_axi_wvalid && !m_axi_wready, m_axi_awvalid && !m_axi_awready}));

// ---- Causes of waiting within a stage -----------------------------------------------------------
bind sofa_sads_sum_ctl coverage #(.N(5), .POINT("cause"),
        .NAMES("place in use,limit late,store late,no room for masks,shares late")) coverage_cause (
    .clk, .rst, .now({
        state_reg == S_RUN && old_reg && old_final_reg && !paced, ev_stall,
        old_reg && late_reg[old_place_reg], next_valid && !next_start && late_reg[next_place],
        next_valid && !next_start && current_reg && current_place_reg == next_place}));
bind sofa_sads_sort coverage #(.N(1), .POINT("cause"), .NAMES("no room for masks")) coverage_cause (
    .clk, .rst, .now({ev_stall}));
bind sofa_kvgen_front coverage #(.N(4), .POINT("cause"),
        .NAMES("no place,fetch busy,no token,being made")) coverage_cause (
    .clk, .rst, .now({
        looked && look_claimed && !look_written,
        full_reg && at_item_reg && !is_head_reg && !t_ready,
        full_reg && at_item_reg && !is_head_reg && !u_ready,
        full_reg && at_item_reg && !is_head_reg && !l_room}));
bind sofa_sufa_kv coverage #(.N(4), .POINT("cause"),
        .NAMES("unit full,no Q,no share,ends full")) coverage_cause (
    .clk, .rst, .now({
        s_valid && s_first && s_end && !end_ready,
        s_valid && s_first && s_end && !(&(has_f | ~s_places)),
        s_valid && s_first && !q_ok, s_valid && s_first && !units_ok}));
bind sofa_sufa_issue coverage #(.N(4), .POINT("cause"),
        .NAMES("own sums,flush goes first,beats before flush,question waits")) coverage_cause (
    .clk, .rst, .now({
        ask_req && !d_ask, fin_req && !f_busy_reg && |went_reg,
        c_valid_reg && c_first && (f_busy_reg || fin_req), c_valid_reg && c_first && hazard}));
bind sofa_burst_split coverage #(.N(3), .POINT("cause"),
        .NAMES("held,page ends,page ends behind")) coverage_cause (
    .clk, .rst, .now({
        start && start_end && 14'(s_addr[11:0]) + 14'(s_beats) * BUS_BYTES[13:0] == 14'd4096,
        start && !start_end, s_valid && hold}));

// ---- State machines -----------------------------------------------------------------------------
bind sofa_sads_sum_ctl coverage #(.N(4), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(4'd1 << state_reg));
bind sofa_sads_sort coverage #(.N(4), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(4'd1 << state_reg));
bind sofa_seq coverage #(.N(8), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(8'd1 << state_reg));
bind sofa_seq_tiles coverage #(.N(8), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(8'd1 << state_reg));
bind sofa_seq_blocks coverage #(.N(8), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(8'd1 << state_reg));
bind sofa_seq_check coverage #(.N(16), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(16'd1 << state_reg));
bind sofa_seq_chunks coverage #(.N(8), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(8'd1 << state_reg));
bind sofa_seq_turns coverage #(.N(4), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(4'd1 << state_reg));
bind sofa_seq_chain coverage #(.N(4), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(4'd1 << state_reg));
bind sofa_rass coverage #(.N(4), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(4'd1 << state_reg));
bind sofa_kvgen_wload coverage #(.N(4), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(4'd1 << state_reg));
bind sofa_kvgen_valid coverage #(.N(8), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(8'd1 << state_reg));
bind sofa_kvgen_front coverage #(.N(8), .POINT("state"), .NAMES("state_reg")) coverage_state (
    .clk, .rst, .now(8'd1 << state_reg));
`resetall
