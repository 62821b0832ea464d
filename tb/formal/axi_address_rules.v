// SPDX-License-Identifier: Apache-2.0
// AXI4: what a master says on AR or AW.
//
// Why: one set of rules for both address channels of every master; an instance stands under
// `ifdef FORMAL in the master.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module axi_address_rules #(
    // Bits of an address.
    parameter ADDR_W = 40,
    // Bytes of a bus word.
    parameter BUS_BYTES = 64,
    // Identifiers of the master, 1..8.
    parameter IDS = 8
) (
    input wire              clk,
    input wire              rst,

    // No burst starts
    input wire              hold,

    input wire [2:0]        id,
    input wire [ADDR_W-1:0] addr,
    input wire [7:0]        len,
    input wire [2:0]        size,
    input wire [1:0]        burst,
    input wire              valid,
    input wire              ready,

    // Of all that is asked of this identifier, the first byte, and the last one
    input wire [2:0]        f_id,
    input wire [ADDR_W-1:0] f_first,
    input wire [ADDR_W-1:0] f_last
);

`ifdef FORMAL
    localparam SIZE = $clog2(BUS_BYTES);
    reg started = 1'b0;
    wire [15:0] bytes = {8'd0, len} + 16'd1 << SIZE;
    wire [16:0] end_in_page = {5'd0, addr[11:0]} + bytes;

    initial assume (rst);

    always @(posedge clk) begin
        started <= 1'b1;
        if (started) begin
            // 1. A burst that is offered stays as it is until it is taken.
            if ($past(valid && !ready && !rst)) begin
                assert (valid && id == $past(id) && addr == $past(addr) && len == $past(len));
            end
            // 2. After a reset none is offered; on hold no new one is.
            assert (!$past(rst) || !valid);
            assert (!valid || $past(valid && !ready) || !$past(hold));
            if (valid) begin
                // 3. Whole bus words at rising addresses, of an identifier of the master.
                assert (size == SIZE && burst == 2'b01 && addr[SIZE-1:0] == 0 && id < IDS);
                // 4. It ends in the 4 KiB in which it begins.
                assert (end_in_page <= 4096);
                // 5. It lies in what was asked for.
                assert (id != f_id || (addr >= f_first && addr <= f_last
                                       && bytes - 1 <= f_last - addr));
            end

            cover (valid && ready && end_in_page == 4096 && len == 8'd3);
            cover (valid && ready && $past(valid && !ready) && id == f_id && len != 8'd0);
            cover (valid && id == IDS - 1);
            cover (valid && hold && $past(valid && !ready && hold));
        end
    end
`endif

endmodule

`resetall
