// SPDX-License-Identifier: Apache-2.0
// AXI4-Lite: what a slave does, and what it may rely on.
//
// Why: one set of rules for every slave; an instance stands under `ifdef FORMAL in the slave.
// Not done here: what the registers hold.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module axil_slave_rules #(
    // Bits of an address.
    parameter ADDR_W = 12,
    // Cycles within which it takes what is offered, and answers, 1..15.
    parameter LIMIT = 4,
    // Transfers of a channel that the slave has taken and not answered, at most, 1..3.
    parameter DEEP = 2
) (
    input wire              clk,
    input wire              rst,

    input wire [ADDR_W-1:0] awaddr,
    input wire              awvalid,
    input wire              awready,
    input wire [31:0]       wdata,
    input wire [3:0]        wstrb,
    input wire              wvalid,
    input wire              wready,
    input wire [1:0]        bresp,
    input wire              bvalid,
    input wire              bready,
    input wire [ADDR_W-1:0] araddr,
    input wire              arvalid,
    input wire              arready,
    input wire [31:0]       rdata,
    input wire [1:0]        rresp,
    input wire              rvalid,
    input wire              rready,

    // Transfers that are not answered: for the slave to say where they are
    output reg  [2:0]       f_aw,
    output reg  [2:0]       f_w,
    output reg  [2:0]       f_ar
);

`ifdef FORMAL
    reg       started = 1'b0;
    reg [3:0] aw_wait = 4'd0, w_wait = 4'd0, b_wait = 4'd0, ar_wait = 4'd0, r_wait = 4'd0;
    wire      b_take = bvalid && bready;
    wire      r_take = rvalid && rready;

    initial f_aw = 3'd0;
    initial f_w = 3'd0;
    initial f_ar = 3'd0;
    initial assume (rst);

    always @(posedge clk) begin
        started <= 1'b1;
        f_aw    <= rst ? 3'd0 : f_aw + (awvalid && awready) - b_take;
        f_w     <= rst ? 3'd0 : f_w + (wvalid && wready) - b_take;
        f_ar    <= rst ? 3'd0 : f_ar + (arvalid && arready) - r_take;
        // Waiting for the slave; a master that keeps its answer waiting gives it time, and so does
        // one that holds back the other half of a write.
        aw_wait <= rst || !awvalid || awready || bvalid || f_w == 3'd0 ? 4'd0 : aw_wait + 4'd1;
        w_wait  <= rst || !wvalid || wready || bvalid || f_aw == 3'd0 ? 4'd0 : w_wait + 4'd1;
        b_wait  <= rst || f_aw == 3'd0 || f_w == 3'd0 || bvalid ? 4'd0 : b_wait + 4'd1;
        ar_wait <= rst || !arvalid || arready || rvalid ? 4'd0 : ar_wait + 4'd1;
        r_wait  <= rst || f_ar == 3'd0 || rvalid ? 4'd0 : r_wait + 4'd1;

        if (started) begin
            // The master keeps what it offers.
            if ($past(awvalid && !awready && !rst)) begin
                assume (awvalid && awaddr == $past(awaddr));
            end
            if ($past(wvalid && !wready && !rst)) begin
                assume (wvalid && wdata == $past(wdata) && wstrb == $past(wstrb));
            end
            if ($past(arvalid && !arready && !rst)) begin
                assume (arvalid && araddr == $past(araddr));
            end

            // 1. An answer stays until it is taken.
            if ($past(bvalid && !bready && !rst)) begin
                assert (bvalid && bresp == $past(bresp));
            end
            if ($past(rvalid && !rready && !rst)) begin
                assert (rvalid && rdata == $past(rdata) && rresp == $past(rresp));
            end
            // 2. Only what was asked for is answered: a write after its address and its data.
            assert (!bvalid || (f_aw != 3'd0 && f_w != 3'd0));
            assert (!rvalid || f_ar != 3'd0);
            // 3. Answers are OKAY or SLVERR.
            assert (!bvalid || !bresp[0]);
            assert (!rvalid || !rresp[0]);
            // 4. After a reset nothing is answered.
            assert (!$past(rst) || (!bvalid && !rvalid));
            // 5. No more is taken than can be answered.
            assert (f_aw <= DEEP && f_w <= DEEP && f_ar <= DEEP);
            // 6. All is taken and answered in time, as far as it is the slave's.
            assert (aw_wait < LIMIT && w_wait < LIMIT && b_wait < LIMIT);
            assert (ar_wait < LIMIT && r_wait < LIMIT);

            cover (b_take && bresp == 2'b00 && $past(bvalid && !bready));
            cover (b_take && bresp == 2'b10);
            cover (r_take && rresp == 2'b10 && $past(rvalid && !rready));
            cover (f_aw == 3'd2 && f_w == 3'd1);
            cover (r_take && rdata == 32'hffffffff);
        end
    end
`endif

endmodule

`resetall
