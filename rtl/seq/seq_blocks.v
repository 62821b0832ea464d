// SPDX-License-Identifier: Apache-2.0

/*
 * seq_blocks: walks a legal job, query heads x blocks of ROWS rows, and emits a Q command a block.
 *
 * Separate from seq_tiles so that the Q of the next block is fetched while the tiles of the current
 * one run: the two-buffer Q ring of the fetch stage is what holds it back.
 *
 * Commands leave at one a cycle while the fetch stage takes them.
 *
 * Source: our decision (docs/architecture.md section 4).
 */

`resetall
`timescale 1ns / 1ps
`default_nettype none

module seq_blocks #(
    // Query rows in parallel, power of two 4..128
    parameter ROWS = 128
) (
    input  wire         clk,
    input  wire         rst,

    /*
     * Control: start is a pulse; active until the last command has been taken
     */
    input  wire         start,
    output wire         active,
    output wire         ev_block,

    /*
     * Job, legal and stable while active; base, row and head stride of Q in bytes
     */
    input  wire [16:0]  job_rows,
    input  wire [15:0]  job_heads,
    input  wire [47:0]  job_base,
    input  wire [31:0]  job_stride,
    input  wire [31:0]  job_hstride,

    /*
     * Q command: address of the block's row 0, rows in the block
     */
    output wire         qc_valid,
    input  wire         qc_ready,
    output wire [47:0]  qc_addr,
    output wire [7:0]   qc_rows
);

localparam ROWS_W = $clog2(ROWS);

reg        active_reg, active_next;
reg [15:0] head_reg, head_next;
reg [16:0] row_reg, row_next;
reg [47:0] head_addr_reg, head_addr_next;
reg [47:0] addr_reg, addr_next;

wire [16:0] left = job_rows - row_reg;

assign active = active_reg;
assign ev_block = qc_valid && qc_ready;
assign qc_valid = active_reg;
assign qc_addr = addr_reg;
assign qc_rows = left > ROWS[16:0] ? ROWS[7:0] : left[7:0];

always @* begin
    active_next = active_reg;
    head_next = head_reg;
    row_next = row_reg;
    head_addr_next = head_addr_reg;
    addr_next = addr_reg;

    if (!active_reg) begin
        active_next = start;
        head_next = 16'd0;
        row_next = 17'd0;
        head_addr_next = job_base;
        addr_next = job_base;
    end else if (qc_ready) begin
        row_next = row_reg + ROWS[16:0];
        addr_next = addr_reg + ({16'd0, job_stride} << ROWS_W);
        if (left <= ROWS[16:0]) begin
            row_next = 17'd0;
            head_next = head_reg + 16'd1;
            head_addr_next = head_addr_reg + {16'd0, job_hstride};
            addr_next = head_addr_next;
            active_next = head_next != job_heads;
        end
    end
end

always @(posedge clk) begin
    active_reg <= active_next;
    head_reg <= head_next;
    row_reg <= row_next;
    head_addr_reg <= head_addr_next;
    addr_reg <= addr_next;

    if (rst) begin
        active_reg <= 1'b0;
    end
end

endmodule

`resetall
