// SPDX-License-Identifier: Apache-2.0
// AXI4: what a master does on W, as far as it follows from its AW.
//
// Why: one set of rules for every write master; an instance stands under `ifdef FORMAL in it. W may
// run ahead of AW.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module axi_write_data_rules #(
    // Bytes of a bus word.
    parameter BUS_BYTES = 64
) (
    input wire                   clk,
    input wire                   rst,

    input wire [7:0]             awlen,
    input wire                   awvalid,
    input wire                   awready,
    input wire [8*BUS_BYTES-1:0] wdata,
    input wire [BUS_BYTES-1:0]   wstrb,
    input wire                   wlast,
    input wire                   wvalid,
    input wire                   wready
);

`ifdef FORMAL
    reg started = 1'b0;
    // An arbitrary burst by its number since reset; its length when AW was taken
    (* anyconst *) wire [3:0] f_number;
    reg  [3:0] aw_count = 4'd0, w_count = 4'd0;
    reg  [7:0] beats = 8'd0, length = 8'd0;
    reg        known = 1'b0, ended = 1'b0;
    wire       take = wvalid && wready;

    initial assume (rst);

    always @(posedge clk) begin
        started <= 1'b1;
        if (awvalid && awready && aw_count != 4'd15) begin
            aw_count <= aw_count + 4'd1;
            if (aw_count == f_number) begin
                known  <= 1'b1;
                length <= awlen;
            end
        end
        if (take && w_count != 4'd15) begin
            w_count <= w_count + wlast;
            if (w_count == f_number) begin
                beats <= beats + 8'd1;
                ended <= wlast;
            end
        end
        if (rst) begin
            aw_count <= 4'd0;
            w_count  <= 4'd0;
            beats    <= 8'd0;
            known    <= 1'b0;
            ended    <= 1'b0;
        end

        if (started) begin
            // 1. A beat that is offered stays as it is until it is taken.
            if ($past(wvalid && !wready && !rst)) begin
                assert (wvalid && wdata == $past(wdata) && wstrb == $past(wstrb)
                        && wlast == $past(wlast));
            end
            // 2. After a reset none is offered.
            assert (!$past(rst) || !wvalid);
            // 3. Bursts have the beats that their AW says, with WLAST at the last one.
            if (f_number != 4'd15 && known) begin
                assert (ended ? beats == length + 8'd1 : beats <= length);
            end

            cover (known && ended && length == 8'd1 && f_number == 4'd1);
            cover (take && wlast && w_count == aw_count);
            cover (wvalid && $past(wvalid && !wready) && wstrb != {BUS_BYTES{1'b1}});
        end
    end
`endif

endmodule

`resetall
