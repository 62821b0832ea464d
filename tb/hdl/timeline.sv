// SPDX-License-Identifier: Apache-2.0
// What every stage did, cycle by cycle: the material of a timeline (tb/common/timeline.py).
//
// Why: a figure such as "units busy 41 %" does not say when and why they were not. The design's own
// events and handshakes do, and writing them from the simulator costs little; from Python they
// would cost most of the speed.
// Bound to the modules by name, so the design knows nothing of it; part of a build with
// --timeline alone. Only Verilator has `bind`; a module that a build lacks is passed over.
// Each instance writes a file to the working folder, timeline.<hierarchical name>.txt:
//     <kind>;<track>;<names of the bits of a state, from bit 0 on; or of fields, name:bits>
//     <ns> <bits in hex>        at every change of a state; when a piece of work begins or ends
// verilator coverage_off

`include "sofa_turn.vh"

`default_nettype none

module timeline #(
    // Bits that are looked at, 2 or more. A state: one a bit, the lowest that is set counts, none is
    // rest. Work: it begins, it ends in this cycle, fields that hold when it ends.
    parameter N = 2,
    // "state" or "work".
    parameter string KIND = "state",
    parameter string TRACK = "",
    parameter string NAMES = ""
) (
    input wire         clk,
    input wire         rst,
    input wire [N-1:0] now
);

    reg [N-1:0] last;
    integer     file;

    wire write = KIND == "work" ? |now[1:0] : now != last;

    initial begin
        last = {N{1'b0}};
        file = $fopen($sformatf("timeline.%m.txt"), "w");
        $fdisplay(file, "%s;%s;%s", KIND, TRACK, NAMES);
    end

    always @(posedge clk) begin
        if (!rst && write) begin
            $fdisplay(file, "%0d %h", $time, now);
            last <= now;
        end
    end

    final $fclose(file);

endmodule

// ---- Sequencer ----------------------------------------------------------------------------------
bind sofa_seq timeline #(.N(6), .TRACK("seq"), .NAMES("load,check,run,halt,clear,error"))
    timeline_state (.clk, .rst, .now(6'((8'd1 << state_reg) >> 1)));

// ---- Stages: what they do, and the tiles and rows they work on ----------------------------------
bind sofa_dlzs timeline #(.N(2), .TRACK("dlzs"), .NAMES("stall,busy"))
    timeline_state (.clk, .rst, .now({ev_busy, ev_stall}));
bind sofa_sads timeline #(.N(2), .TRACK("sads"), .NAMES("stall,busy"))
    timeline_state (.clk, .rst, .now({ev_busy, ev_stall}));
bind sofa_sads timeline #(.N(56), .KIND("work"), .TRACK("sads masks"),
        .NAMES("first key:17,keys:8,key step:17,rows:8,place:3,last of block:1"))
    timeline_masks (.clk, .rst, .now({
        m_turn[`SOFA_TURN_FINAL], m_turn[`SOFA_TURN_PLACE], m_turn[`SOFA_TURN_ROWS],
        m_turn[`SOFA_TURN_KSTEP], m_turn[`SOFA_TURN_N], m_turn[`SOFA_TURN_K0],
        m_valid && m_ready && m_last, m_valid && m_ready && m_first}));
bind sofa_rass timeline #(.N(2), .TRACK("rass"), .NAMES("stall,key"))
    timeline_state (.clk, .rst, .now({ev_key, ev_stall}));
bind sofa_kvgen timeline #(.N(4), .TRACK("kvgen"), .NAMES("stall,starve,busy,key"))
    timeline_state (.clk, .rst, .now({kv_valid && kv_ready, ev_busy, ev_starve, ev_stall}));
bind sofa_sufa_unit timeline #(.N(4), .TRACK("unit"), .NAMES("flush,busy,stall,starve"))
    timeline_state (.clk, .rst, .now({ev_starve, ev_stall, ev_busy, ev_flush}));
bind sofa_sufa timeline #(.N(51), .KIND("work"), .TRACK("sufa rows"),
        .NAMES("address:48,last of block:1"))
    timeline_rows (.clk, .rst, .now({
        o_block_last, o_addr, o_valid && o_ready && o_last, o_valid && o_ready && o_first}));

// ---- Bus: whose word passes, or who waits -------------------------------------------------------
bind sofa_fetch timeline #(.N(8), .TRACK("read words"), .NAMES("Q,K8,K,V,W,R,X,D"))
    timeline_words (.clk, .rst, .now(ev_beat));
bind sofa_fetch timeline #(.N(2), .TRACK("read requests"), .NAMES("wait,request"))
    timeline_requests (.clk, .rst, .now({m_axi_arvalid, m_axi_arvalid && !m_axi_arready}));
bind sofa_store timeline #(.N(3), .TRACK("write words"), .NAMES("stall,O,made"))
    timeline_words (.clk, .rst, .now({ev_beat_x, ev_beat, ev_stall}));
`resetall
