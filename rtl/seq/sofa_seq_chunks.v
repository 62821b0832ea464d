// SPDX-License-Identifier: Apache-2.0
// sofa_seq_chunks: how the KV heads of a predict job fall into chunks of ROWS output dimensions.
//
// Head dimension up to ROWS: a chunk holds as many whole heads as fit. Larger: a head is several
// chunks. Counted by repeated subtraction, since a job needs it once.
//
// Takes a few cycles + one for every head of a full chunk, every chunk (every head, where a head is
// several chunks) and every head of the last chunk.
//
// Source: our decision (docs/architecture.md section 10.1).

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_seq_chunks #(
    // Query rows in parallel, power of two 4..128
    parameter ROWS = 128
) (
    input  wire         clk,
    input  wire         rst,

    // Control: start is a pulse; done is a pulse, the results are valid from then on
    input  wire         start,
    output wire         done,

    // Job, legal and stable from start to done: head dimension, KV heads, head stride of K8
    input  wire [8:0]   job_d,
    input  wire [10:0]  job_kv_heads,
    input  wire [31:0]  job_hstride,

    // Result: a head needs several chunks; chunks of a head (1 where it needs only one); all
    // chunks; used rows of a full chunk and of the last one (of a head that needs several, of the
    // job otherwise); bytes of K8 from the first head of a chunk to that of the next
    output wire         split,
    output wire [6:0]   head_chunks,
    output wire [16:0]  chunks,
    output wire [7:0]   rows_full,
    output wire [7:0]   rows_last,
    output wire [47:0]  k8_step
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_chunks_needs_ROWS_power_of_two_4_to_128 stop ();
        end
    endgenerate

    localparam ROWS_W = $clog2(ROWS);
    localparam [31:0] ROW_MASK = ROWS - 1;

    // waits for start
    localparam S_IDLE  = 3'd0;
    // adds heads to a chunk while they fit
    localparam S_FIT   = 3'd1;
    // takes the heads of one chunk after the other from those of the job
    localparam S_COUNT = 3'd2;
    // adds up the rows of the heads that the last chunk holds
    localparam S_LAST  = 3'd3;
    // results are complete
    localparam S_DONE  = 3'd4;

    reg [2:0]  state_reg, state_next;
    // heads of a chunk, heads not in a chunk yet
    reg [4:0]  fit_reg, fit_next;
    reg [10:0] left_reg, left_next;
    reg [16:0] chunks_reg, chunks_next;
    // out of the low byte of chunks_reg; it is added a cycle later
    reg        carry_reg, carry_next;
    reg [7:0]  full_reg, full_next;
    reg [7:0]  last_reg, last_next;
    reg [36:0] step_reg, step_next;

    wire [8:0] d_m1 = job_d - 9'd1;
    wire [8:0] above = d_m1 >> ROWS_W;
    wire [8:0] full_more = {1'b0, full_reg} + job_d;
    wire [8:0] last_more = {1'b0, last_reg} + job_d;

    assign done = state_reg == S_DONE;
    assign split = job_d > ROWS[8:0];
    assign head_chunks = above[6:0] + 7'd1;
    assign chunks = chunks_reg;
    assign rows_full = full_reg;
    assign rows_last = last_reg;
    assign k8_step = {11'd0, step_reg};

    always @* begin
        state_next = state_reg;
        fit_next = fit_reg;
        left_next = left_reg;
        chunks_next = {chunks_reg[16:8] + {8'd0, carry_reg}, chunks_reg[7:0]};
        carry_next = 1'b0;
        full_next = full_reg;
        last_next = last_reg;
        step_next = step_reg;

        case (state_reg)
            S_IDLE: begin
                if (start) begin
                    fit_next = 5'd1;
                    left_next = job_kv_heads;
                    chunks_next = {10'd0, head_chunks};
                    full_next = split ? ROWS[7:0] : job_d[7:0];
                    last_next = split ? {1'b0, d_m1[6:0] & ROW_MASK[6:0]} + 8'd1 : job_d[7:0];
                    step_next = {5'd0, job_hstride};
                    state_next = S_FIT;
                end
            end
            S_FIT: begin
                if (full_more > ROWS[8:0]) begin
                    state_next = S_COUNT;
                end else begin
                    fit_next = fit_reg + 5'd1;
                    full_next = full_more[7:0];
                    step_next = step_reg + {5'd0, job_hstride};
                end
            end
            S_COUNT: begin
                if (left_reg <= {6'd0, fit_reg}) begin
                    state_next = S_LAST;
                end else begin
                    left_next = left_reg - {6'd0, fit_reg};
                    {carry_next, chunks_next[7:0]} = {1'b0, chunks_reg[7:0]}
                                                     + {2'd0, head_chunks};
                end
            end
            S_LAST: begin
                if (left_reg == 11'd1) begin
                    state_next = S_DONE;
                end else begin
                    left_next = left_reg - 11'd1;
                    last_next = last_more[7:0];
                end
            end
            default: begin  // S_DONE
                state_next = S_IDLE;
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        fit_reg <= fit_next;
        left_reg <= left_next;
        chunks_reg <= chunks_next;
        carry_reg <= carry_next;
        full_reg <= full_next;
        last_reg <= last_next;
        step_reg <= step_next;

        if (rst) begin
            state_reg <= S_IDLE;
        end
    end

    // a head has up to 64 chunks, the last chunk up to ROWS rows
    wire unused = &{1'b0, above[8:7], last_more[8]};

`ifdef FORMAL
    reg started = 1'b0;
    // Cycles since the start, and those that the state may still take
    reg  [12:0] f_spent = 13'd0;
    wire [12:0] f_left = state_reg == S_FIT ? ROWS - full_reg + 2 * left_reg + 13'd3
                       : state_reg == S_COUNT ? 2 * left_reg + 13'd2
                       : state_reg == S_LAST ? left_reg + 13'd1
                       : state_reg == S_DONE ? 13'd1 : 13'd0;

    initial assume (rst);

    always @* begin
        // The job is legal.
        assume (job_d != 0 && job_d <= 9'd256 && job_kv_heads != 0 && job_kv_heads < 11'd1024);
        assume (!start || state_reg == S_IDLE);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        f_spent <= rst || state_reg == S_IDLE ? 13'd0 : f_spent + 13'd1;
        if (started && $past(state_reg != S_IDLE || start) && !$past(rst)) begin
            assume (job_d == $past(job_d) && job_kv_heads == $past(job_kv_heads));
        end

        if (started) begin
            // 1. Every state is left: what remains to be done becomes less with every cycle, and is
            //    nothing only in idle.
            if ($past(state_reg != S_IDLE && !rst)) begin
                assert (f_left < $past(f_left));
            end
            assert ((state_reg == S_IDLE) == (f_left == 0));
            // 2. The result is there after at most a row and two heads a cycle each.
            if (state_reg != S_IDLE) begin
                assert (f_spent + f_left <= ROWS + 2 * job_kv_heads + 13'd3);
            end
            // 3. Heads are left until the result is there; a chunk has at most ROWS rows.
            assert (state_reg == S_IDLE || state_reg == S_DONE
                    || (left_reg != 0 && left_reg <= job_kv_heads));
            assert (state_reg == S_IDLE
                    || (full_reg <= ROWS && fit_reg != 0 && fit_reg <= full_reg));

            cover (done && chunks == 3 && fit_reg == 2 && rows_last == rows_full);
            cover (done && split && head_chunks == 7'd2 && f_spent == 6);
        end
    end
`endif

endmodule

`resetall
